//! A borrowing, strict reading of a narinfo.

use super::error::{FieldProblem, NarInfoError};
use super::lines::Lines;
use super::{MAX_TEXT, NarInfo};
use crate::compression::Compression;
use crate::content_address;
use crate::hash::Hash;
use crate::signature::Signature;
use crate::store_path::{self, StorePath};
use crate::text::excerpt;

/// One line of a narinfo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// Counted from 1.
    pub number: usize,
    /// What stands before the colon.
    pub key: &'a str,
    /// What stands after the colon and one space.
    pub value: &'a str,
    /// Whether there is a space after the colon.
    pub(super) spaced: bool,
}

/// A narinfo read from bytes that it borrows. Every value has been checked; nothing has been verified.
///
/// Refused is what some version of Nix would refuse, abort on, or read otherwise than other readers do. Unknown fields
/// and malformed signatures do no harm and are set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NarInfoView<'a> {
    /// The bytes as they came.
    pub text: &'a [u8],
    /// `StorePath`, as a base name.
    pub store_path: &'a str,
    /// `URL`: not empty. Where it may lead is [`BaseUrl::resolve`](crate::BaseUrl::resolve)'s question.
    pub url: &'a str,
    /// `Compression`; bzip2 when absent or empty.
    pub compression: Compression,
    /// `FileHash`: of the bytes behind the URL. Not signed.
    pub file_hash: Option<Hash>,
    /// `FileSize` in bytes. Not signed.
    pub file_size: Option<u64>,
    /// `NarHash`: of the decompressed NAR.
    pub nar_hash: Hash,
    /// `NarSize` in bytes, not zero.
    pub nar_size: u64,
    /// `References`: base names, in the order given.
    pub references: Vec<&'a str>,
    /// `Deriver` as a base name, unless absent or unknown.
    pub deriver: Option<&'a str>,
    /// `System`, which Nix up to 2.8 wrote.
    pub system: Option<&'a str>,
    /// The well-formed signatures, in the order given.
    pub sigs: Vec<Signature>,
    /// `CA`, unless absent or empty.
    pub ca: Option<&'a str>,
    /// `Sig` lines that no reader could use. Nix 2.34 refuses a narinfo that has one, so they are not written again.
    pub malformed_sigs: Vec<Line<'a>>,
    /// Fields that are not known here, such as `Mirrors`.
    pub unknown: Vec<Line<'a>>,
}

/// The singular fields by name, as they are found.
#[derive(Default)]
struct Found<'a> {
    store_path: Option<Line<'a>>,
    url: Option<Line<'a>>,
    compression: Option<Line<'a>>,
    file_hash: Option<Line<'a>>,
    file_size: Option<Line<'a>>,
    nar_hash: Option<Line<'a>>,
    nar_size: Option<Line<'a>>,
    references: Option<Line<'a>>,
    deriver: Option<Line<'a>>,
    system: Option<Line<'a>>,
    ca: Option<Line<'a>>,
}

impl<'a> Found<'a> {
    /// The name of a known singular field, and where its line is kept.
    fn slot(&mut self, key: &str) -> Option<(&'static str, &mut Option<Line<'a>>)> {
        Some(match key {
            "StorePath" => ("StorePath", &mut self.store_path),
            "URL" => ("URL", &mut self.url),
            "Compression" => ("Compression", &mut self.compression),
            "FileHash" => ("FileHash", &mut self.file_hash),
            "FileSize" => ("FileSize", &mut self.file_size),
            "NarHash" => ("NarHash", &mut self.nar_hash),
            "NarSize" => ("NarSize", &mut self.nar_size),
            "References" => ("References", &mut self.references),
            "Deriver" => ("Deriver", &mut self.deriver),
            "System" => ("System", &mut self.system),
            "CA" => ("CA", &mut self.ca),
            _ => return None,
        })
    }
}

impl<'a> NarInfoView<'a> {
    /// Reads a text; the error names the line and the field.
    pub fn parse(text: &'a [u8]) -> Result<Self, NarInfoError> {
        if text.len() > MAX_TEXT {
            return Err(NarInfoError::TooLarge { length: text.len() });
        }
        let (mut found, mut sigs) = (Found::default(), Vec::new());
        let (mut malformed_sigs, mut unknown) = (Vec::new(), Vec::new());
        let mut lines = 0;
        for line in Lines::new(text) {
            let line = line?;
            lines = line.number;
            let problem = |field, problem| NarInfoError::Field { line: line.number, field, problem };
            if let Some((field, slot)) = found.slot(line.key) {
                if !line.spaced {
                    return Err(problem(field, FieldProblem::NoSpace));
                }
                if let Some(first) = slot {
                    return Err(problem(field, FieldProblem::Twice { first: first.number }));
                }
                *slot = Some(line);
            } else if line.key == "Sig" {
                match line.value.parse() {
                    Ok(sig) if line.spaced => sigs.push(sig),
                    _ => malformed_sigs.push(line),
                }
            } else {
                unknown.push(line);
            }
        }
        let required = |field, line: Option<Line<'a>>| line.ok_or(NarInfoError::Missing { field, lines });
        Ok(Self {
            text,
            store_path: read("StorePath", required("StorePath", found.store_path)?, store_path)?,
            url: read("URL", required("URL", found.url)?, not_empty)?,
            compression: optional("Compression", found.compression, |v| Ok(v.parse()?))?
                .unwrap_or(Compression::Bzip2),
            file_hash: optional("FileHash", found.file_hash, |v| Ok(v.parse()?))?,
            file_size: optional("FileSize", found.file_size, number)?,
            nar_hash: read("NarHash", required("NarHash", found.nar_hash)?, |v| Ok(v.parse()?))?,
            nar_size: read("NarSize", required("NarSize", found.nar_size)?, not_zero)?,
            references: optional("References", found.references, references)?.unwrap_or_default(),
            deriver: optional("Deriver", found.deriver, deriver)?.flatten(),
            system: found.system.map(|line| line.value).filter(|v| !v.is_empty()),
            sigs,
            ca: optional("CA", found.ca, ca)?.flatten(),
            malformed_sigs,
            unknown,
        })
    }

    /// The owned value: references sorted and each once, unknown fields and malformed signatures left out.
    #[must_use]
    pub fn to_narinfo(&self) -> NarInfo {
        let mut references: Vec<_> = self.references.iter().copied().map(StorePath::of_checked).collect();
        references.sort_unstable();
        references.dedup();
        NarInfo {
            store_path: StorePath::of_checked(self.store_path),
            url: self.url.to_owned(),
            compression: self.compression,
            file_hash: self.file_hash,
            file_size: self.file_size,
            nar_hash: self.nar_hash,
            nar_size: self.nar_size,
            references,
            deriver: self.deriver.map(StorePath::of_checked),
            system: self.system.map(str::to_owned),
            sigs: self.sigs.clone(),
            ca: self.ca.map(str::to_owned),
        }
    }
}

/// Applies a field's reader and adds the place to its error.
fn read<'a, T>(
    field: &'static str,
    line: Line<'a>,
    reader: impl FnOnce(&'a str) -> Result<T, FieldProblem>,
) -> Result<T, NarInfoError> {
    reader(line.value).map_err(|problem| NarInfoError::Field { line: line.number, field, problem })
}

fn optional<'a, T>(
    field: &'static str,
    line: Option<Line<'a>>,
    reader: impl FnOnce(&'a str) -> Result<T, FieldProblem>,
) -> Result<Option<T>, NarInfoError> {
    line.map(|line| read(field, line, reader)).transpose()
}

fn store_path(value: &str) -> Result<&str, FieldProblem> {
    base_name(store_path::base_of(value)?)
}

fn base_name(value: &str) -> Result<&str, FieldProblem> {
    store_path::check_base_name(value)?;
    Ok(value)
}

fn not_empty(value: &str) -> Result<&str, FieldProblem> {
    if value.is_empty() { Err(FieldProblem::Empty) } else { Ok(value) }
}

/// Digits only: `str::parse` alone would also take a plus sign.
fn number(value: &str) -> Result<u64, FieldProblem> {
    let digits = value.bytes().all(|b| b.is_ascii_digit());
    let parsed = if digits { value.parse().ok() } else { None };
    parsed.ok_or_else(|| FieldProblem::Number { value: excerpt(value) })
}

fn not_zero(value: &str) -> Result<u64, FieldProblem> {
    match number(value)? {
        0 => Err(FieldProblem::Zero),
        size => Ok(size),
    }
}

/// Base names between spaces; several spaces count as one, as in Nix.
fn references(value: &str) -> Result<Vec<&str>, FieldProblem> {
    value.split(' ').filter(|name| !name.is_empty()).map(base_name).collect()
}

fn deriver(value: &str) -> Result<Option<&str>, FieldProblem> {
    if value == "unknown-deriver" { Ok(None) } else { base_name(value).map(Some) }
}

fn ca(value: &str) -> Result<Option<&str>, FieldProblem> {
    if value.is_empty() {
        return Ok(None);
    }
    content_address::check(value)?;
    Ok(Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An artifact of cache.nixos.org, shortened to what is tested here.
    const GOOD: &str = "\
StorePath: /nix/store/00bgd045z0d4icpbc2yyz4gx48ak44la-net-tools-1.60
URL: nar/x.nar.xz
Compression: xz
FileHash: sha256:1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s
FileSize: 114980
NarHash: sha256:1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s
NarSize: 464152
References: 7gx4kiv5m0i7d7qkixq2cwzbr10lvxwc-glibc-2.27 00bgd045z0d4icpbc2yyz4gx48ak44la-net-tools-1.60
Deriver: 10dx1q4ivjb115y3h90mipaaz533nr0d-net-tools-1.60.drv
";

    /// The good text with the line of `field` replaced (or removed, when `line` is empty).
    fn with(field: &str, line: &str) -> String {
        let prefix = format!("{field}:");
        let lines = GOOD.split_inclusive('\n').map(|old| if old.starts_with(&prefix) { line } else { old });
        lines.collect()
    }

    fn error(text: &str) -> String {
        NarInfoView::parse(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn fields_are_borrowed_as_they_stand() {
        let view = NarInfoView::parse(GOOD.as_bytes()).unwrap();
        assert_eq!(view.text, GOOD.as_bytes());
        assert_eq!(view.store_path, "00bgd045z0d4icpbc2yyz4gx48ak44la-net-tools-1.60");
        assert_eq!((view.url, view.compression), ("nar/x.nar.xz", Compression::Xz));
        assert_eq!((view.file_size, view.nar_size), (Some(114_980), 464_152));
        assert_eq!((view.file_hash, view.nar_hash), (Some(Hash::of(b"abc")), Hash::of(b"abc")));
        assert_eq!(view.references[0], "7gx4kiv5m0i7d7qkixq2cwzbr10lvxwc-glibc-2.27");
        assert_eq!(view.references[1], view.store_path);
        assert_eq!(view.deriver, Some("10dx1q4ivjb115y3h90mipaaz533nr0d-net-tools-1.60.drv"));
        assert_eq!((view.system, view.ca), (None, None));
        assert!(view.sigs.is_empty() && view.malformed_sigs.is_empty() && view.unknown.is_empty());
    }

    #[test]
    fn what_may_be_absent() {
        for (field, line) in [("Compression", ""), ("Compression", "Compression: \n")] {
            let text = with(field, line);
            assert_eq!(NarInfoView::parse(text.as_bytes()).unwrap().compression, Compression::Bzip2);
        }
        for field in ["FileHash", "FileSize", "References", "Deriver"] {
            assert!(NarInfoView::parse(with(field, "").as_bytes()).is_ok(), "{field}");
        }
        let text = with("Deriver", "Deriver: unknown-deriver\nCA: \nSystem: x86_64-linux\n");
        let view = NarInfoView::parse(text.as_bytes()).unwrap();
        assert_eq!((view.deriver, view.ca, view.system), (None, None, Some("x86_64-linux")));
        assert!(
            NarInfoView::parse(with("References", "References: \n").as_bytes())
                .unwrap()
                .references
                .is_empty()
        );
    }

    #[test]
    fn what_must_be_there() {
        for field in ["StorePath", "URL", "NarHash", "NarSize"] {
            let lines = GOOD.lines().count() - 1;
            assert_eq!(error(&with(field, "")), format!("{field} is missing in {lines} lines"));
        }
        assert_eq!(error(""), "StorePath is missing in 0 lines");
        assert_eq!(error(&with("URL", "URL: \n")), "line 2 (URL): the value is empty");
    }

    #[test]
    fn repeated_fields_are_refused() {
        for line in GOOD.split_inclusive('\n') {
            let text = format!("{GOOD}{line}");
            let (field, _) = line.split_once(':').unwrap();
            let first = GOOD.lines().position(|l| l.starts_with(&format!("{field}:"))).unwrap() + 1;
            assert_eq!(error(&text), format!("line 10 ({field}): given twice, first on line {first}"));
        }
    }

    #[test]
    fn bad_values_are_named_by_line_and_field() {
        for (field, value, want) in [
            ("StorePath", "/gnu/x", "line 1 (StorePath): \"/gnu/x\" is not in /nix/store"),
            ("Compression", "foo", "line 3 (Compression): compression \"foo\" is not known to Nix"),
            ("FileSize", "+1", "line 5 (FileSize): \"+1\" is not a number of bytes"),
            ("FileSize", "", "line 5 (FileSize): \"\" is not a number of bytes"),
            (
                "NarSize",
                "18446744073709551616",
                "line 7 (NarSize): \"18446744073709551616\" is not a number of bytes",
            ),
            ("NarSize", "0", "line 7 (NarSize): the size is zero"),
            ("References", "a", "line 8 (References): \"a\" is not of the form <hash part>-<name>"),
            ("Deriver", "b", "line 9 (Deriver): \"b\" is not of the form <hash part>-<name>"),
        ] {
            assert_eq!(error(&with(field, &format!("{field}: {value}\n"))), want);
        }
        for field in ["FileHash", "NarHash"] {
            let message = error(&with(field, &format!("{field}: sha256:00\n")));
            assert!(message.contains(&format!("({field}): the digest has 2 characters")), "{message}");
        }
        assert!(error(&with("URL", "URL:nar/x\n")).contains("line 2 (URL): there is no space"));
        assert!(error(&with("Deriver", "CA: fixed:hash\n")).starts_with("line 9 (CA): content address"));
    }

    #[test]
    fn malformed_signatures_and_unknown_fields_do_no_harm() {
        let sig = Signature::new("k".into(), [1; 64]);
        let text = format!("X-First: 1\n{GOOD}Sig: asdf\nSig: {sig}\nSig:{sig}\nMirrors:https://a\n");
        let view = NarInfoView::parse(text.as_bytes()).unwrap();
        assert_eq!(view.sigs, [sig]);
        let lines = |lines: &[Line<'_>]| lines.iter().map(|line| line.number).collect::<Vec<_>>();
        assert_eq!(lines(&view.malformed_sigs), [11, 13]);
        assert_eq!(lines(&view.unknown), [1, 14]);
        assert_eq!(view.unknown[1].value, "https://a");
        assert!(!view.to_narinfo().to_text().contains("Mirrors"));
    }

    #[test]
    fn the_size_is_bounded() {
        let filler = |length: usize| format!("{GOOD}X: {}\n", "x".repeat(length - GOOD.len() - 4));
        assert!(NarInfoView::parse(filler(MAX_TEXT).as_bytes()).is_ok());
        let text = filler(MAX_TEXT + 1);
        assert_eq!(NarInfoView::parse(text.as_bytes()), Err(NarInfoError::TooLarge { length: MAX_TEXT + 1 }));
    }
}
