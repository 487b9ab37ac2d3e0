//! Do shapes agree, and do the fused bodies serve a tensor?

#[cfg(feature = "flex")]
use burn::backend::DispatchDevice;
#[cfg(feature = "flex")]
use burn::tensor::{DType, Tensor};

/// Whether the fused bodies serve this tensor's device and number type.
#[cfg(feature = "flex")]
pub(super) fn has_fused<const D: usize>(tensor: &Tensor<D>) -> bool {
    let device = tensor.device();
    let is_flex = match device.as_dispatch() {
        DispatchDevice::Autodiff(inner) => matches!(**inner, DispatchDevice::Flex(_)),
        DispatchDevice::Flex(_) => true,
        #[allow(unreachable_patterns)]
        _ => false,
    };
    is_flex && tensor.dtype() == DType::F32
}

pub(super) fn check_scale(scale: Option<&[f32]>, states: [usize; 3]) {
    if let Some(scale) = scale {
        check("scale", [scale.len()], [states.iter().product()]);
    }
}

pub(super) fn check<const D: usize>(name: &str, got: [usize; D], want: [usize; D]) {
    assert_eq!(
        got, want,
        "`{name}` has the wrong shape (left) for the other arguments (right)"
    );
}
