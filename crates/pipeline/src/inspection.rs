//! What a recording holds, what work on it would take, and how good each neuron is.

use anyhow::Result;
use calcium::Automatic;
use data::{Recording, Traces, Units};
use ndarray::ArrayView2;
use rayon::prelude::*;
use serde::Serialize;

use crate::layout::Layout;
use crate::signal::{Signal, faults_in_words, listed};
use crate::warnings::{axes, doubts};

/// The program and its networks, in megabytes. These numbers are of recordings of 2 and 8 MB, by GNU time.
const PROGRAM_MB: f64 = 26.0;
/// What a model and its training take, whatever the recording, in megabytes.
const FIT_MB: f64 = 72.0;
/// Peak of a thread that deconvolves, in traces of 32-bit numbers.
const TRACES_OF_A_THREAD: f64 = 30.0;
/// Peak of a fit of the default model, in sizes of the decoded traces: results, and what they are made of.
const TRACES_OF_A_FIT: f64 = 14.5;
/// Frames of trials that each neuron is judged by.
const MOST_FRAMES: usize = 2_000_000;

/// What a recording holds; its JSON form is an interface.
#[derive(Debug, Serialize)]
pub struct Inspection {
    /// File or folder.
    pub path: String,
    /// Of the file.
    pub format: String,
    /// In the file.
    pub dataset: String,
    /// What the values are.
    pub units: Option<String>,
    /// Frames per second.
    pub rate_hz: f64,
    /// What says so.
    pub rate_from: String,
    /// Seconds per frame.
    pub dt_s: f64,
    /// Decay of the indicator, seconds, as the file says.
    pub tau_s: Option<f64>,
    /// Neurons that are read.
    pub n_neurons: usize,
    /// Trials, or 1 continuous stretch.
    pub n_trials: usize,
    /// Whether it is one long recording.
    pub continuous: bool,
    /// Frames of the shortest and of the longest trial.
    pub n_frames: [usize; 2],
    /// Trials at the front that are for training, if the file says so.
    pub n_train: Option<usize>,
    /// What it takes.
    pub memory_mb: Memory,
    /// What the axes of the array are that was read.
    pub axes: &'static str,
    /// How the file was understood.
    pub notes: Vec<String>,
    /// What a fit would stumble over, but for what [`Recording::check`] refuses.
    pub warnings: Vec<String>,
    /// One after another.
    pub neurons: Vec<InspectedNeuron>,
}

/// What the recording takes in memory, about, in megabytes.
#[derive(Debug, Serialize)]
pub struct Memory {
    /// The decoded traces.
    pub traces: f64,
    /// `deconvolve` by the network, with as many threads as now.
    pub deconvolve: f64,
    /// `fit` of the default model.
    pub fit: f64,
}

impl Memory {
    fn of(recording: &Recording) -> Self {
        const MB: f64 = 1e6;
        let stretches = recording.stretches();
        let frames: usize = stretches.iter().map(ArrayView2::nrows).sum();
        let trace = (size_of::<f32>() * frames) as f64 / MB;
        let traces = trace * recording.n_neurons() as f64;
        let threads = rayon::current_num_threads().min(recording.n_neurons()) as f64;
        Self {
            traces,
            deconvolve: PROGRAM_MB + traces + threads * TRACES_OF_A_THREAD * trace,
            fit: PROGRAM_MB + FIT_MB + TRACES_OF_A_FIT * traces,
        }
    }
}

/// How good one neuron is.
#[derive(Debug, Serialize)]
pub struct InspectedNeuron {
    /// Its place in the file, from 0.
    pub number: usize,
    /// Its name in the file.
    pub id: String,
    /// Share of its frames that are missing.
    pub missing: f64,
    /// Of the others, in the recording's units.
    pub mean: f64,
    /// SD of the noise. This and everything below: of fluorescence only, and where it can be estimated.
    pub noise_sd: Option<f64>,
    /// Decay of its transients, seconds.
    pub tau_s: Option<f64>,
    /// 99th percentile of the denoised calcium, in SDs of the noise.
    pub snr: Option<f64>,
    /// Transients that stand out.
    pub events_per_min: Option<f64>,
    /// Whether transients hardly rise above the noise.
    #[serde(skip)]
    signal: Option<Signal>,
}

impl InspectedNeuron {
    fn of_any(recording: &Recording, neuron: usize) -> Self {
        let stretches = recording.stretches();
        let recorded: usize = stretches.iter().map(ArrayView2::nrows).sum();
        let all = stretches.iter().flat_map(|stretch| stretch.column(neuron));
        let present = all.filter(|v| !v.is_nan());
        let (sum, n) = present.fold((0.0, 0usize), |(s, n), &v| (s + f64::from(v), n + 1));
        Self {
            number: recording.neuron_numbers[neuron],
            id: recording.neuron_ids[neuron].clone(),
            missing: 1.0 - n as f64 / recorded as f64,
            mean: sum / n as f64,
            noise_sd: None,
            tau_s: None,
            snr: None,
            events_per_min: None,
            signal: None,
        }
    }

    fn with_fluorescence(
        self,
        trace: Vec<f32>,
        starts: &[usize],
        automatic: &Automatic,
        dt_s: f64,
    ) -> Self {
        let Ok(signal) = Signal::of(trace, starts, automatic) else {
            return self;
        };
        let minutes = signal.n_present as f64 * dt_s / 60.0;
        Self {
            noise_sd: Some(signal.noise_sd),
            tau_s: Some(signal.tau_s),
            snr: Some(signal.snr),
            events_per_min: Some(signal.n_events as f64 / minutes),
            signal: Some(signal),
            ..self
        }
    }
}

impl Inspection {
    /// Looks at every neuron; `typical_tau_s` is what the indicator's decay usually is, seconds.
    ///
    /// # Errors
    /// A decay or a length of a frame that no recording has.
    pub fn of(recording: &Recording, typical_tau_s: f64) -> Result<Self> {
        let automatic = Automatic::new(recording.dt_s)?.with_typical_tau(typical_tau_s)?;
        let layout = Layout::thinned(recording, MOST_FRAMES);
        let starts = layout.starts();
        let is_counts = recording.units == Some(Units::SpikeCounts);
        let neurons = (0..recording.n_neurons()).into_par_iter().map(|neuron| {
            let found = InspectedNeuron::of_any(recording, neuron);
            if is_counts {
                return found;
            }
            let trace = layout.join(recording, neuron);
            found.with_fluorescence(trace, &starts, &automatic, recording.dt_s)
        });
        let mut inspection = Self::new(recording, neurons.collect());
        if layout.step() > 1 {
            inspection.notes.push(format!(
                "noise, tau, SNR and events are of one trial in {}",
                layout.step()
            ));
        }
        Ok(inspection)
    }

    fn new(recording: &Recording, neurons: Vec<InspectedNeuron>) -> Self {
        let lengths: Vec<usize> = recording
            .stretches()
            .iter()
            .map(ArrayView2::nrows)
            .collect();
        let extreme = |n: Option<&usize>| n.copied().unwrap_or_default();
        Self {
            path: recording.path.display().to_string(),
            format: recording.format.to_string(),
            dataset: recording.dataset.clone(),
            units: recording.units.map(|units| units.to_string()),
            rate_hz: 1.0 / recording.dt_s,
            rate_from: recording.rate_from.to_string(),
            dt_s: recording.dt_s,
            tau_s: recording.tau_s,
            n_neurons: recording.n_neurons(),
            n_trials: lengths.len(),
            continuous: matches!(recording.traces, Traces::Continuous(_)),
            n_frames: [extreme(lengths.iter().min()), extreme(lengths.iter().max())],
            n_train: recording.n_train,
            memory_mb: Memory::of(recording),
            axes: axes(recording),
            notes: recording.notes.clone(),
            warnings: warnings(recording, &neurons),
            neurons,
        }
    }
}

/// What a fit would stumble over.
fn warnings(recording: &Recording, neurons: &[InspectedNeuron]) -> Vec<String> {
    let mut found = doubts(recording);
    let signals: Vec<Option<&Signal>> = neurons.iter().map(|n| n.signal.as_ref()).collect();
    let means: Vec<f64> = neurons.iter().map(|n| n.mean).collect();
    found.extend(faults_in_words(
        &signals,
        &means,
        &recording.neuron_numbers,
        recording.units,
        recording.dt_s,
    ));
    let is_gappy = |&neuron: &usize| neurons[neuron].missing > 0.5;
    let gappy: Vec<usize> = (0..neurons.len()).filter(is_gappy).collect();
    if !gappy.is_empty() {
        let gappy = listed(&gappy, &recording.neuron_numbers);
        found.push(format!("more than half missing in neurons {gappy}"));
    }
    found
}
