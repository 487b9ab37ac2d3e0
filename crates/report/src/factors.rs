//! The factors: time courses, and the first three in space, turned with the pointer.

use std::fmt::Write as _;
use std::ops::Range;

use maud::{Markup, PreEscaped, html};
use ndarray::{Array3, ArrayView1, s};
use serde_json::json;

use crate::svg::{Panel, limits, picture, px};
use crate::{Report, section};

/// Points drawn in all.
const MAX_POINTS: usize = 6000;
/// Frames drawn before and after those of the example.
const MARGIN: usize = 300;
/// Parts of a line, each with the colour of its time.
const N_PARTS: usize = 8;
/// Factors whose time courses are shown.
const N_COURSES: usize = 8;
/// First view, as in the script.
const TURN: f64 = 0.6;
const TILT: f64 = 0.35;

impl Report<'_> {
    pub(super) fn orbits(&self) -> Markup {
        let lines = orbits(&self.quantities.factors, self.orbit_frames());
        let data = PreEscaped(json!(lines).to_string());
        let title = "factors in three dimensions; arrow keys turn them";
        let n = self.quantities.factors.dim().2;
        let which = match self.record.source.continuous {
            true => "some frames before and after the traces above",
            false => "one line per trial",
        };
        section(
            "Factors",
            &html! {
                "Principal components of the log-rates that " (n) " factors explain, the largest first, each with its largest loading positive."
            },
            &html! {
                (self.courses())
                p {
                    "The first three in space: " (which) ", from early (blue) to late (orange); grey: their axes. "
                    "Drag to turn, or use the arrow keys; Home goes back."
                }
                svg #orbits tabindex="0" viewBox="0 0 1060 420" role="img" aria-label=(title) {
                    @for (index, line) in lines.iter().enumerate() {
                        path class=(class(index)) d=(path(line)) {}
                    }
                    @for (axis, line) in lines.iter().enumerate().take(3) {
                        @let (x, y) = end(line);
                        text.orbit-label x=(px(x)) y=(px(y)) { (axis + 1) }
                    }
                }
                script type="application/json" #orbit-data { (data) }
            },
        )
    }

    /// The factors over the time of the traces above, all on one scale.
    fn courses(&self) -> Markup {
        const ROW: f64 = 54.0;
        let factors = &self.quantities.factors;
        let n_shown = factors.dim().2.min(N_COURSES);
        let all = (0..n_shown).flat_map(|factor| self.values(factors, factor));
        let y = limits(all, 0.03);
        let height = 12.0 + ROW * n_shown as f64 + 34.0;
        let panel = |top: f64, height: f64| Panel {
            place: [70.0, top, 900.0, height],
            x: self.time_limits(),
            y,
        };
        let content = html! {
            @for factor in 0..n_shown {
                @let row = panel(12.0 + ROW * factor as f64, ROW - 12.0);
                @let [left, top, _, height] = row.place;
                (self.held_out_bands(&row))
                path class="axis" d={ "M" (px(left)) " " (px(top)) "v" (px(height)) } {}
                text x="62" y=(px(top + 9.0)) text-anchor="end" { (format!("{:.1}", y[1])) }
                text x="62" y=(px(top + height)) text-anchor="end" { (format!("{:.1}", y[0])) }
                text.strong x="978" y=(px(top + 0.5 * height)) { (factor + 1) }
                @if let Some(share) = self.quantities.share.get(factor) {
                    text x="992" y=(px(top + 0.5 * height)) { (format!("{:.1} %", 100.0 * share)) }
                }
                (row.line("a", self.times().zip(self.values(factors, factor))))
            }
            (panel(height - 44.0, 0.0).axes("time, s; at the right each factor's share of the variance", ""))
        };
        picture(1060.0, height, "time courses of the factors", &content)
    }

    /// All frames of trials; of a long recording those around the example.
    fn orbit_frames(&self) -> Range<usize> {
        let n_bins = self.quantities.factors.dim().1;
        let shown = &self.example.frames;
        shown.start.saturating_sub(MARGIN)..(shown.end + MARGIN).min(n_bins)
    }
}

/// Lines of x, y, z, x, …, whole numbers, first the three axes; nearly all points lie within 100 of the centre, and so in the
/// picture however it is turned.
fn orbits(factors: &Array3<f32>, frames: Range<usize>) -> Vec<Vec<i32>> {
    let n_trials = factors.dim().0;
    let n_shown = (MAX_POINTS / frames.len().max(1)).clamp(1, n_trials);
    let is_finite = |row: &ArrayView1<'_, f32>| row.iter().all(|f| f.is_finite());
    let rows: Vec<ArrayView1<'_, f32>> = factors.rows().into_iter().filter(is_finite).collect();
    let middle = [0, 1, 2].map(|axis| {
        let values = rows.iter().filter_map(|row| row.get(axis));
        values.map(|&x| f64::from(x)).sum::<f64>() / rows.len().max(1) as f64
    });
    let place = |row: ArrayView1<'_, f32>| {
        [0, 1, 2].map(|axis| row.get(axis).map_or(0.0, |&x| f64::from(x) - middle[axis]))
    };
    let stride = (n_trials / n_shown).max(1);
    let lines: Vec<Vec<f64>> = (0..n_trials)
        .step_by(stride)
        .take(n_shown)
        .map(|trial| {
            frames
                .clone()
                .map(|bin| factors.slice(s![trial, bin, ..]))
                .filter(is_finite)
                .flat_map(place)
                .collect()
        })
        .collect();
    let distance = |point: &[f64]| point.iter().map(|x| x * x).sum::<f64>().sqrt();
    let points = lines.iter().flat_map(|line| line.chunks_exact(3));
    let mut sizes: Vec<f64> = points.map(distance).collect();
    sizes.sort_unstable_by(f64::total_cmp);
    // A few far points, such as those of a first bin, should not make all others small.
    let reach = sizes
        .get(sizes.len() * 995 / 1000)
        .map_or(1.0, |&r| r.max(1e-9));
    let scaled = |line: &Vec<f64>| -> Vec<i32> {
        line.iter()
            .map(|x| (100.0 * x / reach).round() as i32)
            .collect()
    };
    let axes = [0, 1, 2].map(|axis| {
        let mut line = vec![0; 6];
        (line[axis], line[axis + 3]) = (-100, 100);
        line
    });
    let parts = lines.iter().map(scaled).flat_map(|line| parts(&line));
    axes.into_iter().chain(parts).collect()
}

/// A line in parts of about equal length, each beginning where the one before ends.
fn parts(line: &[i32]) -> Vec<Vec<i32>> {
    let n_points = line.len() / 3;
    let at = |part: usize| part * n_points.saturating_sub(1) / N_PARTS;
    let part = |part: usize| line[3 * at(part)..(3 * (at(part + 1) + 1)).min(line.len())].to_vec();
    (0..N_PARTS).map(part).collect()
}

/// Of an axis, or of a part of a line by its time.
fn class(index: usize) -> String {
    match index.checked_sub(3) {
        None => "orbit orbit-axis".into(),
        Some(part) => format!("orbit time-{}", part % N_PARTS),
    }
}

/// How a line looks at first.
fn path(line: &[i32]) -> String {
    let mut d = String::new();
    for (k, point) in line.chunks_exact(3).enumerate() {
        let command = if k == 0 { 'M' } else { 'L' };
        let (x, y) = seen(point);
        // Writing to a `String` cannot fail.
        let _ = write!(d, "{command}{x:.1} {y:.1}");
    }
    d
}

/// Where a line ends at first.
fn end(line: &[i32]) -> (f64, f64) {
    line.rchunks_exact(3).next().map_or((0.0, 0.0), seen)
}

/// Where a point is seen at first.
fn seen(point: &[i32]) -> (f64, f64) {
    let [turn, tilt] = [TURN, TILT];
    let [x, y, z] = [point[0], point[1], point[2]].map(f64::from);
    let across = turn.cos() * x + turn.sin() * y;
    let away = turn.cos() * y - turn.sin() * x;
    let up = tilt.cos() * z + tilt.sin() * away;
    (530.0 + 1.764 * across, 210.0 - 1.764 * up)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orbits_stay_in_the_picture() {
        // The corners of a cube are farther from its centre than its faces.
        let corner = |trial: usize, factor: usize| f32::from((trial >> factor) & 1 == 1);
        let factors = Array3::from_shape_fn((8, 4, 3), |(trial, _, factor)| corner(trial, factor));
        let lines = orbits(&factors, 0..4);
        assert_eq!(lines.len(), 3 + 8 * N_PARTS);
        assert_eq!(lines[1], [0, -100, 0, 0, 100, 0]);
        for point in lines[3..].iter().flat_map(|line| line.chunks_exact(3)) {
            let distance = point.iter().map(|x| f64::from(x * x)).sum::<f64>().sqrt();
            assert!((distance - 100.0).abs() < 1.0, "{point:?}");
        }
    }

    #[test]
    fn parts_are_joined_and_lose_nothing() {
        for n in [1, 2, 5, 40] {
            let line: Vec<i32> = (0..3 * n).collect();
            let parts = parts(&line);
            assert_eq!(parts.len(), N_PARTS);
            assert!(
                parts
                    .windows(2)
                    .all(|pair| pair[0].ends_with(&pair[1][..3]))
            );
            assert!(
                parts[0].starts_with(&line[..3])
                    && parts[N_PARTS - 1].ends_with(&line[line.len() - 3..])
            );
        }
    }
}
