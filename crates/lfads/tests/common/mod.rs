//! The program in a folder of its own.

// Each test program uses a part of this.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// Turns the factors of a report's page by a key, and says in its title whether they turned.
const TURN: &str = r#"<script>
const before = document.querySelector("path.orbit").getAttribute("d");
svg.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowLeft", bubbles: true }));
document.title = document.querySelector("path.orbit").getAttribute("d") === before ? "stays" : "turns";
</script></body>"#;

/// Opens a report's page in headless Chromium, turns what can be turned, and expects no error on its
/// console. Where there is no Chromium on the PATH this is skipped, and says so.
pub fn open_in_chromium(page: &Path) {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let candidates =
        std::env::split_paths(&paths).flat_map(|folder| names.map(|name| folder.join(name)));
    let Some(chromium) = candidates.into_iter().find(|path| path.is_file()) else {
        eprintln!("skipped: the page is not opened, no Chromium is on the PATH");
        return;
    };
    let turned = page.with_file_name("turned.html");
    let text = std::fs::read_to_string(page).unwrap();
    std::fs::write(&turned, text.replace("</body>", TURN)).unwrap();
    let output = Command::new(chromium)
        .args(["--headless", "--no-sandbox", "--disable-gpu"])
        .args(["--enable-logging=stderr", "--dump-dom"])
        .arg(format!("file://{}", turned.display()))
        .output()
        .unwrap();
    let [dom, log] =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(!log.contains("CONSOLE"), "{log}");
    assert!(dom.contains("<title>turns</title>"), "{log}");
}

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
