//! What can be wrong with parameters and traces.

/// Why an indicator model or a deconvolution was refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CalciumError {
    /// The decay per frame is not in [0, 1).
    #[error("g = {g} is not a decay per frame; AR(1) needs 0 <= g < 1")]
    DecayOutOfRange {
        /// The value given.
        g: f64,
    },
    /// Coefficients whose response is not a rise and a decay.
    #[error(
        "g1 = {g1}, g2 = {g2} is not a rise and a decay; AR(2) needs both roots of z^2 = g1 z + g2 in [0, 1)"
    )]
    NotRiseAndDecay {
        /// The first coefficient given.
        g1: f64,
        /// The second coefficient given.
        g2: f64,
    },
    /// A time constant too short for the frame interval under the Euler rule.
    #[error(
        "tau = {tau_s} s is shorter than dt = {dt_s} s, so Euler's g = 1 - dt/tau is negative; use tau >= dt or the exact discretisation"
    )]
    TauShorterThanFrame {
        /// Time constant in seconds.
        tau_s: f64,
        /// Frame interval in seconds.
        dt_s: f64,
    },
    /// Frames so long that the spike network would fill each with more of its own than it could ever use.
    #[error(
        "frames last {dt_s} s, in which transients come and go; the spike network takes frames of up to {longest_s} s"
    )]
    FramesTooLong {
        /// Frame interval in seconds.
        dt_s: f64,
        /// The longest that it takes.
        longest_s: f64,
    },
    /// A name that is no discretisation's.
    #[error(
        "\"{name}\" is no discretisation; it must be \"euler\" (1 - dt/tau) or \"exact\" (exp(-dt/tau))"
    )]
    UnknownDiscretisation {
        /// The name given.
        name: String,
    },
    /// A response that decays before it has risen.
    #[error(
        "the rise time of {rise_s} s is not shorter than the decay time of {decay_s} s; exchange them, or leave the rise out"
    )]
    RiseNotFaster {
        /// Rise time in seconds.
        rise_s: f64,
        /// Decay time in seconds.
        decay_s: f64,
    },
    /// A duration that must be positive and finite is not.
    #[error("{name} = {value} is not a duration; it must be positive and finite")]
    NotADuration {
        /// Name of the parameter.
        name: &'static str,
        /// The value given.
        value: f64,
    },
    /// A penalty or threshold that must be nonnegative and finite is not.
    #[error("{name} = {value} is out of range; it must be finite and at least 0")]
    Negative {
        /// Name of the parameter.
        name: &'static str,
        /// The value given.
        value: f64,
    },
    /// A size that must be positive and finite is not.
    #[error("{name} = {value} is out of range; it must be positive and finite")]
    NotPositive {
        /// Name of the parameter.
        name: &'static str,
        /// The value given.
        value: f64,
    },
    /// A probability that must be strictly between 0 and 1 is not.
    #[error("{name} = {value} is out of range; it must be above 0 and below 1")]
    NotAProbability {
        /// Name of the parameter.
        name: &'static str,
        /// The value given.
        value: f64,
    },
    /// A number that must be finite is not.
    #[error("{name} = {value} is not finite")]
    NotFinite {
        /// Name of the parameter.
        name: &'static str,
        /// The value given.
        value: f64,
    },
    /// More spikes a frame than can be counted.
    #[error(
        "{mean:.0} spikes in a mean frame are too many to be counted (at most 1000); the size of one spike is far too small for this trace"
    )]
    TooManySpikes {
        /// Mean spikes per frame.
        mean: f64,
    },
    /// A trace without frames.
    #[error("the trace is empty; at least one frame is needed")]
    EmptyTrace,
    /// A trace with too little data to estimate from.
    #[error(
        "the trace has {} with data; estimating {what} needs at least {needed} of them",
        match found {
            0 => "no frame".to_owned(),
            1 => "1 frame".to_owned(),
            n => format!("{n} frames"),
        }
    )]
    TooFewFrames {
        /// What was to be estimated.
        what: &'static str,
        /// Frames with data.
        found: usize,
        /// Frames needed.
        needed: usize,
    },
    /// The autocovariance does not decay as calcium does.
    #[error(
        "the autocovariance gives g = {g}, not a decay in [0, 1): the trace drifts, is silent, or noise_sd is too large; remove its baseline or give tau"
    )]
    NoDecay {
        /// The coefficient found.
        g: f64,
    },
    /// A number that must be at least 1 is 0.
    #[error("{name} is 0; it must be at least 1")]
    Zero {
        /// Name of the parameter.
        name: &'static str,
    },
    /// A percentile that is not between 0 and 100.
    #[error("percentile = {value} is out of range; it must be from 0 to 100")]
    NotAPercentile {
        /// The value given.
        value: f64,
    },
    /// A sample is infinite.
    #[error("the trace is {value} at frame {index}; mark frames without data as NaN instead")]
    Infinite {
        /// Frame of the first infinite sample.
        index: usize,
        /// The sample.
        value: f64,
    },
    /// One of several traces was refused.
    #[error("trace {trace}: {source}")]
    InTrace {
        /// Which trace, counted from 0.
        trace: usize,
        /// What is wrong with it.
        source: Box<CalciumError>,
    },
    /// An output slice is not as long as its trace.
    #[error("`{name}` has {found} frames but the trace has {expected}; they must be equally long")]
    OutputLength {
        /// Name of the output.
        name: &'static str,
        /// Frames of the trace.
        expected: usize,
        /// Frames of the output.
        found: usize,
    },
    /// A block of traces that is not a whole number of traces.
    #[error(
        "{n_samples} samples are not a whole number of traces of {n_bins} frames; pass [trace, time] with time contiguous"
    )]
    NotWholeTraces {
        /// Samples in the block.
        n_samples: usize,
        /// Frames per trace.
        n_bins: usize,
    },
}

/// `value` if it is finite and at least 0.
pub(crate) fn nonnegative(name: &'static str, value: f64) -> Result<f64, CalciumError> {
    if value.is_finite() && value >= 0.0 {
        Ok(value)
    } else {
        Err(CalciumError::Negative { name, value })
    }
}

/// `value` if it is finite and above 0.
pub(crate) fn duration(name: &'static str, value: f64) -> Result<f64, CalciumError> {
    if value.is_finite() && value > 0.0 {
        Ok(value)
    } else {
        Err(CalciumError::NotADuration { name, value })
    }
}

/// `value` if it is finite and above 0.
pub(crate) fn positive(name: &'static str, value: f64) -> Result<f64, CalciumError> {
    if value.is_finite() && value > 0.0 {
        Ok(value)
    } else {
        Err(CalciumError::NotPositive { name, value })
    }
}

/// `value` if it is finite.
pub(crate) fn finite(name: &'static str, value: f64) -> Result<f64, CalciumError> {
    if value.is_finite() {
        Ok(value)
    } else {
        Err(CalciumError::NotFinite { name, value })
    }
}

/// `value` if it is not 0.
pub(crate) fn at_least_one(name: &'static str, value: usize) -> Result<usize, CalciumError> {
    if value == 0 {
        return Err(CalciumError::Zero { name });
    }
    Ok(value)
}
