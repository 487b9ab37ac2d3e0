//! The state of a training as a file.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use calcium::network::layers::{Architecture, Layers};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use crate::optimiser::State;

const NAMES: [&str; 4] = ["weights", "first_moment", "second_moment", "mean_weights"];

/// Writes a file whole or not at all.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let unfinished = path.with_extension("unfinished");
    std::fs::write(&unfinished, bytes).with_context(|| unfinished.display().to_string())?;
    std::fs::rename(&unfinished, path).with_context(|| path.display().to_string())
}

/// Writes the state.
pub fn save(state: &State, path: &Path) -> Result<()> {
    let [first, second] = &state.moments;
    let vectors = [&state.layers.parameters, first, second, &state.mean];
    let bytes = vectors.map(|vector| -> Vec<u8> {
        vector
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect()
    });
    let views: Vec<(&str, TensorView<'_>)> = NAMES
        .into_iter()
        .zip(&bytes)
        .map(|(name, bytes)| {
            Ok((
                name,
                TensorView::new(Dtype::F32, vec![bytes.len() / 4], bytes)?,
            ))
        })
        .collect::<Result<_>>()?;
    let metadata = HashMap::from([("step".to_owned(), state.step.to_string())]);
    write(path, &safetensors::serialize(views, Some(metadata))?)
}

/// Reads the state of a training of this network.
pub fn open(path: &Path, architecture: Architecture) -> Result<State> {
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    parse(&bytes, architecture).with_context(|| {
        format!(
            "{}: no checkpoint of this recipe; delete it to start anew",
            path.display()
        )
    })
}

fn parse(bytes: &[u8], architecture: Architecture) -> Result<State> {
    let (_, metadata) = SafeTensors::read_metadata(bytes)?;
    let step = metadata
        .metadata()
        .as_ref()
        .and_then(|metadata| metadata.get("step")?.parse().ok())
        .context("it lacks the number of steps")?;
    let tensors = SafeTensors::deserialize(bytes)?;
    let mut layers = Layers::zeros(architecture);
    let n = layers.parameters.len();
    let vector = |name: &str| -> Result<Vec<f32>> {
        let tensor = tensors.tensor(name)?;
        let (values, _) = tensor.data().as_chunks();
        ensure!(
            values.len() == n,
            "`{name}` has {} numbers, the network {n}",
            values.len()
        );
        Ok(values
            .iter()
            .map(|value| f32::from_le_bytes(*value))
            .collect())
    };
    layers.parameters = vector(NAMES[0])?;
    Ok(State {
        step,
        layers,
        moments: [vector(NAMES[1])?, vector(NAMES[2])?],
        mean: vector(NAMES[3])?,
    })
}
