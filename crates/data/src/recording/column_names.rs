//! Names of columns that are no neurons: what they say, and the unit of a time.

const TIMES: &[&str] = &[
    "time",
    "times",
    "t",
    "ts",
    "timestamp",
    "timestamps",
    "clock",
    "elapsed",
    "sec",
    "secs",
    "second",
    "seconds",
    "ms",
    "msec",
    "msecs",
    "millisecond",
    "milliseconds",
    "us",
    "usec",
    "microseconds",
];
const UNITS: &[(&str, f64)] = &[
    ("s", 1.0),
    ("sec", 1.0),
    ("secs", 1.0),
    ("second", 1.0),
    ("seconds", 1.0),
    ("ms", 1e-3),
    ("msec", 1e-3),
    ("msecs", 1e-3),
    ("millis", 1e-3),
    ("millisecond", 1e-3),
    ("milliseconds", 1e-3),
    ("us", 1e-6),
    ("µs", 1e-6),
    ("μs", 1e-6),
    ("usec", 1e-6),
    ("microsecond", 1e-6),
    ("microseconds", 1e-6),
    ("ns", 1e-9),
    ("nanoseconds", 1e-9),
    ("min", 60.0),
    ("mins", 60.0),
    ("minute", 60.0),
    ("minutes", 60.0),
    ("h", 3600.0),
    ("hour", 3600.0),
    ("hours", 3600.0),
];
const COUNTERS: &[&str] = &[
    "frame",
    "frames",
    "framenumber",
    "frameid",
    "frameindex",
    "index",
    "idx",
    "row",
    "rows",
    "sample",
    "samples",
    "unnamed",
    "count",
    "counter",
];
const TRIALS: &[&str] = &[
    "trial",
    "trials",
    "trialid",
    "trialnumber",
    "sweep",
    "sweeps",
    "epoch",
    "epochs",
    "repetition",
    "repeat",
    "rep",
];
/// Words that say nothing by themselves.
const GLUE: &[&str] = &[
    "buffer",
    "number",
    "no",
    "num",
    "nr",
    "id",
    "index",
    "idx",
    "0",
    "1",
    "frame",
    "frames",
    "stamp",
    "stamps",
    "since",
    "start",
    "begin",
    "from",
    "in",
    "of",
    "the",
    "rel",
    "relative",
    "abs",
    "sys",
    "system",
    "unix",
    "imaging",
    "camera",
    "scope",
    "2p",
    "ophys",
    "recording",
    "session",
    "axis",
];

/// Words of a name, in lower case: between signs, and where a capital follows small letters (`timeMs`).
pub(super) fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut n_small = 0;
    for c in name.chars() {
        // One small letter before a capital is a unit: mS.
        let is_parted = c.is_uppercase() && n_small > 1;
        if is_parted || !c.is_alphanumeric() {
            words.push(String::new());
            n_small = 0;
        }
        n_small = if c.is_lowercase() { n_small + 1 } else { 0 };
        if c.is_alphanumeric() {
            let last = words.last_mut().expect("there is always a last word");
            last.extend(c.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Whether the words say that a column numbers the trials.
pub(super) fn is_trial_name(words: &[String]) -> bool {
    all_in(words, &[TRIALS, GLUE])
}

/// Whether the words say that a column counts rows, frames or trials.
pub(super) fn is_counter_name(words: &[String]) -> bool {
    all_in(words, &[COUNTERS, TRIALS, GLUE])
}

/// Whether every word is in one of the lists, and one in the first.
fn all_in(words: &[String], lists: &[&[&str]]) -> bool {
    let in_list = |word: &String, list: &[&str]| list.contains(&word.as_str());
    words.iter().any(|word| in_list(word, lists[0]))
        && words
            .iter()
            .all(|word| lists.iter().any(|list| in_list(word, list)))
}

/// The unit in seconds, if a name speaks of time.
pub(crate) fn time_unit_of(name: &str) -> Option<f64> {
    time_unit(&words(name))
}

/// The unit in seconds, if the words speak of time.
pub(super) fn time_unit(words: &[String]) -> Option<f64> {
    let unit = |word: &String| {
        let found = UNITS.iter().find(|(name, _)| name == word);
        found.map(|(_, unit_s)| *unit_s)
    };
    let unit_names: Vec<&str> = UNITS.iter().map(|(name, _)| *name).collect();
    let is_time = all_in(words, &[TIMES, &unit_names, GLUE]);
    is_time.then(|| words.iter().find_map(unit).unwrap_or(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_parted_by_signs_and_capitals() {
        for (name, unit_s) in [
            ("TimeMs", Some(1e-3)),
            ("timestampMs", Some(1e-3)),
            ("Time_S", Some(1.0)),
            ("time_mS", Some(1e-3)),
            ("frameTimes", Some(1.0)),
            ("TIME (MS)", Some(1e-3)),
            ("frameRate", None),
        ] {
            assert_eq!(time_unit_of(name), unit_s, "{name}");
        }
    }
}
