//! How good a recording's traces are, and what is wrong with them in words.

use calcium::quality::{Fault, common_beat, faults, mirrored};
use calcium::{Automatic, CalciumError, Estimates, dimmed_to, dimming};
use data::Units;

use crate::dimming::dimming_line;

/// Below this a neuron's transients are hard to tell from noise.
const LOW_SNR: f64 = 2.0;
/// What noise makes OASIS find above the baseline it makes it find below as well: transients must be higher.
const ABOVE_BELOW: f64 = 2.0;
/// No indicator's dF/F is this high.
const HIGHEST_DFF: f64 = 30.0;
/// Traces that are compared with one another, at most, and frames of each.
const MAX_COMPARED: (usize, usize) = (200, 50_000);

/// What a trace of fluorescence shows.
#[derive(Debug)]
pub struct Signal {
    /// Noise of a frame, in the recording's units.
    pub noise_sd: f64,
    /// Decay time, seconds.
    pub tau_s: f64,
    /// 99th percentile of the calcium that OASIS finds, in SDs of the noise.
    pub snr: f64,
    /// The same of the trace turned upside down, where there is nothing but noise and faults.
    pub snr_below: f64,
    /// Runs of frames whose spikes together stand out of the noise.
    pub n_events: usize,
    /// Frames with data.
    pub n_present: usize,
    faults: Vec<Fault>,
    /// The lowest baseline per highest, where it is light that dims.
    dimmed_to: Option<f64>,
    /// The first frames above the baseline, `[time]`.
    above: Vec<f32>,
}

impl Signal {
    /// Measures one trace, `[time]`, of joined trials that begin at `starts`; its memory is used again, as a trace
    /// may be as long as the recording and many are measured at a time.
    ///
    /// # Errors
    /// Those of [`Automatic::estimate`].
    pub fn of(
        trace: Vec<f32>,
        starts: &[usize],
        automatic: &Automatic,
    ) -> Result<Self, CalciumError> {
        let mut estimates = automatic.estimate_trials(&trace, starts)?;
        let noise_sd = estimates.noise_sd;
        let baseline = std::mem::take(&mut estimates.baseline);
        let n_present = trace.iter().filter(|y| !y.is_nan()).count();
        let faults = faults(&trace, &baseline, noise_sd);
        let dimmed_to = dimming(&baseline, noise_sd).map(|factors| dimmed_to(&factors));
        let mut above = trace;
        for (y, b) in above.iter_mut().zip(baseline) {
            *y = (f64::from(*y) - f64::from(b)) as f32;
        }
        let first = above.iter().take(MAX_COMPARED.1).copied().collect();
        let (snr, n_events) = found(&above, starts, &estimates, automatic)?;
        for y in &mut above {
            *y = -*y;
        }
        let (snr_below, _) = found(&above, starts, &estimates, automatic)?;
        Ok(Self {
            noise_sd,
            tau_s: estimates.tau_s,
            snr,
            snr_below,
            n_events,
            n_present,
            faults,
            dimmed_to,
            above: first,
        })
    }

    fn is_weak(&self) -> bool {
        self.snr < LOW_SNR || self.snr < ABOVE_BELOW * self.snr_below
    }
}

/// 99th percentile of the calcium, in SDs of the noise, and the number of events.
fn found(
    above: &[f32],
    starts: &[usize],
    estimates: &Estimates<f32>,
    automatic: &Automatic,
) -> Result<(f64, usize), CalciumError> {
    let solved = automatic.oasis_trials(above, starts, estimates)?;
    let mut calcium = solved.calcium;
    calcium.retain(|c| !c.is_nan());
    calcium.sort_unstable_by(f32::total_cmp);
    let top = calcium
        .get(calcium.len() * 99 / 100)
        .copied()
        .unwrap_or_default();
    let n_events = events(&solved.spikes, 3.0 * estimates.noise_sd as f32);
    Ok((f64::from(top) / estimates.noise_sd, n_events))
}

/// Runs of consecutive frames whose spikes add up to more than `threshold`.
fn events(spikes: &[f32], threshold: f32) -> usize {
    spikes
        .split(|&s| s.is_nan() || s <= 0.0)
        .filter(|run| run.iter().sum::<f32>() > threshold)
        .count()
}

/// What users should know of the traces, a line each; signals and means by neuron, and the numbers of neurons.
pub fn faults_in_words(
    signals: &[Option<&Signal>],
    means: &[f64],
    numbers: &[usize],
    units: Option<Units>,
    dt_s: f64,
) -> Vec<String> {
    let mut lines = Vec::new();
    let which = |is: &dyn Fn(&Signal) -> bool| {
        let all = signals.iter().enumerate();
        let those = all.filter(|(_, signal)| signal.is_some_and(is));
        those.map(|(neuron, _)| neuron).collect::<Vec<_>>()
    };
    let mut say = |neurons: Vec<usize>, what: &str| {
        if !neurons.is_empty() {
            let list = listed(&neurons, numbers);
            lines.push(what.replace("{}", &list));
        }
    };
    say(
        which(&Signal::is_weak),
        &format!(
            "SNR below {LOW_SNR}, or no more above the baseline than below, in neurons {{}}: transients hardly rise above the noise (--leave-out {{}})"
        ),
    );
    let has = |fault: Fault| which(&move |signal: &Signal| signal.faults.contains(&fault));
    say(
        has(Fault::WrapsAround),
        "values jump by the range of 16 bits in neurons {}: unsigned numbers were read as signed ones; convert the recording again",
    );
    say(
        has(Fault::Saturated),
        "neurons {} stay at their highest value: the detector was saturated, and large transients are cut off",
    );
    say(
        has(Fault::Denoised),
        "hardly any noise in neurons {}: these traces were denoised or deconvolved before; give the raw ones",
    );
    say(
        has(Fault::GoesDown),
        "neurons {} go down further than up: neuropil subtraction, motion (--mask takes frames out), or an inverted sign",
    );
    if units == Some(Units::Fluorescence) {
        let below = |(i, mean): (usize, &f64)| (*mean < 0.0).then_some(i);
        say(
            means.iter().enumerate().filter_map(below).collect(),
            "mean fluorescence below 0 in neurons {}: raw F cannot be; a dead region from which neuropil is subtracted? (--leave-out {})",
        );
    }
    if units == Some(Units::DeltaFOverF) {
        let high = |(i, mean): (usize, &f64)| (mean.abs() > HIGHEST_DFF).then_some(i);
        say(
            means.iter().enumerate().filter_map(high).collect(),
            "mean dF/F beyond 30 in neurons {}: raw fluorescence, percent, or a baseline near 0? (--units f)",
        );
    }
    if units == Some(Units::Fluorescence) {
        let dimmed_to = signals.iter().map(|signal| (*signal)?.dimmed_to);
        let what_then = ", and `deconvolve` scales them back";
        lines.extend(dimming_line(dimmed_to, what_then));
    }
    common_lines(signals, numbers, dt_s, &mut lines);
    lines
}

/// Neurons by their numbers, as `--leave-out` takes them.
pub(crate) fn listed(neurons: &[usize], numbers: &[usize]) -> String {
    let listed = neurons.iter().map(|&neuron| numbers[neuron].to_string());
    listed.collect::<Vec<_>>().join(",")
}

/// What only several traces together show.
fn common_lines(
    signals: &[Option<&Signal>],
    numbers: &[usize],
    dt_s: f64,
    lines: &mut Vec<String>,
) {
    let present: Vec<(usize, &Signal)> = signals
        .iter()
        .enumerate()
        .filter_map(|(neuron, signal)| signal.map(|signal| (neuron, signal)))
        .take(MAX_COMPARED.0)
        .collect();
    let wide = |signal: &Signal| signal.above.iter().map(|&y| f64::from(y)).collect();
    let above: Vec<Vec<f64>> = present.iter().map(|(_, s)| wide(s)).collect();
    let noise_sds: Vec<f64> = present.iter().map(|(_, s)| s.noise_sd).collect();
    if let Some(period_s) = common_beat(&above, &noise_sds, dt_s) {
        lines.push(format!(
            "the traces share a beat of {:.2} Hz, one every {period_s:.2} s (heart, breath, stimulus or interference?): it will be taken for spikes",
            1.0 / period_s
        ));
    }
    for (place, (neuron, _)) in present.iter().enumerate() {
        if let Some((other, correlation)) = mirrored(&above, &noise_sds, place) {
            lines.push(format!(
                "neuron {} falls where neuron {} rises (correlation {correlation:.2}): its neuropil holds that neuron (--neuropil with a smaller share)",
                numbers[*neuron], numbers[present[other].0]
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neurons_are_listed_as_leave_out_takes_them() {
        assert_eq!(listed(&[0, 2], &[1, 4, 7]), "1,7");
    }
}
