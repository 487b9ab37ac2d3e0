//! Sizes of spikes of a population, each by what the others have.

use calcium::estimate::median;

/// Error of the network in one neuron's size of a spike, SD of its logarithm, beside what it does to all alike. Where spikes are
/// known (twelve public sets, 126 neurons) sizes spread by 0.55 within a set, and counts come nearest to the truth
/// when sizes go 0.35 of the way to their median: √0.35 · 0.55.
const SIZE_ERROR: f64 = 0.32;
/// SDs beyond which sizes say nothing of the spread of the others, and the SD over the median absolute deviation of a
/// normal distribution.
const FARTHEST: f64 = 3.0;
const NORMAL_MAD: f64 = 1.4826;

/// Brings sizes towards their median by the share of their spread that is error: a neuron that seems to have much larger
/// spikes than the others has somewhat larger ones, and fires more than it seems. A few that are far off, as by an artefact,
/// do not make all others credible. Where a neuron's light at rest is known, its spikes may be the larger the brighter it is: sizes
/// are compared as shares of it if they differ less so.
///
/// # Source
/// Empirical Bayes: Efron & Morris 1975, of logarithms, the error known.
pub(super) fn draw_together(sizes: &mut [Option<f64>], brightness: Option<&[f32]>) {
    let alone = Spread::of(sizes.iter().flatten().map(|size| size.ln()));
    let lit = brightness.and_then(|light| {
        let pairs = sizes.iter().zip(light);
        let sized = pairs.filter_map(|(size, &light)| Some((*size)?.ln() - f64::from(light).ln()));
        Some((light, Spread::of(sized)?))
    });
    let Some(alone) = alone else {
        return;
    };
    let (light, spread) = match lit {
        Some((light, spread)) if spread.variance < alone.variance => (Some(light), spread),
        _ => (None, alone),
    };
    let share = (SIZE_ERROR.powi(2) / spread.variance).min(1.0);
    for (neuron, size) in sizes.iter_mut().enumerate() {
        let unit = light.map_or(1.0, |light| f64::from(light[neuron]));
        if let Some(size) = size {
            let log = (*size / unit).ln();
            *size = unit * (log + share * (spread.middle - log)).exp();
        }
    }
}

/// Middle and variance of logarithms, in which what is far off counts as no farther than [`FARTHEST`].
struct Spread {
    middle: f64,
    variance: f64,
}

impl Spread {
    /// Nothing of none, or of one that is no number.
    fn of(logs: impl Iterator<Item = f64>) -> Option<Self> {
        let logs: Vec<f64> = logs.collect();
        if !logs.iter().all(|log| log.is_finite()) {
            return None;
        }
        let middle = median(logs.iter().copied())?;
        let deviations = || logs.iter().map(|log| (log - middle).abs());
        let farthest = FARTHEST * NORMAL_MAD * median(deviations())?;
        let squares: f64 = deviations().map(|d| d.min(farthest).powi(2)).sum();
        Some(Self {
            middle,
            variance: squares / logs.len().saturating_sub(1).max(1) as f64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Every size comes nearer to the median by one share of its distance, which is what the error is of the spread.
        #[test]
        fn sizes_draw_together(logs in prop::collection::vec(-0.9..0.9f64, 5..40)) {
            let mut sizes: Vec<Option<f64>> = logs.iter().map(|log| Some(log.exp())).collect();
            draw_together(&mut sizes, None);
            let middle = median(logs.iter().copied()).unwrap();
            let away = |log: f64| (log - middle).abs();
            let farthest = 3.0 * 1.4826 * median(logs.iter().map(|&log| away(log))).unwrap();
            let squares: f64 = logs.iter().map(|&log| away(log).min(farthest).powi(2)).sum();
            let share = (0.32f64.powi(2) * (logs.len() - 1) as f64 / squares).min(1.0);
            for (log, drawn) in logs.iter().zip(sizes.iter().flatten()) {
                let expected = middle + (1.0 - share) * (log - middle);
                prop_assert!((drawn.ln() - expected).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn only_spread_beyond_the_error_is_believed() {
        let mut alike = [100.0, 110.0, 95.0, 105.0, 90.0].map(Some);
        draw_together(&mut alike, None);
        assert!(
            alike
                .iter()
                .flatten()
                .all(|size| (size - 100.0).abs() < 1e-9)
        );

        // Nobody is believed the more because of one artefact.
        let mut with_artefact: Vec<Option<f64>> =
            [100.0, 110.0, 95.0, 105.0, 90.0, 100.0, 115.0, 85.0]
                .into_iter()
                .chain([10_000.0])
                .map(Some)
                .collect();
        draw_together(&mut with_artefact, None);
        assert!(
            (with_artefact[1].unwrap() - 100.0).abs() < 2.0,
            "{with_artefact:?}"
        );

        let mut far = [Some(1.0), None, Some(10.0), Some(100.0)];
        draw_together(&mut far, None);
        assert!(
            (90.0..100.0).contains(&far[3].unwrap()) && far[1].is_none(),
            "{far:?}"
        );

        let mut one = [Some(7.0)];
        draw_together(&mut one, None);
        assert!((one[0].unwrap() - 7.0).abs() < 1e-12);
        draw_together(&mut [None], None);
    }

    /// Spikes that grow with a neuron's light are compared as shares of it; light that explains nothing, or is none, is left
    /// alone.
    #[test]
    fn the_brighter_may_have_larger_spikes() {
        let light = [100.0, 200.0, 400.0, 800.0, 1600.0f32];
        let errors = [1.1, 0.9, 1.0, 1.2, 0.8];
        let grown = || -> Vec<Option<f64>> {
            let pairs = light.iter().zip(errors);
            pairs.map(|(&l, e)| Some(0.2 * f64::from(l) * e)).collect()
        };
        let mut sizes = grown();
        draw_together(&mut sizes, Some(&light));
        for (size, &light) in sizes.iter().flatten().zip(&light) {
            assert!(
                (size / f64::from(light) - 0.2).abs() < 1e-9,
                "{size} of {light}"
            );
        }
        let alike = [100.0, 110.0, 95.0, 105.0, 90.0].map(Some);
        for light in [light, [100.0, -1.0, 400.0, 0.0, f32::NAN]] {
            let mut sizes = alike;
            draw_together(&mut sizes, Some(&light));
            assert!(
                sizes
                    .iter()
                    .flatten()
                    .all(|size| (size - 100.0).abs() < 1e-9)
            );
        }
        let (mut with, mut without) = (grown(), grown());
        draw_together(&mut with, Some(&[100.0, 0.0, 400.0, 800.0, 1600.0]));
        draw_together(&mut without, None);
        assert_eq!(with, without);
    }
}
