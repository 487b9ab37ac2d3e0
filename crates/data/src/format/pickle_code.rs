//! Instructions of a pickle: how long each is, and the numbers they push.

/// One instruction: its code, its argument without length prefix, and what follows.
pub(super) fn step(pickle: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&opcode, rest) = pickle.split_first()?;
    let (prefix, length) = match opcode {
        // PROTO, BININT1, BINPUT, BINGET, EXT1.
        0x80 | b'K' | b'q' | b'h' | 0x82 => (0, 1),
        // BININT2, EXT2.
        b'M' | 0x83 => (0, 2),
        // BININT, LONG_BINPUT, LONG_BINGET, EXT4.
        b'J' | b'r' | b'j' | 0x84 => (0, 4),
        // BINFLOAT, FRAME.
        b'G' | 0x95 => (0, 8),
        // Texts and bytes behind a length of one byte: also LONG1.
        0x8c | b'C' | b'U' | 0x8a => (1, prefixed(rest, 1)?),
        // Of four bytes: also LONG4.
        b'X' | b'B' | b'T' | 0x8b => (4, prefixed(rest, 4)?),
        // Of eight bytes, BYTEARRAY8 among them.
        0x8d | 0x8e | 0x96 => (8, prefixed(rest, 8)?),
        // Lines: INT, LONG, FLOAT, STRING, UNICODE, GET, PUT, PERSID.
        b'I' | b'L' | b'F' | b'S' | b'V' | b'g' | b'p' | b'P' => (0, lines(rest, 1)?),
        // GLOBAL and INST: module and name.
        b'c' | b'i' => (0, lines(rest, 2)?),
        _ => (0, 0),
    };
    let (argument, after) = rest.get(prefix..)?.split_at_checked(length)?;
    Some((opcode, argument, after))
}

/// A little-endian length.
fn prefixed(bytes: &[u8], width: usize) -> Option<usize> {
    little_endian(bytes.get(..width)?)
}

pub(super) fn little_endian(bytes: &[u8]) -> Option<usize> {
    let mut number = [0; 8];
    number.get_mut(..bytes.len())?.copy_from_slice(bytes);
    usize::try_from(u64::from_le_bytes(number)).ok()
}

/// Length of so many lines, with their line feeds.
fn lines(bytes: &[u8], n: usize) -> Option<usize> {
    let mut ends = bytes.iter().enumerate().filter(|(_, b)| **b == b'\n');
    ends.nth(n - 1).map(|(end, _)| end + 1)
}

/// A line without its line feed and quotes.
pub(super) fn line(argument: &[u8]) -> &[u8] {
    let text = argument.strip_suffix(b"\n").unwrap_or(argument);
    let unquoted = |quote: &[u8]| text.strip_prefix(quote)?.strip_suffix(quote);
    unquoted(b"'").or_else(|| unquoted(b"\"")).unwrap_or(text)
}

pub(super) fn decimal<T: std::str::FromStr>(argument: &[u8]) -> Option<T> {
    let text = std::str::from_utf8(line(argument)).ok()?;
    text.trim_end_matches('L').parse().ok()
}

pub(super) fn number(opcode: u8, argument: &[u8]) -> Option<f64> {
    match (opcode, argument) {
        (b'G', bytes) => Some(f64::from_be_bytes(bytes.try_into().ok()?)),
        (b'K', &[n]) => Some(f64::from(n)),
        (b'M', &[a, b]) => Some(f64::from(u16::from_le_bytes([a, b]))),
        (b'J', bytes) => Some(f64::from(i32::from_le_bytes(bytes.try_into().ok()?))),
        (b'I' | b'L' | b'F', text) => decimal(text),
        (0x8a | 0x8b, bytes) => Some(long(bytes)),
        _ => None,
    }
}

/// Two's complement, lowest byte first, of any length.
fn long(bytes: &[u8]) -> f64 {
    let magnitude = |bytes: &[u8]| {
        let digits = bytes.iter().rev();
        digits.fold(0.0, |sum, &b| 256.0 * sum + f64::from(b))
    };
    let is_negative = bytes.last().is_some_and(|b| *b >= 0x80);
    let whole = magnitude(bytes);
    match is_negative {
        true => whole - 256_f64.powi(i32::try_from(bytes.len()).unwrap_or(i32::MAX)),
        false => whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_of_any_length() {
        assert_eq!(long(&[]).to_bits(), 0.0_f64.to_bits());
        assert!((long(&[0x00, 0xff]) + 256.0).abs() < 1e-9);
        assert!((long(&[0xff, 0x00]) - 255.0).abs() < 1e-9);
    }
}
