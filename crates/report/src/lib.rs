#![doc = include_str!("../README.md")]

mod charts;
mod factors;
mod inputs;
mod questions;
mod svg;

use std::ops::Range;

use anyhow::{Context, Result, bail};
use calcium::estimate::median;
use data::Arrays;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use metrics::Comparison;
use ndarray::{Array2, Array3, Axis, Ix2, Ix3};
use pipeline::{History, RunFolder, RunRecord, RunResult};
use zoo::ModelConfig;

/// The page of a complete run.
///
/// # Errors
/// A run that is not complete; a file of the folder that cannot be read; results that lack an array or have it in another shape.
pub fn page(folder: &RunFolder, record: &RunRecord) -> Result<String> {
    if !folder.is_complete() {
        bail!(
            "{}: the fit is not complete; run the same `lfads fit` again, it goes on where it stopped",
            folder.path().display()
        );
    }
    let results = Arrays::read(&folder.file("inferred.h5"))?;
    let report = Report::new(
        record,
        folder.read("history.json")?,
        folder.read("result.json")?,
        &results,
    )?;
    Ok(report.html())
}

/// Everything the page shows.
struct Report<'a> {
    record: &'a RunRecord,
    history: History,
    result: RunResult,
    quantities: Quantities,
    example: Example,
    fits: Vec<Option<f64>>,
}

/// What was inferred, `[trial, time, ·]`.
struct Quantities {
    observed: Array3<f32>,
    fluor: Option<Array3<f32>>,
    spikes: Option<Array3<f32>>,
    rates: Array3<f32>,
    factors: Array3<f32>,
    /// Means and standard deviations, if the model infers inputs.
    inputs: Option<[Array3<f32>; 2]>,
    /// As they were given, if there are known ones.
    external: Option<Array3<f32>>,
    /// Share of the log-rates' variance along each factor; empty if the results do not tell.
    share: Vec<f32>,
    held_out: Array2<f32>,
}

/// The frames that are shown: of one trial, held out if possible.
struct Example {
    trial: usize,
    frames: Range<usize>,
    /// Neurons, the most active first.
    neurons: Vec<usize>,
}

impl<'a> Report<'a> {
    fn new(
        record: &'a RunRecord,
        history: History,
        result: RunResult,
        results: &Arrays,
    ) -> Result<Self> {
        let quantities = Quantities::of(results)?;
        let example = Example::of(&quantities);
        let fits = quantities.fits(record.source.dt_s)?;
        Ok(Self {
            record,
            history,
            result,
            quantities,
            example,
            fits,
        })
    }

    fn html(&self) -> String {
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    title { (self.title()) }
                    style { (PreEscaped(include_str!("page.css"))) }
                }
                body {
                    h1 { (self.title()) }
                    (self.facts())
                    (self.questions())
                    (self.traces())
                    (self.population())
                    (self.orbits())
                    (self.inputs())
                    (self.neurons())
                    (self.losses())
                    (self.settings())
                    script { (PreEscaped(include_str!("page.js"))) }
                }
            }
        };
        page.into_string()
    }

    fn title(&self) -> String {
        let source = &self.record.source.path;
        format!("{} on {}", self.record.model.title(), source.display())
    }

    fn facts(&self) -> Markup {
        let source = &self.record.source;
        let (n_trials, n_frames, _) = self.quantities.observed.dim();
        let seconds = n_frames as f64 * source.dt_s;
        let what = match source.continuous {
            true => (format!("{seconds:.0} s"), "one recording, in windows"),
            false => (
                format!("{n_trials} × {seconds:.1} s"),
                "trials, the longest",
            ),
        };
        let median = median(self.fits.iter().flatten().copied());
        let mut facts = vec![
            (source.neuron_ids.len().to_string(), "neurons"),
            (what.0, what.1),
            (format!("{:.1} Hz", 1.0 / source.dt_s), "frame rate"),
        ];
        if let Some(calibration) = &self.record.calibration {
            let learns = matches!(
                &self.record.model_config,
                ModelConfig::CountLadder(ladder) if ladder.learn_calcium
            );
            let how = match (learns, calibration.tau_is_estimated) {
                (true, _) => "indicator's decay, learned; median of neurons",
                (false, true) => "indicator's decay, estimated",
                (false, false) => "indicator's decay, given",
            };
            let tau_s = self.result.median_tau_s.unwrap_or(calibration.tau_s);
            facts.push((format!("{tau_s:.2} s"), how));
        }
        if let Some(median) = median {
            facts.push((format!("{median:.3}"), "median r² of neurons, held out"));
        }
        facts.push((
            format!(
                "{} in {:.0} s",
                self.result.steps, self.result.train_seconds
            ),
            "training steps",
        ));
        html! {
            div.facts {
                @for (value, name) in facts {
                    div { b { (value) } span { (name) } }
                }
            }
        }
    }

    fn settings(&self) -> Markup {
        let source = &self.record.source;
        let training = &self.record.training;
        let dynamics = self.record.model_config.dynamics();
        let mut rows = vec![
            (
                "recording",
                format!("{} ({})", source.path.display(), source.dataset),
            ),
            ("SHA-256", source.sha256.clone()),
            (
                "sizes",
                format!(
                    "{} factors, generator {}, encoder {}, initial condition {}",
                    dynamics.n_factors, dynamics.n_generator, dynamics.n_encoder, dynamics.n_ic
                ),
            ),
            (
                "training",
                format!(
                    "{} steps of {} trials, seed {}, {} posterior samples",
                    training.n_steps,
                    training.batch_size,
                    self.record.config.seed,
                    self.record.config.n_samples
                ),
            ),
            ("held out", self.record.held_out.describe()),
            ("program", self.result.version.clone()),
        ];
        if self.result.recoveries > 0 {
            rows.push(("recoveries", self.result.recoveries.to_string()));
        }
        section(
            "Settings",
            &html! { "All of them are in run.json and config.toml." },
            &html! {
                table {
                    @for (name, value) in rows {
                        tr { td { (name) } td { (value) } }
                    }
                }
            },
        )
    }
}

impl Quantities {
    fn of(results: &Arrays) -> Result<Self> {
        let cube = |name: &str| -> Result<Array3<f32>> {
            let array = results.require(name)?.clone();
            let array = array.into_dimensionality::<Ix3>();
            array.with_context(|| format!("`{name}` must be [trial, time, neuron]"))
        };
        let optional = |name: &str| results.arrays.contains_key(name).then(|| cube(name));
        let held_out = results.require("held_out")?.clone();
        Ok(Self {
            observed: cube("observed")?,
            fluor: optional("fluor").transpose()?,
            spikes: optional("spikes").transpose()?,
            rates: cube("rates")?,
            factors: cube("factors")?,
            inputs: match optional("inputs").transpose()? {
                Some(mean) => Some([mean, cube("inputs_sd")?]),
                None => None,
            },
            external: optional("external_inputs").transpose()?,
            share: match results.arrays.get("factor_variance") {
                Some(share) => share.values.iter().copied().collect(),
                None => Vec::new(),
            },
            held_out: held_out
                .into_dimensionality::<Ix2>()
                .context("`held_out` must be [trial, time]")?,
        })
    }

    /// r² of each neuron on the held-out frames: of its fluorescence or, for models of counts,
    /// of its counts and rates.
    fn fits(&self, dt_s: f64) -> Result<Vec<Option<f64>>> {
        let counts = || self.rates.mapv(|rate| rate * dt_s as f32);
        let inferred = self.fluor.clone().unwrap_or_else(counts);
        let held_out = self.held_out.mapv(|v| v > 0.5);
        let comparison = Comparison::new(inferred.view(), self.observed.view())?;
        let fits = comparison.within(held_out.view())?.per_neuron();
        Ok(fits.into_iter().map(|fit| Some(fit?.r2)).collect())
    }
}

impl Example {
    /// Three hundred frames: the held-out trial, or the stretch around a held-out window, whose
    /// population is most active.
    fn of(quantities: &Quantities) -> Self {
        const N_FRAMES: usize = 300;
        let rates = &quantities.rates;
        let (n_trials, n_frames, n_neurons) = rates.dim();
        let n_shown = n_frames.min(N_FRAMES);
        let activity = |trial: usize, start: usize| -> f32 {
            let held_out = &quantities.held_out;
            let frames = (start..start + n_shown).filter(|&bin| held_out[[trial, bin]] > 0.5);
            let sum: f32 = frames
                .map(|bin| {
                    rates
                        .slice(ndarray::s![trial, bin, ..])
                        .iter()
                        .filter(|r| r.is_finite())
                        .sum::<f32>()
                })
                .sum();
            sum
        };
        let starts = (0..n_trials).flat_map(|trial| {
            let last = n_frames - n_shown;
            (0..=last)
                .step_by((n_shown / 2).max(1))
                .map(move |start| (trial, start))
        });
        let best = starts
            .map(|(trial, start)| (activity(trial, start), trial, start))
            .max_by(|a, b| a.0.total_cmp(&b.0));
        let (_, trial, start) = best.unwrap_or((0.0, 0, 0));
        let frames = start..start + n_shown;
        let shown = rates.index_axis(Axis(0), trial);
        let spread = |neuron: usize| {
            let values = shown.column(neuron);
            let values = frames
                .clone()
                .map(|bin| values[bin])
                .filter(|v| v.is_finite());
            let (n, sum, squares) = values.fold((0.0f32, 0.0f32, 0.0f32), |(n, s, q), v| {
                (n + 1.0, s + v, q + v * v)
            });
            squares / n.max(1.0) - (sum / n.max(1.0)).powi(2)
        };
        let mut neurons: Vec<usize> = (0..n_neurons).collect();
        neurons.sort_by(|&a, &b| spread(b).total_cmp(&spread(a)));
        Self {
            trial,
            frames,
            neurons,
        }
    }
}

fn section(title: &str, caption: &Markup, content: &Markup) -> Markup {
    html! {
        section { h2 { (title) } p { (caption) } (content) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fits_and_the_example_are_of_held_out_frames() {
        let observed =
            Array3::from_shape_fn((3, 40, 2), |(i, t, n)| ((5 * t + 3 * i + n) % 7) as f32);
        let mut rates =
            Array3::from_shape_fn((3, 40, 2), |(_, t, n)| ((3 * t * t + n) % 11) as f32);
        let unseen = observed.index_axis(Axis(0), 1).mapv(|count| count / 0.1);
        rates.index_axis_mut(Axis(0), 1).assign(&unseen);
        let quantities = Quantities {
            factors: rates.clone(),
            observed,
            rates,
            fluor: None,
            spikes: None,
            inputs: None,
            external: None,
            share: Vec::new(),
            held_out: Array2::from_shape_fn((3, 40), |(trial, _)| f32::from(trial == 1)),
        };
        for fit in quantities.fits(0.1).unwrap() {
            assert!(fit.unwrap() > 0.999, "{fit:?}");
        }
        assert_eq!(Example::of(&quantities).trial, 1);
    }
}
