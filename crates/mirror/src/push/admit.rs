//! A narinfo with its NAR file: verified like a pull, and published.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use granary_fetch::{Expected, Fault, Verified, narinfo};
use granary_nix::{HashPart, NarInfo, StorePath, Trust, served_nar_name};
use granary_placement::report::RefusalReason;

use super::Push;
use super::refused::{Reason, Refused};
use super::request::is_file_name;
use crate::tree::{Contents, TempFile, Tree, TreeError};

/// What became of a narinfo.
#[derive(Debug)]
pub(super) enum Admitted {
    /// It is visible now.
    Published { path: StorePath, bytes: u64 },
    /// It was visible before.
    Known,
}

impl Push {
    /// Verifies and publishes an artifact whose NAR file has been uploaded, or is in the tree.
    pub(super) async fn admit(&self, who: &str, hash: HashPart, text: &[u8]) -> Result<Admitted, Refused> {
        let info = narinfo::admit_trusted(text, &hash, &Trust::from(&self.settings.public_keys))?;
        if let Some(most) = self.max_nar_size.filter(|most| info.nar_size > *most) {
            let message = format!("the NAR has {} bytes; limits.maxNarSize is {most}", info.nar_size);
            return Err(Refused::new(Reason::TooLarge, message));
        }
        if self.is_known(&info)? {
            return Ok(Admitted::Known);
        }
        if let Some(reference) = self.tree.first_absent(&info) {
            let message = format!("its reference {reference} is not here; push that first");
            return Err(Fault::new(RefusalReason::MissingReference, message).into());
        }
        let name = nar_name(&info)?;
        // Two artifacts can have one content: the second finds the file in the tree.
        let _turn = self.turns.of(name).await;
        let Ok(_decoder) = self.decoders.acquire().await else { return Err(Refused::busy()) };
        let (verified, file) = self.nar_of(&info, name).await?;
        let _alone = self.publishing.lock().await;
        if self.is_known(&info)? {
            return Ok(Admitted::Known);
        }
        let (tree, published, mark) = (Arc::clone(&self.tree), info.clone(), format!("push {who}"));
        let publish = move || publish(&tree, &published, verified, file, &mark);
        tokio::task::spawn_blocking(publish).await.map_err(Refused::disk)??;
        Ok(Admitted::Published { path: info.store_path, bytes: verified.file_size })
    }

    /// Whether the same artifact is published, or known from a policy to be elsewhere. Another one under the same path, which
    /// is what two builds that differ give, must not take its place: clients have seen it.
    fn is_known(&self, info: &NarInfo) -> Result<bool, Refused> {
        let hash = info.store_path.hash_part();
        let here = self.tree.published_narinfo(&hash).or_else(|| self.tree.catalog_narinfo(&hash));
        match here {
            None => Ok(false),
            Some(here) if here.fingerprint() == info.fingerprint() => Ok(true),
            Some(here) => {
                let message = format!(
                    "{} is here with other content: its NarHash is {}, and that of what you push is {}",
                    here.store_path, here.nar_hash, info.nar_hash
                );
                Err(Refused::new(Reason::Conflict, message))
            }
        }
    }

    /// The NAR file, whose bytes are right. A file that is not is gone.
    async fn nar_of(&self, info: &NarInfo, name: &str) -> Result<(Verified, TempFile), Refused> {
        let file = self.tree.temp();
        let uploaded = self.incoming.take(name, file.path()).map_err(Refused::disk)?;
        let held = if uploaded { None } else { self.held(info) };
        if !uploaded && held.is_none() {
            let message = format!("its NAR file {} has not been uploaded", info.url);
            return Err(Fault::new(RefusalReason::NotFound, message).into());
        }
        let expected = Expected::from(info);
        let check = move || {
            if let Some(held) = held {
                // Two artifacts with one content; the file gets its name once more.
                std::fs::copy(held, file.path())?;
            }
            let checked = File::open(file.path()).and_then(|bytes| expected.check(bytes))?;
            Ok::<_, std::io::Error>((checked, file))
        };
        let checked = tokio::task::spawn_blocking(check).await.map_err(Refused::disk)?;
        let (checked, file) = checked.map_err(Refused::disk)?;
        Ok((checked?, file))
    }

    /// Where the tree has the NAR file already: for another artifact, or in the trash, from which clients are answered too.
    /// Nix asks for the file before it sends one.
    fn held(&self, info: &NarInfo) -> Option<PathBuf> {
        let layout = self.tree.layout();
        let ours = info.file_hash.map(|hash| served_nar_name(hash, info.compression));
        let names = ours.into_iter().chain([info.url.clone()]);
        names.flat_map(|name| [layout.served(&name), layout.trash_served(&name)]).find(|path| path.is_file())
    }
}

/// The file of `nar/` that the narinfo names.
fn nar_name(info: &NarInfo) -> Result<&str, Refused> {
    let name = info.url.strip_prefix("nar/").filter(|name| is_file_name(name));
    name.ok_or_else(|| {
        Fault::new(RefusalReason::ForbiddenUrl, format!("URL is {:?}; push to nar/<name>", info.url)).into()
    })
}

/// Marks the artifact as kept before it is visible, so that no crash leaves one that retention would take.
fn publish(
    tree: &Tree,
    info: &NarInfo,
    verified: Verified,
    file: TempFile,
    mark: &str,
) -> Result<(), Refused> {
    let hash = info.store_path.hash_part();
    let contents = Contents { file_hash: verified.file_hash, file_size: verified.file_size };
    let kept = tree.keep(&hash, mark).and_then(|()| tree.publish(info, &contents, file));
    kept.map_err(|error| {
        if let Err(error) = tree.unkeep(&hash) {
            tracing::warn!(%error, artifact = %hash, "a mark stays behind");
        }
        match error {
            TreeError::ReferenceMissing { .. } => {
                Fault::new(RefusalReason::MissingReference, error.to_string()).into()
            }
            error => Refused::disk(error),
        }
    })
}
