//! A training as a library's guest asks for it.

use crate::batch::TrainData;
use crate::error::ModelError;
use crate::vae::SequentialVae;

use super::{Checkpoints, Fitted, Observer, TrainConfig, fit};

/// How to train, said where it differs from the defaults: [`TrainConfig`]'s, seed 0, no
/// checkpoints, nobody watching.
///
/// # Example
/// ```
/// use model::{Device, LfadsConfig, TrainConfig, TrainData, Training};
/// use ndarray::Array3;
///
/// let counts = Array3::from_shape_fn((8, 10, 4), |(i, t, n)| ((i + t * n) % 3) as f32);
/// let data = TrainData::new(counts.clone(), counts)?;
/// let model = LfadsConfig::default().init(&[1.0; 4], 0.1, 7, &Device::flex())?;
/// let config = TrainConfig { n_steps: 2, ..TrainConfig::default() };
/// assert_eq!(Training::new(config).seed(7).fit(model, &data)?.steps, 2);
/// # Ok::<(), model::ModelError>(())
/// ```
#[derive(Default)]
pub struct Training<'a> {
    config: TrainConfig,
    seed: u64,
    checkpoints: Option<Checkpoints<'a>>,
    observer: Option<&'a mut dyn Observer>,
}

impl<'a> Training<'a> {
    /// With these numbers.
    pub fn new(config: TrainConfig) -> Self {
        Self {
            config,
            ..Self::default()
        }
    }

    /// Of the order of the trials and of all noise.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Where to resume from and to keep checkpoints.
    #[must_use]
    pub fn checkpoints(mut self, checkpoints: Checkpoints<'a>) -> Self {
        self.checkpoints = Some(checkpoints);
        self
    }

    /// Who is told of every step.
    #[must_use]
    pub fn watched_by(mut self, observer: &'a mut dyn Observer) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Trains `model` on `data`.
    ///
    /// # Errors
    /// As [`fit`].
    pub fn fit<M: SequentialVae>(
        self,
        model: M,
        data: &TrainData,
    ) -> Result<Fitted<M>, ModelError> {
        let Self {
            config,
            seed,
            checkpoints,
            observer,
        } = self;
        match observer {
            Some(observer) => fit(model, data, &config, seed, checkpoints, observer),
            None => fit(model, data, &config, seed, checkpoints, &mut ()),
        }
    }
}
