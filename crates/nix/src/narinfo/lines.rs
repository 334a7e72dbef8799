//! The lines of a narinfo, refused where the C++ parser of Nix would read something else than what stands there.

use super::error::NarInfoError;
use super::view::Line;
use crate::text::excerpt;

/// Splits a text into its lines.
///
/// Nix looks for a colon, takes what is before it as the key, and looks for the end of the value from two bytes after
/// the colon on. A reading by lines agrees with that exactly when every line has a colon, at least one byte follows it,
/// and the text ends in LF: these are the conditions here.
pub(super) struct Lines<'a> {
    rest: &'a [u8],
    number: usize,
}

impl<'a> Lines<'a> {
    pub(super) const fn new(text: &'a [u8]) -> Self {
        Self { rest: text, number: 0 }
    }

    fn read(&mut self) -> Result<Line<'a>, NarInfoError> {
        self.number += 1;
        let number = self.number;
        let end = self.rest.iter().position(|&b| b == b'\n');
        let (line, rest) = match end {
            Some(end) => (&self.rest[..end], &self.rest[end + 1..]),
            None => (self.rest, &self.rest[self.rest.len()..]),
        };
        self.rest = rest;
        let line = str::from_utf8(line).map_err(|_| NarInfoError::Utf8 { line: number })?;
        let (key, after) = line
            .split_once(':')
            .ok_or_else(|| NarInfoError::NoColon { line: number, text: excerpt(line) })?;
        let field = || excerpt(key);
        if end.is_none() {
            return Err(NarInfoError::NoFinalLineFeed { line: number, field: field() });
        }
        if after.ends_with('\r') {
            return Err(NarInfoError::CarriageReturn { line: number, field: field() });
        }
        if after.is_empty() {
            return Err(NarInfoError::NoValue { line: number, field: field() });
        }
        let (spaced, value) = match after.strip_prefix(' ') {
            Some(value) => (true, value),
            None => (false, after),
        };
        Ok(Line { number, key, value, spaced })
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Result<Line<'a>, NarInfoError>;

    fn next(&mut self) -> Option<Self::Item> {
        (!self.rest.is_empty()).then(|| self.read())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &[u8]) -> Result<Vec<(&str, &str)>, NarInfoError> {
        Lines::new(text).map(|line| line.map(|line| (line.key, line.value))).collect()
    }

    #[test]
    fn keys_and_values_as_nix_reads_them() {
        assert_eq!(all(b""), Ok(vec![]));
        assert_eq!(
            all(b"A: b\nReferences: \nC:  d: e \n").unwrap(),
            [("A", "b"), ("References", ""), ("C", " d: e "),]
        );
    }

    #[test]
    fn what_nix_would_read_otherwise_is_refused_with_its_line() {
        let error = |text: &[u8]| all(text).unwrap_err().to_string();
        assert_eq!(error(b"A: b\nC: d"), "line 2 (C): the final LF is missing; the text may be cut short");
        assert_eq!(error(b"A: b\r\nC: d\r\n"), "line 1 (A): ends in CR LF instead of LF");
        assert_eq!(error(b"A: b\nfoo\nC: d\n"), "line 2: \"foo\" has no colon");
        assert_eq!(error(b"A: b\n\nC: d\n"), "line 2: \"\" has no colon");
        assert_eq!(
            error(b"A: b\nC:\nD: e\n"),
            "line 2 (C): nothing follows the colon, so that the next line would be its value"
        );
        assert_eq!(error(b"A: b\nC: \xff\n"), "line 2: not UTF-8");
    }
}
