//! One neuron's trace to spikes, by the method that was asked for.

mod remarks;
mod written;

use calcium::estimate::{BandNoise, band_noise, median};
use calcium::oasis::{Ar1NoiseConstrained, Ar1Problem, Ar2Problem, Baseline, Deconvolved};
use calcium::{
    Ar1, Ar2, Automatic, CalciumError, Discretisation, Inference, NamedIndicator, QuietBaseline,
    decay_seen_in_trials, dimmed_to, dimming,
};
use data::Units;

use remarks::Remarks;

/// How spikes are inferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// A network trained on simulated traces: expected spikes, no settings.
    Network,
    /// OASIS: nonnegative, L1-penalised or thresholded spikes.
    Oasis,
    /// OASIS, and the posterior mean of sparse spikes under AR(1).
    Posterior,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Network, Self::Oasis, Self::Posterior];

    /// What it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Oasis => "oasis",
            Self::Posterior => "posterior",
        }
    }

    /// The one that is called so.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }
}

/// What a trace is deconvolved by.
#[derive(Clone, Debug)]
pub struct Deconvolution {
    /// By which method.
    pub method: Method,
    /// Length of a frame, s.
    pub dt_s: f64,
    /// The indicator, if it is known.
    pub indicator: Option<NamedIndicator>,
    /// Decay time, s, if it is known.
    pub tau_s: Option<f64>,
    /// How it becomes the decay per frame.
    pub discretisation: Discretisation,
    /// Rise time, s, if OASIS shall know one.
    pub tau_rise_s: Option<f64>,
    /// Decay time that guides the estimate of OASIS, s.
    pub typical_tau_s: f64,
    /// Weight of the L1 penalty, in the traces' units.
    pub lambda: Option<f64>,
    /// The smallest spike, in the traces' units.
    pub s_min: Option<f64>,
    /// Whether there are as few spikes as the noise allows.
    pub noise_constrained: bool,
    /// SD of the noise of a frame, in the traces' units, if it is known.
    pub noise_sd: Option<f64>,
    /// Whether the decay is fitted with the spikes.
    pub fits_tau: bool,
    /// Whether a baseline is subtracted first.
    pub subtracts_baseline: bool,
    /// Window of the rolling baseline, s.
    pub baseline_window_s: Option<f64>,
    /// Of the traces: the baseline of raw fluorescence is light, and transients dim with it.
    pub units: Option<Units>,
}

/// What was found of one neuron.
pub struct Solved {
    /// `[array][time]`, in the order of [`Deconvolution::arrays`].
    traces: Vec<Vec<f32>>,
    /// In the order of [`Deconvolution::numbers`].
    numbers: Vec<f64>,
    /// What a user should know.
    remarks: Remarks,
}

/// What OASIS works on.
struct Prepared {
    above: Vec<f32>,
    baseline: Vec<f32>,
    activity: Option<Vec<f32>>,
    tau_s: f64,
    noise_sd: f64,
    remarks: Remarks,
}

impl Deconvolution {
    /// Names of the arrays per frame, and what they count: spikes, or the recording's units.
    fn arrays(&self, units: &'static str) -> Vec<(&'static str, &'static str)> {
        let mut arrays = vec![("spikes", units), ("calcium", units), ("baseline", units)];
        match self.method {
            Method::Network => {
                arrays[0].1 = "spikes";
                arrays.push(("activity", "spikes"));
                arrays.push(("activity_sd", "spikes"));
                arrays.push(("rates_hz", "Hz"));
            }
            Method::Posterior => arrays.push(("activity", units)),
            Method::Oasis => {}
        }
        arrays
    }

    /// Names of the numbers of each neuron, and their units.
    fn numbers(&self, units: &'static str) -> Vec<(&'static str, &'static str)> {
        match self.method {
            Method::Network => vec![
                ("tau", "s"),
                ("noise_sd", units),
                ("rise", "s"),
                ("spike_size", units),
                ("tau_log_sd", ""),
                ("rise_log_sd", ""),
                ("spike_size_log_sd", ""),
                ("counts_are_absolute", ""),
            ],
            _ => vec![("tau", "s"), ("noise_sd", units), ("lambda", units)],
        }
    }

    /// The medians of these numbers over neurons, by name and unit; of no neurons there are none.
    pub fn medians(&self, solved: &[Solved]) -> Vec<(&'static str, &'static str, f64)> {
        let numbers = self.numbers("").into_iter().enumerate();
        let middle = |place: usize| median(solved.iter().map(|neuron| neuron.numbers[place]));
        let medians = numbers.map(|(place, (name, unit))| Some((name, unit, middle(place)?)));
        medians.flatten().collect()
    }

    /// Deconvolves one trace, `[time]`, of joined trials that begin at `starts`.
    ///
    /// # Errors
    /// Those of the methods, naming the parameter or the frame.
    fn solve(&self, trace: &[f32], starts: &[usize]) -> Result<Solved, CalciumError> {
        match self.method {
            Method::Network => self.by_network(trace, starts),
            Method::Oasis | Method::Posterior => self.by_oasis(trace, starts),
        }
    }

    fn by_network(&self, trace: &[f32], starts: &[usize]) -> Result<Solved, CalciumError> {
        let mut inference = Inference::new(self.dt_s)?.with_trials(starts);
        if let Some(window_s) = self.baseline_window_s {
            inference = inference.with_baseline_window(window_s)?;
        }
        if !self.subtracts_baseline {
            inference = inference.without_baseline();
        }
        if let Some(known) = self.indicator {
            // Without a baseline of light, the size of a spike is known of dF/F alone.
            inference = match self.units {
                Some(Units::DeltaFOverF) => inference.with_indicator(known, Some(1.0))?,
                Some(Units::Fluorescence) => inference.with_indicator(known, None)?,
                _ => inference,
            };
        }
        let undimmed = self.undimmed(trace, starts)?;
        let found = match &undimmed {
            Some((_, _, scaled)) => inference.without_baseline().infer(scaled)?,
            None => inference.infer(trace)?,
        };
        let is_absolute = found.is_absolute();
        let remarks = Remarks {
            decay_seen_s: None,
            decay_used_s: found.decay_s.median,
            dimmed_to: undimmed.as_ref().map(|(share, _, _)| *share),
            is_absolute,
        };
        let baseline = match undimmed {
            Some((_, baseline, _)) => baseline,
            None => found.baseline,
        };
        let rates = found
            .expected
            .iter()
            .map(|&e| e / self.dt_s as f32)
            .collect();
        Ok(Solved {
            numbers: vec![
                found.decay_s.median,
                found.noise_sd,
                found.rise_s.median,
                found.spike_size.median,
                found.decay_s.log_sd,
                found.rise_s.log_sd,
                found.spike_size.log_sd,
                f64::from(u8::from(is_absolute)),
            ],
            traces: vec![
                found.spikes,
                found.calcium,
                baseline,
                found.expected,
                found.sd,
                rates,
            ],
            remarks,
        })
    }

    /// The trace above its baseline, scaled as if it did not dim; with how far it dims and the baseline. None if it
    /// does not.
    #[allow(clippy::type_complexity)]
    fn undimmed(
        &self,
        trace: &[f32],
        starts: &[usize],
    ) -> Result<Option<(f64, Vec<f32>, Vec<f32>)>, CalciumError> {
        if !self.may_dim() {
            return Ok(None);
        }
        let noise = band_noise(trace)?;
        let baseline = self
            .baseline(self.typical_tau_s, starts)?
            .of(trace, noise.sd)?;
        Ok(dimming(&baseline, noise.frame_sd()).map(|factors| {
            let scaled = scaled(trace, &baseline, &factors);
            (dimmed_to(&factors), baseline, scaled)
        }))
    }

    /// Whether the baseline is light that may fade.
    fn may_dim(&self) -> bool {
        self.units == Some(Units::Fluorescence) && self.subtracts_baseline
    }

    fn baseline(&self, tau_s: f64, starts: &[usize]) -> Result<QuietBaseline, CalciumError> {
        let problem = QuietBaseline::new(self.dt_s, tau_s)?.with_trials(starts);
        match self.baseline_window_s {
            Some(window_s) => problem.with_window(window_s),
            None => Ok(problem),
        }
    }

    fn by_oasis(&self, trace: &[f32], starts: &[usize]) -> Result<Solved, CalciumError> {
        let Prepared {
            above,
            mut baseline,
            activity,
            mut tau_s,
            noise_sd,
            mut remarks,
        } = self.prepared(trace, starts)?;
        let mut lambda = self.lambda.unwrap_or(0.0);
        let s_min = self.s_min.unwrap_or(0.0);
        let result = if let Some(tau_rise_s) = self.tau_rise_s {
            let ar = Ar2::from_taus(tau_s, tau_rise_s, self.dt_s, self.discretisation)?;
            of_ar2(&above, starts, ar, lambda, s_min)?
        } else {
            let ar = Ar1::from_tau(tau_s, self.dt_s, self.discretisation)?;
            if self.noise_constrained {
                let mut problem = Ar1NoiseConstrained::new(ar, noise_sd)?;
                if self.fits_tau {
                    problem = problem.with_fitted_g();
                }
                let fit = problem
                    .with_baseline(Baseline::Free)?
                    .deconvolve_trials(&above, starts)?;
                for b in &mut baseline {
                    *b += fit.baseline as f32;
                }
                if self.fits_tau {
                    tau_s = fit.ar.tau_s(self.dt_s, self.discretisation)?;
                }
                lambda = fit.lambda;
                fit.result
            } else {
                let problem = Ar1Problem::new(ar).with_lambda(lambda)?;
                problem
                    .with_s_min(s_min)?
                    .deconvolve_trials(&above, starts)?
            }
        };
        remarks.decay_used_s = tau_s;
        let mut traces = vec![result.spikes, result.calcium, baseline];
        traces.extend(activity);
        Ok(Solved {
            traces,
            numbers: vec![tau_s, noise_sd, lambda],
            remarks,
        })
    }

    /// Baseline and noise, tau where it is not known, and what transients show of it.
    fn prepared(&self, trace: &[f32], starts: &[usize]) -> Result<Prepared, CalciumError> {
        let noise: BandNoise = band_noise(trace)?;
        let automatic = self.automatic()?;
        let mut estimates = automatic.estimate_trials(trace, starts)?;
        if let Some(tau_s) = self.tau_s {
            estimates.tau_s = tau_s;
            estimates.baseline = self.baseline(tau_s, starts)?.of(trace, noise.sd)?;
        }
        if !self.subtracts_baseline {
            estimates.baseline.fill(0.0);
        }
        let noise_sd = self.noise_sd.unwrap_or(noise.frame_sd());
        let factors = match self.may_dim() {
            true => dimming(&estimates.baseline, noise.frame_sd()),
            false => None,
        };
        let above = match &factors {
            Some(factors) => scaled(trace, &estimates.baseline, factors),
            None => estimates.above_baseline(trace),
        };
        let activity = match self.method {
            Method::Posterior => {
                Some(automatic.expected_spikes_of_trials(&above, starts, &estimates)?)
            }
            _ => None,
        };
        Ok(Prepared {
            remarks: Remarks {
                decay_seen_s: decay_seen_in_trials(&above, starts, self.dt_s, noise_sd),
                dimmed_to: factors.as_deref().map(dimmed_to),
                ..Remarks::default()
            },
            above,
            baseline: estimates.baseline,
            activity,
            tau_s: estimates.tau_s,
            noise_sd,
        })
    }

    fn automatic(&self) -> Result<Automatic, CalciumError> {
        let automatic = Automatic::new(self.dt_s)?.with_typical_tau(self.typical_tau_s)?;
        match self.baseline_window_s {
            Some(window_s) => automatic.with_baseline_window(window_s),
            None => Ok(automatic),
        }
    }
}

/// OASIS under a rise and a decay. Spikes, penalty and smallest spike are peaks of transients, as under AR(1).
fn of_ar2(
    above: &[f32],
    starts: &[usize],
    ar: Ar2,
    lambda: f64,
    s_min: f64,
) -> Result<Deconvolved<f32>, CalciumError> {
    let peak = ar.peak();
    let problem = Ar2Problem::new(ar).with_lambda(lambda * peak)?;
    let mut result = problem
        .with_s_min(s_min / peak)?
        .deconvolve_trials(above, starts)?;
    for spike in &mut result.spikes {
        *spike *= peak as f32;
    }
    Ok(result)
}

fn scaled(trace: &[f32], baseline: &[f32], factors: &[f64]) -> Vec<f32> {
    let pairs = trace.iter().zip(baseline).zip(factors);
    pairs
        .map(|((y, b), factor)| (f64::from(y - b) * factor) as f32)
        .collect()
}
