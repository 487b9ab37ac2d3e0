//! Ctrl-C, SIGTERM and a closed terminal: what is being trained is saved first, everything else ends at
//! once.
//!
//! Where there are no Unix signals (Windows) the program ends as the system has it; the last checkpoint is
//! then at most half a minute old.

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

/// The exit code after such an end: 129 after SIGHUP, 130 after SIGINT, 143 after SIGTERM; none if nobody
/// asked.
pub fn exit_code() -> Option<u8> {
    match ASKED.load(Ordering::SeqCst) {
        0 => None,
        signal => Some(128 + signal as u8),
    }
}

/// Has signals heeded, but for those that whoever started the program has it ignore, as `nohup` does. To
/// be called once, in `main`; `at_once` is what is said where nothing is held.
#[cfg(unix)]
pub fn install(at_once: &'static str) {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;

    let heeded = [SIGHUP, SIGINT, SIGTERM];
    let heeded = heeded.into_iter().filter(|signal| !is_ignored(*signal));
    // Without a thread for them they end the program, as ever.
    let Ok(mut signals) = Signals::new(heeded) else {
        return;
    };
    std::thread::spawn(move || {
        let mut hastened = false;
        for signal in signals.forever() {
            // A hangup is no impatience: it comes with another signal, or twice, by the system and by
            // the shell.
            let again = signal != SIGHUP && std::mem::replace(&mut hastened, true);
            if signal == SIGHUP && asked() {
                continue;
            }
            ASKED.store(signal, Ordering::SeqCst);
            if again || HOLDS.load(Ordering::SeqCst) == 0 {
                if !again {
                    crate::terminal::say(at_once);
                }
                data::abandon_unfinished();
                signal_hook::low_level::exit(128 + signal);
            }
            crate::terminal::say(
                "interrupted: finishing the step, then saving; once more to end at once",
            );
        }
    });
}

#[cfg(unix)]
fn is_ignored(signal: i32) -> bool {
    // SAFETY: all zeros is a value of this plain structure, which the call fills in.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: without a new action it only says what the present one is.
    let asked = unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut action) };
    asked == 0 && action.sa_sigaction == libc::SIG_IGN
}

/// Nothing to install here.
#[cfg(not(unix))]
pub fn install(_at_once: &'static str) {}
