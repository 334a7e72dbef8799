//! The `Range` header of a request, and the `Content-Range` header of its answer.

use std::ops::Range;

/// What a request wants of a body, as RFC 9110 reads its `Range` header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RangeRequest {
    /// All of it (200): there is no range, or one that is ignored because it is malformed, of another unit, or several.
    Whole,
    /// One part (206): not empty, and within the body. In bytes, the end not included.
    Part(Range<u64>),
    /// A part that the body does not have (416).
    Unsatisfiable,
}

impl RangeRequest {
    /// Reads the header of a request for a body of `length` bytes.
    ///
    /// A client may ask for several parts at once. That is answered with the whole body, as it may be: no Nix asks so,
    /// and answers of many overlapping parts are a way to wear a server out.
    #[must_use]
    pub fn parse(header: &str, length: u64) -> Self {
        Self::read(header, length).unwrap_or(Self::Whole)
    }

    /// Nothing when the header is to be ignored.
    fn read(header: &str, length: u64) -> Option<Self> {
        let (unit, range) = header.split_once('=')?;
        if !unit.trim_matches(BLANK).eq_ignore_ascii_case("bytes") {
            return None;
        }
        let (first, last) = range.trim_matches(BLANK).split_once('-')?;
        let part = match (first, last) {
            ("", "") => return None,
            ("", count) => length.saturating_sub(number(count)?)..length,
            (first, "") => number(first)?..length,
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                if first > last {
                    return None;
                }
                first..last.saturating_add(1).min(length)
            }
        };
        Some(if part.is_empty() { Self::Unsatisfiable } else { Self::Part(part) })
    }

    /// The `Content-Range` header of the answer, when it has one.
    #[must_use]
    pub fn content_range(&self, length: u64) -> Option<String> {
        match self {
            Self::Whole => None,
            // A part is not empty, so its end is not zero.
            Self::Part(part) => Some(format!("bytes {}-{}/{length}", part.start, part.end.saturating_sub(1))),
            Self::Unsatisfiable => Some(format!("bytes */{length}")),
        }
    }
}

/// Which part of a body an answer has: its `Content-Range` header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentRange {
    /// The part: not empty, in bytes, the end not included. `None` when there is none (416).
    pub part: Option<Range<u64>>,
    /// How long the whole body is, if that is said. The part is within it.
    pub length: Option<u64>,
}

impl ContentRange {
    /// Reads the header. Nothing when it is malformed, contradicts itself, or is of another unit.
    #[must_use]
    pub fn parse(header: &str) -> Option<Self> {
        let (part, length) = header.strip_prefix("bytes ")?.split_once('/')?;
        let exact = |digits: &str| {
            // A sign is a number for the standard library.
            digits.bytes().all(|digit| digit.is_ascii_digit()).then(|| digits.parse::<u64>().ok()).flatten()
        };
        let length = if length == "*" { None } else { Some(exact(length)?) };
        if part == "*" {
            return length.map(|_| Self { part: None, length });
        }
        let (first, last) = part.split_once('-')?;
        let part = exact(first)?..exact(last)?.checked_add(1)?;
        let fits = part.start < part.end && length.is_none_or(|length| part.end <= length);
        fits.then_some(Self { part: Some(part), length })
    }
}

/// What may stand around a header's parts.
const BLANK: [char; 2] = [' ', '\t'];

/// A number, or the largest one that can be counted when it is larger. Nothing when it is none.
fn number(digits: &str) -> Option<u64> {
    let add = |number: u64, digit: u8| {
        let digit = char::from(digit).to_digit(10)?;
        Some(number.saturating_mul(10).saturating_add(u64::from(digit)))
    };
    digits.bytes().try_fold(0, add)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use RangeRequest::{Part, Unsatisfiable, Whole};

    #[test]
    fn one_range_of_a_hundred_bytes() {
        for (header, expected) in [
            ("bytes=0-", Part(0..100)),
            ("bytes=10-", Part(10..100)),
            ("bytes=0-0", Part(0..1)),
            ("bytes=10-19", Part(10..20)),
            ("bytes=10-1000", Part(10..100)),
            ("bytes=99-", Part(99..100)),
            ("bytes=-1", Part(99..100)),
            ("bytes=-100", Part(0..100)),
            ("bytes=-101", Part(0..100)),
            ("bytes=10-99999999999999999999999999", Part(10..100)),
            ("bytes=-99999999999999999999999999", Part(0..100)),
            ("Bytes = 5-6 ", Part(5..7)),
            ("bytes=100-", Unsatisfiable),
            ("bytes=100-200", Unsatisfiable),
            ("bytes=-0", Unsatisfiable),
            ("bytes=99999999999999999999999999-", Unsatisfiable),
        ] {
            assert_eq!(RangeRequest::parse(header, 100), expected, "{header}");
        }
    }

    #[test]
    fn what_is_ignored() {
        for header in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=5",
            "bytes=9-5",
            "bytes=a-",
            "bytes=-a",
            "bytes=+1-",
            "bytes=1 -2",
            "bytes=0-1,4-5",
            "bytes=--1",
            "bytes=1-2-3",
            "lines=0-",
            "bytes: 0-",
            "bytes=０-",
        ] {
            assert_eq!(RangeRequest::parse(header, 100), Whole, "{header}");
        }
    }

    #[test]
    fn an_empty_body_has_no_part() {
        for header in ["bytes=0-", "bytes=-1", "bytes=0-0"] {
            assert_eq!(RangeRequest::parse(header, 0), Unsatisfiable, "{header}");
        }
        assert_eq!(RangeRequest::parse("bytes=x", 0), Whole);
    }

    #[test]
    fn the_answers_header() {
        assert_eq!(Whole.content_range(100), None);
        assert_eq!(Part(10..20).content_range(100).unwrap(), "bytes 10-19/100");
        assert_eq!(Unsatisfiable.content_range(100).unwrap(), "bytes */100");
    }

    #[test]
    fn what_an_answer_has() {
        let parsed = |header| ContentRange::parse(header).map(|range| (range.part, range.length));
        for (header, expected) in [
            ("bytes 10-19/100", (Some(10..20), Some(100))),
            ("bytes 0-99/100", (Some(0..100), Some(100))),
            ("bytes 10-19/*", (Some(10..20), None)),
            ("bytes */100", (None, Some(100))),
        ] {
            assert_eq!(parsed(header), Some(expected), "{header}");
        }
        for header in [
            "",
            "bytes",
            "bytes 10-19",
            "bytes 10-/100",
            "bytes -19/100",
            "bytes +1-19/100",
            "bytes 19-10/100",
            "bytes 10-100/100",
            "bytes */*",
            "bytes 0-18446744073709551615/*",
            "bytes 10-19/99999999999999999999",
            "bytes=10-19/100",
            "lines 10-19/100",
        ] {
            assert_eq!(parsed(header), None, "{header}");
        }
    }

    proptest! {
        #[test]
        fn what_is_answered_is_understood(first: u32, count in 1..1000_u64, after: u32) {
            let part = u64::from(first)..u64::from(first) + count;
            let length = part.end + u64::from(after);
            let header = Part(part.clone()).content_range(length).unwrap_or_default();
            let expected = ContentRange { part: Some(part), length: Some(length) };
            prop_assert_eq!(ContentRange::parse(&header), Some(expected));
        }

        #[test]
        fn a_part_is_within_the_body(header in "bytes=[0-9]{0,25}-[0-9]{0,25}", length: u64) {
            if let Part(part) = RangeRequest::parse(&header, length) {
                prop_assert!(part.start < part.end && part.end <= length);
            }
        }

        #[test]
        fn never_panics(header in "(bytes=)?\\PC{0,40}", length: u64) {
            let _ = RangeRequest::parse(&header, length);
            let _ = ContentRange::parse(&header);
        }

        #[test]
        fn what_was_written_is_read(first: u64, count in 1..1000_u64, length: u64) {
            let last = first.saturating_add(count - 1);
            let expected = if first < length { Part(first..last.saturating_add(1).min(length)) } else { Unsatisfiable };
            prop_assert_eq!(RangeRequest::parse(&format!("bytes={first}-{last}"), length), expected);
        }
    }
}
