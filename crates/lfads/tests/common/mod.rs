//! The program in a folder of its own.

// Each test program uses a part of this.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

pub struct Lfads {
    folder: TempDir,
}

/// A model so small that a training takes a second.
pub const TINY: &str = "n_samples = 2\n[windows]\nlength = 50\noverlap = 10\n\
    [model.dynamics]\nn_factors = 3\nn_encoder = 8\nn_generator = 8\nn_ic = 8\n\
    [training]\nn_steps = 12\nbatch_size = 4\nvalidate_every = 1\nwarm_up = { deep_steps = 4 }\n";

impl Lfads {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("tiny.toml"), TINY).unwrap();
        Self { folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lfads"));
        command
            .current_dir(self.folder.path())
            .env_remove("RUST_LOG")
            .args(["--threads", "1"])
            .args(line.split_whitespace());
        command
    }

    pub fn output(&self, line: &str) -> Output {
        self.command(line).output().unwrap()
    }

    /// Runs, expects success, returns what it printed.
    pub fn run(&self, line: &str) -> String {
        let output = self.output(line);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "lfads {line}\n{stderr}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.run(&format!("--json {line}"))).unwrap()
    }

    /// Eight trials of forty bins, six neurons.
    pub fn with_trials(self) -> Self {
        self.run("simulate lorenz -o trials.h5 --conditions 4 --repeats 3 --bins 40 --neurons 6");
        self
    }

    /// Four hundred frames of five cells.
    pub fn with_suite2p(self) -> Self {
        self.run("simulate lorenz -o mouse --format suite2p --bins 400 --neurons 5");
        self
    }
}

pub fn size(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |found| found.len())
}
