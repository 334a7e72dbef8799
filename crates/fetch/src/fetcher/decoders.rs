//! The threads that decompress: as many as may at once, and no others.
//!
//! A decoder's window is several MiB, and a thread's part of the heap keeps what was freed for the next one. Were each file
//! decompressed on whichever of many threads is free, all of them would come to keep as much.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;

use tokio::sync::{Semaphore, oneshot};

type Job = Box<dyn FnOnce() + Send>;

/// Starts its threads when they are first needed; they end with it.
#[derive(Debug)]
pub(super) struct Decoders {
    most: usize,
    slots: Semaphore,
    /// `None`: the system gave no thread.
    jobs: OnceLock<Option<Sender<Job>>>,
}

/// The work came to no end: it panicked, or the process is stopping.
#[derive(Debug, thiserror::Error)]
#[error("the verification was ended")]
pub(super) struct Ended;

impl Decoders {
    /// So many threads, at least one.
    pub(super) fn new(most: usize) -> Self {
        let most = most.max(1);
        Self { most, slots: Semaphore::new(most), jobs: OnceLock::new() }
    }

    /// Does it when a thread is free. What nobody waits for any more is not begun.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Ended> {
        let _slot = self.slots.acquire().await.map_err(|_| Ended)?;
        let (tell, told) = oneshot::channel();
        let job: Job = Box::new(move || {
            if !tell.is_closed() {
                // Whoever asked may have left meanwhile.
                let _ = tell.send(work());
            }
        });
        match self.jobs.get_or_init(|| start(self.most)) {
            Some(jobs) => jobs.send(job).map_err(|_| Ended)?,
            None => drop(tokio::task::spawn_blocking(job)),
        }
        told.await.map_err(|_| Ended)
    }
}

fn start(threads: usize) -> Option<Sender<Job>> {
    let (jobs, queue) = mpsc::channel();
    let queue = Arc::new(Mutex::new(queue));
    let start = |_| {
        let queue = Arc::clone(&queue);
        thread::Builder::new().name("decoder".into()).spawn(move || work(&queue)).is_ok()
    };
    ((0..threads).filter(|number| start(*number)).count() > 0).then_some(jobs)
}

fn work(queue: &Mutex<Receiver<Job>>) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        // A decoder that panics costs one file and not a thread. Nothing of the job is used afterwards.
        let _ = catch_unwind(AssertUnwindSafe(job));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn all_is_done_on_few_threads() {
        let decoders = Arc::new(Decoders::new(2));
        let work = || {
            thread::sleep(Duration::from_millis(1));
            thread::current().id()
        };
        let all: Vec<_> = (0..50)
            .map(|_| {
                let decoders = Arc::clone(&decoders);
                tokio::spawn(async move { decoders.run(work).await })
            })
            .collect();
        let mut threads = HashSet::new();
        for one in all {
            threads.insert(one.await.unwrap().unwrap());
        }
        assert!(threads.len() <= 2 && !threads.contains(&thread::current().id()), "{threads:?}");
    }

    #[tokio::test]
    async fn a_panic_costs_one_file() {
        let decoders = Decoders::new(1);
        for _ in 0..3 {
            assert!(decoders.run(|| panic!("a bug")).await.is_err());
            assert_eq!(decoders.run(|| 7).await.unwrap(), 7);
        }
    }

    #[tokio::test]
    async fn what_nobody_waits_for_is_not_begun() {
        let decoders = Arc::new(Decoders::new(1));
        let (go, wait) = mpsc::channel::<()>();
        let (begun, has_begun) = oneshot::channel();
        let first = decoders.run(move || {
            let _ = begun.send(());
            wait.recv().is_err()
        });
        let mut first = Box::pin(first);
        tokio::select! {
            _ = &mut first => panic!("it waits"),
            begun = has_begun => begun.unwrap(),
        }
        // It is given up while it runs, so that the next one waits in the queue, and is given up there.
        drop(first);
        let second = decoders.run(|| panic!("nobody wants this"));
        assert!(tokio::time::timeout(Duration::from_millis(20), second).await.is_err());
        drop(go);
        assert!(decoders.run(|| true).await.unwrap());
    }
}
