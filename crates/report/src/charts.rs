//! The page's charts: traces, population, neurons, losses.

use std::fmt::Write as _;

use maud::{Markup, html};
use model::Term;
use ndarray::{Array3, Axis};

use crate::svg::{Panel, limits, picture, px};
use crate::{Report, section};

/// Neurons whose traces are shown.
const N_TRACES: usize = 6;
/// Pixels that a raster is high, and a neuron in it, at most.
const RASTER: f64 = 900.0;
const NEURON: f64 = 14.0;
/// Shades of the rates.
const N_SHADES: usize = 10;

impl Report<'_> {
    /// Seconds of the example's frames.
    pub(super) fn times(&self) -> impl Iterator<Item = f64> + Clone + '_ {
        let dt_s = self.record.source.dt_s;
        self.example
            .frames
            .clone()
            .map(move |bin| bin as f64 * dt_s)
    }

    pub(super) fn time_limits(&self) -> [f64; 2] {
        let dt_s = self.record.source.dt_s;
        let frames = &self.example.frames;
        [frames.start as f64 * dt_s, frames.end as f64 * dt_s]
    }

    /// One neuron's values in the example.
    pub(super) fn values<'a>(
        &'a self,
        array: &'a Array3<f32>,
        neuron: usize,
    ) -> impl Iterator<Item = f64> + Clone + 'a {
        let trial = array.index_axis(Axis(0), self.example.trial);
        let frames = self.example.frames.clone();
        frames.map(move |bin| f64::from(trial[[bin, neuron]]))
    }

    /// Where the example's frames were held out, as bands.
    pub(super) fn held_out_bands(&self, panel: &Panel) -> Markup {
        let dt_s = self.record.source.dt_s;
        let held_out = self.quantities.held_out.row(self.example.trial);
        let [left, top, width, height] = panel.place;
        let x = |bin: usize| {
            let time = bin as f64 * dt_s;
            left + width * (time - panel.x[0]) / (panel.x[1] - panel.x[0])
        };
        let frames: Vec<usize> = self.example.frames.clone().collect();
        let stretches = frames.chunk_by(|&a, &b| (held_out[a] > 0.5) == (held_out[b] > 0.5));
        let bands = stretches
            .filter(|stretch| held_out[stretch[0]] > 0.5)
            .map(|stretch| (x(stretch[0]), x(stretch[stretch.len() - 1] + 1)));
        html! {
            @for (start, end) in bands {
                rect class="held" x=(px(start)) y=(px(top)) width=(px(end - start)) height=(px(height)) {}
            }
        }
    }

    pub(super) fn traces(&self) -> Markup {
        const ROW: f64 = 78.0;
        let shown = self.example.neurons.iter().take(N_TRACES);
        let height = 12.0 + ROW * shown.len() as f64 + 34.0;
        let axis = Panel {
            place: [70.0, height - 44.0, 900.0, 0.0],
            x: self.time_limits(),
            y: [0.0, 1.0],
        };
        let content = html! {
            @for (row, &neuron) in shown.enumerate() {
                (self.trace_row(12.0 + ROW * row as f64, ROW - 14.0, neuron))
            }
            (axis.axes("time, s", ""))
        };
        let caption = html! {
            "The six neurons that vary most, in "
            @match self.record.source.continuous {
                true => "a stretch of the recording",
                false => { "trial " (self.example.trial) }
            }
            ". Shaded: held out, never seen in training. Rates have their axis at the right."
            (legend(&self.trace_legend()))
        };
        let picture = picture(1060.0, height, "traces", &content);
        section("Traces", &caption, &picture)
    }

    fn trace_legend(&self) -> Vec<(&'static str, &'static str)> {
        let mut names = vec![("trace", "recorded")];
        if self.quantities.fluor.is_some() {
            names.push(("a", "inferred fluorescence"));
        }
        names.push(("b", "rate"));
        if self.quantities.spikes.is_some() {
            names.push(("spike", "spikes (strokes below)"));
        }
        names
    }

    fn trace_row(&self, top: f64, height: f64, neuron: usize) -> Markup {
        let observed = self.values(&self.quantities.observed, neuron);
        let fluor = self.quantities.fluor.as_ref();
        let fluor = fluor.map(|fluor| self.values(fluor, neuron));
        let both = observed.clone().chain(fluor.clone().into_iter().flatten());
        let panel = Panel {
            place: [70.0, top, 900.0, height - 16.0],
            x: self.time_limits(),
            y: limits(both, 0.03),
        };
        let rates = self.values(&self.quantities.rates, neuron);
        let greatest = limits(rates.clone(), 0.0)[1];
        let rate_panel = Panel {
            y: [0.0, 1.02 * greatest.max(1e-6)],
            ..panel
        };
        let id = &self.record.source.neuron_ids[neuron];
        let [_, _, width, room] = panel.place;
        let right = px(panel.place[0] + width);
        let (upper, lower) = (px(top + 0.5 * height - 8.0), px(top + 0.5 * height + 7.0));
        html! {
            (self.held_out_bands(&panel))
            (panel.line("trace wide", self.times().zip(observed)))
            @if let Some(fluor) = fluor {
                (panel.line("a", self.times().zip(fluor)))
            }
            (rate_panel.line("b", self.times().zip(rates)))
            (self.spike_strokes(&panel, neuron))
            text.strong x="62" y=(upper) text-anchor="end" { "neuron " (id) }
            @if let Some(r2) = self.fits[neuron] {
                text x="62" y=(lower) text-anchor="end" { (format!("r² {r2:.2}")) }
            }
            path class="axis" d={ "M" (right) " " (px(top)) "v" (px(room)) } {}
            text x="978" y=(px(top + 9.0)) { (format!("{greatest:.1} Hz")) }
            text x="978" y=(px(top + room)) { "0 Hz" }
        }
    }

    /// Strokes whose height is the count, below a trace.
    fn spike_strokes(&self, panel: &Panel, neuron: usize) -> Markup {
        let Some(spikes) = &self.quantities.spikes else {
            return Markup::default();
        };
        let [left, top, width, height] = panel.place;
        let mut path = String::new();
        for (time, count) in self.times().zip(self.values(spikes, neuron)) {
            if count > 0.1 {
                let x = left + width * (time - panel.x[0]) / (panel.x[1] - panel.x[0]);
                let length = 12.0 * count.min(2.0) / 2.0;
                // Writing to a `String` cannot fail.
                let _ = write!(path, "M{x:.1} {:.1}v-{length:.1}", top + height + 15.0);
            }
        }
        html! { path class="spike" d=(path) {} }
    }

    pub(super) fn population(&self) -> Markup {
        let n_neurons = self.example.neurons.len();
        let mut order = self.example.neurons.clone();
        let time_of_peak = |neuron: usize| {
            let rates = self.values(&self.quantities.rates, neuron);
            let peak = rates.enumerate().max_by(|a, b| a.1.total_cmp(&b.1));
            peak.map_or(0, |(bin, _)| bin)
        };
        order.sort_by_key(|&neuron| time_of_peak(neuron));
        let least = (RASTER / n_neurons as f64).min(3.0);
        let row = (300.0 / n_neurons as f64).clamp(least, NEURON);
        let height = row * n_neurons as f64;
        let panel = |left: f64| Panel {
            place: [left, 14.0, 455.0, height],
            x: self.time_limits(),
            y: [0.0, n_neurons as f64],
        };
        let content = html! {
            (self.raster(&panel(50.0), &order, row))
            (self.rate_shades(&panel(575.0), &order, row))
        };
        let caption = "All neurons, by the time of their highest rate. Left: inferred spikes. Right: rates, each neuron from its lowest (clear) to its highest (full).";
        section(
            "Population",
            &html! { (caption) },
            &picture(1060.0, height + 54.0, "raster and rates", &content),
        )
    }

    fn raster(&self, panel: &Panel, order: &[usize], row: f64) -> Markup {
        let source = match &self.quantities.spikes {
            Some(spikes) => spikes,
            None => &self.quantities.observed,
        };
        let points = |place: usize, neuron: usize| {
            let spikes = self.times().zip(self.values(source, neuron));
            let events = spikes.filter(|(_, count)| *count > 0.5);
            events.map(move |(time, _)| (time, place as f64 + 0.5))
        };
        let height = 0.8_f64.min(6.0 / row).max(0.6);
        html! {
            (panel.axes("time, s", "neuron"))
            @for (place, &neuron) in order.iter().enumerate() {
                (panel.ticks("spike", height, points(place, neuron)))
            }
        }
    }

    /// Rates as strokes of ten opacities: a picture without one element per frame.
    fn rate_shades(&self, panel: &Panel, order: &[usize], row: f64) -> Markup {
        let dt_s = self.record.source.dt_s;
        let mut paths = vec![String::new(); N_SHADES + 1];
        let [left, top, width, height] = panel.place;
        let pixels_per_s = width / (panel.x[1] - panel.x[0]);
        for (place, &neuron) in order.iter().enumerate() {
            let rates: Vec<f64> = self.values(&self.quantities.rates, neuron).collect();
            let [least, greatest] = limits(rates.iter().copied(), 0.0);
            let y = top + height - row * (place as f64 + 0.5);
            let shade = |rate: f64| match rate.is_finite() {
                true => (N_SHADES as f64 * (rate - least) / (greatest - least)).round() as usize,
                false => 0,
            };
            let mut bin = 0;
            while bin < rates.len() {
                let here = shade(rates[bin]);
                let same = rates[bin..].iter().take_while(|&&r| shade(r) == here);
                let length = same.count().max(1);
                let x = left + pixels_per_s * dt_s * bin as f64;
                let _ = write!(
                    paths[here.min(N_SHADES)],
                    "M{x:.1} {y:.1}h{:.1}",
                    pixels_per_s * dt_s * length as f64
                );
                bin += length;
            }
        }
        html! {
            (panel.axes("time, s", ""))
            @for (shade, path) in paths.iter().enumerate().skip(1) {
                @let opacity = shade as f64 / N_SHADES as f64;
                path class="a" style=(format!("stroke-width:{row:.1};stroke-opacity:{opacity:.2}")) d=(path) {}
            }
        }
    }

    pub(super) fn neurons(&self) -> Markup {
        let n_neurons = self.fits.len();
        let mut sorted: Vec<f64> = self.fits.iter().flatten().copied().collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let left = Panel {
            place: [60.0, 26.0, 430.0, 190.0],
            x: [0.0, n_neurons as f64 + 1.0],
            y: [0.0, 1.0],
        };
        let rank = |place: usize| place as f64 + 1.0;
        let ranked = sorted
            .iter()
            .enumerate()
            .map(|(place, &r2)| (rank(place), r2));
        let mean_rate = |neuron: usize| {
            let rates = self.quantities.rates.index_axis(Axis(2), neuron);
            let finite = rates.iter().filter(|r| r.is_finite());
            let (sum, n) = finite.fold((0.0, 0), |(s, n), &r| (s + f64::from(r), n + 1));
            sum / f64::from(n.max(1))
        };
        let points: Vec<(f64, f64)> = (0..n_neurons)
            .filter_map(|neuron| Some((mean_rate(neuron), self.fits[neuron]?)))
            .collect();
        let right = Panel {
            place: [600.0, 26.0, 430.0, 190.0],
            x: [0.0, 1.05 * limits(points.iter().map(|p| p.0), 0.0)[1]],
            y: [0.0, 1.0],
        };
        let content = html! {
            (left.axes("neurons, by fit", "r²"))
            (left.dots("a", 2.6, ranked))
            (right.axes("mean rate, Hz", "r²"))
            (right.dots("a", 2.6, points.into_iter()))
        };
        let what = match self.quantities.fluor {
            Some(_) => "inferred and recorded fluorescence; noise keeps it below 1",
            None => "inferred rates and recorded counts; spiking noise keeps it far below 1",
        };
        let caption = html! { "r² of " (what) ". Held-out frames only." };
        section(
            "Neurons",
            &caption,
            &picture(1060.0, 260.0, "fit of each neuron", &content),
        )
    }

    pub(super) fn losses(&self) -> Markup {
        let reports = &self.history.validations;
        let steps = || reports.iter().map(|report| report.step as f64);
        let held_out = reports.iter().map(|report| report.valid.negative_bound());
        let train = reports.iter().map(|report| report.train_loss);
        let x = [0.0, steps().fold(1.0, f64::max)];
        let late = reports.len() / 10;
        let shown = held_out.clone().skip(late).chain(train.clone().skip(late));
        let left = Panel {
            place: [70.0, 26.0, 420.0, 190.0],
            x,
            y: limits(shown, 0.08),
        };
        let clip = |value: f64| match (left.y[0]..=left.y[1]).contains(&value) {
            true => value,
            false => f64::NAN,
        };
        let kl = reports
            .iter()
            .map(|report| report.valid.get(Term::KlIc).unwrap_or(f64::NAN));
        let kl_inputs = reports
            .iter()
            .map(|report| report.valid.get(Term::KlInputs).unwrap_or(f64::NAN));
        let right = Panel {
            place: [610.0, 26.0, 420.0, 190.0],
            x,
            y: [0.0, limits(kl.clone().chain(kl_inputs.clone()), 0.08)[1]],
        };
        let content = html! {
            (left.axes("step", "nats per trial"))
            (left.line("trace", steps().zip(train.map(clip))))
            (left.line("a", steps().zip(held_out.map(clip))))
            (right.axes("step", "nats per trial"))
            (right.line("c", steps().zip(kl)))
            (right.line("b", steps().zip(kl_inputs)))
        };
        let caption = "Left: loss; the training loss has the penalties in it and, at first, the warm-up. Right: what the initial condition says of a trial; near 0 the dynamics have collapsed.";
        let mut names = vec![
            ("trace", "training"),
            ("a", "held out"),
            ("c", "KL of the initial condition"),
        ];
        if self.quantities.inputs.is_some() {
            names.push(("b", "KL of the inferred inputs"));
        }
        let caption = html! { (caption) (legend(&names)) };
        section(
            "Training",
            &caption,
            &picture(1060.0, 260.0, "losses", &content),
        )
    }
}

pub(super) fn legend(names: &[(&str, &str)]) -> Markup {
    html! {
        @for (class, name) in names {
            span class={ "key " (class) } {} (name)
        }
    }
}
