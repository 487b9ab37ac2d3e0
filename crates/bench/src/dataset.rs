//! The benchmark data: simulated from the recipe, or read from a file.

use std::path::Path;

use anyhow::{Context, Result, bail};
use calcium::{Ar1, Discretisation};
use data::{Dataset, Quantity};
use model::Indicator;
use serde_json::{Value, json};

use crate::recipe::{Observed, Recipe};
use crate::store::dataset_digest;

/// The data of a benchmark and what the models may know of it.
#[derive(Debug)]
pub struct Benchmark {
    pub dataset: Dataset,
    /// SHA-256 of the data.
    pub sha256: String,
    /// Where the data came from.
    source: Value,
    /// Calcium per spike and per bin, which files do not hold.
    gain: f64,
    baseline: f64,
}

impl Benchmark {
    /// Reads `file`, or simulates what the recipe says.
    ///
    /// # Errors
    /// A file that cannot be read or is damaged; a recipe that cannot be simulated.
    pub fn load(recipe: &Recipe, file: Option<&Path>) -> Result<Self> {
        let (dataset, source) = match file {
            Some(path) => (Dataset::read(path)?, json!({"file": path})),
            None => simulate(recipe)?,
        };
        let observation = &recipe.dataset.observation;
        Ok(Self {
            sha256: dataset_digest(&dataset),
            dataset,
            source,
            gain: observation.gain,
            baseline: observation.baseline,
        })
    }

    /// The calcium dynamics of the data.
    ///
    /// # Errors
    /// If the data do not say their tau.
    pub fn indicator(&self) -> Result<Indicator> {
        let Some(tau_s) = self.dataset.tau_s else {
            bail!("the dataset has no `tau`, which models of fluorescence need");
        };
        let discretisation = match self.dataset.discretisation.as_deref() {
            Some("exact") => Discretisation::Exact,
            _ => Discretisation::Euler,
        };
        Ok(Indicator {
            g: Ar1::from_tau(tau_s, self.dataset.dt_s, discretisation)?.g(),
            gain: self.gain,
            baseline: self.baseline,
        })
    }

    /// Checks that both splits hold what the models of `observed` read.
    pub fn require(&self, observed: Observed) -> Result<()> {
        for (name, split) in [
            ("train", &self.dataset.train),
            ("valid", &self.dataset.valid),
        ] {
            split
                .require(observed.quantity())
                .with_context(|| format!("dataset, {name} split"))?;
        }
        Ok(())
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
        json!({
            "source": self.source,
            "sha256": self.sha256,
            "n_train": n_train,
            "n_valid": n_valid,
            "n_bins": n_bins,
            "n_neurons": n_neurons,
            "dt_s": self.dataset.dt_s,
            "tau_s": self.dataset.tau_s,
        })
    }
}

fn simulate(recipe: &Recipe) -> Result<(Dataset, Value)> {
    let seed = recipe.dataset_seed;
    let dataset = recipe
        .dataset
        .simulate(seed)
        .with_context(|| format!("{}, [dataset]", recipe.name))?;
    let source = json!({"recipe": &recipe.dataset, "seed": seed});
    Ok((dataset, source))
}
