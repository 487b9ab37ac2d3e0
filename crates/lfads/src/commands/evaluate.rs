//! `lfads evaluate`: what was inferred beside the truth.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Result;
use metrics::{Fit, PulseTiming};
use pipeline::{Evaluation, Quality, Rival, RunFolder, RunResult, Simple};

use super::Session;

/// Compare what was inferred with the truth.
///
/// r2 is the squared Pearson correlation, blind to scale and offset; cod is 1 - SSE/SST, which
/// punishes a wrong scale. Example: `lfads evaluate run/inferred.h5 --truth truth.h5`.
/// Compared are the arrays that both files have: rates, spikes, calcium, fluor; and the factors,
/// carried onto the true latents by an affine map that is fitted where nothing was held out, and back. Beside the
/// rates of a model: those that need none, smoothed deconvolved activity and its principal components, each at the
/// width that suits the truth best. Where the truth has a pulse in each trial: whether inferred inputs find it.
#[derive(Debug, clap::Args)]
pub struct Evaluate {
    /// What `fit`, `infer` or `deconvolve` wrote; a run folder stands for its inferred.h5
    inferred: PathBuf,

    /// Benchmark file with the truth, as `simulate` writes it; without it, of a run folder: how well the model
    /// foresees neurons, and frames to come, that were hidden from it
    #[arg(long, value_name = "FILE.h5")]
    truth: Option<PathBuf>,

    /// Also list every neuron
    #[arg(long)]
    per_neuron: bool,
}

impl Evaluate {
    pub fn run(&self, session: &Session<'_>) -> Result<()> {
        let Some(truth_path) = &self.truth else {
            return self.without_truth(session);
        };
        let path = match self.inferred.is_dir() {
            true => RunFolder::open(&self.inferred)?.0.file("inferred.h5"),
            false => self.inferred.clone(),
        };
        let evaluation = Evaluation::of(&path, truth_path)?;
        let text = self.text(&evaluation);
        session.print(&evaluation, &text)
    }

    /// What the fit found of itself: see [`pipeline::Proof`].
    fn without_truth(&self, session: &Session<'_>) -> Result<()> {
        let missing = || {
            anyhow::anyhow!(
                "{}: without --truth FILE.h5 a complete run folder is needed, which holds how well neurons are foreseen that were hidden",
                self.inferred.display()
            )
        };
        if !self.inferred.join("run.json").is_file() {
            return Err(missing());
        }
        let (folder, _) = RunFolder::open(&self.inferred)?;
        if !folder.is_complete() {
            return Err(missing());
        }
        let proof = folder.read::<RunResult>("result.json")?.proof;
        let Some(proof) = proof else {
            anyhow::bail!(
                "{}: how well hidden neurons are foreseen was not measured, which takes two neurons and some hundred frames; give --truth FILE.h5",
                self.inferred.display()
            );
        };
        let mut text = proof.verdict();
        text.push_str(&scores("co-smoothing", proof.model, &proof.rivals));
        let _ = writeln!(
            text,
            "{:52} {:9.4}",
            "the model, in training", proof.in_training
        );
        if let Some(forecast) = &proof.forecast {
            let _ = write!(text, "\n{}", forecast.verdict());
            text.push_str(&scores(
                "forward prediction",
                forecast.model,
                &forecast.rivals,
            ));
        }
        for warning in proof.warnings() {
            let _ = writeln!(text, "warning: {warning}");
        }
        session.print(&proof, &text)
    }

    fn text(&self, evaluation: &Evaluation) -> String {
        let Evaluation {
            qualities,
            simple,
            pulses,
        } = evaluation;
        let mut page = String::from(
            "             all frames       held out         per neuron r2\n             r2      cod      r2      cod      median [least, greatest]\n",
        );
        for (name, quality) in qualities {
            // Writing to a `String` cannot fail.
            let _ = writeln!(
                page,
                "{name:10} {} {}   {}",
                cells(quality.all),
                cells(quality.held_out),
                spread(quality)
            );
        }
        for (name, quality) in qualities.iter().filter(|_| self.per_neuron) {
            for (neuron, fit) in quality.per_neuron.iter().enumerate() {
                let _ = writeln!(page, "{name:10} {neuron:5} {}", cells(*fit));
            }
        }
        if let (Some(rates), false) = (qualities.get("rates"), simple.is_empty()) {
            page.push_str(
                "\nrates                        per neuron r2, median   pooled r2   mean / truth\n",
            );
            page.push_str(&beside("this file", rates));
            for Simple { name, quality } in simple {
                page.push_str(&beside(name, quality));
            }
        }
        if let Some(timing) = pulses {
            let _ = writeln!(
                page,
                "\ninputs: most of their energy within {} frames of the pulse in {:.0}% of the trials, median distance {:.1} frames; mean square there {:.1} times that elsewhere",
                PulseTiming::TOLERANCE,
                100.0 * timing.found,
                timing.median_distance,
                timing.energy_ratio
            );
        }
        page
    }
}

fn cells(fit: Option<Fit>) -> String {
    match fit {
        Some(Fit { r2, cod }) => format!("{r2:7.4} {cod:8.4}"),
        None => format!("{:>7} {:>8}", "–", "–"),
    }
}

fn beside(name: &str, quality: &Quality) -> String {
    let number = |value: Option<f64>| value.map_or("–".into(), |value| format!("{value:.4}"));
    let pooled = quality.held_out.or(quality.all).map(|fit| fit.r2);
    format!(
        "{name:28} {:>21} {:>11} {:>14}\n",
        number(quality.median_r2()),
        number(pooled),
        number(quality.mean_ratio)
    )
}

/// The model's score in what is called `of`, and those of its rivals.
fn scores(of: &str, model: f64, rivals: &[Rival]) -> String {
    let mut text = format!(
        "\n\n{of:52}  held out   lead, errors\n{:52} {model:9.4}\n",
        "the model"
    );
    for rival in rivals {
        let Rival {
            name,
            score,
            lead_in_errors,
        } = rival;
        let _ = writeln!(text, "{name:52} {score:9.4} {lead_in_errors:14.1}");
    }
    text
}

fn spread(quality: &Quality) -> String {
    let r2 = || quality.per_neuron.iter().flatten().map(|fit| fit.r2);
    let (least, greatest) = (r2().reduce(f64::min), r2().reduce(f64::max));
    match (quality.median_r2(), least, greatest) {
        (Some(middle), Some(least), Some(greatest)) => {
            format!("{middle:.4} [{least:.4}, {greatest:.4}]")
        }
        _ => "–".into(),
    }
}
