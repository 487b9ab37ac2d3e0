//! `lfads deconvolve`: spikes and denoised calcium by OASIS.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use calcium::oasis::{Ar1NoiseConstrained, Ar1Problem, Ar2Problem, Baseline, Deconvolved};
use calcium::{Ar1, Ar2, Automatic, CalciumError, Discretisation};
use clap::ValueEnum;
use data::{Arrays, Likelihood, Recording};
use ndarray::{Array1, Array3};
use rayon::prelude::*;
use serde_json::json;

use super::Session;
use crate::input::InputArgs;
use crate::traces::Layout;

/// Spikes and denoised calcium of each neuron, by OASIS.
///
/// Baseline, noise and decay time are estimated for each neuron unless given. Example:
/// `lfads deconvolve mouse/suite2p -o spikes.h5 --tau 0.7 --noise-constrained` writes `spikes`,
/// `calcium` and `baseline`, [trial, time, neuron], and `tau`, `noise_sd` and `lambda`, [neuron].
///
/// Spikes are in the units of the recording: a spike of 0.2 raised dF/F by 0.2. In the first frame
/// of a trial, spikes cannot be told from calcium left over from before.
#[derive(Debug, clap::Args)]
#[command(allow_negative_numbers = true)]
pub struct Deconvolve {
    /// Recording: a suite2p folder, NWB, MATLAB v7.3, .npy, .npz, CSV or HDF5
    path: PathBuf,

    /// File to write: HDF5, or .npz if it ends so
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
    #[arg(long, value_name = "X", conflicts_with_all = ["noise_constrained", "tau_rise"])]
    s_min: Option<f64>,

    /// As few spikes as the noise allows; a constant baseline is fitted with them
    #[arg(long, conflicts_with = "tau_rise")]
    noise_constrained: bool,

    /// SD of the noise, in the recording's units [default: estimated for each neuron]
    #[arg(long, value_name = "SD", requires = "noise_constrained")]
    noise: Option<f64>,

    /// What is subtracted first
    #[arg(long, value_enum, default_value_t = BaselineMethod::Rolling)]
    baseline: BaselineMethod,

    /// Window of the rolling baseline, seconds
    #[arg(long, value_name = "S", default_value_t = 60.0)]
    baseline_window: f64,

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
    tau_s: f64,
    noise_sd: f64,
    lambda: f64,
}

impl Deconvolve {
    pub fn run(&self, session: &Session<'_>) -> Result<()> {
        let recording = self.input.open(&self.path)?;
        recording.check(Likelihood::Gaussian)?;
        let kinetics = self.kinetics(&recording);
        let layout = Layout::new(&recording, 5.0 * kinetics.tau_s.unwrap_or(self.typical_tau));
        let bar = session.progress.bar(
            recording.n_neurons() as u64,
            "{bar:30} {pos}/{len} neurons  {eta} left",
        );
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
        results(&recording, &layout, &solved).write(&self.output)?;
        self.report(session, &recording, &solved)
    }

    /// What the command line says of the indicator, else the file.
    fn kinetics(&self, recording: &Recording) -> Kinetics {
        let is_own = self.tau.is_none() && recording.tau_s.is_some();
        Kinetics {
            dt_s: recording.dt_s,
            tau_s: self.tau.or(recording.tau_s),
            discretisation: match recording.discretisation.as_deref() {
                Some("euler") if is_own => Discretisation::Euler,
                _ => Discretisation::Exact,
            },
        }
    }

    fn solve(&self, trace: &[f32], kinetics: &Kinetics) -> Result<Solved, CalciumError> {
        let dt_s = kinetics.dt_s;
        let automatic = Automatic::new(dt_s)?
            .with_typical_tau(kinetics.tau_s.unwrap_or(self.typical_tau))?
            .with_baseline_window(self.baseline_window)?;
        let estimate = automatic.deconvolve(trace)?;
        let noise_sd = self.noise.unwrap_or(estimate.noise_sd);
        let tau_s = kinetics.tau_s.unwrap_or(estimate.tau_s);
        let mut baseline = match self.baseline {
            BaselineMethod::Rolling => estimate.baseline,
            BaselineMethod::None => vec![0.0; trace.len()],
        };
        let above: Vec<f32> = trace.iter().zip(&baseline).map(|(y, b)| y - b).collect();
        if let Some(tau_rise_s) = self.tau_rise {
            let ar = Ar2::from_taus(tau_rise_s, tau_s, dt_s, Discretisation::Exact)?;
            let lambda = self.lambda.unwrap_or(0.0);
            return Ok(Solved {
                result: Ar2Problem::new(ar)
                    .with_lambda(lambda)?
                    .deconvolve(&above)?,
                baseline,
                tau_s,
                noise_sd,
                lambda,
            });
        }
        let ar = Ar1::from_tau(tau_s, dt_s, kinetics.discretisation)?;
        let (result, lambda) = if self.noise_constrained {
            let problem = Ar1NoiseConstrained::new(ar, noise_sd)?.with_baseline(Baseline::Free)?;
            let fit = problem.deconvolve(&above)?;
            for b in &mut baseline {
                *b += fit.baseline as f32;
            }
            (fit.result, fit.lambda)
        } else {
            let lambda = self.lambda.unwrap_or(0.0);
            let problem = Ar1Problem::new(ar).with_lambda(lambda)?;
            let problem = problem.with_s_min(self.s_min.unwrap_or(0.0))?;
            (problem.deconvolve(&above)?, lambda)
        };
        Ok(Solved {
            result,
            baseline,
            tau_s,
            noise_sd,
            lambda,
        })
    }

    fn report(
        &self,
        session: &Session<'_>,
        recording: &Recording,
        solved: &[Solved],
    ) -> Result<()> {
        let median = |value: fn(&Solved) -> f64| {
            let mut values: Vec<f64> = solved.iter().map(value).collect();
            values.sort_unstable_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let (tau_s, noise_sd) = (median(|s| s.tau_s), median(|s| s.noise_sd));
        if solved.is_empty() {
            bail!("{}: no neurons", recording.path.display());
        }
        let value = json!({
            "output": self.output,
            "n_neurons": solved.len(),
            "median_tau_s": tau_s,
            "median_noise_sd": noise_sd,
            "median_lambda": median(|s| s.lambda),
        });
        let text = format!(
            "{}: {} neurons; medians: tau {tau_s:.3} s, noise SD {noise_sd:.4}, lambda {:.4}\n",
            self.output.display(),
            solved.len(),
            median(|s| s.lambda),
        );
        session.print(&value, &text)
    }
}

fn results(recording: &Recording, layout: &Layout, solved: &[Solved]) -> Arrays {
    let units = recording.units.map_or("", |units| match units {
        data::Units::DeltaFOverF => "dF/F",
        _ => "F",
    });
    let mut results = Arrays::default();
    results.numbers.insert("dt".into(), recording.dt_s);
    let source = recording.path.display().to_string();
    results.texts.insert("source".into(), source);
    let ids = recording.neuron_ids.join(",");
    results.texts.insert("neuron_ids".into(), ids);
    let mut insert = |name, values: Array3<f32>| results.insert(name, units, values.into_dyn());
    insert(
        "spikes",
        layout.split(solved.iter().map(|s| &s.result.spikes[..])),
    );
    insert(
        "calcium",
        layout.split(solved.iter().map(|s| &s.result.calcium[..])),
    );
    insert(
        "baseline",
        layout.split(solved.iter().map(|s| &s.baseline[..])),
    );
    let mut insert = |name, unit, value: fn(&Solved) -> f64| {
        let values: Array1<f32> = solved.iter().map(|s| value(s) as f32).collect();
        results.insert(name, unit, values.into_dyn());
    };
    insert("tau", "s", |s| s.tau_s);
    insert("noise_sd", units, |s| s.noise_sd);
    insert("lambda", units, |s| s.lambda);
    results
}
