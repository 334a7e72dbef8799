//! The body that one client gets: the file, read while it is written.

use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;
use granary_nix::Hash;
use tokio::sync::watch;

use super::view::{Body, End, View, goes_on};

/// Bytes that are read at once; so much memory a client takes.
const CHUNK: usize = 64 << 10;

/// One client's look at a flight.
#[derive(Debug)]
pub struct Reader {
    view: watch::Receiver<View>,
}

/// What is known when the first bytes can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    /// There is a file.
    File {
        /// Its size in bytes, if that is known.
        size: Option<u64>,
        /// Its FileHash, if that is known.
        file_hash: Option<Hash>,
    },
    /// No upstream has it.
    Missing,
    /// No upstream gives it now.
    Failed,
}

/// Why a body is cut.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The source broke off or was wrong, and no other has the same file.
    #[error("the upstream broke off, and no other gives the same file")]
    Source,
    /// The file cannot be read back.
    #[error("a NAR file that is being fetched cannot be read back: {0}")]
    Disk(#[from] std::io::Error),
    /// The process ends.
    #[error("the mirror is stopping")]
    Stopping,
}

impl Reader {
    pub(super) fn new(view: watch::Receiver<View>) -> Self {
        Self { view }
    }

    /// Waits until something can be read, or until it is known that nothing can.
    pub async fn begin(&mut self) -> Begun {
        let view = self.view.wait_for(|view| view.body.is_some() || view.end.is_some()).await;
        match view.as_deref() {
            Ok(View { body: Some(body), visible, end }) => {
                let size = body.size.or((*end == Some(End::Good)).then_some(*visible));
                Begun::File { size, file_hash: body.identity }
            }
            Ok(View { end: Some(End::Missing), .. }) => Begun::Missing,
            _ => Begun::Failed,
        }
    }

    /// The bytes of this part of the file; all from the start for `None`. An error, by which the connection is cut, comes in
    /// place of the rest when that is not to be had.
    pub fn body(
        self,
        part: Option<Range<u64>>,
    ) -> impl Stream<Item = Result<Bytes, Broken>> + Send + 'static {
        let Range { start, end } = part.unwrap_or(0..u64::MAX);
        let at = Place { view: self.view, body: None, offset: start, end };
        futures::stream::try_unfold(at, Place::next)
    }
}

/// Where a client is.
struct Place {
    view: watch::Receiver<View>,
    /// The file that it has read from.
    body: Option<Arc<Body>>,
    offset: u64,
    end: u64,
}

impl Place {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, Broken> {
        while self.offset < self.end {
            let View { body, visible, end } = self.view.borrow_and_update().clone();
            if let Some(body) = body.filter(|_| self.offset < visible) {
                if self.body.as_ref().is_some_and(|before| !goes_on(before, &body)) {
                    return Err(Broken::Source);
                }
                let chunk = read(&body, self.offset..visible.min(self.end)).await?;
                self.offset += chunk.len() as u64;
                self.body = Some(body);
                return Ok(Some((chunk, self)));
            }
            match end {
                Some(End::Good) => return Ok(None),
                Some(End::Missing | End::Failed) => return Err(Broken::Source),
                None => self.view.changed().await.map_err(|_| Broken::Stopping)?,
            }
        }
        Ok(None)
    }
}

/// Reads the first bytes of a part that has been written.
async fn read(body: &Arc<Body>, part: Range<u64>) -> Result<Bytes, Broken> {
    let body = Arc::clone(body);
    let length = usize::try_from(part.end - part.start).unwrap_or(CHUNK).min(CHUNK);
    let read = move || {
        let mut chunk = vec![0; length];
        let mut length = 0;
        while length < chunk.len() {
            match body.file.read_at(&mut chunk[length..], part.start + length as u64) {
                Ok(0) => break,
                Ok(more) => length += more,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        chunk.truncate(length);
        Ok(chunk)
    };
    let chunk = tokio::task::spawn_blocking(read).await.map_err(|_| Broken::Stopping)??;
    // It was cut short: begun anew since it was shown.
    if chunk.is_empty() { Err(Broken::Source) } else { Ok(chunk.into()) }
}
