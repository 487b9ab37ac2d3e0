#![doc = include_str!("../README.md")]

mod batch;
mod blur;
mod calcium_model;
mod calibration;
mod checkpoint;
mod controller;
mod count_draw;
mod count_ladder;
mod count_residuals;
mod deep;
pub mod dynamics;
mod elbo;
mod error;
mod external;
mod gaussian;
mod identity;
mod indicator;
pub mod infer;
mod input_prior;
mod ladder;
pub mod layers;
mod lfads;
mod noise;
mod number;
mod observed;
mod optimizer;
mod pass;
mod schedule;
mod search;
pub mod train;
mod vae;
mod zig;

pub use batch::TrainData;
pub use blur::Blur;
pub use calcium_model::{CalciumModel, NeuronCalcium, TrialStart};
pub use calibration::Ranks;
pub use controller::{ControllerConfig, InferredInputs};
pub use count_ladder::{CountLadder, CountLadderConfig};
pub use deep::{Coordinated, DeepDraw, DeepInput, DeepPass, DeepPosterior};
pub use dynamics::{Dynamics, DynamicsConfig};
pub use elbo::{Elbo, ElboValues, Term, TermWeights};
pub use error::ModelError;
pub use external::ExternalConfig;
pub use gaussian::{DiagonalGaussian, Prior};
pub use identity::Difference;
pub use indicator::{FluorStatistics, Indicator};
pub use infer::{Inference, Inferred, InputPosterior, posterior_mean, sample_posterior};
pub use input_prior::InputPriorKind;
pub use ladder::{Ladder, LadderConfig};
pub use lfads::{Lfads, LfadsConfig, log_rates_from_counts};
pub use noise::{Noise, Stream};
pub use observed::Observed;
pub use pass::{DropoutMode, Pass, Stage, Task};
pub use schedule::{LearningRate, WarmUp};
pub use search::{KnownStates, SearchConfig};
pub use train::{
    Checkpoints, Fitted, Observer, TrainConfig, Training, check_checkpoint, fit, load_weights,
};

/// Target of the `tracing` events by which long work says how far it is: its field `what` names the
/// work, of which `done` pieces are done, `of` so many in all.
pub const PROGRESS: &str = "progress";

/// Where a model computes: `Device::flex()` is the CPU.
pub use burn::tensor::Device;
pub use vae::{Draw, Encoded, SequentialVae, ShallowLevel};
pub use zig::{EventStatistics, ZigLfads, ZigLfadsConfig};
