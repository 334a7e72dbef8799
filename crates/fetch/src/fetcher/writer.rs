//! The file that a transfer is written to, on a thread of its own, so that a slow disk does not hold up the network.

use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::path::Path;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Chunks that wait for the disk, at most; each is one read from a connection, well below 1 MiB.
const QUEUE: usize = 16;

enum Step {
    Write(Bytes),
    Restart,
}

/// Writes in the background. Dropping it ends the writing.
pub(super) struct Writer {
    steps: mpsc::Sender<Step>,
    thread: JoinHandle<io::Result<()>>,
}

impl Writer {
    /// Creates the file; it must not be there. (A second transfer into one file begins by emptying it.)
    pub(super) fn create(path: &Path) -> Self {
        // Here and not on the thread: a transfer that is given up must not find it there after it has removed it.
        let file = File::create(path);
        let (steps, queue) = mpsc::channel(QUEUE);
        Self { steps, thread: tokio::task::spawn_blocking(move || run(file?, queue)) }
    }

    /// Appends. Fails when the disk failed; [`Self::finish`] then says how.
    pub(super) async fn write(&self, chunk: Bytes) -> Result<(), Stopped> {
        self.steps.send(Step::Write(chunk)).await.map_err(|_| Stopped)
    }

    /// Forgets everything that was written.
    pub(super) async fn restart(&self) -> Result<(), Stopped> {
        self.steps.send(Step::Restart).await.map_err(|_| Stopped)
    }

    /// Waits until everything is written.
    pub(super) async fn finish(self) -> io::Result<()> {
        drop(self.steps);
        self.thread.await?
    }
}

/// The disk failed.
#[derive(Debug)]
pub(super) struct Stopped;

fn run(mut file: File, mut queue: mpsc::Receiver<Step>) -> io::Result<()> {
    while let Some(step) = queue.blocking_recv() {
        match step {
            Step::Write(chunk) => file.write_all(&chunk)?,
            Step::Restart => {
                file.set_len(0)?;
                file.rewind()?;
            }
        }
    }
    Ok(())
}
