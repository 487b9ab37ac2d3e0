//! Text as programs of all countries write it, made UTF-8 with line feeds and decimal points.

use std::borrow::Cow;

/// How Excel's line about the separator begins.
const SEPARATOR: &[u8] = b"sep=";
/// Bytes of it.
const HEAD: usize = SEPARATOR.len();
/// Lines that are looked at.
const LINES_SEEN: usize = 200;

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

/// The text in UTF-8: lines end in a line feed, numbers have decimal points, and a line `sep=;` is blank.
/// Lines keep their numbers.
pub(crate) fn normalised(bytes: Vec<u8>) -> Vec<u8> {
    let head = &bytes[..bytes.len().min(HEAD)];
    let is_plain = std::str::from_utf8(&bytes).is_ok_and(|text| {
        !text.starts_with('\u{feff}') && !text.contains('\r') && !has_decimal_commas(text)
    });
    if is_plain && !head.to_ascii_lowercase().starts_with(SEPARATOR) {
        return bytes;
    }
    let text = decoded(&bytes);
    let text = with_line_feeds(&text);
    let is_separator = text
        .get(..4)
        .is_some_and(|s| s.eq_ignore_ascii_case("sep="));
    let text = match text.split_once('\n') {
        Some((_, rest)) if is_separator => format!("\n{rest}"),
        _ => text.into_owned(),
    };
    match has_decimal_commas(&text) {
        true => text.replace(',', ".").into_bytes(),
        false => text.into_bytes(),
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

fn decoded(bytes: &[u8]) -> Cow<'_, str> {
    match encoding(bytes, true) {
        Some(Encoding::Utf16 { big_endian }) => {
            let (pairs, _) = bytes[2..].as_chunks::<2>();
            let units: Vec<u16> = pairs
                .iter()
                .map(|&pair| match big_endian {
                    true => u16::from_be_bytes(pair),
                    false => u16::from_le_bytes(pair),
                })
                .collect();
            String::from_utf16_lossy(&units).into()
        }
        Some(Encoding::Latin1) => bytes.iter().map(|&b| char::from(b)).collect(),
        _ => {
            let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
            String::from_utf8_lossy(bytes)
        }
    }
}

fn with_line_feeds(text: &str) -> Cow<'_, str> {
    match text.contains('\r') {
        true => text.replace("\r\n", "\n").replace('\r', "\n").into(),
        false => text.into(),
    }
}

/// Whether commas stand for decimal points: cells are parted by something else, every comma stands between
/// digits, and no number has a point.
fn has_decimal_commas(text: &str) -> bool {
    is_one_column(text) || is_every_comma_decimal(text)
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
    let mut has_comma = false;
    for line in text.lines().take(LINES_SEEN) {
        let bytes = line.as_bytes();
        let is_digit = |place: usize| bytes.get(place).is_some_and(u8::is_ascii_digit);
        for (place, byte) in bytes.iter().enumerate() {
            let between = place > 0 && is_digit(place - 1) && is_digit(place + 1);
            match byte {
                b',' if !between => return false,
                b'.' if between => return false,
                b',' => has_comma = true,
                _ => {}
            }
        }
        // Two numbers in a row of commas alone: these part the cells.
        let has_other = line.contains([';', '\t']) || line.trim().contains(' ');
        if line.contains(',') && !has_other {
            return false;
        }
    }
    has_comma
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(text: &[u8]) -> String {
        String::from_utf8(normalised(text.to_vec())).unwrap()
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
    fn line_ends_and_the_line_of_the_separator() {
        assert_eq!(normal(b"a,b\r\n1,2\r\n"), "a,b\n1,2\n");
        assert_eq!(normal(b"a\r1\r2"), "a\n1\n2");
        assert_eq!(normal(b"sep=;\r\na;b\r\n1;2"), "\na;b\n1;2");
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
