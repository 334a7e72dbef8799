//! One search for a file, however many ask for it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::{Semaphore, watch};

use crate::tree::TempFile;

/// Searches at once.
const AT_ONCE: usize = 16;

/// What became of a search.
#[derive(Debug, Clone)]
pub(super) enum Landed {
    /// The file.
    Served(Served),
    /// Nobody has it.
    Absent,
    /// Somebody may have it, and did not give it.
    Unknown,
}

/// Where the bytes are.
#[derive(Debug, Clone)]
pub(super) enum Served {
    /// A file of the tree.
    Tree(PathBuf),
    /// A file that goes when nobody reads it any more.
    Temp(Arc<TempFile>),
    /// A few of them.
    Text(Bytes),
}

type Waiting = watch::Receiver<Option<Landed>>;

/// The searches that go on.
#[derive(Debug, Clone)]
pub(super) struct Flights {
    flying: Arc<Mutex<HashMap<String, Waiting>>>,
    slots: Arc<Semaphore>,
}

impl Default for Flights {
    fn default() -> Self {
        Self { flying: Arc::default(), slots: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl Flights {
    /// Joins the search for `name`, or begins `search`, which goes on whoever waits. `None`: there are too many others.
    pub(super) fn board(
        &self,
        name: String,
        search: impl Future<Output = Landed> + Send + 'static,
    ) -> Option<Waiting> {
        let mut flying = self.flying.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waiting) = flying.get(&name) {
            return Some(waiting.clone());
        }
        let slot = Arc::clone(&self.slots).try_acquire_owned().ok()?;
        let (tell, waiting) = watch::channel(None);
        flying.insert(name.clone(), waiting.clone());
        let entry = Entry { flying: Arc::clone(&self.flying), name };
        tokio::spawn(async move {
            let landed = search.await;
            // First, so that whoever comes now looks into the tree.
            drop(entry);
            tell.send_replace(Some(landed));
            drop(slot);
        });
        Some(waiting)
    }
}

/// The entry of a search; removed however it ends.
struct Entry {
    flying: Arc<Mutex<HashMap<String, Waiting>>>,
    name: String,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.flying.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_search_is_made_once_and_ends_without_those_who_wait() {
        let (flights, begun) = (Flights::default(), Arc::new(AtomicUsize::new(0)));
        let (open, gate) = watch::channel(false);
        let search = || {
            let (begun, mut gate) = (Arc::clone(&begun), gate.clone());
            async move {
                begun.fetch_add(1, Ordering::SeqCst);
                let _ = gate.wait_for(|open| *open).await;
                Landed::Absent
            }
        };
        let mut one = flights.board("a".into(), search()).unwrap();
        drop(flights.board("a".into(), search()).unwrap());
        for number in 1..AT_ONCE {
            assert!(flights.board(number.to_string(), search()).is_some());
        }
        assert!(flights.board("more".into(), search()).is_none(), "there are too many");
        assert!(flights.board("a".into(), search()).is_some(), "to join one costs nothing");
        open.send_replace(true);
        assert!(matches!(one.wait_for(Option::is_some).await.unwrap().as_ref(), Some(Landed::Absent)));
        let mut again = flights.board("a".into(), search()).unwrap();
        again.wait_for(Option::is_some).await.unwrap();
        assert_eq!(begun.load(Ordering::SeqCst), AT_ONCE + 1);
    }

    #[tokio::test]
    async fn a_search_that_fails_leaves_nothing_behind() {
        let flights = Flights::default();
        let mut waiting = flights.board("a".into(), async { panic!("a bug") }).unwrap();
        assert!(waiting.wait_for(Option::is_some).await.is_err());
        assert!(flights.flying.lock().unwrap().is_empty());
        assert_eq!(flights.slots.available_permits(), AT_ONCE);
    }
}
