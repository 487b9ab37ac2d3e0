//! Indicators by name: what the literature says of their single spikes.

use crate::network::LogNormal;

/// An indicator that people use.
///
/// Numbers are for single spikes, rounded; they differ between neurons, preparations and temperatures by about as much as
/// [`NamedIndicator::spread`] says.
///
/// # Source
/// Half times are divided by ln 2, and so are the half rises of the jGCaMPs; the rises of GCaMP6 are those under which a transient
/// peaks when it does. GCaMP6: Chen et al. 2013, "Ultrasensitive fluorescent proteins for imaging neuronal activity", figure 3
/// and supplementary table 3 (mouse V1). jGCaMP7f and jGCaMP8: Zhang et al. 2023, "Fast and sensitive GCaMP calcium
/// indicators for imaging neural populations", as Janelia's page of the jGCaMP8 indicators lists them: half rises of 25, 7, 7
/// and 10 ms, half decays of 182, 67, 118 and 307 ms, 21, 41, 76 and 111 % (cultured neurons). OGB-1: Grewe et al. 2010,
/// "High-speed in vivo calcium imaging reveals neuronal network activity with near-millisecond precision": a rise of 10 ms,
/// 8 % that decay in 60 ms and 3 % in 800 ms, of which there is one decay here.
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
pub const INDICATORS: [NamedIndicator; 8] = [
    known("gcamp6f", 0.015, 0.2, 0.19),
    known("gcamp6m", 0.026, 0.39, 0.13),
    known("gcamp6s", 0.06, 0.79, 0.23),
    known("jgcamp7f", 0.036, 0.26, 0.21),
    known("jgcamp8f", 0.01, 0.1, 0.41),
    known("jgcamp8m", 0.01, 0.17, 0.76),
    known("jgcamp8s", 0.014, 0.44, 1.11),
    known("ogb1", 0.01, 0.4, 0.1),
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
