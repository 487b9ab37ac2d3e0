//! `performance.md` and its plot.

use std::fmt::Write;
use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use super::criterion::Estimate;
use super::scaling::{LARGE, Scaling};
use super::steps::{Step, Timed, Times};
use runs::machine;
use runs::store::write_atomically;

const SIZE: (u32, u32) = (1000, 640);
const PALETTE: [RGBColor; 4] = [
    RGBColor(31, 119, 180),
    RGBColor(214, 39, 40),
    RGBColor(44, 160, 44),
    RGBColor(148, 103, 189),
];

/// Everything that was measured.
pub struct Report {
    pub gemm_gflops: f64,
    pub steps: Vec<(Timed, Times)>,
    pub scaling: Vec<Scaling>,
    pub large: Step,
    pub kernels: Vec<Estimate>,
}

impl Report {
    /// Writes `performance.md` and `figures/scaling.svg` into `folder`.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let figures = folder.join("figures");
        std::fs::create_dir_all(&figures)?;
        write_atomically(&folder.join("performance.md"), self.text()?.as_bytes())?;
        write_atomically(&figures.join("scaling.svg"), self.plot()?.as_bytes())
    }

    fn text(&self) -> Result<String> {
        let mut text = String::new();
        let (machine, revision) = (machine::describe(), machine::REVISION);
        writeln!(
            text,
            "# Performance\n\nWritten by `cargo xtask bench` on {machine}; {} threads; revision {revision}. The best observed \
             rate of the matrix product (65×64 by 64×192, all threads) is {:.0} GFLOP/s.\n",
            rayon::current_num_threads(),
            self.gemm_gflops
        )?;
        self.write_steps(&mut text)?;
        self.write_scaling(&mut text)?;
        self.write_kernels(&mut text)?;
        Ok(text)
    }

    fn write_steps(&self, text: &mut String) -> Result<()> {
        text.push_str(
            "## At the sizes of Table 1\n\n\
             | model | training step, ms | GFLOP counted | of the product's rate | first step, ms | 200 samples × 260 trials, s |\n\
             | --- | --- | --- | --- | --- | --- |\n",
        );
        for (kind, times) in &self.steps {
            let rate = times.gflop / times.step_ms * 1e3 / self.gemm_gflops;
            writeln!(
                text,
                "| {} | {:.1} | {:.2} | {:.0} % | {:.0} | {:.1} |",
                kind.title(),
                times.step_ms,
                times.gflop,
                100.0 * rate,
                times.first_step_ms,
                times.posterior_mean_s
            )?;
        }
        let step_ms = |wanted| {
            let found = self.steps.iter().find(|(kind, _)| *kind == wanted);
            found.map(|(_, times)| times.step_ms)
        };
        if let Some((driven, alone)) = step_ms(Timed::DrivenLfads).zip(step_ms(Timed::Lfads)) {
            writeln!(
                text,
                "\nInferred inputs make a step of LFADS {:.2} times as long.",
                driven / alone
            )?;
        }
        text.push_str(
            "\nMedians of whole steps as `fit` takes them: batch, noise, loss, gradients, optimiser. The count ladder's time \
             goes into sampling counts, not products. Products with the zeros of LFADS' spike counts, nine of ten, are counted \
             but skipped.\n\n",
        );
        Ok(())
    }

    fn write_scaling(&self, text: &mut String) -> Result<()> {
        text.push_str(
            "## Growth of an LFADS step\n\n![Step time against each size](figures/scaling.svg)\n\n",
        );
        text.push_str(
            "| varied | size | step, ms | peak of a step, MB | of which weights, MB | saved activations, MB | (peak − weights) / saved |\n\
             | --- | --- | --- | --- | --- | --- | --- |\n",
        );
        for scaling in &self.scaling {
            for point in &scaling.points {
                write_step(text, scaling.axis, &point.size.to_string(), &point.step)?;
            }
        }
        let sizes = format!(
            "{} × {} × {} × {}",
            LARGE.n_neurons, LARGE.n_bins, LARGE.batch, LARGE.hidden
        );
        write_step(text, "all four", &sizes, &self.large)?;
        text.push_str("\nTime ∝ size^k:");
        for scaling in &self.scaling {
            write!(text, " {} k = {:.2};", scaling.axis, scaling.exponent)?;
        }
        text.pop();
        text.push_str(
            ". The other sizes are 30 neurons, 100 bins, batch 65, 64 hidden units. The peak is of resident memory, \
             the batch included, the dataset not. Weights are there eight times: they, their running average, Adam's two \
             moments, and all four as the epoch began, to which a diverged training goes back. Saved activations are those of the whole batch; larger \
             batches are taken in shards, of which no more are in memory than there are threads.\n",
        );
        Ok(())
    }

    fn write_kernels(&self, text: &mut String) -> Result<()> {
        if self.kernels.is_empty() {
            return Ok(());
        }
        text.push_str(
            "\n## Kernels and operations (criterion)\n\n| bench | median, ms |\n| --- | --- |\n",
        );
        for Estimate { name, median_ms } in &self.kernels {
            writeln!(text, "| {name} | {median_ms:.3} |")?;
        }
        Ok(())
    }

    fn plot(&self) -> Result<String> {
        crate::figures::register_fonts()?;
        let mut svg = String::new();
        {
            let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
            root.fill(&WHITE)?;
            let mut chart = ChartBuilder::on(&root)
                .margin(20)
                .x_label_area_size(50)
                .y_label_area_size(80)
                .build_cartesian_2d((8.0..2000.0_f64).log_scale(), self.range_ms().log_scale())?;
            chart
                .configure_mesh()
                .label_style((crate::figures::FONT, 16))
                .x_desc("neurons, time bins, trials of a batch or hidden units")
                .y_desc("training step, ms")
                .draw()?;
            for (scaling, colour) in self.scaling.iter().zip(PALETTE) {
                let points = scaling
                    .points
                    .iter()
                    .map(|point| (point.size as f64, point.step.milliseconds));
                let label = format!("{}: ∝ n^{:.2}", scaling.axis, scaling.exponent);
                let line = LineSeries::new(points, colour.stroke_width(2)).point_size(4);
                chart.draw_series(line)?.label(label).legend(move |(x, y)| {
                    PathElement::new([(x, y), (x + 24, y)], colour.stroke_width(3))
                });
            }
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::UpperLeft)
                .label_font((crate::figures::FONT, 17))
                .border_style(BLACK)
                .background_style(WHITE)
                .draw()
                .map_err(|error| anyhow!("cannot draw the legend: {error}"))?;
            root.present()?;
        }
        Ok(svg)
    }

    fn range_ms(&self) -> std::ops::Range<f64> {
        let times = self
            .scaling
            .iter()
            .flat_map(|scaling| &scaling.points)
            .map(|point| point.step.milliseconds);
        let (low, high) = times.fold((f64::INFINITY, 0.0_f64), |(low, high), time| {
            (low.min(time), high.max(time))
        });
        low / 1.5..high * 1.5
    }
}

fn write_step(text: &mut String, axis: &str, size: &str, step: &Step) -> Result<()> {
    let Step {
        milliseconds,
        peak_mb,
        weights_mb,
        saved_mb,
    } = step;
    let (peak, ratio) = peak_mb.map_or(("–".into(), "–".into()), |peak_mb| {
        let ratio = (peak_mb - weights_mb) / saved_mb;
        (format!("{peak_mb:.0}"), format!("{ratio:.2}"))
    });
    writeln!(
        text,
        "| {axis} | {size} | {milliseconds:.1} | {peak} | {weights_mb:.0} | {saved_mb:.0} | {ratio} |"
    )?;
    Ok(())
}
