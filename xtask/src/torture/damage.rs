//! Files that are not what they were: of runs, and of recordings.

use super::program::Program;
use super::{End, Random, Tried, bytes, write};

/// A byte changed, a stretch repeated, or the end cut off.
fn mutated(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=random.below(4) {
        let place = random.below(bytes.len());
        match random.below(4) {
            0 => bytes.truncate(place),
            1 => {
                let end = (place + random.below(64)).min(bytes.len());
                let stretch = bytes[place..end].to_vec();
                bytes.splice(place..place, stretch);
            }
            _ => {
                if let Some(byte) = bytes.get_mut(place) {
                    *byte ^= 1 << random.below(8);
                }
            }
        }
    }
    bytes
}

/// A finished run, one of its files damaged: `fit` makes it again, or says what is wrong; so do `infer`
/// and `report`.
pub fn of_runs(program: &Program, tries: usize, random: &mut Random) -> Result<Tried, String> {
    let mut tried = Tried::new("a file of a finished run damaged");
    let fit = "fit trials.h5 -c tiny.toml -o run --steps 40";
    program.must(fit)?;
    let names = [
        "run.json",
        "config.toml",
        "history.json",
        "result.json",
        "inferred.h5",
        "factor_axes.json",
        "checkpoint/last.ckpt",
        "checkpoint/states.ckpt",
    ];
    let whole: Vec<Vec<u8>> = names
        .iter()
        .map(|name| bytes(&program.file("run").join(name)))
        .collect::<Result<_, _>>()?;
    let commands = [fit, "infer run trials.h5 -o out.h5", "report run"];
    for _ in 0..tries {
        let file = random.below(names.len());
        let path = program.file("run").join(names[file]);
        write(&path, &mutated(&whole[file], random))?;
        let line = commands[random.below(commands.len())];
        let outcome = program.held(line);
        let inferred = bytes(&program.file("run/inferred.h5"))?;
        tried.count(match outcome {
            Ok(End::Done) if line == fit && inferred != whole[4] => Err(format!(
                "{} damaged, and `fit` ends with other results",
                names[file]
            )),
            Ok(end) => Ok(end),
            Err(problem) => Err(format!("{} damaged: {problem}", names[file])),
        });
        for (name, whole) in names.iter().zip(&whole) {
            write(&program.file("run").join(name), whole)?;
        }
    }
    Ok(tried)
}

/// Recordings in which something is not as it was.
pub fn of_recordings(
    program: &Program,
    tries: usize,
    random: &mut Random,
) -> Result<Tried, String> {
    let mut tried = Tried::new("recordings damaged: HDF5, .npy, .npz, CSV");
    let row = |t: usize| format!("{},{}.5\n", t % 7, t * t % 11);
    let csv: Vec<String> = (0..200).map(row).collect();
    write(&program.file("table.csv"), csv.concat().as_bytes())?;
    let files = [
        "trials.h5",
        "mouse/suite2p/plane0/F.npy",
        "traces.npz",
        "table.csv",
    ];
    let whole: Vec<Vec<u8>> = files
        .iter()
        .map(|name| bytes(&program.file(name)))
        .collect::<Result<_, _>>()?;
    let commands = [
        "inspect",
        "deconvolve -o out.h5",
        "fit -o hostile -c tiny.toml --steps 2",
    ];
    for number in 0..tries {
        let file = random.below(files.len());
        let ending = files[file].rsplit('.').next().unwrap_or_default();
        let name = format!("hostile.{ending}");
        write(&program.file(&name), &mutated(&whole[file], random))?;
        let line = format!(
            "{} {name} --rate 30 --units f",
            commands[number % commands.len()]
        );
        tried.count(program.held(&line));
        // What a fit made of one is not gone on with for the next.
        let _ = std::fs::remove_dir_all(program.file("hostile"));
    }
    Ok(tried)
}
