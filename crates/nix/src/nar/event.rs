//! What a reader tells.

/// A piece of an archive, in the archive's order. The name is that of the directory entry, and empty for the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NarEvent<'a> {
    /// A directory begins; its entries follow in the order of their names' bytes.
    Directory {
        /// Its name.
        name: &'a [u8],
    },
    /// The directory that was begun last ends.
    EndDirectory,
    /// A regular file begins; its contents follow.
    File {
        /// Its name.
        name: &'a [u8],
        /// Whether it may be executed.
        executable: bool,
        /// Bytes of its contents.
        size: u64,
        /// Bytes of the archive before its contents.
        offset: u64,
    },
    /// The next bytes of the file that was begun last; never empty.
    Contents(&'a [u8]),
    /// A symlink.
    Symlink {
        /// Its name.
        name: &'a [u8],
        /// Where it leads: not empty, without NUL.
        target: &'a [u8],
    },
    /// The archive is complete.
    End,
}
