//! The page's charts: traces, population, neurons, losses.

use std::fmt::Write as _;

use model::Term;
use ndarray::{Array3, Axis};

use super::svg::{Panel, limits, picture};
use super::{Report, escape, section};

/// Neurons whose traces are shown.
const N_TRACES: usize = 6;
/// Neurons in the rasters.
const N_RASTER: usize = 80;
/// Shades of the rates.
const N_SHADES: usize = 10;

impl Report<'_> {
    /// Seconds of the example's frames.
    fn times(&self) -> impl Iterator<Item = f64> + Clone + '_ {
        let dt_s = self.record.source.dt_s;
        self.example
            .frames
            .clone()
            .map(move |bin| bin as f64 * dt_s)
    }

    fn time_limits(&self) -> [f64; 2] {
        let dt_s = self.record.source.dt_s;
        let frames = &self.example.frames;
        [frames.start as f64 * dt_s, frames.end as f64 * dt_s]
    }

    /// One neuron's values in the example.
    fn values<'a>(
        &'a self,
        array: &'a Array3<f32>,
        neuron: usize,
    ) -> impl Iterator<Item = f64> + Clone + 'a {
        let trial = array.index_axis(Axis(0), self.example.trial);
        let frames = self.example.frames.clone();
        frames.map(move |bin| f64::from(trial[[bin, neuron]]))
    }

    /// Where the example's frames were held out, as bands.
    fn held_out_bands(&self, panel: &Panel) -> String {
        let dt_s = self.record.source.dt_s;
        let held_out = self.quantities.held_out.row(self.example.trial);
        let [left, top, width, height] = panel.place;
        let x = |time: f64| left + width * (time - panel.x[0]) / (panel.x[1] - panel.x[0]);
        let mut bands = String::new();
        let mut start = None;
        for bin in self.example.frames.start..=self.example.frames.end {
            let is_in = bin < self.example.frames.end && held_out[bin] > 0.5;
            match (is_in, start) {
                (true, None) => start = Some(bin),
                (false, Some(first)) => {
                    let (a, b) = (x(first as f64 * dt_s), x(bin as f64 * dt_s));
                    let _ = writeln!(
                        bands,
                        "<rect class=\"held\" x=\"{a:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{height:.1}\"/>",
                        b - a
                    );
                    start = None;
                }
                _ => {}
            }
        }
        bands
    }

    pub(super) fn traces(&self) -> String {
        const ROW: f64 = 78.0;
        let shown = self.example.neurons.iter().take(N_TRACES);
        let mut content = String::new();
        for (row, &neuron) in shown.clone().enumerate() {
            content += &self.trace_row(12.0 + ROW * row as f64, ROW - 14.0, neuron);
        }
        let height = 12.0 + ROW * shown.len() as f64 + 34.0;
        let axis = Panel {
            place: [70.0, height - 44.0, 900.0, 0.0],
            x: self.time_limits(),
            y: [0.0, 1.0],
        };
        content += &axis.axes("time, s", "");
        let caption = format!(
            "The six neurons that vary most, {}. Shaded: held out, never seen in training.{}",
            match self.record.source.continuous {
                true => "in a stretch of the recording".to_owned(),
                false => format!("in trial {}", self.example.trial),
            },
            legend(&self.trace_legend())
        );
        section(
            "Traces",
            &caption,
            &picture(1060.0, height, "traces", &content),
        )
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

    fn trace_row(&self, top: f64, height: f64, neuron: usize) -> String {
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
        let id = escape(&self.record.source.neuron_ids[neuron]);
        let fit = self.fits[neuron].map_or_else(String::new, |r2| format!("r² {r2:.2}"));
        let mut out = self.held_out_bands(&panel);
        out += &panel.line("trace", self.times().zip(observed));
        if let Some(fluor) = fluor {
            out += &panel.line("a", self.times().zip(fluor));
        }
        out += &rate_panel.line("b", self.times().zip(rates));
        out += &self.spike_strokes(&panel, neuron);
        let middle = top + 0.5 * height;
        let _ = writeln!(
            out,
            "<text class=\"strong\" x=\"62\" y=\"{:.1}\" text-anchor=\"end\">neuron {id}</text>\
             <text x=\"62\" y=\"{:.1}\" text-anchor=\"end\">{fit}</text>\
             <text x=\"978\" y=\"{:.1}\">up to {greatest:.1} Hz</text>",
            middle - 8.0,
            middle + 7.0,
            middle - 8.0,
        );
        out
    }

    /// Strokes whose height is the count, below a trace.
    fn spike_strokes(&self, panel: &Panel, neuron: usize) -> String {
        let Some(spikes) = &self.quantities.spikes else {
            return String::new();
        };
        let [left, top, width, height] = panel.place;
        let mut path = String::new();
        for (time, count) in self.times().zip(self.values(spikes, neuron)) {
            if count > 0.1 {
                let x = left + width * (time - panel.x[0]) / (panel.x[1] - panel.x[0]);
                let length = 12.0 * count.min(2.0) / 2.0;
                let _ = write!(path, "M{x:.1} {:.1}v-{length:.1}", top + height + 15.0);
            }
        }
        format!("<path class=\"spike\" d=\"{path}\"/>\n")
    }

    pub(super) fn population(&self) -> String {
        let n_neurons = self.example.neurons.len();
        let n_shown = n_neurons.min(N_RASTER);
        let mut order = self.example.neurons[..n_shown].to_vec();
        let time_of_peak = |neuron: usize| {
            let rates = self.values(&self.quantities.rates, neuron);
            let peak = rates.enumerate().max_by(|a, b| a.1.total_cmp(&b.1));
            peak.map_or(0, |(bin, _)| bin)
        };
        order.sort_by_key(|&neuron| time_of_peak(neuron));
        let row = (300.0 / n_shown as f64).clamp(3.0, 14.0);
        let height = row * n_shown as f64;
        let panel = |left: f64| Panel {
            place: [left, 14.0, 455.0, height],
            x: self.time_limits(),
            y: [0.0, n_shown as f64],
        };
        let mut content = self.raster(&panel(50.0), &order, row);
        content += &self.rate_shades(&panel(575.0), &order, row);
        let caption = "Neurons by the time of their highest rate. Left: inferred spikes. Right: rates, each neuron from its lowest (clear) to its highest (full).";
        section(
            "Population",
            caption,
            &picture(1060.0, height + 54.0, "raster and rates", &content),
        )
    }

    fn raster(&self, panel: &Panel, order: &[usize], row: f64) -> String {
        let mut out = panel.axes("time, s", "neuron");
        let source = match &self.quantities.spikes {
            Some(spikes) => spikes,
            None => &self.quantities.observed,
        };
        for (place, &neuron) in order.iter().enumerate() {
            let spikes = self.times().zip(self.values(source, neuron));
            let events = spikes.filter(|(_, count)| *count > 0.5);
            let points = events.map(|(time, _)| (time, place as f64 + 0.5));
            out += &panel.ticks("spike", 0.8_f64.min(6.0 / row).max(0.6), points);
        }
        out
    }

    /// Rates as strokes of ten opacities: a picture without one element per frame.
    fn rate_shades(&self, panel: &Panel, order: &[usize], row: f64) -> String {
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
        let mut out = panel.axes("time, s", "");
        for (shade, path) in paths.iter().enumerate().skip(1) {
            let opacity = shade as f64 / N_SHADES as f64;
            let _ = writeln!(
                out,
                "<path class=\"a\" style=\"stroke-width:{row:.1};stroke-opacity:{opacity:.2}\" d=\"{path}\"/>"
            );
        }
        out
    }

    pub(super) fn neurons(&self) -> String {
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
        let mut content = left.axes("neurons, by fit", "r²");
        content += &left.dots("a", 2.6, ranked);
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
        content += &right.axes("mean rate, Hz", "r²");
        content += &right.dots("a", 2.6, points.into_iter());
        let what = match self.quantities.fluor {
            Some(_) => "inferred and recorded fluorescence; noise keeps it below 1",
            None => "inferred rates and recorded counts; spiking noise keeps it far below 1",
        };
        let caption = format!("r² of {what}. Held-out frames only.");
        section(
            "Neurons",
            &caption,
            &picture(1060.0, 260.0, "fit of each neuron", &content),
        )
    }

    pub(super) fn losses(&self) -> String {
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
        let mut content = left.axes("step", "nats per trial");
        content += &left.line("trace", steps().zip(train.map(clip)));
        content += &left.line("a", steps().zip(held_out.map(clip)));
        let kl = reports
            .iter()
            .map(|report| report.valid.get(Term::KlIc).unwrap_or(f64::NAN));
        let right = Panel {
            place: [610.0, 26.0, 420.0, 190.0],
            x,
            y: [0.0, limits(kl.clone(), 0.08)[1]],
        };
        content += &right.axes("step", "nats per trial");
        content += &right.line("c", steps().zip(kl));
        let caption = format!(
            "Left: loss; the training loss has the penalties in it and, at first, the warm-up. Right: what the initial condition says of a trial; near 0 the dynamics have collapsed.{}",
            legend(&[
                ("trace", "training"),
                ("a", "held out"),
                ("c", "KL of the initial condition")
            ])
        );
        section(
            "Training",
            &caption,
            &picture(1060.0, 260.0, "losses", &content),
        )
    }
}

fn legend(names: &[(&str, &str)]) -> String {
    let key = |(class, name): &(&str, &str)| format!("<span class=\"key {class}\"></span>{name}");
    names.iter().map(key).collect()
}
