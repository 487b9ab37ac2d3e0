//! What the arrays of a benchmark are called.

use std::fmt;

/// The arrays a [`crate::Split`] may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Quantity {
    /// Latent trajectories.
    Latent,
    /// External inputs to the latent dynamics.
    Inputs,
    /// Firing rates, Hz.
    Rates,
    /// Spike counts per bin.
    Spikes,
    /// Noiseless calcium.
    Calcium,
    /// Fluorescence.
    Fluor,
}

impl Quantity {
    /// Every quantity, in file order.
    pub const ALL: [Self; 6] = [
        Self::Latent,
        Self::Inputs,
        Self::Rates,
        Self::Spikes,
        Self::Calcium,
        Self::Fluor,
    ];

    /// Name of the quantity in files: `train_` or `valid_` goes before it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Latent => "latent",
            Self::Inputs => "inputs",
            Self::Rates => "rates",
            Self::Spikes => "spikes",
            Self::Calcium => "calcium",
            Self::Fluor => "fluor",
        }
    }

    pub(crate) fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }

    /// What the last axis counts.
    pub(super) const fn last_axis(self) -> &'static str {
        match self {
            Self::Latent => "latents",
            Self::Inputs => "inputs",
            _ => "neurons",
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
