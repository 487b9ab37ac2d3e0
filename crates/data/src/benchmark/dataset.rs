//! Trials of one benchmark: arrays by quantity and split, and what makes them valid.

use calcium::Discretisation;
use ndarray::{Array2, Array3, ArrayView3};

use crate::{DataError, Problem, Quantity};

/// Longest recipe that a file holds.
const MAX_RECIPE_BYTES: usize = 32_768;

/// Largest count that `f32` holds exactly, 2²⁴.
const MAX_COUNT: f32 = 16_777_216.0;

/// A benchmark: simulated or recorded trials, split for training and validation.
///
/// # Units
/// `dt_s` and `tau_s` in seconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// Width of a time bin.
    pub dt_s: f64,
    /// Decay time of the calcium indicator, where known.
    pub tau_s: Option<f64>,
    /// How tau became the AR(1) coefficient, where known.
    pub discretisation: Option<Discretisation>,
    /// True readout `[latent, neuron]`: rates = exp(latent · loadings + bias).
    pub loadings: Option<Array2<f32>>,
    /// Root seed of a simulation.
    pub seed: Option<u64>,
    /// Text of the recipe that made the file.
    pub recipe: Option<String>,
    /// Trials to fit.
    pub train: Split,
    /// Held-out trials.
    pub valid: Split,
}

/// One split: arrays `[trial, time, neuron]`, of which a file may lack some.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Split {
    /// Latent trajectories `[trial, time, latent]`.
    pub latent: Option<Array3<f32>>,
    /// External inputs to the latent dynamics `[trial, time, input]`.
    pub inputs: Option<Array3<f32>>,
    /// Firing rates, Hz.
    pub rates: Option<Array3<f32>>,
    /// Spike counts per bin.
    pub spikes: Option<Array3<f32>>,
    /// Noiseless calcium.
    pub calcium: Option<Array3<f32>>,
    /// Fluorescence: what a microscope sees.
    pub fluor: Option<Array3<f32>>,
}

impl Split {
    /// The array of `quantity`, if the split holds it.
    pub fn get(&self, quantity: Quantity) -> Option<&Array3<f32>> {
        match quantity {
            Quantity::Latent => self.latent.as_ref(),
            Quantity::Inputs => self.inputs.as_ref(),
            Quantity::Rates => self.rates.as_ref(),
            Quantity::Spikes => self.spikes.as_ref(),
            Quantity::Calcium => self.calcium.as_ref(),
            Quantity::Fluor => self.fluor.as_ref(),
        }
    }

    /// The array of `quantity`.
    ///
    /// # Errors
    /// [`Problem::Missing`], naming what the split holds instead.
    pub fn require(&self, quantity: Quantity) -> Result<&Array3<f32>, DataError> {
        self.get(quantity).ok_or_else(|| {
            Problem::Missing {
                wanted: quantity,
                held: self.held(),
            }
            .into()
        })
    }

    pub(crate) fn slot(&mut self, quantity: Quantity) -> &mut Option<Array3<f32>> {
        match quantity {
            Quantity::Latent => &mut self.latent,
            Quantity::Inputs => &mut self.inputs,
            Quantity::Rates => &mut self.rates,
            Quantity::Spikes => &mut self.spikes,
            Quantity::Calcium => &mut self.calcium,
            Quantity::Fluor => &mut self.fluor,
        }
    }

    fn held(&self) -> String {
        let held: Vec<_> = Quantity::ALL
            .into_iter()
            .filter(|&q| self.get(q).is_some())
            .map(Quantity::name)
            .collect();
        if held.is_empty() {
            "nothing".to_owned()
        } else {
            held.join(", ")
        }
    }
}

impl Dataset {
    /// The arrays present, under their names in files.
    pub fn arrays(&self) -> impl Iterator<Item = NamedArray<'_>> {
        [("train", &self.train), ("valid", &self.valid)]
            .into_iter()
            .flat_map(|(split, arrays)| {
                Quantity::ALL.into_iter().filter_map(move |quantity| {
                    let values = arrays.get(quantity)?.view();
                    Some(NamedArray {
                        split,
                        quantity,
                        values,
                    })
                })
            })
    }

    /// Checks every parameter, shape and value.
    ///
    /// [`Dataset::read`] and [`Dataset::write`] call this; call it yourself on data built
    /// by hand. Trials and bins must agree within a split; neurons, latents and inputs in
    /// the whole data set.
    ///
    /// # Errors
    /// The first problem found, naming dataset, index and value.
    pub fn validate(&self) -> Result<(), DataError> {
        self.check_parameters()?;
        let arrays: Vec<_> = self.arrays().collect();
        if arrays.is_empty() {
            return Err(Problem::NoArrays.into());
        }
        check_shapes(&arrays)?;
        self.check_loadings(&arrays)?;
        arrays.iter().try_for_each(NamedArray::check_values)?;
        Ok(())
    }

    fn check_parameters(&self) -> Result<(), Problem> {
        check_positive("dt", self.dt_s)?;
        if let Some(tau_s) = self.tau_s {
            check_positive("tau", tau_s)?;
        }
        self.check_recipe()
    }

    /// HDF5 ends text at a NUL and keeps attributes below 64 KiB.
    fn check_recipe(&self) -> Result<(), Problem> {
        match &self.recipe {
            Some(text) if text.len() > MAX_RECIPE_BYTES || text.contains('\0') => {
                Err(Problem::BadParameter {
                    name: "recipe",
                    found: format!("a text of {} bytes", text.len()),
                    expected: "at most 32768 bytes with no NUL among them",
                })
            }
            _ => Ok(()),
        }
    }

    fn check_loadings(&self, arrays: &[NamedArray<'_>]) -> Result<(), Problem> {
        let Some(loadings) = &self.loadings else {
            return Ok(());
        };
        if loadings.is_empty() {
            return Err(Problem::Empty {
                dataset: "loadings".to_owned(),
                shape: loadings.shape().to_vec(),
            });
        }
        for array in arrays {
            let (axis, length) = match array.quantity {
                Quantity::Latent => ("latents", loadings.nrows()),
                Quantity::Inputs => continue,
                _ => ("neurons", loadings.ncols()),
            };
            if array.values.shape()[2] != length {
                return Err(Problem::Disagree {
                    a: array.dataset(),
                    a_shape: array.values.shape().to_vec(),
                    b: "loadings".to_owned(),
                    b_shape: loadings.shape().to_vec(),
                    axis,
                });
            }
        }
        match loadings.indexed_iter().find(|(_, v)| !v.is_finite()) {
            Some(((latent, neuron), &value)) => Err(Problem::NonFinite {
                dataset: "loadings".to_owned(),
                index: vec![latent, neuron],
                value,
            }),
            None => Ok(()),
        }
    }
}

/// One array of a [`Dataset`], with its place in it.
#[derive(Clone, Debug)]
pub struct NamedArray<'a> {
    /// "train" or "valid".
    pub split: &'static str,
    /// What the array holds.
    pub quantity: Quantity,
    /// `[trial, time, neuron | latent | input]`.
    pub values: ArrayView3<'a, f32>,
}

impl NamedArray<'_> {
    /// Name of the dataset in files, such as `train_spikes`.
    pub fn dataset(&self) -> String {
        format!("{}_{}", self.split, self.quantity)
    }

    fn check_values(&self) -> Result<(), Problem> {
        self.check_each(f32::is_finite, |dataset, index, value| Problem::NonFinite {
            dataset,
            index,
            value,
        })?;
        match self.quantity {
            Quantity::Spikes => {
                self.check_each(is_count, |dataset, index, value| Problem::NotACount {
                    dataset,
                    index,
                    value,
                })
            }
            Quantity::Rates => self.check_each(
                |v| v >= 0.0,
                |dataset, index, value| Problem::NegativeRate {
                    dataset,
                    index,
                    value,
                },
            ),
            _ => Ok(()),
        }
    }

    fn check_each(
        &self,
        good: impl Fn(f32) -> bool,
        problem: impl Fn(String, Vec<usize>, f32) -> Problem,
    ) -> Result<(), Problem> {
        // `fold` without an early exit vectorises; the index is looked up only on failure.
        if self.values.iter().fold(true, |all, &v| all & good(v)) {
            return Ok(());
        }
        let bad = self.values.indexed_iter().find(|(_, v)| !good(**v));
        bad.map_or(Ok(()), |((trial, bin, last), &value)| {
            Err(problem(self.dataset(), vec![trial, bin, last], value))
        })
    }
}

fn is_count(value: f32) -> bool {
    (0.0..=MAX_COUNT).contains(&value) && value.fract() == 0.0
}

fn check_positive(name: &'static str, value: f64) -> Result<(), Problem> {
    if value.is_finite() && value > 0.0 {
        return Ok(());
    }
    Err(Problem::BadParameter {
        name,
        found: value.to_string(),
        expected: "a positive number of seconds",
    })
}

fn check_shapes(arrays: &[NamedArray<'_>]) -> Result<(), Problem> {
    for (i, array) in arrays.iter().enumerate() {
        if array.values.is_empty() {
            return Err(Problem::Empty {
                dataset: array.dataset(),
                shape: array.values.shape().to_vec(),
            });
        }
        arrays[..i]
            .iter()
            .try_for_each(|earlier| check_agreement(earlier, array))?;
    }
    Ok(())
}

fn check_agreement(a: &NamedArray<'_>, b: &NamedArray<'_>) -> Result<(), Problem> {
    let same_split = a.split == b.split;
    let last = b.quantity.last_axis();
    let shared = [
        (same_split, "trials"),
        (same_split, "time bins"),
        (a.quantity.last_axis() == last, last),
    ];
    for (axis, (must_agree, name)) in shared.into_iter().enumerate() {
        if must_agree && a.values.shape()[axis] != b.values.shape()[axis] {
            return Err(Problem::Disagree {
                a: a.dataset(),
                a_shape: a.values.shape().to_vec(),
                b: b.dataset(),
                b_shape: b.values.shape().to_vec(),
                axis: name,
            });
        }
    }
    Ok(())
}
