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
/// More than so many in a frame are no spikes.
const MOST_SPIKES: f64 = 30.0;
/// How far a spike is followed, s, and frames at most: beyond them the network takes frames together, and what it spreads lies
/// within.
const REACH_S: f64 = 0.4;
const MAX_REACH: usize = 40;
/// Neurons of like signal and noise whose blurs are averaged: one alone has a hundred spikes to tell by.
const N_ALIKE: usize = 9;
/// A share of less than this in the frame of the spike itself is no estimate.
const LEAST_SHARE: f64 = 1e-3;
/// No spike rises longer than this share of its decay.
const LONGEST_RISE: f64 = 0.9;

/// What a neuron shows of itself.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shown<'a> {
    /// Traces like its own can be drawn.
    Spikes(Traits<'a>),
    /// Nothing that can be told from noise.
    Nothing,
    /// It is imaged every nth frame, and what is expected of it stands for all frames since the one before.
    InTurn,
}

/// By what the traces of a neuron can be drawn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Traits<'a> {
    pub decay_s: f64,
    /// Nothing if it is over within a frame.
    pub rise_s: Option<f64>,
    /// Fluorescence of one spike at its peak.
    pub size: f64,
    pub noise_sd: f64,
    /// Spikes that the network expects, `[time]`, and the first frames of trials.
    pub expected: &'a [f32],
    pub starts: &'a [usize],
}

/// The blur of every neuron, of which those that show nothing are taken for the usual ones; nothing if none shows any. `read` is
/// how the network reads a trace.
///
/// # Errors
/// A trace that the network refuses.
pub(super) fn measure(
    neurons: &[Shown<'_>],
    dt_s: f64,
    read: impl Fn(&[f32]) -> Result<InferredSpikes<f32>, CalciumError> + Sync,
) -> Result<Option<Blur>> {
    match weights(neurons, dt_s, read)? {
        Some(weights) => Ok(Some(Blur::new(&weights)?)),
        None => Ok(None),
    }
}

/// The same as numbers, `[delay, neuron]`.
fn weights(
    neurons: &[Shown<'_>],
    dt_s: f64,
    read: impl Fn(&[f32]) -> Result<InferredSpikes<f32>, CalciumError> + Sync,
) -> Result<Option<Array2<f32>>> {
    let reach = (REACH_S / dt_s).round().max(1.0) as usize;
    if reach > MAX_REACH {
        tracing::info!(
            "frames of {dt_s} s are too short to tell how the spike network spreads a spike over them: rates are taken as it shows them"
        );
        return Ok(None);
    }
    let mut clear: Vec<(usize, Traits<'_>)> = Vec::new();
    for (number, shown) in neurons.iter().enumerate() {
        match *shown {
            Shown::Spikes(traits) if traits.can_be_drawn() => clear.push((number, traits)),
            Shown::Spikes(_) | Shown::Nothing | Shown::InTurn => {}
        }
    }
    if clear.is_empty() {
        return Ok(None);
    }
    clear.sort_by(|(_, a), (_, b)| a.clearness().total_cmp(&b.clearness()));
    let n_drawn = clear.len().min(MAX_DRAWN);
    let place = |drawn: usize| (2 * drawn + 1) * clear.len() / (2 * n_drawn);
    let one = |drawn: usize| -> Result<Vec<f64>, CalciumError> {
        let (number, traits) = &clear[place(drawn)];
        let Drawn { trace, news } = traits.draw(dt_s, *number as u64)?;
        Ok(response(&read(&trace)?.expected, &news, reach))
    };
    let drawn: Vec<Result<Vec<f64>, CalciumError>> =
        (0..n_drawn).into_par_iter().map(one).collect();
    let usual = smoothed(&drawn.into_iter().collect::<Result<Vec<_>, _>>()?);
    let mut own = vec![n_drawn / 2; neurons.len()];
    for (rank, (number, _)) in clear.iter().enumerate() {
        own[*number] = rank * n_drawn / clear.len();
    }
    let mut weights = Array2::zeros((2 * reach + 1, neurons.len()));
    for (number, mut weights) in weights.axis_iter_mut(Axis(1)).enumerate() {
        if let Shown::InTurn = neurons[number] {
            weights[reach] = 1.0;
            continue;
        }
        for (to, share) in weights.iter_mut().zip(&usual[own[number]]) {
            *to = *share as f32;
        }
    }
    tracing::info!(
        "of what the network expects of a spike, {:.0} % falls into its own frame (median neuron): rates are compared with it after the same blur",
        100.0 * usual[n_drawn / 2][reach]
    );
    Ok(Some(weights))
}

impl Traits<'_> {
    /// Whether they are numbers; without noise everything is clear.
    fn can_be_drawn(&self) -> bool {
        let is_above = |x: f64| x > 0.0 && x.is_finite();
        is_above(self.size)
            && is_above(self.decay_s)
            && self.noise_sd >= 0.0
            && self.noise_sd.is_finite()
    }

    fn clearness(&self) -> f64 {
        self.size / self.noise_sd
    }

    /// Spikes per frame as they are drawn: those of the first frames, over again where there are fewer.
    fn rates(&self, dt_s: f64) -> Result<Vec<f64>, CalciumError> {
        let first = &self.expected[..self.expected.len().min(N_FRAMES)];
        let starts = self.starts.iter().copied();
        let starts: Vec<usize> = starts.filter(|&start| start < first.len()).collect();
        let shown = rates(first, &starts, SMOOTHING_S / dt_s)?;
        let mut rates: Vec<f64> = shown.into_iter().cycle().take(N_FRAMES).collect();
        let sum = rates.iter().sum::<f64>();
        if sum > 0.0 && sum.is_finite() {
            let factor = (MIN_SPIKES / sum).max(1.0);
            for rate in &mut rates {
                *rate = (*rate * factor).min(MOST_SPIKES);
            }
        } else {
            rates = vec![MIN_SPIKES / N_FRAMES as f64; N_FRAMES];
        }
        Ok(rates)
    }

    /// A trace of spikes that fall at any time between frames: calcium rises and decays as e^{−t/d} − e^{−t/r}.
    fn draw(&self, dt_s: f64, seed: u64) -> Result<Drawn, CalciumError> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let rise_s = self
            .rise_s
            .map(|rise_s| rise_s.min(LONGEST_RISE * self.decay_s));
        let taus_s = [Some(self.decay_s), rise_s];
        let peak = match rise_s {
            Some(rise_s) => {
                let at_s = (self.decay_s / rise_s).ln() / (1.0 / rise_s - 1.0 / self.decay_s);
                (-at_s / self.decay_s).exp() - (-at_s / rise_s).exp()
            }
            None => 1.0,
        };
        let mut left = [0.0; 2];
        let (mut trace, mut news) = (Vec::with_capacity(N_FRAMES), Vec::with_capacity(N_FRAMES));
        for rate in self.rates(dt_s)? {
            let count: f64 = match Poisson::new(rate) {
                Ok(number) => number.sample(&mut rng),
                // A rate of 0.
                Err(_) => 0.0,
            };
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
        let numbers = || alike.iter().filter(|one| one.iter().all(|x| x.is_finite()));
        let n_delays = drawn[place].len();
        let sum = |delay: usize| numbers().map(|one| one[delay]).sum::<f64>().max(0.0);
        let mut shares: Vec<f64> = (0..n_delays).map(sum).collect();
        let whole: f64 = shares.iter().sum();
        let middle = n_delays / 2;
        if shares[middle] > LEAST_SHARE * whole {
            for share in &mut shares {
                *share /= whole;
            }
        } else {
            // No spike was seen where it was: nothing is known of any blur.
            shares.fill(0.0);
            shares[middle] = 1.0;
        }
        shares
    };
    (0..drawn.len()).map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DT_S: f64 = 0.05;

    /// Two spikes a second, evenly, and far fewer.
    const EVEN: [f32; 100] = [0.1; 100];
    const RARE: [f32; 100] = [0.001; 100];

    fn traits(noise_sd: f64) -> Traits<'static> {
        Traits {
            decay_s: 0.6,
            rise_s: Some(0.1),
            size: 1.0,
            noise_sd,
            expected: &EVEN,
            starts: &[0],
        }
    }

    /// Transients of a spike, which may come anywhere between two frames, reach one size and decay.
    #[test]
    fn what_is_drawn_are_transients_of_the_size_and_kinetics() {
        for rise_s in [None, Some(0.1)] {
            let neuron = Traits {
                rise_s,
                expected: &RARE,
                ..traits(0.0)
            };
            let rate = MIN_SPIKES / N_FRAMES as f64;
            let Drawn { trace, news } = neuron.draw(DT_S, 3).expect("rates");
            let spikes: Vec<f64> = news.iter().map(|news| (news + rate).round()).collect();
            let is_quiet =
                |frames: std::ops::Range<usize>| spikes[frames].iter().sum::<f64>() < 0.5;
            let is_lone = |&t: &usize| {
                (spikes[t] - 1.0).abs() < 0.5 && is_quiet(t - 60..t) && is_quiet(t + 1..t + 6)
            };
            let lone: Vec<usize> = (60..N_FRAMES - 10).filter(is_lone).collect();
            assert!(lone.len() > 4, "{lone:?}");
            for t in lone {
                let before = f64::from(trace[t - 1]);
                let highest = (t..t + 6).map(|t| f64::from(trace[t])).fold(0.0, f64::max);
                assert!(before < 0.05, "{before} before {t}");
                assert!((0.9..1.05).contains(&highest), "{highest} at {t}");
            }
        }
    }

    /// Whoever says in each frame what was there a frame ago, and half of what comes next, is found out.
    #[test]
    fn a_known_blur_is_found_with_its_direction() {
        let news = traits(0.0).draw(DT_S, 5).expect("rates").news;
        let spikes: Vec<f64> = news.iter().map(|news| news + 0.1).collect();
        let at = |t: usize| spikes.get(t).copied().unwrap_or(0.0);
        let expected: Vec<f32> = (0..spikes.len())
            .map(|t| (0.5 * at(t) + 0.25 * at(t.wrapping_sub(1)) + 0.125 * at(t + 1)) as f32)
            .collect();
        let not_a_number = vec![f64::NAN; 7];
        let found = smoothed(&[response(&expected, &news, 3), not_a_number]);
        let wanted = [0.0, 0.0, 0.286, 0.571, 0.143, 0.0, 0.0];
        for (found, wanted) in found[0].iter().zip(wanted) {
            assert!((found - wanted).abs() < 0.05, "{found}, {wanted}");
        }
    }

    /// By the network itself: noise blurs, and neurons that show nothing are taken for the usual ones.
    #[test]
    fn the_network_blurs_more_where_noise_is_higher() {
        let mut neurons: Vec<Shown<'_>> = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
            .repeat(2)
            .into_iter()
            .map(|noise_sd| Shown::Spikes(traits(noise_sd)))
            .collect();
        neurons.extend([Shown::Nothing, Shown::InTurn]);
        let read = |trace: &[f32]| calcium::Inference::new(DT_S)?.infer(trace);
        let of = || weights(&neurons, DT_S, read).expect("traces are finite");
        let blur = of().expect("neurons show spikes");
        assert_eq!(blur.dim(), (17, 18));
        let middle = |neuron: usize| blur[[8, neuron]];
        assert!(middle(0) > 1.2 * middle(7), "{} {}", middle(0), middle(7));
        assert!(middle(0) > middle(16) && middle(16) > middle(7));
        assert!(middle(17) > 0.999, "{}", middle(17));
        for neuron in blur.columns() {
            assert!((neuron.sum() - 1.0).abs() < 1e-5, "{neuron}");
        }
        let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build();
        assert_eq!(Some(blur), one_thread.expect("a thread").install(of));
    }

    /// Where nothing can be drawn, nothing is blurred; strange traits are drawn none the less, or left out.
    #[test]
    fn traits_that_are_no_numbers_are_left_out() {
        let read = |trace: &[f32]| calcium::Inference::new(DT_S)?.infer(trace);
        let of = |shown: Shown<'_>, dt_s: f64| weights(&[shown], dt_s, read).expect("finite");
        assert_eq!(of(Shown::Nothing, DT_S), None);
        assert_eq!(of(Shown::Spikes(traits(0.5)), 0.001), None);
        let none = [f32::NAN; 100];
        let many = [1e12; 100];
        for (strange, is_drawn) in [
            (
                Traits {
                    decay_s: f64::NAN,
                    ..traits(0.5)
                },
                false,
            ),
            (
                Traits {
                    size: f64::INFINITY,
                    ..traits(0.5)
                },
                false,
            ),
            (
                Traits {
                    noise_sd: f64::NAN,
                    ..traits(0.5)
                },
                false,
            ),
            (
                Traits {
                    rise_s: Some(0.6),
                    ..traits(0.5)
                },
                true,
            ),
            (
                Traits {
                    expected: &none,
                    ..traits(0.5)
                },
                true,
            ),
            (
                Traits {
                    expected: &many,
                    ..traits(0.5)
                },
                true,
            ),
        ] {
            let found = of(Shown::Spikes(strange), DT_S);
            assert_eq!(found.is_some(), is_drawn, "{strange:?}");
            assert!(found.iter().flatten().all(|w| w.is_finite() && *w >= 0.0));
        }
    }
}
