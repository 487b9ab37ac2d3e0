#![doc = include_str!("../README.md")]

mod args;
mod constant_rate;
mod dataset;
mod evaluate;
mod figures;
mod performance;
mod progress;
mod reading;
mod recipe;
mod reproduce_table1;
mod run;
mod simple;
mod simulate;
mod table;
mod untrained;

use std::process::ExitCode;

use clap::Parser;
use runs::interrupt;

use crate::args::{Args, Command};

/// Something the user gave cannot be used.
const BAD_INPUT: u8 = 2;

fn main() -> ExitCode {
    runs::memory::keep_freed();
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) if error.use_stderr() => return refuse(&args::one_line(&error)),
        Err(help) => help.exit(),
    };
    interrupt::install(
        "interrupted: runs that are done are kept, the same command goes on from there",
    );
    let outcome = match &args.command {
        Command::ReproduceTable1(args) => reproduce_table1::run(args),
        Command::Performance(args) => performance::run(args).map(|()| ExitCode::SUCCESS),
        Command::Simulate(args) => simulate::run(args).map(|()| ExitCode::SUCCESS),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => match interrupt::exit_code() {
            Some(code) => {
                runs::terminal::say(&format!("{error:#}; the same command goes on from there"));
                ExitCode::from(code)
            }
            None => refuse(&format!("error: {error:#}")),
        },
    }
}

/// Gives the memory that is kept for reuse back to the system.
fn release_memory() {
    gru::kernels::free_buffers();
    runs::memory::give_back();
}

fn refuse(message: &str) -> ExitCode {
    runs::terminal::say(message);
    ExitCode::from(BAD_INPUT)
}
