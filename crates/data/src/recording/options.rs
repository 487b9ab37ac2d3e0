//! What the caller states of a recording.

use std::fmt;
use std::path::PathBuf;

use super::units::Units;

/// An axis of a stored array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ArrayAxis {
    Trial,
    Time,
    Neuron,
}

/// Order of the axes of a stored array, slowest first as NumPy and MATLAB count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AxisOrder {
    /// `[time, neuron]`, or `[trial, time, neuron]`.
    TimeNeuron,
    /// `[neuron, time]`, or `[trial, neuron, time]`.
    NeuronTime,
    /// `[trial, time, neuron]`.
    TrialTimeNeuron,
    /// `[trial, neuron, time]`.
    TrialNeuronTime,
    /// `[time, trial, neuron]`.
    TimeTrialNeuron,
    /// `[time, neuron, trial]`.
    TimeNeuronTrial,
    /// `[neuron, trial, time]`.
    NeuronTrialTime,
    /// `[neuron, time, trial]`.
    NeuronTimeTrial,
}

impl fmt::Display for AxisOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl AxisOrder {
    /// Every order.
    pub const ALL: [Self; 8] = [
        Self::TimeNeuron,
        Self::NeuronTime,
        Self::TrialTimeNeuron,
        Self::TrialNeuronTime,
        Self::TimeTrialNeuron,
        Self::TimeNeuronTrial,
        Self::NeuronTrialTime,
        Self::NeuronTimeTrial,
    ];

    /// What it is called: its axes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TimeNeuron => "time-neuron",
            Self::NeuronTime => "neuron-time",
            Self::TrialTimeNeuron => "trial-time-neuron",
            Self::TrialNeuronTime => "trial-neuron-time",
            Self::TimeTrialNeuron => "time-trial-neuron",
            Self::TimeNeuronTrial => "time-neuron-trial",
            Self::NeuronTrialTime => "neuron-trial-time",
            Self::NeuronTimeTrial => "neuron-time-trial",
        }
    }

    /// The one that is called so.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|order| order.name() == name)
    }
}

impl AxisOrder {
    /// The axes of an array of three axes, as stored.
    pub(crate) const fn of_three(self) -> [ArrayAxis; 3] {
        use ArrayAxis::{Neuron, Time, Trial};
        match self {
            Self::TimeNeuron | Self::TrialTimeNeuron => [Trial, Time, Neuron],
            Self::NeuronTime | Self::TrialNeuronTime => [Trial, Neuron, Time],
            Self::TimeTrialNeuron => [Time, Trial, Neuron],
            Self::TimeNeuronTrial => [Time, Neuron, Trial],
            Self::NeuronTrialTime => [Neuron, Trial, Time],
            Self::NeuronTimeTrial => [Neuron, Time, Trial],
        }
    }

    /// Whether it can be that of two axes.
    pub(crate) fn is_of_two(self) -> bool {
        matches!(self, Self::TimeNeuron | Self::NeuronTime)
    }

    /// Whether neurons come before frames.
    pub(crate) fn is_neuron_first(self) -> bool {
        let axes = self.of_three();
        let place = |wanted| axes.iter().position(|axis| *axis == wanted);
        place(ArrayAxis::Neuron) < place(ArrayAxis::Time)
    }
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
    /// Share of the neuropil's fluorescence to subtract, where it is recorded; `None`: as the file
    /// says, else 0.7 in a suite2p folder.
    pub neuropil: Option<f32>,
    /// Only regions that `iscell` accepts.
    pub cells_only: bool,
    /// suite2p: also the frames that it flagged (`ops['badframes']`).
    pub flagged_frames: bool,
    /// File of frames that are no data: an array or column with a number a frame, not 0 where there
    /// is no data, or a list of frames, counted from 0.
    pub mask: Option<PathBuf>,
    /// The part of the time to read.
    pub part: Part,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            rate_hz: None,
            units: None,
            dataset: None,
            order: None,
            neuropil: None,
            cells_only: true,
            flagged_frames: false,
            mask: None,
            part: Part::default(),
        }
    }
}

/// A part of the time; of an array of trials, of every trial.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Part {
    /// First second, on the recording's clock; `None`: its start.
    pub from_s: Option<f64>,
    /// End in seconds, excluded, on the recording's clock; `None`: its end.
    pub to_s: Option<f64>,
    /// First frame; `None`: the first of all.
    pub first_frame: Option<usize>,
    /// Frame after the last; `None`: as many as there are.
    pub end_frame: Option<usize>,
}

impl Part {
    /// Whether it is the whole.
    pub fn is_whole(&self) -> bool {
        *self == Self::default()
    }
}
