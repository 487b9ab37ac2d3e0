//! Progress bars on stderr, log lines that do not tear them, and a training shown on them.

use std::io::{self, IsTerminal, Write};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use model::train::{Event, Observer, StepReport};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// All bars of a program; invisible where stderr is not a terminal.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    bars: MultiProgress,
}

impl Progress {
    /// A bar for `n` pieces of work below those that are there, in indicatif's template language.
    pub fn bar(&self, n: u64, template: &str) -> ProgressBar {
        let style = ProgressStyle::with_template(template);
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        self.bars.add(ProgressBar::new(n).with_style(style))
    }

    /// A bar for `n_steps` steps of a training.
    pub fn steps(&self, n_steps: u64) -> ProgressBar {
        self.bar(n_steps, "{bar:30} {pos}/{len} steps  {eta} left  {msg}")
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

impl<'a> MakeWriter<'a> for Progress {
    type Writer = AboveBars;

    fn make_writer(&'a self) -> AboveBars {
        AboveBars(self.bars.clone())
    }
}

/// Writes to stderr while the bars are hidden for a moment.
#[derive(Debug)]
pub struct AboveBars(MultiProgress);

impl Write for AboveBars {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Shows a training on a bar or, where bars are invisible, in the log every tenth of the way.
#[derive(Debug)]
pub struct Watch {
    bar: ProgressBar,
    tenths: usize,
}

impl Watch {
    /// Watches a training of `n_steps` steps.
    pub fn new(progress: &Progress, n_steps: usize) -> Self {
        Self {
            bar: progress.steps(n_steps as u64),
            tenths: 0,
        }
    }
}

impl Observer for Watch {
    fn on_step(&mut self, report: &StepReport) {
        let StepReport {
            step,
            n_steps,
            loss,
            ..
        } = *report;
        self.bar.set_length(n_steps as u64);
        self.bar.set_position(step as u64);
        self.bar.set_message(format!("loss {loss:.2}"));
        let tenths = step * 10 / n_steps;
        if tenths > self.tenths && self.bar.is_hidden() {
            tracing::info!("step {step} of {n_steps}, loss {loss:.2}");
        }
        self.tenths = tenths;
    }

    fn on_event(&mut self, event: &Event) {
        // The trainer itself warns of divergence and collapse.
        match event {
            Event::Resumed { step } => {
                tracing::info!("resumed from the checkpoint at step {step}");
            }
            Event::StoppedEarly { step } => tracing::info!("stopped early at step {step}"),
            Event::Diverged { .. } | Event::Collapsed { .. } => {}
        }
    }
}
