//! Table 1: its numbers, as JSON and as Markdown beside the paper's.

use std::collections::BTreeMap;
use std::fmt::Write;

use metrics::PulseTiming;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::run::LEVELS;

/// What is compared with the truth, in the order of the paper's columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Metric {
    Lorenz,
    Rates,
    Spikes,
    Fluorescence,
}

impl Metric {
    pub const ALL: [Self; 4] = [Self::Lorenz, Self::Rates, Self::Spikes, Self::Fluorescence];

    pub const fn title(self) -> &'static str {
        match self {
            Self::Lorenz => "Lorenz",
            Self::Rates => "rates",
            Self::Spikes => "spikes",
            Self::Fluorescence => "fluorescence",
        }
    }
}

/// The whole table; its JSON form is an interface.
#[derive(Debug, Serialize)]
pub struct Table {
    /// Of the page.
    #[serde(skip)]
    pub title: String,
    pub command: String,
    pub revision: String,
    pub machine: String,
    pub dataset: Value,
    pub rows: Vec<TableRow>,
}

/// One model on one kind of data, over seeds.
#[derive(Debug, Serialize)]
pub struct TableRow {
    pub data: String,
    pub model: String,
    pub variant: String,
    /// One entry a run, as in all lists below.
    pub dataset_seeds: Vec<Option<u64>>,
    pub seeds: Vec<u64>,
    pub metrics: BTreeMap<Metric, Scores>,
    /// r² by the encoder's answer alone, without the search for initial conditions.
    pub by_encoder: BTreeMap<Metric, Vec<f64>>,
    pub train_seconds: Vec<f64>,
    pub peak_rss_mb: Vec<Option<f64>>,
    /// Restarts after NaN, and resets of a collapsed deep level.
    pub recoveries: Vec<usize>,
    /// How much of the true rates lies within credible intervals, by their probability.
    pub rate_coverage: BTreeMap<String, Vec<Option<f64>>>,
    /// Median over neurons of the r² of the rates.
    pub rates_per_neuron: Vec<Option<f64>>,
    /// What inferred inputs tell of the pulses that drove the system.
    pub pulses: Vec<Option<PulseTiming>>,
    /// Median relative error of the decay times, where the model knows them.
    pub tau_error: Vec<Option<f64>>,
}

/// One column of one row: the paper's r² and ours, one entry per seed.
#[derive(Debug, Default, Serialize)]
pub struct Scores {
    pub paper: Option<f64>,
    pub r2: Vec<f64>,
    pub cod: Vec<f64>,
}

impl Scores {
    /// The paper's value, none of ours yet.
    pub fn of_paper(r2: f64) -> Self {
        Self {
            paper: Some(r2),
            ..Self::default()
        }
    }
}

impl Table {
    /// The JSON text, ending in a line break.
    pub fn json(&self) -> serde_json::Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// The Markdown page: r² beside the paper's, cod, what was run and where.
    pub fn markdown(&self) -> String {
        let mut page = format!("# {}: goodness of fit on held-out trials\n\n", self.title);
        page += "r² (squared Pearson correlation), mean ± standard deviation over datasets and training seeds; the paper's value in brackets.\n\n";
        page += &grid(&self.r2_cells());
        page += "\nCoefficient of determination, 1 − SSE/SST, which also punishes a wrong scale or offset.\n\n";
        page += &grid(&self.cod_cells());
        page += "\nSpread over runs; share of the true rates within the credible intervals; error of the decay time, where learned or told wrong.\n\n";
        page += &grid(&self.spread_cells());
        page += "\nThe r² of the first table by the encoder's answer alone, without the search for initial conditions.\n\n";
        page += &grid(&self.encoder_cells());
        if self.rows.iter().any(TableRow::has_pulses) {
            let tolerance = PulseTiming::TOLERANCE;
            // Writing to a `String` cannot fail.
            let _ = write!(
                page,
                "\nThe pulse of each held-out trial, said to be in the middle of the {} bins in a row in which the posterior mean of the inferred inputs has the most energy, the first bin left out: share of trials in which that is at most {tolerance} bins away, the same if the one bin is taken in which they are longest, median distance in bins of the first, mean square of the inputs within {tolerance} bins of the pulse over that elsewhere.\n\n",
                2 * tolerance + 1
            );
            page += &grid(&self.pulse_cells());
        }
        page.push('\n');
        self.provenance(&mut page);
        page
    }

    fn r2_cells(&self) -> Vec<Vec<String>> {
        let mut header = labels();
        header.extend(Metric::ALL.map(|metric| format!("{} r²", metric.title())));
        header.extend(["seeds", "training, s", "peak memory, MB"].map(Into::into));
        let rows = self.rows.iter().map(|row| {
            let mut cells = row.labels();
            cells.extend(Metric::ALL.map(|metric| row.r2_cell(metric)));
            cells.push(row.seeds.len().to_string());
            cells.push(mean_and_sd(&row.train_seconds, 0));
            let peaks: Vec<f64> = row.peak_rss_mb.iter().flatten().copied().collect();
            cells.push(mean_and_sd(&peaks, 0));
            cells
        });
        std::iter::once(header).chain(rows).collect()
    }

    fn cod_cells(&self) -> Vec<Vec<String>> {
        let mut header = labels();
        header.extend(Metric::ALL.map(|metric| format!("{} cod", metric.title())));
        let rows = self.rows.iter().map(|row| {
            let mut cells = row.labels();
            cells.extend(Metric::ALL.map(|metric| {
                let scores = row.metrics.get(&metric);
                scores.map_or_else(|| "–".into(), |scores| mean_and_sd(&scores.cod, 3))
            }));
            cells
        });
        std::iter::once(header).chain(rows).collect()
    }

    fn spread_cells(&self) -> Vec<Vec<String>> {
        let mut header = labels();
        header.extend(Metric::ALL.map(|metric| format!("lowest {} r²", metric.title())));
        header
            .extend(["recoveries", "50 % interval", "90 % interval", "tau error"].map(Into::into));
        header.push("rates r², median neuron".into());
        let rows = self.rows.iter().map(|row| {
            let mut cells = row.labels();
            cells.extend(Metric::ALL.map(|metric| row.lowest_cell(metric)));
            cells.push(row.recoveries.iter().sum::<usize>().to_string());
            for level in LEVELS {
                let covered = row.rate_coverage.get(&level.to_string());
                let covered: Vec<f64> = covered.into_iter().flatten().flatten().copied().collect();
                cells.push(mean_and_sd(&covered, 2));
            }
            let errors: Vec<f64> = row.tau_error.iter().flatten().copied().collect();
            cells.push(mean_and_sd(&errors, 3));
            let medians: Vec<f64> = row.rates_per_neuron.iter().flatten().copied().collect();
            cells.push(mean_and_sd(&medians, 3));
            cells
        });
        std::iter::once(header).chain(rows).collect()
    }

    fn encoder_cells(&self) -> Vec<Vec<String>> {
        let mut header = labels();
        header.extend(Metric::ALL.map(|metric| format!("{} r²", metric.title())));
        let encoded = self.rows.iter().filter(|row| !row.by_encoder.is_empty());
        let rows = encoded.map(|row| {
            let mut cells = row.labels();
            cells.extend(Metric::ALL.map(|metric| {
                let r2 = row.by_encoder.get(&metric).map_or(&[][..], Vec::as_slice);
                mean_and_sd(r2, 3)
            }));
            cells
        });
        std::iter::once(header).chain(rows).collect()
    }

    fn pulse_cells(&self) -> Vec<Vec<String>> {
        let mut header = labels();
        header.extend(["found", "by one bin", "distance, bins", "energy ratio"].map(Into::into));
        let driven = self.rows.iter().filter(|row| row.has_pulses());
        let rows = driven.map(|row| {
            let of = |number: fn(&PulseTiming) -> f64, decimals| {
                let values: Vec<f64> = row.pulses.iter().flatten().map(number).collect();
                mean_and_sd(&values, decimals)
            };
            let mut cells = row.labels();
            cells.push(of(|timing| timing.found, 2));
            cells.push(of(|timing| timing.found_by_longest, 2));
            cells.push(of(|timing| timing.median_distance, 1));
            cells.push(of(|timing| timing.energy_ratio, 1));
            cells
        });
        std::iter::once(header).chain(rows).collect()
    }

    fn provenance(&self, page: &mut String) {
        let facts = [
            ("Command", format!("`{}`", self.command)),
            ("Revision", self.revision.clone()),
            ("Machine", self.machine.clone()),
        ];
        for (name, value) in facts {
            // Writing to a `String` cannot fail.
            let _ = writeln!(page, "- {name}: {value}");
        }
        let dataset = self.dataset.as_object().into_iter().flatten();
        for (name, value) in dataset.filter(|(_, value)| !value.is_object()) {
            let _ = writeln!(page, "- Dataset {}: {value}", name.replace('_', " "));
        }
    }
}

impl TableRow {
    fn labels(&self) -> Vec<String> {
        [&self.data, &self.model, &self.variant]
            .map(Clone::clone)
            .into()
    }

    fn has_pulses(&self) -> bool {
        self.pulses.iter().any(Option::is_some)
    }

    fn lowest_cell(&self, metric: Metric) -> String {
        let scores = self
            .metrics
            .get(&metric)
            .map_or(&[][..], |scores| &scores.r2);
        match scores.iter().copied().reduce(f64::min) {
            Some(lowest) => format!("{lowest:.3}"),
            None => "–".into(),
        }
    }

    fn r2_cell(&self, metric: Metric) -> String {
        let Some(scores) = self.metrics.get(&metric) else {
            return "–".into();
        };
        let ours = mean_and_sd(&scores.r2, 3);
        match scores.paper {
            Some(paper) => format!("{ours} ({paper:.3})"),
            None => ours,
        }
    }
}

fn labels() -> Vec<String> {
    ["data", "model", "variant"].map(Into::into).into()
}

/// `0.970 ± 0.002`; without the deviation for a single value, `–` for none.
fn mean_and_sd(values: &[f64], decimals: usize) -> String {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
    match values.len() {
        0 => "–".into(),
        1 => format!("{mean:.decimals$}"),
        _ => format!("{mean:.decimals$} ± {:.decimals$}", variance.sqrt()),
    }
}

/// A Markdown table whose columns line up in a terminal too; the first row is the header.
fn grid(rows: &[Vec<String>]) -> String {
    let n_columns = rows.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..n_columns)
        .map(|column| rows.iter().map(|row| width(&row[column])).max())
        .map(|widest| widest.unwrap_or(0).max(3))
        .collect();
    let rule: Vec<String> = widths.iter().map(|&width| "-".repeat(width)).collect();
    let mut lines: Vec<String> = rows.iter().map(|row| line(row, &widths)).collect();
    lines.insert(1, line(&rule, &widths));
    lines.concat()
}

fn line(cells: &[String], widths: &[usize]) -> String {
    let padded = cells
        .iter()
        .zip(widths)
        .map(|(cell, &wanted)| format!("{cell}{}", " ".repeat(wanted - width(cell))));
    format!("| {} |\n", padded.collect::<Vec<_>>().join(" | "))
}

fn width(cell: &str) -> usize {
    cell.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let scores = Scores {
            paper: Some(0.978),
            r2: vec![0.95, 0.97],
            cod: vec![0.9, 0.9],
        };
        let pulses = PulseTiming {
            found: 0.75,
            found_by_longest: 0.5,
            median_distance: 1.0,
            energy_ratio: 12.0,
        };
        Table {
            title: "Table 1".into(),
            command: "cargo xtask reproduce-table1".into(),
            revision: "abc".into(),
            machine: "a processor".into(),
            dataset: serde_json::json!({"n_neurons": 30}),
            rows: vec![TableRow {
                data: "spikes".into(),
                model: "lfads".into(),
                variant: String::new(),
                dataset_seeds: vec![Some(1), Some(1)],
                seeds: vec![1, 2],
                metrics: BTreeMap::from([(Metric::Lorenz, scores)]),
                by_encoder: BTreeMap::from([(Metric::Lorenz, vec![0.7, 0.8])]),
                train_seconds: vec![10.0, 30.0],
                peak_rss_mb: vec![None, None],
                recoveries: vec![0, 1],
                rate_coverage: BTreeMap::from([("0.5".into(), vec![Some(0.4), Some(0.6)])]),
                rates_per_neuron: vec![Some(0.8), None],
                pulses: vec![None, Some(pulses)],
                tau_error: vec![None, Some(0.05)],
            }],
        }
    }

    #[test]
    fn the_json_has_exactly_the_promised_keys() {
        let json: Value = serde_json::from_str(&table().json().unwrap()).unwrap();
        let expected = serde_json::json!({
            "command": "cargo xtask reproduce-table1",
            "revision": "abc",
            "machine": "a processor",
            "dataset": {"n_neurons": 30},
            "rows": [{
                "data": "spikes",
                "model": "lfads",
                "variant": "",
                "dataset_seeds": [1, 1],
                "seeds": [1, 2],
                "metrics": {"lorenz": {"paper": 0.978, "r2": [0.95, 0.97], "cod": [0.9, 0.9]}},
                "by_encoder": {"lorenz": [0.7, 0.8]},
                "train_seconds": [10.0, 30.0],
                "peak_rss_mb": [null, null],
                "recoveries": [0, 1],
                "rate_coverage": {"0.5": [0.4, 0.6]},
                "rates_per_neuron": [0.8, null],
                "pulses": [null, {"found": 0.75, "found_by_longest": 0.5, "median_distance": 1.0, "energy_ratio": 12.0}],
                "tau_error": [null, 0.05],
            }],
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn a_cell_holds_mean_deviation_and_the_papers_value() {
        let page = table().markdown();
        // Mean of 0.95 and 0.97; deviation √(2·0.01²/1) = 0.0141.
        assert!(page.contains("0.960 ± 0.014 (0.978)"), "{page}");
        assert!(page.contains("20 ± 14"), "{page}");
        assert!(page.contains("- Dataset n neurons: 30"), "{page}");
        // Lowest of the Lorenz column, the sum of recoveries, coverage, error of the decay time.
        let spread = page.lines().nth(18).unwrap_or_default();
        let cells: Vec<&str> = spread.split('|').map(str::trim).collect();
        assert_eq!(cells[4], "0.950", "{page}");
        let rest = ["1", "0.50 ± 0.14", "–", "0.050", "0.800"];
        assert_eq!(cells[8..13], rest, "{page}");
        let encoder = page.lines().nth(24).unwrap_or_default();
        assert!(encoder.contains("0.750 ± 0.071"), "{page}");
        let pulses = page.lines().nth(30).unwrap_or_default();
        assert!(
            pulses.contains("| 0.75  | 0.50       | 1.0            | 12.0"),
            "{page}"
        );
    }

    #[test]
    fn one_seed_has_no_deviation_and_none_is_a_dash() {
        assert_eq!(mean_and_sd(&[0.5], 3), "0.500");
        assert_eq!(mean_and_sd(&[], 3), "–");
    }

    #[test]
    fn columns_line_up() {
        let cells = [vec!["a", "r²"], vec!["long cell", "–"]];
        let cells = cells.map(|row| row.into_iter().map(String::from).collect());
        let text = grid(&cells);
        let widths: Vec<usize> = text.lines().map(width).collect();
        assert_eq!(widths, [widths[0]; 3], "{text}");
    }
}
