//! Text tables: in and out.

use std::borrow::Cow;
use std::io::Read;
use std::path::Path;

use csv::ByteRecord;
use ndarray::ArrayView2;

use crate::format::csv_body::Body;
pub(crate) use crate::format::csv_body::{Line, Table};
use crate::format::csv_plan::{Plan, number};
use crate::format::filtered::{Filtered, Step};
use crate::format::text::{Text, decoded};
use crate::whole_file::replace_file;
use crate::{DataError, Problem};

/// Writes `[time, column]` as comma-separated text, shortest digits that read back the same.
///
/// # Errors
/// [`Problem::Disagree`] unless there is one name per column; a problem of the disk.
pub fn write_csv(
    path: &Path,
    names: &[String],
    values: ArrayView2<'_, f32>,
) -> Result<(), DataError> {
    encode(names, values)
        .and_then(|bytes| replace_file(path, &bytes))
        .map_err(|e| DataError::from(e).in_file(path))
}

fn encode(names: &[String], values: ArrayView2<'_, f32>) -> Result<Vec<u8>, Problem> {
    if names.len() != values.ncols() {
        return Err(Problem::Disagree {
            a: "names".to_owned(),
            a_shape: vec![names.len()],
            b: "values".to_owned(),
            b_shape: values.shape().to_vec(),
            axis: "columns",
        });
    }
    let mut writer = csv::Writer::from_writer(Vec::new());
    let mut write = || -> csv::Result<()> {
        writer.write_record(names)?;
        for row in values.outer_iter() {
            writer.write_record(row.iter().map(ToString::to_string))?;
        }
        Ok(())
    };
    write().map_err(|e| bad_text(&e))?;
    writer.into_inner().map_err(|e| Problem::Io {
        action: "write the file",
        source: e.into_error(),
    })
}

/// Reads a text table; an empty cell is NaN. Runs of blanks are one delimiter.
pub(crate) fn parse(text: &Text) -> Result<Table, Problem> {
    parse_lines(text.head(), text.lines()?)
}

/// The same of lines, of which the first are known.
pub(crate) fn parse_lines(head: &[u8], lines: impl Read) -> Result<Table, Problem> {
    match delimiter(head) {
        Delimiter::Byte(byte) => parse_delimited(lines, byte),
        Delimiter::Blanks => parse_delimited(words(lines), b'\t'),
    }
}

fn reader<R: Read>(lines: R, delimiter: u8) -> csv::Reader<Filtered<R>> {
    csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter)
        .buffer_capacity(1 << 16)
        .from_reader(Filtered::new(lines, vec![Step::without_comments()]))
}

/// Visits every line below the first; of blanks runs are one delimiter.
pub(crate) fn records(
    text: &Text,
    delimiter: u8,
    visit: impl FnMut(&Line<'_>) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let lines = text.lines()?;
    match delimiter {
        b' ' => records_of(words(lines), b'\t', visit),
        _ => records_of(lines, delimiter, visit),
    }
}

fn records_of(
    lines: impl Read,
    delimiter: u8,
    mut visit: impl FnMut(&Line<'_>) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let mut reader = reader(lines, delimiter);
    let mut record = ByteRecord::new();
    let mut is_first = true;
    while next(&mut reader, &mut record)? {
        if !std::mem::take(&mut is_first) {
            visit(&Line(&record))?;
        }
    }
    Ok(())
}

/// Runs of blanks become tabs.
fn words<R: Read>(lines: R) -> Filtered<R> {
    Filtered::new(lines, vec![Step::words()])
}

/// Reads the next line; false at the end.
fn next<R: Read>(reader: &mut csv::Reader<R>, record: &mut ByteRecord) -> Result<bool, Problem> {
    reader.read_byte_record(record).map_err(|e| bad_text(&e))
}

fn parse_delimited(lines: impl Read, delimiter: u8) -> Result<Table, Problem> {
    let mut reader = reader(lines, delimiter);
    let mut seen = Vec::new();
    let mut record = ByteRecord::new();
    while seen.len() < RECORDS_SEEN && next(&mut reader, &mut record)? {
        seen.push(std::mem::take(&mut record));
    }
    let plan = Plan::of(&seen).ok_or(Problem::NoRows)?;
    let mut body = Body::new(&plan);
    for record in seen.into_iter().skip(plan.n_before + plan.header_lines) {
        body.push(&record, &plan)?;
    }
    while next(&mut reader, &mut record)? {
        body.push(&record, &plan)?;
    }
    body.table(plan)
}

/// Records that are looked at before all are read.
const RECORDS_SEEN: usize = 12;
/// What separates cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Delimiter {
    Byte(u8),
    Blanks,
}

impl Delimiter {
    const ALL: [Self; 5] = [
        Self::Byte(b'\t'),
        Self::Byte(b';'),
        Self::Byte(b','),
        Self::Byte(b'|'),
        Self::Blanks,
    ];

    fn cells(self, line: &str) -> Vec<&str> {
        match self {
            Self::Byte(byte) => line.split(char::from(byte)).map(bare).collect(),
            Self::Blanks => line.split_ascii_whitespace().map(bare).collect(),
        }
    }
}

/// A cell without blanks and quotes around it.
fn bare(cell: &str) -> &str {
    cell.trim().trim_matches('"').trim()
}

/// Lines that are looked at for the delimiter.
const LINES_SEEN: usize = 30;

/// What splits most lines below the first into numbers, the same number of them in each.
fn delimiter(text: &[u8]) -> Delimiter {
    let lines = text.split(|&b| b == b'\n' || b == b'\r');
    let lines = lines.filter(|line| !line.trim_ascii().is_empty() && !line.starts_with(b"#"));
    let lines: Vec<Cow<'_, str>> = lines.take(LINES_SEEN).map(decoded).collect();
    let below = lines.get(1..).filter(|below| !below.is_empty());
    let rows = below.unwrap_or(&lines);
    let score = |delimiter: &Delimiter| {
        let widths = rows.iter().map(|row| {
            let cells = delimiter.cells(row);
            // The first cell may be a label.
            let is_number = |cell: &&&str| {
                // In some countries the point is a comma.
                let has_comma = *delimiter != Delimiter::Byte(b',') && cell.contains(',');
                number(cell).is_some()
                    || (has_comma && number(&cell.replacen(',', ".", 1)).is_some())
            };
            let numbers = cells.iter().skip(1).filter(is_number);
            (numbers.count() + 1 == cells.len()).then_some(cells.len())
        });
        let widths: Vec<usize> = widths.flatten().collect();
        let width = widths.first().copied().unwrap_or_default();
        let n_same = widths.iter().filter(|w| **w == width).count();
        // One cell a line is what any wrong delimiter gives.
        (if width > 1 { n_same } else { 0 }, width)
    };
    let best = Delimiter::ALL.into_iter().rev().max_by_key(score);
    best.filter(|best| score(best).0 > 0)
        .unwrap_or(Delimiter::Byte(b','))
}

fn bad_text(error: &csv::Error) -> Problem {
    Problem::BadText(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &[u8]) -> Result<Table, Problem> {
        parse_lines(text, text)
    }

    fn numbers(table: &Table) -> Vec<f64> {
        table.cells.iter().collect()
    }

    #[test]
    fn the_delimiter_is_what_the_rows_have() {
        for (text, wanted) in [
            ("a,b\n1,2\n", Delimiter::Byte(b',')),
            ("a; first,b\n1,2\n3,4\n", Delimiter::Byte(b',')),
            ("a;b\n1,5;2,5\n", Delimiter::Byte(b';')),
            ("1\t2\n3\t4\n", Delimiter::Byte(b'\t')),
            (
                "  1.0e+00   2.0e+00\n  3.0e+00  -4.0e+00\n",
                Delimiter::Blanks,
            ),
            ("1|2\n3|4\n", Delimiter::Byte(b'|')),
            ("1, 2\n3, 4\n", Delimiter::Byte(b',')),
            ("0.5\n0.25\n", Delimiter::Byte(b',')),
            ("x\t\t\n1\t\t2\n", Delimiter::Byte(b'\t')),
        ] {
            assert_eq!(delimiter(text.as_bytes()), wanted, "{text}");
        }
    }

    #[test]
    fn runs_of_blanks_are_one_delimiter() {
        let table = parse(b"   1.0   2.0\r\n  3.0    4.0  \r\n").unwrap();
        assert_eq!(table.first, ["1.0", "2.0"]);
        assert_eq!((table.width, numbers(&table)), (2, vec![3.0, 4.0]));
    }

    #[test]
    fn headers_of_several_lines() {
        for (text, names) in [
            (",m1,m1\n,a,b\n0,1.5,2\n1,3,4\n", ["", "m1/a", "m1/b"]),
            (
                "mouse,m1,m1\ncell,7,9\n0,1.5,2\n1,3,4\n",
                ["mouse/cell", "m1/7", "m1/9"],
            ),
            ("t,a,b\ns,dF/F,dF/F\n0,1.5,2\n1,3,4\n", ["t", "a", "b"]),
            (",a,b\nframe,,\n0,1.5,2\n1,3,4\n", ["", "a", "b"]),
        ] {
            let table = parse(text.as_bytes()).unwrap();
            assert_eq!(table.first, names, "{text}");
            assert_eq!(table.header_lines, 2, "{text}");
            assert_eq!(numbers(&table), [0.0, 1.5, 2.0, 1.0, 3.0, 4.0], "{text}");
            assert!(table.labels.is_none(), "{text}");
        }
        // A word in a row is an error and no header.
        for text in ["a,b\n0.5,x\n1,2\n", "a,b\nx,1\n2,3\n"] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn columns_of_text_are_left_out_and_foreign_numbers_are_none() {
        let table = parse(b",Label,Mean\n1,s:0,0.5\n2,s:1,0.75\n").unwrap();
        assert_eq!(
            (&table.first[..], table.width),
            (&["", "Mean"].map(str::to_owned)[..], 2)
        );
        assert_eq!(table.text_columns, ["Label"]);
        let thousands = b"a,b\n\"1,100.5\",2\n\"1,200.5\",3\n";
        assert!(matches!(
            parse(thousands),
            Err(Problem::BadCell { line: 2, .. })
        ));
    }

    #[test]
    fn rows_may_have_names() {
        let table = parse(b"x,y\nC0,1,2\nC1,3,\n").unwrap();
        assert_eq!(table.labels, Some(vec!["C0".to_owned(), "C1".to_owned()]));
        assert_eq!(table.first, ["x", "y"]);
        assert_eq!((table.width, numbers(&table).len()), (2, 4));
    }
}
