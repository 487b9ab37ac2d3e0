//! Small SVG charts: lines, rasters, bars; colours come from the page's style.

use std::fmt::Write as _;

use maud::{Markup, html};

/// Points of a long line that are drawn: more than pixels are wasted.
const MAX_POINTS: usize = 1200;

/// A rectangle in which data are drawn, with the data's limits.
#[derive(Clone, Copy, Debug)]
pub struct Panel {
    /// Left, top, width, height, in pixels.
    pub place: [f64; 4],
    /// Least and greatest x.
    pub x: [f64; 2],
    /// Least and greatest y.
    pub y: [f64; 2],
}

impl Panel {
    fn at(&self, x: f64, y: f64) -> (f64, f64) {
        let [left, top, width, height] = self.place;
        let share = |value: f64, [least, greatest]: [f64; 2]| {
            (value - least) / (greatest - least).max(f64::MIN_POSITIVE)
        };
        (
            left + width * share(x, self.x),
            top + height * (1.0 - share(y, self.y)),
        )
    }

    /// A line of style `class` through `(x, y)`; a gap wherever a value is missing, and a dot between two
    /// gaps.
    pub fn line(&self, class: &str, points: impl Iterator<Item = (f64, f64)>) -> Markup {
        let mut path = String::new();
        let points = thinned(points);
        for stretch in points.split(|(_, y)| !y.is_finite()) {
            for (place, &(x, y)) in stretch.iter().enumerate() {
                let (x, y) = self.at(x, y);
                let command = if place > 0 { 'L' } else { 'M' };
                // Writing to a `String` cannot fail.
                let _ = write!(path, "{command}{x:.1} {y:.1}");
            }
            if stretch.len() == 1 {
                // No length, but round ends.
                path.push_str("h0");
            }
        }
        html! { path class=(class) stroke-linecap="round" d=(path) {} }
    }

    /// Vertical strokes of `height` data units at `(x, y)`.
    pub fn ticks(
        &self,
        class: &str,
        height: f64,
        points: impl Iterator<Item = (f64, f64)>,
    ) -> Markup {
        let mut path = String::new();
        for (x, y) in points {
            let (x, bottom) = self.at(x, y - 0.5 * height);
            let (_, top) = self.at(0.0, y + 0.5 * height);
            let _ = write!(path, "M{x:.1} {bottom:.1}V{top:.1}");
        }
        html! { path class=(class) d=(path) {} }
    }

    /// Circles.
    pub fn dots(
        &self,
        class: &str,
        radius: f64,
        points: impl Iterator<Item = (f64, f64)>,
    ) -> Markup {
        let points = points.map(|(x, y)| self.at(x, y));
        html! {
            @for (x, y) in points {
                circle class=(class) cx=(px(x)) cy=(px(y)) r=(radius) {}
            }
        }
    }

    /// Both axes with round numbers, and their names.
    pub fn axes(&self, x_name: &str, y_name: &str) -> Markup {
        let [left, top, width, height] = self.place;
        let (right, bottom) = (left + width, top + height);
        let n_values = if height > 0.0 { height / 32.0 } else { 0.0 };
        html! {
            path class="axis" d={ "M" (px(left)) " " (px(top)) "V" (px(bottom)) "H" (px(right)) } {}
            @for value in round_numbers(self.x, width / 70.0) {
                @let x = px(self.at(value, 0.0).0);
                path class="axis" d={ "M" (x) " " (px(bottom)) "v4" } {}
                text x=(x) y=(px(bottom + 17.0)) text-anchor="middle" { (label(value)) }
            }
            @for value in round_numbers(self.y, n_values) {
                @let y = self.at(0.0, value).1;
                path class="grid" d={ "M" (px(left)) " " (px(y)) "h" (px(width)) } {}
                text x=(px(left - 6.0)) y=(px(y + 4.0)) text-anchor="end" { (label(value)) }
            }
            text.name x=(px(right)) y=(px(bottom + 33.0)) text-anchor="end" { (x_name) }
            text.name x=(px(left - 40.0)) y=(px(top - 8.0)) { (y_name) }
        }
    }
}

/// An SVG picture that scales with the page.
pub fn picture(width: f64, height: f64, title: &str, content: &Markup) -> Markup {
    html! {
        svg viewBox={ "0 0 " (width) " " (height) } role="img" aria-label=(title) { (content) }
    }
}

/// A length or place in pixels.
pub fn px(value: f64) -> String {
    format!("{value:.1}")
}

/// Least and greatest of what is finite, with a margin of `margin` of the range.
pub fn limits(values: impl Iterator<Item = f64>, margin: f64) -> [f64; 2] {
    let mut limits = [f64::INFINITY, f64::NEG_INFINITY];
    for value in values.filter(|v| v.is_finite()) {
        limits = [limits[0].min(value), limits[1].max(value)];
    }
    if limits[0] > limits[1] {
        return [0.0, 1.0];
    }
    let extra = (margin * (limits[1] - limits[0])).max(1e-9 * limits[1].abs().max(1e-9));
    [limits[0] - extra, limits[1] + extra]
}

/// A line with at most about [`MAX_POINTS`] points: of each bundle its least and greatest.
fn thinned(points: impl Iterator<Item = (f64, f64)>) -> Vec<(f64, f64)> {
    let points: Vec<(f64, f64)> = points.collect();
    let bundle = 2 * points.len().div_ceil(MAX_POINTS);
    if bundle <= 2 {
        return points;
    }
    let extremes = |bundle: &[(f64, f64)]| {
        let by_value = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
        let least = bundle.iter().min_by(by_value).copied();
        let greatest = bundle.iter().max_by(by_value).copied();
        let mut both: Vec<(f64, f64)> = least.into_iter().chain(greatest).collect();
        both.sort_by(|a, b| a.0.total_cmp(&b.0));
        both
    };
    points.chunks(bundle).flat_map(extremes).collect()
}

/// Multiples of 1, 2 or 5 times a power of ten, about `n` of them; none for an
/// axis without length.
fn round_numbers([least, greatest]: [f64; 2], n: f64) -> Vec<f64> {
    if n <= 0.0 || greatest <= least {
        return Vec::new();
    }
    let rough = (greatest - least) / n.max(1.0);
    let power = 10.0_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|m| m * power)
        .find(|&step| step >= rough)
        .unwrap_or(rough);
    let first = (least / step).ceil() as i64;
    let last = (greatest / step).floor() as i64;
    (first..=last).take(50).map(|k| k as f64 * step).collect()
}

fn label(value: f64) -> String {
    let rounded = format!("{value:.4}");
    let trimmed = rounded.trim_end_matches('0').trim_end_matches('.');
    match trimmed {
        "-0" => "0".into(),
        _ => trimmed.replace('-', "−"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_get_round_numbers() {
        let numbers: Vec<String> = round_numbers([-0.13, 0.32], 5.0)
            .into_iter()
            .map(label)
            .collect();
        assert_eq!(numbers, ["−0.1", "0", "0.1", "0.2", "0.3"]);
    }

    #[test]
    fn a_thinned_line_keeps_its_peaks() {
        let points = (0..100_000).map(|t| (f64::from(t), f64::from(u8::from(t == 77_777))));
        let thin = thinned(points);
        assert!(thin.len() <= 2 * MAX_POINTS, "{}", thin.len());
        assert!(thin.contains(&(77_777.0, 1.0)));
    }

    #[test]
    fn names_are_text_whatever_is_in_them() {
        let panel = Panel {
            place: [0.0, 0.0, 100.0, 100.0],
            x: [0.0, 1.0],
            y: [0.0, 1.0],
        };
        let axes = panel.axes("<script>", "a & b");
        let page = picture(10.0, 10.0, "\"><script>", &axes).into_string();
        assert!(!page.contains("<script>"), "{page}");
        assert!(
            page.contains("&lt;script&gt;") && page.contains("a &amp; b"),
            "{page}"
        );
    }

    #[test]
    fn missing_values_lift_the_pen() {
        let panel = Panel {
            place: [0.0, 0.0, 100.0, 100.0],
            x: [0.0, 3.0],
            y: [0.0, 1.0],
        };
        let points = [(0.0, 0.0), (1.0, 1.0), (2.0, f64::NAN), (3.0, 0.0)];
        let line = panel.line("a", points.into_iter());
        assert_eq!(
            line.into_string(),
            "<path class=\"a\" stroke-linecap=\"round\" d=\"M0.0 100.0L33.3 0.0M100.0 100.0h0\"></path>"
        );
    }
}
