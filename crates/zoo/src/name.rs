//! The names of the models, the same on every command line and in every file.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::ZooError;

/// A model by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "&'static str", try_from = "String")]
pub enum ModelName {
    /// LFADS on spike counts.
    Lfads,
    /// LFADS on counts that OASIS deconvolved.
    OasisLfads,
    /// LFADS on OASIS's events, each none or of a gamma-distributed size.
    ZigLfads,
    /// LFADS on spikes that the spike network expects.
    NetworkLfads,
    /// LFADS with the first two cumulants of the fluorescence.
    GaussianLfads,
    /// LFADS with the first four.
    EdgeworthLfads,
    /// Ladder LFADS as published: real-valued spikes from a network.
    LadderLfads,
    /// Ladder LFADS whose spikes are counts from Bayes' rule.
    CountLadder,
}

impl ModelName {
    /// Every model.
    pub const ALL: [Self; 8] = [
        Self::Lfads,
        Self::OasisLfads,
        Self::ZigLfads,
        Self::NetworkLfads,
        Self::GaussianLfads,
        Self::EdgeworthLfads,
        Self::LadderLfads,
        Self::CountLadder,
    ];

    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lfads => "lfads",
            Self::OasisLfads => "oasis-lfads",
            Self::ZigLfads => "zig-lfads",
            Self::NetworkLfads => "network-lfads",
            Self::GaussianLfads => "gaussian-lfads",
            Self::EdgeworthLfads => "edgeworth-lfads",
            Self::LadderLfads => "ladder-lfads",
            Self::CountLadder => "count-ladder",
        }
    }

    /// An earlier name that is still read.
    pub const fn former_name(self) -> Option<&'static str> {
        match self {
            Self::Lfads | Self::OasisLfads | Self::ZigLfads | Self::NetworkLfads => None,
            Self::GaussianLfads => Some("gaussian"),
            Self::EdgeworthLfads => Some("edgeworth"),
            Self::LadderLfads => Some("paper-ladder"),
            Self::CountLadder => Some("ladder"),
        }
    }

    /// As titles and captions have it.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Lfads => "LFADS",
            Self::OasisLfads => "OASIS + LFADS",
            Self::ZigLfads => "OASIS + zero-inflated gamma LFADS",
            Self::NetworkLfads => "Spike network + LFADS",
            Self::GaussianLfads => "Gaussian LFADS",
            Self::EdgeworthLfads => "Edgeworth LFADS",
            Self::LadderLfads => "Ladder LFADS, as published",
            Self::CountLadder => "Ladder LFADS, counts",
        }
    }

    /// What it is, in a line.
    pub const fn summary(self) -> &'static str {
        match self {
            Self::Lfads => "LFADS on spike counts",
            Self::OasisLfads => "Spike counts by OASIS, then LFADS",
            Self::ZigLfads => {
                "Events by OASIS, then LFADS for which they are none or of a gamma-distributed size (RADICaL)"
            }
            Self::NetworkLfads => "Spikes that the spike network expects, then LFADS",
            Self::GaussianLfads => "LFADS with the mean and variance of the fluorescence",
            Self::EdgeworthLfads => "The same with skewness and kurtosis",
            Self::LadderLfads => "Ladder LFADS as published: real-valued spikes from a network",
            Self::CountLadder => {
                "Ladder LFADS whose spikes are counts: fluorescence <- spikes <- rates <- factors"
            }
        }
    }

    /// Whether the model can be told that calcium takes some frames to rise, or finds it itself.
    pub const fn knows_rise(self) -> bool {
        matches!(
            self,
            Self::CountLadder | Self::OasisLfads | Self::ZigLfads | Self::NetworkLfads
        )
    }

    /// Whether the model reads spike counts; all others read fluorescence.
    pub const fn reads_spikes(self) -> bool {
        matches!(self, Self::Lfads)
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for ModelName {
    type Err = ZooError;

    fn from_str(text: &str) -> Result<Self, ZooError> {
        let is_meant = |model: &Self| model.name() == text || model.former_name() == Some(text);
        let found = Self::ALL.into_iter().find(is_meant);
        found.ok_or_else(|| ZooError::UnknownModel {
            name: text.into(),
            known: Self::ALL.map(Self::name).join(", "),
        })
    }
}

impl From<ModelName> for &'static str {
    fn from(model: ModelName) -> Self {
        model.name()
    }
}

impl TryFrom<String> for ModelName {
    type Error = ZooError;

    fn try_from(text: String) -> Result<Self, ZooError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_former_ones_are_understood() {
        for model in ModelName::ALL {
            assert_eq!(model.to_string().parse::<ModelName>().unwrap(), model);
            if let Some(former) = model.former_name() {
                assert_eq!(former.parse::<ModelName>().unwrap(), model);
            }
        }
        let error = "lfadz".parse::<ModelName>().unwrap_err().to_string();
        assert!(
            error.contains("lfadz") && error.contains("count-ladder"),
            "{error}"
        );
    }
}
