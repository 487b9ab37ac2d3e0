//! `lfads inspect`: what a recording holds, and how good each neuron is.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Result;
use data::Units;
use pipeline::{InspectedNeuron, Inspection, likelihood_of, model_for};

use super::Session;
use crate::input::{InputArgs, option_names, with_flags};
use crate::range;

/// Neurons listed in the terminal.
const N_LISTED: usize = 40;

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

impl Inspect {
    pub fn run(&self, session: &Session<'_>) -> Result<()> {
        let recording = self.input.open_quietly(&self.path)?;
        let mut inspection = Inspection::of(&recording, self.typical_tau)?;
        for note in &mut inspection.notes {
            *note = with_flags(note);
        }
        let likelihood = likelihood_of(model_for(&recording));
        if let Err(error) = recording.check(likelihood) {
            let hint = option_names(&error.problem);
            inspection
                .warnings
                .insert(0, format!("{}{hint}", error.problem));
        }
        session.print(&inspection, &text(&inspection))
    }
}

fn text(inspection: &Inspection) -> String {
    let mut page = String::new();
    // Writing to a `String` cannot fail.
    let _ = Page(inspection).write(&mut page);
    page
}

/// What is printed.
struct Page<'a>(&'a Inspection);

impl Page<'_> {
    fn write(&self, page: &mut String) -> std::fmt::Result {
        let units = self.0.units.as_deref().unwrap_or("unknown units");
        let [shortest, longest] = self.0.n_frames;
        let seconds = longest as f64 * self.0.dt_s;
        writeln!(
            page,
            "{} ({}, {} {})",
            self.0.path, self.0.format, self.0.dataset, self.0.axes
        )?;
        write!(
            page,
            "  {} neuron{}, {units}, {:.4} Hz {}, ",
            self.0.n_neurons,
            if self.0.n_neurons == 1 { "" } else { "s" },
            self.0.rate_hz,
            self.0.rate_from
        )?;
        match (self.0.continuous, shortest == longest) {
            (true, _) => writeln!(page, "continuous: {longest} frames, {seconds:.1} s")?,
            (false, true) => {
                writeln!(
                    page,
                    "{} trials of {longest} frames, {seconds:.2} s",
                    self.0.n_trials
                )?;
            }
            (false, false) => writeln!(
                page,
                "{} trials of {shortest} to {longest} frames, up to {seconds:.2} s",
                self.0.n_trials
            )?,
        }
        if let Some(n_train) = self.0.n_train {
            writeln!(
                page,
                "  the first {n_train} trials are for training, the rest held out"
            )?;
        }
        let memory = &self.0.memory_mb;
        writeln!(
            page,
            "  memory: traces {:.0} MB; deconvolve takes about {:.0} MB, fit {:.0} MB",
            memory.traces, memory.deconvolve, memory.fit
        )?;
        if let Some(tau_s) = self.0.tau_s {
            writeln!(page, "  indicator: tau {tau_s} s, as the file says")?;
        }
        for note in &self.0.notes {
            writeln!(page, "  note: {note}")?;
        }
        for warning in &self.0.warnings {
            writeln!(page, "  warning: {warning}")?;
        }
        self.write_neurons(page)
    }

    fn write_neurons(&self, page: &mut String) -> std::fmt::Result {
        let counts = Units::SpikeCounts.to_string();
        let of_fluorescence = self.0.units.as_deref() != Some(&counts);
        writeln!(page)?;
        match of_fluorescence {
            true => writeln!(
                page,
                "  neuron       id        mean    noise SD     SNR   tau, s  events/min  missing"
            )?,
            false => writeln!(page, "  neuron       id   mean/frame     rate, Hz  missing")?,
        }
        for neuron in self.0.neurons.iter().take(N_LISTED) {
            self.write_row(page, neuron, of_fluorescence)?;
        }
        if self.0.neurons.len() > N_LISTED {
            let more = self.0.neurons.len() - N_LISTED;
            writeln!(page, "  … and {more} more: --json lists all")?;
        }
        Ok(())
    }

    fn write_row(
        &self,
        page: &mut String,
        neuron: &InspectedNeuron,
        of_fluorescence: bool,
    ) -> std::fmt::Result {
        let (place, missing) = (neuron.number, 100.0 * neuron.missing);
        let id: String = neuron.id.chars().take(8).collect();
        if !of_fluorescence {
            let rate = neuron.mean / self.0.dt_s;
            return writeln!(
                page,
                "  {place:6} {id:>8} {:12.4} {rate:12.3} {missing:7.1}%",
                neuron.mean
            );
        }
        let number = |value: Option<f64>, decimals: usize| {
            let value = value.filter(|value| value.is_finite());
            value.map_or_else(|| "–".into(), |v| format!("{v:.decimals$}"))
        };
        writeln!(
            page,
            "  {place:6} {id:>8} {:>11} {:>11} {:>7} {:>8} {:>11} {missing:7.1}%",
            number(Some(neuron.mean), 4),
            number(neuron.noise_sd, 4),
            number(neuron.snr, 1),
            number(neuron.tau_s, 2),
            number(neuron.events_per_min, 1),
        )
    }
}
