//! Which device computes, if this program was built for it.

use std::fmt;

use anyhow::{Result, bail};
use burn::tensor::Device;
use clap::ValueEnum;

/// A device by its name on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DeviceKind {
    /// The processor
    Flex,
    /// Any GPU through Vulkan, Metal or DirectX 12
    Wgpu,
    /// libtorch, on the processor
    Tch,
    /// An NVIDIA GPU
    Cuda,
}

impl DeviceKind {
    /// Opens the device.
    ///
    /// # Errors
    /// If the Cargo feature of that name was not compiled in.
    pub fn open(self) -> Result<Device> {
        match self {
            #[cfg(feature = "flex")]
            Self::Flex => Ok(Device::flex()),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => Ok(Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)),
            #[cfg(feature = "tch")]
            Self::Tch => Ok(Device::libtorch()),
            #[cfg(feature = "cuda")]
            Self::Cuda => Ok(Device::cuda(0)),
            #[allow(unreachable_patterns)] // With every feature on, nothing is left over.
            absent => bail!(
                "device '{absent}' is not compiled in; build with `--features {absent}` (`cargo xtask` does so by itself)"
            ),
        }
    }
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flex => "flex",
            Self::Wgpu => "wgpu",
            Self::Tch => "tch",
            Self::Cuda => "cuda",
        })
    }
}
