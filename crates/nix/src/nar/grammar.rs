//! What may stand where.

use super::{MAX_NAME, MAX_TARGET, NarProblem};
use crate::text::excerpt_bytes;

/// The token that comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Magic,
    NodeOpen,
    TypeTag,
    Type,
    FileTag,
    ExecutableValue,
    ContentsTag,
    Contents,
    TargetTag,
    Target,
    NodeClose,
    EntryOrClose,
    EntryOpen,
    NameTag,
    Name,
    NodeTag,
    EntryClose,
    End,
}

impl State {
    /// What may stand here, for people.
    pub(super) const fn expected(self) -> &'static str {
        match self {
            Self::Magic => "nix-archive-1",
            Self::NodeOpen | Self::EntryOpen => "(",
            Self::TypeTag => "type",
            Self::Type => "regular, directory or symlink",
            Self::FileTag => "executable or contents",
            Self::ExecutableValue => "the executable marker's empty value",
            Self::ContentsTag => "contents",
            Self::Contents => "the rest of a file",
            Self::TargetTag => "target",
            Self::Target => "the target of a symlink",
            Self::NodeClose | Self::EntryClose => ")",
            Self::EntryOrClose => "entry or )",
            Self::NameTag => "name",
            Self::Name => "the name of an entry",
            Self::NodeTag => "node",
            Self::End => "the end",
        }
    }

    /// Whether a token of that length may stand here. Contents may have any length, as they are not kept.
    pub(super) fn check_length(self, length: u64) -> Result<(), NarProblem> {
        /// As long as the longest word, `nix-archive-1`.
        const WORD: usize = 13;
        let beyond = |most: usize| usize::try_from(length).map_or(true, |length| length > most);
        match self {
            Self::ExecutableValue if length > 0 => Err(NarProblem::ExecutableValue),
            Self::Name if beyond(MAX_NAME) => Err(NarProblem::NameLength { length }),
            Self::Target if beyond(MAX_TARGET) => Err(NarProblem::TargetLength { length }),
            Self::Contents | Self::Name | Self::Target => Ok(()),
            _ if beyond(WORD) => Err(NarProblem::TokenLength { expected: self.expected(), length }),
            _ => Ok(()),
        }
    }

    /// The state after `word`, where only words may stand.
    pub(super) fn after(self, word: &[u8]) -> Result<Self, NarProblem> {
        Ok(match (self, word) {
            (Self::Magic, b"nix-archive-1") | (Self::NodeTag, b"node") => Self::NodeOpen,
            (Self::NodeOpen, b"(") => Self::TypeTag,
            (Self::TypeTag, b"type") => Self::Type,
            (Self::Type, b"regular") => Self::FileTag,
            (Self::Type, b"symlink") => Self::TargetTag,
            (Self::FileTag, b"executable") => Self::ExecutableValue,
            (Self::ExecutableValue, b"") => Self::ContentsTag,
            (Self::FileTag | Self::ContentsTag, b"contents") => Self::Contents,
            (Self::TargetTag, b"target") => Self::Target,
            (Self::Type, b"directory") | (Self::EntryClose, b")") => Self::EntryOrClose,
            (Self::EntryOrClose, b"entry") => Self::EntryOpen,
            (Self::EntryOpen, b"(") => Self::NameTag,
            (Self::NameTag, b"name") => Self::Name,
            // What a closed node is in, the reader knows.
            (Self::NodeClose | Self::EntryOrClose, b")") => Self::End,
            _ => {
                let found = excerpt_bytes(word);
                return Err(NarProblem::Unexpected { expected: self.expected(), found });
            }
        })
    }
}
