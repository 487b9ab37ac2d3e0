//! How the spike network blurs spikes in time, measured on traces of known spikes like the recording's.
//!
//! Of a transient that is hardly larger than the noise nobody can tell in which frame it began, and what the network expects
//! of a spike is spread over the frames around. How far follows from the size of a spike, the noise and the kinetics of each
//! neuron, which are known by now: traces are drawn that have them, the network reads these too, and what it expects is
//! compared with the spikes that were drawn. Rates as the model has them are then blurred alike before they are compared with
//! what the network expects of the recording; without that they come out blurred.

use anyhow::Result;
use calcium::{CalciumError, InferredSpikes};
use model::Blur;
use ndarray::{Array2, Axis};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Poisson, StandardNormal};
use rayon::prelude::*;

use super::rates::rates;

/// Neurons whose traces are drawn, at most, and the frames of each.
const MAX_DRAWN: usize = 64;
const N_FRAMES: usize = 3000;
/// Spikes are drawn at the rates that the network shows, smoothed by this, s: how well a spike's time is known depends on
/// those around it. At least so many are drawn: with fewer there is too little to see.
const SMOOTHING_S: f64 = 0.2;
const MIN_SPIKES: f64 = 100.0;
/// How far a spike is followed, s, and frames at most.
const REACH_S: f64 = 0.4;
const MAX_REACH: usize = 40;
/// Neurons of like signal and noise whose blurs are averaged: one alone has a hundred spikes to tell by.
const N_ALIKE: usize = 9;

/// What is known of a neuron by which its traces can be drawn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen<'a> {
    pub decay_s: f64,
    /// Nothing if it is over within a frame.
    pub rise_s: Option<f64>,
    /// Fluorescence of one spike at its peak.
    pub size: f64,
    pub noise_sd: f64,
    /// Spikes that the network expects, `[time]`, and the first frames of trials.
    pub expected: &'a [f32],
    pub starts: &'a [usize],
    /// Whether it is imaged in every frame: of others, what is expected is spread otherwise.
    pub is_whole: bool,
}

/// The blur of every neuron, of which those that nothing is known of are taken for the usual ones; nothing if nothing is known
/// of any. `read` is how the network reads a trace.
///
/// # Errors
/// A trace that the network refuses.
pub(super) fn measure(
    neurons: &[Option<Seen<'_>>],
    dt_s: f64,
    read: impl Fn(&[f32]) -> Result<InferredSpikes<f32>, CalciumError> + Sync,
) -> Result<Option<Blur>> {
    let mut clear: Vec<(usize, Seen<'_>)> = neurons
        .iter()
        .enumerate()
        .filter_map(|(number, seen)| Some((number, (*seen)?)))
        .filter(|(_, seen)| seen.is_whole && seen.clearness().is_finite())
        .collect();
    if clear.is_empty() {
        return Ok(None);
    }
    clear.sort_by(|(_, a), (_, b)| a.clearness().total_cmp(&b.clearness()));
    let reach = ((REACH_S / dt_s).round() as usize).clamp(1, MAX_REACH);
    let n_drawn = clear.len().min(MAX_DRAWN);
    let place = |drawn: usize| (2 * drawn + 1) * clear.len() / (2 * n_drawn);
    let one = |drawn: usize| -> Result<Vec<f64>, CalciumError> {
        let (number, seen) = clear[place(drawn)];
        let Drawn { trace, news } = seen.draw(dt_s, number as u64)?;
        Ok(response(&read(&trace)?.expected, &news, reach))
    };
    let drawn: Result<Vec<Vec<f64>>, CalciumError> =
        (0..n_drawn).into_par_iter().map(one).collect();
    let usual = smoothed(&drawn?);
    let mut own = vec![n_drawn / 2; neurons.len()];
    for (rank, (number, _)) in clear.iter().enumerate() {
        own[*number] = (rank * n_drawn / clear.len()).min(n_drawn - 1);
    }
    let mut weights = Array2::zeros((2 * reach + 1, neurons.len()));
    for (number, mut weights) in weights.axis_iter_mut(Axis(1)).enumerate() {
        match &neurons[number] {
            // Every nth frame: as it is.
            Some(seen) if !seen.is_whole => weights[reach] = 1.0,
            _ => weights
                .iter_mut()
                .zip(&usual[own[number]])
                .for_each(|(to, w)| *to = *w as f32),
        }
    }
    tracing::info!(
        "of what the network expects of a spike, {:.0} % falls into its own frame (neurons drawn like the middle one): rates are compared with it after the same blur",
        100.0 * usual[n_drawn / 2][reach]
    );
    Ok(Some(Blur::new(&weights)?))
}

impl Seen<'_> {
    fn clearness(&self) -> f64 {
        self.size / self.noise_sd
    }

    /// Spikes per frame as they are drawn, from the first frame on and over again.
    fn rates(&self, dt_s: f64) -> Result<Vec<f64>, CalciumError> {
        let all = rates(self.expected, self.starts, SMOOTHING_S / dt_s)?;
        let mut rates: Vec<f64> = all.into_iter().cycle().take(N_FRAMES).collect();
        let sum = rates.iter().sum::<f64>();
        let factor = (MIN_SPIKES / sum).max(1.0);
        // None at all say nothing of when.
        let even = MIN_SPIKES / N_FRAMES as f64;
        for rate in &mut rates {
            *rate = if factor.is_finite() {
                *rate * factor
            } else {
                even
            };
        }
        Ok(rates)
    }

    /// A trace of spikes that fall at any time between frames: calcium rises and decays as e^{−t/d} − e^{−t/r}.
    fn draw(&self, dt_s: f64, seed: u64) -> Result<Drawn, CalciumError> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let taus_s = [Some(self.decay_s), self.rise_s];
        let peak = match self.rise_s {
            Some(rise_s) => {
                let at_s = (self.decay_s / rise_s).ln() / (1.0 / rise_s - 1.0 / self.decay_s);
                (-at_s / self.decay_s).exp() - (-at_s / rise_s).exp()
            }
            None => 1.0,
        };
        let mut left = [0.0; 2];
        let (mut trace, mut news) = (Vec::with_capacity(N_FRAMES), Vec::with_capacity(N_FRAMES));
        for rate in self.rates(dt_s)? {
            let number = Poisson::new(rate).map(|number| number.sample(&mut rng));
            let count: f64 = number.unwrap_or(0.0);
            let ages_s: Vec<f64> = (0..count as usize)
                .map(|_| dt_s * rng.random::<f64>())
                .collect();
            for (left, tau_s) in left.iter_mut().zip(taus_s) {
                let Some(tau_s) = tau_s else { continue };
                *left *= (-dt_s / tau_s).exp();
                *left += ages_s
                    .iter()
                    .map(|age_s| (-age_s / tau_s).exp())
                    .sum::<f64>();
            }
            let noise: f64 = StandardNormal.sample(&mut rng);
            trace.push((self.size * (left[0] - left[1]) / peak + self.noise_sd * noise) as f32);
            news.push(count - rate);
        }
        Ok(Drawn { trace, news })
    }
}

/// A trace, and in each frame its spikes less those that were to be expected.
struct Drawn {
    trace: Vec<f32>,
    news: Vec<f64>,
}

/// What is expected in a frame for a spike `reach` frames before it, and so on to `reach` after: its covariance with the news,
/// which are white.
fn response(expected: &[f32], news: &[f64], reach: usize) -> Vec<f64> {
    let n = expected.len();
    let mean = expected.iter().map(|&x| f64::from(x)).sum::<f64>() / n as f64;
    let at = |delay: usize| {
        // The spike is `delay − reach` frames after the frame.
        let frames = reach.saturating_sub(delay)..n.min(n + reach - delay);
        let products = frames.map(|t| (f64::from(expected[t]) - mean) * news[t + delay - reach]);
        products.sum::<f64>()
    };
    (0..=2 * reach).map(at).collect()
}

/// Means over neighbours, of which no share is below 0, each with a sum of 1.
fn smoothed(drawn: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let of = |place: usize| {
        let first = place.saturating_sub(N_ALIKE / 2);
        let alike = &drawn[first..drawn.len().min(place + N_ALIKE / 2 + 1)];
        let n_delays = drawn[place].len();
        let sum = |delay: usize| alike.iter().map(|one| one[delay]).sum::<f64>().max(0.0);
        let mut sums: Vec<f64> = (0..n_delays).map(sum).collect();
        let whole: f64 = sums.iter().sum();
        if whole > 0.0 && sums[n_delays / 2] > 0.0 {
            for share in &mut sums {
                *share /= whole;
            }
        } else {
            // No spike was seen: nothing is blurred.
            sums.fill(0.0);
            sums[n_delays / 2] = 1.0;
        }
        sums
    };
    (0..drawn.len()).map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DT_S: f64 = 0.05;

    /// Two spikes a second, evenly.
    const EVEN: [f32; 100] = [0.1; 100];

    fn seen(noise_sd: f64) -> Seen<'static> {
        Seen {
            decay_s: 0.6,
            rise_s: Some(0.1),
            size: 1.0,
            noise_sd,
            expected: &EVEN,
            starts: &[0],
            is_whole: true,
        }
    }

    /// Transients of a spike, which may come anywhere between two frames, reach one size on average and decay.
    #[test]
    fn what_is_drawn_are_transients_of_the_size_and_kinetics() {
        for rise_s in [None, Some(0.1)] {
            let neuron = Seen {
                rise_s,
                ..seen(0.0)
            };
            let Drawn { trace, news } = neuron.draw(DT_S, 3).expect("rates");
            let spikes: Vec<f64> = news.iter().map(|news| news + 0.1).collect();
            let lone = |&t: &usize| {
                (spikes[t] - 1.0).abs() < 0.5
                    && spikes[t.saturating_sub(50)..t].iter().all(|&s| s < 0.5)
                    && spikes[t + 1..t + 6].iter().all(|&s| s < 0.5)
            };
            let lone: Vec<usize> = (50..N_FRAMES - 10).filter(lone).collect();
            assert!(lone.len() > 2, "{lone:?}");
            for t in lone {
                let before = f64::from(trace[t - 1]);
                let highest = (t..t + 6).map(|t| f64::from(trace[t])).fold(0.0, f64::max);
                assert!(before < 0.03, "{before} before");
                assert!((0.9..1.03).contains(&(highest)), "{highest} at {t}");
            }
        }
    }

    /// Whoever says in each frame what was there a frame ago, and half of what comes next, is found out.
    #[test]
    fn a_known_blur_is_found_with_its_direction() {
        let news = seen(0.0).draw(DT_S, 5).expect("rates").news;
        let spikes: Vec<f64> = news.iter().map(|news| news + 0.1).collect();
        let at = |t: usize| spikes.get(t).copied().unwrap_or(0.0);
        let expected: Vec<f32> = (0..spikes.len())
            .map(|t| (0.5 * at(t) + 0.25 * at(t.wrapping_sub(1)) + 0.125 * at(t + 1)) as f32)
            .collect();
        let found = smoothed(&[response(&expected, &news, 3)]);
        let wanted = [0.0, 0.0, 0.286, 0.571, 0.143, 0.0, 0.0];
        for (found, wanted) in found[0].iter().zip(wanted) {
            assert!((found - wanted).abs() < 0.05, "{found}, {wanted}");
        }
    }

    /// By the network itself: noise blurs, and neurons of which nothing is known are taken for the usual ones.
    #[test]
    fn the_network_blurs_more_where_noise_is_higher() {
        let mut neurons: Vec<Option<Seen>> = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
            .repeat(2)
            .into_iter()
            .map(|noise_sd| Some(seen(noise_sd)))
            .collect();
        neurons.push(None);
        neurons.push(Some(Seen {
            is_whole: false,
            ..seen(0.2)
        }));
        let read = |trace: &[f32]| calcium::Inference::new(DT_S)?.infer(trace);
        let of = || {
            measure(&neurons, DT_S, read)
                .expect("traces are finite")
                .expect("neurons are known")
        };
        let blur = of();
        assert_eq!(blur.n_neurons(), 18);
        let middle = |neuron: usize| f64::from(blur.weights(neuron)[8]);
        assert!(middle(0) > 1.2 * middle(7), "{} {}", middle(0), middle(7));
        assert!(middle(0) > middle(16) && middle(16) > middle(7));
        assert!(middle(17) > 0.999);
        for neuron in 0..18 {
            let sum: f32 = blur.weights(neuron).iter().sum();
            assert!((sum - 1.0).abs() < 1e-5, "{sum}");
        }
        let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build();
        assert_eq!(blur, one_thread.expect("a thread").install(of));
        assert_eq!(measure(&[None], DT_S, read).expect("nothing is read"), None);
    }
}
