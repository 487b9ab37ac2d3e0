//! `cargo xtask torture`: kills, full disks, damage, extremes, hostile files, at length; writes results/torture.md.
//!
//! What the tests try once is tried many times here, on the real program in a folder of its own. A try
//! holds if the program ends by itself in time, with what it should have made or with one line and exit
//! code 2; a panic, a signal, a wrong result and work without end are failures.

mod damage;
mod disk;
mod extremes;
mod kills;
mod program;
mod soak;

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use crate::bench::{tested_program, workspace_root};
use program::Program;

const USAGE: &str = "\
Usage: cargo xtask torture [--seed N] [--tries N]

Options:
  --seed N   Of moments, bits and files [default: 1]
  --tries N  Kills for each model and each call, small disks for each command; ten times as many mutated
             files [default: 20]";

/// How a try ended that held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Done,
    InWords,
}

/// What was tried of one kind, and what did not hold.
pub struct Tried {
    what: &'static str,
    n: usize,
    /// Of those that held, the ones that ended in a line of words.
    in_words: usize,
    failures: Vec<String>,
    /// Why nothing was tried, where the machine does not let.
    skipped: Option<&'static str>,
}

impl Tried {
    fn new(what: &'static str) -> Self {
        Self {
            what,
            n: 0,
            in_words: 0,
            failures: Vec::new(),
            skipped: None,
        }
    }

    fn skipped(mut self, why: &'static str) -> Self {
        self.skipped = Some(why);
        self
    }

    /// Counts a try, which made what it should or ended in words; `Err` says what went wrong.
    fn count(&mut self, outcome: Result<End, String>) {
        self.n += 1;
        match outcome {
            Ok(End::Done) => {}
            Ok(End::InWords) => self.in_words += 1,
            Err(failure) => self.failures.push(failure),
        }
    }
}

/// Numbers that look random (splitmix64).
pub struct Random(u64);

impl Random {
    /// Less than `n`.
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n.max(1) as u64) as usize
    }
}

/// Builds the program, tries everything, writes the page.
pub fn run(args: &[String]) -> ExitCode {
    match options(args).and_then(|(seed, tries)| torture(seed, tries)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}

fn options(args: &[String]) -> Result<(u64, usize), String> {
    let (mut seed, mut tries) = (1, 20);
    for pair in args.chunks(2) {
        let value = pair.get(1).and_then(|value| value.parse().ok());
        match (pair[0].as_str(), value) {
            ("--seed", Some(value)) => seed = value,
            ("--tries", Some(value)) => tries = value as usize,
            _ => return Err(USAGE.to_owned()),
        }
    }
    Ok((seed, tries))
}

fn torture(seed: u64, tries: usize) -> Result<bool, String> {
    let program = Program::new(&tested_program()?)?;
    let start = Instant::now();
    let mut random = Random(seed);
    let tried = [
        kills::at_random_moments(&program, tries, &mut random)?,
        disk::kills(&program, tries, &mut random)?,
        disk::failures(&program, tries, &mut random)?,
        disk::full(&program, tries, &mut random)?,
        kills::two_at_once(&program, tries)?,
        kills::nobody_listens(&program, tries, &mut random)?,
        damage::of_runs(&program, 5 * tries, &mut random)?,
        damage::of_recordings(&program, 10 * tries, &mut random)?,
        extremes::of_every_command(&program),
        soak::fits(&program)?,
    ];
    let page = page(&tried, seed, tries, start.elapsed().as_secs());
    let path = workspace_root().join("results/torture.md");
    std::fs::write(&path, &page).map_err(|error| format!("{}: {error}", path.display()))?;
    print!("{page}");
    Ok(tried.iter().all(|tried| tried.failures.is_empty()))
}

fn page(tried: &[Tried], seed: u64, tries: usize, seconds: u64) -> String {
    let mut page = format!(
        "# Torture\n\nWritten by `cargo xtask torture --seed {seed} --tries {tries}` in {seconds} s.\n\n\
         | what | tried | held | of these, in a line of words |\n| --- | ---: | ---: | ---: |\n"
    );
    for tried in tried {
        let Tried {
            what, n, in_words, ..
        } = tried;
        let held = n - tried.failures.len();
        // Writing to a `String` cannot fail.
        let _ = writeln!(page, "| {what} | {n} | {held} | {in_words} |");
    }
    for tried in tried {
        if let Some(why) = tried.skipped {
            let _ = writeln!(page, "\n- skipped: {}: {why}", tried.what);
        }
    }
    for failure in tried.iter().flat_map(|tried| &tried.failures) {
        let _ = writeln!(page, "\n- {failure}");
    }
    page
}

/// The bytes of a file.
fn bytes(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Writes them.
fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    std::fs::write(path, bytes).map_err(|error| format!("{}: {error}", path.display()))
}
