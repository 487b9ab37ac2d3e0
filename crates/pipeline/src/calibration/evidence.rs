//! How many spikes too many the network expects, by Bayes' rule, where transients are what it takes them for.
//!
//! The spike network knows indicators that no formula does, and is often off by half in how large one spike is. Where
//! all spikes have one size and calcium rises and decays as under AR(2), the likelihood of the whole trace knows far
//! better: counts are whole. Where they do not, it explains every deviation by more and smaller spikes, several times
//! too many. So it is heard where it finds hardly more spikes than the network does, in most of the neurons and of all
//! together: never yet in a real indicator (1.6 to 9 times as many in the median neuron of each of twelve public sets with
//! known spikes), and in all of the simulated populations that it was tried on (1.2 times as many at most).

use std::ops::Range;

use calcium::counts::{SpikeResponse, Trace};
use calcium::estimate::median;
use calcium::trials::trials;
use calcium::{Ar2, CalciumError};
use rayon::prelude::*;

use super::rates::rates;

/// Frames of a trace that are asked, and how many of them lie together.
const MAX_FRAMES: usize = 3000;
const PIECE: usize = 500;
/// Neurons that are asked, and of how many some size must clearly be likelier than another.
const N_ASKED: usize = 16;
const MIN_ANSWERS: usize = 5;
/// Spikes that the network expects over those that are found: where they are less, the indicator is none that the likelihood
/// knows.
const LEAST_RATIO: f64 = 0.7;
/// The rate of a neuron is its expected spikes, smoothed by this, s. Less smoothing believes the network's
/// own counts, more takes bursts for large spikes: mean rates of five recordings of `lfads simulate` (ring and pulses of seeds 1
/// and 2, switching of 1) come to .92 to 1.12 of the truth.
const SMOOTHING_S: f64 = 0.55;
/// No rate is less than this many spikes a frame.
const LEAST_RATE: f64 = 1e-5;
/// Of fewer expected spikes there is no telling.
const MIN_SPIKES: f64 = 3.0;
/// Logarithms of the spike sizes that are tried, over the network's: first in steps, then by halves between about the best
/// few.
const WIDEST: f64 = 1.0;
const STEP: f64 = 0.25;
const N_HALVINGS: usize = 3;
const N_BEST: usize = 2;
/// Where calcium seldom falls to its baseline, as of neurons that fire all the time, the network takes that for too high, and the
/// spikes above it are too few: others are tried, in steps of so many SDs of the noise, then by halves, and no farther than this.
const SHIFT: f64 = 0.5;
const N_SHIFT_HALVINGS: usize = 2;
const FARTHEST_SHIFT: f64 = 4.0;
/// By so many nats a size must be likelier than the network's.
const CLEARLY: f64 = 3.0;

/// What is known of one neuron.
pub(super) struct Asked<'a> {
    /// Fluorescence above the baseline, `[time]`; NaN without data.
    pub above: Vec<f32>,
    /// First frames of its trials.
    pub starts: &'a [usize],
    /// Spikes that the network expects, `[time]`.
    pub expected: &'a [f32],
    pub noise_sd: f64,
    /// Decay and rise.
    pub ar: Ar2,
    /// Fluorescence of one spike at its peak, as the network has it.
    pub size: f64,
    /// Spikes of the size that it was given in view of the others, over those that the network expects.
    pub drawn: f64,
}

/// Spikes of one neuron in the frames that were asked of.
#[derive(Clone, Copy, Debug)]
struct Answer {
    /// As the network expects them.
    expected: f64,
    /// By Bayes' rule at their likeliest size; as expected, where none is clearly likelier.
    found: f64,
    /// Whether one is.
    is_decided: bool,
    /// As expected, of the size that the neuron was given in view of the others.
    drawn: f64,
}

/// Spikes of the sizes that neurons were given, over those that Bayes' rule finds: all together of some of `numbers`, of each
/// of which `ask` tells. Nothing where too few tell, or where they show clearly more spikes than the network expects.
pub(super) fn excess<'a>(
    numbers: &[usize],
    dt_s: f64,
    ask: impl Fn(usize) -> Result<Asked<'a>, CalciumError> + Sync,
) -> Result<Option<f64>, CalciumError> {
    let stride = numbers.len().div_ceil(N_ASKED).max(1);
    let asked: Vec<usize> = numbers.iter().copied().step_by(stride).collect();
    let one = |&number: &usize| ask(number)?.answer(dt_s);
    let answers: Vec<Result<Option<Answer>, CalciumError>> = asked.par_iter().map(one).collect();
    let told = answers.into_iter().filter_map(Result::transpose);
    let answers: Vec<Answer> = told.collect::<Result<_, _>>()?;
    let usual = median(answers.iter().map(|answer| answer.expected / answer.found));
    let n_decided = answers.iter().filter(|answer| answer.is_decided).count();
    let sum = |of: fn(&Answer) -> f64| answers.iter().map(of).sum::<f64>();
    let found = sum(|answer| answer.found);
    let is_heard = n_decided >= MIN_ANSWERS
        && usual.is_some_and(|usual| usual > LEAST_RATIO)
        && sum(|answer| answer.expected) > LEAST_RATIO * found;
    // A mean rate is one of sums: it is right if those are that fire most.
    Ok(is_heard.then(|| sum(|answer| answer.drawn) / found))
}

impl Asked<'_> {
    /// Of this neuron. A size beyond the largest that is tried is none: artefacts are so large.
    fn answer(&self, dt_s: f64) -> Result<Option<Answer>, CalciumError> {
        let pieces = self.pieces();
        let frames = || pieces.iter().cloned().flatten();
        let present = |&frame: &usize| !self.expected[frame].is_nan();
        let expected: f64 = frames()
            .filter(present)
            .map(|frame| f64::from(self.expected[frame]))
            .sum();
        if !(expected >= MIN_SPIKES && self.size > 0.0 && self.size.is_finite()) {
            return Ok(None);
        }
        let answer = |found, is_decided| Answer {
            expected,
            found,
            is_decided,
            drawn: self.drawn * expected,
        };
        let rates = rates(self.expected, self.starts, SMOOTHING_S / dt_s)?;
        let evidence = |log_factor: f64, shift: f64| -> Result<f64, CalciumError> {
            let hypothesis = self.hypothesis(&rates, log_factor.exp(), shift);
            let of_piece = |piece: &Range<usize>| hypothesis.log_evidence(piece.clone());
            pieces.iter().map(of_piece).sum()
        };
        let first = Likeliest::of(|log_factor| evidence(log_factor, 0.0), 0.0)?;
        let shift = likeliest_shift(|shift| evidence(first.at, shift))?;
        let likeliest = Likeliest::of(|log_factor| evidence(log_factor, shift), first.at)?;
        let is_decided = likeliest.lead >= CLEARLY && likeliest.at < WIDEST;
        if !is_decided {
            return Ok(Some(answer(expected, false)));
        }
        let hypothesis = self.hypothesis(&rates, likeliest.at.exp(), shift);
        let mut found = 0.0;
        for piece in &pieces {
            let counts = piece.clone().zip(hypothesis.counts(piece.clone())?);
            found += counts
                .filter(|(frame, _)| present(frame))
                .map(|(_, count)| f64::from(count))
                .sum::<f64>();
        }
        Ok((found > 0.0).then_some(answer(found, true)))
    }

    /// Some parts of the trials, of all of them and of every part of a trial.
    fn pieces(&self) -> Vec<Range<usize>> {
        let in_pieces = |trial: Range<usize>| {
            let firsts = trial.clone().step_by(PIECE);
            firsts.map(move |first| first..trial.end.min(first + PIECE))
        };
        let trials = trials(self.above.len(), self.starts).into_iter();
        let all: Vec<Range<usize>> = trials.flat_map(in_pieces).collect();
        let step = self.above.len().div_ceil(MAX_FRAMES).max(1);
        // Not always the first of a step: that may be the first part of every trial.
        let one_of = |(k, some): (usize, &[Range<usize>])| some[k % some.len()].clone();
        all.chunks(step).enumerate().map(one_of).collect()
    }

    /// Spikes are `factor` times as large as the network has them, and as many fewer, above a baseline that lies `shift` SDs
    /// of the noise above the network's.
    fn hypothesis(&self, rates: &[f64], factor: f64, shift: f64) -> Hypothesis {
        let ar = self.ar;
        let shift = (shift * self.noise_sd) as f32;
        let gain = factor * self.size / ar.peak();
        let [g1, g2] = ar.g();
        let mean_rate = rates.iter().sum::<f64>() / rates.len() as f64 / factor;
        let level = mean_rate * gain / (1.0 - g1 - g2).max(1e-6);
        let log_mean = |rate: &f64| (rate / factor).max(LEAST_RATE).ln() as f32;
        Hypothesis {
            response: SpikeResponse {
                ar,
                gain,
                baseline: 0.0,
                saturation: None,
                starts_decaying: true,
            },
            above: self.above.iter().map(|x| x - shift).collect(),
            log_means: rates.iter().map(log_mean).collect(),
            noise_sd: self.noise_sd,
            start: [level, gain * gain + level * level],
        }
    }
}

/// What a trace would be made by.
struct Hypothesis {
    response: SpikeResponse,
    above: Vec<f32>,
    log_means: Vec<f32>,
    noise_sd: f64,
    /// Mean and variance of the calcium before a piece.
    start: [f64; 2],
}

impl Hypothesis {
    fn trace(&self, piece: Range<usize>) -> Trace<'_> {
        Trace {
            x: &self.above[piece.clone()],
            log_means: &self.log_means[piece],
        }
    }

    fn log_evidence(&self, piece: Range<usize>) -> Result<f64, CalciumError> {
        let trace = self.trace(piece);
        self.response.log_evidence(trace, self.noise_sd, self.start)
    }

    /// The spikes that Bayes' rule expects, per frame.
    fn counts(&self, piece: Range<usize>) -> Result<Vec<f32>, CalciumError> {
        let trace = self.trace(piece);
        let found = self.response.smooth(trace, self.noise_sd, self.start)?;
        Ok(found.expected)
    }
}

/// Where evidence, which has one peak, is highest, in SDs of the noise.
fn likeliest_shift<E>(evidence: impl Fn(f64) -> Result<f64, E>) -> Result<f64, E> {
    let (mut at, mut highest) = (0.0, evidence(0.0)?);
    let mut step = SHIFT;
    for side in [-1.0, 1.0] {
        while (at + side * step).abs() <= FARTHEST_SHIFT {
            let there = evidence(at + side * step)?;
            if there <= highest {
                break;
            }
            (at, highest) = (at + side * step, there);
        }
        if at.abs() > 0.0 {
            break;
        }
    }
    for _halving in 0..N_SHIFT_HALVINGS {
        step /= 2.0;
        for side in [at - step, at + step] {
            let there = evidence(side)?;
            if there > highest {
                (at, highest) = (side, there);
            }
        }
    }
    Ok(at)
}

/// Where evidence is highest, and by how much it is there above that at 0.
struct Likeliest {
    at: f64,
    lead: f64,
}

impl Likeliest {
    /// Whole counts make evidence rugged, and a peak may be far narrower than a step: the best few are looked at
    /// closely, and one that is known to be good.
    fn of<E>(evidence: impl Fn(f64) -> Result<f64, E>, known: f64) -> Result<Self, E> {
        let n_steps = (WIDEST / STEP) as i32;
        let tried = (-n_steps..=n_steps).map(|step| f64::from(step) * STEP);
        let tried: Result<Vec<(f64, f64)>, E> = tried.map(|at| Ok((at, evidence(at)?))).collect();
        let mut tried = tried?;
        let at_0 = tried[n_steps as usize].1;
        tried.sort_by(|a, b| b.1.total_cmp(&a.1));
        let mut best = (0.0, at_0);
        let known = (known, evidence(known)?);
        for &found in tried.iter().take(N_BEST).chain([&known]) {
            let found = closely(found, &evidence)?;
            if found.1 > best.1 {
                best = found;
            }
        }
        Ok(Self {
            at: best.0,
            lead: best.1 - at_0,
        })
    }
}

/// Where evidence is highest within a step, and how high, by halves.
fn closely<E>(
    (mut at, mut highest): (f64, f64),
    evidence: &impl Fn(f64) -> Result<f64, E>,
) -> Result<(f64, f64), E> {
    let mut step = STEP;
    for _halving in 0..N_HALVINGS {
        step /= 2.0;
        for side in [at - step, at + step] {
            let side = side.clamp(-WIDEST, WIDEST);
            let there = evidence(side)?;
            if there > highest {
                (at, highest) = (side, there);
            }
        }
    }
    Ok((at, highest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_likeliest_shift_is_found(peak in -3.9..3.9f64) {
            let found = likeliest_shift(|at: f64| Ok::<_, ()>(-(at - peak).powi(2))).unwrap();
            prop_assert!((found - peak).abs() <= SHIFT / 4.0 + 1e-9, "{found} for {peak}");
        }

        #[test]
        fn the_likeliest_is_found(peak in -1.0..1.0f64) {
            let found = Likeliest::of(|at: f64| Ok::<_, ()>(-(at - peak).powi(2)), 0.0).unwrap();
            prop_assert!((found.at - peak).abs() <= STEP / 8.0, "{} for {peak}", found.at);
            prop_assert!((0.0..=peak * peak).contains(&found.lead));
        }
    }

    /// Spikes of size 1 every 23 frames, noise that repeats; whoever expects them twice as often and half as large is told so,
    /// and whoever expects too few, in most neurons or in those that fire most, is not asked further.
    #[test]
    fn an_excess_is_measured() {
        let ar = Ar2::from_roots(0.95, 0.3).unwrap();
        let spikes: Vec<f32> = (0..4000).map(|t| f32::from(t % 23 == 5)).collect();
        let calcium = ar.convolve(&spikes);
        let peak = ar.peak() as f32;
        let noise = [
            0.11, -0.07, 0.02, -0.13, 0.09, -0.02, 0.05, -0.05, 0.13, -0.13f32,
        ];
        let above = |t: usize| calcium[t] / peak + noise[(t * t) % 10];
        // One neuron after the other expects so many times too many.
        let ask = |times: [f32; 6], drawn: f64| {
            let expected =
                times.map(|times| spikes.iter().map(|s| times * s).collect::<Vec<f32>>());
            let asked = |neuron: usize| {
                Ok(Asked {
                    above: (0..4000).map(above).collect(),
                    starts: &[0],
                    expected: &expected[neuron],
                    noise_sd: 0.09,
                    ar,
                    size: 1.0 / f64::from(times[neuron]),
                    drawn,
                })
            };
            excess(&[0, 1, 2, 3, 4, 5], 0.05, asked).unwrap()
        };
        let twice = ask([2.0; 6], 1.0).unwrap();
        assert!((twice - 2.0).abs() < 0.05, "{twice}");
        let drawn = ask([2.0; 6], 0.8).unwrap();
        assert!((drawn - 1.6).abs() < 0.04, "{drawn}");
        // The same spikes in all: the mean counts, not the median.
        let some = ask([2.0, 2.0, 1.4, 1.4, 1.4, 1.4], 1.0).unwrap();
        assert!((some - 1.6).abs() < 0.05, "{some}");
        assert_eq!(ask([0.6; 6], 1.0), None);
        assert_eq!(ask([0.45, 0.45, 0.8, 0.8, 0.8, 0.8], 1.0), None);
        // Too few tell.
        assert_eq!(ask([2.0, 2.0, 0.0, 0.0, 2.0, 2.0], 1.0), None);
    }

    /// A neuron that fires twice a second seldom falls to its baseline, which is taken for two SDs of the noise higher than it is.
    #[test]
    fn a_baseline_that_is_too_high_hides_no_spikes() {
        let ar = Ar2::from_roots(0.95, 0.3).unwrap();
        let mut state = 5_u64;
        let mut random = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 40) as f32 / (1 << 24) as f32
        };
        let spikes: Vec<f32> = (0..3000)
            .map(|_| f32::from(u8::from(random() < 0.1)))
            .collect();
        let noise_sd = 0.3;
        let mut noise = || 0.3 * ((0..12).map(|_| random()).sum::<f32>() - 6.0);
        let calcium = ar.convolve(&spikes);
        let peak = ar.peak() as f32;
        let above: Vec<f32> = calcium.iter().map(|c| c / peak + noise() - 0.6).collect();
        let asked = Asked {
            above,
            starts: &[0],
            expected: &[0.8 * 0.1; 3000],
            noise_sd,
            ar,
            size: 1.2,
            drawn: 1.0,
        };
        let found = asked.answer(0.05).unwrap().unwrap().found;
        let truth = f64::from(spikes.iter().sum::<f32>());
        assert!((found / truth - 1.0).abs() < 0.1, "{found} of {truth}");
    }

    /// Spikes far below the noise: no size is likelier than another, and sizes stay as they were drawn.
    #[test]
    fn what_says_nothing_changes_nothing() {
        let noise = [0.7, -1.1, 0.2, -0.4, 1.3, -0.9, 0.5, -0.3f32];
        let asked = |_| {
            Ok(Asked {
                above: (0..4000).map(|t| noise[(t * t + t / 7) % 8]).collect(),
                starts: &[0],
                expected: &[0.02; 4000],
                noise_sd: 0.8,
                ar: Ar2::from_roots(0.95, 0.3).unwrap(),
                size: 0.01,
                drawn: 0.8,
            })
        };
        let answer = asked(0).unwrap().answer(0.05).unwrap().unwrap();
        assert!(!answer.is_decided && (answer.found - answer.expected).abs() < 1e-9);
        assert_eq!(excess(&[0, 1, 2, 3, 4, 5], 0.05, asked).unwrap(), None);
    }

    /// Of trials of two pieces each, second ones too, and never many more frames than are wanted.
    #[test]
    fn pieces_are_of_every_part() {
        let pieces = |length: usize, n: usize| {
            let starts: Vec<usize> = (0..n).map(|k| k * length).collect();
            let asked = Asked {
                above: vec![0.0; length * n],
                starts: &starts,
                expected: &[],
                noise_sd: 1.0,
                ar: Ar2::from_roots(0.9, 0.0).unwrap(),
                size: 1.0,
                drawn: 1.0,
            };
            asked.pieces()
        };
        let firsts: Vec<usize> = pieces(1000, 18).iter().map(|p| p.start % 1000).collect();
        assert!(firsts.contains(&0) && firsts.contains(&500), "{firsts:?}");
        let frames: usize = pieces(501, 80).iter().map(ExactSizeIterator::len).sum();
        assert!(frames <= MAX_FRAMES + PIECE, "{frames}");
        assert_eq!(pieces(100, 3), [0..100, 100..200, 200..300]);
    }
}
