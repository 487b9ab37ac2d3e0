//! Weights as files: safetensors, whose metadata holds what the shapes do not say.

use std::collections::HashMap;

use half::f16;
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensorError, SafeTensors};

use super::layers::{Architecture, Layers, TensorPlace};

/// Why a file of weights was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// Not a file of tensors.
    #[error("the weights cannot be read: {0}")]
    Format(#[from] SafeTensorError),
    /// The dilations are missing or no numbers.
    #[error(
        "the weights' metadata lack `dilations`, as in 1,2,4;1,3,9: they are not those of spike networks"
    )]
    NoDilations,
    /// A tensor is not what the sizes need.
    #[error(
        "the weights' tensor `{name}` has the shape {found:?} in {dtype:?}, not {expected:?} in F16"
    )]
    Tensor {
        /// Its name.
        name: String,
        /// Sizes of its axes.
        found: Vec<usize>,
        /// Its number type.
        dtype: Dtype,
        /// What the other sizes ask for.
        expected: Vec<usize>,
    },
}

/// Name of a network's tensor in the file.
fn name_of(member: usize, place: &str) -> String {
    format!("{member}.{place}")
}

/// The bytes of a file of networks that are averaged, their weights rounded to 16 bits.
///
/// # Errors
/// [`WeightsError::Format`].
pub fn to_bytes(members: &[Layers]) -> Result<Vec<u8>, WeightsError> {
    let mut tensors: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
    for (member, layers) in members.iter().enumerate() {
        for place in layers.architecture().tensors() {
            let values = layers.parameters[place.range].iter();
            let bytes = values.flat_map(|&value| f16::from_f32(value).to_le_bytes());
            tensors.push((name_of(member, &place.name), place.shape, bytes.collect()));
        }
    }
    let views: Vec<(&str, TensorView<'_>)> = tensors
        .iter()
        .map(|(name, shape, bytes)| {
            let view = TensorView::new(Dtype::F16, shape.clone(), bytes)?;
            Ok((name.as_str(), view))
        })
        .collect::<Result<_, SafeTensorError>>()?;
    let dilations = members.iter().map(|layers| {
        let dilations = layers.architecture().dilations.iter();
        let dilations: Vec<String> = dilations.map(ToString::to_string).collect();
        dilations.join(",")
    });
    let dilations: Vec<String> = dilations.collect();
    let metadata = HashMap::from([("dilations".to_owned(), dilations.join(";"))]);
    Ok(safetensors::serialize(views, Some(metadata))?)
}

/// The networks of a file's bytes.
///
/// # Errors
/// [`WeightsError`], for what holds no spike networks.
pub fn from_bytes(bytes: &[u8]) -> Result<Vec<Layers>, WeightsError> {
    let (_, metadata) = SafeTensors::read_metadata(bytes)?;
    let tensors = SafeTensors::deserialize(bytes)?;
    let all = metadata
        .metadata()
        .as_ref()
        .and_then(|metadata| metadata.get("dilations"))
        .ok_or(WeightsError::NoDilations)?;
    let read = |(member, list): (usize, &str)| {
        let dilations: Option<Vec<usize>> = list.split(',').map(|part| part.parse().ok()).collect();
        layers(
            &tensors,
            member,
            dilations.ok_or(WeightsError::NoDilations)?,
        )
    };
    all.split(';').enumerate().map(read).collect()
}

fn layers(
    tensors: &SafeTensors<'_>,
    member: usize,
    dilations: Vec<usize>,
) -> Result<Layers, WeightsError> {
    let axis = |name: &str, axis: usize| -> Result<usize, WeightsError> {
        let shape = tensors.tensor(&name_of(member, name))?.shape().to_vec();
        Ok(shape.get(axis).copied().unwrap_or(0))
    };
    let mut layers = Layers::zeros(Architecture {
        width: axis("input.bias", 0)?,
        input_taps: axis("input.taps", 0)?,
        block_taps: axis("block.0.taps", 0)?,
        output_taps: axis("output.taps", 0)?,
        dilations,
    });
    for TensorPlace {
        name, shape, range, ..
    } in layers.architecture().tensors()
    {
        let name = name_of(member, &name);
        let tensor = tensors.tensor(&name)?;
        if tensor.shape() != shape || tensor.dtype() != Dtype::F16 {
            return Err(WeightsError::Tensor {
                name,
                found: tensor.shape().to_vec(),
                dtype: tensor.dtype(),
                expected: shape,
            });
        }
        let (values, _) = tensor.data().as_chunks();
        for (to, value) in layers.parameters[range].iter_mut().zip(values) {
            *to = f16::from_le_bytes(*value).to_f32();
        }
    }
    Ok(layers)
}
