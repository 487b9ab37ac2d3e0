//! `lfads deconvolve`: spikes and denoised calcium by OASIS.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use calcium::estimate::{Average, maximin_baseline, noise_sd};
use calcium::oasis::{Ar1NoiseConstrained, Ar1Problem, Ar2Problem, Baseline, Deconvolved};
use calcium::{Ar1, Ar2, Automatic, CalciumError, Discretisation};
use clap::ValueEnum;
use data::{Arrays, Likelihood, Recording, TraceBlocks, TraceStream, Units};
use ndarray::{Array1, ArrayD};
use pipeline::{Layout, heading, median};
use rayon::prelude::*;
use serde_json::json;

use super::{Session, check_output};
use crate::input::{InputArgs, with_option_names};

/// Neurons in memory at a time with `--blocks`.
const PER_BLOCK: usize = 64;

/// Spikes and denoised calcium of each neuron, by OASIS.
///
/// Baseline, noise and decay time are estimated for each neuron unless given. Example:
/// `lfads deconvolve mouse/suite2p -o spikes.h5 --tau 0.7 --noise-constrained` writes `spikes`,
/// `calcium` and `baseline`, [trial, time, neuron], and `tau`, `noise_sd` and `lambda` of each neuron.
/// Without --tau there is `activity` too, expected spikes: what follows the firing rate best.
///
/// Spikes are in the units of the recording: a spike of 0.2 raised dF/F by 0.2. In the first frame
/// of a trial, spikes cannot be told from calcium left over from before.
#[derive(Debug, clap::Args)]
#[command(allow_negative_numbers = true)]
pub struct Deconvolve {
    /// Recording: a suite2p folder, NWB, MATLAB v7.3, .npy, .npz, CSV or HDF5
    path: PathBuf,

    /// File to write: HDF5; or, by its ending, .npz, .nwb or .tsd.npz (for pynapple)
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,

    /// Decay time of the indicator, seconds [default: as the file says, else estimated for each neuron]
    #[arg(long, value_name = "S")]
    tau: Option<f64>,

    /// Rise time of the indicator, seconds: AR(2) instead of AR(1)
    #[arg(long, value_name = "S", requires = "tau")]
    tau_rise: Option<f64>,

    /// Decay time that the indicator usually has, seconds: guides the estimate
    #[arg(long, value_name = "S", default_value_t = 1.0, conflicts_with = "tau")]
    typical_tau: f64,

    /// Weight of the L1 penalty, in the recording's units [default: 0]
    #[arg(long, value_name = "X", conflicts_with_all = ["s_min", "noise_constrained"])]
    lambda: Option<f64>,

    /// Smallest spike, in the recording's units
    #[arg(long, value_name = "X", conflicts_with = "noise_constrained")]
    s_min: Option<f64>,

    /// As few spikes as the noise allows; a constant baseline is fitted with them
    #[arg(long, conflicts_with = "tau_rise")]
    noise_constrained: bool,

    /// SD of the noise, in the recording's units [default: estimated for each neuron]
    #[arg(long, value_name = "SD", requires = "noise_constrained")]
    noise: Option<f64>,

    /// Fit the decay time too, within a factor of four of what is given or estimated; too long where the noise
    /// is thought too strong (--noise says how strong), and some 25 times slower
    #[arg(long, requires = "noise_constrained")]
    fit_tau: bool,

    /// What is subtracted first
    #[arg(long, value_enum, default_value_t = BaselineMethod::Rolling)]
    baseline: BaselineMethod,

    /// Window of the rolling baseline, seconds
    #[arg(long, value_name = "S", default_value_t = 60.0)]
    baseline_window: f64,

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
    /// Maximum of the minimum of the smoothed trace, over a window
    Rolling,
    /// Nothing: the recording has none
    None,
}

/// What is known of the indicator before a trace is seen.
struct Kinetics {
    dt_s: f64,
    tau_s: Option<f64>,
    discretisation: Discretisation,
}

/// One neuron, deconvolved.
struct Solved {
    result: Deconvolved<f32>,
    baseline: Vec<f32>,
    /// Where the indicator was estimated.
    activity: Option<Vec<f32>>,
    found: Found,
}

/// Numbers of one neuron.
#[derive(Clone, Copy)]
struct Found {
    tau_s: f64,
    noise_sd: f64,
    lambda: f64,
}

/// What is known of a trace before OASIS.
struct Before {
    baseline: Vec<f32>,
    activity: Option<Vec<f32>>,
    tau_s: f64,
    noise_sd: f64,
}

impl Solved {
    /// The traces in the order of their [`names`].
    fn traces(&self) -> impl Iterator<Item = &[f32]> {
        let three = [&self.result.spikes, &self.result.calcium, &self.baseline];
        let all = three.into_iter().chain(&self.activity);
        all.map(Vec::as_slice)
    }
}

/// Names of the traces.
fn names(kinetics: &Kinetics) -> &'static [&'static str] {
    let all = &["spikes", "calcium", "baseline", "activity"];
    match kinetics.tau_s {
        Some(_) => &all[..3],
        None => all,
    }
}

impl Deconvolve {
    pub fn run(&self, session: &Session<'_>) -> Result<()> {
        check_output(&self.output)?;
        let found = match self.blocks {
            true => self.run_in_blocks(session)?,
            false => self.run_whole(session)?,
        };
        self.report(session, &found)
    }

    fn run_whole(&self, session: &Session<'_>) -> Result<Vec<Found>> {
        let recording = self.input.open(&self.path)?;
        let checked = recording.check(Likelihood::Gaussian);
        checked.map_err(with_option_names)?;
        let stated = recording.discretisation.as_deref();
        let kinetics = self.kinetics(recording.dt_s, recording.tau_s, stated);
        let layout = Layout::new(&recording, 5.0 * kinetics.tau_s.unwrap_or(self.typical_tau));
        let bar = bar(session, recording.n_neurons());
        let solved: Vec<Result<Solved>> = (0..recording.n_neurons())
            .into_par_iter()
            .map(|neuron| {
                let solved = self.solve(&layout.join(&recording, neuron), &kinetics);
                bar.inc(1);
                let id = &recording.neuron_ids[neuron];
                solved.with_context(|| {
                    format!("{}: neuron {neuron} (`{id}`)", recording.path.display())
                })
            })
            .collect();
        bar.finish_and_clear();
        let solved = solved.into_iter().collect::<Result<Vec<_>>>()?;
        let results = results(&recording, &layout, names(&kinetics), &solved);
        results.write_for(&recording, &self.output)?;
        Ok(solved.iter().map(|solved| solved.found).collect())
    }

    /// The same in memory of the size of a block.
    fn run_in_blocks(&self, session: &Session<'_>) -> Result<Vec<Found>> {
        let opened = TraceBlocks::open(&self.path, &self.input.options(), PER_BLOCK);
        let Some(blocks) = opened.map_err(with_option_names)? else {
            bail!(
                "{}: it cannot be read in blocks (a .npy matrix, a suite2p folder or a two-axis HDF5 dataset of 32-bit floats can); leave --blocks out",
                self.path.display()
            );
        };
        let kinetics = self.kinetics(blocks.dt_s(), blocks.tau_s(), blocks.discretisation());
        let kept = self.input.kept_in_blocks(&self.path, &blocks)?;
        let (n_bins, n_neurons) = (blocks.n_bins(), kept.len());
        let ids = blocks.neuron_ids().to_vec();
        let kept_ids: Vec<String> = kept.iter().map(|&neuron| ids[neuron].clone()).collect();
        let units = unit(blocks.units());
        let mut results = heading(&self.path, kinetics.dt_s, &kept_ids);
        let names = names(&kinetics).iter();
        let arrays: Vec<_> = names.map(|name| (*name, units)).collect();
        let mut out = TraceStream::create(&self.output, &arrays, [n_bins, n_neurons])?;
        let bar = bar(session, n_neurons);
        let mut check = blocks.check().map_err(with_option_names)?;
        let mut found = Vec::new();
        for block in blocks {
            let block = block?;
            let traces = (block.first_neuron..).zip(block.traces.outer_iter());
            let traces: Vec<_> = traces
                .filter(|(neuron, _)| kept.binary_search(neuron).is_ok())
                .collect();
            for (neuron, trace) in &traces {
                let seen = check.see(*neuron, trace.view());
                seen.map_err(with_option_names)?;
            }
            let solved: Vec<Result<Solved, CalciumError>> = traces
                .par_iter()
                .map(|(_, trace)| self.solve(trace.as_slice().unwrap_or_default(), &kinetics))
                .collect();
            for ((neuron, _), solved) in traces.into_iter().zip(solved) {
                let solved = solved.with_context(|| {
                    let path = self.path.display();
                    format!("{path}: neuron {neuron} (`{}`)", ids[neuron])
                })?;
                for (array, trace) in solved.traces().enumerate() {
                    out.append(array, trace)?;
                }
                found.push(solved.found);
                bar.inc(1);
            }
        }
        bar.finish_and_clear();
        check.finish().map_err(with_option_names)?;
        insert_numbers(&mut results, &found, units);
        out.finish(&results)?;
        Ok(found)
    }

    /// What the command line says of the indicator, else the file.
    fn kinetics(&self, dt_s: f64, stated_tau_s: Option<f64>, stated: Option<&str>) -> Kinetics {
        Kinetics {
            dt_s,
            tau_s: self.tau.or(stated_tau_s),
            discretisation: match stated {
                Some("euler") if self.tau.is_none() && stated_tau_s.is_some() => {
                    Discretisation::Euler
                }
                _ => Discretisation::Exact,
            },
        }
    }

    fn solve(&self, trace: &[f32], kinetics: &Kinetics) -> Result<Solved, CalciumError> {
        let Before {
            mut baseline,
            activity,
            mut tau_s,
            noise_sd,
        } = self.estimate(trace, kinetics)?;
        if self.baseline == BaselineMethod::None {
            baseline.fill(0.0);
        }
        let above: Vec<f32> = trace.iter().zip(&baseline).map(|(y, b)| y - b).collect();
        let dt_s = kinetics.dt_s;
        let mut lambda = self.lambda.unwrap_or(0.0);
        let result = if let Some(tau_rise_s) = self.tau_rise {
            let ar = Ar2::from_taus(tau_rise_s, tau_s, dt_s, Discretisation::Exact)?;
            let problem = Ar2Problem::new(ar).with_lambda(lambda)?;
            let problem = problem.with_s_min(self.s_min.unwrap_or(0.0))?;
            problem.deconvolve(&above)?
        } else {
            let ar = Ar1::from_tau(tau_s, dt_s, kinetics.discretisation)?;
            if self.noise_constrained {
                let problem = Ar1NoiseConstrained::new(ar, noise_sd)?;
                let problem = match self.fit_tau {
                    true => problem.with_fitted_g(),
                    false => problem,
                };
                let fit = problem.with_baseline(Baseline::Free)?.deconvolve(&above)?;
                for b in &mut baseline {
                    *b += fit.baseline as f32;
                }
                if self.fit_tau {
                    tau_s = fit.ar.tau_s(dt_s, kinetics.discretisation)?;
                }
                lambda = fit.lambda;
                fit.result
            } else {
                let problem = Ar1Problem::new(ar).with_lambda(lambda)?;
                let problem = problem.with_s_min(self.s_min.unwrap_or(0.0))?;
                problem.deconvolve(&above)?
            }
        };
        Ok(Solved {
            result,
            baseline,
            activity,
            found: Found {
                tau_s,
                noise_sd,
                lambda,
            },
        })
    }

    /// Baseline and noise, and tau where it is not known.
    fn estimate(&self, trace: &[f32], kinetics: &Kinetics) -> Result<Before, CalciumError> {
        let dt_s = kinetics.dt_s;
        if let Some(tau_s) = kinetics.tau_s {
            let window = (self.baseline_window / dt_s).ceil() as usize;
            return Ok(Before {
                baseline: maximin_baseline(trace, 0.2 * tau_s / dt_s, window)?,
                activity: None,
                tau_s,
                noise_sd: match self.noise {
                    Some(noise_sd) => noise_sd,
                    None => noise_sd(trace, Average::Mean)?,
                },
            });
        }
        let automatic = Automatic::new(dt_s)?
            .with_typical_tau(self.typical_tau)?
            .with_baseline_window(self.baseline_window)?;
        let estimates = automatic.estimate(trace)?;
        let above = estimates.above_baseline(trace);
        Ok(Before {
            activity: Some(automatic.expected_spikes(&above, &estimates)?),
            baseline: estimates.baseline,
            tau_s: estimates.tau_s,
            noise_sd: self.noise.unwrap_or(estimates.noise_sd),
        })
    }

    fn report(&self, session: &Session<'_>, found: &[Found]) -> Result<()> {
        let middle = |value: fn(&Found) -> f64| {
            let middle = median(found.iter().map(value));
            middle.with_context(|| format!("{}: no neurons", self.path.display()))
        };
        let (tau_s, noise_sd) = (middle(|f| f.tau_s)?, middle(|f| f.noise_sd)?);
        let lambda = middle(|f| f.lambda)?;
        let value = json!({
            "output": self.output,
            "n_neurons": found.len(),
            "median_tau_s": tau_s,
            "median_noise_sd": noise_sd,
            "median_lambda": lambda,
        });
        let text = format!(
            "{}: {} neurons; medians: tau {tau_s:.3} s, noise SD {noise_sd:.4}, lambda {lambda:.4}\n",
            self.output.display(),
            found.len(),
        );
        session.print(&value, &text)
    }
}

fn bar(session: &Session<'_>, n_neurons: usize) -> indicatif::ProgressBar {
    let template = "{bar:30} {pos}/{len} neurons  {eta} left";
    session.progress.bar(n_neurons as u64, template)
}

fn results(recording: &Recording, layout: &Layout, names: &[&str], solved: &[Solved]) -> Arrays {
    let units = unit(recording.units);
    let mut results = heading(&recording.path, recording.dt_s, &recording.neuron_ids);
    for (place, name) in names.iter().enumerate() {
        let of_neuron = |solved: &'_ Solved| solved.traces().nth(place).map(<[f32]>::to_vec);
        let traces: Vec<Vec<f32>> = solved.iter().filter_map(of_neuron).collect();
        let trials = layout.split(traces.iter().map(Vec::as_slice));
        results.insert(name, units, trials.into_dyn());
    }
    let found: Vec<Found> = solved.iter().map(|solved| solved.found).collect();
    insert_numbers(&mut results, &found, units);
    results
}

fn unit(units: Option<Units>) -> &'static str {
    match units {
        Some(Units::DeltaFOverF) => "dF/F",
        Some(_) => "F",
        None => "",
    }
}

/// Adds the numbers of each neuron, `[neuron]`.
fn insert_numbers(results: &mut Arrays, found: &[Found], units: &str) {
    let array = |value: fn(&Found) -> f64| {
        let values: Array1<f32> = found.iter().map(|found| value(found) as f32).collect();
        values.into_dyn()
    };
    let numbers: [(_, _, ArrayD<f32>); 3] = [
        ("tau", "s", array(|f| f.tau_s)),
        ("noise_sd", units, array(|f| f.noise_sd)),
        ("lambda", units, array(|f| f.lambda)),
    ];
    for (name, unit, values) in numbers {
        results.insert(name, unit, values);
    }
}
