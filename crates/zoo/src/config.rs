//! The settings of each model.

use baselines::{EdgeworthLfadsConfig, GaussianLfadsConfig};
use model::{CountLadderConfig, DynamicsConfig, LadderConfig, LfadsConfig, ZigLfadsConfig};
use serde::{Deserialize, Serialize};

use crate::error::ZooError;
use crate::name::ModelName;

/// The settings of one model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModelConfig {
    /// LFADS.
    Lfads(LfadsConfig),
    /// OASIS, then LFADS.
    OasisLfads(OasisLfadsConfig),
    /// OASIS, then LFADS for events of any size.
    ZigLfads(ZigLfadsConfig),
    /// The spike network, then LFADS.
    NetworkLfads(LfadsConfig),
    /// Gaussian LFADS.
    GaussianLfads(GaussianLfadsConfig),
    /// Edgeworth LFADS.
    EdgeworthLfads(EdgeworthLfadsConfig),
    /// Ladder LFADS as published.
    LadderLfads(LadderConfig),
    /// Ladder LFADS whose spikes are counts.
    CountLadder(CountLadderConfig),
}

/// LFADS on spike counts that OASIS deconvolved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OasisLfadsConfig {
    /// Smallest spike, fluorescence units.
    pub s_min: f64,
    /// The deep level, which is all of LFADS.
    pub dynamics: DynamicsConfig,
}

impl ModelConfig {
    /// The settings of `model` in `table`.
    ///
    /// A ladder's `spikes = "continuous"` or `"counts"`, which told the two ladders apart before
    /// each had its name, still does.
    ///
    /// # Errors
    /// [`ZooError::Settings`] for an unknown or mistyped field.
    pub fn parse(model: ModelName, mut table: toml::Table) -> Result<Self, ZooError> {
        let model = match table.remove("spikes") {
            Some(spikes) => of_spikes(model, &spikes)?,
            None => model,
        };
        let parsed = match model {
            ModelName::Lfads => table.try_into().map(Self::Lfads),
            ModelName::OasisLfads => table.try_into().map(Self::OasisLfads),
            ModelName::ZigLfads => table.try_into().map(Self::ZigLfads),
            ModelName::NetworkLfads => table.try_into().map(Self::NetworkLfads),
            ModelName::GaussianLfads => table.try_into().map(Self::GaussianLfads),
            ModelName::EdgeworthLfads => table.try_into().map(Self::EdgeworthLfads),
            ModelName::LadderLfads => table.try_into().map(Self::LadderLfads),
            ModelName::CountLadder => table.try_into().map(Self::CountLadder),
        };
        parsed.map_err(|error: toml::de::Error| {
            let words = error.message().split_whitespace();
            ZooError::Settings(words.collect::<Vec<_>>().join(" "))
        })
    }

    /// Whose settings these are.
    pub const fn name(&self) -> ModelName {
        match self {
            Self::Lfads(_) => ModelName::Lfads,
            Self::OasisLfads(_) => ModelName::OasisLfads,
            Self::ZigLfads(_) => ModelName::ZigLfads,
            Self::NetworkLfads(_) => ModelName::NetworkLfads,
            Self::GaussianLfads(_) => ModelName::GaussianLfads,
            Self::EdgeworthLfads(_) => ModelName::EdgeworthLfads,
            Self::LadderLfads(_) => ModelName::LadderLfads,
            Self::CountLadder(_) => ModelName::CountLadder,
        }
    }

    /// The settings of the deep level, which every model has.
    pub const fn dynamics(&self) -> &DynamicsConfig {
        match self {
            Self::Lfads(LfadsConfig { dynamics })
            | Self::NetworkLfads(LfadsConfig { dynamics })
            | Self::OasisLfads(OasisLfadsConfig { dynamics, .. })
            | Self::ZigLfads(ZigLfadsConfig { dynamics, .. })
            | Self::GaussianLfads(GaussianLfadsConfig { dynamics, .. })
            | Self::EdgeworthLfads(EdgeworthLfadsConfig { dynamics, .. })
            | Self::LadderLfads(LadderConfig { dynamics, .. })
            | Self::CountLadder(CountLadderConfig { dynamics, .. }) => dynamics,
        }
    }
}

/// The ladder whose spikes these are.
fn of_spikes(model: ModelName, spikes: &toml::Value) -> Result<ModelName, ZooError> {
    match (model, spikes.as_str()) {
        (ModelName::LadderLfads | ModelName::CountLadder, Some("counts")) => {
            Ok(ModelName::CountLadder)
        }
        (ModelName::LadderLfads, Some("continuous")) => Ok(ModelName::LadderLfads),
        _ => Err(ZooError::Settings(format!(
            "`spikes` is {spikes}, which {model} cannot have; leave it out, the model's name says it"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(model: ModelName, text: &str) -> Result<ModelConfig, ZooError> {
        ModelConfig::parse(model, text.parse().unwrap())
    }

    #[test]
    fn the_former_way_to_name_a_ladder_is_understood_or_refused() {
        let counts = parse(ModelName::LadderLfads, "spikes = \"counts\"").unwrap();
        assert_eq!(counts.name(), ModelName::CountLadder);
        let continuous = parse(ModelName::LadderLfads, "spikes = \"continuous\"").unwrap();
        assert_eq!(continuous.name(), ModelName::LadderLfads);
        for (model, text) in [
            (ModelName::CountLadder, "spikes = \"continuous\""),
            (ModelName::Lfads, "spikes = \"counts\""),
            (ModelName::LadderLfads, "spikes = 3"),
        ] {
            let error = parse(model, text).unwrap_err().to_string();
            assert!(error.contains("`spikes` is"), "{error}");
        }
    }

    #[test]
    fn an_unknown_setting_is_named_in_one_line() {
        let error = parse(ModelName::Lfads, "[dynamics]\nn_factor = 3").unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains("n_factor") && !error.contains('\n'),
            "{error}"
        );
    }
}
