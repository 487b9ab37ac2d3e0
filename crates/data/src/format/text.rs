//! Text as programs of all countries write it, made UTF-8 with line feeds and decimal points as it is read.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::filtered::{Filtered, Step};
use crate::Problem;
use crate::whole_file::cannot_read;

/// How Excel's line about the separator begins.
const SEPARATOR: &[u8] = b"sep=";
/// Lines that are looked at.
const LINES_SEEN: usize = 200;
/// Bytes of the first lines beyond which no more are looked at, but for the fewest.
const HEAD_BYTES: usize = 1 << 16;
const FEWEST_LINES: usize = 3;
/// Bytes of one line that are looked at.
const LONGEST_LINE: u64 = 1 << 18;

/// How the characters of a text are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Utf8,
    /// Excel's "Unicode text"; whether the higher byte comes first.
    Utf16 {
        big_endian: bool,
    },
    /// Windows' western European, of which Latin-1 is a part.
    Latin1,
}

/// Whether a file that begins so is text.
pub(crate) fn is_text(head: &[u8], is_whole: bool) -> bool {
    match encoding(head, is_whole) {
        Some(Encoding::Utf16 { .. }) => true,
        Some(_) => !head.is_empty() && !head.contains(&0),
        None => false,
    }
}

/// A text file, in memory but for its first lines only while it is read, as often as it is.
#[derive(Debug)]
pub(crate) struct Text {
    path: PathBuf,
    /// Bytes of the mark before the text.
    mark: u64,
    steps: Vec<Step>,
    head: Vec<u8>,
}

impl Text {
    pub(crate) fn open(path: &Path) -> Result<Self, Problem> {
        let mut first = Vec::new();
        let file = File::open(path).map_err(cannot_read)?;
        file.take(3).read_to_end(&mut first).map_err(cannot_read)?;
        let mut text = Self {
            path: path.to_owned(),
            mark: 0,
            steps: Vec::new(),
            head: Vec::new(),
        };
        if let Some(Encoding::Utf16 { big_endian }) = encoding(&first, false) {
            text.mark = 2;
            text.steps.push(Step::wide(big_endian));
        } else if first.starts_with(b"\xef\xbb\xbf") {
            text.mark = 3;
        }
        text.steps.push(Step::line_feeds());
        text.head = text.first_lines()?;
        let head = text.head.strip_prefix(b"\"").unwrap_or(&text.head);
        let begins = head.get(..SEPARATOR.len());
        if begins.is_some_and(|begins| begins.eq_ignore_ascii_case(SEPARATOR)) {
            text.steps.push(Step::without_first_line());
            text.head = text.first_lines()?;
        }
        let head = decoded(&text.head);
        if has_decimal_commas(&head) {
            if let Some((line, found)) = thousands(&head) {
                return Err(Problem::Thousands { line, found });
            }
            text.steps.push(Step::decimal_points());
            text.head = text.first_lines()?;
        }
        Ok(text)
    }

    /// The first lines, as they are read: some hundred, or fewer where they are long. Of a very long line it is
    /// the beginning.
    pub(crate) fn head(&self) -> &[u8] {
        &self.head
    }

    /// The text in UTF-8 or, as far as that is none, in Latin-1: lines end in a line feed, numbers have decimal
    /// points, and a line `sep=;` is blank. Lines keep their numbers.
    pub(crate) fn lines(&self) -> Result<Filtered<File>, Problem> {
        let mut file = File::open(&self.path).map_err(cannot_read)?;
        file.seek(SeekFrom::Start(self.mark)).map_err(cannot_read)?;
        Ok(Filtered::new(file, self.steps.clone()))
    }

    fn first_lines(&self) -> Result<Vec<u8>, Problem> {
        let mut lines = BufReader::new(self.lines()?);
        let mut head = Vec::new();
        for line in 0..LINES_SEEN {
            if line >= FEWEST_LINES && head.len() > HEAD_BYTES {
                break;
            }
            let mut seen = Vec::new();
            let n_read = lines
                .by_ref()
                .take(LONGEST_LINE)
                .read_until(b'\n', &mut seen);
            if n_read.map_err(cannot_read)? as u64 == LONGEST_LINE && !seen.ends_with(b"\n") {
                lines.skip_until(b'\n').map_err(cannot_read)?;
                // What is left of the last cell says nothing.
                let is_between = |b: &u8| b",;\t| ".contains(b);
                seen.truncate(seen.iter().rposition(is_between).unwrap_or(seen.len()));
                seen.push(b'\n');
            }
            head.extend(seen);
        }
        Ok(head)
    }
}

/// Characters in UTF-8, or else in Latin-1.
pub(crate) fn decoded(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => bytes.iter().map(|&b| char::from(b)).collect(),
    }
}

fn encoding(bytes: &[u8], is_whole: bool) -> Option<Encoding> {
    match bytes {
        [0xff, 0xfe, ..] => return Some(Encoding::Utf16 { big_endian: false }),
        [0xfe, 0xff, ..] => return Some(Encoding::Utf16 { big_endian: true }),
        _ => {}
    }
    match std::str::from_utf8(bytes) {
        Ok(_) => Some(Encoding::Utf8),
        // A character may be cut in two where the head ends.
        Err(e) if e.error_len().is_none() && !is_whole => Some(Encoding::Utf8),
        Err(_) => is_latin(bytes).then_some(Encoding::Latin1),
    }
}

/// Whether these are the characters of a table: digits and names, with an accent or a sign here and there.
fn is_latin(bytes: &[u8]) -> bool {
    let is_strange = |b: &u8| b.is_ascii_control() && !matches!(b, b'\t' | b'\n' | b'\r');
    let n_high = bytes.iter().filter(|b| !b.is_ascii()).count();
    !bytes.iter().any(is_strange) && 10 * n_high < bytes.len()
}

/// Whether commas stand for decimal points: cells are parted by something else, every comma stands between
/// digits, and no number has a point.
fn has_decimal_commas(text: &str) -> bool {
    is_one_column(text) || is_every_comma_decimal(text)
}

/// The first number with a comma and its line, from 1, where a comma before every three digits may as well part
/// the thousands: decimals of another length, or behind a zero, would tell.
fn thousands(text: &str) -> Option<(usize, String)> {
    let is_of_number = |c: char| c.is_ascii_digit() || c == ',';
    let mut first = None;
    let lines = text
        .lines()
        .enumerate()
        .skip(1)
        .filter(|(_, line)| !line.starts_with('#'));
    for (line, cells) in lines {
        let numbers = cells
            .split(|c| !is_of_number(c))
            .filter(|n| n.contains(','));
        for number in numbers {
            let mut groups = number.split(',');
            let begin = groups.next().unwrap_or_default();
            let is_begin = (1..=3).contains(&begin.len()) && !begin.starts_with('0');
            if !is_begin || groups.any(|group| group.len() != 3) {
                return None;
            }
            first.get_or_insert_with(|| (line + 1, number.to_owned()));
        }
    }
    first
}

/// Whether lines hold one number each, whose decimals follow a comma: no number of its own begins with a
/// zero before other digits, and decimals often do.
fn is_one_column(text: &str) -> bool {
    let mut rows = text.lines().skip(1).filter(|line| !line.trim().is_empty());
    let mut seen = rows.by_ref().take(LINES_SEEN).peekable();
    if seen.peek().is_none() {
        return false;
    }
    let mut begins_with_zero = false;
    for row in seen {
        let Some((whole, decimals)) = row.trim().split_once(',') else {
            return false;
        };
        let whole = whole.strip_prefix(['-', '+']).unwrap_or(whole);
        let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !is_digits(whole) || !is_digits(decimals) {
            return false;
        }
        begins_with_zero |= decimals.len() > 1 && decimals.starts_with('0');
    }
    begins_with_zero
}

fn is_every_comma_decimal(text: &str) -> bool {
    let is_data = |line: &&str| !line.trim().is_empty() && !line.starts_with('#');
    let lines: Vec<&str> = text.lines().take(LINES_SEEN).filter(is_data).collect();
    let mut has_comma = false;
    let mut has_odd_header = false;
    for (place, line) in lines.iter().enumerate() {
        if speaks_against(line) {
            // A header has commas and points of its own.
            if place > 0 || lines.len() < 3 {
                return false;
            }
            has_odd_header = true;
            continue;
        }
        // Two numbers in a row of commas alone: these part the cells. So they may beside a date and a time.
        let has_other =
            line.contains([';', '\t']) || (!has_odd_header && line.trim().contains(' '));
        if line.contains(',') && !has_other {
            return false;
        }
        has_comma |= line.contains(',');
    }
    has_comma
}

/// Whether a line has a comma that is not between digits, or a point that is.
fn speaks_against(line: &str) -> bool {
    let bytes = line.as_bytes();
    let is_digit = |place: usize| bytes.get(place).is_some_and(u8::is_ascii_digit);
    let signs = bytes
        .iter()
        .enumerate()
        .filter(|(_, b)| matches!(b, b',' | b'.'));
    let mut against = signs.map(|(place, byte)| {
        let is_between = place > 0 && is_digit(place - 1) && is_digit(place + 1);
        is_between == (*byte == b'.')
    });
    against.any(|is_against| is_against)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(bytes: &[u8]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table.txt");
        std::fs::write(&path, bytes).unwrap();
        let text = Text::open(&path).unwrap();
        let mut all = Vec::new();
        text.lines().unwrap().read_to_end(&mut all).unwrap();
        assert_eq!(text.head(), all);
        decoded(&all).into_owned()
    }

    #[test]
    fn encodings() {
        let wide: Vec<u8> = "\u{feff}é;1\n"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        assert_eq!(normal(&wide), "é;1\n");
        let wide: Vec<u8> = "\u{feff}é;1\n"
            .encode_utf16()
            .flat_map(u16::to_be_bytes)
            .collect();
        assert_eq!(normal(&wide), "é;1\n");
        assert_eq!(normal(b"\xef\xbb\xbfa,1"), "a,1");
        let latin = b"Zelle,\xb5m of the first and second\n1,2\n";
        assert!(is_text(latin, true));
        assert_eq!(normal(latin), "Zelle,µm of the first and second\n1,2\n");
        assert!(!is_text(b"\x89HDF\r\n\x1a\n", true) && !is_text(&[200; 30], true));
    }

    #[test]
    fn long_lines_are_looked_at_in_part() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table.csv");
        let line = "0.125,".repeat(100_000) + "1";
        std::fs::write(&path, [&line[..]; 9].join("\n")).unwrap();
        let text = Text::open(&path).unwrap();
        let head = String::from_utf8(text.head().to_vec()).unwrap();
        assert_eq!(head.lines().count(), FEWEST_LINES);
        let is_part = |seen: &str| line.starts_with(seen) && seen.ends_with("0.125");
        assert!(head.lines().all(is_part));
    }

    #[test]
    fn line_ends_and_the_line_of_the_separator() {
        assert_eq!(normal(b"a,b\r\n1,2\r\n"), "a,b\n1,2\n");
        assert_eq!(normal(b"a\r1\r2"), "a\n1\n2");
        assert_eq!(normal(b"sep=;\r\na;b\r\n1;2"), "\na;b\n1;2");
        assert_eq!(normal(b"\"sep=;\"\r\na;b\r\n1;2"), "\na;b\n1;2");
    }

    #[test]
    fn commas_that_may_part_thousands_are_asked_about() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table.txt");
        for text in [
            "a\tb\n987\t1,014\n1,005\t935\n",
            "a;b\n11,911;12,044\n1,234,567;3\n",
            "F\n1,005\n1,014\n",
        ] {
            std::fs::write(&path, text).unwrap();
            let said = Text::open(&path).unwrap_err();
            assert!(matches!(said, Problem::Thousands { .. }), "{text}: {said}");
        }
        assert_eq!(
            normal(b"t;a\n0,033;1,005\n0,067;1,014\n"),
            "t;a\n0.033;1.005\n0.067;1.014\n"
        );
    }

    #[test]
    fn the_header_and_comments_do_not_tell_of_decimals() {
        let text = normal(b"# of 1,5 mm, 0.5 s\nZeit (s);a, links;b 0.5\n0,5;1,5;2\n1,5;2,5;3\n");
        assert!(text.ends_with("\n0.5;1.5;2\n1.5;2.5;3\n"), "{text}");
    }

    #[test]
    fn decimal_commas_are_told_from_those_between_cells() {
        assert_eq!(normal(b"F\n0,25\n-1,03\n"), "F\n0.25\n-1.03\n");
        assert_eq!(normal(b"a;b\n1,5;2\n"), "a;b\n1.5;2\n");
        assert_eq!(normal(b"a\tb\n-0,25\t1e-3\n"), "a\tb\n-0.25\t1e-3\n");
        for plain in [
            "a,b\n1,5\n",
            "a;b\n1.5;2\n",
            "1, 2\n3, 4\n",
            "a,b;c\n1;2\n",
            "1,5\n2,5\n",
        ] {
            assert_eq!(normal(plain.as_bytes()), plain);
        }
    }
}
