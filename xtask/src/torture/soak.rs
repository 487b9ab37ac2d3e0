//! Many fits in one process: memory stays what it was.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::program::Program;
use super::{End, Tried, bytes, write};

const DATA: &str = "dataset_seed = 1\nn_seeds = 1\n\
    [dataset.lorenz]\nn_bins = 40\nn_neurons = 8\n\
    design = { n_conditions = 6, n_repeats = 5, held_out = { repeats = 1 } }\n\
    [evaluation]\nn_samples = 4\n";
/// What a model reads, its name, and a setting that it cannot be without.
const ROWS: [(&str, &str, &str); 6] = [
    ("spikes", "lfads", ""),
    ("fluorescence", "oasis-lfads", "s_min = 0.5\n"),
    ("fluorescence", "gaussian-lfads", ""),
    ("fluorescence", "edgeworth-lfads", ""),
    ("fluorescence", "ladder-lfads", ""),
    ("fluorescence", "count-ladder", ""),
];
const ROUNDS: usize = 10;
/// Rounds after which memory is to be what it will be.
const SETTLED: usize = 3;
/// The allocator's own whims.
const SLACK: f64 = 1.1;
const LIMIT: Duration = Duration::from_mins(10);

/// Each model of the benchmark ten times in one process.
pub fn fits(program: &Program) -> Result<Tried, String> {
    let mut tried = Tried::new("fits in one process, its memory flat");
    if !Path::new("/proc/self/status").exists() {
        return Ok(tried.skipped("a process's memory cannot be read here (no /proc)"));
    }
    let row = |(data, model, setting): &(&str, &str, &str)| {
        format!(
            "[[row]]\ndata = \"{data}\"\nmodel = \"{model}\"\n[row.config]\n{setting}\
             [row.config.dynamics]\nn_factors = 3\nn_encoder = 8\nn_generator = 8\nn_ic = 8\n\
             [row.training]\nn_steps = 100\nbatch_size = 8\nwarm_up = {{ deep_steps = 10 }}\n"
        )
    };
    let recipe = DATA.to_owned() + &ROWS.iter().map(row).collect::<String>();
    write(&program.file("soak.toml"), recipe.as_bytes())?;
    let log = std::fs::File::create(program.file("log")).map_err(|error| error.to_string())?;
    let rounds = ROUNDS.to_string();
    let child = program
        .beside("bench")
        .args([
            "reproduce-table1",
            "--recipe",
            "soak.toml",
            "--threads",
            "1",
        ])
        .args(["--datasets", &rounds, "--out", "soak"])
        .stdout(Stdio::null())
        .stderr(log)
        .spawn();
    let mut child = child.map_err(|error| error.to_string())?;
    let memory = watched(&mut child, &program.file("soak/runs"));
    let code = child.wait().map_err(|error| error.to_string())?.code();
    if code != Some(0) {
        let log = bytes(&program.file("log"))?;
        let log = String::from_utf8_lossy(&log).into_owned();
        let last = log.lines().last().unwrap_or_default().to_owned();
        tried.count(Err(format!("the soak ended with {code:?}: {last}")));
        return Ok(tried);
    }
    let most = |rounds: &[u64]| rounds.iter().copied().max().unwrap_or(0);
    let first = most(&memory[..SETTLED * ROWS.len()]);
    for (fit, kb) in memory.iter().enumerate() {
        let grown = *kb as f64 > SLACK * first as f64;
        tried.count(match grown {
            false => Ok(End::Done),
            true => Err(format!(
                "fit {fit} in one process takes {kb} kB, the first ones {first}"
            )),
        });
    }
    Ok(tried)
}

/// The most memory, kB, while so many runs were done.
fn watched(child: &mut Child, runs: &Path) -> Vec<u64> {
    let mut most = vec![0; ROUNDS * ROWS.len()];
    let start = Instant::now();
    while matches!(child.try_wait(), Ok(None)) {
        if start.elapsed() > LIMIT {
            let _ = child.kill();
        }
        let done = std::fs::read_dir(runs).into_iter().flatten().flatten();
        let done = done
            .filter(|run| run.path().join("result.json").exists())
            .count();
        let kb = resident_kb(child.id()).unwrap_or(0);
        if let Some(most) = most.get_mut(done) {
            *most = kb.max(*most);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    most
}

fn resident_kb(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
