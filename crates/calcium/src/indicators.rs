//! Indicators by name: what the literature says of their single spikes.

use crate::network::LogNormal;

/// An indicator that people use.
///
/// Numbers are for single spikes of cortical pyramidal cells, rounded; they differ between neurons, preparations
/// and temperatures by about as much as [`NamedIndicator::spread`] says.
///
/// # Source
/// GCaMP6: Chen et al. 2013 (time to peak, half decay and amplitude in V1); jGCaMP7: Dana et al. 2019; jGCaMP8: Zhang et
/// al. 2023; jRGECO1a, jRCaMP1a: Dana et al. 2016; OGB-1: Kerr, Greenberg & Helmchen 2005. Half times are divided by ln 2.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NamedIndicator {
    /// Its name in small letters.
    pub name: &'static str,
    /// Time constant of the rise, s.
    pub rise_s: f64,
    /// Time constant of the decay, s.
    pub decay_s: f64,
    /// Peak of a single spike, dF/F.
    pub spike_dff: f64,
}

/// Every indicator with a name.
pub const INDICATORS: [NamedIndicator; 12] = [
    known("gcamp6f", 0.015, 0.2, 0.19),
    known("gcamp6m", 0.026, 0.39, 0.13),
    known("gcamp6s", 0.06, 0.79, 0.23),
    known("jgcamp7f", 0.02, 0.3, 0.25),
    known("jgcamp7s", 0.04, 0.9, 0.5),
    known("jgcamp8f", 0.004, 0.1, 0.25),
    known("jgcamp8m", 0.005, 0.16, 0.4),
    known("jgcamp8s", 0.006, 0.35, 0.6),
    known("jrgeco1a", 0.015, 0.5, 0.15),
    known("jrcamp1a", 0.04, 1.2, 0.08),
    known("xcamp-gf", 0.01, 0.2, 0.2),
    known("ogb1", 0.008, 0.6, 0.07),
];

const fn known(name: &'static str, rise_s: f64, decay_s: f64, spike_dff: f64) -> NamedIndicator {
    NamedIndicator {
        name,
        rise_s,
        decay_s,
        spike_dff,
    }
}

impl NamedIndicator {
    /// The indicator of this name, in letters of any case.
    pub fn named(name: &str) -> Option<Self> {
        let name = name.to_lowercase();
        INDICATORS.into_iter().find(|known| known.name == name)
    }

    /// SD of the natural logarithm of every number, among neurons.
    pub const fn spread() -> f64 {
        0.45
    }

    /// What is known of a quantity of this indicator.
    pub(crate) fn belief(median: f64) -> LogNormal {
        LogNormal {
            median,
            log_sd: Self::spread(),
        }
    }
}
