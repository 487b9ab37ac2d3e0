//! `cargo xtask recordings`: default fits of recordings as laboratories bring them; writes results/recordings.md.
//!
//! The program itself simulates, fits and evaluates, as a user would run it; the page holds what it printed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use crate::bench::{tested_program, workspace_root};

const USAGE: &str = "\
Usage: cargo xtask recordings [--seeds A,B,…] [--kinds ring,…] [--models NAME,…] [--steps N]

Options:
  --seeds A,B   Seeds of the recordings [default: 11,12,13]
  --kinds K,K   Of ring, pulses, switching [default: all]
  --models M,M  As `lfads fit --model` takes them; `default` is none [default: default]
  --steps N     Steps of each fit [default: the model's own]

Fits are kept in target/recordings and go on where they were interrupted.";

const INTRODUCTION: &str = "\
Three kinds of recordings that `lfads simulate` makes, none of them of Table 1's kind: a bump that turns on a ring at varying speed \
(120 neurons, 10 minutes at 20 Hz, a third of them silent, neuropil, bleaching, motion), oscillators that a pulse at a random time drives \
(100 neurons, 200 trials of 5 s), two regimes that switch at random (100 neurons, 10 minutes). No tau is given, and no setting. r² of the rates in frames \
or trials that training did not see: the median over neurons, and of all pooled; then the mean rate over the true one; means over the seeds. \
Beside the fit stands what needs no model of the population, each smoothed by the Gaussian that comes nearest to the truth, which no user could know. \
Settings were chosen on the recordings of seeds 1 and 2.
";

/// Inferred inputs of a recording that is driven.
const N_INPUTS: usize = 2;

/// Rows of the program's table: the file itself, then what needs no model.
type Rows = Vec<(String, [Option<f64>; 3])>;

struct Options {
    seeds: Vec<String>,
    kinds: Vec<String>,
    models: Vec<String>,
    steps: Option<String>,
}

/// What was printed of one fit.
struct Printed {
    recording: String,
    kind: String,
    how: String,
    rows: Rows,
    /// How long it took, and what it is worth.
    said: [String; 2],
}

/// Builds the program, fits everything, writes the page.
pub fn run(args: &[String]) -> ExitCode {
    match options(args).and_then(|options| fit_all(&options, args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}

fn options(args: &[String]) -> Result<Options, String> {
    let list = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
    let mut options = Options {
        seeds: list("11,12,13"),
        kinds: list("ring,pulses,switching"),
        models: list("default"),
        steps: None,
    };
    for pair in args.chunks(2) {
        match (pair[0].as_str(), pair.get(1)) {
            ("--seeds", Some(value)) => options.seeds = list(value),
            ("--kinds", Some(value)) => options.kinds = list(value),
            ("--models", Some(value)) => options.models = list(value),
            ("--steps", Some(value)) => options.steps = Some(value.clone()),
            _ => return Err(USAGE.to_owned()),
        }
    }
    Ok(options)
}

fn fit_all(options: &Options, args: &[String]) -> Result<(), String> {
    let program = Program {
        path: tested_program()?,
        folder: workspace_root().join("target/recordings"),
    };
    let made = std::fs::create_dir_all(&program.folder);
    made.map_err(|error| format!("{}: {error}", program.folder.display()))?;
    let mut printed = Vec::new();
    for kind in &options.kinds {
        for seed in &options.seeds {
            for model in &options.models {
                let steps = options.steps.as_deref();
                printed.push(program.fit(kind, seed, model, steps, None)?);
                if kind == "pulses" {
                    printed.push(program.fit(kind, seed, model, steps, Some(N_INPUTS))?);
                }
            }
        }
    }
    let page = page(&printed, args);
    let path = workspace_root().join("results/recordings.md");
    std::fs::write(&path, &page).map_err(|error| format!("{}: {error}", path.display()))?;
    print!("{page}");
    Ok(())
}

/// The program, in the folder of its recordings and fits.
struct Program {
    path: PathBuf,
    folder: PathBuf,
}

impl Program {
    fn fit(
        &self,
        kind: &str,
        seed: &str,
        model: &str,
        steps: Option<&str>,
        n_inputs: Option<usize>,
    ) -> Result<Printed, String> {
        let recording = format!("{kind}{seed}");
        let (read, truth) = match kind {
            "pulses" => (format!("{recording} --rate 20"), recording.clone()),
            _ => (
                format!("{recording}/suite2p"),
                format!("{recording}/truth.h5"),
            ),
        };
        if !self.folder.join(&truth).exists() {
            self.run(&format!("simulate {kind} -o {recording} --seed {seed}"))?;
        }
        let (mut run, mut how) = (format!("{recording}-{model}"), String::new());
        if model != "default" {
            let _ = write!(how, " --model {model}");
        }
        if let Some(steps) = steps {
            let _ = write!(how, " --steps {steps}");
            let _ = write!(run, "-{steps}");
        }
        if let Some(n) = n_inputs {
            let _ = write!(how, " --n-inputs {n}");
            let _ = write!(run, "-inputs{n}");
        }
        let said = self.run(&format!("fit {read} -o {run}{how}"))?;
        let table = self.run(&format!("evaluate {run} --truth {truth}"))?;
        Ok(Printed {
            recording,
            kind: kind.into(),
            how,
            rows: rows(&table).ok_or_else(|| format!("`{run}`: no table in\n{table}"))?,
            said: [run.as_str(), "co-smoothing"].map(|start| line_of(&said, start)),
        })
    }

    /// Runs it; what it printed.
    fn run(&self, line: &str) -> Result<String, String> {
        eprintln!("lfads {line}");
        let mut command = Command::new(&self.path);
        command
            .current_dir(&self.folder)
            .args(line.split_whitespace());
        let output = command.stderr(std::process::Stdio::inherit()).output();
        let output = output.map_err(|error| format!("`lfads {line}`: {error}"))?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => Err(format!("`lfads {line}` ended with {}", output.status)),
        }
    }
}

/// The table of rates that `lfads evaluate --truth` prints behind its heading: a name and three numbers a line.
fn rows(printed: &str) -> Option<Rows> {
    let lines = printed
        .lines()
        .skip_while(|line| !line.starts_with("rates  ") || !line.contains("mean / truth"));
    let rows = lines.skip(1).map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (name, numbers) = words.split_at_checked(words.len().checked_sub(3)?)?;
        let number = |at: usize| numbers[at].parse().ok();
        Some((name.join(" "), [number(0), number(1), number(2)]))
    });
    let rows: Option<Rows> = rows.collect();
    rows.filter(|rows| !rows.is_empty())
}

/// The first line that starts so.
fn line_of(said: &str, start: &str) -> String {
    let line = said.lines().find(|line| line.starts_with(start));
    line.unwrap_or_default().to_owned()
}

/// A name without the width that it was smoothed by, which differs from seed to seed.
fn without_width(name: &str) -> &str {
    let mut words = name.rsplitn(3, ' ');
    match (words.next(), words.next(), words.next()) {
        (Some("s"), Some(width), Some(rest)) if width.parse::<f64>().is_ok() => {
            rest.trim_end_matches(',')
        }
        _ => name,
    }
}

fn page(printed: &[Printed], args: &[String]) -> String {
    let mut command = vec!["cargo xtask recordings".to_owned()];
    command.extend(args.iter().cloned());
    let mut page = format!(
        "# Default fits of recordings as laboratories bring them\n\nWritten by `{}` at revision {}.\n\n{INTRODUCTION}\n",
        command.join(" "),
        revision()
    );
    page.push_str(
        "| recording | rates | median r² | pooled r² | mean / truth |\n| --- | --- | ---: | ---: | ---: |\n",
    );
    // Means over seeds, in the order in which they were printed.
    let mut order: Vec<(String, String)> = Vec::new();
    let mut all: BTreeMap<(String, String), Vec<[Option<f64>; 3]>> = BTreeMap::new();
    for Printed {
        how, kind, rows, ..
    } in printed
    {
        for (name, numbers) in rows {
            let name = match name.as_str() {
                "this file" => format!("**`lfads fit{how}`**"),
                name => without_width(name).to_owned(),
            };
            let key = (kind.clone(), name);
            if !order.contains(&key) {
                order.push(key.clone());
            }
            all.entry(key).or_default().push(*numbers);
        }
    }
    for key in order {
        let numbers = &all[&key];
        let mean = |at: usize| {
            let values: Option<Vec<f64>> = numbers.iter().map(|row| row[at]).collect();
            let values = values?;
            Some(values.iter().sum::<f64>() / values.len() as f64)
        };
        let cell = |at: usize| mean(at).map_or("–".into(), |mean| format!("{mean:.3}"));
        let (kind, name) = key;
        // Writing to a `String` cannot fail.
        let _ = writeln!(
            page,
            "| {kind} | {name} | {} | {} | {} |",
            cell(0),
            cell(1),
            cell(2)
        );
    }
    page.push_str("\nEach fit, with what it said of itself:\n");
    for Printed {
        recording,
        how,
        rows,
        said: [first, last],
        ..
    } in printed
    {
        let _ = writeln!(
            page,
            "\n`lfads fit{how}` of {recording}; {first}; {last}\n\n```text"
        );
        for (name, [median, pooled, ratio]) in rows {
            let cell = |x: &Option<f64>| x.map_or("–".into(), |x| format!("{x:.4}"));
            let _ = writeln!(
                page,
                "{name:30} {:>8} {:>8} {:>8}",
                cell(median),
                cell(pooled),
                cell(ratio)
            );
        }
        page.push_str("```\n");
    }
    page
}

/// Of the sources, for the page.
fn revision() -> String {
    let git = Command::new("git")
        .current_dir(workspace_root())
        .args(["describe", "--always", "--dirty"])
        .output();
    git.ok()
        .filter(|output| output.status.success())
        .map_or("unknown".into(), |output| {
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read_as_it_is_printed() {
        let printed = "rates      0.8352   0.7783   0.8308   0.7734   0.8742 [0.0060, 0.9487]\n\n\
            rates                        per neuron r2, median   pooled r2   mean / truth\n\
            this file                                   0.8742      0.8308         0.9328\n\
            OASIS, 8 components, 0.4 s                       –      0.3955         0.8522\n";
        let rows = rows(printed).unwrap();
        assert_eq!(
            rows[0],
            (
                "this file".into(),
                [Some(0.8742), Some(0.8308), Some(0.9328)]
            )
        );
        assert_eq!(rows[1].1, [None, Some(0.3955), Some(0.8522)]);
        assert_eq!(without_width(&rows[1].0), "OASIS, 8 components");
        assert_eq!(
            without_width("network, smoothed 0.2 s"),
            "network, smoothed"
        );
        assert!(super::rows("nothing of the kind").is_none());
    }
}
