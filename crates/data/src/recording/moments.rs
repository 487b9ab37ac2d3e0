//! Times written as dates, times of day or spans of days and hours.

use chrono::{DateTime, NaiveDateTime, NaiveTime, TimeDelta};

/// Ways to write a moment that leave no doubt about day and month, which differ by region.
const MOMENTS: [&str; 4] = [
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y/%m/%d %H:%M:%S%.f",
    "%Y.%m.%d %H:%M:%S%.f",
];
const TIMES_OF_DAY: [&str; 2] = ["%H:%M:%S%.f", "%H:%M:%S,%f"];

/// Seconds since the first of the texts, where all are moments, all are spans as pandas writes them, or all are times
/// of a day; a day ends at midnight.
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
    let times: Option<Vec<NaiveTime>> = texts.iter().map(|text| time_of_day(text)).collect();
    let times = times?;
    let mut last = *times.first()?;
    let mut elapsed = TimeDelta::zero();
    Some(
        times
            .iter()
            .map(|&time| {
                let step = time - last;
                // What goes back by hours has passed midnight; by less, the clock is at fault.
                let midnight = step < TimeDelta::hours(-12);
                elapsed += step + TimeDelta::days(i64::from(midnight));
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
        let texts = ["23:59:59.5", "00:00:00.25", "00:00:01"];
        assert_eq!(read(&texts), Some(vec![0.0, 0.75, 1.5]));
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
