//! What the caller states of a recording.

use super::units::Units;

/// Order of the last two axes of a stored array, slowest first as NumPy and MATLAB count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AxisOrder {
    /// `[time, neuron]`, or `[trial, time, neuron]`.
    TimeNeuron,
    /// `[neuron, time]`, or `[trial, neuron, time]`.
    NeuronTime,
}

/// What the caller knows better than the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Frames per second; `None`: as the file says.
    pub rate_hz: Option<f64>,
    /// What the values are; `None`: as the file says.
    pub units: Option<Units>,
    /// Dataset, variable or archive member to read; `None`: the only one that can be meant.
    pub dataset: Option<String>,
    /// Order of the axes; `None`: as the file says, else `[time, neuron]` where plausible. suite2p
    /// has but one.
    pub order: Option<AxisOrder>,
    /// suite2p: share of the neuropil's fluorescence to subtract.
    pub neuropil: f32,
    /// suite2p: only regions that `iscell.npy` accepts.
    pub cells_only: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            rate_hz: None,
            units: None,
            dataset: None,
            order: None,
            neuropil: 0.7,
            cells_only: true,
        }
    }
}
