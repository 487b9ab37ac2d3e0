//! What is said and printed: text and nothing but text, whether anybody reads it or not.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write as _};

/// A line on stderr; lost if nobody listens.
pub fn say(line: &str) {
    let line = plain(line);
    // Lost output is no reason to lose work.
    let _ = writeln!(io::stderr(), "{line}");
}

/// Text on stdout; that nobody reads on (`| head -1`) is no error.
///
/// # Errors
/// What else the system says: a full disk.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let printed = out.write_all(plain(text).as_bytes());
    match printed.and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed,
    }
}

/// The text with control characters made visible, line ends and tabs apart: names in files may hold
/// what moves a terminal's cursor, hides text or sets its title.
pub fn plain(text: &str) -> Cow<'_, str> {
    let is_control = |c: char| c.is_control() && c != '\n' && c != '\t';
    if !text.contains(is_control) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::new();
    for c in text.chars() {
        match is_control(c) {
            // Writing to a `String` cannot fail.
            true => drop(write!(shown, "{}", c.escape_unicode())),
            false => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_codes_are_shown_and_not_obeyed() {
        assert_eq!(plain("a\tb\nç"), "a\tb\nç");
        assert_eq!(
            plain("\x1b[2Jcell\u{9b}1m\r"),
            r"\u{1b}[2Jcell\u{9b}1m\u{d}"
        );
    }
}
