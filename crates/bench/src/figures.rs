//! The paper's Figure 2: example traces, rates, spikes and dynamics of one held-out trial.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};
use serde::{Deserialize, Serialize};

use runs::store::write_atomically;

/// Width and height in pixels.
const SIZE: (u32, u32) = (1800, 1100);
const TIME_AXIS_HEIGHT: u32 = 45;
/// Between a panel's time axis and the title below.
const PANEL_GAP: i32 = 18;
/// The truth shows as an edge around a reconstruction that covers it.
const TRUTH_WIDTH: u32 = 4;
const INFERRED_WIDTH: u32 = 2;
const TRUTH: RGBColor = RGBColor(214, 39, 40);
const INFERRED: RGBColor = RGBColor(31, 119, 180);
pub const FONT: &str = "sans-serif";
const FONT_FILE: &[u8] = include_bytes!("../fonts/DejaVuSans-subset.ttf");

/// One held-out trial as the figure shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Example {
    pub dt_s: f64,
    /// Index among the held-out trials.
    pub trial: usize,
    /// The neurons shown.
    pub neurons: Vec<usize>,
    pub fluorescence: Pair,
    pub rates_hz: Pair,
    pub spikes: Pair,
    /// The three Lorenz coordinates.
    pub lorenz: Pair,
}

/// Truth and reconstruction, `[neuron or coordinate][time]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    pub truth: Vec<Vec<f32>>,
    pub inferred: Vec<Vec<f32>>,
}

impl Pair {
    /// Smallest and largest value of series `index`, truth and reconstruction together, with some room.
    fn range(&self, index: usize) -> (f64, f64) {
        let values = self.truth[index].iter().chain(&self.inferred[index]);
        let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &v| {
            (low.min(f64::from(v)), high.max(f64::from(v)))
        });
        let room = ((high - low) * 0.05).max(1e-3);
        (low - room, high + room)
    }

    fn both(&self, index: usize) -> [(&[f32], ShapeStyle); 2] {
        [
            (&self.truth[index], TRUTH.stroke_width(TRUTH_WIDTH)),
            (&self.inferred[index], INFERRED.stroke_width(INFERRED_WIDTH)),
        ]
    }
}

/// Writes `figure2.svg` and `figure2.png` into `folder`; the legend names the `model`.
pub fn write(example: &Example, model: &str, folder: &Path) -> Result<()> {
    register_fonts()?;
    write_atomically(&folder.join("figure2.svg"), svg(example, model)?.as_bytes())?;
    write_atomically(&folder.join("figure2.png"), &png(example, model)?)
}

/// Makes [`FONT`] known to the plotting library.
pub fn register_fonts() -> Result<()> {
    register_font(FONT, FontStyle::Normal, FONT_FILE)
        .map_err(|_| anyhow!("the built-in font is damaged"))
}

fn svg(example: &Example, model: &str) -> Result<String> {
    let mut text = String::new();
    draw(
        example,
        model,
        &SVGBackend::with_string(&mut text, SIZE).into_drawing_area(),
    )?;
    Ok(text)
}

fn png(example: &Example, model: &str) -> Result<Vec<u8>> {
    let (width, height) = SIZE;
    let mut pixels = vec![0; (width * height * 3) as usize];
    draw(
        example,
        model,
        &BitMapBackend::with_buffer(&mut pixels, SIZE).into_drawing_area(),
    )?;
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header()?.write_image_data(&pixels)?;
    Ok(bytes)
}

type Area<'a, B> = DrawingArea<B, Shift>;

fn draw<B: DrawingBackend>(example: &Example, model: &str, root: &Area<B>) -> Result<()>
where
    B::ErrorType: 'static,
{
    root.fill(&WHITE)?;
    let root = root.margin(10, 10, 10, 10);
    let (left, right) = root.split_horizontally(1080);
    let neurons: Vec<String> = example
        .neurons
        .iter()
        .map(|n| format!("neuron {n}"))
        .collect();
    let contents = [
        ("A  Fluorescence", &example.fluorescence),
        ("B  Rates, Hz", &example.rates_hz),
        ("C  Spikes per bin", &example.spikes),
    ];
    for (panel, (title, pair)) in left.split_evenly((3, 1)).iter().zip(contents) {
        draw_traces(
            &panel.margin(0, PANEL_GAP, 0, 0).titled(title, (FONT, 26))?,
            pair,
            &neurons,
            example.dt_s,
        )?;
    }
    let (space, time) = right
        .titled("D  Lorenz dynamics", (FONT, 26))?
        .split_vertically(640);
    draw_trajectory(&space, &example.lorenz)?;
    draw_legend(&space, model)?;
    let coordinates = ["x", "y", "z"].map(String::from);
    draw_traces(&time, &example.lorenz, &coordinates, example.dt_s)?;
    root.present()?;
    Ok(())
}

/// One small chart per series, one above the other over a common time axis.
fn draw_traces<B: DrawingBackend>(
    panel: &Area<B>,
    pair: &Pair,
    names: &[String],
    dt_s: f64,
) -> Result<()>
where
    B::ErrorType: 'static,
{
    let (_, height) = panel.dim_in_pixel();
    let chart_height = height.saturating_sub(TIME_AXIS_HEIGHT) as usize / names.len();
    let mut rest = panel.clone();
    for (index, name) in names.iter().enumerate() {
        let is_last = index + 1 == names.len();
        let area = if is_last {
            rest.clone()
        } else {
            let (area, below) = rest.split_vertically(chart_height as i32);
            rest = below;
            area
        };
        draw_trace(
            &area,
            &pair.both(index),
            pair.range(index),
            name,
            dt_s,
            is_last,
        )?;
    }
    Ok(())
}

fn draw_trace<B: DrawingBackend>(
    area: &Area<B>,
    both: &[(&[f32], ShapeStyle); 2],
    (low, high): (f64, f64),
    name: &str,
    dt_s: f64,
    with_time_axis: bool,
) -> Result<()>
where
    B::ErrorType: 'static,
{
    let (axis_height, n_labels, title) = if with_time_axis {
        (TIME_AXIS_HEIGHT, 10, "time, s")
    } else {
        (1, 0, "")
    };
    let end_s = both[0].0.len() as f64 * dt_s;
    let mut chart = ChartBuilder::on(area)
        .margin_right(15)
        .margin_top(8)
        .x_label_area_size(axis_height)
        .y_label_area_size(90)
        .build_cartesian_2d(0.0..end_s, low..high)?;
    chart
        .configure_mesh()
        .disable_mesh()
        .label_style((FONT, 17))
        .x_labels(n_labels)
        .x_desc(title)
        .y_labels(3)
        .y_desc(name)
        .draw()?;
    for (series, style) in both {
        let points = series.iter().enumerate();
        let points = points.map(|(bin, &v)| ((bin as f64 + 0.5) * dt_s, f64::from(v)));
        chart.draw_series(LineSeries::new(points, *style))?;
    }
    Ok(())
}

/// The trajectory in space, truth and reconstruction.
fn draw_trajectory<B: DrawingBackend>(area: &Area<B>, lorenz: &Pair) -> Result<()>
where
    B::ErrorType: 'static,
{
    let range = |index| {
        let (low, high) = lorenz.range(index);
        low..high
    };
    let mut chart =
        ChartBuilder::on(area)
            .margin(20)
            .build_cartesian_3d(range(0), range(2), range(1))?;
    chart.with_projection(|mut view| {
        view.yaw = 2.3;
        view.pitch = 0.15;
        view.scale = 0.85;
        view.into_matrix()
    });
    chart
        .configure_axes()
        .label_style((FONT, 17))
        .light_grid_style(BLACK.mix(0.08))
        .bold_grid_style(BLACK.mix(0.15))
        .max_light_lines(1)
        .x_labels(5)
        .y_labels(5)
        .z_labels(4)
        .draw()?;
    let truth = (&lorenz.truth, TRUTH.stroke_width(TRUTH_WIDTH));
    for (series, style) in [
        truth,
        (&lorenz.inferred, INFERRED.stroke_width(INFERRED_WIDTH)),
    ] {
        let value = |index: usize, bin: usize| f64::from(series[index][bin]);
        let points = (0..series[0].len()).map(|bin| (value(0, bin), value(2, bin), value(1, bin)));
        chart.draw_series(LineSeries::new(points, style))?;
    }
    Ok(())
}

fn draw_legend<B: DrawingBackend>(area: &Area<B>, model: &str) -> Result<()>
where
    B::ErrorType: 'static,
{
    for (line, (name, colour)) in [("truth", TRUTH), (model, INFERRED)]
        .into_iter()
        .enumerate()
    {
        let y = 20 + 30 * line as i32;
        area.draw(&PathElement::new(
            [(40, y), (80, y)],
            colour.stroke_width(3),
        ))?;
        area.draw(&Text::new(name, (92, y - 10), (FONT, 20)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two neurons and a spiral; the reconstruction is the truth shifted.
    fn example() -> Example {
        let series = |n: usize, shift: f32| -> Vec<Vec<f32>> {
            let value =
                |index, bin| ((bin + 7 * index) as f32 * 0.2).sin() * (bin as f32 * 0.02) + shift;
            (0..n)
                .map(|index| (0..100).map(|bin| value(index, bin)).collect())
                .collect()
        };
        let pair = |n| Pair {
            truth: series(n, 0.0),
            inferred: series(n, 0.1),
        };
        Example {
            dt_s: 0.1,
            trial: 0,
            neurons: vec![4, 17],
            fluorescence: pair(2),
            rates_hz: pair(2),
            spikes: pair(2),
            lorenz: pair(3),
        }
    }

    #[test]
    fn both_files_hold_red_truth_blue_reconstruction_and_text() {
        let folder = tempfile::tempdir().unwrap();
        write(&example(), "ladder-lfads/exact", folder.path()).unwrap();
        let svg = std::fs::read_to_string(folder.path().join("figure2.svg")).unwrap();
        for expected in [
            "#D62728",
            "#1F77B4",
            "neuron 17",
            "Lorenz dynamics",
            "ladder-lfads/exact",
            "</svg>",
        ] {
            assert!(svg.contains(expected), "no {expected}");
        }
        let png = std::fs::read(folder.path().join("figure2.png")).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(png))
            .read_info()
            .unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut pixels).unwrap();
        let count = |r, g, b| pixels.chunks(3).filter(|p| *p == [r, g, b]).count();
        assert!(count(214, 39, 40) > 500, "truth is drawn");
        assert!(count(31, 119, 180) > 500, "the reconstruction is drawn");
        assert!(count(0, 0, 0) > 500, "text is drawn");
    }

    #[test]
    fn a_constant_series_can_be_drawn() {
        let mut flat = example();
        flat.spikes.truth = vec![vec![0.0; 100]; 2];
        flat.spikes.inferred = flat.spikes.truth.clone();
        write(&flat, "ladder-lfads", tempfile::tempdir().unwrap().path()).unwrap();
    }
}
