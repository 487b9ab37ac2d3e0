//! Every number of every command at its ends and beyond.

use super::Tried;
use super::program::Program;

/// Options that take a number, by command; the last word of each is to be a number.
const COMMANDS: [(&str, &[&str]); 5] = [
    (
        "inspect mouse/suite2p",
        &[
            "--rate",
            "--typical-tau",
            "--neuropil",
            "--from",
            "--to",
            "--leave-out",
            "--threads",
        ],
    ),
    (
        "deconvolve mouse/suite2p -o out.h5",
        &[
            "--rate",
            "--tau",
            "--tau 0.7 --tau-rise",
            "--typical-tau",
            "--lambda",
            "--s-min",
            "--noise-constrained --noise",
            "--baseline-window",
            "--method posterior --tau",
        ],
    ),
    (
        "fit trials.h5 -o extreme -c tiny.toml --steps 2",
        &["--tau", "--seed", "--rate"],
    ),
    (
        "simulate lorenz -o small.h5 --conditions 4 --repeats 3 --bins 20 --neurons 3",
        &["--seed", "--dt", "--tau", "--noise"],
    ),
    (
        "simulate lorenz -o small.h5",
        &["--neurons", "--bins", "--conditions", "--repeats"],
    ),
];

const NUMBERS: [&str; 16] = [
    "0",
    "-1",
    "1",
    "2",
    "1e-9",
    "1e-3",
    "1e-2",
    "100",
    "1e6",
    "1e9",
    "1e308",
    "nan",
    "inf",
    "-inf",
    "4294967296",
    "18446744073709551616",
];

pub fn of_every_command(program: &Program) -> Tried {
    let mut tried = Tried::new("numbers at the ends of their range and beyond, every command");
    for (command, options) in COMMANDS {
        for option in options {
            for number in NUMBERS {
                tried.count(program.held(&format!("{command} {option} {number}")));
                // A fit with other settings needs another folder.
                let _ = std::fs::remove_dir_all(program.file("extreme"));
            }
        }
    }
    tried
}
