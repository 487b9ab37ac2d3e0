#![doc = include_str!("../README.md")]

mod args;
mod commands;
mod external;
mod input;
mod range;

use std::process::ExitCode;

use clap::Parser;
use runs::interrupt;
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
    interrupt::install(args.command.when_interrupted());
    let progress = Progress::default();
    progress.install_log(args.verbose);
    match commands::run(&args, &progress) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => match interrupt::exit_code() {
            Some(code) => {
                runs::terminal::say(&format!("{error:#}; the same command goes on from there"));
                ExitCode::from(code)
            }
            None => refuse(&format!("error: {error:#}")),
        },
    }
}

fn refuse(message: &str) -> ExitCode {
    runs::terminal::say(message);
    ExitCode::from(BAD_INPUT)
}
