//! What is trained on what: the recipe file.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use calcium::network::layers::Architecture;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use synth::traces::TraceRecipe;

/// Everything that decides the weights, besides the machine's rounding.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// SHA-256 of the weights that this recipe made.
    pub weights_sha256: String,
    /// Sizes of the network.
    pub network: NetworkSizes,
    /// Networks that are averaged.
    pub members: Vec<Member>,
}

/// How one of the networks learns.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Root of every random number.
    pub seed: u64,
    /// How long and how fast to learn.
    pub training: Training,
    /// What the parts of the loss weigh.
    pub loss: LossWeights,
    /// What traces are like.
    #[serde(default)]
    pub traces: TraceRecipe,
}

/// Sizes of the network, as in [`Architecture`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkSizes {
    /// Channels of the blocks.
    pub width: usize,
    /// Taps of the first convolution.
    pub input_taps: usize,
    /// Taps of each block.
    pub block_taps: usize,
    /// Taps of the last convolution.
    pub output_taps: usize,
    /// Working frames between taps, a block each.
    pub dilations: Vec<usize>,
}

/// How long and how fast to learn.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// Steps of the optimiser.
    pub steps: usize,
    /// Traces of a step.
    pub batch: usize,
    /// Traces that are simulated together; steps draw from them until the next pool.
    pub pool: usize,
    /// How often each trace of a pool is used, a different part of it each time.
    pub reuse: usize,
    /// Working frames of a part: log-uniform between these.
    pub frames: [usize; 2],
    /// Highest learning rate.
    pub learning_rate: f64,
    /// Steps until it is reached.
    pub warm_up: usize,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Largest norm of the gradient.
    pub clip: f64,
    /// Share of the past in the running mean of the weights.
    pub averaging: f64,
}

/// What the parts of the loss weigh.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossWeights {
    /// 1 − correlation with the true spikes, both smoothed by 50 ms.
    pub fine: f64,
    /// The same, smoothed by 200 ms.
    pub coarse: f64,
    /// Poisson log-likelihood of counts in working frames, per spike.
    pub frames: f64,
    /// Negative binomial log-likelihood of counts in seconds, per spike.
    pub seconds: f64,
    /// Gaussian log-likelihood of the logarithms of rise, decay and spike size.
    pub traits: f64,
}

impl Recipe {
    /// Reads a recipe file.
    pub fn open(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        Self::parse(&text).with_context(|| path.display().to_string())
    }

    /// Parses and checks a recipe.
    pub fn parse(text: &str) -> Result<Self> {
        let recipe: Self = toml::from_str(text)?;
        recipe.check()?;
        for member in &recipe.members {
            member.training.check()?;
            member.traces.validate()?;
        }
        Ok(recipe)
    }

    fn check(&self) -> Result<()> {
        let network = &self.network;
        ensure!(
            !self.members.is_empty(),
            "no [[members]]; there must be a network to train"
        );
        ensure!(
            network.width > 0,
            "network.width = 0; it must be at least 1"
        );
        for (name, taps) in [
            ("input_taps", network.input_taps),
            ("block_taps", network.block_taps),
            ("output_taps", network.output_taps),
        ] {
            ensure!(
                taps % 2 == 1,
                "network.{name} = {taps}; it must be odd, for a middle tap"
            );
        }
        ensure!(
            !network.dilations.is_empty() && network.dilations.iter().all(|&dilation| dilation > 0),
            "network.dilations = {:?}; each block needs one of at least 1",
            network.dilations
        );
        Ok(())
    }

    /// Sizes of the network.
    pub fn architecture(&self) -> Architecture {
        let sizes = self.network.clone();
        Architecture {
            width: sizes.width,
            input_taps: sizes.input_taps,
            block_taps: sizes.block_taps,
            output_taps: sizes.output_taps,
            dilations: sizes.dilations,
        }
    }
}

impl Training {
    fn check(&self) -> Result<()> {
        for (name, value) in [
            ("steps", self.steps),
            ("batch", self.batch),
            ("pool", self.pool),
            ("reuse", self.reuse),
        ] {
            ensure!(value > 0, "training.{name} = 0; it must be at least 1");
        }
        ensure!(
            self.pool.is_multiple_of(self.batch),
            "training.pool = {} is no multiple of training.batch = {}",
            self.pool,
            self.batch
        );
        let [shortest, longest] = self.frames;
        ensure!(
            (1..=longest).contains(&shortest),
            "training.frames = [{shortest}, {longest}]; they must ascend from at least 1"
        );
        for (name, value) in [("learning_rate", self.learning_rate), ("clip", self.clip)] {
            ensure!(value > 0.0, "training.{name} = {value}; it must be above 0");
        }
        ensure!(
            (0.0..1.0).contains(&self.averaging),
            "training.averaging = {}; it must be from 0 to below 1",
            self.averaging
        );
        Ok(())
    }

    /// Steps that draw from the same pool.
    pub fn steps_per_pool(&self) -> usize {
        self.pool / self.batch * self.reuse
    }
}

/// The checksum of a file, in hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::new();
    for byte in Sha256::digest(bytes) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The recipe of the weights in `calcium`.
    const RECIPE: &str = include_str!("../recipe.toml");

    #[test]
    fn the_bundled_weights_are_those_of_the_recipe() {
        let recipe = Recipe::parse(RECIPE).unwrap();
        assert_eq!(sha256(calcium::network::WEIGHTS), recipe.weights_sha256);
        assert!(calcium::network::WEIGHTS.len() < 1_000_000);
    }

    #[test]
    fn a_value_out_of_range_is_named() {
        for (good, bad, name) in [
            ("block_taps = 5", "block_taps = 4", "network.block_taps = 4"),
            ("averaging = 0.", "averaging = 1.", "training.averaging"),
            ("reuse = ", "reuse = 0 # ", "training.reuse = 0"),
        ] {
            assert!(RECIPE.contains(good), "{good}");
            let error = Recipe::parse(&RECIPE.replace(good, bad)).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}
