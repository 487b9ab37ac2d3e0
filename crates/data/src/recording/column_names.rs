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
/// A unit of time.
struct Unit {
    seconds: f64,
    /// As notes call it.
    called: &'static str,
    /// As columns and files have it.
    names: &'static [&'static str],
    /// As columns alone have it.
    of_columns: &'static [&'static str],
    /// As files alone write it beside an array, by UDUNITS and netCDF's conventions (CF).
    written: &'static [&'static str],
}

const UNITS: [Unit; 7] = [
    Unit {
        seconds: 1.0,
        called: "seconds",
        names: &["s", "sec", "secs", "second", "seconds"],
        of_columns: &[],
        written: &[],
    },
    Unit {
        seconds: 1e-3,
        called: "milliseconds",
        names: &["ms", "msec", "msecs", "millisecond", "milliseconds"],
        of_columns: &["millis"],
        written: &["millisec", "millisecs"],
    },
    Unit {
        seconds: 1e-6,
        called: "microseconds",
        names: &["us", "µs", "μs", "usec", "microsecond", "microseconds"],
        of_columns: &[],
        written: &["microsec"],
    },
    Unit {
        seconds: 1e-9,
        called: "nanoseconds",
        names: &["ns", "nanoseconds"],
        of_columns: &[],
        written: &["nanosecond"],
    },
    Unit {
        seconds: 60.0,
        called: "minutes",
        names: &["min", "mins", "minute", "minutes"],
        of_columns: &[],
        written: &[],
    },
    Unit {
        seconds: 3600.0,
        called: "hours",
        names: &["h", "hour", "hours"],
        of_columns: &[],
        written: &["hr", "hrs"],
    },
    // A column of days is no time of frames.
    Unit {
        seconds: 86_400.0,
        called: "days",
        names: &[],
        of_columns: &[],
        written: &["d", "day", "days"],
    },
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
#[cfg(any(feature = "csv", feature = "hdf5", feature = "matlab", feature = "zip"))]
pub(crate) fn time_unit_of(name: &str) -> Option<f64> {
    time_unit(&words(name))
}

/// The unit in seconds, if the words speak of time.
pub(super) fn time_unit(words: &[String]) -> Option<f64> {
    let names = |unit: &Unit| [unit.names, unit.of_columns].concat();
    let unit = |word: &String| {
        let found = UNITS.iter().find(|unit| names(unit).contains(&&**word));
        found.map(|unit| unit.seconds)
    };
    let unit_names: Vec<&str> = UNITS.iter().flat_map(names).collect();
    let is_time = all_in(words, &[TIMES, &unit_names, GLUE]);
    is_time.then(|| words.iter().find_map(unit).unwrap_or(1.0))
}

/// The unit in seconds that a file writes so beside an array, in small letters.
#[cfg(any(feature = "hdf5", feature = "matlab"))]
pub(crate) fn written_unit(word: &str) -> Option<f64> {
    let is_it = |unit: &&Unit| unit.names.contains(&word) || unit.written.contains(&word);
    UNITS.iter().find(is_it).map(|unit| unit.seconds)
}

/// What a unit in seconds is called.
pub(crate) fn called(unit_s: f64) -> &'static str {
    let mut units = UNITS.iter();
    let found = units.find(|unit| unit.seconds.total_cmp(&unit_s).is_eq());
    found.map_or("seconds", |unit| unit.called)
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
