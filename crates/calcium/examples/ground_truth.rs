//! Scores spike inference on recordings with known spikes.
//!
//! `cargo run --release -p calcium --example ground_truth FOLDER [RATE_HZ]`, where FOLDER holds files `SET.npz` with, for
//! neuron i and segment j, `i.j.time_s`, `i.j.dff` and `i.j.spike_times_s`, as the public ground-truth database has
//! them. Segments of 8 s and longer, up to 180 s a neuron, are brought to frames of 1/RATE_HZ (30 unless given; 0: the
//! recording's own rate) and joined. Only dF/F and the frame rate are given to the inference.
//!
//! r50, r200: correlation with the true counts per frame, both smoothed with a Gaussian of 50 or 200 ms SD; means over
//! neurons with five spikes and more. Shift: the one with the largest r50, positive where spikes come late; sum: inferred over
//! true number of spikes; both medians over neurons. Within 50 and 90 %: how often the true number of spikes in 2 s lies
//! in the interval of that probability. OASIS: r50 and r200 of `Automatic`.
//!
//! Below, r50 and r200 of each of the networks whose mean is inferred from, alone and without a baseline.
//!
//! Means over sets are printed of all of them and of those with even and with odd numbers: what was chosen on one half is to be
//! reported on the other. With them r50, were each neuron's spikes moved by the shift that suits them best.
//!
//! # Source
//! Rupprecht et al. 2021, "A database and deep learning toolbox for noise-optimized, generalized spike inference from
//! calcium imaging".

mod common;

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};

use calcium::network::SpikeNetwork;
use calcium::{Automatic, Inference, InferredSpikes};
use data::Arrays;

use common::correlation;

/// Shortest segment and longest recording of a neuron, s.
const SECONDS: (f64, f64) = (8.0, 180.0);
const LEAST_SPIKES: f64 = 5.0;
/// Bins in which intervals are checked, s, and their probabilities.
const COVERED_S: f64 = 2.0;
const LEVELS: [f64; 2] = [0.5, 0.9];

/// A neuron on the frames of the score.
#[derive(Default)]
struct Neuron {
    trace: Vec<f64>,
    counts: Vec<f64>,
    starts: Vec<usize>,
    rate_hz: f64,
}

#[derive(Clone, Copy)]
struct Score {
    r50: f64,
    r200: f64,
    shift_s: f64,
    /// r50 at that shift.
    shifted_r50: f64,
    sum: f64,
    /// Bins inside each interval, and all.
    covered: [f64; 2],
    n_bins: f64,
    is_absolute: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [folder, rest @ ..] = args.as_slice() else {
        return Err("usage: ground_truth FOLDER [RATE_HZ]".into());
    };
    let rate_hz: f64 = rest.first().map_or(Ok(30.0), |rate| rate.parse())?;
    let paths = sets(Path::new(folder))?;
    if paths.is_empty() {
        println!("{folder}: no .npz files, nothing to score; get the ground-truth database");
        return Ok(());
    }
    let networks = SpikeNetwork::bundled().each();
    let mut means: Vec<SetMeans> = Vec::new();
    for path in paths {
        let neurons = neurons(&Arrays::read(&path)?, rate_hz)?;
        let scores = neurons.iter().map(score).collect::<Result<Vec<_>, _>>()?;
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let oasis = neurons.iter().map(oasis).collect::<Result<Vec<_>, _>>()?;
        let alone = networks
            .iter()
            .map(|network| neurons.iter().map(|n| alone(network, n)).collect())
            .collect::<Result<Vec<Vec<Score>>, _>>()?;
        let set = SetMeans::new(&name, &scores, &oasis, &alone);
        let [r50, r200] = set.oasis;
        println!(
            "{name:40} {}  OASIS r50 {r50:.3}  r200 {r200:.3}",
            line(&scores)
        );
        means.push(set);
    }
    for (half, parity) in [("all", None), ("even", Some(0)), ("odd", Some(1))] {
        let of_half = |set: &&SetMeans| parity.is_none() || set.parity == parity;
        let sets: Vec<&SetMeans> = means.iter().filter(of_half).collect();
        println!("{half:>4}: {}", summary(&sets));
        for number in 0..networks.len() {
            println!("      {}", summary_alone(&sets, number));
        }
    }
    Ok(())
}

/// Means over the neurons of a set.
struct SetMeans {
    /// Whether the number of the set is odd; None if its name has none.
    parity: Option<u32>,
    /// r50 and r200 of the networks' mean.
    network: [f64; 2],
    /// r50 of the mean, were each neuron's spikes moved by the shift that suits them best.
    shifted_r50: f64,
    /// r50 and r200 of OASIS.
    oasis: [f64; 2],
    /// The same of each network alone.
    alone: Vec<[f64; 2]>,
    /// Share of true counts inside each interval.
    covered: [f64; 2],
}

impl SetMeans {
    fn new(name: &str, network: &[Score], oasis: &[Score], alone: &[Vec<Score>]) -> Self {
        let digits: String = name
            .chars()
            .skip_while(|c| !c.is_ascii_digit())
            .take_while(char::is_ascii_digit)
            .collect();
        let both = |scores: &[Score]| [mean(scores, |s| s.r50), mean(scores, |s| s.r200)];
        Self {
            parity: digits.parse::<u32>().ok().map(|number| number % 2),
            network: both(network),
            shifted_r50: mean(network, |s| s.shifted_r50),
            oasis: both(oasis),
            alone: alone.iter().map(|scores| both(scores)).collect(),
            covered: covered(network),
        }
    }
}

fn summary(sets: &[&SetMeans]) -> String {
    let over = |of: &dyn Fn(&SetMeans) -> f64| {
        sets.iter().map(|set| of(set)).sum::<f64>() / sets.len() as f64
    };
    let both = |of: &dyn Fn(&SetMeans) -> [f64; 2]| [0, 1].map(|i| over(&|set| of(set)[i]));
    let ([r50, r200], [oasis_50, oasis_200]) = (both(&|set| set.network), both(&|set| set.oasis));
    let [within_50, within_90] = [0, 1].map(|i| 100.0 * over(&|set| set.covered[i]));
    format!(
        "{:2} sets  r50 {r50:.3}  r200 {r200:.3}  r50 at the best shifts {:.3}  within 50 %: {within_50:.0}, 90 %: {within_90:.0}  OASIS r50 {oasis_50:.3}  r200 {oasis_200:.3}",
        sets.len(),
        over(&|set| set.shifted_r50)
    )
}

fn summary_alone(sets: &[&SetMeans], number: usize) -> String {
    let over =
        |i: usize| sets.iter().map(|set| set.alone[number][i]).sum::<f64>() / sets.len() as f64;
    format!(
        "network {} alone  r50 {:.3}  r200 {:.3}",
        number + 1,
        over(0),
        over(1)
    )
}

fn sets(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let entries = std::fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    paths.retain(|path| path.extension().is_some_and(|end| end == "npz"));
    paths.sort();
    Ok(paths)
}

/// Neurons with enough spikes.
fn neurons(set: &Arrays, rate_hz: f64) -> Result<Vec<Neuron>, Box<dyn Error>> {
    let mut by_name: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for name in set.arrays.keys().filter_map(|key| key.strip_suffix(".dff")) {
        let neuron = name.split('.').next().unwrap_or(name);
        by_name.entry(neuron).or_default().push(name);
    }
    let mut neurons = Vec::new();
    for segments in by_name.values() {
        let mut neuron = Neuron::default();
        let mut used = 0.0;
        for segment in segments {
            let [time, dff, spikes] = ["time_s", "dff", "spike_times_s"].map(|part| {
                set.require(&format!("{segment}.{part}"))
                    .map(|values| values.iter().map(|&v| f64::from(v)).collect::<Vec<f64>>())
            });
            used += neuron.add(&time?, &dff?, &spikes?, SECONDS.1 - used, rate_hz);
        }
        if neuron.counts.iter().sum::<f64>() >= LEAST_SPIKES {
            neurons.push(neuron);
        }
    }
    Ok(neurons)
}

impl Neuron {
    /// Adds a segment; the seconds used of it.
    fn add(
        &mut self,
        time_s: &[f64],
        dff: &[f64],
        spikes_s: &[f64],
        left_s: f64,
        rate_hz: f64,
    ) -> f64 {
        let limit = time_s.last().map_or(0.0, |last| last.min(left_s));
        if limit < SECONDS.0 {
            return 0.0;
        }
        let n_kept = time_s.partition_point(|&t| t <= limit);
        let mut steps: Vec<f64> = time_s[..n_kept].windows(2).map(|w| w[1] - w[0]).collect();
        let own_hz = 1.0 / median(&mut steps);
        self.rate_hz = if rate_hz > 0.0 { rate_hz } else { own_hz };
        let n = (time_s[n_kept - 1] * self.rate_hz) as usize;
        let present: Vec<(f64, f64)> = (0..n_kept)
            .map(|i| (time_s[i], dff[i]))
            .filter(|(_, y)| y.is_finite())
            .collect();
        let middles = (0..n).map(|k| (k as f64 + 0.5) / self.rate_hz);
        self.starts.push(self.trace.len());
        if own_hz > 1.5 * self.rate_hz {
            let binned = binned(&present, n, self.rate_hz);
            self.trace.extend(middles.map(|t| interpolated(&binned, t)));
        } else {
            self.trace
                .extend(middles.map(|t| interpolated(&present, t)));
        }
        let mut counts = vec![0.0; n];
        for time in spikes_s.iter().filter(|&&t| t >= 0.0 && t <= limit) {
            if let Some(count) = counts.get_mut((time * self.rate_hz) as usize) {
                *count += 1.0;
            }
        }
        self.counts.extend(counts);
        limit
    }
}

/// Means over frames, at their middles.
fn binned(samples: &[(f64, f64)], n: usize, rate_hz: f64) -> Vec<(f64, f64)> {
    let mut sums = vec![(0.0, 0.0); n];
    for (t, y) in samples {
        let frame = ((t * rate_hz) as usize).min(n - 1);
        sums[frame] = (sums[frame].0 + y, sums[frame].1 + 1.0);
    }
    let frames = sums
        .iter()
        .enumerate()
        .filter(|(_, (_, count))| *count > 0.0);
    frames
        .map(|(k, (sum, count))| ((k as f64 + 0.5) / rate_hz, sum / count))
        .collect()
}

/// Straight between samples, level beyond them.
fn interpolated(samples: &[(f64, f64)], t: f64) -> f64 {
    let next = samples.partition_point(|(time, _)| *time <= t);
    match (next.checked_sub(1).map(|i| samples[i]), samples.get(next)) {
        (Some((t0, y0)), Some(&(t1, y1))) => y0 + (t - t0) / (t1 - t0) * (y1 - y0),
        (Some((_, y)), None) | (None, Some(&(_, y))) => y,
        (None, None) => f64::NAN,
    }
}

fn score(neuron: &Neuron) -> Result<Score, calcium::CalciumError> {
    let found = Inference::new(1.0 / neuron.rate_hz)?.infer(&neuron.trace)?;
    let mut score = of_activity(neuron, &found.expected);
    score.is_absolute = found.is_absolute();
    add_coverage(neuron, &found, &mut score);
    Ok(score)
}

/// Correlations of what one network finds on the trace as it is.
fn alone(network: &SpikeNetwork, neuron: &Neuron) -> Result<Score, calcium::CalciumError> {
    let found = network.infer(&neuron.trace, neuron.rate_hz)?;
    let expected: Vec<f64> = found.expected.iter().map(|&e| f64::from(e)).collect();
    Ok(of_activity(neuron, &expected))
}

/// Correlations of what `Automatic` finds.
fn oasis(neuron: &Neuron) -> Result<Score, calcium::CalciumError> {
    let fit = Automatic::new(1.0 / neuron.rate_hz)?.deconvolve(&neuron.trace)?;
    Ok(of_activity(neuron, &fit.activity))
}

fn of_activity(neuron: &Neuron, activity: &[f64]) -> Score {
    let activity: Vec<f64> = activity
        .iter()
        .map(|a| if a.is_nan() { 0.0 } else { *a })
        .collect();
    let smooth = |x: &[f64], sd_s: f64| gaussian(x, sd_s * neuron.rate_hz);
    let [r50, r200] =
        [0.05, 0.2].map(|sd| correlation(&smooth(&activity, sd), &smooth(&neuron.counts, sd)));
    let (truth, inferred) = (smooth(&neuron.counts, 0.05), smooth(&activity, 0.05));
    let reach = (0.3 * neuron.rate_hz) as i64;
    let n = truth.len() as i64;
    let shifted = |k: i64| -> f64 {
        let moved: Vec<f64> = (0..n)
            .map(|t| inferred[(t + k).rem_euclid(n) as usize])
            .collect();
        correlation(&moved, &truth)
    };
    let best = (-reach..=reach)
        .map(|k| (k, shifted(k)))
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .unwrap_or((0, r50));
    Score {
        r50,
        r200,
        shift_s: best.0 as f64 / neuron.rate_hz,
        shifted_r50: best.1,
        sum: activity.iter().sum::<f64>() / neuron.counts.iter().sum::<f64>().max(1.0),
        covered: [0.0; 2],
        n_bins: 0.0,
        is_absolute: false,
    }
}

/// Counts are whole: the part of a count's probability that lies within the central interval counts (the
/// nonrandomised transform of Czado, Gneiting & Held 2009).
fn add_coverage(neuron: &Neuron, found: &InferredSpikes<f64>, score: &mut Score) {
    let n = (COVERED_S * neuron.rate_hz) as usize;
    for start in (0..neuron.counts.len().saturating_sub(n)).step_by(n.max(1)) {
        let bin = start..start + n;
        let truth: f64 = neuron.counts[bin.clone()].iter().sum();
        let [below, upto] = distribution(truth, found.count(bin));
        for (covered, level) in score.covered.iter_mut().zip(LEVELS) {
            let (low, high) = (0.5 - 0.5 * level, 0.5 + 0.5 * level);
            let inside = upto.min(high) - below.max(low);
            *covered += (inside / (upto - below).max(1e-12)).clamp(0.0, 1.0);
        }
        score.n_bins += 1.0;
    }
}

/// The probability of fewer spikes and that of no more, under the negative binomial of this mean and SD.
fn distribution(count: f64, [mean, sd]: [f64; 2]) -> [f64; 2] {
    let mean = mean.max(1e-6);
    let r = mean * mean / (sd * sd - mean).max(1e-6 * mean);
    let mut p = (-r * (mean / r).ln_1p()).exp();
    let (mut below, mut upto) = (0.0, p);
    for k in 0..count as usize {
        p *= (k as f64 + r) / (k as f64 + 1.0) * mean / (r + mean);
        (below, upto) = (upto, upto + p);
    }
    [below, upto]
}

/// Share of all bins inside each interval.
fn covered(scores: &[Score]) -> [f64; 2] {
    let n_bins: f64 = scores.iter().map(|s| s.n_bins).sum();
    [0, 1].map(|i| scores.iter().map(|s| s.covered[i]).sum::<f64>() / n_bins)
}

fn line(scores: &[Score]) -> String {
    let middle = |of: fn(&Score) -> f64| median(&mut scores.iter().map(of).collect::<Vec<_>>());
    let [within_50, within_90] = covered(scores).map(|share| 100.0 * share);
    format!(
        "{:3} neurons  r50 {:.3}  r200 {:.3}  shift {:+4.0} ms  sum {:.2}  within 50 %: {within_50:.0}, 90 %: {within_90:.0}  absolute {}",
        scores.len(),
        mean(scores, |s| s.r50),
        mean(scores, |s| s.r200),
        1000.0 * middle(|s| s.shift_s),
        middle(|s| s.sum),
        scores.iter().filter(|s| s.is_absolute).count(),
    )
}

fn mean(scores: &[Score], of: fn(&Score) -> f64) -> f64 {
    scores.iter().map(of).sum::<f64>() / scores.len().max(1) as f64
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let n = values.len();
    match n {
        0 => f64::NAN,
        _ => f64::midpoint(values[(n - 1) / 2], values[n / 2]),
    }
}

/// Smoothing with the ends reflected.
fn gaussian(x: &[f64], sd: f64) -> Vec<f64> {
    let reach = (4.0 * sd + 0.5) as i64;
    let n = x.len() as i64;
    let kernel: Vec<f64> = (0..=reach)
        .map(|k| (-0.5 * (k as f64 / sd).powi(2)).exp())
        .collect();
    let total = kernel[0] + 2.0 * kernel[1..].iter().sum::<f64>();
    let reflected = |t: i64| {
        let place = t.rem_euclid(2 * n);
        x[if place < n { place } else { 2 * n - 1 - place } as usize]
    };
    let at = |t: i64| {
        let near = (-reach..=reach).map(|k| kernel[k.unsigned_abs() as usize] * reflected(t + k));
        near.sum::<f64>() / total
    };
    (0..n).map(at).collect()
}
