//! What becomes of a NAR file that has come whole and is verified: it is published, if its closure is in the catalog and
//! there is room.

use std::sync::{Arc, Mutex};

use super::flight::Obtained;
use super::{Through, lock};
use crate::tree::{Contents, Tree};

/// The room for what is kept only because a client asked for it.
#[derive(Debug)]
pub(super) struct Space {
    /// Bytes.
    max: u64,
    /// Bytes of what is under way.
    reserved: Arc<Mutex<u64>>,
}

/// Room for one NAR file, given back when this is dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    bytes: u64,
    reserved: Arc<Mutex<u64>>,
}

impl Space {
    pub(super) fn new(max: u64) -> Self {
        Self { max, reserved: Arc::default() }
    }

    /// Room for so many bytes, if there is any beside what is in the tree and under way.
    pub(super) fn reserve(&self, tree: &Tree, bytes: u64) -> Option<Reservation> {
        let mut reserved = lock(&self.reserved);
        let after = tree.totals().bytes.checked_add(*reserved)?.checked_add(bytes)?;
        if after > self.max {
            return None;
        }
        *reserved += bytes;
        Some(Reservation { bytes, reserved: Arc::clone(&self.reserved) })
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut reserved = lock(&self.reserved);
        *reserved = reserved.saturating_sub(self.bytes);
    }
}

impl Through {
    /// Publishes what a flight has brought.
    pub(super) async fn keep(&self, obtained: Obtained, room: Reservation) {
        let Obtained { info, verified, file } = obtained;
        let (path, bytes) = (info.store_path.clone(), verified.file_size);
        if let Err(why) = self.gather(path.hash_part()).await {
            tracing::info!(%path, %why, "passed on, and not kept");
            return;
        }
        let contents = Contents { file_hash: verified.file_hash, file_size: verified.file_size };
        let through = self.clone();
        let publish = move || through.0.tree.publish(&info, &contents, file);
        match tokio::task::spawn_blocking(publish).await {
            Ok(Ok(())) => {
                tracing::info!(%path, bytes, "published what a client asked for");
                self.0.metrics.kept(bytes);
            }
            Ok(Err(error)) => tracing::error!(%path, %error, "passed on, and not kept"),
            Err(error) => tracing::error!(%path, %error, "passed on, and not kept"),
        }
        drop(room);
    }
}
