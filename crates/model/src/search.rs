//! Initial conditions and inputs beyond the encoders' answer: steps on the posterior from several starts.

use std::f64::consts::PI;
use std::path::Path;

use burn::optim::{AdamState, Optimizer};
use burn::tensor::{Bytes, Gradients, Tensor, TensorData};
use ndarray::{Array2, ArrayView1, ArrayView2, Axis};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::batch::{TrainData, excerpts, host};
use crate::checkpoint::{Checkpoint, VERSION};
use crate::deep::{DeepDraw, DeepPosterior};
use crate::error::{ModelError, require};
use crate::gaussian::DiagonalGaussian;
use crate::infer::{BATCH, device_of};
use crate::noise::{Noise, Stream};
use crate::optimizer::OnePassAdam;
use crate::pass::Pass;
use crate::vae::{Encoded, SequentialVae};

/// Most trials whose initial conditions, and the states that follow, are kept.
const MAX_TRIALS: usize = 128;
/// States kept of the run of each.
const PER_RUN: usize = 8;
/// Known states that are run together.
const CHUNK: usize = 128;
/// Of Adam.
const BETA_1: f32 = 0.9;
const BETA_2: f32 = 0.99;
const EPSILON: f32 = 1e-6;
/// Samples by which the best of several starts is chosen.
const N_SAMPLES: usize = 8;
/// Rounds of steps: the first from every start, the second from the best of each trial.
const ROUNDS: usize = 2;

/// How the posterior of an initial condition is looked for beyond the encoder's answer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SearchConfig {
    /// Gradient steps; 0 keeps the encoder's answer.
    pub n_steps: usize,
    /// Starts beside the encoder's mean: states met in training that explain the trial best.
    pub n_starts: usize,
    /// Size of the first steps, in units of the initial condition; it falls to zero.
    pub learning_rate: f64,
}

impl Default for SearchConfig {
    fn default() -> Self {
        Self {
            n_steps: 100,
            n_starts: 1,
            learning_rate: 0.03,
        }
    }
}

impl SearchConfig {
    /// The encoder's answer as it is.
    pub const NONE: Self = Self {
        n_steps: 0,
        n_starts: 0,
        learning_rate: 0.03,
    };

    /// Checks every number.
    ///
    /// # Errors
    /// [`ModelError::Config`] naming the field, the value and the valid range.
    pub fn validate(&self) -> Result<(), ModelError> {
        let rate = self.learning_rate;
        require(rate > 0.0, "search.learning_rate", rate, "above 0")
    }
}

/// Initial conditions that training met, from which a search may start.
#[derive(Clone, Debug, PartialEq)]
pub struct KnownStates(Array2<f32>);

impl KnownStates {
    /// Their file beside the weights.
    pub const FILE: &str = "states.ckpt";

    /// The means of Q(g₀|x) of what training saw, and where the generator goes from there: any of its
    /// states may be another trial's first. Of many trials some are taken, in regular order.
    pub fn of<M: SequentialVae>(model: &M, data: &TrainData) -> Self {
        let model = model.valid();
        let device = device_of(&model);
        let n_ic = model.dynamics().config().n_ic;
        let n_bins = data.n_bins();
        let mut states = Array2::zeros((0, n_ic));
        for batch in data.spread(MAX_TRIALS).chunks(BATCH) {
            let (_, input) = model.read(excerpts(data.train(), batch, n_bins, &device));
            let ic = model.dynamics().encode(input).ic.mean;
            append(&mut states, &host(&ic));
            let Some(run) = model.dynamics().states(ic, n_bins) else {
                continue;
            };
            let run = host(&run);
            // Every trial at other times, or all would show the same few phases.
            let row = |trial: usize, part: usize| {
                let bin = (part * batch.len() + trial) * n_bins / (PER_RUN * batch.len());
                let first = (bin * batch.len() + trial) * n_ic;
                first..first + n_ic
            };
            for (trial, part) in (0..batch.len()).flat_map(|t| (1..PER_RUN).map(move |p| (t, p))) {
                append(&mut states, &run[row(trial, part)]);
            }
        }
        Self(states)
    }

    /// None: a search starts from the encoder's mean alone.
    pub fn none<M: SequentialVae>(model: &M) -> Self {
        Self(Array2::zeros((0, model.dynamics().config().n_ic)))
    }

    /// Keeps them in a file, as those of the training that is called `of`.
    ///
    /// # Errors
    /// [`ModelError::Checkpoint`] if it cannot be written.
    pub fn write(&self, path: &Path, of: &Value) -> Result<(), ModelError> {
        let bytes = self.0.iter().flat_map(|value| value.to_le_bytes());
        Checkpoint {
            identity: json!({"of": of, "version": VERSION}),
            state: self.0.dim(),
            blobs: vec![("states".into(), Bytes::from_bytes_vec(bytes.collect()))],
        }
        .write(path)
    }

    /// Reads what [`KnownStates::write`] wrote of the training that is called `of`.
    ///
    /// # Errors
    /// [`ModelError::Checkpoint`] if the file cannot be read, was cut short or is another training's.
    pub fn read(path: &Path, of: &Value) -> Result<Self, ModelError> {
        let mut checkpoint = Checkpoint::<(usize, usize)>::read_of(path, Some(of))?;
        let bytes = checkpoint.take(path, "states")?;
        let values = bytes.as_chunks().0.iter().copied().map(f32::from_le_bytes);
        let states = Array2::from_shape_vec(checkpoint.state, values.collect());
        states.map(Self).map_err(|error| ModelError::Checkpoint {
            path: path.to_owned(),
            problem: format!("is damaged ({error}); remove it and train again"),
        })
    }

    /// Whether they are of this model.
    pub(crate) fn check<M: SequentialVae>(&self, model: &M) -> Result<(), ModelError> {
        let (found, wanted) = (self.0.ncols(), model.dynamics().config().n_ic);
        if found == wanted {
            return Ok(());
        }
        Err(ModelError::Data(format!(
            "the known states have {found} dimensions, the initial condition of the model {wanted}"
        )))
    }
}

/// Adds rows.
fn append(states: &mut Array2<f32>, values: &[f32]) {
    let rows = ArrayView2::from_shape((values.len() / states.ncols(), states.ncols()), values);
    let appended = rows.map(|rows| states.append(Axis(0), rows));
    debug_assert!(matches!(appended, Ok(Ok(()))), "whole rows are added");
}

/// A search with one model.
pub(crate) struct Search<'a, M: SequentialVae> {
    model: &'a M,
    /// The same, frozen, on a device that differentiates.
    frozen: M,
    config: SearchConfig,
    known: &'a KnownStates,
    seed: u64,
}

impl<'a, M: SequentialVae> Search<'a, M> {
    /// With a model that is not being trained.
    pub(crate) fn new(
        model: &'a M,
        config: SearchConfig,
        known: &'a KnownStates,
        seed: u64,
    ) -> Self {
        Self {
            frozen: model.clone().train().no_grad(),
            model,
            config,
            known,
            seed,
        }
    }

    /// Moves Q(g₀|x) of the trials from `first` on, means and widths, to where the bound is best of
    /// what was found. What stands for spikes that are not observed is expected anew of the best so
    /// far in each round, as in expectation–maximisation. Where inputs are inferred, what the controller hears in each
    /// bin moves along, and Q(u_t|x, f_{t−1}) with it. Under inputs of either kind, which no two trials share, it starts
    /// from the encoders' answer alone, which stays where the steps lead to no number.
    pub(crate) fn refine(
        &self,
        x: &Tensor<3>,
        first: usize,
        mut encoded: Encoded<M::Shallow>,
    ) -> Encoded<M::Shallow> {
        let (x, _) = self.model.dynamics().config().external.split(x.clone());
        let is_driven = encoded.deep.external.is_some() || encoded.deep.drive.is_some();
        let mut noise = Noise::new(self.seed, Stream::Search(first), &x.device());
        let answer = encoded.deep.clone();
        for round in 0..ROUNDS {
            let best = encoded.deep.ic.clone();
            let at = DeepPosterior {
                ic: DiagonalGaussian::at(best.mean.clone()),
                ..encoded.deep.clone()
            };
            let draw = run(self.model, &encoded, &at, &mut noise);
            let evidence = self.model.evidence(&x, &encoded.shallow, &draw, &mut noise);
            let mut starts = vec![best.clone()];
            if round == 0 && !is_driven {
                let known = self.known_starts(&evidence, &encoded);
                starts.extend(known.into_iter().map(|mean| DiagonalGaussian {
                    mean,
                    log_variance: best.log_variance.clone(),
                }));
            }
            let starts: Vec<Tensor<2>> = starts.iter().map(DiagonalGaussian::parameters).collect();
            let ends = self.descend(&starts, evidence, &encoded, round, &mut noise);
            let shape = starts[0].dims();
            let found = TensorData::new(best_of(&ends.ic, &ends.losses, shape), shape);
            let found = Tensor::from_data(found, &x.device());
            encoded.deep.ic = DiagonalGaussian::from_parameters(found);
            // Where there is a controller there was one start.
            encoded.deep.drive = ends.drive;
        }
        if !is_finite(&encoded.deep) {
            tracing::warn!(
                "the search for initial conditions of the {} trials from {first} on came to no numbers; the encoder's answer is kept",
                x.dims()[1]
            );
            encoded.deep = answer;
        }
        encoded
    }

    /// For each trial the known states that explain it best, best first: `[trial, ic]` each.
    fn known_starts(&self, evidence: &Tensor<3>, encoded: &Encoded<M::Shallow>) -> Vec<Tensor<2>> {
        let device = evidence.device();
        let (n_known, n_ic) = self.known.0.dim();
        let n_trials = evidence.dims()[1];
        let mut losses = Array2::zeros((n_trials, 0));
        for states in self.known.0.axis_chunks_iter(Axis(0), CHUNK) {
            let n_states = states.nrows();
            let states: Vec<f32> = states.iter().copied().collect();
            let states = Tensor::from_data(TensorData::new(states, [n_states, n_ic]), &device);
            let mut noise = Noise::new(self.seed, Stream::Search(0), &device);
            let at = DeepPosterior {
                ic: DiagonalGaussian::at(states),
                drive: None,
                external: None,
            };
            let draw = run(self.model, encoded, &at, &mut noise);
            let surprise = self.model.dynamics().surprise(&at.ic, &draw).unsqueeze();
            let chunk = host(&(self.model.misfits(evidence, &draw) + surprise));
            let chunk = ArrayView2::from_shape((n_trials, n_states), &chunk);
            let appended = chunk.map(|chunk| losses.append(Axis(1), chunk));
            debug_assert!(matches!(appended, Ok(Ok(()))), "one loss a trial and state");
        }
        let ranked: Vec<Vec<usize>> = losses.axis_iter(Axis(0)).map(ascending).collect();
        let of_rank = |rank: usize| {
            let chosen: Vec<usize> = ranked.iter().map(|order| order[rank]).collect();
            let rows = self.known.0.select(Axis(0), &chosen);
            let rows: Vec<f32> = rows.iter().copied().collect();
            Tensor::from_data(TensorData::new(rows, [n_trials, n_ic]), &device)
        };
        (0..self.config.n_starts.min(n_known))
            .map(of_rank)
            .collect()
    }

    /// The steps of one round from all `starts`, parameters of Q(g₀|x) `[trial, 2·ic]` each.
    fn descend(
        &self,
        starts: &[Tensor<2>],
        evidence: Tensor<3>,
        encoded: &Encoded<M::Shallow>,
        round: usize,
        noise: &mut Noise,
    ) -> Ends {
        let of_starts = |x: Tensor<3>| x.repeat_dim(1, starts.len());
        let evidence = Tensor::from_inner(of_starts(evidence));
        let external = encoded.deep.external.clone();
        let external = external.map(|external| Tensor::from_inner(of_starts(external)));
        let loss = |ic: Tensor<2>, drive: Option<Tensor<3>>, noise: &mut Noise| {
            let at = DeepPosterior {
                ic: DiagonalGaussian::from_parameters(ic),
                drive,
                external: external.clone(),
            };
            let draw = run(&self.frozen, encoded, &at, noise);
            let surprise = self.frozen.dynamics().surprise(&at.ic, &draw);
            self.frozen.misfit(&evidence, &draw) + surprise
        };
        let mut ic = Moved::from(Tensor::cat(starts.to_vec(), 0));
        let mut drive = encoded.deep.drive.clone().map(of_starts).map(Moved::from);
        let n_steps = self.config.n_steps;
        for step in round * n_steps / ROUNDS..(round + 1) * n_steps / ROUNDS {
            let (at, heard) = (ic.tracked(), drive.as_ref().map(Moved::tracked));
            let gradients = loss(at.clone(), heard.clone(), noise).sum().backward();
            let phase = step as f64 / n_steps as f64;
            let rate = self.config.learning_rate * 0.5 * (1.0 + (PI * phase).cos());
            ic.step(rate, &at, &gradients);
            if let Some((drive, heard)) = drive.as_mut().zip(heard) {
                drive.step(rate, &heard, &gradients);
            }
        }
        let (ic, drive) = (ic.value, drive.map(|drive| drive.value));
        let mut losses = vec![0.0; ic.dims()[0]];
        // With one start there is nothing to choose.
        let n_samples = if starts.len() > 1 { N_SAMPLES } else { 0 };
        for _ in 0..n_samples {
            let at = Tensor::from_inner(ic.clone());
            let sample = host(&loss(at, drive.clone().map(Tensor::from_inner), noise).inner());
            losses
                .iter_mut()
                .zip(sample)
                .for_each(|(sum, loss)| *sum += loss);
        }
        Ends {
            ic: host(&ic),
            losses,
            drive,
        }
    }
}

/// Where the steps from all starts end, one below the other.
struct Ends {
    /// Parameters of Q(g₀|x), `[start·trial, 2·ic]`.
    ic: Vec<f32>,
    /// The negative bounds, `[start·trial]`; zeros from a single start.
    losses: Vec<f32>,
    /// What the controller hears, `[time, start·trial, 3·unit]`.
    drive: Option<Tensor<3>>,
}

/// Something that gradient steps move.
struct Moved<const D: usize> {
    value: Tensor<D>,
    adam: OnePassAdam,
    state: Option<AdamState<D>>,
}

impl<const D: usize> From<Tensor<D>> for Moved<D> {
    fn from(value: Tensor<D>) -> Self {
        Self {
            value,
            adam: OnePassAdam::new(BETA_1, BETA_2, EPSILON),
            state: None,
        }
    }
}

impl<const D: usize> Moved<D> {
    /// Where it is, for a bound to be differentiated there.
    fn tracked(&self) -> Tensor<D> {
        Tensor::from_inner(self.value.clone()).require_grad()
    }

    /// One step down from `at`, where it is.
    fn step(&mut self, rate: f64, at: &Tensor<D>, gradients: &Gradients) {
        let gradient = at.grad(gradients);
        let gradient = gradient.expect("the bound depends on everything that is moved");
        let (value, state) = (self.value.clone(), self.state.take());
        (self.value, self.state) = self.adam.step(rate, value, gradient, state);
    }
}

/// The deep level's run from a sample of this posterior, through the bins of `encoded`.
fn run<M: SequentialVae>(
    model: &M,
    encoded: &Encoded<M::Shallow>,
    at: &DeepPosterior,
    noise: &mut Noise,
) -> DeepDraw {
    let n_bins = (encoded.n_bins, encoded.n_lead_in);
    let dynamics = model.dynamics();
    dynamics.generate(at, n_bins, &mut Pass::plain(noise))
}

fn is_finite(deep: &DeepPosterior) -> bool {
    let drive = deep.drive.as_ref().map(host);
    let ic = host(&deep.ic.parameters());
    ic.iter()
        .chain(drive.iter().flatten())
        .all(|value| value.is_finite())
}

/// Of the ends from several starts, those of all trials one below the other, each trial's best:
/// `[trial, 2·ic]`.
fn best_of(ends: &[f32], losses: &[f32], [n_trials, n_columns]: [usize; 2]) -> Vec<f32> {
    let mut best = Vec::with_capacity(n_trials * n_columns);
    for trial in 0..n_trials {
        let rows = (trial..losses.len()).step_by(n_trials);
        let row = rows.min_by(|&a, &b| losses[a].total_cmp(&losses[b]));
        let first = row.unwrap_or(trial) * n_columns;
        best.extend_from_slice(&ends[first..first + n_columns]);
    }
    best
}

/// The order that sorts the values.
fn ascending(values: ArrayView1<'_, f32>) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    order
}
