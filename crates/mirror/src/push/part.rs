//! The upload of one NAR file.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::BodyDataStream;
use futures::StreamExt as _;
use tokio::io::AsyncWriteExt as _;

use super::body::{SILENCE, cut, silent};
use super::incoming::State;
use super::quota::{Reservation, lock};
use super::refused::Refused;
use crate::counted::keep_age;
use crate::tree::disk;

/// An upload in work; what is there of it is removed unless it becomes whole.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) path: PathBuf,
    /// The name that it gets, in the directory.
    pub(super) name: String,
    pub(super) directory: PathBuf,
    pub(super) state: Arc<Mutex<State>>,
    pub(super) reservation: Reservation,
}

impl Part {
    /// Writes the body to its end; then it waits under its name. How many bytes it has.
    pub(super) async fn write(mut self, body: &mut BodyDataStream) -> Result<u64, Refused> {
        #[cfg(test)]
        disk::about_to_write(&self.path).map_err(Refused::disk)?;
        let mut file = tokio::fs::File::create_new(&self.path).await.map_err(Refused::disk)?;
        let mut length = 0_u64;
        loop {
            let chunk = match tokio::time::timeout(SILENCE, body.next()).await {
                Ok(Some(Ok(chunk))) => chunk,
                Ok(None) => break,
                Ok(Some(Err(error))) => return Err(cut(&error)),
                Err(_) => return Err(silent()),
            };
            length += chunk.len() as u64;
            self.reservation.grow(length)?;
            #[cfg(test)]
            disk::about_to_write(&self.path).map_err(Refused::disk)?;
            file.write_all(&chunk).await.map_err(Refused::disk)?;
        }
        file.flush().await.map_err(Refused::disk)?;
        drop(file);
        keep_age(&self.path, Duration::ZERO).map_err(Refused::disk)?;
        let mut state = lock(&self.state);
        disk::rename(&self.path, &self.directory.join(&self.name)).map_err(Refused::disk)?;
        state.waits(&self.name, length);
        Ok(length)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // It has its name by now, if it became whole.
        let _ = fs::remove_file(&self.path);
    }
}
