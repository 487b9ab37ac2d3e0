//! `lfads inspect`: what a recording holds, and how good each neuron is.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Result;
use calcium::Automatic;
use data::{Likelihood, Recording, Traces, Units};
use ndarray::ArrayView2;
use pipeline::{Layout, Signal, axes, doubts, faults_in_words};
use rayon::prelude::*;
use serde::Serialize;

use super::Session;
use crate::input::{InputArgs, option_names, with_flags};
use crate::range;

/// Neurons listed in the terminal.
const N_LISTED: usize = 40;
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

/// What a recording holds, what would be used of it, and how good each neuron is.
///
/// Example: `lfads inspect mouse/suite2p` lists the accepted cells with their noise, decay time
/// and events per minute, and warns of what a fit would stumble over.
#[derive(Debug, clap::Args)]
#[command(allow_negative_numbers = true)]
pub struct Inspect {
    /// Recording: a suite2p folder, NWB, MATLAB, .npy, .npz, CSV or HDF5
    path: PathBuf,

    /// Decay time that the indicator usually has, seconds
    #[arg(long, value_name = "S", default_value_t = 1.0, value_parser = range::tau)]
    typical_tau: f64,

    #[command(flatten)]
    input: InputArgs,
}

/// The whole answer; its JSON form is an interface.
#[derive(Debug, Serialize)]
struct Inspection {
    path: String,
    format: String,
    dataset: String,
    units: Option<String>,
    rate_hz: f64,
    /// What says so.
    rate_from: String,
    dt_s: f64,
    tau_s: Option<f64>,
    n_neurons: usize,
    /// Trials, or 1 continuous stretch.
    n_trials: usize,
    continuous: bool,
    /// Frames of the shortest and of the longest trial.
    n_frames: [usize; 2],
    n_train: Option<usize>,
    memory_mb: Memory,
    /// What the axes of the array are that was read.
    axes: &'static str,
    notes: Vec<String>,
    warnings: Vec<String>,
    neurons: Vec<Neuron>,
}

/// What the recording takes in memory, about, in megabytes.
#[derive(Debug, Serialize)]
struct Memory {
    /// The decoded traces.
    traces: f64,
    /// `deconvolve` by the network, with as many threads as now.
    deconvolve: f64,
    /// `fit` of the default model.
    fit: f64,
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

#[derive(Debug, Serialize)]
struct Neuron {
    id: String,
    missing: f64,
    mean: f64,
    /// Everything below: of fluorescence only, and where it can be estimated.
    noise_sd: Option<f64>,
    tau_s: Option<f64>,
    /// 99th percentile of the denoised calcium, in SDs of the noise.
    snr: Option<f64>,
    events_per_min: Option<f64>,
    /// Whether transients hardly rise above the noise.
    #[serde(skip)]
    signal: Option<Signal>,
}

impl Inspect {
    pub fn run(&self, session: &Session<'_>) -> Result<()> {
        let recording = self.input.open_quietly(&self.path)?;
        let automatic = Automatic::new(recording.dt_s)?.with_typical_tau(self.typical_tau)?;
        let layout = Layout::thinned(&recording, MOST_FRAMES);
        let starts = layout.starts();
        let is_counts = recording.units == Some(Units::SpikeCounts);
        let neurons: Vec<Neuron> = (0..recording.n_neurons())
            .into_par_iter()
            .map(|neuron| {
                let trace = layout.join(&recording, neuron);
                let found = Neuron::of_any(&recording, neuron);
                match is_counts {
                    true => found,
                    false => found.with_fluorescence(trace, &starts, &automatic, recording.dt_s),
                }
            })
            .collect();
        let mut inspection = Inspection::new(&recording, neurons);
        if layout.step() > 1 {
            inspection.notes.push(format!(
                "noise, tau, SNR and events are of one trial in {}",
                layout.step()
            ));
        }
        session.print(&inspection, &inspection.text())
    }
}

impl Neuron {
    fn of_any(recording: &Recording, neuron: usize) -> Self {
        let stretches = recording.stretches();
        let recorded: usize = stretches.iter().map(ArrayView2::nrows).sum();
        let all = stretches.iter().flat_map(|stretch| stretch.column(neuron));
        let present = all.filter(|v| !v.is_nan());
        let (sum, n) = present.fold((0.0, 0usize), |(s, n), &v| (s + f64::from(v), n + 1));
        Self {
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
    fn new(recording: &Recording, neurons: Vec<Neuron>) -> Self {
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
            notes: recording.notes.iter().map(|n| with_flags(n)).collect(),
            warnings: warnings(recording, &neurons),
            neurons,
        }
    }

    fn text(&self) -> String {
        let mut page = String::new();
        // Writing to a `String` cannot fail.
        let _ = self.write_text(&mut page);
        page
    }

    fn write_text(&self, page: &mut String) -> std::fmt::Result {
        let units = self.units.as_deref().unwrap_or("unknown units");
        let [shortest, longest] = self.n_frames;
        let seconds = longest as f64 * self.dt_s;
        writeln!(
            page,
            "{} ({}, {} {})",
            self.path, self.format, self.dataset, self.axes
        )?;
        write!(
            page,
            "  {} neuron{}, {units}, {:.4} Hz {}, ",
            self.n_neurons,
            if self.n_neurons == 1 { "" } else { "s" },
            self.rate_hz,
            self.rate_from
        )?;
        match (self.continuous, shortest == longest) {
            (true, _) => writeln!(page, "continuous: {longest} frames, {seconds:.1} s")?,
            (false, true) => {
                writeln!(
                    page,
                    "{} trials of {longest} frames, {seconds:.2} s",
                    self.n_trials
                )?;
            }
            (false, false) => writeln!(
                page,
                "{} trials of {shortest} to {longest} frames, up to {seconds:.2} s",
                self.n_trials
            )?,
        }
        if let Some(n_train) = self.n_train {
            writeln!(
                page,
                "  the first {n_train} trials are for training, the rest held out"
            )?;
        }
        let memory = &self.memory_mb;
        writeln!(
            page,
            "  memory: traces {:.0} MB; deconvolve takes about {:.0} MB, fit {:.0} MB",
            memory.traces, memory.deconvolve, memory.fit
        )?;
        if let Some(tau_s) = self.tau_s {
            writeln!(page, "  indicator: tau {tau_s} s, as the file says")?;
        }
        for note in &self.notes {
            writeln!(page, "  note: {note}")?;
        }
        for warning in &self.warnings {
            writeln!(page, "  warning: {warning}")?;
        }
        self.write_neurons(page)
    }

    fn write_neurons(&self, page: &mut String) -> std::fmt::Result {
        let counts = Units::SpikeCounts.to_string();
        let of_fluorescence = self.units.as_deref() != Some(&counts);
        writeln!(page)?;
        match of_fluorescence {
            true => writeln!(
                page,
                "  neuron       id        mean    noise SD     SNR   tau, s  events/min  missing"
            )?,
            false => writeln!(page, "  neuron       id   mean/frame     rate, Hz  missing")?,
        }
        for (index, neuron) in self.neurons.iter().enumerate().take(N_LISTED) {
            neuron.write_row(page, index, self.dt_s, of_fluorescence)?;
        }
        if self.neurons.len() > N_LISTED {
            let more = self.neurons.len() - N_LISTED;
            writeln!(page, "  … and {more} more: --json lists all")?;
        }
        Ok(())
    }
}

impl Neuron {
    fn write_row(
        &self,
        page: &mut String,
        index: usize,
        dt_s: f64,
        of_fluorescence: bool,
    ) -> std::fmt::Result {
        let missing = 100.0 * self.missing;
        let id: String = self.id.chars().take(8).collect();
        if !of_fluorescence {
            let rate = self.mean / dt_s;
            return writeln!(
                page,
                "  {index:6} {id:>8} {:12.4} {rate:12.3} {missing:7.1}%",
                self.mean
            );
        }
        let number = |value: Option<f64>, decimals: usize| {
            let value = value.filter(|value| value.is_finite());
            value.map_or_else(|| "–".into(), |v| format!("{v:.decimals$}"))
        };
        writeln!(
            page,
            "  {index:6} {id:>8} {:>11} {:>11} {:>7} {:>8} {:>11} {missing:7.1}%",
            number(Some(self.mean), 4),
            number(self.noise_sd, 4),
            number(self.snr, 1),
            number(self.tau_s, 2),
            number(self.events_per_min, 1),
        )
    }
}

/// What a fit would stumble over.
fn warnings(recording: &Recording, neurons: &[Neuron]) -> Vec<String> {
    let mut found = Vec::new();
    let likelihood = match recording.units {
        Some(Units::SpikeCounts) => Likelihood::Poisson,
        _ => Likelihood::Gaussian,
    };
    if let Err(error) = recording.check(likelihood) {
        let hint = option_names(&error.problem);
        found.push(format!("{}{hint}", error.problem));
    }
    found.extend(doubts(recording));
    let list = |which: &dyn Fn(&Neuron) -> bool| {
        let indices = neurons.iter().enumerate().filter(|(_, n)| which(n));
        let indices: Vec<String> = indices.map(|(i, _)| i.to_string()).collect();
        indices.join(",")
    };
    let signals: Vec<Option<&Signal>> = neurons.iter().map(|n| n.signal.as_ref()).collect();
    let means: Vec<f64> = neurons.iter().map(|n| n.mean).collect();
    found.extend(faults_in_words(
        &signals,
        &means,
        recording.units,
        recording.dt_s,
    ));
    let gappy = list(&|n| n.missing > 0.5);
    if !gappy.is_empty() {
        found.push(format!("more than half missing in neurons {gappy}"));
    }
    found
}
