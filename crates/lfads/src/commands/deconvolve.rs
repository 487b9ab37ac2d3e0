//! `lfads deconvolve`: the spikes behind a recording's fluorescence.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, bail};
use calcium::estimate::median;
use calcium::network::SpikeNetwork;
use calcium::{CalciumError, Discretisation, INDICATORS, NamedIndicator};
use clap::ValueEnum;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use data::{Arrays, Likelihood, Recording, TraceBlocks, TraceStream, Traces, Units};
use model::PROGRESS;
use ndarray::{Array1, ArrayView1};
use pipeline::{Deconvolution, Layout, Method, Solved, heading};
use rayon::prelude::*;
use runs::assumption;
use runs::output::check_file;
use serde_json::{Map, Value, json};

use super::Session;
use crate::input::{InputArgs, with_option_names};
use crate::range;
use crate::remarks::remarks_of;

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

    /// The indicator, such as gcamp6f: narrows how large a single spike is and how fast (network)
    #[arg(long, value_name = "NAME", value_parser = named_indicator, conflicts_with = "tau")]
    indicator: Option<NamedIndicator>,

    /// Decay time of the indicator, seconds [default: as the file says, else estimated for each neuron]
    #[arg(long, value_name = "S", value_parser = range::tau)]
    tau: Option<f64>,

    /// Rise time of the indicator, seconds: AR(2) instead of AR(1)
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

    /// SD of the noise, in the recording's units [default: estimated for each neuron]
    #[arg(long, value_name = "SD", value_parser = range::sd, requires = "noise_constrained")]
    noise: Option<f64>,

    /// Fit the decay time too, within a factor of four of what is given or estimated; too long where the noise
    /// is thought too strong (--noise says how strong), and some 25 times slower
    #[arg(long, requires = "noise_constrained")]
    fit_tau: bool,

    /// What is subtracted first
    #[arg(long, value_enum, default_value_t = BaselineMethod::Rolling)]
    baseline: BaselineMethod,

    /// Window of the rolling baseline, seconds [default: 60, or fifteen times tau if that is longer]
    #[arg(long, value_name = "S", value_parser = range::duration)]
    baseline_window: Option<f64>,

    /// Read, solve and write a block of neurons at a time, for recordings larger than memory: from a
    /// .npy matrix, a suite2p folder or a two-axis HDF5 dataset of 32-bit floats
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
        if matches!(recording.traces, Traces::Continuous(_)) && TraceStream::suits(&self.output) {
            return self.stream(&recording, deconvolution);
        }
        let layout = Layout::new(&recording);
        let starts = layout.starts();
        let told = Told::of(recording.n_neurons());
        let solved: Vec<Result<Solved>> = (0..recording.n_neurons())
            .into_par_iter()
            .map(|neuron| {
                let solved = deconvolution.solve(&layout.join(&recording, neuron), &starts);
                told.one_more();
                let id = &recording.neuron_ids[neuron];
                let number = recording.neuron_numbers[neuron];
                solved.with_context(|| self.of_neuron(number, id))
            })
            .collect();
        let solved = solved.into_iter().collect::<Result<Vec<_>>>()?;
        let results = results(&recording, &layout, &deconvolution, &solved);
        results.write_for(&recording, &self.output)?;
        Ok((deconvolution, solved))
    }

    /// The same of one long trace a neuron: what was found is written before the next neurons are looked at.
    fn stream(
        &self,
        recording: &Recording,
        deconvolution: Deconvolution,
    ) -> Result<(Deconvolution, Vec<Solved>)> {
        let trace = recording.stretches()[0];
        let ids = &recording.neuron_ids;
        let units = unit(recording.units);
        let arrays = deconvolution.arrays(units);
        let shape = [trace.nrows(), trace.ncols()];
        let mut out = TraceStream::create(&self.output, &arrays, shape)?;
        let told = Told::of(ids.len());
        let mut all = Vec::new();
        let neurons: Vec<usize> = (0..ids.len()).collect();
        for neurons in neurons.chunks(rayon::current_num_threads()) {
            let solve = |neuron: &usize| deconvolution.solve(&trace.column(*neuron).to_vec(), &[0]);
            let solved: Vec<Result<Solved, CalciumError>> = neurons.par_iter().map(solve).collect();
            for (neuron, solved) in neurons.iter().zip(solved) {
                let number = recording.neuron_numbers[*neuron];
                let solved = solved.with_context(|| self.of_neuron(number, &ids[*neuron]))?;
                all.push(append(&mut out, solved)?);
                told.one_more();
            }
        }
        let mut results = heading(&recording.path, recording.dt_s, ids);
        insert_numbers(&mut results, &deconvolution, &all, units);
        out.finish(&results)?;
        Ok((deconvolution, all))
    }

    fn of_neuron(&self, number: usize, id: &str) -> String {
        let path = self.path.display();
        format!("{path}: neuron {number} (`{id}`; --leave-out {number})")
    }

    /// The same in memory of the size of a block.
    fn run_in_blocks(&self) -> Result<(Deconvolution, Vec<Solved>)> {
        let opened = TraceBlocks::open(&self.path, &self.input.options(), PER_BLOCK);
        let Some(blocks) = opened.map_err(with_option_names)? else {
            bail!(
                "{}: it cannot be read in blocks (a .npy matrix, a suite2p folder or a two-axis HDF5 dataset of 32-bit floats can); leave --blocks out",
                self.path.display()
            );
        };
        let deconvolution = self.checked(Stated {
            dt_s: blocks.dt_s(),
            tau_s: blocks.tau_s(),
            discretisation: blocks.discretisation(),
            units: blocks.units(),
        })?;
        let kept = self.input.kept_in_blocks(&self.path, &blocks)?;
        let (n_bins, n_neurons) = (blocks.n_bins(), kept.len());
        let ids = blocks.neuron_ids().to_vec();
        let kept_ids: Vec<String> = kept.iter().map(|&neuron| ids[neuron].clone()).collect();
        let units = unit(blocks.units());
        let mut results = heading(&self.path, deconvolution.dt_s, &kept_ids);
        let arrays = deconvolution.arrays(units);
        let mut out = TraceStream::create(&self.output, &arrays, [n_bins, n_neurons])?;
        let told = Told::of(n_neurons);
        let mut check = blocks.check().map_err(with_option_names)?;
        let mut all = Vec::new();
        for block in blocks {
            let block = block?;
            let traces = (block.first_neuron..).zip(block.traces.outer_iter());
            let traces: Vec<_> = traces
                .filter(|(neuron, _)| kept.binary_search(neuron).is_ok())
                .collect();
            let mut sound = true;
            for (neuron, trace) in &traces {
                let seen = check.see(*neuron, trace.view());
                sound = seen.map_err(with_option_names)?;
            }
            // The rest is only looked through, so that all silent neurons are named at once.
            if !sound {
                continue;
            }
            // No more results in memory than are made at a time: a trace may be long.
            for traces in traces.chunks(rayon::current_num_threads()) {
                let solve = |(_, trace): &(usize, ArrayView1<'_, f32>)| {
                    deconvolution.solve(trace.as_slice().unwrap_or_default(), &[0])
                };
                let solved: Vec<Result<Solved, CalciumError>> =
                    traces.par_iter().map(solve).collect();
                for ((neuron, _), solved) in traces.iter().zip(solved) {
                    let solved = solved.with_context(|| self.of_neuron(*neuron, &ids[*neuron]))?;
                    all.push(append(&mut out, solved)?);
                    told.one_more();
                }
            }
        }
        check.finish().map_err(with_option_names)?;
        insert_numbers(&mut results, &deconvolution, &all, units);
        out.finish(&results)?;
        Ok((deconvolution, all))
    }

    /// The same as [`Self::deconvolution`], where it makes sense.
    fn checked(&self, stated: Stated) -> Result<Deconvolution> {
        let deconvolution = self.deconvolution(stated);
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
        for (place, (name, unit)) in deconvolution.numbers("").into_iter().enumerate() {
            let middle = median(solved.iter().map(|neuron| neuron.numbers[place]));
            let middle = middle.with_context(|| format!("{}: no neurons", self.path.display()))?;
            let key = if unit == "s" {
                format!("median_{name}_s")
            } else {
                format!("median_{name}")
            };
            value.insert(key, json!(middle));
            if !name.ends_with("_log_sd") && !name.starts_with("counts") {
                let space = if unit.is_empty() { "" } else { " " };
                let name = name.replace('_', " ");
                medians.push(format!("{name} {middle:.4}{space}{unit}"));
            }
        }
        let remarks: Vec<_> = solved.iter().map(|neuron| neuron.remarks).collect();
        let notes = remarks_of(deconvolution, &remarks);
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

/// Tells how far the work is.
struct Told {
    done: AtomicUsize,
    of: usize,
}

impl Told {
    fn of(n_neurons: usize) -> Self {
        Self {
            done: AtomicUsize::new(0),
            of: n_neurons,
        }
    }

    fn one_more(&self) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        tracing::trace!(
            target: PROGRESS,
            what = "neurons deconvolved",
            done = done as u64,
            of = self.of as u64
        );
    }
}

fn results(
    recording: &Recording,
    layout: &Layout,
    deconvolution: &Deconvolution,
    solved: &[Solved],
) -> Arrays {
    let units = unit(recording.units);
    let mut results = heading(&recording.path, recording.dt_s, &recording.neuron_ids);
    for (place, (name, unit)) in deconvolution.arrays(units).into_iter().enumerate() {
        let traces = solved.iter().map(|solved| solved.traces[place].as_slice());
        results.insert(name, unit, layout.split(traces).into_dyn());
    }
    insert_numbers(&mut results, deconvolution, solved, units);
    results
}

/// Writes what was found of one neuron, and keeps its numbers alone.
fn append(out: &mut TraceStream, mut solved: Solved) -> Result<Solved> {
    for (array, trace) in solved.traces.iter().enumerate() {
        out.append(array, trace)?;
    }
    solved.traces.clear();
    Ok(solved)
}

fn unit(units: Option<Units>) -> &'static str {
    match units {
        Some(Units::DeltaFOverF) => "dF/F",
        Some(_) => "F",
        None => "",
    }
}

/// Adds the numbers of each neuron, `[neuron]`, and what they count.
fn insert_numbers(
    results: &mut Arrays,
    deconvolution: &Deconvolution,
    solved: &[Solved],
    units: &'static str,
) {
    for (place, (name, unit)) in deconvolution.numbers(units).into_iter().enumerate() {
        let values = solved.iter().map(|neuron| neuron.numbers[place] as f32);
        results.insert(name, unit, values.collect::<Array1<f32>>().into_dyn());
    }
    if deconvolution.method == Method::Network {
        let n_absolute = solved.iter().filter(|n| n.remarks.is_absolute).count();
        let counts = match n_absolute {
            0 => "relative",
            n if n == solved.len() => "absolute",
            _ => "absolute where counts_are_absolute is 1, else relative",
        };
        results.texts.insert("counts".into(), counts.into());
    }
}
