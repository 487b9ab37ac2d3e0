#![doc = include_str!("../README.md")]

mod calibration;
mod choice;
mod co_smoothing;
mod config;
mod deconvolution;
mod dimming;
mod driven;
mod external;
mod factor_axes;
mod fit;
mod forecast;
mod held_out;
mod inference;
mod inspection;
mod layout;
mod neurons;
mod observations;
mod pieces;
mod proof;
mod run_folder;
mod session;
mod signal;
pub mod simple;
#[cfg(test)]
mod testing;
mod tried;
mod truth;
mod warnings;

pub use calibration::Calibration;
pub use choice::Choice;
pub use config::{
    BaselineConfig, CalibrationConfig, FitConfig, Resolved, StartConfig, WindowConfig, WindowSize,
};
pub use deconvolution::{Deconvolution, Method, Solved};
pub use external::ExternalRecord;
pub use factor_axes::FactorAxes;
pub use fit::{FitRequest, Prepared, likelihood_of, model_for};
pub use held_out::HeldOut;
pub use inspection::{InspectedNeuron, Inspection, Memory};
pub use observations::Observations;
pub use pieces::{Cut, Piece};
pub use proof::{Forecast, Lead, Measure, Proof, Rival, Standing};
pub use run_folder::{History, Locked, RunFolder, RunRecord, RunResult, Source};
pub use session::{Session, check as check_session, infer};
pub use tried::{Change, Driven, Tried};
pub use truth::{Evaluation, Quality, Simple};
