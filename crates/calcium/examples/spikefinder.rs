//! Scores the network and OASIS on recordings with known spikes, as the Spikefinder challenge did: the correlation in
//! bins of 40 ms, means over cells.
//!
//! `cargo run --release -p calcium --example spikefinder FOLDER`, where FOLDER holds
//! `N.train.calcium.csv` and `N.train.spikes.csv` (or `test`): a column per cell, at 100 Hz. No setting is chosen.
//!
//! # Source
//! Berens et al. 2018, "Community-based benchmarking improves spike rate inference from two-photon
//! calcium imaging data".

mod common;

use std::error::Error;
use std::path::{Path, PathBuf};

use calcium::{Automatic, Inference};

use common::correlation;

const DT_S: f64 = 0.01;
/// Frames of 10 ms per bin of 40 ms.
const BIN: usize = 4;
/// Cells of one set: fluorescence and spikes.
struct Set {
    name: String,
    cells: Vec<[Vec<f64>; 2]>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("usage: spikefinder FOLDER")?;
    let sets = sets(Path::new(&folder))?;
    let mut all = [Vec::new(), Vec::new()];
    for set in &sets {
        let [network, oasis] = [network(set)?, oasis(set)?];
        println!(
            "set {}: {:.3} by the network, {:.3} by OASIS, {} cells",
            set.name,
            mean(&network),
            mean(&oasis),
            network.len()
        );
        all[0].extend(network);
        all[1].extend(oasis);
    }
    let [network, oasis] = all.map(|scores| mean(&scores));
    println!("mean over cells: {network:.3} by the network, {oasis:.3} by OASIS");
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
        if let Some(name) = name.strip_suffix(".calcium.csv") {
            let spikes = folder.join(format!("{name}.spikes.csv"));
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

/// Correlation with the spikes for each cell, by the network.
fn network(set: &Set) -> Result<Vec<f64>, calcium::CalciumError> {
    let inference = Inference::new(DT_S)?;
    let score = |[trace, spikes]: &[Vec<f64>; 2]| {
        let found = inference.infer(trace)?;
        Ok(correlation(&binned(&found.expected), &binned(spikes)))
    };
    set.cells.iter().map(score).collect()
}

/// The same by OASIS; the cells of a set share their kinetics.
fn oasis(set: &Set) -> Result<Vec<f64>, calcium::CalciumError> {
    let lengths = set.cells.iter().map(|[trace, _]| trace.len());
    let longest = lengths.max().unwrap_or(0);
    let mut padded = Vec::new();
    for [trace, _] in &set.cells {
        padded.extend(trace);
        padded.extend(std::iter::repeat_n(f64::NAN, longest - trace.len()));
    }
    let fits = Automatic::new(DT_S)?.deconvolve_many(&padded, longest)?;
    let score = |(fit, [trace, spikes]): (&calcium::AutomaticFit<f64>, &[Vec<f64>; 2])| {
        correlation(&binned(&fit.activity[..trace.len()]), &binned(spikes))
    };
    Ok(fits.iter().zip(&set.cells).map(score).collect())
}

fn binned(signal: &[f64]) -> Vec<f64> {
    signal
        .chunks_exact(BIN)
        .map(|bin| bin.iter().filter(|v| !v.is_nan()).sum())
        .collect()
}

fn mean(x: &[f64]) -> f64 {
    x.iter().sum::<f64>() / x.len() as f64
}
