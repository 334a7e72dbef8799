//! What of a file a client still has to get, and whether an answer has it. Decisions; nothing here waits or reads.

use std::ops::Range;

use granary_fetch::Answer;
use granary_nix::ContentRange;
use http::{HeaderValue, StatusCode};

/// A part of a file whose length is known, and how far a client is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Due {
    part: Range<u64>,
    /// The first byte that has not come.
    at: u64,
    /// The length of the whole file.
    total: u64,
}

/// What the head of an answer says about its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) range: Option<ContentRange>,
    /// Bytes that follow.
    pub(super) length: Option<u64>,
}

/// Why an answer is of no use.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    #[error("it answers with another part of the file")]
    Part,
    #[error("it does not say how long its file is")]
    NoLength,
    #[error("its file has {actual} bytes, not {expected}")]
    Length { expected: u64, actual: u64 },
    #[error("it gives its file only from the start, with {0} bytes before those that are due")]
    TooFar(u64),
}

impl Head {
    pub(super) fn of(answer: &Answer) -> Self {
        Self { status: answer.status(), range: answer.content_range(), length: answer.content_length() }
    }

    /// How long the whole file is, if that is said.
    pub(super) fn total(&self) -> Option<u64> {
        match self.status {
            StatusCode::PARTIAL_CONTENT => self.range.as_ref()?.length,
            _ => self.length,
        }
    }
}

impl Due {
    /// All of a file.
    pub(super) fn whole(total: u64) -> Self {
        Self { part: 0..total, at: 0, total }
    }

    /// The part that an answer has of a file with `total` bytes.
    pub(super) fn part(head: &Head, total: Option<u64>) -> Result<Option<Self>, Unfit> {
        let part = head.range.clone().and_then(|range| range.part).ok_or(Unfit::Part)?;
        let Some(total) = total else { return Ok(None) };
        let due = Self { at: part.start, part, total };
        if due.part.end <= total && due.has_length(head) { Ok(Some(due)) } else { Err(Unfit::Part) }
    }

    /// The length of the whole file.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Bytes that the client gets.
    pub(super) fn length(&self) -> u64 {
        self.part.end - self.part.start
    }

    /// Bytes that have come.
    pub(super) fn came(&self) -> u64 {
        self.at - self.part.start
    }

    /// Bytes that have not come.
    pub(super) fn left(&self) -> u64 {
        self.part.end - self.at
    }

    /// So many bytes came, and no more than are due.
    pub(super) fn take(&mut self, bytes: usize) {
        self.at = self.at.saturating_add(bytes as u64).min(self.part.end);
    }

    /// The header that asks for the rest. There is a rest.
    pub(super) fn range(&self) -> Option<HeaderValue> {
        let last = self.part.end.checked_sub(1)?;
        HeaderValue::from_str(&format!("bytes={}-{last}", self.at)).ok()
    }

    /// How many bytes of an answer come before the rest of this file, at most `most`. An answer without the rest, of a file
    /// with another length, or with less or more than was asked for, is unfit.
    pub(super) fn skip(&self, head: &Head, most: u64) -> Result<u64, Unfit> {
        if !matches!(head.status, StatusCode::OK | StatusCode::PARTIAL_CONTENT) {
            return Err(Unfit::Part);
        }
        match head.total() {
            Some(total) if total == self.total => {}
            Some(actual) => return Err(Unfit::Length { expected: self.total, actual }),
            None => return Err(Unfit::NoLength),
        }
        if head.status == StatusCode::OK {
            return if self.at <= most { Ok(self.at) } else { Err(Unfit::TooFar(self.at)) };
        }
        let part = head.range.as_ref().and_then(|range| range.part.as_ref());
        let asked = part.is_some_and(|part| *part == (self.at..self.part.end));
        if asked && self.has_length(head) { Ok(0) } else { Err(Unfit::Part) }
    }

    /// Whether as many bytes follow as are left, as far as that is said.
    fn has_length(&self, head: &Head) -> bool {
        head.length.is_none_or(|length| length == self.left())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(length: Option<u64>) -> Head {
        Head { status: StatusCode::OK, range: None, length }
    }

    fn part(range: &str, length: Option<u64>) -> Head {
        Head { status: StatusCode::PARTIAL_CONTENT, range: ContentRange::parse(range), length }
    }

    fn text(due: &Due) -> String {
        due.range().unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn the_rest_is_asked_for_from_the_byte_where_it_broke_off() {
        let mut due = Due::whole(100);
        assert_eq!(text(&due), "bytes=0-99");
        due.take(40);
        assert_eq!((text(&due).as_str(), due.came(), due.left()), ("bytes=40-99", 40, 60));
        let mut due = Due::part(&part("bytes 10-19/100", Some(10)), Some(100)).unwrap().unwrap();
        due.take(4);
        assert_eq!((text(&due).as_str(), due.came(), due.left(), due.length()), ("bytes=14-19", 4, 6, 10));
    }

    #[test]
    fn a_part_that_contradicts_itself_is_not_passed_on() {
        for (range, length, total) in [
            ("", Some(10), Some(100)),
            ("bytes */100", Some(10), Some(100)),
            ("bytes 10-19/100", Some(11), Some(100)),
            ("bytes 10-19/*", Some(10), Some(15)),
        ] {
            assert_eq!(Due::part(&part(range, length), total), Err(Unfit::Part), "{range}");
        }
        assert_eq!(Due::part(&part("bytes 10-19/*", Some(10)), None), Ok(None), "of unknown length");
    }

    #[test]
    fn only_the_rest_of_a_file_of_the_same_length_is_taken() {
        let mut due = Due::whole(100);
        due.take(40);
        for (head, expected) in [
            (part("bytes 40-99/100", Some(60)), Ok(0)),
            (part("bytes 40-99/100", None), Ok(0)),
            (part("bytes 40-99/100", Some(59)), Err(Unfit::Part)),
            (part("bytes 41-99/100", Some(59)), Err(Unfit::Part)),
            (part("bytes 0-99/100", Some(100)), Err(Unfit::Part)),
            (part("bytes 40-98/100", Some(59)), Err(Unfit::Part)),
            (part("bytes */100", None), Err(Unfit::Part)),
            (part("bytes 40-99/101", Some(60)), Err(Unfit::Length { expected: 100, actual: 101 })),
            (part("bytes 40-99/*", Some(60)), Err(Unfit::NoLength)),
            (part("", Some(60)), Err(Unfit::NoLength)),
            (whole(Some(100)), Ok(40)),
            (whole(Some(60)), Err(Unfit::Length { expected: 100, actual: 60 })),
            (whole(None), Err(Unfit::NoLength)),
            (Head { status: StatusCode::RANGE_NOT_SATISFIABLE, ..whole(Some(100)) }, Err(Unfit::Part)),
        ] {
            assert_eq!(due.skip(&head, 40), expected, "{head:?}");
        }
        assert_eq!(due.skip(&whole(Some(100)), 39), Err(Unfit::TooFar(40)));
        let mut due = Due::part(&part("bytes 10-19/100", None), Some(100)).unwrap().unwrap();
        due.take(4);
        assert_eq!(due.skip(&part("bytes 14-19/100", Some(6)), 0), Ok(0));
        assert_eq!(due.skip(&part("bytes 14-99/100", Some(86)), 0), Err(Unfit::Part));
        assert_eq!(due.skip(&whole(Some(100)), 50), Ok(14));
    }
}
