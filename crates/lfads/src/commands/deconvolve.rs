//! `lfads deconvolve`: the spikes behind a recording's fluorescence.

use std::path::PathBuf;

use anyhow::{Result, bail};
use calcium::network::SpikeNetwork;
use calcium::{Discretisation, INDICATORS, NamedIndicator};
use clap::ValueEnum;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use data::{DataError, Likelihood, TraceBlocks, Units};
use pipeline::{Deconvolution, Method, Solved};
use runs::assumption;
use runs::output::check_file;
use serde_json::{Map, Value, json};

use super::Session;
use crate::input::{InputArgs, with_option_names};
use crate::range;

/// Neurons in memory at a time with `--blocks`.
const PER_BLOCK: usize = 64;

/// The spikes of each neuron, and its calcium without noise.
///
/// A network that was trained on simulated traces alone infers `activity`, the expected spikes of each frame, with its SD, and
/// `spikes`, whole ones; it needs no settings. With the decay time of the indicator (--tau, or as the file says) OASIS
/// deconvolves instead. Example: `lfads deconvolve mouse/suite2p -o spikes.h5` writes `activity`, `activity_sd`, `rates_hz`,
/// `spikes`, `calcium` and `baseline`, [trial, time, neuron], and `tau`, `rise`, `spike_size` and `noise_sd` of each neuron.
///
/// By OASIS, spikes are in the units of the recording: a spike of 0.2 raised dF/F by 0.2. In the first frame
/// of a trial, spikes cannot be told from calcium left over from before.
#[derive(Debug, clap::Args)]
#[command(allow_negative_numbers = true)]
pub struct Deconvolve {
    /// Recording: a suite2p folder, NWB, MATLAB, .npy, .npz, CSV or HDF5
    path: PathBuf,

    /// File to write: HDF5; or, by its ending, .npz, .nwb or .tsd.npz (for pynapple)
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,

    /// How spikes are inferred [default: oasis with any of its options or a tau, else network]
    #[arg(long, value_parser = method())]
    method: Option<Method>,

    /// The indicator, such as gcamp6f: narrows how large a single spike is, as dF/F, and how fast (network)
    #[arg(long, value_name = "NAME", value_parser = named_indicator, conflicts_with = "tau")]
    indicator: Option<NamedIndicator>,

    /// Decay time of the indicator, seconds [default: as the file says, else estimated for each neuron]
    #[arg(long, value_name = "S", value_parser = range::tau)]
    tau: Option<f64>,

    /// Rise time of the indicator, seconds: AR(2) instead of AR(1) (with --tau)
    #[arg(long, value_name = "S", requires = "tau", value_parser = range::tau)]
    tau_rise: Option<f64>,

    /// Decay time that the indicator usually has, seconds: guides the estimate of OASIS [default: 1]
    #[arg(long, value_name = "S", conflicts_with = "tau", value_parser = range::tau)]
    typical_tau: Option<f64>,

    /// Weight of the L1 penalty, in the recording's units [default: 0]
    #[arg(long, value_name = "X", value_parser = range::size, conflicts_with_all = ["s_min", "noise_constrained"])]
    lambda: Option<f64>,

    /// Smallest spike, in the recording's units
    #[arg(long, value_name = "X", value_parser = range::size, conflicts_with = "noise_constrained")]
    s_min: Option<f64>,

    /// As few spikes as the noise allows; a constant baseline is fitted with them
    #[arg(long, conflicts_with = "tau_rise")]
    noise_constrained: bool,

    /// SD of the noise, in the recording's units (with --noise-constrained) [default: estimated for each neuron]
    #[arg(long, value_name = "SD", value_parser = range::sd, requires = "noise_constrained")]
    noise: Option<f64>,

    /// Fit the decay time too (with --noise-constrained), within a factor of four of what is given or estimated; too long where the noise
    /// is thought too strong (--noise says how strong), and some 25 times slower
    #[arg(long, requires = "noise_constrained")]
    fit_tau: bool,

    /// What is subtracted first
    #[arg(long, value_enum, default_value_t = BaselineMethod::Rolling)]
    baseline: BaselineMethod,

    /// Window of the rolling baseline, seconds [default: 200 by the network; by OASIS 60, or fifteen times tau if that is longer]
    #[arg(long, value_name = "S", value_parser = range::duration)]
    baseline_window: Option<f64>,

    /// Read, solve and write a block of neurons at a time, for recordings larger than memory: from a
    /// .npy matrix, a suite2p folder or a two-axis HDF5 dataset of 32-bit floats, into HDF5 or .npz
    #[arg(long, conflicts_with = "continuous")]
    blocks: bool,

    #[command(flatten)]
    input: InputArgs,
}

/// Baselines on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum BaselineMethod {
    /// Where the trace is quiet, over a window; each trial may have an offset
    Rolling,
    /// Nothing: the recording has none
    None,
}

fn method() -> impl TypedValueParser<Value = Method> {
    let about = |method| match method {
        Method::Network => "A network trained on simulated traces: expected spikes, no settings",
        Method::Oasis => "OASIS: nonnegative, L1-penalised or thresholded spikes",
        Method::Posterior => "OASIS, and the posterior mean of sparse spikes under AR(1)",
    };
    let value = |method: Method| PossibleValue::new(method.name()).help(about(method));
    PossibleValuesParser::new(Method::ALL.map(value))
        .map(|name| Method::named(&name).expect("the name of a method"))
}

fn named_indicator(name: &str) -> Result<NamedIndicator, String> {
    NamedIndicator::named(name).ok_or_else(|| {
        let known: Vec<&str> = INDICATORS.iter().map(|known| known.name).collect();
        format!("known are {}; leave it out for others", known.join(", "))
    })
}

/// What a recording says of itself that matters here.
#[derive(Clone, Copy)]
struct Stated {
    dt_s: f64,
    tau_s: Option<f64>,
    discretisation: Option<Discretisation>,
    units: Option<Units>,
}

impl Deconvolve {
    pub fn run(&self, session: &Session<'_>) -> Result<()> {
        check_file(&self.output, &self.input.files(&self.path))?;
        let (deconvolution, solved) = match self.blocks {
            true => self.run_in_blocks()?,
            false => self.run_whole()?,
        };
        self.report(session, &deconvolution, &solved)
    }

    fn run_whole(&self) -> Result<(Deconvolution, Vec<Solved>)> {
        let recording = self.input.open(&self.path)?;
        let checked = recording.check(Likelihood::Gaussian);
        checked.map_err(with_option_names)?;
        let deconvolution = self.checked(Stated {
            dt_s: recording.dt_s,
            tau_s: recording.tau_s,
            discretisation: recording.discretisation,
            units: recording.units,
        })?;
        let solved = deconvolution.write(&recording, &self.output)?;
        Ok((deconvolution, solved))
    }

    /// The same in memory of the size of a block.
    fn run_in_blocks(&self) -> Result<(Deconvolution, Vec<Solved>)> {
        let opened = TraceBlocks::open(&self.path, &self.input.options(), PER_BLOCK);
        let Some(mut blocks) = opened.map_err(with_option_names)? else {
            bail!(
                "{}: it cannot be read in blocks (a .npy matrix, a suite2p folder or a two-axis HDF5 dataset of 32-bit floats can); leave --blocks out",
                self.path.display()
            );
        };
        let kept = self.input.kept_of_blocks(&mut blocks)?;
        let deconvolution = self.checked(Stated {
            dt_s: blocks.dt_s(),
            tau_s: blocks.tau_s(),
            discretisation: blocks.discretisation(),
            units: blocks.units(),
        })?;
        let written = deconvolution.write_blocks(blocks, &kept, &self.output);
        let solved = written.map_err(|error| match error.downcast::<DataError>() {
            Ok(error) => with_option_names(error),
            Err(error) => error,
        })?;
        Ok((deconvolution, solved))
    }

    /// The same as [`Self::deconvolution`], where it makes sense.
    fn checked(&self, stated: Stated) -> Result<Deconvolution> {
        let deconvolution = self.deconvolution(stated);
        self.check_heard(&deconvolution)?;
        let dt_s = deconvolution.dt_s;
        if deconvolution.method == Method::Network && dt_s > SpikeNetwork::LONGEST_FRAME_S {
            bail!(
                "{}: its frames last {dt_s} s, in which transients come and go: the network takes frames of up to {} s (--rate, if the file is wrong; --tau deconvolves by OASIS)",
                self.path.display(),
                SpikeNetwork::LONGEST_FRAME_S
            );
        }
        Ok(deconvolution)
    }

    /// Refuses what would be given in vain, or says that it is.
    fn check_heard(&self, deconvolution: &Deconvolution) -> Result<()> {
        let name = deconvolution.method.name();
        let of_oasis = [
            ("--tau", self.tau.is_some()),
            ("--tau-rise", self.tau_rise.is_some()),
            ("--lambda", self.lambda.is_some()),
            ("--s-min", self.s_min.is_some()),
            ("--noise-constrained", self.noise_constrained),
        ];
        match (deconvolution.method, self.indicator) {
            (Method::Network, _) => {
                if let Some((option, _)) = of_oasis.into_iter().find(|(_, is_given)| *is_given) {
                    bail!(
                        "{option} is OASIS's: --method {name} takes none; leave one of the two out"
                    );
                }
            }
            (Method::Oasis | Method::Posterior, Some(known)) => bail!(
                "--indicator {} tells the network what to expect, and the method is {name} here{}; leave one of the two out",
                known.name,
                match self.method {
                    Some(_) => "",
                    None => ", by its options",
                }
            ),
            (Method::Oasis | Method::Posterior, None) => {}
        }
        if let (Some(known), None) = (self.indicator, deconvolution.units) {
            tracing::warn!(
                "{}: --indicator {} is left out: how large a spike is it tells as dF/F, and the file does not say what its values are (--units f or --units dff)",
                self.path.display(),
                known.name
            );
        }
        Ok(())
    }

    /// What the command line says, else the file.
    fn deconvolution(&self, stated: Stated) -> Deconvolution {
        let for_oasis = self.tau_rise.is_some()
            || self.typical_tau.is_some()
            || self.lambda.is_some()
            || self.s_min.is_some()
            || self.noise_constrained
            || (self.indicator.is_none() && self.tau.or(stated.tau_s).is_some());
        let by_default = match for_oasis {
            true => Method::Oasis,
            false => Method::Network,
        };
        Deconvolution {
            method: self.method.unwrap_or(by_default),
            dt_s: stated.dt_s,
            indicator: self.indicator,
            tau_s: self.tau.or(stated.tau_s),
            discretisation: match (self.tau, stated.tau_s) {
                (None, Some(_)) => assumption::discretisation(stated.discretisation, &self.path),
                _ => Discretisation::default(),
            },
            tau_rise_s: self.tau_rise,
            typical_tau_s: self.typical_tau.unwrap_or(1.0),
            lambda: self.lambda,
            s_min: self.s_min,
            noise_constrained: self.noise_constrained,
            noise_sd: self.noise,
            fits_tau: self.fit_tau,
            subtracts_baseline: self.baseline == BaselineMethod::Rolling,
            baseline_window_s: self.baseline_window,
            units: stated.units,
        }
    }

    fn report(
        &self,
        session: &Session<'_>,
        deconvolution: &Deconvolution,
        solved: &[Solved],
    ) -> Result<()> {
        let mut value = Map::new();
        value.insert("output".into(), json!(self.output.to_string_lossy()));
        value.insert("method".into(), json!(deconvolution.method.name()));
        value.insert("n_neurons".into(), json!(solved.len()));
        let mut medians = Vec::new();
        for (name, unit, middle) in deconvolution.medians(solved) {
            let of_unit = if unit == "s" { "_s" } else { "" };
            value.insert(format!("median_{name}{of_unit}"), json!(middle));
            if !name.ends_with("_log_sd") && !name.starts_with("counts") {
                let space = if unit.is_empty() { "" } else { " " };
                let name = name.replace('_', " ");
                medians.push(format!("{name} {middle:.4}{space}{unit}"));
            }
        }
        let notes = deconvolution.remarks(solved);
        let mut text = format!(
            "{}: {} neurons; medians: {}\n",
            self.output.display(),
            solved.len(),
            medians.join(", "),
        );
        for note in &notes {
            text.push_str("  note: ");
            text.push_str(note);
            text.push('\n');
        }
        value.insert("notes".into(), json!(notes));
        session.print(&Value::Object(value), &text)
    }
}
