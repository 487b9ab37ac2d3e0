//! Disks that are full, calls of the system that fail, and kills at such calls.

use std::process::{Command, Stdio};

use super::program::{Program, held};
use super::{End, Random, Tried, bytes};

/// A command and the file that it is to leave; `full` is the small disk.
const WRITERS: [(&str, &str); 7] = [
    (
        "fit trials.h5 -c tiny.toml --steps 40 --npz -o full/run",
        "full/run/inferred.npz",
    ),
    (
        "deconvolve mouse/suite2p --tau 0.7 -o full/out.h5",
        "full/out.h5",
    ),
    (
        "deconvolve mouse/suite2p --tau 0.7 -o full/out.npz",
        "full/out.npz",
    ),
    (
        "deconvolve mouse/suite2p --tau 0.7 -o full/out.nwb",
        "full/out.nwb",
    ),
    (
        "simulate lorenz --conditions 4 --repeats 3 --bins 20 --neurons 3 -o full/new.h5",
        "full/new.h5",
    ),
    ("infer done trials.h5 -o full/out.h5", "full/out.h5"),
    ("report done -o full/page.html", "full/page.html"),
];

/// Runs its arguments on a small disk of `$1` kB, then again on one that has grown, and keeps `$2`.
const ON_A_SMALL_DISK: &str = r#"
size=$1 kept=$2; shift 2
mount -t tmpfs -o size=${size}k none full || exit 96
"$@"; code=$?
if ls -A full full/run full/run/checkpoint 2>/dev/null | grep -q unfinished; then echo "left unfinished" >&2; fi
mount -o remount,size=64m none full
"$@" >/dev/null 2>&1 || echo "fails on the larger disk too" >&2
cp "$kept" kept; du -sk full | cut -f1 >needed
exit $code
"#;

/// Every command that writes, on a disk that is too small for what it writes, or just large enough.
pub fn full(program: &Program, tries: usize, random: &mut Random) -> Result<Tried, String> {
    let mut tried = Tried::new("a full disk, then a larger one");
    if !works(&["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"]) {
        return Ok(tried.skipped("no small disk can be mounted here (`unshare -rm`)"));
    }
    let made = std::fs::create_dir_all(program.file("full"));
    made.map_err(|error| error.to_string())?;
    program.must("fit trials.h5 -c tiny.toml --steps 40 -o done")?;
    for (line, file) in WRITERS {
        let on = |kb: usize| {
            let _ = std::fs::remove_file(program.file("kept"));
            let size = kb.to_string();
            let by = [
                "unshare",
                "-rm",
                "sh",
                "-c",
                ON_A_SMALL_DISK,
                "sh",
                &size,
                file,
            ];
            let end = held(
                &format!("{line}` on {kb} kB: `"),
                program.end_under(&by, line)?,
            )?;
            Ok::<_, String>((end, bytes(&program.file("kept"))?))
        };
        let (_, whole) = on(64 << 10)?;
        let needed = String::from_utf8_lossy(&bytes(&program.file("needed"))?).into_owned();
        let needed: usize = needed.trim().parse().unwrap_or(1);
        for _ in 0..tries {
            let kb = 4 + random.below(needed * 5 / 4);
            tried.count(match on(kb) {
                Ok((end, kept)) if kept == whole => Ok(end),
                Ok(_) => Err(format!("`{line}` on {kb} kB, then on more: other results")),
                Err(problem) => Err(problem),
            });
        }
    }
    Ok(tried)
}

/// Calls by which a fit changes what is on the disk.
const CALLS: [&str; 7] = [
    "openat", "write", "fsync", "rename", "link", "unlink", "mkdir",
];
const FIT: &str = "fit trials.h5 -c tiny.toml --steps 40 -o";

/// Fits that are killed as they enter such a call, one chosen at random; each is then gone on with.
pub fn kills(program: &Program, tries: usize, random: &mut Random) -> Result<Tried, String> {
    let tried = Tried::new("kill -9 at a call of the system, resumed to the same bits");
    at_calls(program, tries, random, tried, "signal=KILL")
}

/// Fits of which such a call fails, now and ever after; each is then gone on with.
pub fn failures(program: &Program, tries: usize, random: &mut Random) -> Result<Tried, String> {
    let tried = Tried::new("calls of the system that fail, resumed to the same bits");
    at_calls(program, tries, random, tried, "error=EIO")
}

fn at_calls(
    program: &Program,
    tries: usize,
    random: &mut Random,
    mut tried: Tried,
    fault: &str,
) -> Result<Tried, String> {
    if !works(&["strace", "-qq", "-o", "/dev/null", "true"]) {
        return Ok(tried.skipped("no `strace` here"));
    }
    let _ = std::fs::remove_dir_all(program.file("unhurt"));
    program.must(&format!("{FIT} unhurt"))?;
    let whole = bytes(&program.file("unhurt/inferred.h5"))?;
    for call in CALLS {
        let trace = format!("trace={call}");
        let strace = ["strace", "-f", "-qq", "-e", &trace];
        let _ = std::fs::remove_dir_all(program.file("hurt"));
        let counting = [&strace[..], &["-o", "calls"]].concat();
        program.end_under(&counting, &format!("{FIT} hurt"))?;
        let calls = bytes(&program.file("calls"))?;
        let n = calls.split(|byte| *byte == b'\n').count();
        for _ in 0..tries {
            let _ = std::fs::remove_dir_all(program.file("hurt"));
            let when = 1 + random.below(n);
            // A failure lasts; a kill needs no second.
            let lasts = if fault.starts_with("error") { "+" } else { "" };
            let inject = format!("inject={call}:{fault}:when={when}{lasts}");
            let by = [&strace[..], &["-o", "/dev/null", "-e", &inject]].concat();
            let fit = format!("{FIT} hurt");
            let end = program.end_under(&by, &fit)?;
            let outcome = match end {
                (0, _) => Ok(End::Done),
                (-1, _) if lasts.is_empty() => Ok(End::Done),
                // Its libraries could not be opened: it never began.
                (127, said) if said.iter().any(|line| line.contains("loading shared")) => {
                    Ok(End::InWords)
                }
                // What should be said may be lost as well.
                (2, said) if said.len() <= 1 => Ok(End::InWords),
                (code, said) => Err(format!("ended with {code}: {}", said.join(" / "))),
            };
            let resumed = program
                .must(&fit)
                .and_then(|()| bytes(&program.file("hurt/inferred.h5")));
            tried.count(match (outcome, resumed) {
                (Ok(end), Ok(results)) if results == whole => Ok(end),
                (Ok(_), Ok(_)) => Err(format!("{inject}, then resumed: other results")),
                (Err(problem), _) | (_, Err(problem)) => Err(format!("{inject}: {problem}")),
            });
        }
    }
    Ok(tried)
}

fn works(command: &[&str]) -> bool {
    let mut run = Command::new(command[0]);
    let run = run.args(&command[1..]);
    let run = run.stdin(Stdio::null()).stdout(Stdio::null());
    run.stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
