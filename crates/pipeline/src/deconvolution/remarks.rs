//! What a deconvolution leaves to say about a whole recording.

use calcium::estimate::median;
use data::Units;

use super::{Deconvolution, Method, Solved};
use crate::dimming::dimming_line;

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

impl Deconvolution {
    /// Lines about a whole recording, from what was found of its neurons.
    pub fn remarks(&self, solved: &[Solved]) -> Vec<String> {
        let neurons: Vec<Remarks> = solved.iter().map(|solved| solved.remarks).collect();
        let mut lines = Vec::new();
        let dimmed_to = neurons.iter().map(|neuron| neuron.dimmed_to);
        lines.extend(dimming_line(dimmed_to, " and are scaled back by it"));
        match self.method {
            Method::Network => lines.push(counted(&neurons, self.units)),
            Method::Oasis | Method::Posterior => lines.extend(self.decay_doubted(&neurons)),
        }
        lines
    }

    /// Nothing where the decay that was used is about the one that is seen.
    fn decay_doubted(&self, neurons: &[Remarks]) -> Option<String> {
        let seen = median(neurons.iter().filter_map(|n| n.decay_seen_s));
        let used_s = median(neurons.iter().map(|n| n.decay_used_s))?;
        match seen {
            Some(seen_s) if !(0.5..2.0).contains(&(seen_s / used_s)) => Some(format!(
                "tau {used_s:.3} s, but clear transients decay with about {seen_s:.2} s: a wrong tau gives several times the spikes (--tau {seen_s:.2})"
            )),
            None if self.tau_s.is_none() => Some(format!(
                "no transient is clear enough to show its decay: tau {used_s:.3} s follows --typical-tau {}",
                self.typical_tau_s
            )),
            _ => None,
        }
    }
}

fn counted(neurons: &[Remarks], units: Option<Units>) -> String {
    let helps = match units {
        Some(_) => "--indicator",
        None => "--indicator with --units",
    };
    match neurons.iter().filter(|n| n.is_absolute).count() {
        0 => format!(
            "the traces do not tell how large a single spike is: counts are right up to a factor ({helps} helps)"
        ),
        n => format!(
            "counts are numbers of spikes in {n} of {} neurons, within about 1.4 times; in the others right up to a factor",
            neurons.len()
        ),
    }
}
