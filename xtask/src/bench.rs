//! Commands of the benchmark program, which is built optimised and run; `bench` runs the criterion benches before it.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Devices that need a Cargo feature of the same name; `flex`, the CPU, is always built in.
const OPTIONAL_DEVICES: [&str; 3] = ["wgpu", "tch", "cuda"];

/// Runs `bench ARGS` from the workspace root, building it first.
pub fn run(args: &[String]) -> ExitCode {
    let mut cargo = cargo();
    cargo.args(cargo_arguments(args));
    hand_over(cargo)
}

/// Runs the criterion benches of the kernels and of OASIS, then `bench performance ARGS`. With `--steps` or `--help` in ARGS, the
/// latter alone.
pub fn performance(args: &[String]) -> ExitCode {
    let short = |arg: &String| ["--steps", "--help", "-h"].contains(&arg.as_str());
    if !args.iter().any(short) {
        let benches = ["bench", "--package", "gru", "--package", "calcium"];
        match cargo().args(benches).status() {
            Ok(status) if status.success() => {}
            Ok(_) => return ExitCode::FAILURE,
            Err(error) => return cannot_start(&error),
        }
    }
    run(&[&["performance".to_string()], args].concat())
}

/// Cargo at the workspace root.
pub fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace_root());
    cargo
}

/// The program `lfads` as the tests build and run it, and `bench` beside it.
pub fn tested_program() -> Result<PathBuf, String> {
    let those_that_run_it = ["--test", "end_to_end", "--test", "cli"];
    let build = [&["test", "--workspace", "--no-run"], &those_that_run_it[..]];
    built(&build.concat(), "target/debug/lfads")
}

/// The program `lfads`, optimised.
pub fn optimised_program() -> Result<PathBuf, String> {
    built(
        &["build", "--release", "--package", "lfads"],
        "target/release/lfads",
    )
}

fn built(build: &[&str], program: &str) -> Result<PathBuf, String> {
    match cargo().args(build).status() {
        Ok(status) if status.success() => Ok(workspace_root().join(program)),
        _ => Err("error: the program cannot be built".into()),
    }
}

/// The root of the workspace this program was built in.
pub fn workspace_root() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask)
}

fn cargo_arguments(args: &[String]) -> Vec<String> {
    let mut all: Vec<String> = ["run", "--release", "--package", "bench"]
        .map(Into::into)
        .into();
    if let Some(feature) = device(args).filter(|name| OPTIONAL_DEVICES.contains(name)) {
        all.extend(["--features".into(), feature.into()]);
    }
    all.push("--".into());
    all.extend_from_slice(args);
    all
}

/// The value of `--device NAME` or `--device=NAME`.
fn device(args: &[String]) -> Option<&str> {
    let spaced = args
        .windows(2)
        .filter(|pair| pair[0] == "--device")
        .map(|pair| pair[1].as_str());
    let joined = args
        .iter()
        .filter_map(|argument| argument.strip_prefix("--device="));
    joined.chain(spaced).next()
}

/// Replaces this process, so that signals and the exit code are the program's own.
#[cfg(unix)]
pub fn hand_over(mut command: Command) -> ExitCode {
    use std::os::unix::process::CommandExt;
    cannot_start(&command.exec())
}

#[cfg(not(unix))]
pub fn hand_over(mut command: Command) -> ExitCode {
    match command.status() {
        Ok(status) => status
            .code()
            .and_then(|code| u8::try_from(code).ok())
            .map_or(ExitCode::FAILURE, ExitCode::from),
        Err(error) => cannot_start(&error),
    }
}

fn cannot_start(error: &std::io::Error) -> ExitCode {
    eprintln!("error: cannot start cargo: {error}");
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(args: &[&str]) -> Vec<String> {
        args.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_device_turns_on_its_feature() {
        for args in [
            &["--quick", "--device", "wgpu"][..],
            &["--device=wgpu", "--seeds", "2"],
        ] {
            let all = cargo_arguments(&strings(args));
            assert!(
                all.windows(2).any(|pair| pair == ["--features", "wgpu"]),
                "{all:?}"
            );
            assert!(all.ends_with(&strings(args)), "{all:?}");
        }
    }

    #[test]
    fn the_cpu_needs_no_feature() {
        for args in [&["--device", "flex"][..], &["--quick"], &["--device"]] {
            let all = cargo_arguments(&strings(args));
            assert!(!all.contains(&"--features".to_string()), "{all:?}");
        }
    }
}
