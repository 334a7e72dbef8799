//! The push parser.

use super::grammar::State;
use super::names::Names;
use super::token::{self, Token};
use super::{NarError, NarEvent, NarProblem};
use crate::text::excerpt_bytes;

/// Reads an archive from pieces of any size.
///
/// It keeps the name of the latest entry of each open directory and at most one token that is not file contents:
/// together at most 20,160 bytes, whatever the archive claims.
#[derive(Debug)]
pub struct NarReader {
    /// Bytes read.
    offset: u64,
    /// Bytes that the archive may have.
    limit: u64,
    /// Where the current token begins.
    start: u64,
    token: Token,
    state: State,
    /// Whether the file that is being read may be executed.
    executable: bool,
    /// The current token, unless it is file contents.
    word: Vec<u8>,
    names: Names,
    failed: Option<NarError>,
}

impl NarReader {
    /// Before the first byte of an archive that may have at most `limit` bytes, as its NarSize says. A file that claims
    /// more is refused where it begins.
    #[must_use]
    pub fn new(limit: u64) -> Self {
        Self {
            offset: 0,
            limit,
            start: 0,
            token: Token::START,
            state: State::Magic,
            executable: false,
            word: Vec::new(),
            names: Names::default(),
            failed: None,
        }
    }

    /// Bytes read so far.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Reads the next bytes, and tells `sink` what is in them. After an error every further call gives it again.
    pub fn push(&mut self, bytes: &[u8], sink: &mut impl FnMut(NarEvent<'_>)) -> Result<(), NarError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let result = self.read(bytes, sink);
        if let Err(error) = &result {
            self.failed = Some(error.clone());
        }
        result
    }

    /// No more bytes come: whether the archive is complete.
    pub fn finish(self) -> Result<(), NarError> {
        match self.failed {
            Some(error) => Err(error),
            None if self.state == State::End => Ok(()),
            None => {
                let problem = NarProblem::Truncated { expected: self.state.expected() };
                Err(NarError { offset: self.offset, problem })
            }
        }
    }

    fn read(&mut self, bytes: &[u8], sink: &mut impl FnMut(NarEvent<'_>)) -> Result<(), NarError> {
        let room = usize::try_from(self.limit - self.offset).unwrap_or(usize::MAX);
        let (mut rest, beyond) = bytes.split_at(room.min(bytes.len()));
        while !rest.is_empty() && self.state != State::End {
            rest = self.step(rest, sink)?;
        }
        match (rest.is_empty() && beyond.is_empty(), self.state) {
            (true, _) => Ok(()),
            (false, State::End) => Err(NarError { offset: self.offset, problem: NarProblem::Trailing }),
            (false, _) => {
                Err(NarError { offset: self.offset, problem: NarProblem::TooLarge { limit: self.limit } })
            }
        }
    }

    /// Reads up to the end of the current part of the token, and returns what is left.
    fn step<'b>(
        &mut self,
        bytes: &'b [u8],
        sink: &mut impl FnMut(NarEvent<'_>),
    ) -> Result<&'b [u8], NarError> {
        match self.token {
            Token::Length { bytes: mut length, have } => {
                let (part, rest) = bytes.split_at(bytes.len().min(length.len() - have));
                length[have..have + part.len()].copy_from_slice(part);
                self.advance(part.len());
                let have = have + part.len();
                if have < length.len() {
                    self.token = Token::Length { bytes: length, have };
                } else {
                    self.begin(u64::from_le_bytes(length), sink)?;
                }
                Ok(rest)
            }
            Token::Body { left, padding } => {
                let now = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
                let (part, rest) = bytes.split_at(now);
                if self.state == State::Contents {
                    sink(NarEvent::Contents(part));
                } else {
                    self.word.extend_from_slice(part);
                }
                self.advance(now);
                let left = left - now as u64;
                self.token =
                    if left > 0 { Token::Body { left, padding } } else { Token::Padding { left: padding } };
                self.end_if_read(sink)?;
                Ok(rest)
            }
            Token::Padding { left } => {
                let (part, rest) = bytes.split_at(bytes.len().min(usize::from(left)));
                if let Some(place) = part.iter().position(|&byte| byte != 0) {
                    return Err(NarError {
                        offset: self.offset + place as u64,
                        problem: NarProblem::Padding,
                    });
                }
                self.advance(part.len());
                let read = u8::try_from(part.len()).unwrap_or(left);
                self.token = Token::Padding { left: left - read };
                self.end_if_read(sink)?;
                Ok(rest)
            }
        }
    }

    /// Counts bytes that have been read. They are within the limit, so that the sum is no overflow.
    fn advance(&mut self, bytes: usize) {
        self.offset += bytes as u64;
    }

    /// The length of a token has been read.
    fn begin(&mut self, length: u64, sink: &mut impl FnMut(NarEvent<'_>)) -> Result<(), NarError> {
        self.state.check_length(length).map_err(|problem| self.error(problem))?;
        if self.state == State::Contents {
            let end = token::padded(length).and_then(|padded| self.offset.checked_add(padded));
            if end.is_none_or(|end| end > self.limit) {
                return Err(self.error(NarProblem::FileLength { length, limit: self.limit }));
            }
            sink(NarEvent::File {
                name: self.names.current(),
                executable: self.executable,
                size: length,
                offset: self.offset,
            });
        }
        self.word.clear();
        self.token = if length > 0 { Token::body(length) } else { Token::Padding { left: 0 } };
        self.end_if_read(sink)
    }

    /// Acts on the token when all of it has been read.
    fn end_if_read(&mut self, sink: &mut impl FnMut(NarEvent<'_>)) -> Result<(), NarError> {
        if !matches!(self.token, Token::Padding { left: 0 }) {
            return Ok(());
        }
        self.end(sink).map_err(|problem| self.error(problem))?;
        self.token = Token::START;
        self.start = self.offset;
        Ok(())
    }

    fn end(&mut self, sink: &mut impl FnMut(NarEvent<'_>)) -> Result<(), NarProblem> {
        let next = match self.state {
            State::Contents => State::NodeClose,
            State::Name => {
                self.names.enter(&self.word)?;
                State::NodeTag
            }
            State::Target => {
                if self.word.is_empty() || self.word.contains(&0) {
                    return Err(NarProblem::Target { target: excerpt_bytes(&self.word) });
                }
                sink(NarEvent::Symlink { name: self.names.current(), target: &self.word });
                State::NodeClose
            }
            state => state.after(&self.word)?,
        };
        match (self.state, next) {
            (State::Type, State::EntryOrClose) => {
                sink(NarEvent::Directory { name: self.names.current() });
                self.names.open();
            }
            (State::Type, State::FileTag) => self.executable = false,
            (State::FileTag, State::ExecutableValue) => self.executable = true,
            (State::EntryOrClose, State::End) => {
                sink(NarEvent::EndDirectory);
                self.names.close();
            }
            _ => {}
        }
        self.state = next;
        if next == State::End {
            if self.names.is_empty() {
                sink(NarEvent::End);
            } else {
                self.state = State::EntryClose;
            }
        }
        Ok(())
    }

    /// An error at the current token.
    fn error(&self, problem: NarProblem) -> NarError {
        NarError { offset: self.start, problem }
    }
}
