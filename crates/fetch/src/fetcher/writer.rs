//! The file that a transfer is written to, on a thread of its own, so that a slow disk does not hold up the network.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::growth::{Follow, Growth};

/// Chunks that wait for the disk, at most; each is one read from a connection, below 1 MiB. A transfer's memory is these.
const QUEUE: usize = 4;

enum Step {
    Write(Bytes),
    Restart,
    End,
}

/// Writes in the background. Dropping it ends the writing.
pub(super) struct Writer {
    steps: mpsc::Sender<Step>,
    thread: JoinHandle<io::Result<()>>,
}

impl Writer {
    /// Opens the file, or creates it, to write after its first `keep` bytes, and tells `growth` of it; what is behind them is
    /// forgotten.
    pub(super) fn create(path: &Path, keep: u64, growth: Option<Arc<Growth>>) -> Self {
        // Here and not on the thread: a transfer that is given up must not find it there after it has removed it.
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path);
        let (steps, queue) = mpsc::channel(QUEUE);
        let run = move || run(file?, keep, queue, growth.as_deref());
        Self { steps, thread: tokio::task::spawn_blocking(run) }
    }

    /// Appends. Fails when the disk failed; [`Self::finish`] then says how.
    pub(super) async fn write(&self, chunk: Bytes) -> Result<(), Stopped> {
        self.steps.send(Step::Write(chunk)).await.map_err(|_| Stopped)
    }

    /// Forgets everything that was written.
    pub(super) async fn restart(&self) -> Result<(), Stopped> {
        self.steps.send(Step::Restart).await.map_err(|_| Stopped)
    }

    /// Waits until everything is written. `whole`: the source has said that this is all.
    pub(super) async fn finish(self, whole: bool) -> io::Result<()> {
        if whole {
            // It is not taken when the disk failed, which follows.
            let _ = self.steps.send(Step::End).await;
        }
        drop(self.steps);
        self.thread.await?
    }
}

/// The disk failed.
#[derive(Debug)]
pub(super) struct Stopped;

fn run(
    mut file: File,
    keep: u64,
    mut queue: mpsc::Receiver<Step>,
    growth: Option<&Growth>,
) -> io::Result<()> {
    // Not where there is nothing to forget: ext4 takes a file that was cut for one that is written anew, and begins to write it
    // to the disk when it is closed.
    if file.metadata()?.len() != keep {
        file.set_len(keep)?;
    }
    let mut follow = Follow::begin(growth);
    follow.after((&file).take(keep))?;
    file.seek(SeekFrom::Start(keep))?;
    while let Some(step) = queue.blocking_recv() {
        match step {
            Step::Write(chunk) => {
                file.write_all(&chunk)?;
                follow.written(&chunk);
            }
            Step::Restart => {
                file.set_len(0)?;
                file.rewind()?;
                follow.restart();
            }
            Step::End => {
                follow.end();
                break;
            }
        }
    }
    Ok(())
}
