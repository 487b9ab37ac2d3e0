//! Fits that are killed, that meet each other, and that nobody listens to.

use std::process::Stdio;
use std::time::{Duration, Instant};

use super::program::{Program, within};
use super::{End, Random, Tried, bytes};

const MODELS: [&str; 7] = [
    "count-ladder",
    "ladder-lfads",
    "oasis-lfads",
    "network-lfads",
    "gaussian-lfads",
    "edgeworth-lfads",
    "lfads --dataset spikes",
];

/// Kills a fit of each model so many times, and compares what it ends with to one that was left alone.
pub fn at_random_moments(
    program: &Program,
    tries: usize,
    random: &mut Random,
) -> Result<Tried, String> {
    let mut tried = Tried::new("kill -9 at random moments, resumed to the same bits");
    for (number, model) in MODELS.iter().enumerate() {
        let fit = |run: &str| format!("fit trials.h5 -c tiny.toml -o {run}{number} -m {model}");
        let start = Instant::now();
        program.must(&fit("whole"))?;
        let whole = start.elapsed().as_millis() as usize;
        for _ in 0..tries {
            let mut child = program.start(&fit("cut"))?;
            let moment = Duration::from_millis(random.below(whole) as u64);
            let outcome = match within(&mut child, moment) {
                // Killed by the limit, or done before it.
                None | Some(0) => Ok(End::Done),
                Some(code) => Err(format!("{model}, resumed, ended with {code}")),
            };
            tried.count(outcome);
        }
        let results = |run: &str| bytes(&program.file(&format!("{run}{number}/inferred.h5")));
        let same =
            program
                .must(&fit("cut"))
                .and_then(|()| match results("cut")? == results("whole")? {
                    true => Ok(End::Done),
                    false => Err(format!("{model}: killed {tries} times, the results differ")),
                });
        tried.count(same);
    }
    Ok(tried)
}

/// Two processes at once in one folder: one works, the other is refused.
pub fn two_at_once(program: &Program, tries: usize) -> Result<Tried, String> {
    let mut tried = Tried::new("two processes at once in one folder");
    for number in 0..tries {
        let fit = format!("fit trials.h5 -c tiny.toml -o pair{number} --steps 40");
        let mut first = program.start(&fit)?;
        let second = program.end(&fit)?.0;
        let limit = Duration::from_mins(1);
        let codes = [within(&mut first, limit), Some(second)];
        // The second may have come when the first was done.
        tried.count(match codes {
            [Some(0), Some(0)] => Ok(End::Done),
            [Some(0), Some(2)] | [Some(2), Some(0)] => Ok(End::InWords),
            codes => Err(format!("two at once ended with {codes:?}")),
        });
    }
    Ok(tried)
}

/// Fits whose stdout and stderr are closed at a random moment.
pub fn nobody_listens(
    program: &Program,
    tries: usize,
    random: &mut Random,
) -> Result<Tried, String> {
    let mut tried = Tried::new("stdout and stderr closed at random moments");
    for number in 0..tries {
        let line = format!("-v fit trials.h5 -c tiny.toml -o quiet{number} --steps 40");
        let mut command = program.command(&line);
        let child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = child.map_err(|error| error.to_string())?;
        std::thread::sleep(Duration::from_millis(random.below(400) as u64));
        drop((child.stdout.take(), child.stderr.take()));
        tried.count(match within(&mut child, Duration::from_mins(1)) {
            Some(0) => Ok(End::Done),
            code => Err(format!("with closed output a fit ended with {code:?}")),
        });
    }
    Ok(tried)
}
