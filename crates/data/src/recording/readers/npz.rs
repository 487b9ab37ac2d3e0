//! A .npz archive: the traces, and perhaps their rate or times beside them.

use crate::Problem;
use crate::format::npy::Header;
use crate::format::npz::Members;
use crate::recording::clock::Clock;
use crate::recording::draft::Draft;
use crate::recording::options::Options;
use crate::recording::reader::{Reader, choose};
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
        let traces: Vec<String> = headers
            .iter()
            .filter(|(_, header)| matches!(header.shape[..], [_, _] | [_, _, _]))
            .map(|(name, _)| name.clone())
            .collect();
        let name = choose(&traces, options, "array of two or three axes")?;
        let mut draft = Draft::bare(name, members.array(name, |x| x as f32)?);
        draft.clock = clock(&mut members, &headers)?;
        if let Clock::TimesS(times) = &draft.clock {
            draft.start_s = times.first().copied().unwrap_or_default();
        }
        Ok(draft)
    }
}

/// A rate or frame times, under the names that people give them.
fn clock(members: &mut Members, headers: &[(String, Header)]) -> Result<Clock, Problem> {
    let shape_of = |name: &str| {
        let found = headers.iter().find(|(n, _)| n == name);
        found.map(|(_, header)| header.shape.as_slice())
    };
    for name in ["timestamps", "time", "t"] {
        if matches!(shape_of(name), Some([_])) {
            let times = members.array(name, |x| x)?;
            return Ok(Clock::TimesS(times.into_iter().collect()));
        }
    }
    Clock::from_scalars(|name| match shape_of(name) {
        Some([] | [1] | [1, 1]) => Ok(members.array(name, |x| x)?.first().copied()),
        _ => Ok(None),
    })
}
