//! Progress bars on stderr, log lines that do not tear them, and work shown on them.
//!
//! A training is watched by a [`Watch`]; other work tells how far it is by events of the target
//! [`model::PROGRESS`]. Where bars are invisible both become a line of the log, one a minute.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, MultiProgress, ProgressBar, ProgressStyle};
use model::train::{Event, Observer, StepReport};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{EnvFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::interrupt::{self, Hold};

/// Time between lines of the log about the same work.
const LINE_EVERY: Duration = Duration::from_mins(1);

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

    /// Sends `tracing` events to stderr, above the bars, and shows what tells of its progress.
    ///
    /// The level is `info` plus `verbose`; the variable `RUST_LOG` overrides it.
    pub fn install_log(&self, verbose: u8) {
        let level = ["info", "debug", "trace"][usize::from(verbose.min(2))];
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
        let without_progress = format!("{}=off", model::PROGRESS).parse();
        let filter = match without_progress {
            Ok(directive) => filter.add_directive(directive),
            Err(_) => filter,
        };
        let log = tracing_subscriber::fmt::layer()
            .with_target(verbose > 0)
            .with_timer(tracing_subscriber::fmt::time::uptime())
            .with_ansi(io::stderr().is_terminal())
            // Where stderr is lost, so is what would be said of that.
            .log_internal_errors(false)
            .with_writer(self.clone())
            .with_filter(filter);
        let stages = Stages {
            progress: self.clone(),
            start: Instant::now(),
            now: Mutex::new(None),
        };
        let told = Targets::new().with_target(model::PROGRESS, LevelFilter::TRACE);
        let installed = tracing_subscriber::registry()
            .with(log)
            .with(stages.with_filter(told))
            .try_init();
        if installed.is_err() {
            crate::terminal::say("the log is already set up by someone else");
        }
    }
}

impl<'a> MakeWriter<'a> for Progress {
    type Writer = AboveBars;

    fn make_writer(&'a self) -> AboveBars {
        AboveBars(self.bars.clone())
    }
}

/// Writes to stderr while the bars are hidden for a moment; what cannot be written is lost, since no
/// work should end for it.
#[derive(Debug)]
pub struct AboveBars(MultiProgress);

impl Write for AboveBars {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.suspend(|| io::stderr().write_all(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = io::stderr().flush();
        Ok(())
    }
}

/// When there was a line about some work, and how long the rest of it will take.
#[derive(Debug)]
struct Clock {
    start: Instant,
    /// Pieces that were done then.
    first: u64,
    line: Instant,
}

impl Clock {
    fn new(done: u64) -> Self {
        let now = Instant::now();
        Self {
            start: now,
            first: done,
            line: now,
        }
    }

    /// Whether a line is due; it is then taken as said.
    fn is_due(&mut self) -> bool {
        let is_due = self.line.elapsed() >= LINE_EVERY;
        if is_due {
            self.line = Instant::now();
        }
        is_due
    }

    /// `3 minutes left`; nothing before there is anything to judge by.
    fn left(&self, done: u64, n: u64) -> String {
        let n_done = done.saturating_sub(self.first);
        if n_done == 0 {
            return String::new();
        }
        let each = self.start.elapsed().as_secs_f64() / n_done as f64;
        let left = Duration::try_from_secs_f64(each * n.saturating_sub(done) as f64);
        left.map_or_else(
            |_| String::new(),
            |left| format!(", {} left", HumanDuration(left)),
        )
    }
}

/// Work that is told of by events, on a bar or in the log.
struct Stages {
    progress: Progress,
    start: Instant,
    now: Mutex<Option<Stage>>,
}

struct Stage {
    what: String,
    bar: ProgressBar,
    clock: Clock,
}

/// The fields of an event: `what` is done, of which `done` pieces are, `of` so many.
#[derive(Default)]
struct Told {
    what: String,
    done: u64,
    of: u64,
}

impl Visit for Told {
    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "done" => self.done = value,
            "of" => self.of = value,
            _ => {}
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "what" {
            value.clone_into(&mut self.what);
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

impl<S: tracing::Subscriber> Layer<S> for Stages {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut told = Told::default();
        event.record(&mut told);
        let Told { what, done, of } = told;
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if now.as_ref().is_none_or(|stage| stage.what != what) {
            let template = "{bar:30} {pos}/{len} {msg}  {eta} left";
            let bar = self.progress.bar(of, template);
            bar.set_message(what.clone());
            let clock = Clock::new(done);
            *now = Some(Stage { what, bar, clock });
        }
        let Some(stage) = now.as_mut() else { return };
        stage.bar.set_position(done);
        if stage.bar.is_hidden() && done < of && stage.clock.is_due() {
            let left = stage.clock.left(done, of);
            let seconds = self.start.elapsed().as_secs_f64();
            let line = format!(
                "{seconds:>16.9}s  INFO {}: {done} of {of}{left}\n",
                stage.what
            );
            let _ = self.progress.make_writer().write(line.as_bytes());
        }
        if done >= of {
            stage.bar.finish_and_clear();
            *now = None;
        }
    }
}

/// Shows a training on a bar or, where bars are invisible, in the log every tenth of the way and every
/// minute. While it lives, a signal ends the training only after it has been saved.
#[derive(Debug)]
pub struct Watch {
    bar: ProgressBar,
    tenths: usize,
    clock: Option<Clock>,
    _hold: Hold,
}

impl Watch {
    /// Watches a training of `n_steps` steps.
    pub fn new(progress: &Progress, n_steps: usize) -> Self {
        Self {
            bar: progress.steps(n_steps as u64),
            tenths: 0,
            clock: None,
            _hold: Hold::begin(),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
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
        let clock = self.clock.get_or_insert_with(|| Clock::new(step as u64));
        let tenths = step * 10 / n_steps;
        if self.bar.is_hidden() && (clock.is_due() || tenths > self.tenths) {
            let left = clock.left(step as u64, n_steps as u64);
            tracing::info!("step {step} of {n_steps}, loss {loss:.2}{left}");
        }
        self.tenths = tenths;
    }

    fn on_event(&mut self, event: &Event) {
        // The trainer itself warns of divergence, collapse and idle initial conditions.
        match event {
            Event::Resumed { step } => {
                tracing::info!("resumed from the checkpoint at step {step}");
            }
            Event::StoppedEarly { step } => tracing::info!("stopped early at step {step}"),
            Event::Diverged { .. } | Event::Collapsed { .. } | Event::InputsCarryAll { .. } => {}
        }
    }

    fn wants_to_stop(&mut self) -> bool {
        interrupt::asked()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_is_that_of_the_pieces_left() {
        let mut clock = Clock::new(10);
        assert_eq!(clock.left(10, 100), "");
        clock.start = Instant::now().checked_sub(Duration::from_mins(1)).unwrap();
        assert_eq!(clock.left(40, 100), ", 2 minutes left");
        assert!(!clock.is_due());
        clock.line = clock.start;
        assert!(clock.is_due() && !clock.is_due());
    }
}
