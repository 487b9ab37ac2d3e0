//! Times written as dates, times of day or spans of days and hours.

use chrono::{DateTime, NaiveDateTime, NaiveTime, TimeDelta};

/// Ways to write a moment that leave no doubt about day and month, which differ by region.
const MOMENTS: [&str; 6] = [
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y/%m/%d %H:%M:%S%.f",
    "%Y.%m.%d %H:%M:%S%.f",
    "%Y-%m-%d %I:%M:%S%.f %p",
    "%Y/%m/%d %I:%M:%S%.f %p",
];
const TIMES_OF_DAY: [&str; 3] = ["%H:%M:%S%.f", "%H:%M:%S,%f", "%I:%M:%S%.f %p"];

/// Seconds since the first of the texts, where all are moments, all are spans as pandas writes them, or all are times
/// of a day or, as Excel shows them, of an hour; these end at midnight and with the hour.
pub(super) fn seconds(texts: &[String]) -> Option<Vec<f64>> {
    let spans: Option<Vec<TimeDelta>> = texts.iter().map(|text| span(text)).collect();
    if let Some(spans) = spans {
        let first = *spans.first()?;
        let since = |span: &TimeDelta| span.checked_sub(&first).map(in_seconds);
        return spans.iter().map(since).collect();
    }
    let moments: Option<Vec<NaiveDateTime>> = texts.iter().map(|text| moment(text)).collect();
    if let Some(moments) = moments {
        let first = *moments.first()?;
        return Some(moments.iter().map(|m| in_seconds(*m - first)).collect());
    }
    let all = |read: fn(&str) -> Option<NaiveTime>| -> Option<Vec<NaiveTime>> {
        texts.iter().map(|text| read(text)).collect()
    };
    let of_days = all(time_of_day).map(|times| (times, TimeDelta::days(1)));
    let of_hours = || all(time_of_hour).map(|times| (times, TimeDelta::hours(1)));
    let (times, period) = of_days.or_else(of_hours)?;
    let mut last = *times.first()?;
    let mut elapsed = TimeDelta::zero();
    Some(
        times
            .iter()
            .map(|&time| {
                let step = time - last;
                // What goes back by hours has passed midnight; by less, the clock is at fault.
                let has_passed = step < -period / 2;
                elapsed += step + period * i32::from(has_passed);
                last = time;
                in_seconds(elapsed)
            })
            .collect(),
    )
}

fn moment(text: &str) -> Option<NaiveDateTime> {
    let text = text.trim();
    if let Ok(found) = DateTime::parse_from_rfc3339(text) {
        return Some(found.naive_utc());
    }
    let read = |format: &&str| NaiveDateTime::parse_from_str(text, format).ok();
    MOMENTS.iter().find_map(read)
}

fn time_of_day(text: &str) -> Option<NaiveTime> {
    let read = |format: &&str| NaiveTime::parse_from_str(text.trim(), format).ok();
    TIMES_OF_DAY.iter().find_map(read)
}

/// `59:59.9`, minutes and seconds; without a fraction these might be hours and minutes.
fn time_of_hour(text: &str) -> Option<NaiveTime> {
    let text = text.trim();
    let is_one = text.matches(':').count() == 1 && text.contains('.');
    let whole = is_one.then(|| format!("0:{text}"))?;
    NaiveTime::parse_from_str(&whole, TIMES_OF_DAY[0]).ok()
}

/// `0 days 00:00:01.5`, or `-1 days +23:59:59`.
fn span(text: &str) -> Option<TimeDelta> {
    let (days, time) = text.trim().split_once(" days ")?;
    let days = TimeDelta::try_days(days.parse().ok()?)?;
    let time = time_of_day(time.strip_prefix('+').unwrap_or(time))?;
    days.checked_add(&(time - NaiveTime::MIN))
}

fn in_seconds(span: TimeDelta) -> f64 {
    span.num_seconds() as f64 + 1e-9 * f64::from(span.subsec_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(texts: &[&str]) -> Option<Vec<f64>> {
        let texts: Vec<String> = texts.iter().map(|&text| text.to_owned()).collect();
        seconds(&texts)
    }

    #[test]
    fn moments_are_seconds_since_the_first() {
        for texts in [
            [
                "2024-05-01 00:00:00",
                "2024-05-01 00:00:00.250",
                "2024-05-02 00:00:00.5",
            ],
            [
                "2024-05-01T00:00:00Z",
                "2024-05-01T00:00:00.250Z",
                "2024-05-02T00:00:00.5Z",
            ],
            [
                "2024/05/01 00:00:00",
                "2024/05/01 00:00:00.250",
                "2024/05/02 00:00:00.5",
            ],
        ] {
            assert_eq!(read(&texts), Some(vec![0.0, 0.25, 86_400.5]), "{texts:?}");
        }
    }

    #[test]
    fn a_time_of_day_goes_on_past_midnight() {
        for texts in [
            ["23:59:59.5", "00:00:00.25", "00:00:01"],
            ["11:59:59.5 PM", "12:00:00.25 AM", "12:00:01 AM"],
            ["59:59.5", "00:00.25", "00:01.0"],
        ] {
            assert_eq!(read(&texts), Some(vec![0.0, 0.75, 1.5]), "{texts:?}");
        }
        assert_eq!(read(&["10:30", "10:31"]), None);
    }

    #[test]
    fn spans_are_those_of_pandas() {
        let texts = [
            "-1 days +23:59:59.750000",
            "0 days 00:00:00",
            "1 days 00:00:00.5",
        ];
        assert_eq!(read(&texts), Some(vec![0.0, 0.25, 86_400.75]));
        assert_eq!(read(&["99999999999999999 days 00:00:00"]), None);
        let apart = ["-100000000000 days +00:00:00", "100000000000 days 00:00:00"];
        assert_eq!(read(&apart), None);
    }

    #[test]
    fn other_texts_are_no_times() {
        assert_eq!(read(&["cell 1", "cell 2"]), None);
        assert_eq!(read(&["2024-05-01 00:00:00", "later"]), None);
        assert_eq!(read(&["12/05/2024 10:00:00", "12/05/2024 10:00:01"]), None);
        assert_eq!(read(&[]), None);
    }
}
