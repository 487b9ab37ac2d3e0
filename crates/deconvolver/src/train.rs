//! The training loop.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use calcium::network::layers::{Architecture, Layers};
use rayon::prelude::*;

use crate::checkpoint;
use crate::example::{Example, Trace, batch, simulate};
use crate::gradient::gradient;
use crate::loss::loss;
use crate::optimiser::State;
use crate::recipe::{LossWeights, Member, Recipe, sha256};
use crate::validation::Validation;

/// Time between checkpoints.
const CHECKPOINT_EVERY: Duration = Duration::from_mins(1);
/// Steps between lines of the log, and lines between scores.
const LOG_EVERY: usize = 100;
const SCORE_EVERY: usize = 500;

/// A line on stdout; that nobody reads it ends no training.
macro_rules! say {
    ($($what:tt)*) => {
        drop(writeln!(std::io::stdout(), $($what)*))
    };
}

/// Trains the networks of a recipe and writes their weights; goes on from the checkpoints beside them.
pub fn train(recipe: &Recipe, out: &Path) -> Result<()> {
    let members = recipe.members.iter().enumerate();
    let members: Vec<Layers> = members
        .map(|(index, member)| {
            say!("network {} of {}", index + 1, recipe.members.len());
            train_member(recipe.architecture(), member, &beside(out, index))
        })
        .collect::<Result<_>>()?;
    let bytes = calcium::network::to_bytes(&members)?;
    checkpoint::write(out, &bytes)?;
    let digest = sha256(&bytes);
    let same = match digest == recipe.weights_sha256 {
        true => "as the recipe says",
        false => {
            "not the recipe's weights_sha256: another recipe, or a machine that rounds otherwise"
        }
    };
    say!("{}: SHA-256 {digest}, {same}", out.display());
    Ok(())
}

/// One network, from its checkpoint on.
fn train_member(architecture: Architecture, member: &Member, checkpoint: &Path) -> Result<Layers> {
    let mut state = match checkpoint.exists() {
        true => checkpoint::open(checkpoint, architecture)?,
        false => State::new(architecture, member.seed),
    };
    let validation = Validation::new(&member.traces, member.seed)?;
    let (start, first) = (Instant::now(), state.step);
    let mut saved = Instant::now();
    let mut pool = Pool::empty();
    let mut loss_sum = 0.0;
    say!(
        "{} parameters, from step {first}",
        state.layers.parameters.len()
    );
    while state.step < member.training.steps {
        let examples = pool.batch(member, state.step)?;
        let (value, gradient) = mean_gradient(&state.layers, &examples, member.loss);
        let norm = state.descend(&gradient, &member.training);
        ensure!(
            norm.is_finite(),
            "the gradient of step {} is {norm}; take a lower training.learning_rate",
            state.step
        );
        loss_sum += value;
        if state.step.is_multiple_of(LOG_EVERY) {
            let seconds = start.elapsed().as_secs_f64();
            let loss = loss_sum / LOG_EVERY.min(state.step - first) as f64;
            say!(
                "{} loss {loss:.4}  gradient {norm:.2}  {seconds:.0} s",
                state.step
            );
            loss_sum = 0.0;
        }
        let last = state.step == member.training.steps;
        if last || state.step.is_multiple_of(SCORE_EVERY) {
            say!("{} {}", state.step, validation.scores(&state.averaged()));
        }
        if last || saved.elapsed() > CHECKPOINT_EVERY {
            checkpoint::save(&state, checkpoint)?;
            saved = Instant::now();
        }
    }
    Ok(state.averaged())
}

/// The path of a network's checkpoint.
fn beside(out: &Path, member: usize) -> PathBuf {
    out.with_extension(format!("{member}.checkpoint"))
}

/// The traces that steps draw from now.
struct Pool {
    number: Option<usize>,
    traces: Vec<Trace>,
}

impl Pool {
    fn empty() -> Self {
        Self {
            number: None,
            traces: Vec::new(),
        }
    }

    /// The examples of a step, whatever came before it.
    fn batch(&mut self, member: &Member, step: usize) -> Result<Vec<Example>> {
        let training = &member.training;
        let number = step / training.steps_per_pool();
        if self.number != Some(number) {
            let first = number * training.pool;
            self.traces = simulate(&member.traces, member.seed, first..first + training.pool)?;
            self.number = Some(number);
        }
        let steps_per_round = training.pool / training.batch;
        let place = step % steps_per_round * training.batch;
        let at = [step, step / steps_per_round, place];
        let examples = batch(
            &self.traces,
            training.frames,
            member.seed,
            at,
            training.batch,
        );
        ensure!(!examples.is_empty(), "no trace of step {step} holds data");
        Ok(examples)
    }
}

/// Means over examples of the loss and of its gradient, added up in their order.
fn mean_gradient(layers: &Layers, examples: &[Example], weights: LossWeights) -> (f64, Vec<f32>) {
    let of = |example: &Example| {
        let (raw, tape) = layers.record(&example.chunk);
        let loss = loss(&raw, example, weights);
        (loss.value, gradient(layers, &example.chunk, &tape, &loss))
    };
    let parts: Vec<(f64, Vec<f32>)> = examples.par_iter().map(of).collect();
    let share = 1.0 / examples.len() as f32;
    let mut mean = vec![0.0; layers.parameters.len()];
    for (_, gradient) in &parts {
        for (mean, d) in mean.iter_mut().zip(gradient) {
            *mean += share * d;
        }
    }
    let value: f64 = parts.iter().map(|(value, _)| value).sum();
    (value * f64::from(share), mean)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(steps: usize) -> Recipe {
        let text = include_str!("../recipe.toml");
        let mut recipe = Recipe::parse(text).unwrap();
        recipe.network.width = 8;
        recipe.network.dilations = vec![1, 4];
        let training = &mut recipe.members[0].training;
        training.steps = steps;
        training.batch = 4;
        training.pool = 8;
        training.reuse = 2;
        training.frames = [100, 300];
        recipe
    }

    fn step(state: &mut State, pool: &mut Pool, member: &Member) -> f64 {
        let examples = pool.batch(member, state.step).unwrap();
        let (value, gradient) = mean_gradient(&state.layers, &examples, member.loss);
        state.descend(&gradient, &member.training);
        value
    }

    fn run(threads: usize, recipe: &Recipe, interrupted: bool) -> Vec<f32> {
        let member = &recipe.members[0];
        let threads = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        threads.unwrap().install(|| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("checkpoint");
            let mut state = State::new(recipe.architecture(), member.seed);
            let mut pool = Pool::empty();
            while state.step < member.training.steps {
                step(&mut state, &mut pool, member);
                if interrupted {
                    checkpoint::save(&state, &path).unwrap();
                    state = checkpoint::open(&path, recipe.architecture()).unwrap();
                    pool = Pool::empty();
                }
            }
            state.mean
        })
    }

    #[test]
    fn threads_and_interruptions_do_not_change_the_weights() {
        let recipe = recipe(6);
        let weights = run(1, &recipe, false);
        assert_eq!(weights, run(2, &recipe, false));
        assert_eq!(weights, run(1, &recipe, true));
    }

    #[test]
    fn the_loss_of_the_same_examples_falls() {
        let recipe = recipe(40);
        let member = &recipe.members[0];
        let mut state = State::new(recipe.architecture(), member.seed);
        let examples = Pool::empty().batch(member, 0).unwrap();
        let mut losses = Vec::new();
        for _ in 0..40 {
            let (value, gradient) = mean_gradient(&state.layers, &examples, member.loss);
            state.descend(&gradient, &member.training);
            losses.push(value);
        }
        assert!(losses[39] < losses[0] - 0.2, "{losses:?}");
    }
}
