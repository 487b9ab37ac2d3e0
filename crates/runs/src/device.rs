//! Which device computes, if this program was built for it.

use std::fmt;
use std::panic::{self, AssertUnwindSafe};

use anyhow::{Result, anyhow, bail};
use burn::tensor::{Device, Tensor};
use burn_std::config::{BurnConfig, RuntimeConfig};
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
    /// Opens the device and computes a first number on it.
    ///
    /// # Errors
    /// If the Cargo feature of that name was not compiled in, or there is no such device here.
    pub fn open(self) -> Result<Device> {
        ignore_settings_nearby();
        let device = self.choose()?;
        let probe = device.clone();
        self.try_out(|| {
            let _ = Tensor::<1>::ones([1], &probe).into_data();
        })?;
        Ok(device)
    }

    /// Backends panic where their device is missing: one line instead.
    fn try_out(self, probe: impl FnOnce()) -> Result<()> {
        let hook = panic::take_hook();
        panic::set_hook(Box::new(|_| ()));
        let outcome = panic::catch_unwind(AssertUnwindSafe(probe));
        panic::set_hook(hook);
        outcome.map_err(|payload| {
            let text = payload.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
            let cause = text.and_then(|text| text.lines().next());
            anyhow!(
                "device '{self}' does not work here ({}); install its driver, or use '--device flex'",
                cause.unwrap_or("no reason given")
            )
        })
    }

    fn choose(self) -> Result<Device> {
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

/// Burn and CubeCL would look for `burn.toml` and `cubecl.toml` in the current folder and those above it: a stranger's
/// folder could have them write to any file, print on stdout or compute otherwise. Their environment variables, which
/// are the user's own, still count.
fn ignore_settings_nearby() {
    // Once one is set, the other callers find it set.
    let _ = BurnConfig::try_set(BurnConfig::default().override_from_env());
    #[cfg(any(feature = "wgpu", feature = "cuda"))]
    {
        use cubecl_runtime::config::CubeClRuntimeConfig;
        let _ = CubeClRuntimeConfig::try_set(CubeClRuntimeConfig::default().override_from_env());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_device_is_one_line() {
        let missing = DeviceKind::Wgpu.try_out(|| panic!("No adapter found.\nbacktrace"));
        assert_eq!(
            missing.unwrap_err().to_string(),
            "device 'wgpu' does not work here (No adapter found.); install its driver, or use '--device flex'"
        );
        assert!(DeviceKind::Flex.open().is_ok());
    }
}
