//! The program in a folder of its own, and what is asked of any end that it may come to.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::End;

/// No try takes longer.
const LIMIT: Duration = Duration::from_mins(1);
/// A model of which hundreds of steps take seconds.
const TINY: &str = "n_samples = 2\n[windows]\nlength = 50\noverlap = 10\n\
    [model.dynamics]\nn_factors = 3\nn_encoder = 8\nn_generator = 8\nn_ic = 8\n\
    [training]\nn_steps = 120\nbatch_size = 4\nvalidate_every = 5\nwarm_up = { deep_steps = 4 }\n";

pub struct Program {
    path: PathBuf,
    folder: PathBuf,
}

impl Drop for Program {
    fn drop(&mut self) {
        // What cannot be removed is left to whoever cleans the folder for temporary files.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Program {
    /// In a new folder, with recordings `trials.h5` and `mouse/suite2p` and the settings `tiny.toml`.
    pub fn new(path: &Path) -> Result<Self, String> {
        let name = format!("lfads-torture-{}", std::process::id());
        let program = Self {
            path: path.into(),
            folder: std::env::temp_dir().join(name),
        };
        let made = std::fs::create_dir_all(&program.folder);
        made.map_err(|error| format!("{}: {error}", program.folder.display()))?;
        super::write(&program.file("tiny.toml"), TINY.as_bytes())?;
        for line in [
            "simulate lorenz -o trials.h5 --conditions 4 --repeats 3 --bins 40 --neurons 6",
            "simulate lorenz -o mouse --format suite2p --bins 400 --neurons 5",
            "deconvolve mouse/suite2p -o traces.npz --tau 0.7",
        ] {
            program.must(line)?;
        }
        Ok(program)
    }

    /// A file in its folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The program that is built beside it.
    pub fn beside(&self, name: &str) -> Command {
        let mut command = Command::new(self.path.with_file_name(name));
        command.current_dir(&self.folder).env_remove("RUST_LOG");
        command
    }

    pub fn command(&self, line: &str) -> Command {
        self.command_under(&[], line)
    }

    /// The program run by another one, whose words come first.
    fn command_under(&self, by: &[&str], line: &str) -> Command {
        let mut command = match by.split_first() {
            Some((by, words)) => {
                let mut command = Command::new(by);
                command.args(words).arg(&self.path);
                command
            }
            None => Command::new(&self.path),
        };
        command
            .current_dir(&self.folder)
            .env_remove("RUST_LOG")
            .args(["--threads", "1"])
            .args(line.split_whitespace())
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        command
    }

    /// Starts it with its log in the file `log`.
    pub fn start(&self, line: &str) -> Result<Child, String> {
        self.start_under(&[], line)
    }

    fn start_under(&self, by: &[&str], line: &str) -> Result<Child, String> {
        let log = File::create(self.file("log")).map_err(|error| error.to_string())?;
        let child = self.command_under(by, line).stderr(log).spawn();
        child.map_err(|error| format!("{}: {error}", self.path.display()))
    }

    /// Runs it to its end; the exit code, and the lines that are no log.
    pub fn end(&self, line: &str) -> Result<(i32, Vec<String>), String> {
        self.end_under(&[], line)
    }

    /// The same, run by another program, whose words come first.
    pub fn end_under(&self, by: &[&str], line: &str) -> Result<(i32, Vec<String>), String> {
        let mut child = self.start_under(by, line)?;
        let code = within(&mut child, LIMIT).ok_or_else(|| format!("`{line}` did not end"))?;
        let log = super::bytes(&self.file("log"))?;
        let log = String::from_utf8_lossy(&log).into_owned();
        let is_said = |line: &&str| !line.contains(" INFO ") && !line.contains(" WARN ");
        let said = log.lines().filter(is_said).map(str::to_owned).collect();
        Ok((code, said))
    }

    /// Runs it; anything but success is an error.
    pub fn must(&self, line: &str) -> Result<(), String> {
        match self.end(line)? {
            (0, _) => Ok(()),
            (code, said) => Err(format!("`{line}` ended with {code}: {}", said.join(" "))),
        }
    }

    /// Runs it; it should succeed, or end with exit code 2 and one line.
    pub fn held(&self, line: &str) -> Result<End, String> {
        held(line, self.end(line)?)
    }
}

/// What is asked of any end: success and no word but the log's, or exit code 2 and one line.
pub fn held(line: &str, end: (i32, Vec<String>)) -> Result<End, String> {
    match end {
        (0, said) if said.is_empty() => Ok(End::Done),
        (2, said) if said.len() == 1 => Ok(End::InWords),
        (code, said) => Err(format!("`{line}` ended with {code}: {}", said.join(" / "))),
    }
}

/// The exit code, -1 after a signal; none, and the process killed, if it takes longer.
pub fn within(child: &mut Child, limit: Duration) -> Option<i32> {
    let start = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status.code().unwrap_or(-1)),
            Ok(None) if start.elapsed() < limit => std::thread::sleep(Duration::from_millis(2)),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
        }
    }
}
