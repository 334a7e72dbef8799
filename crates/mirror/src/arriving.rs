//! Where a NAR file is written to while it comes.

use std::sync::Arc;

use granary_fetch::{Expected, Fault, Source};
use granary_nix::{Hash, NarInfo};
use granary_placement::report::RefusalReason;

use crate::tree::{TempFile, Tree};

/// NAR files that may have so many bytes are kept when they come in part.
const WORTH_KEEPING: u64 = 1 << 20;

/// The file for the NAR file that a source's narinfo names. A large one has what came of it before, and stays when it comes in
/// part again, be it because the process ends.
pub(crate) async fn file_for(tree: &Arc<Tree>, source: &Source, info: &NarInfo) -> Result<TempFile, Fault> {
    if Expected::from(info).most_bytes() < WORTH_KEEPING {
        return Ok(tree.temp());
    }
    let (tree, key) = (Arc::clone(tree), identity(source, info));
    let file = tokio::task::spawn_blocking(move || tree.partial(&key)).await;
    file.map_err(|error| Fault::new(RefusalReason::Disk, error.to_string()))
}

/// What tells the bytes of a NAR file from all others: its FileHash, wherever it comes from. Without one, only the same URL of
/// the same source may have the same bytes.
fn identity(source: &Source, info: &NarInfo) -> Hash {
    let NarInfo { url, compression, nar_hash, .. } = info;
    info.file_hash
        .unwrap_or_else(|| Hash::of(format!("{}\n{url}\n{compression}\n{nar_hash}", source.url).as_bytes()))
}
