//! Narinfos: what a binary cache says about one artifact.
//!
//! [`NarInfoView`] is a strict, borrowing reading of bytes as they came; [`NarInfo`] is the owned value, which writes
//! itself in one canonical form that every measured client accepts.

mod error;
mod lines;
mod owned;
mod view;

pub use error::{FieldProblem, NarInfoError};
pub use owned::NarInfo;
pub use view::{Line, NarInfoView};

/// Longest narinfo that is read, in bytes. The longest of a thousand real ones had 37.5 kB.
pub const MAX_TEXT: usize = 1024 * 1024;

/// An artifact of cache.nixos.org, shortened to what is tested. Its references are not sorted.
#[cfg(test)]
const SAMPLE: &str = "\
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
