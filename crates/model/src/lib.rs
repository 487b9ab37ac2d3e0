#![doc = include_str!("../README.md")]

mod batch;
mod calcium_model;
mod calibration;
mod checkpoint;
mod count_draw;
mod count_ladder;
mod count_posterior;
pub mod dynamics;
mod elbo;
mod error;
mod gaussian;
pub mod infer;
mod ladder;
pub mod layers;
mod lfads;
mod noise;
mod observed;
mod optimizer;
mod schedule;
pub mod train;

pub use batch::TrainData;
pub use calcium_model::{CalciumModel, NeuronCalcium, TrialStart};
pub use calibration::{Ranks, rate_coverage};
pub use count_ladder::{CountLadder, CountLadderConfig};
pub use dynamics::{DeepDraw, Dynamics, DynamicsConfig};
pub use elbo::{Draw, DropoutMode, Elbo, ElboValues, Pass, SequentialVae, Stage, TermWeights};
pub use error::ModelError;
pub use gaussian::{DiagonalGaussian, Prior};
pub use infer::{Inferred, posterior_factors, posterior_mean, sample_posterior};
pub use ladder::{FluorStatistics, Indicator, Ladder, LadderConfig};
pub use lfads::{INIT_STEP, Lfads, LfadsConfig, log_rates_from_counts};
pub use noise::Noise;
pub use observed::Observed;
pub use schedule::{LearningRate, WarmUp};
pub use train::{Fitted, Observer, TrainConfig, fit, load_weights};
