//! Filters along time and log-likelihoods, value by value, and affine maps.

#[cfg(feature = "flex")]
use burn::backend::Dispatch;
use burn::tensor::Tensor;

use super::checks::check;
#[cfg(feature = "flex")]
use super::checks::has_fused;
#[cfg(feature = "flex")]
use super::fused::{FusedAffine, FusedElementwise};
use super::plain;

/// Filters along time: `y_t` = g·`y_{t−1}` + `s_t`, with `y_0` = `s_0` + g·`initial`.
///
/// This is spikes to calcium under AR(1). Gradients flow to `s` and `initial` (the same filter
/// run backward), not to `g`.
///
/// # Shapes
/// `s` and result: `[time, trial, neuron]`, `initial`: `[trial, neuron]`, `g`: one decay per
/// bin for each neuron.
/// # Panics
/// If a shape disagrees with the others, naming it.
pub fn ar1_filter(s: Tensor<3>, initial: Tensor<2>, g: &[f32]) -> Tensor<3> {
    let [_, n_trials, n_neurons] = s.dims();
    check("initial", initial.dims(), [n_trials, n_neurons]);
    check("g", [g.len()], [n_neurons]);
    #[cfg(feature = "flex")]
    if has_fused(&s) {
        let (s, initial) = (s.into_dispatch(), initial.into_dispatch());
        return Tensor::from_dispatch(<Dispatch as FusedElementwise>::ar1(s, initial, g.to_vec()));
    }
    plain::ar1_filter(s, initial, g)
}

/// Blurs along time: `y_t` = Σ_k `w_k` `x_{t+k−h}` / Σ_k `w_k`, both over the bins that there are. Of 2h + 1 weights for
/// each neuron, the one in the middle is that of the bin itself.
///
/// Gradients flow to `x` (the same blur the other way round), not to the weights.
///
/// # Shapes
/// `x` and result: `[time, trial, neuron]`, `weights`: `[2h + 1, neuron]`, row by row.
/// # Panics
/// If the weights are not an odd number for each neuron.
pub fn blur(x: Tensor<3>, weights: &[f32]) -> Tensor<3> {
    let [_, _, n_neurons] = x.dims();
    let n_delays = weights.len() / n_neurons / 2 * 2 + 1;
    check("weights", [weights.len()], [n_delays * n_neurons]);
    #[cfg(feature = "flex")]
    if has_fused(&x) {
        let y = <Dispatch as FusedElementwise>::blur(x.into_dispatch(), weights.to_vec());
        return Tensor::from_dispatch(y);
    }
    plain::blur(x, weights)
}

/// Log-likelihood of real-valued counts under a Poisson process: Σ w·(s·ln μ − μ − ln Γ(s + 1)),
/// with ln μ = log-rate + `log_exposure`.
///
/// Gradients: w·(s − μ) to `log_rates`, w·(ln μ − ψ(s + 1)) to `counts`, none to `weights`.
///
/// # Shapes
/// `log_rates` and `counts`: `[time, trial, neuron]`, `weights`, w: the same, or `[1, 1, 1]` for
/// all counts; result: `[1]`.
/// # Units
/// `log_rates`: natural log of expected counts per unit of time, `log_exposure`: natural log of the
/// time a bin covers; `counts`: s ≥ 0 per bin.
/// # Panics
/// If a shape disagrees with the others, naming it.
pub fn poisson_log_likelihood(
    log_rates: Tensor<3>,
    counts: Tensor<3>,
    weights: Tensor<3>,
    log_exposure: f64,
) -> Tensor<1> {
    poisson(log_rates, counts, weights, log_exposure, true)
}

/// [`poisson_log_likelihood`] but for what does not depend on the rates: Σ w·(s·ln μ − μ).
///
/// # Shapes
/// As there.
/// # Panics
/// As there.
pub fn poisson_log_likelihood_of_rates(
    log_rates: Tensor<3>,
    counts: Tensor<3>,
    weights: Tensor<3>,
    log_exposure: f64,
) -> Tensor<1> {
    poisson(log_rates, counts, weights, log_exposure, false)
}

fn poisson(
    log_rates: Tensor<3>,
    counts: Tensor<3>,
    weights: Tensor<3>,
    log_exposure: f64,
    with_factorials: bool,
) -> Tensor<1> {
    check("counts", counts.dims(), log_rates.dims());
    if weights.dims() != [1, 1, 1] {
        check("weights", weights.dims(), counts.dims());
    }
    let weights = weights.detach();
    #[cfg(feature = "flex")]
    if has_fused(&log_rates) {
        let sum = <Dispatch as FusedElementwise>::poisson(
            log_rates.into_dispatch(),
            counts.into_dispatch(),
            weights.into_dispatch(),
            log_exposure as f32,
            with_factorials,
        );
        return Tensor::from_dispatch(sum);
    }
    match with_factorials {
        true => plain::poisson_log_likelihood(log_rates, counts, weights, log_exposure),
        false => plain::poisson_log_likelihood_of_rates(log_rates, counts, weights, log_exposure),
    }
}

/// Log-likelihood of observations with Gaussian noise: the sum of
/// −(x − y)²/(2σ²) − ln σ − ½ ln 2π over those that are not NaN.
///
/// Gradients: (x − y)/σ² to `mean`, Σ ((x − y)²/σ² − 1) over the present to `log_sd`, none to
/// `x`.
///
/// # Shapes
/// `x` and `mean`: `[time, trial, neuron]`; `log_sd`, ln σ: `[neuron]`; result: `[1]`.
/// # Panics
/// If a shape disagrees with the others, naming it.
pub fn gaussian_log_likelihood(x: Tensor<3>, mean: Tensor<3>, log_sd: Tensor<1>) -> Tensor<1> {
    check("mean", mean.dims(), x.dims());
    check("log_sd", log_sd.dims(), [x.dims()[2]]);
    let x = x.detach();
    #[cfg(feature = "flex")]
    if has_fused(&mean) {
        let tensors = (
            x.into_dispatch(),
            mean.into_dispatch(),
            log_sd.into_dispatch(),
        );
        let sum = <Dispatch as FusedElementwise>::gaussian(tensors.0, tensors.1, tensors.2);
        return Tensor::from_dispatch(sum);
    }
    plain::gaussian_log_likelihood(x, mean, log_sd)
}

/// Maps the last axis: y = offset + x W.
///
/// Gradients flow to everything tracked; that of an untracked `x` is not computed.
///
/// # Shapes
/// `x`: `[time, trial, input]`, `w`: `[input, output]`, `offset`: `[1, 1, output]` (a bias) or
/// `[time, trial, output]`, result: `[time, trial, output]`.
/// # Panics
/// If a shape disagrees with the others, naming it.
pub fn affine(x: Tensor<3>, w: Tensor<2>, offset: Tensor<3>) -> Tensor<3> {
    let ([n_bins, n_trials, n_inputs], [_, n_outputs]) = (x.dims(), w.dims());
    check("w", w.dims(), [n_inputs, n_outputs]);
    if offset.dims() != [1, 1, n_outputs] {
        check("offset", offset.dims(), [n_bins, n_trials, n_outputs]);
    }
    #[cfg(feature = "flex")]
    if has_fused(&x) {
        let tensors = (x.into_dispatch(), w.into_dispatch(), offset.into_dispatch());
        let mapped = <Dispatch as FusedAffine>::affine(tensors.0, tensors.1, tensors.2);
        return Tensor::from_dispatch(mapped);
    }
    plain::affine(x, w, offset)
}
