//! Weights as files: safetensors, whose metadata holds what the shapes do not say.

use std::collections::HashMap;

use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensorError, SafeTensors};

use super::layers::{Architecture, Layers};

/// Why a file of weights was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// Not a file of tensors.
    #[error("the weights cannot be read: {0}")]
    Format(#[from] SafeTensorError),
    /// The dilations are missing or no numbers.
    #[error(
        "the weights' metadata lack `dilations`, as in 1,2,4: they are not those of a spike network"
    )]
    NoDilations,
    /// A tensor is not what the sizes need.
    #[error(
        "the weights' tensor `{name}` has the shape {found:?} in {dtype:?}, not {expected:?} in F32"
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

impl Layers {
    /// The file's bytes.
    ///
    /// # Errors
    /// [`WeightsError::Format`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, WeightsError> {
        let places = self.architecture().tensors();
        let bytes: Vec<Vec<u8>> = places
            .iter()
            .map(|place| {
                let values = self.parameters[place.range.clone()].iter();
                values.flat_map(|value| value.to_le_bytes()).collect()
            })
            .collect();
        let views: Vec<(&str, TensorView<'_>)> = places
            .iter()
            .zip(&bytes)
            .map(|(place, bytes)| {
                let view = TensorView::new(Dtype::F32, place.shape.clone(), bytes)?;
                Ok((place.name.as_str(), view))
            })
            .collect::<Result<_, SafeTensorError>>()?;
        let dilations: Vec<String> = self
            .architecture()
            .dilations
            .iter()
            .map(ToString::to_string)
            .collect();
        let metadata = HashMap::from([("dilations".to_owned(), dilations.join(","))]);
        Ok(safetensors::serialize(views, Some(metadata))?)
    }

    /// Reads the bytes of a file.
    ///
    /// # Errors
    /// [`WeightsError`], for what is not a spike network.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WeightsError> {
        let (_, metadata) = SafeTensors::read_metadata(bytes)?;
        let dilations = metadata
            .metadata()
            .as_ref()
            .and_then(|metadata| metadata.get("dilations"))
            .and_then(|list| list.split(',').map(|part| part.parse().ok()).collect())
            .filter(|list: &Vec<usize>| !list.is_empty())
            .ok_or(WeightsError::NoDilations)?;
        let tensors = SafeTensors::deserialize(bytes)?;
        let axis = |name: &str, axis: usize| -> Result<usize, WeightsError> {
            let shape = tensors.tensor(name)?.shape().to_vec();
            Ok(shape.get(axis).copied().unwrap_or(0))
        };
        let architecture = Architecture {
            width: axis("input.bias", 0)?,
            input_taps: axis("input.taps", 0)?,
            block_taps: axis("block.0.taps", 0)?,
            output_taps: axis("output.taps", 0)?,
            dilations,
        };
        let mut layers = Self::zeros(architecture);
        for place in layers.architecture().tensors() {
            let tensor = tensors.tensor(&place.name)?;
            if tensor.shape() != place.shape || tensor.dtype() != Dtype::F32 {
                return Err(WeightsError::Tensor {
                    name: place.name,
                    found: tensor.shape().to_vec(),
                    dtype: tensor.dtype(),
                    expected: place.shape,
                });
            }
            let (values, _) = tensor.data().as_chunks();
            let to = layers.parameters[place.range].iter_mut();
            for (to, value) in to.zip(values) {
                *to = f32::from_le_bytes(*value);
            }
        }
        Ok(layers)
    }
}
