//! Progress bars on stderr, and log lines that do not tear them.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// The overall bar (runs) above the bar of the current run (steps).
#[derive(Clone)]
pub struct Progress {
    bars: MultiProgress,
    overall: ProgressBar,
}

impl Progress {
    /// Two levels of bars for `n_runs` runs; invisible where stderr is not a terminal.
    pub fn new(n_runs: usize) -> Self {
        let bars = MultiProgress::new();
        let overall = bars.add(
            ProgressBar::new(n_runs as u64)
                .with_style(style("{bar:30} {pos}/{len} runs  {elapsed} elapsed  {msg}")),
        );
        overall.enable_steady_tick(Duration::from_millis(500));
        Self { bars, overall }
    }

    /// A bar for `n_steps` steps of the current run, below the overall one.
    pub fn steps(&self, n_steps: u64) -> ProgressBar {
        let bar = ProgressBar::new(n_steps)
            .with_style(style("{bar:30} {pos}/{len} steps  {eta} left  {msg}"));
        self.bars.add(bar)
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

    /// Sends `tracing` events to stderr, above the bars.
    ///
    /// The level is `info` plus `verbose`; the variable `RUST_LOG` overrides it.
    pub fn install_log(&self, verbose: u8) {
        let level = ["info", "debug", "trace"][usize::from(verbose.min(2))];
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_target(verbose > 0)
            .with_timer(tracing_subscriber::fmt::time::uptime())
            .with_ansi(io::stderr().is_terminal())
            .with_writer(self.clone())
            .init();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl<'a> MakeWriter<'a> for Progress {
    type Writer = AboveBars;

    fn make_writer(&'a self) -> AboveBars {
        AboveBars(self.bars.clone())
    }
}

/// Writes to stderr while the bars are hidden for a moment.
pub struct AboveBars(MultiProgress);

impl Write for AboveBars {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
