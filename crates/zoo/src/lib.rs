#![doc = include_str!("../README.md")]

mod activity;
mod config;
mod error;
mod name;
mod posterior;
mod reading;

pub use activity::{expected_spikes, spans};
pub use config::{ModelConfig, OasisLfadsConfig};
pub use error::ZooError;
pub use name::ModelName;
pub use posterior::{Posterior, Trained, Training};
pub use reading::{Reading, Setting};
