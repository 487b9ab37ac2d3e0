//! The benchmark data: simulated from the recipe, or read from a file.

use std::path::Path;

use anyhow::{Context, Result, bail};
use calcium::{Ar1, Discretisation, SampledIndicator};
use data::{Dataset, Quantity};
use model::CalciumModel;
use runs::assumption;
use runs::store::{canonical, hex};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use synth::{Benchmark, Observation};

use crate::recipe::Recipe;

/// The data of a benchmark and what the models may know of it.
#[derive(Debug)]
pub struct BenchmarkData {
    pub dataset: Dataset,
    /// SHA-256 of the data.
    pub sha256: String,
    /// The file, or recipe and seed.
    source: Map<String, Value>,
    observation: Observation,
}

impl BenchmarkData {
    /// Reads `file`, or simulates what the recipe says with `seed`.
    ///
    /// # Errors
    /// A file that cannot be read or is damaged; a recipe that cannot be simulated.
    pub fn load(recipe: &Recipe, seed: u64, file: Option<&Path>) -> Result<Self> {
        let (dataset, source) = match file {
            Some(path) => (
                Dataset::read(path)?,
                object(json!({"file": path.to_string_lossy()})),
            ),
            None => simulate(recipe, seed)?,
        };
        let own_recipe = dataset.recipe.as_deref().map(Benchmark::from_recipe);
        let mut observation = match own_recipe {
            Some(Ok(benchmark)) => benchmark.observation().clone(),
            _ => recipe.dataset.observation().clone(),
        };
        if let (Some(path), Some(_)) = (file, dataset.tau_s) {
            let stated = assumption::discretisation(dataset.discretisation, path);
            observation.kinetics = observation.kinetics.with_discretisation(stated);
        }
        Ok(Self {
            sha256: dataset_digest(&dataset),
            dataset,
            source,
            observation,
        })
    }

    /// The calcium dynamics of `n_neurons`: the truth of each neuron, or for all of them the
    /// population's with a decay time `told_tau` times as long. Decay by the dataset, the rest by
    /// the recipe that a simulated file carries, else by the table's own recipe.
    ///
    /// # Errors
    /// If the data do not say their tau, or bins are too wide for it.
    pub fn calcium(&self, n_neurons: usize, told_tau: Option<f64>) -> Result<CalciumModel> {
        let Some(tau_s) = self.dataset.tau_s else {
            bail!("the dataset has no `tau`, which models of fluorescence need");
        };
        let neurons = match (told_tau, self.dataset.seed) {
            (None, Some(seed)) if self.observation.heterogeneity.is_some() => {
                let neurons = self.observation.neurons(n_neurons, seed)?;
                neurons.into_iter().map(|neuron| neuron.indicator).collect()
            }
            _ => {
                let told = told_tau.unwrap_or(1.0) * tau_s;
                let population = Observation {
                    kinetics: self.observation.kinetics.with_decay_s(told),
                    ..self.observation.clone()
                };
                vec![population.indicator()?; n_neurons]
            }
        };
        let sampled = neurons
            .iter()
            .map(|neuron| neuron.per_frame(self.dataset.dt_s));
        let sampled = sampled.collect::<Result<Vec<SampledIndicator>, _>>()?;
        Ok(CalciumModel::of(&sampled)?)
    }

    /// The true decay time of each neuron, seconds, if the data were simulated.
    pub fn true_taus_s(&self, n_neurons: usize) -> Option<Vec<f64>> {
        let neurons = self
            .observation
            .neurons(n_neurons, self.dataset.seed?)
            .ok()?;
        Some(
            neurons
                .iter()
                .map(|n| n.indicator.kernel().decay_s())
                .collect(),
        )
    }

    /// The decay time, seconds, of a decay per bin.
    ///
    /// # Errors
    /// A decay that is none.
    pub fn tau_s(&self, decay: f64) -> Result<f64> {
        let discretisation = self.observation.kinetics.discretisation();
        Ok(Ar1::new(decay)?.tau_s(self.dataset.dt_s, discretisation)?)
    }

    /// What the table says of the data.
    pub fn facts(&self) -> Value {
        let shape = |split: &data::Split| {
            let array = Quantity::ALL
                .into_iter()
                .filter(|q| *q != Quantity::Latent && *q != Quantity::Inputs)
                .find_map(|q| split.get(q));
            array.map_or((0, 0, 0), ndarray::ArrayBase::dim)
        };
        let (n_train, n_bins, n_neurons) = shape(&self.dataset.train);
        let (n_valid, ..) = shape(&self.dataset.valid);
        let mut facts = self.source.clone();
        facts.extend(object(json!({
            "sha256": self.sha256,
            "n_train": n_train,
            "n_valid": n_valid,
            "n_bins": n_bins,
            "n_neurons": n_neurons,
            "dt_s": self.dataset.dt_s,
            "tau_s": self.dataset.tau_s,
        })));
        Value::Object(facts)
    }
}

fn simulate(recipe: &Recipe, seed: u64) -> Result<(Dataset, Map<String, Value>)> {
    let dataset = recipe
        .dataset
        .simulate(seed)
        .with_context(|| format!("{}, [dataset]", recipe.name))?;
    let source = json!({"recipe": &recipe.dataset, "seed": seed});
    Ok((dataset, object(source)))
}

/// SHA-256 of everything a dataset says about its trials, as 64 hexadecimal digits: first its
/// numbers and the names and shapes of its arrays as canonical JSON, then the values in
/// little-endian bytes.
fn dataset_digest(dataset: &Dataset) -> String {
    let arrays: Vec<Value> = dataset
        .arrays()
        .map(|array| json!([array.split, array.quantity.name(), array.values.shape()]))
        .collect();
    let facts = json!({
        "dt_s": dataset.dt_s,
        "tau_s": dataset.tau_s,
        "discretisation": dataset.discretisation.map(Discretisation::name),
        "arrays": arrays,
    });
    let mut sha = Sha256::new();
    sha.update(canonical(&facts));
    for array in dataset.arrays() {
        for value in array.values {
            sha.update(value.to_le_bytes());
        }
    }
    hex(&sha.finalize())
}

/// The fields of a `json!({…})`.
fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Manifest {
        dataset: Vec<Entry>,
    }

    #[derive(serde::Deserialize)]
    struct Entry {
        recipe: String,
        seed: u64,
        sha256: String,
    }

    #[test]
    fn the_manifest_holds_on_this_machine() {
        let manifest = include_str!("../../../datasets/MANIFEST.toml");
        let manifest: Manifest = toml::from_str(manifest).unwrap();
        assert_eq!(manifest.dataset.len(), 2);
        for entry in manifest.dataset {
            let path = Path::new("../..").join(&entry.recipe);
            let recipe = Recipe::read(&path).unwrap();
            let data = BenchmarkData::load(&recipe, entry.seed, None).unwrap();
            assert_eq!(data.sha256, entry.sha256, "{}", entry.recipe);
        }
    }

    #[test]
    fn a_model_is_told_so_many_times_the_decay() {
        let recipe = Recipe::quick().unwrap();
        let data = BenchmarkData::load(&recipe, 1, None).unwrap();
        let (tau_s, dt_s) = (data.dataset.tau_s.unwrap(), data.dataset.dt_s);
        for told in [0.5, 2.0] {
            let calcium = data.calcium(2, Some(told)).unwrap();
            // By Euler's rule, as the benchmark is made.
            let wanted = 1.0 - dt_s / (told * tau_s);
            for neuron in calcium.neurons {
                assert!(
                    (neuron.g - wanted).abs() < 1e-9,
                    "{} is not {wanted}",
                    neuron.g
                );
            }
        }
    }

    #[test]
    fn the_digest_sees_values_shapes_and_parameters() {
        let array = |shape| Some(ndarray::Array3::<f32>::zeros(shape));
        let with_shape = |shape| data::Split {
            fluor: array(shape),
            ..Default::default()
        };
        let dataset = |shape, dt_s| Dataset {
            dt_s,
            tau_s: None,
            discretisation: None,
            loadings: None,
            seed: None,
            recipe: None,
            train: with_shape(shape),
            valid: with_shape(shape),
        };
        let digests = [
            dataset_digest(&dataset((1, 2, 3), 0.1)),
            dataset_digest(&dataset((1, 3, 2), 0.1)),
            dataset_digest(&dataset((1, 2, 3), 0.2)),
        ];
        assert!(digests[0] != digests[1] && digests[0] != digests[2]);
        assert_eq!(digests[0], dataset_digest(&dataset((1, 2, 3), 0.1)));
    }
}
