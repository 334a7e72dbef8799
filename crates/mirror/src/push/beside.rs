//! Files beside artifacts: verified like those of an upstream, and visible only beside an artifact that is here.
//!
//! Nix sends a listing and the entries of the debug index before the artifact, and logs and realisations after it. So a
//! listing waits, as a NAR file does, until its narinfo comes. Of an entry of the debug index it is only remembered that
//! there is one: the index is made from the NAR itself, which proves it.

mod judge;

use std::fs;
use std::sync::Arc;

use axum::body::Body;
use granary_nix::{DebugInfo, Extra, ExtraKind, HashPart, NarInfo};
use http::{HeaderMap, header};
use tracing::{info, warn};

use super::Push;
use super::body;
use super::receive::receive;
use super::refused::{Reason, Refused};
use super::request::is_file_name;
use crate::extras::most_bytes;
use judge::refused;

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is visible now, with so many bytes.
    Visible(u64),
    /// It was visible before: none of these files ever changes.
    Known,
    /// It waits for its artifact.
    Waits,
    /// This mirror keeps no such files, and nobody needs them.
    Dropped,
}

/// The name under which a listing waits. No NAR file that waits has such a name.
pub(super) fn waiting_listing(hash: &HashPart) -> String {
    format!("listing~{hash}")
}

/// The mark that there is debug information in a NAR file.
pub(super) fn debug_mark(nar: &str) -> String {
    format!("debug~{}", nar.strip_prefix("nar/").unwrap_or(nar))
}

impl Push {
    /// Takes a file beside an artifact in.
    pub(super) async fn beside(
        &self,
        extra: &Extra,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Taken, (Refused, Body)> {
        let (kind, name) = (extra.kind(), extra.file_name());
        if !self.keeper.wants(kind) {
            return match kind {
                // A client that sends these with its artifacts would have to be told not to.
                ExtraKind::Listing | ExtraKind::DebugInfo => read_away(body, Taken::Dropped).await,
                _ => Err((Refused::not_kept(&name), body)),
            };
        }
        let _turn = self.turns.of(&name).await;
        match extra {
            Extra::DebugInfo(_) => self.debug_info(extra, headers, body).await,
            Extra::Log(derivation) if !self.tree.has_outputs_of(derivation) => {
                Err((Refused::unowned(&name), body))
            }
            Extra::Log(_) | Extra::Listing(_) if self.tree.has_extra(extra) => {
                read_away(body, Taken::Known).await
            }
            _ => self.file(extra, headers, body).await,
        }
    }

    async fn file(&self, extra: &Extra, headers: &HeaderMap, body: Body) -> Result<Taken, (Refused, Body)> {
        let Ok(_permit) = self.uploads.try_acquire() else { return Err((Refused::busy(), body)) };
        // What is encoded becomes more; then there has to be room at all.
        let length =
            headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let length = length.unwrap_or(0);
        let reservation = match self.incoming.reserve(length, self.quota()) {
            Ok(reservation) => reservation,
            Err(refused) => return Err((refused, body)),
        };
        let _room = match self.tree.admit(length).await {
            Ok(room) => room,
            Err(full) => return Err((Refused::disk(full), body)),
        };
        let file = self.tree.temp();
        let most = most_bytes(extra.kind());
        let (bytes, _reserved) = receive(headers, body, most, file.path(), reservation).await?;
        self.judge(extra, file, bytes).await.map_err(|refused| (refused, Body::empty()))
    }

    /// An entry of the debug index. Of a NAR that is here the index is made at once, else when it is.
    async fn debug_info(
        &self,
        extra: &Extra,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Taken, (Refused, Body)> {
        let Extra::DebugInfo(id) = extra else { return Err((Refused::not_taken(&extra.file_name()), body)) };
        let text = body::small(headers, body).await.map_err(|refused| (refused, Body::empty()))?;
        let known = || -> Result<_, Refused> {
            if self.tree.has_extra(extra) {
                return Ok(None);
            }
            let entry = DebugInfo::parse(&text, id).map_err(|error| refused(extra, &error.into()))?;
            let nar = entry.nar.strip_prefix("nar/").filter(|nar| is_file_name(nar)).ok_or_else(|| {
                Refused::new(Reason::Invalid, format!("{}: no NAR file has such a name", extra.file_name()))
            })?;
            let held = self.tree.find_nar(nar);
            let held = held.map(|known| known.hash_part).filter(|hash| self.tree.holds(hash));
            if held.is_none() {
                self.incoming.mark(&debug_mark(&entry.nar))?;
            }
            Ok(Some(held))
        };
        let hash = match known() {
            Ok(None) => return Ok(Taken::Known),
            Ok(Some(None)) => return Ok(Taken::Waits),
            Ok(Some(Some(hash))) => hash,
            Err(refused) => return Err((refused, Body::empty())),
        };
        if self.keeper.indexed(&hash).await && self.tree.has_extra(extra) {
            return Ok(Taken::Visible(text.len() as u64));
        }
        let message = format!("{}: the NAR that it names has no such debug information", extra.file_name());
        Err((Refused::new(Reason::Invalid, message), Body::empty()))
    }

    /// An artifact has come, by this narinfo of the client's: what waited for it becomes visible too. What of that is bad is
    /// dropped, and refuses nothing.
    pub(super) async fn attach(&self, who: &str, pushed: &NarInfo) {
        let hash = pushed.store_path.hash_part();
        let (extra, file) = (Extra::Listing(hash), self.tree.temp());
        let marked = self.incoming.discard(&debug_mark(&pushed.url));
        let waited = self.incoming.take(&waiting_listing(&hash), file.path());
        if !self.tree.holds(&hash) {
            return;
        }
        if marked && self.keeper.wants(ExtraKind::DebugInfo) {
            self.index(hash);
        }
        if !matches!(waited, Ok(true)) || self.tree.has_extra(&extra) {
            return;
        }
        let bytes = fs::metadata(file.path()).map_or(0, |file| file.len());
        match self.judge(&extra, file, bytes).await {
            Ok(_) => info!(who, name = extra.file_name(), bytes, "pushed, with its artifact"),
            Err(refused) => {
                warn!(
                    who,
                    name = extra.file_name(),
                    reason = refused.message(),
                    "a pushed listing is dropped"
                );
            }
        }
    }

    /// Nothing more comes for this narinfo.
    pub(super) fn detach(&self, refused: &NarInfo) {
        self.incoming.discard(&waiting_listing(&refused.store_path.hash_part()));
        self.incoming.discard(&debug_mark(&refused.url));
    }

    /// Makes the debug index of an artifact, in the background: nobody waits for it.
    fn index(&self, hash: HashPart) {
        let keeper = Arc::clone(&self.keeper);
        if keeper.wants(ExtraKind::DebugInfo) {
            tokio::spawn(async move { keeper.indexed(&hash).await });
        }
    }
}

/// Reads a body that is not needed.
async fn read_away(body: Body, taken: Taken) -> Result<Taken, (Refused, Body)> {
    body::discard(body).await.map(|_| taken).map_err(|refused| (refused, Body::empty()))
}
