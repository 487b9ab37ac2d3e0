//! One neuron's trace to spikes, by the method that was asked for.

use calcium::estimate::{BandNoise, band_noise};
use calcium::oasis::{Ar1NoiseConstrained, Ar1Problem, Ar2Problem, Baseline, Deconvolved};
use calcium::{
    Ar1, Ar2, Automatic, CalciumError, Discretisation, Inference, NamedIndicator, QuietBaseline,
    decay_seen_in_trials, dimmed_to, dimming,
};
use data::Units;

/// How spikes are inferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Method {
    /// A network trained on simulated traces: expected spikes, no settings
    Network,
    /// OASIS: nonnegative, L1-penalised or thresholded spikes
    Oasis,
    /// OASIS, and the posterior mean of sparse spikes under AR(1)
    Posterior,
}

/// What a trace is deconvolved by.
#[derive(Clone, Debug)]
pub struct Deconvolution {
    pub method: Method,
    pub dt_s: f64,
    pub indicator: Option<NamedIndicator>,
    /// Decay time, if it is known.
    pub tau_s: Option<f64>,
    pub discretisation: Discretisation,
    pub tau_rise_s: Option<f64>,
    pub typical_tau_s: f64,
    pub lambda: Option<f64>,
    pub s_min: Option<f64>,
    pub noise_constrained: bool,
    pub noise_sd: Option<f64>,
    pub fits_tau: bool,
    pub subtracts_baseline: bool,
    pub baseline_window_s: Option<f64>,
    /// Of the traces: the baseline of raw fluorescence is light, and transients dim with it.
    pub units: Option<Units>,
}

/// Arrays per frame, in the order of [`Deconvolution::arrays`], and numbers of [`Deconvolution::numbers`].
pub struct Solved {
    pub traces: Vec<Vec<f32>>,
    pub numbers: Vec<f64>,
    pub remarks: Remarks,
}

/// What a user should know of one neuron's result.
#[derive(Clone, Copy, Debug, Default)]
pub struct Remarks {
    /// The decay that clear transients show, s.
    pub decay_seen_s: Option<f64>,
    /// The decay that was used, s.
    pub decay_used_s: f64,
    /// The lowest baseline per highest, if transients were scaled for it.
    pub dimmed_to: Option<f64>,
    /// Whether spikes are numbers of spikes.
    pub is_absolute: bool,
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
    pub fn arrays(&self, units: &'static str) -> Vec<(&'static str, &'static str)> {
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
    pub fn numbers(&self, units: &'static str) -> Vec<(&'static str, &'static str)> {
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

    /// Deconvolves one trace, `[time]`, of joined trials that begin at `starts`.
    ///
    /// # Errors
    /// Those of the methods, naming the parameter or the frame.
    pub fn solve(&self, trace: &[f32], starts: &[usize]) -> Result<Solved, CalciumError> {
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

/// Lines about a whole recording, from those of its neurons.
pub fn remarks_of(deconvolution: &Deconvolution, neurons: &[Remarks]) -> Vec<String> {
    let mut lines = Vec::new();
    let dimmed: Vec<f64> = neurons.iter().filter_map(|n| n.dimmed_to).collect();
    if let Some(middle) = calcium::estimate::median(dimmed.iter().copied()) {
        lines.push(format!(
            "the baseline falls or rises in {} of {} neurons, to {:.0} % of its highest in the middle one: bleaching or drift; transients are scaled by it",
            dimmed.len(),
            neurons.len(),
            100.0 * middle
        ));
    }
    if deconvolution.method == Method::Network {
        let n = neurons.iter().filter(|n| n.is_absolute).count();
        lines.push(match n {
            0 => "the traces do not tell how large a single spike is: counts are right up to a factor (--indicator helps)".into(),
            n => format!("counts are numbers of spikes in {n} of {} neurons, within about 1.4 times; in the others right up to a factor", neurons.len()),
        });
        return lines;
    }
    let seen = neurons.iter().filter_map(|n| n.decay_seen_s);
    let used = calcium::estimate::median(neurons.iter().map(|n| n.decay_used_s));
    match (calcium::estimate::median(seen), used) {
        (Some(seen_s), Some(used_s)) => {
            let factor = seen_s / used_s;
            if !(0.5..2.0).contains(&factor) {
                lines.push(format!(
                    "tau {used_s:.3} s, but clear transients decay with about {seen_s:.2} s: a wrong tau gives several times the spikes (--tau {seen_s:.2})"
                ));
            }
        }
        (None, Some(used_s)) if deconvolution.tau_s.is_none() => lines.push(format!(
            "no transient is clear enough to show its decay: tau {used_s:.3} s follows --typical-tau {}",
            deconvolution.typical_tau_s
        )),
        _ => {}
    }
    lines
}
