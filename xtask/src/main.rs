//! Developer commands of the workspace: `cargo xtask COMMAND`.

mod bench;
mod deconvolver;
mod deny;
mod readme;
mod recordings;
mod torture;

use std::process::ExitCode;

const USAGE: &str = "\
Usage: cargo xtask COMMAND

Commands:
  reproduce-table1 [OPTIONS]  Simulate the Lorenz benchmark, train and evaluate the models of Table 1,
                              print the table beside the paper's numbers
  simulate FILE.h5 [OPTIONS]  Write the simulated benchmark to a file
  bench [OPTIONS]             Time kernels, training steps and their growth; write results/performance.md.
                              With --steps: training steps alone, as JSON
  train-deconvolver [OPTIONS] Train the spike network of `lfads deconvolve` on simulated traces, write its weights;
                              an interrupted training goes on
  recordings [OPTIONS]        Fit recordings as laboratories bring them, by defaults; write results/recordings.md
  torture [OPTIONS]           Kill fits, fill disks, damage files, try extremes and hostile files; write results/torture.md
  deny                        Check licences, versions and sources of what is depended on, by deny.toml
  readme                      Copy tables of results into README.md and results/README.md

`cargo xtask COMMAND --help` lists the options.";

fn main() -> ExitCode {
    let args = std::env::args_os().skip(1);
    let args: Vec<String> = args.map(|arg| arg.to_string_lossy().into()).collect();
    match args.first().map(String::as_str) {
        Some("reproduce-table1" | "simulate") => bench::run(&args),
        Some("bench") => bench::performance(&args[1..]),
        Some("train-deconvolver") => deconvolver::train(&args[1..]),
        Some("deny") => deny::run(),
        Some("torture") => torture::run(&args[1..]),
        Some("recordings") => recordings::run(&args[1..]),
        Some("readme") => readme::run(bench::workspace_root()),
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
