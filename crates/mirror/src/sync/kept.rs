//! What is wanted again and is still in the trash: taken back, without a download.

use std::fs::File;
use std::sync::Arc;

use granary_fetch::Expected;
use granary_nix::NarInfo;

use super::obtain::{Context, Obtained};
use crate::tree::Tree;

/// What the trash has of the artifact, if its bytes are still the right ones.
pub(super) async fn take_back(context: &Context, wanted: &Arc<NarInfo>) -> Option<Obtained> {
    if !context.tree.is_in_trash(&wanted.store_path.hash_part()) {
        return None;
    }
    let (tree, wanted) = (Arc::clone(&context.tree), Arc::clone(wanted));
    let path = wanted.store_path.clone();
    match tokio::task::spawn_blocking(move || try_take_back(&tree, &wanted)).await {
        Ok(Ok(obtained)) => {
            tracing::info!(%path, "wanted again: taken back from the trash");
            Some(obtained)
        }
        Ok(Err(reason)) => {
            tracing::warn!(%path, reason, "cannot be taken back from the trash; it is fetched");
            None
        }
        Err(_) => None,
    }
}

fn try_take_back(tree: &Tree, wanted: &NarInfo) -> Result<Obtained, String> {
    let (info, file) = tree.take_back(&wanted.store_path.hash_part()).map_err(|error| error.to_string())?;
    if info.store_path != wanted.store_path
        || (info.nar_hash, &info.references) != (wanted.nar_hash, &wanted.references)
    {
        return Err("it is of another build".into());
    }
    let nar = File::open(file.path()).map_err(|error| error.to_string())?;
    let verified = Expected::from(&info).check(nar).map_err(|error| error.to_string())?;
    let verified = verified.map_err(|fault| fault.to_string())?;
    // What the sources say of it now, for the file that is here.
    let info = Arc::new(NarInfo { compression: info.compression, ..wanted.clone() });
    Ok(Obtained { info, verified, file, source: "the trash of this mirror".into() })
}
