//! `cargo xtask recordings`: default fits of recordings as laboratories bring them; writes results/recordings.md.
//!
//! The program itself simulates, fits and evaluates, as a user would run it; the page holds what it printed.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use crate::bench::{optimised_program, workspace_root};

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
By default four inputs to the dynamics are inferred, or none, whichever has the lower held-out loss; `--n-inputs` takes that choice away; with `--inputs` \
the dynamics are told when the pulse comes and in which direction, as who gives a stimulus knows. Settings were chosen on the recordings of seeds 1 and 2, \
and that held-out loss should decide on those of 11 and 12.
";

/// Rows of the program's table: the file itself, then what needs no model. Not a number where there is none.
type Rows = Vec<(String, [f64; 3])>;

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
    /// Of the program that fitted.
    revision: String,
    /// How long it took, whether inputs are inferred, what it is worth by co-smoothing and forward prediction, and whether it
    /// found the pulses.
    said: [String; 5],
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
        path: optimised_program()?,
        folder: workspace_root().join("target/recordings"),
    };
    let made = std::fs::create_dir_all(&program.folder);
    made.map_err(|error| format!("{}: {error}", program.folder.display()))?;
    let mut printed = Vec::new();
    for kind in &options.kinds {
        for seed in &options.seeds {
            for model in &options.models {
                let steps = options.steps.as_deref();
                for way in Way::ALL.iter().filter(|way| way.suits(kind)) {
                    printed.push(program.fit(kind, seed, model, steps, way)?);
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

/// What a fit is told of the inputs to the dynamics.
struct Way {
    /// Options of `lfads fit`.
    how: &'static str,
    /// Behind the name of the run.
    run: &'static str,
    /// Whether it is told of the pulses: the options lack their file.
    is_told: bool,
}

impl Way {
    const ALL: [Self; 2] = [
        Self {
            how: "",
            run: "",
            is_told: false,
        },
        Self {
            how: " --n-inputs 0 --inputs",
            run: "-told",
            is_told: true,
        },
    ];

    fn suits(&self, kind: &str) -> bool {
        !self.is_told || kind == "pulses"
    }
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
        way: &Way,
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
        how.push_str(way.how);
        run.push_str(way.run);
        let known = match way.is_told {
            true => format!(" {recording} --inputs-dataset train_inputs"),
            false => String::new(),
        };
        let said = self.run(&format!("fit {read} -o {run}{how}{known}"))?;
        let table = self.run(&format!("evaluate {run} --truth {truth}"))?;
        let result = self.folder.join(&run).join("result.json");
        let result = std::fs::read_to_string(&result)
            .map_err(|error| format!("{}: {error}", result.display()))?;
        Ok(Printed {
            recording,
            kind: kind.into(),
            how,
            revision: version(&result).unwrap_or("unknown").to_owned(),
            rows: rows(&table).ok_or_else(|| format!("`{run}`: no table in\n{table}"))?,
            said: [
                line_of(&said, &run),
                line_of(&said, "held-out loss "),
                line_of(&said, "co-smoothing"),
                line_of(&said, "forward prediction"),
                line_of(&table, "inputs: "),
            ],
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
    let rows = lines.skip(1).take_while(|line| !line.is_empty());
    let rows = rows.map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (name, numbers) = words.split_at_checked(words.len().checked_sub(3)?)?;
        let number = |at: usize| numbers[at].parse().unwrap_or(f64::NAN);
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
        "# Default fits of recordings as laboratories bring them\n\nWritten by `{}`; fits of revision {}.\n\n{INTRODUCTION}\n",
        command.join(" "),
        revisions(printed)
    );
    let fits = means(printed);
    page.push_str(
        "| recording | fit | rates r², median neuron | best of what needs no model | its r² | pooled r² | its pooled r² | mean rate / truth |\n| --- | --- | ---: | --- | ---: | ---: | ---: | ---: |\n",
    );
    // Writing to a `String` cannot fail.
    for Means {
        kind,
        how,
        own,
        rivals,
    } in &fits
    {
        let best = rivals.iter().max_by(|a, b| a.1[0].total_cmp(&b.1[0]));
        let Some((rival, its)) = best else { continue };
        let [median, pooled, ratio] = own;
        let [its_median, its_pooled, _] = its;
        let _ = writeln!(
            page,
            "| {kind} | `lfads fit{how}` | {median:.3} | {rival} | {its_median:.3} | {pooled:.3} | {its_pooled:.3} | {ratio:.2} |"
        );
    }
    page.push_str(
        "\nAll of what needs no model:\n\n| recording | rates | r², median neuron | pooled r² | mean rate / truth |\n| --- | --- | ---: | ---: | ---: |\n",
    );
    let is_first =
        |&(at, fit): &(usize, &Means)| fits[..at].iter().all(|other| other.kind != fit.kind);
    for (_, Means { kind, rivals, .. }) in fits.iter().enumerate().filter(is_first) {
        for (name, [median, pooled, ratio]) in rivals {
            let _ = writeln!(
                page,
                "| {kind} | {name} | {median:.3} | {pooled:.3} | {ratio:.2} |"
            );
        }
    }
    page.push_str("\nEach fit, with what it said of itself:\n");
    for Printed {
        recording,
        how,
        rows,
        said,
        ..
    } in printed
    {
        let said = said.iter().filter(|line| !line.is_empty());
        let said: Vec<&str> = said.map(String::as_str).collect();
        let said = said.join("; ");
        let _ = writeln!(page, "\n`lfads fit{how}` of {recording}; {said}\n\n```text");
        for (name, [median, pooled, ratio]) in rows {
            let _ = writeln!(page, "{name:30} {median:>8.4} {pooled:>8.4} {ratio:>8.4}");
        }
        page.push_str("```\n");
    }
    page
}

/// Means over the seeds of one kind of recording, fitted in one way.
struct Means {
    kind: String,
    how: String,
    own: [f64; 3],
    rivals: Vec<(String, [f64; 3])>,
}

/// In the order in which they were printed.
fn means(printed: &[Printed]) -> Vec<Means> {
    let mut groups: Vec<Vec<&Printed>> = Vec::new();
    for one in printed {
        let same =
            |group: &&mut Vec<&Printed>| (&group[0].kind, &group[0].how) == (&one.kind, &one.how);
        match groups.iter_mut().find(same) {
            Some(group) => group.push(one),
            None => groups.push(vec![one]),
        }
    }
    let of_group = |group: Vec<&Printed>| {
        let n = group.len() as f64;
        let mean = |row: usize| {
            [0, 1, 2].map(|column| group.iter().map(|one| one.rows[row].1[column]).sum::<f64>() / n)
        };
        let rivals = group[0].rows.iter().enumerate().skip(1);
        Means {
            kind: group[0].kind.clone(),
            how: group[0].how.clone(),
            own: mean(0),
            rivals: rivals
                .map(|(row, (name, _))| (without_width(name).to_owned(), mean(row)))
                .collect(),
        }
    };
    groups.into_iter().map(of_group).collect()
}

/// Of the program that fitted, as the text of a run's result.json has it.
fn version(result: &str) -> Option<&str> {
    let (_, behind) = result.split_once("\"version\": \"")?;
    behind.split('"').next()
}

/// Those of all fits, each once.
fn revisions(printed: &[Printed]) -> String {
    let mut revisions: Vec<&str> = printed.iter().map(|fit| &fit.revision[..]).collect();
    revisions.sort_unstable();
    revisions.dedup();
    revisions.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read_as_it_is_printed() {
        let printed = "rates      0.8352   0.7783   0.8308   0.7734   0.8742 [0.0060, 0.9487]\n\n\
            rates                        per neuron r2, median   pooled r2   mean / truth\n\
            this file                                   0.8742      0.8308         0.9328\n\
            OASIS, 8 components, 0.4 s                       –      0.3955         0.8522\n
            \ninputs: longest within 2 frames of the pulse in 10% of the trials\n";
        let rows = rows(printed).unwrap();
        assert_eq!(rows[0], ("this file".into(), [0.8742, 0.8308, 0.9328]));
        assert!(rows[1].1[0].is_nan() && rows[1].1[2] > 0.8);
        assert_eq!(without_width(&rows[1].0), "OASIS, 8 components");
        assert_eq!(
            without_width("network, smoothed 0.2 s"),
            "network, smoothed"
        );
        assert!(super::rows("nothing of the kind").is_none());
    }

    #[test]
    fn seeds_are_averaged_and_the_best_rival_is_named() {
        let printed = |seed: &str, own: f64| Printed {
            recording: format!("ring{seed}"),
            kind: "ring".into(),
            how: String::new(),
            rows: vec![
                ("this file".into(), [own; 3]),
                ("OASIS, smoothed 0.2 s".into(), [0.25; 3]),
                ("network, 8 components, 0.4 s".into(), [0.5; 3]),
            ],
            revision: "abc".into(),
            said: [
                "ring: 2000 steps",
                "",
                "co-smoothing",
                "forward",
                "inputs: longest",
            ]
            .map(Into::into),
        };
        let page = page(&[printed("11", 0.5), printed("12", 1.0)], &[]);
        let line =
            "| ring | `lfads fit` | 0.750 | network, 8 components | 0.500 | 0.750 | 0.500 | 0.75 |";
        assert!(page.contains(line), "{page}");
    }
}
