//! The overall bar (runs) above the bar of the current run (steps).

use std::time::Duration;

use indicatif::ProgressBar;
use runs::progress::{Progress, Watch};

/// Progress of a table.
pub struct TableProgress {
    bars: Progress,
    overall: ProgressBar,
}

impl TableProgress {
    /// Two levels of bars for `n_runs` runs.
    pub fn new(n_runs: usize) -> Self {
        let bars = Progress::default();
        let template = "{bar:30} {pos}/{len} runs  {elapsed} elapsed  {msg}";
        let overall = bars.bar(n_runs as u64, template);
        overall.enable_steady_tick(Duration::from_millis(500));
        Self { bars, overall }
    }

    /// Sends `tracing` events to stderr, above the bars.
    pub fn install_log(&self, verbose: u8) {
        self.bars.install_log(verbose);
    }

    /// Watches the training of the current run, below the overall bar.
    pub fn watch(&self, n_steps: usize) -> Watch {
        Watch::new(&self.bars, n_steps)
    }

    /// Names the run that is being worked on.
    pub fn working_on(&self, run: &str) {
        self.overall.set_message(run.to_string());
    }

    /// Counts one run as done.
    pub fn run_done(&self) {
        self.overall.inc(1);
    }

    /// Removes the bars.
    pub fn clear(&self) {
        self.overall.finish_and_clear();
    }
}
