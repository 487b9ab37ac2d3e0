#![doc = include_str!("../README.md")]

mod config;
mod error;
mod name;
mod posterior;
mod reading;

pub use config::{ModelConfig, OasisLfadsConfig};
pub use error::ZooError;
pub use name::ModelName;
pub use posterior::{Posterior, Trained, Training};
pub use reading::{Reading, Setting};
