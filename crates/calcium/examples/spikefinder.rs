//! Scores the automatic settings on recordings with known spikes, as the Spikefinder challenge did.
//!
//! `cargo run --release -p calcium --example spikefinder FOLDER`, where FOLDER holds
//! `N.train.calcium.csv` and `N.train.spikes.csv`: a column per cell, at 100 Hz.
//!
//! # Source
//! Berens et al. 2018, "Community-based benchmarking improves spike rate inference from two-photon
//! calcium imaging data".

use std::error::Error;
use std::path::{Path, PathBuf};

use calcium::Automatic;

const DT_S: f64 = 0.01;
/// Frames of 10 ms per bin of 40 ms.
const BIN: usize = 4;
/// Settings that compete where they are chosen on all sets but the one they are scored on.
const SMOOTHINGS_S: [f64; 4] = [0.02, 0.03, 0.05, 0.08];
const RATES_HZ: [f64; 3] = [1.0, 3.0, 10.0];
const WINDOWS_S: [f64; 2] = [30.0, 60.0];

/// Cells of one set: fluorescence and spikes.
struct Set {
    name: String,
    cells: Vec<[Vec<f64>; 2]>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("usage: spikefinder FOLDER")?;
    let sets = sets(Path::new(&folder))?;
    let usual = Automatic::new(DT_S)?;
    let by_cell: Vec<Vec<f64>> = sets
        .iter()
        .map(|set| scores(set, usual))
        .collect::<Result<_, _>>()?;
    for (set, scores) in sets.iter().zip(&by_cell) {
        println!(
            "set {}: {:.4} over {} cells",
            set.name,
            mean(scores),
            scores.len()
        );
    }
    println!("mean over cells: {:.4}", mean(&by_cell.concat()));
    let held_out = held_out(&sets)?;
    println!("with settings chosen on the other sets: {held_out:.4}");
    Ok(())
}

fn sets(folder: &Path) -> Result<Vec<Set>, Box<dyn Error>> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .map_err(|e| {
            format!(
                "{}: {e}; get the training sets of spikefinder",
                folder.display()
            )
        })?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    paths.sort();
    let mut sets = Vec::new();
    for path in paths {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if let Some(name) = name.strip_suffix(".train.calcium.csv") {
            let spikes = folder.join(format!("{name}.train.spikes.csv"));
            let cells = columns(&path)?.into_iter().zip(columns(&spikes)?);
            sets.push(Set {
                name: name.to_owned(),
                cells: cells
                    .map(|(trace, spikes)| trimmed(trace, spikes))
                    .collect(),
            });
        }
    }
    Ok(sets)
}

/// The columns of a table; empty cells are NaN.
fn columns(path: &Path) -> Result<Vec<Vec<f64>>, Box<dyn Error>> {
    let text = std::fs::read_to_string(path)?;
    let mut lines = text.lines();
    let n_columns = lines.next().unwrap_or_default().split(',').count();
    let mut columns = vec![Vec::new(); n_columns];
    for line in lines {
        for (column, cell) in columns.iter_mut().zip(line.split(',')) {
            let cell = cell.trim();
            column.push(if cell.is_empty() {
                f64::NAN
            } else {
                cell.parse()?
            });
        }
    }
    Ok(columns)
}

/// Both up to the last frame that has both.
fn trimmed(trace: Vec<f64>, spikes: Vec<f64>) -> [Vec<f64>; 2] {
    let both = trace
        .iter()
        .zip(&spikes)
        .rposition(|(y, s)| !y.is_nan() && !s.is_nan());
    let n = both.map_or(0, |last| last + 1);
    [trace, spikes].map(|mut column| {
        column.truncate(n);
        column
    })
}

/// Correlation with the spikes for each cell; the cells of a set share their kinetics.
fn scores(set: &Set, automatic: Automatic) -> Result<Vec<f64>, calcium::CalciumError> {
    let longest = set
        .cells
        .iter()
        .map(|[trace, _]| trace.len())
        .max()
        .unwrap_or(0);
    let padded: Vec<f64> = set
        .cells
        .iter()
        .flat_map(|[trace, _]| {
            let missing = longest - trace.len();
            trace
                .iter()
                .copied()
                .chain(std::iter::repeat_n(f64::NAN, missing))
        })
        .collect();
    let fits = automatic.deconvolve_many(&padded, longest)?;
    let score = |(fit, [trace, spikes]): (&calcium::AutomaticFit<f64>, &[Vec<f64>; 2])| {
        correlation(&binned(&fit.activity[..trace.len()]), &binned(spikes))
    };
    Ok(fits.iter().zip(&set.cells).map(score).collect())
}

/// Each set's scores under the settings that are best on the others, over all cells.
fn held_out(sets: &[Set]) -> Result<f64, calcium::CalciumError> {
    let mut candidates: Vec<Vec<Vec<f64>>> = Vec::new();
    for smoothing_s in SMOOTHINGS_S {
        for rate_hz in RATES_HZ {
            for window_s in WINDOWS_S {
                let automatic = Automatic::new(DT_S)?
                    .with_smoothing(smoothing_s)?
                    .with_typical_rate(rate_hz)?
                    .with_baseline_window(window_s)?;
                let by_set: Result<_, _> = sets.iter().map(|set| scores(set, automatic)).collect();
                candidates.push(by_set?);
            }
        }
    }
    let elsewhere = |by_set: &[Vec<f64>], set: usize| {
        let others = by_set.iter().enumerate().filter(|(other, _)| *other != set);
        mean(
            &others
                .flat_map(|(_, scores)| scores.clone())
                .collect::<Vec<_>>(),
        )
    };
    let chosen = (0..sets.len()).flat_map(|set| {
        let best = candidates
            .iter()
            .max_by(|a, b| elsewhere(a, set).total_cmp(&elsewhere(b, set)));
        best.map_or(Vec::new(), |by_set| by_set[set].clone())
    });
    Ok(mean(&chosen.collect::<Vec<_>>()))
}

fn binned(signal: &[f64]) -> Vec<f64> {
    signal
        .chunks_exact(BIN)
        .map(|bin| bin.iter().sum())
        .collect()
}

fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let (mean_a, mean_b) = (mean(a), mean(b));
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        ab += (a - mean_a) * (b - mean_b);
        aa += (a - mean_a).powi(2);
        bb += (b - mean_b).powi(2);
    }
    if aa > 0.0 && bb > 0.0 {
        ab / (aa * bb).sqrt()
    } else {
        0.0
    }
}

fn mean(x: &[f64]) -> f64 {
    x.iter().sum::<f64>() / x.len() as f64
}
