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
mod tests;
