//! LZF, h5py's fast compression.
//!
//! A stream of runs: a byte below 32 comes before that many bytes and one more; any other holds in its upper
//! three bits a length, in the lower five and the next byte how far back to copy from.

/// The bytes that were compressed; `None` if the stream is damaged.
pub(crate) fn decompress(mut input: &[u8]) -> Option<Vec<u8>> {
    let mut output: Vec<u8> = Vec::with_capacity(4 * input.len());
    while let Some((&control, rest)) = input.split_first() {
        let control = usize::from(control);
        if control < 32 {
            let (literal, after) = rest.split_at_checked(control + 1)?;
            output.extend(literal);
            input = after;
            continue;
        }
        let (length, rest) = match control >> 5 {
            // Long ones go on in a byte of their own.
            7 => (7 + usize::from(*rest.first()?), &rest[1..]),
            length => (length, rest),
        };
        let (&low, after) = rest.split_first()?;
        let back = ((control & 31) << 8 | usize::from(low)) + 1;
        let start = output.len().checked_sub(back)?;
        // What is copied may overlap what it makes.
        for place in start..start + length + 2 {
            output.push(output[place]);
        }
        input = after;
    }
    Some(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_copied_and_may_overlap_themselves() {
        // "ab", then 5 bytes from 2 back: ababa.
        assert_eq!(decompress(b"\x01ab\x60\x01").unwrap(), b"abababa");
        // A long run: 7 + 3 + 2 of one byte.
        assert_eq!(decompress(b"\x00x\xe0\x03\x00").unwrap(), [b'x'; 13]);
    }

    #[test]
    fn a_damaged_stream_is_none() {
        for damaged in [&b"\x05ab"[..], b"\x00x\x20\x05", b"\x00x\x20", b"\xe0"] {
            assert_eq!(decompress(damaged), None, "{damaged:?}");
        }
    }
}
