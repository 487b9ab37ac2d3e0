//! What can be wrong with a recipe.

/// Why a benchmark cannot be simulated.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SynthError {
    /// A parameter outside its domain.
    #[error("`{field}` is {value}; it must be {expected}")]
    BadField {
        /// Path of the field in the recipe, such as `observation.noise_sd`.
        field: &'static str,
        /// Value found.
        value: String,
        /// What is wanted.
        expected: &'static str,
    },
    /// Numbers that make no indicator.
    #[error("`observation`: {0}")]
    Indicator(#[from] calcium::CalciumError),
    /// Rates or spikes of another number of neurons than are observed.
    #[error(
        "`{array}` has {found} neurons, but {expected} are observed; its axes are [time, neuron]"
    )]
    NeuronCount {
        /// Name of the array.
        array: &'static str,
        /// Neurons in the array.
        found: usize,
        /// Neurons of the observer.
        expected: usize,
    },
    /// A rate or a count that no neuron has.
    #[error("`{array}` is {value} in bin {bin} of neuron {neuron}; it must be from 0 to {most:e}")]
    BadValue {
        /// Name of the array.
        array: &'static str,
        /// Time bin, from 0.
        bin: usize,
        /// Neuron, from 0.
        neuron: usize,
        /// The value.
        value: f64,
        /// The largest allowed.
        most: f64,
    },
    /// The text is no recipe.
    #[error("the recipe cannot be read: {0}")]
    Recipe(String),
    /// The dynamics left the range of numbers.
    #[error(
        "the dynamics of condition {condition} diverge (state {state} at step {step}); make the integration step smaller"
    )]
    Diverged {
        /// Condition, from 0.
        condition: usize,
        /// Integration step, from 0 after the burn-in.
        step: usize,
        /// Coordinate that is not finite.
        state: f64,
    },
    /// No network passes the test for chaos.
    #[error(
        "none of {attempts} random networks is chaotic enough; raise `gain` or `n_units`, or lower `min_lyapunov`"
    )]
    NotChaotic {
        /// Networks tried.
        attempts: usize,
    },
    /// Nothing moves, so nothing can be inferred.
    #[error(
        "the latent state never moves after the burn-in; choose parameters of a chaotic regime, such as rho = 28"
    )]
    Still,
    /// Trials where one continuous recording is asked for.
    #[error(
        "suite2p's folder holds one continuous recording, and this recipe makes trials; write them as HDF5"
    )]
    Continuous,
    /// A rate for which counts are not exact in a file of 32-bit floats.
    #[error(
        "neuron {neuron} of condition {condition} would fire {counts:e} spikes in bin {bin}; lower the base rate or the loadings (at most 1e7 a bin)"
    )]
    RateTooHigh {
        /// Condition, from 0.
        condition: usize,
        /// Time bin, from 0.
        bin: usize,
        /// Neuron, from 0.
        neuron: usize,
        /// Expected spikes in the bin.
        counts: f64,
    },
}

/// `Ok` if `good`, else an error that shows the field and its value.
pub(crate) fn check(
    good: bool,
    field: &'static str,
    value: impl std::fmt::Debug,
    expected: &'static str,
) -> Result<(), SynthError> {
    if good {
        return Ok(());
    }
    Err(SynthError::BadField {
        field,
        value: format!("{value:?}"),
        expected,
    })
}

/// `Ok` if `value` is finite and above zero.
pub(crate) fn check_positive(field: &'static str, value: f64) -> Result<(), SynthError> {
    check(
        value.is_finite() && value > 0.0,
        field,
        value,
        "a positive number",
    )
}

/// `Ok` if `value` is finite and not below zero.
pub(crate) fn check_not_negative(field: &'static str, value: f64) -> Result<(), SynthError> {
    check(
        value.is_finite() && value >= 0.0,
        field,
        value,
        "zero or a positive number",
    )
}

/// `Ok` if `value` is at least 1.
pub(crate) fn check_count(field: &'static str, value: usize) -> Result<(), SynthError> {
    check(value >= 1, field, value, "1 or more")
}

/// `Ok` if the burn-in ends in this lifetime.
pub(crate) fn check_burn_in(steps: usize) -> Result<(), SynthError> {
    check(
        steps <= 10_000_000,
        "burn_in_steps",
        steps,
        "at most 10 million",
    )
}
