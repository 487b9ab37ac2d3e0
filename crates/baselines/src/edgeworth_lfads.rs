//! Edgeworth LFADS: fluorescence with four time-varying cumulants.

use std::f64::consts::PI;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use model::{DynamicsConfig, ModelError, TermWeights};
use serde::{Deserialize, Serialize};

use crate::filtered_poisson::{Cumulants, Data, FilteredPoisson, Moments, sequential_vae};

/// Standardised cumulants are clipped to plus or minus this.
const MAX_STANDARDISED: f64 = 0.8;
/// The density of the standardised variable is kept above this.
const MIN_DENSITY: f64 = 1e-8;

/// Sizes and regularisation of [`EdgeworthLfads`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EdgeworthLfadsConfig {
    /// The deep level.
    pub dynamics: DynamicsConfig,
    /// How rates map to cumulants.
    pub moments: Moments,
}

impl EdgeworthLfadsConfig {
    /// Fresh weights.
    ///
    /// # Errors
    /// [`ModelError::Config`] for a setting outside its range.
    pub fn init(
        &self,
        data: Data<'_>,
        seed: u64,
        device: &Device,
    ) -> Result<EdgeworthLfads, ModelError> {
        let process = FilteredPoisson::new(&self.dynamics, self.moments, 4, data, seed, device)?;
        Ok(EdgeworthLfads { process })
    }
}

/// LFADS whose fluorescence has the density
/// φ(z)·[1 + w (k₃ He₃(z)/6 + k₄ He₄(z)/24 + k₃² He₆(z)/72)] / √κ₂ with z = (x − κ₁)/√κ₂ and
/// k_n = κ_n/κ₂^{n/2}; w follows the warm-up of the KL term.
#[derive(Module, Debug)]
pub struct EdgeworthLfads {
    process: FilteredPoisson,
}

sequential_vae!(EdgeworthLfads, log_density);

fn log_density(weights: TermWeights) -> impl Fn(Tensor<3>, Cumulants) -> Tensor<3> {
    move |x, cumulants| edgeworth_log_density(x, cumulants, weights.kl_deep)
}

fn edgeworth_log_density(x: Tensor<3>, cumulants: Cumulants, weight: f64) -> Tensor<3> {
    let Cumulants {
        mean,
        variance,
        higher,
    } = cumulants;
    let [third, fourth]: [Tensor<3>; 2] = higher.try_into().expect("four orders were asked for");
    let sd = variance.clone().sqrt();
    let k3 = (third / (variance.clone() * sd.clone())).clamp(-MAX_STANDARDISED, MAX_STANDARDISED);
    let k4 = (fourth / variance.clone().square()).clamp(-MAX_STANDARDISED, MAX_STANDARDISED);
    let z = (x - mean) / sd.clone();
    let series = correction(z.clone(), k3, k4).mul_scalar(weight) + 1.0;
    let normal = z
        .square()
        .mul_scalar(-0.5)
        .exp()
        .div_scalar((2.0 * PI).sqrt());
    (normal * series).clamp_min(MIN_DENSITY).log() - sd.log()
}

/// k₃ He₃(z)/6 + k₄ He₄(z)/24 + k₃² He₆(z)/72, with the probabilists' Hermite polynomials.
fn correction(z: Tensor<3>, k3: Tensor<3>, k4: Tensor<3>) -> Tensor<3> {
    let z2 = z.clone().square();
    let z4 = z2.clone().square();
    let he3 = z * (z2.clone() - 3.0);
    let he4 = z4.clone() - z2.clone().mul_scalar(6.0) + 3.0;
    let he6 = z4.clone() * (z2.clone() - 15.0) + z2.mul_scalar(45.0) - 15.0;
    k3.clone() * he3.div_scalar(6.0)
        + k4 * he4.div_scalar(24.0)
        + k3.square() * he6.div_scalar(72.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// He₀ … He₆ by their recurrence, He_{n+1} = z He_n − n He_{n−1}.
    fn hermite(z: f64) -> [f64; 7] {
        let mut he = [1.0, z, 0.0, 0.0, 0.0, 0.0, 0.0];
        for n in 1..6 {
            he[n + 1] = z * he[n] - n as f64 * he[n - 1];
        }
        he
    }

    /// The series is one of Hermite polynomials, which the normal density makes orthogonal: what
    /// its integral with each gives is that coefficient times n!.
    #[test]
    fn the_density_has_the_cumulants_it_is_given() {
        let (k3, k4) = (0.5_f32, 0.3_f32);
        let device = Device::flex();
        let step = 0.01;
        let grid: Vec<f32> = (-900..=900).map(|i| (f64::from(i) * step) as f32).collect();
        let shape = [grid.len(), 1, 1];
        let z = Tensor::<1>::from_floats(grid.as_slice(), &device).reshape(shape);
        let [third, fourth] = [k3, k4].map(|k| Tensor::full(shape, k, &device));
        let corrections: Vec<f32> = correction(z, third, fourth)
            .into_data()
            .iter::<f32>()
            .collect();
        let mut moments = [0.0; 7];
        for (z, correction) in grid.iter().zip(&corrections) {
            let z = f64::from(*z);
            let density = (-0.5 * z * z).exp() / (2.0 * PI).sqrt() * (1.0 + f64::from(*correction));
            for (moment, he) in moments.iter_mut().zip(hermite(z)) {
                *moment += density * he * step;
            }
        }
        let (k3, k4) = (f64::from(k3), f64::from(k4));
        let wanted = [1.0, 0.0, 0.0, k3, k4, 0.0, 10.0 * k3 * k3];
        for (order, (got, want)) in moments.iter().zip(wanted).enumerate() {
            assert!((got - want).abs() < 1e-3, "He{order}: {got} is not {want}");
        }
    }

    #[test]
    fn at_weight_zero_it_is_the_normal_density() {
        let device = Device::flex();
        let number = |value: f64| Tensor::<3>::full([1, 1, 1], value, &device);
        let log_density = |weight| {
            let cumulants = Cumulants {
                mean: number(1.0),
                variance: number(4.0),
                higher: vec![number(2.0), number(3.0)],
            };
            let density = edgeworth_log_density(number(2.0), cumulants, weight);
            f64::from(density.into_scalar::<f32>())
        };
        let normal = -0.5 * 0.25 - 2.0_f64.ln() - 0.5 * (2.0 * PI).ln();
        assert!((log_density(0.0) - normal).abs() < 1e-5);
        // z = ½, k₃ = ¼, k₄ = 3/16.
        let [.., he3, he4, _, he6] = hermite(0.5);
        let series = 0.25 * he3 / 6.0 + 3.0 / 16.0 * he4 / 24.0 + he6 / 16.0 / 72.0;
        let want = normal + (1.0 + 0.5 * series).ln();
        assert!((log_density(0.5) - want).abs() < 1e-5);
    }
}
