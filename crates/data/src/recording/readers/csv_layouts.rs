//! Tables that are laid out in a way of their own: Inscopix' two lines of header, Fiji's measurements.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read};

use ndarray::Axis;

use crate::Problem;
use crate::format::csv::{self, Table};
use crate::format::text::{Text, decoded};
use crate::recording::draft::Draft;
use crate::recording::options::{AxisOrder, Options};
use crate::whole_file::cannot_read;

/// What Fiji measures besides the mean.
const OTHER_MEASURES: [&str; 37] = [
    "area",
    "min",
    "max",
    "intden",
    "rawintden",
    "stddev",
    "mode",
    "median",
    "x",
    "y",
    "perim",
    "%area",
    "circ",
    "ar",
    "round",
    "solidity",
    "feret",
    "feretx",
    "ferety",
    "feretangle",
    "minferet",
    "major",
    "minor",
    "angle",
    "xm",
    "ym",
    "bx",
    "by",
    "width",
    "height",
    "skew",
    "kurt",
    "minthr",
    "maxthr",
    "slice",
    "ch",
    "frame",
];
/// Inscopix' line of states.
pub(super) struct States {
    /// Each cell of the first line, and whether it was accepted.
    cells: Vec<(String, String)>,
    /// The first line, its first column called what the second line says.
    names: Vec<u8>,
}

/// The second line, if it says of every column whether it was accepted.
pub(super) fn states(head: &[u8]) -> Option<States> {
    let mut lines = head.split(|&b| b == b'\n');
    let (first, second) = (lines.next()?, lines.next()?);
    let cells = |line: &[u8]| -> Vec<String> {
        let line = decoded(line);
        line.split([',', ';', '\t'])
            .map(|cell| cell.trim().to_owned())
            .collect()
    };
    let (names, states) = (cells(first), cells(second));
    let is_state = |state: &String| {
        matches!(
            &*state.to_ascii_lowercase(),
            "accepted" | "rejected" | "undecided"
        )
    };
    let [corner, of_cells @ ..] = &states[..] else {
        return None;
    };
    let is_time = corner.to_ascii_lowercase().starts_with("time");
    if !is_time
        || of_cells.is_empty()
        || !of_cells.iter().all(is_state)
        || names.len() != states.len()
    {
        return None;
    }
    let separator = first.iter().find(|b| matches!(b, b',' | b';' | b'\t'))?;
    let place = first.iter().position(|b| b == separator)?;
    Some(States {
        cells: names.into_iter().zip(states).skip(1).collect(),
        // A blank line keeps the numbers of the lines.
        names: [b"Time (s)", &first[place..], b"\n\n"].concat(),
    })
}

impl States {
    /// The table without the line of states.
    pub(super) fn table(&self, text: &Text) -> Result<Table, Problem> {
        let rows = text.head().splitn(3, |&b| b == b'\n').nth(2);
        let head = [&self.names, rows.unwrap_or_default()].concat();
        let mut lines = BufReader::new(text.lines()?);
        for _ in 0..2 {
            lines.skip_until(b'\n').map_err(cannot_read)?;
        }
        csv::parse_lines(&head, self.names.chain(lines))
    }

    /// Leaves out the cells that were not accepted; where none was, those that were rejected.
    pub(super) fn apply(&self, draft: &mut Draft, options: &Options) {
        let is = |id: &str, wanted: &str| {
            let state = self.cells.iter().find(|(name, _)| name == id);
            state.is_some_and(|(_, state)| state.eq_ignore_ascii_case(wanted))
        };
        let n_accepted = self
            .cells
            .iter()
            .filter(|(_, s)| s.eq_ignore_ascii_case("accepted"))
            .count();
        let n_cells = self.cells.len();
        if !options.cells_only {
            draft.notes.push(format!(
                "{n_accepted} of {n_cells} cells are accepted; all are read"
            ));
            return;
        }
        let note = match n_accepted {
            0 => format!("none of {n_cells} cells is accepted: those not rejected are read"),
            n => format!("{n} of {n_cells} cells, those that are accepted"),
        };
        keep(draft, |id| match n_accepted {
            0 => !is(id, "rejected"),
            _ => is(id, "accepted"),
        });
        draft.notes.push(note);
    }
}

/// Of Fiji's measurements, the means: each has another measure of the same region beside it.
pub(super) fn keep_means(draft: &mut Draft) {
    let ids = draft.neuron_ids.iter().flatten();
    let measures: Vec<(String, String)> = ids.map(|id| measure(id)).collect();
    let is_mean = |(measure, _): &&(String, String)| measure == "mean";
    let is_other = |(measure, _): &&(String, String)| OTHER_MEASURES.contains(&&**measure);
    let region = |(_, region): &'_ (String, String)| region.clone();
    let with_mean: HashSet<String> = measures.iter().filter(is_mean).map(region).collect();
    let with_other: HashSet<String> = measures.iter().filter(is_other).map(region).collect();
    let n_means = measures.iter().filter(is_mean).count();
    let is_fiji = measures
        .iter()
        .all(|(_, region)| with_mean.contains(region) && with_other.contains(region));
    if n_means == 0 || n_means == measures.len() || !is_fiji {
        return;
    }
    keep(draft, |id| measure(id).0 == "mean");
    let mut others: Vec<&str> = Vec::new();
    for (other, _) in measures.iter().filter(|measure| !is_mean(measure)) {
        if !others.contains(&&**other) {
            others.push(other);
        }
    }
    draft.notes.push(format!(
        "of Fiji's measurements the {n_means} means; {} columns of others are left out ({})",
        measures.len() - n_means,
        others.join(", ")
    ));
}

/// What a column of Fiji's measures, in small letters, and of which region: `Perim.1`, `Mean(soma)`.
fn measure(id: &str) -> (String, String) {
    let id = id.trim().to_ascii_lowercase();
    let end = id.find(|c: char| c.is_ascii_digit() || c == '(');
    let (measure, region) = id.split_at(end.unwrap_or(id.len()));
    let measure = measure.trim_end_matches(|c: char| !c.is_alphanumeric());
    (measure.to_owned(), region.to_owned())
}

/// Keeps the columns whose ids are wanted.
fn keep(draft: &mut Draft, is_wanted: impl Fn(&str) -> bool) {
    let Some(ids) = draft.neuron_ids.take() else {
        return;
    };
    if draft.order == Some(AxisOrder::TimeNeuron) {
        let kept: Vec<usize> = (0..ids.len())
            .filter(|&n| is_wanted(ids[n].trim()))
            .collect();
        draft.values = draft.values.select(Axis(1), &kept);
        draft.neuron_ids = Some(kept.iter().map(|&n| ids[n].clone()).collect());
    } else {
        draft.neuron_ids = Some(ids);
    }
}
