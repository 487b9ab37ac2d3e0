//! A .npz archive: the traces, and perhaps their rate or times beside them.

use super::zarr;
use crate::Problem;
use crate::format::npy::Header;
use crate::format::npz::Members;
use crate::recording::clock::{Clock, can_be_paired};
use crate::recording::column_names;
use crate::recording::draft::Draft;
use crate::recording::options::Options;
use crate::recording::reader::{Reader, choose, is_likely};
use crate::recording::source::Source;
use crate::recording::traces::Format;

pub(super) struct Npz;

impl Reader for Npz {
    fn format(&self) -> Format {
        Format::Npz
    }

    fn recognises(&self, source: &Source) -> bool {
        source.head.starts_with(b"PK\x03\x04") || source.head.starts_with(b"PK\x05\x06")
    }

    fn read(&self, source: &Source, options: &Options) -> Result<Draft, Problem> {
        let mut members = Members::open(&source.path)?;
        let headers = members.headers()?;
        let found = candidates(&headers);
        if found.is_empty()
            && let Some(refusal) = zarr::in_archive(&source.path, &members.names())
        {
            return Err(refusal);
        }
        let likely = || {
            found
                .iter()
                .filter(|name| is_likely(name))
                .cloned()
                .collect()
        };
        let candidates: Vec<String> = match options.dataset {
            Some(_) => found.clone(),
            None => likely(),
        };
        if candidates.is_empty() && !found.is_empty() {
            let found = found.join(", ");
            return Err(Problem::Unlikely { found });
        }
        let name = choose(&candidates, options, "array of one to three axes")?;
        let mut draft = Draft::bare(name, members.array(name, |x| x as f32)?);
        let shape = draft.values.shape().to_vec();
        draft.clock = clock(&mut members, &headers, &shape, &mut draft.notes)?;
        if let Clock::TimesS(times) = &draft.clock {
            draft.start_s = times.first().copied().unwrap_or_default();
        }
        Ok(draft)
    }
}

/// Arrays that can be traces: of two or three axes; where there is none, vectors that are no times.
fn candidates(headers: &[(String, Header)]) -> Vec<String> {
    let names = |keep: &dyn Fn(&str, &[usize]) -> bool| -> Vec<String> {
        let kept = headers
            .iter()
            .filter(|(name, header)| keep(name, &header.shape));
        kept.map(|(name, _)| name.clone()).collect()
    };
    let tables = names(&|_, shape| matches!(shape, [_, _] | [_, _, _]));
    match tables.is_empty() {
        true => names(&|name, shape| {
            matches!(shape, [n] if *n > 1) && column_names::time_unit_of(name).is_none()
        }),
        false => tables,
    }
}

/// Frame times or a rate, under the names that people give them.
fn clock(
    members: &mut Members,
    headers: &[(String, Header)],
    traces: &[usize],
    notes: &mut Vec<String>,
) -> Result<Clock, Problem> {
    for (name, header) in headers {
        let Some(unit_s) = column_names::time_unit_of(name) else {
            continue;
        };
        let [n_times] = header.shape[..] else {
            continue;
        };
        if traces.iter().any(|&n| can_be_paired(n_times, n)) {
            if unit_s < 1.0 || unit_s.floor() > 1.0 {
                notes.push(format!("`{name}` is the time, in units of {unit_s} s"));
            }
            let times = members.array(name, |x| x * unit_s)?;
            return Ok(Clock::TimesS(times.into_iter().collect()));
        }
    }
    let shape_of = |name: &str| {
        let found = headers.iter().find(|(n, _)| n == name);
        found.map(|(_, header)| header.shape.as_slice())
    };
    Clock::from_scalars(|name| match shape_of(name) {
        Some([] | [1] | [1, 1]) => Ok(members.array(name, |x| x)?.first().copied()),
        _ => Ok(None),
    })
}
