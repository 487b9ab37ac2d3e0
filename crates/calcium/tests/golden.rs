//! OASIS against the public `oasis-deconv` package, on traces made by `golden/make.py`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use calcium::Ar1;
use calcium::oasis::Ar1Problem;

struct Golden {
    header: HashMap<String, f64>,
    columns: Vec<Vec<f64>>,
}

impl Golden {
    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        let mut lines = text.lines();
        let header: Vec<&str> = lines.next().unwrap().split('\t').collect();
        let rows: Vec<Vec<f64>> = lines
            .map(|line| line.split('\t').map(|x| x.parse().unwrap()).collect())
            .collect();
        Self {
            header: header
                .chunks(2)
                .map(|pair| (pair[0].to_owned(), pair[1].parse().unwrap()))
                .collect(),
            columns: (0..rows[0].len())
                .map(|column| rows.iter().map(|row| row[column]).collect())
                .collect(),
        }
    }

    fn problem(&self) -> Ar1Problem {
        let s_min = self.header.get("s_min").copied().unwrap_or_default();
        Ar1Problem::new(Ar1::new(self.header["g"]).unwrap())
            .with_lambda(self.header["lambda"])
            .and_then(|problem| problem.with_s_min(s_min))
            .unwrap()
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Equal within `tolerance`, and NaN where the other is.
fn agree(found: &[f64], expected: &[f64], tolerance: f64) -> bool {
    found.len() == expected.len()
        && found.iter().zip(expected).all(|(found, expected)| {
            (found - expected).abs() <= tolerance || (found.is_nan() && expected.is_nan())
        })
}

fn widened(samples: &[f32]) -> Vec<f64> {
    samples.iter().copied().map(f64::from).collect()
}

#[test]
fn every_case_agrees_in_both_precisions() {
    let mut n_cases = 0;
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "tsv")
            || path.ends_with("example.tsv")
        {
            continue;
        }
        let golden = Golden::read(&path);
        let [fluorescence, calcium, spikes] = &golden.columns[..] else {
            panic!("{} has {} columns", path.display(), golden.columns.len());
        };

        let double = golden.problem().deconvolve(fluorescence).unwrap();
        assert!(
            agree(&double.calcium, calcium, 1e-9),
            "calcium of {}",
            path.display()
        );
        assert!(
            agree(&double.spikes, spikes, 1e-9),
            "spikes of {}",
            path.display()
        );

        let narrow: Vec<f32> = fluorescence.iter().map(|&x| x as f32).collect();
        let single = golden.problem().deconvolve(&narrow).unwrap();
        // Traces near g = 1 reach 20; f32 keeps seven digits of that.
        assert!(
            agree(&widened(&single.calcium), calcium, 4e-6),
            "f32 calcium of {}",
            path.display()
        );
        assert!(
            agree(&widened(&single.spikes), spikes, 4e-6),
            "f32 spikes of {}",
            path.display()
        );
        n_cases += 1;
    }
    assert_eq!(n_cases, 16);
}

#[test]
fn the_packages_own_example_is_met() {
    let golden = Golden::read(&folder().join("example.tsv"));
    let (fluorescence, true_spikes) = (&golden.columns[0], &golden.columns[1]);
    let true_calcium = Ar1::new(golden.header["g"]).unwrap().convolve(true_spikes);
    let found = golden.problem().deconvolve(fluorescence).unwrap();
    let residual: f64 = fluorescence
        .iter()
        .zip(&found.calcium)
        .map(|(y, c)| (y - c).powi(2))
        .sum();

    let close = |name: &str, found: f64| {
        let expected = golden.header[name];
        assert!(
            (found - expected).abs() < 1e-9 * expected,
            "{name}: {found}, not {expected}"
        );
    };
    close(
        "calcium_correlation",
        correlation(&found.calcium, &true_calcium),
    );
    close("spike_correlation", correlation(&found.spikes, true_spikes));
    close("residual_sum_of_squares", residual);
}

fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let centred = |x: &[f64]| -> Vec<f64> {
        let mean = x.iter().sum::<f64>() / x.len() as f64;
        x.iter().map(|x| x - mean).collect()
    };
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let (a, b) = (centred(a), centred(b));
    dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt()
}
