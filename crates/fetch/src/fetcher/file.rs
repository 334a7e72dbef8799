//! The small files beside artifacts: listings, logs, realisations.

use std::fs::File;
use std::path::Path;

use granary_placement::report::RefusalReason;
use reqwest::{Url, header};
use tokio::sync::mpsc;

use super::answer::{self, Attempt, Class, classify};
use super::ask::{Answer, Broken};
use super::{Fetcher, disk_fault, pause};
use crate::decoded::{self, Chunk, Encoding, Failure};
use crate::watch::Asked;
use crate::{Fault, Source};

/// Attempts at one source: who has these files is asked again some other time.
const ATTEMPTS: u32 = 2;
/// Chunks that wait for the disk, at most.
const QUEUE: usize = 4;

impl Fetcher {
    /// Fetches the file that a source has under `name` into a file at `path`, without its `Content-Encoding`; `false`
    /// when the source does not have it. It may have `most` bytes, encoded and decoded. What is at `path` after an error is
    /// not whole.
    ///
    /// The file is written, but not synced, and nothing is known about its content. A source that is left alone is not
    /// asked, but that it fails here is not held against it: it may still be good for narinfos and NARs.
    pub async fn file(&self, source: &Source, name: &str, most: u64, path: &Path) -> Result<bool, Fault> {
        let url = source.url.join(name)?;
        let _slot = self.slot(source).await?;
        self.may_ask(source)?;
        let mut number = 0;
        loop {
            number += 1;
            match self.try_file(source, &url, most, path).await {
                Ok(found) => return Ok(found),
                Err(Attempt::Last(fault)) => return Err(fault),
                Err(Attempt::Again { why, .. }) if number == ATTEMPTS => return Err(answer::gave_up(&why)),
                Err(Attempt::Again { after, .. }) => pause(number, after).await,
            }
        }
    }

    async fn try_file(&self, source: &Source, url: &Url, most: u64, path: &Path) -> Result<bool, Attempt> {
        let answer = self.send(source, Asked::Extra, url.clone(), &[]).await?;
        match classify(answer.status()) {
            Class::Whole => write_file(answer, most, path).await.map(|()| true),
            Class::Absent => Ok(false),
            Class::Part => Err(refused(RefusalReason::FileSize, "it answers with a part, unasked".into())),
            Class::Failed { again } => Err(answer::failed(&answer, again)),
        }
    }
}

async fn write_file(answer: Answer, most: u64, path: &Path) -> Result<(), Attempt> {
    let named = answer.headers().get(header::CONTENT_ENCODING);
    let encoding = Encoding::named(named.map_or("", |value| value.to_str().unwrap_or("unreadable")));
    let Some(encoding) = encoding else {
        let message = format!("its Content-Encoding {named:?} cannot be read here");
        return Err(refused(RefusalReason::UnknownCompression, message));
    };
    if answer.content_length().is_some_and(|length| length > most) {
        return Err(too_long(most));
    }
    let (chunks, queue) = mpsc::channel(QUEUE);
    let target = path.to_owned();
    let writer = tokio::task::spawn_blocking(move || {
        let mut file = File::create(target).map_err(Failure::Disk)?;
        decoded::write(queue, encoding, most, &mut file)
    });
    let received = receive(answer, most, &chunks).await;
    if received.is_err() {
        // The decoder must not take what came for all of it.
        let _ = chunks.send(Chunk::Broken).await;
    }
    drop(chunks);
    let written = writer.await.map_err(|error| Attempt::Last(super::local_fault(&error)))?;
    received?;
    written.map(drop).map_err(|failure| match failure {
        Failure::Disk(error) => Attempt::Last(disk_fault("write a file", &error)),
        Failure::TooLong => too_long(most),
        Failure::Encoding(error) => {
            refused(RefusalReason::FileHash, format!("its encoding is broken: {error}"))
        }
    })
}

/// Passes the body on, until the other side has enough of it.
async fn receive(mut answer: Answer, most: u64, chunks: &mpsc::Sender<Chunk>) -> Result<(), Attempt> {
    let mut left = most;
    loop {
        let chunk = match answer.chunk().await {
            Ok(Some(chunk)) => chunk,
            Ok(None) => return Ok(()),
            Err(Broken::Cut(why)) => return Err(Attempt::Again { why, after: None }),
            Err(Broken::Silent(fault) | Broken::Slow(fault)) => return Err(Attempt::Last(fault)),
        };
        left = left.checked_sub(chunk.len() as u64).ok_or_else(|| too_long(most))?;
        if chunks.send(Chunk::Bytes(chunk)).await.is_err() {
            return Ok(());
        }
    }
}

fn refused(reason: RefusalReason, message: String) -> Attempt {
    Attempt::Last(Fault::new(reason, message))
}

fn too_long(most: u64) -> Attempt {
    refused(RefusalReason::FileSize, format!("it has more than {most} bytes"))
}
