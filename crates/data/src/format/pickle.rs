//! One number out of a pickled dictionary, without running the pickle.
//!
//! A pickle is a program that can call any function, so it is never executed: its
//! instructions are walked one by one, each skipped with its argument, until the wanted
//! key is pushed as text; the number pushed next is its value.

/// The plain number stored under `key`, if the walk finds one.
///
/// Handles protocols 2 to 5. Keys of nested dictionaries count too: the first number is taken.
pub(crate) fn number_after_key(pickle: &[u8], key: &str) -> Option<f64> {
    let mut rest = pickle;
    let mut waiting = false;
    loop {
        let (opcode, argument);
        (opcode, argument, rest) = step(rest)?;
        match opcode {
            b'.' => return None,
            // Text: BINUNICODE, SHORT_BINUNICODE, BINUNICODE8.
            b'X' | 0x8c | 0x8d => waiting = argument == key.as_bytes(),
            // MEMOIZE, BINPUT, LONG_BINPUT leave the stack as it is.
            0x94 | b'q' | b'r' => {}
            _ => match number(opcode, argument) {
                Some(value) if waiting => return Some(value),
                _ => waiting = false,
            },
        }
    }
}

/// What `numpy.save` pickles for a dictionary of floats: an object array without axes.
///
/// Protocol 3, which every NumPy since 1.4 loads with `allow_pickle=True`.
pub(crate) fn dictionary(entries: &[(&str, f64)]) -> Vec<u8> {
    let mut pickle = b"\x80\x03cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n".to_vec();
    // The array: _reconstruct(ndarray, (0,), b"b"), then its state: version 1, shape (), …
    pickle.extend(b"K\x00\x85C\x01b\x87R(K\x01)");
    // … dtype("O8", False, True) with its own state, C order, …
    pickle.extend(b"cnumpy\ndtype\nX\x02\x00\x00\x00O8\x89\x88\x87R");
    pickle.extend(b"(K\x03X\x01\x00\x00\x00|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK?tb\x89");
    // … and a list of one dictionary.
    pickle.extend(b"]}(");
    for (key, value) in entries {
        pickle.push(b'X');
        pickle.extend((key.len() as u32).to_le_bytes());
        pickle.extend(key.as_bytes());
        pickle.push(b'G');
        pickle.extend(value.to_be_bytes());
    }
    pickle.extend(b"uatb.");
    pickle
}

/// One instruction: its code, its argument without length prefix, and what follows.
fn step(pickle: &[u8]) -> Option<(u8, &[u8], &[u8])> {
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
    let mut length = [0; 8];
    length[..width].copy_from_slice(bytes.get(..width)?);
    usize::try_from(u64::from_le_bytes(length)).ok()
}

/// Length of so many lines, with their line feeds.
fn lines(bytes: &[u8], n: usize) -> Option<usize> {
    let mut ends = bytes.iter().enumerate().filter(|(_, b)| **b == b'\n');
    ends.nth(n - 1).map(|(end, _)| end + 1)
}

fn number(opcode: u8, argument: &[u8]) -> Option<f64> {
    match (opcode, argument) {
        (b'G', bytes) => Some(f64::from_be_bytes(bytes.try_into().ok()?)),
        (b'K', &[n]) => Some(f64::from(n)),
        (b'M', &[a, b]) => Some(f64::from(u16::from_le_bytes([a, b]))),
        (b'J', bytes) => Some(f64::from(i32::from_le_bytes(bytes.try_into().ok()?))),
        _ => None,
    }
}
