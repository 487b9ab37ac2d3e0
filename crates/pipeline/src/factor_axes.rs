//! Factors in an order that means something.
//!
//! A model's own factors are any mixture of what neurons share: two trainings mix it differently. Their
//! principal components in the logarithms of the rates are the same wherever two fits agree.

use std::path::Path;

use anyhow::{Context, Result, bail};
use data::Arrays;
use metrics::{PrincipalComponents, Ridge};
use ndarray::{Array2, Array3, Axis, Ix3};
use runs::store::{hash, write_atomically};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Frames and neurons that the order is found by, at most.
const MAX_FRAMES: usize = 20_000;
const MAX_NEURONS: usize = 200;
/// Rates below this, Hz, count as this: they are as silent.
const LEAST_HZ: f32 = 1e-3;

/// The map from a model's own factors to ordered ones: principal components of the log-rates that the
/// factors explain, by the variance along them, each with its largest loading positive.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FactorAxes {
    /// Where the model's factors are all 0, `[axis]`.
    origin: Vec<f32>,
    /// `[axis][own factor]`.
    map: Vec<Vec<f32>>,
    /// Share of the variance of the log-rates along each axis, `[axis]`; the shares of all sum to 1.
    pub share: Vec<f32>,
}

/// What the file of the axes holds.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// Of the axes and of the fit that they belong to.
    sha256: String,
    axes: FactorAxes,
}

impl FactorAxes {
    /// Its file in a run's folder: other sessions are inferred along the same axes.
    pub const FILE: &str = "factor_axes.json";

    /// Keeps them in a file, as those of the fit that `of` describes.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn write(&self, path: &Path, of: &Value) -> Result<()> {
        let kept = Kept {
            sha256: self.sha256(of)?,
            axes: self.clone(),
        };
        write_atomically(path, &serde_json::to_vec(&kept)?)
    }

    /// Reads what [`FactorAxes::write`] wrote of the fit that `of` describes.
    ///
    /// # Errors
    /// If the file is missing, damaged or another fit's.
    pub(crate) fn read(path: &Path, of: &Value) -> Result<Self> {
        let shown = path.display();
        let text = std::fs::read(path).with_context(|| shown.to_string())?;
        let kept: Kept = serde_json::from_slice(&text)
            .with_context(|| format!("{shown}: damaged, or of another version"))?;
        if kept.sha256 != kept.axes.sha256(of)? {
            bail!("{shown}: damaged, or of another fit; the same `lfads fit` makes it again");
        }
        Ok(kept.axes)
    }

    fn sha256(&self, of: &Value) -> Result<String> {
        // By way of text, as it will be read.
        let axes: Value = serde_json::from_slice(&serde_json::to_vec(self)?)?;
        Ok(hash(&json!({"of": of, "axes": axes})))
    }

    /// Of the factors and rates in `results`.
    ///
    /// # Errors
    /// Arrays of another shape; fewer than two frames with values.
    pub fn of(results: &Arrays) -> Result<Self> {
        let [factors, rates] = ["factors", "rates"].map(|name| cube(results, name));
        let (factors, rates) = (factors?, rates?);
        let (features, logs) = samples(&factors, &rates);
        let ridge = Ridge::fit(features.view(), logs.view(), 0.0)?;
        let explained = ridge.predict(features.view())?;
        let components = PrincipalComponents::of(explained.view())?;
        let n_factors = features.ncols();
        let n_axes = n_factors.min(logs.ncols());
        let place = |own: &Array2<f32>| -> Result<Vec<f64>> {
            let rates = ridge.predict(own.view())?;
            Ok(components.project(rates.row(0))?.to_vec())
        };
        let origin = place(&Array2::zeros((1, n_factors)))?;
        let mut map = vec![vec![0.0; n_factors]; n_axes];
        for own in 0..n_factors {
            let mut one = Array2::zeros((1, n_factors));
            one[[0, own]] = 1.0;
            let there = place(&one)?;
            for (axis, row) in map.iter_mut().enumerate() {
                row[own] = (there[axis] - origin[axis]) as f32;
            }
        }
        let variances = components.variances();
        let all = variances.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        Ok(Self {
            origin: origin[..n_axes].iter().map(|&x| x as f32).collect(),
            map,
            share: variances
                .iter()
                .take(n_axes)
                .map(|v| (v / all) as f32)
                .collect(),
        })
    }

    /// Puts the ordered factors in the place of the model's own, with the shares beside them.
    ///
    /// # Errors
    /// Factors of another number than the map is of.
    pub fn apply(&self, results: &mut Arrays) -> Result<()> {
        let own = cube(results, "factors")?;
        let n_own = self.map.first().map_or(0, Vec::len);
        anyhow::ensure!(
            own.len_of(Axis(2)) == n_own,
            "`factors` has {} factors, the order is one of {n_own}",
            own.len_of(Axis(2))
        );
        let (n_trials, n_bins, _) = own.dim();
        let ordered =
            Array3::from_shape_fn((n_trials, n_bins, self.map.len()), |(trial, bin, axis)| {
                let row = self.map[axis].iter().enumerate();
                self.origin[axis] + row.map(|(k, w)| w * own[[trial, bin, k]]).sum::<f32>()
            });
        results.insert("factors", "log-rate, over neurons", ordered.into_dyn());
        let share = ndarray::Array1::from(self.share.clone());
        results.insert(
            "factor_variance",
            "share of the log-rates'",
            share.into_dyn(),
        );
        Ok(())
    }
}

fn cube(results: &Arrays, name: &str) -> Result<Array3<f32>> {
    let array = results.require(name)?.clone();
    let array = array.into_dimensionality::<Ix3>();
    array.with_context(|| format!("`{name}` must have three axes"))
}

/// Factors and log-rates of frames and neurons evenly chosen, `[frame, ·]`.
fn samples(factors: &Array3<f32>, rates: &Array3<f32>) -> (Array2<f32>, Array2<f32>) {
    let n_neurons = rates.len_of(Axis(2));
    let neurons = (0..n_neurons).step_by(n_neurons.div_ceil(MAX_NEURONS).max(1));
    let neurons: Vec<usize> = neurons.collect();
    let n_frames = rates.len_of(Axis(0)) * rates.len_of(Axis(1));
    let rows = factors.rows().into_iter().zip(rates.rows());
    let rows = rows.step_by(n_frames.div_ceil(MAX_FRAMES).max(1));
    let rows = rows.filter(|(f, r)| f.iter().chain(r).all(|x| x.is_finite()));
    let rows: Vec<_> = rows.collect();
    let features = Array2::from_shape_fn((rows.len(), factors.len_of(Axis(2))), |(row, k)| {
        rows[row].0[k]
    });
    let logs = Array2::from_shape_fn((rows.len(), neurons.len()), |(row, k)| {
        rows[row].1[neurons[k]].max(LEAST_HZ).ln()
    });
    (features, logs)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two latents behind nine neurons, in factors mixed by `mix`.
    fn results(mix: [[f32; 2]; 2]) -> Arrays {
        let latent = |t: usize| [2.0 * (0.11 * t as f32).sin(), (0.07 * t as f32).cos()];
        let factors = Array3::from_shape_fn((1, 900, 2), |(_, t, k)| {
            let z = latent(t);
            mix[k][0] * z[0] + mix[k][1] * z[1] + 0.3
        });
        let rates = Array3::from_shape_fn((1, 900, 9), |(_, t, n)| {
            let z = latent(t);
            let angle = n as f32;
            (angle.sin() * z[0] + angle.cos() * z[1]).exp()
        });
        let mut arrays = Arrays::default();
        arrays.insert("factors", "", factors.into_dyn());
        arrays.insert("rates", "Hz", rates.into_dyn());
        arrays
    }

    #[test]
    fn two_mixtures_of_the_same_become_the_same() {
        let [one, other] = [[[1.0, 0.0], [0.0, 1.0]], [[0.3, -2.0], [1.5, 0.4]]].map(|mix| {
            let mut arrays = results(mix);
            let axes = FactorAxes::of(&arrays).unwrap();
            axes.apply(&mut arrays).unwrap();
            arrays
        });
        let [a, b] = [&one, &other].map(|arrays| arrays.require("factors").unwrap());
        assert!((a - b).iter().all(|d| d.abs() < 2e-3));
        let share = one.require("factor_variance").unwrap();
        assert!(
            share[[0]] > share[[1]] && (share.sum() - 1.0).abs() < 1e-5,
            "{share}"
        );
        // Along each axis as much varies as is said.
        let factors = a.view().into_dimensionality::<Ix3>().unwrap();
        let variance = |k: usize| factors.index_axis(Axis(2), k).std(0.0).powi(2);
        let found = variance(0) / (variance(0) + variance(1));
        assert!((found - share[[0]]).abs() < 1e-3, "{found}");
    }

    #[test]
    fn a_digit_that_changed_and_axes_of_another_fit_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FactorAxes::FILE);
        let axes = FactorAxes::of(&results([[1.0, 0.0], [0.0, 1.0]])).unwrap();
        let of = json!({"seed": 1});
        axes.write(&path, &of).unwrap();
        assert_eq!(FactorAxes::read(&path, &of).unwrap(), axes);
        assert!(FactorAxes::read(&path, &json!({"seed": 2})).is_err());
        let whole = std::fs::read_to_string(&path).unwrap();
        let digits = whole.match_indices(char::is_numeric);
        for (place, digit) in digits.step_by(7) {
            let mut changed = whole.clone();
            let other = if digit == "5" { "6" } else { "5" };
            changed.replace_range(place..=place, other);
            std::fs::write(&path, changed).unwrap();
            let read = FactorAxes::read(&path, &of);
            // The last digits may mean nothing.
            assert!(!read.is_ok_and(|read| read != axes), "at {place}");
        }
    }

    #[test]
    fn factors_of_another_number_are_refused() {
        let mut arrays = results([[1.0, 0.0], [0.0, 1.0]]);
        let axes = FactorAxes::of(&arrays).unwrap();
        arrays.insert("factors", "", Array3::zeros((1, 900, 3)).into_dyn());
        let error = axes.apply(&mut arrays).unwrap_err().to_string();
        assert!(error.contains("3 factors"), "{error}");
    }
}
