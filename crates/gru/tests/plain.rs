//! The plain operations against values worked by hand, and their gradients.
#![cfg(feature = "flex")]

use burn::tensor::{Device, Tensor};
use gru::plain;

fn close(got: f32, want: f32) {
    assert!(
        (got - want).abs() <= 2e-6 * (1.0 + want.abs()),
        "{got} is not {want}"
    );
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().expect("f32 data")
}

#[test]
fn poisson_log_likelihood_and_gradients_match_hand_values() {
    let device = Device::flex().autodiff();
    let s = Tensor::<3>::from_floats([[[0.0, 1.0, 2.5, 40.0]]], &device).require_grad();
    let log_mean = Tensor::<3>::from_floats([[[0.3, -1.0, 0.0, 3.0]]], &device).require_grad();
    let one = Tensor::<3>::ones([1, 1, 1], &device);
    let log_likelihood = plain::poisson_log_likelihood(log_mean.clone(), s.clone(), one, 0.0);
    let gradients = log_likelihood.backward();
    // ln Γ(3.5) = 1.2009736, ln 40! = 110.320640
    let want = [
        -1.349_858_8,
        -1.367_879_4,
        -2.200_973_6,
        120.0 - 20.085_537 - 110.320_64,
    ];
    let by_mean = [-1.349_858_8, 0.632_120_6, 1.5, 19.914_463];
    // ψ(1) = -0.5772157, ψ(2) = 0.4227843, ψ(3.5) = 1.1031566, ψ(41) = 3.7013274
    let by_count = [0.877_215_7, -1.422_784_3, -1.103_156_6, -0.701_327_4];
    close(values(log_likelihood)[0], want.iter().sum());
    for (got, want) in values(log_mean.grad(&gradients).unwrap())
        .into_iter()
        .zip(by_mean)
    {
        close(got, want);
    }
    for (got, want) in values(s.grad(&gradients).unwrap())
        .into_iter()
        .zip(by_count)
    {
        close(got, want);
    }
}
