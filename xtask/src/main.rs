//! Developer commands of the workspace: `cargo xtask COMMAND`.

mod reproduce_table1;

use std::process::ExitCode;

const USAGE: &str = "\
Usage: cargo xtask COMMAND

Commands:
  reproduce-table1 [OPTIONS]  Simulate the Lorenz benchmark, train and evaluate the models of Table 1,
                              print the table beside the paper's numbers (--help lists the options)";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some("reproduce-table1") => reproduce_table1::run(&args.collect::<Vec<_>>()),
        Some("help" | "--help" | "-h") => {
            println!("{USAGE}");
            ExitCode::SUCCESS
        }
        Some(unknown) => usage_error(&format!("unknown command '{unknown}'")),
        None => usage_error("a command is missing"),
    }
}

fn usage_error(message: &str) -> ExitCode {
    eprintln!("error: {message}\n\n{USAGE}");
    ExitCode::from(2)
}
