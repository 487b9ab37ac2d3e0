#![doc = include_str!("../README.md")]

mod args;
mod commands;
mod deconvolution;
mod input;
mod reading;
mod report;
mod signal;

use std::process::ExitCode;

use clap::Parser;
use runs::progress::Progress;

use crate::args::Args;

/// Something the user gave cannot be used.
const BAD_INPUT: u8 = 2;

fn main() -> ExitCode {
    runs::memory::keep_freed();
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) if error.use_stderr() => return refuse(&args::one_line(&error)),
        Err(help) => help.exit(),
    };
    let progress = Progress::default();
    progress.install_log(args.verbose);
    match commands::run(&args, &progress) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => refuse(&format!("error: {error:#}")),
    }
}

fn refuse(message: &str) -> ExitCode {
    eprintln!("{message}");
    ExitCode::from(BAD_INPUT)
}
