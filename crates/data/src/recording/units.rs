//! What the values of a recording are.

use std::fmt;

/// What the values of a recording are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Units {
    /// Raw fluorescence F.
    Fluorescence,
    /// ΔF/F.
    DeltaFOverF,
    /// Spikes per frame.
    SpikeCounts,
}

impl fmt::Display for Units {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fluorescence => "F",
            Self::DeltaFOverF => "dF/F",
            Self::SpikeCounts => "spike counts",
        })
    }
}
