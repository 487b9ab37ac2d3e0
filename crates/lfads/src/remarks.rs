//! What a deconvolution leaves to say about a whole recording.

use calcium::estimate::median;
use pipeline::{Deconvolution, Method, Remarks};

/// Lines about a whole recording, from those of its neurons.
pub fn remarks_of(deconvolution: &Deconvolution, neurons: &[Remarks]) -> Vec<String> {
    let mut lines = Vec::new();
    let dimmed: Vec<f64> = neurons.iter().filter_map(|n| n.dimmed_to).collect();
    if let Some(middle) = median(dimmed.iter().copied()) {
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
    let used = median(neurons.iter().map(|n| n.decay_used_s));
    match (median(seen), used) {
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
