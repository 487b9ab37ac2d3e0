//! Puts the revision of the sources into the program, so that none is asked for where it runs.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=LFADS_REVISION");
    let given = std::env::var("LFADS_REVISION").ok();
    // Results come from optimised builds. The others, between changes, are not built anew for every
    // commit.
    let is_release = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let revision = match is_release {
        true => given.or_else(revision).unwrap_or_else(|| "unknown".into()),
        false => given.unwrap_or_else(|| "debug build".into()),
    };
    println!("cargo:rustc-env=LFADS_REVISION={revision}");
}

/// The commit and, behind `-dirty`, a digest of what differs from it; nothing outside a clone.
///
/// What programs write into `results` does not count: it has no part in what they compute.
fn revision() -> Option<String> {
    // All sources of the workspace: any of them may be what differs. Watched first, so that what cannot be found
    // out now is asked again when one of them changes.
    for folder in ["crates", "xtask", "Cargo.toml", "Cargo.lock"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../..")
            .join(folder);
        println!("cargo:rerun-if-changed={}", path.display());
    }
    for watched in ["HEAD", "index"] {
        let path = git(&["rev-parse", "--path-format=absolute", "--git-path", watched])?;
        println!("cargo:rerun-if-changed={path}");
    }
    let commit = git(&["describe", "--always", "--abbrev=12", "--exclude=*"])?;
    let but_results = [":(top)", ":(top,exclude)results"];
    match git(&[&["diff", "HEAD", "--"][..], &but_results].concat()) {
        Some(changes) => Some(format!("{commit}-dirty-{:08x}", digest(&changes))),
        None => Some(commit),
    }
}

/// What git prints, if it is something.
fn git(args: &[&str]) -> Option<String> {
    let command = Command::new("git")
        .args(["-c", "core.fsmonitor=false"])
        .args(args)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output();
    let output = command.ok().filter(|output| output.status.success())?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

/// FNV-1a, folded to 32 bits.
fn digest(text: &str) -> u32 {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash ^ (hash >> 32)) as u32
}
