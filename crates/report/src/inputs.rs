//! Inputs over time, the known ones and the inferred with their spread: in the example, and the mean of all trials.

use maud::{Markup, html};
use ndarray::{Array3, Axis};

use crate::charts::legend;
use crate::svg::{Panel, limits, picture, px};
use crate::{Report, section};

/// Height of an input's row.
const ROW: f64 = 96.0;

impl Report<'_> {
    /// Nothing where the model has no inputs.
    pub(super) fn inputs(&self) -> Markup {
        let (known, inferred) = (&self.quantities.external, &self.quantities.inputs);
        let title = match (known, inferred) {
            (None, None) => return Markup::default(),
            (Some(_), None) => "Known inputs",
            (None, Some(_)) => "Inferred inputs",
            (Some(_), Some(_)) => "Inputs, known and inferred",
        };
        let count = |values: &Array3<f32>| values.dim().2;
        let n_known = known.as_ref().map_or(0, count);
        let n_inferred = inferred.as_ref().map_or(0, |[mean, _]| count(mean));
        let top = |row: usize| 12.0 + ROW * row as f64;
        let height = top(n_known + n_inferred) + 34.0;
        let axis = |left: f64, width: f64, x: [f64; 2]| Panel {
            place: [left, height - 44.0, width, 0.0],
            x,
            y: [0.0, 1.0],
        };
        let means = inferred.as_ref().map(|[mean, _]| mean);
        let trials = means.filter(|mean| mean.dim().0 > 1).map(energy);
        let example_width = if trials.is_some() { 590.0 } else { 900.0 };
        let content = html! {
            @if let Some(known) = known {
                @for input in 0..n_known {
                    (self.known_row([top(input), example_width], known, input))
                }
            }
            @if let Some(inferred) = inferred {
                @for input in 0..n_inferred {
                    (self.input_row([top(n_known + input), example_width], inferred, input))
                }
            }
            (axis(70.0, example_width, self.time_limits()).axes("time, s", ""))
            @if let Some(energy) = &trials {
                @let x = [0.0, energy.len() as f64 * self.record.source.dt_s];
                @let panel = Panel {
                    place: [740.0, 12.0, 260.0, height - 56.0],
                    x,
                    y: limits(energy.iter().copied().chain([0.0]), 0.03),
                };
                (panel.axes("time in the trial, s", "|u|²"))
                (panel.line("a", self.trial_times().zip(energy.iter().copied())))
            }
        };
        let caption = html! {
            "What drives the dynamics from outside"
            @if n_known > 0 { ", as it was given" }
            @if n_inferred > 0 { ", as the model infers it, in arbitrary units" }
            "; shaded grey where held out"
            @if trials.is_some() { ". Right: the mean of their squares over all trials, by the time in the trial" }
            "."
            @if n_known > 0 { (legend(&[("a", "known")])) }
            @if n_inferred > 0 {
                (legend(&[("b", "mean of the posterior"), ("trace", "one standard deviation about it")]))
            }
        };
        section(
            title,
            &caption,
            &picture(1060.0, height, "inputs to the dynamics", &content),
        )
    }

    fn known_row(&self, [top, width]: [f64; 2], known: &Array3<f32>, input: usize) -> Markup {
        let values = || self.values(known, input);
        let panel = self.row(top, width, limits(values(), 0.03));
        let record = self.record.external.as_ref();
        let name = record.and_then(|record| record.names.get(input));
        html! {
            (self.held_out_bands(&panel))
            (panel.line("a", self.times().zip(values())))
            text.strong x="62" y=(px(top + 0.5 * ROW - 8.0)) text-anchor="end" {
                (name.map_or("known", String::as_str))
            }
        }
    }

    fn row(&self, top: f64, width: f64, y: [f64; 2]) -> Panel {
        Panel {
            place: [70.0, top, width, ROW - 22.0],
            x: self.time_limits(),
            y,
        }
    }

    fn input_row(
        &self,
        [top, width]: [f64; 2],
        [mean, sd]: &[Array3<f32>; 2],
        input: usize,
    ) -> Markup {
        let (means, sds) = (self.values(mean, input), self.values(sd, input));
        let low = means.clone().zip(sds.clone()).map(|(mean, sd)| mean - sd);
        let high = means.clone().zip(sds).map(|(mean, sd)| mean + sd);
        let both = low.clone().chain(high.clone());
        let panel = self.row(top, width, limits(both, 0.03));
        html! {
            (self.held_out_bands(&panel))
            (panel.line("trace", self.times().zip(low)))
            (panel.line("trace", self.times().zip(high)))
            (panel.line("b", self.times().zip(means)))
            text.strong x="62" y=(px(top + 0.5 * ROW - 8.0)) text-anchor="end" { "input " (input) }
        }
    }

    fn trial_times(&self) -> impl Iterator<Item = f64> + '_ {
        let dt_s = self.record.source.dt_s;
        (0..).map(move |bin| f64::from(bin) * dt_s)
    }
}

/// Σ over inputs of the square, mean over the trials that have the bin.
fn energy(mean: &Array3<f32>) -> Vec<f64> {
    let of_bin = |bin: ndarray::ArrayView2<'_, f32>| {
        let trials = bin.outer_iter();
        let energies = trials.map(|u| u.iter().map(|&u| f64::from(u) * f64::from(u)).sum::<f64>());
        let (n, sum) = energies
            .filter(|energy| energy.is_finite())
            .fold((0.0, 0.0), |(n, sum), energy| (n + 1.0, sum + energy));
        sum / f64::max(n, 1.0)
    };
    mean.axis_iter(Axis(1)).map(of_bin).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn energy_is_of_the_trials_that_have_the_bin() {
        let mut mean = Array3::from_shape_fn((2, 2, 2), |(trial, bin, input)| {
            (trial + 2 * bin + input) as f32
        });
        assert_eq!(energy(&mean), [3.0, 19.0]);
        mean[[1, 1, 0]] = f32::NAN;
        assert_eq!(energy(&mean), [3.0, 13.0]);
    }
}
