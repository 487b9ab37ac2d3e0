//! Bytes of a text, changed while they are read.

use std::io::{self, Read};

/// Bytes that are read at once.
const PIECE: usize = 1 << 16;

/// What is done to a text, and how far it is in the midst of something.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// UTF-16 becomes UTF-8; with the bytes of a character that is not whole yet.
    Wide { big_endian: bool, rest: Vec<u8> },
    /// Line ends of any kind become line feeds; whether the last byte was a carriage return.
    LineFeeds { after_return: bool },
    /// The first line becomes blank; whether it is behind.
    WithoutFirstLine { is_behind: bool },
    /// Commas become points.
    DecimalPoints,
    /// Runs of blanks become one tab, and none at the ends of lines; whether a line has begun, and blanks
    /// followed.
    Words { has_word: bool, is_between: bool },
    /// Lines that begin with `#` or `% ` become blank, but for those that begin with what a spreadsheet could not
    /// compute.
    WithoutComments(Within),
}

/// Where a text is that may have comments.
#[derive(Clone, Debug)]
pub(crate) enum Within {
    /// In a line that begins so, and may be either.
    Beginning(Vec<u8>),
    Comment,
    Other,
}

/// What spreadsheets write for what they could not compute.
pub(super) const ERRORS: [&str; 7] = [
    "#N/A", "#DIV/0!", "#VALUE!", "#NUM!", "#REF!", "#NAME?", "#NULL!",
];

impl Step {
    pub(crate) fn wide(big_endian: bool) -> Self {
        let rest = Vec::new();
        Self::Wide { big_endian, rest }
    }

    pub(crate) fn line_feeds() -> Self {
        let after_return = false;
        Self::LineFeeds { after_return }
    }

    pub(crate) fn without_first_line() -> Self {
        let is_behind = false;
        Self::WithoutFirstLine { is_behind }
    }

    pub(crate) fn decimal_points() -> Self {
        Self::DecimalPoints
    }

    pub(crate) fn words() -> Self {
        Self::Words {
            has_word: false,
            is_between: false,
        }
    }

    pub(crate) fn without_comments() -> Self {
        Self::WithoutComments(Within::Beginning(Vec::new()))
    }

    fn pass(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        match self {
            Self::Wide { big_endian, rest } => {
                let mut wide = std::mem::take(rest);
                wide.append(&mut bytes);
                let (text, n_used) = narrow(&wide, *big_endian);
                *rest = wide.split_off(n_used);
                text
            }
            Self::LineFeeds { after_return } => {
                // Most texts have none.
                if *after_return || bytes.contains(&b'\r') {
                    bytes.retain_mut(|byte| {
                        let ends_pair = *byte == b'\n' && *after_return;
                        *after_return = *byte == b'\r';
                        if *after_return {
                            *byte = b'\n';
                        }
                        !ends_pair
                    });
                }
                bytes
            }
            Self::WithoutFirstLine { is_behind } => {
                if !*is_behind {
                    let end = bytes.iter().position(|&b| b == b'\n');
                    *is_behind = end.is_some();
                    bytes.drain(..end.unwrap_or(bytes.len()));
                }
                bytes
            }
            Self::DecimalPoints => {
                for byte in bytes.iter_mut().filter(|byte| **byte == b',') {
                    *byte = b'.';
                }
                bytes
            }
            Self::Words {
                has_word,
                is_between,
            } => {
                let mut words = Vec::with_capacity(bytes.len() + 1);
                for byte in bytes {
                    match byte {
                        b'\n' => {
                            (*has_word, *is_between) = (false, false);
                            words.push(byte);
                        }
                        _ if byte.is_ascii_whitespace() => *is_between = true,
                        _ => {
                            if *has_word && *is_between {
                                words.push(b'\t');
                            }
                            (*has_word, *is_between) = (true, false);
                            words.push(byte);
                        }
                    }
                }
                words
            }
            Self::WithoutComments(within) => within.pass(bytes),
        }
    }
}

/// Whether a line that begins so is a comment; nothing where it may yet be or not.
fn is_comment(line: &[u8]) -> Option<bool> {
    match line {
        [b'%'] => None,
        // A measure may be called `%Area`.
        [b'%', second, ..] => Some(second.is_ascii_whitespace()),
        [b'#', ..] => {
            let begun = ERRORS.iter().filter(|error| {
                let begin = error.as_bytes().get(..line.len());
                begin.is_some_and(|begin| begin.eq_ignore_ascii_case(line))
            });
            let mut lengths = begun.map(|error| error.len()).peekable();
            if lengths.peek().is_none() {
                return Some(true);
            }
            lengths.any(|length| length == line.len()).then_some(false)
        }
        _ => Some(false),
    }
}

impl Within {
    fn pass(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        let is_plain = match self {
            Self::Beginning(line) => line.is_empty(),
            Self::Comment => false,
            Self::Other => true,
        };
        // Most texts have none.
        if is_plain && !bytes.iter().any(|byte| b"#%".contains(byte)) {
            if let Some(last) = bytes.last() {
                *self = match last {
                    b'\n' => Self::Beginning(Vec::new()),
                    _ => Self::Other,
                };
            }
            return bytes;
        }
        let mut kept = Vec::with_capacity(bytes.len());
        for byte in bytes {
            if let Self::Beginning(line) = self {
                line.push(byte);
                let Some(is_comment) = is_comment(line) else {
                    continue;
                };
                let line = std::mem::take(line);
                *self = if is_comment {
                    Self::Comment
                } else {
                    kept.extend(&line[..line.len() - 1]);
                    Self::Other
                };
            }
            match (byte, &self) {
                (b'\n', _) => {
                    kept.push(byte);
                    *self = Self::Beginning(Vec::new());
                }
                (_, Self::Comment) => {}
                _ => kept.push(byte),
            }
        }
        kept
    }
}

/// UTF-16 as UTF-8, and how many of the bytes make whole characters.
fn narrow(wide: &[u8], big_endian: bool) -> (Vec<u8>, usize) {
    let (pairs, _) = wide.as_chunks::<2>();
    let unit = |&pair: &[u8; 2]| match big_endian {
        true => u16::from_be_bytes(pair),
        false => u16::from_le_bytes(pair),
    };
    let mut units: Vec<u16> = pairs.iter().map(unit).collect();
    // The first half of a pair of surrogates waits for the second.
    if units
        .last()
        .is_some_and(|unit| (0xd800..0xdc00).contains(unit))
    {
        units.pop();
    }
    let text = String::from_utf16_lossy(&units);
    (text.into_bytes(), 2 * units.len())
}

/// A reader of what the steps leave, one behind the other.
pub(crate) struct Filtered<R> {
    from: R,
    steps: Vec<Step>,
    ready: Vec<u8>,
    n_given: usize,
}

impl<R: Read> Filtered<R> {
    pub(crate) fn new(from: R, steps: Vec<Step>) -> Self {
        Self {
            from,
            steps,
            ready: Vec::new(),
            n_given: 0,
        }
    }

    /// The next bytes; false at the end.
    fn fill(&mut self) -> io::Result<bool> {
        self.n_given = 0;
        self.ready.clear();
        while self.ready.is_empty() {
            let mut piece = std::mem::take(&mut self.ready);
            let n_read = (&mut self.from)
                .take(PIECE as u64)
                .read_to_end(&mut piece)?;
            if n_read == 0 {
                return Ok(false);
            }
            self.ready = self
                .steps
                .iter_mut()
                .fold(piece, |piece, step| step.pass(piece));
        }
        Ok(true)
    }
}

impl<R: Read> Read for Filtered<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if self.n_given == self.ready.len() && !self.fill()? {
            return Ok(0);
        }
        let n = to.len().min(self.ready.len() - self.n_given);
        to[..n].copy_from_slice(&self.ready[self.n_given..self.n_given + n]);
        self.n_given += n;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What the step makes of a text in pieces of one length.
    fn in_pieces(mut step: Step, text: &[u8], length: usize) -> Vec<u8> {
        let pieces = text.chunks(length);
        pieces.flat_map(|piece| step.pass(piece.to_vec())).collect()
    }

    #[test]
    fn each_step_does_what_its_name_says() {
        let of = |step, text: &[u8]| String::from_utf8(in_pieces(step, text, 1)).unwrap();
        assert_eq!(
            of(Step::line_feeds(), b"a\r\nb\rc\n\r\n\nd"),
            "a\nb\nc\n\n\nd"
        );
        assert_eq!(of(Step::without_first_line(), b"sep=;\na\nb"), "\na\nb");
        assert_eq!(of(Step::decimal_points(), b"1,5;2"), "1.5;2");
        assert_eq!(
            of(Step::words(), b"  1.0   2.0 \n\t3 4\n\n5"),
            "1.0\t2.0\n3\t4\n\n5"
        );
        assert_eq!(
            of(
                Step::without_comments(),
                b"#N/A,1\n# by hand\n#NOTE\n1,#2\n\n#div/0!,2\n% t a\n%Area,b\n%\n#"
            ),
            "#N/A,1\n\n\n1,#2\n\n#div/0!,2\n\n%Area,b\n\n"
        );
        let wide: Vec<u8> = "a\u{1f600}é"
            .encode_utf16()
            .flat_map(u16::to_be_bytes)
            .collect();
        assert_eq!(of(Step::wide(true), &wide), "a\u{1f600}é");
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::with_cases(256)
        })]

        /// Where a text is cut into pieces makes no difference.
        #[test]
        fn pieces_make_no_difference(
            text in "([ a,#\r\n\t\u{e9}\u{1f600}]|#N/A|#NOTE|% |%A){0,40}",
            length in 1_usize..9,
        ) {
            let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
            for (step, text) in [
                (Step::wide(false), &wide[..]),
                (Step::line_feeds(), text.as_bytes()),
                (Step::without_first_line(), text.as_bytes()),
                (Step::decimal_points(), text.as_bytes()),
                (Step::words(), text.as_bytes()),
                (Step::without_comments(), text.as_bytes()),
            ] {
                let whole = in_pieces(step.clone(), text, text.len().max(1));
                prop_assert_eq!(in_pieces(step, text, length), whole);
            }
        }
    }
}
