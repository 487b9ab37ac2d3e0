//! Ctrl-C and SIGTERM: what is being trained is saved first, everything else ends at once.
//!
//! Where there are no Unix signals the program ends as the system has it; the last checkpoint is then
//! at most half a minute old.

use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

/// Trainings under way.
static HOLDS: AtomicUsize = AtomicUsize::new(0);
/// The signal that asked for an end; 0 if none did.
static ASKED: AtomicI32 = AtomicI32::new(0);

/// While one lives, the first signal asks for an end and only the second makes it.
#[derive(Debug)]
pub struct Hold(());

impl Hold {
    /// From now on.
    pub fn begin() -> Self {
        HOLDS.fetch_add(1, Ordering::SeqCst);
        Self(())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        HOLDS.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Whether a signal asked for an end.
pub fn asked() -> bool {
    ASKED.load(Ordering::SeqCst) != 0
}

/// The exit code after such an end: 130 after SIGINT, 143 after SIGTERM; none if nobody asked.
pub fn exit_code() -> Option<u8> {
    match ASKED.load(Ordering::SeqCst) {
        0 => None,
        signal => Some(128 + signal as u8),
    }
}

/// Has signals heeded. To be called once, in `main`; `at_once` is what is said where nothing is held.
#[cfg(unix)]
pub fn install(at_once: &'static str) {
    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;

    // Without a thread for them they end the program, as ever.
    let Ok(mut signals) = Signals::new([SIGINT, SIGTERM]) else {
        return;
    };
    std::thread::spawn(move || {
        for signal in signals.forever() {
            let before = ASKED.swap(signal, Ordering::SeqCst);
            if before != 0 || HOLDS.load(Ordering::SeqCst) == 0 {
                if before == 0 {
                    crate::terminal::say(at_once);
                }
                signal_hook::low_level::exit(128 + signal);
            }
            crate::terminal::say(
                "interrupted: finishing the step, then saving; once more to end at once",
            );
        }
    });
}

/// Nothing to install here.
#[cfg(not(unix))]
pub fn install(_at_once: &'static str) {}
