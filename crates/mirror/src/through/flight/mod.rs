//! NAR files that are being fetched for clients: one transfer for all who ask.
//!
//! * [`view`]: how much of a file clients may see, and what it is.
//! * [`attempt`]: the transfer from one upstream into a file.
//! * [`drive`]: one flight: which upstream is asked when, whose bytes are shown, and what becomes of the file.
//! * [`reader`]: the body that one client gets: the file, read while it is written.
//!
//! The transfer waits for no client, and goes on when they have left. The end of a file is shown only when its hash is known
//! to be right; a file of up to 1 MiB is shown only then. When an upstream breaks off, the next one's file goes on where it
//! was, if both are one file by their FileHash; else those who have seen a part of the first are cut off, and so are those who
//! have seen a part of one that turned out wrong. What comes of a large file stays on the disk when the process ends, and the
//! next flight goes on after it.

mod attempt;
mod drive;
mod reader;
mod view;

use std::collections::HashMap;
use std::fs::File;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use super::{Through, lock};
use crate::tree::CatalogEntry;

pub use reader::{Begun, Reader};

pub(super) use attempt::Obtained;
use view::{Body, End, View};

/// NAR files that are fetched at once.
pub(super) const AT_ONCE: usize = 64;

/// The flights by the names of their files.
#[derive(Debug, Default)]
pub(super) struct Flights(Mutex<HashMap<String, watch::Receiver<View>>>);

impl Through {
    /// The flight of a NAR file: the one that is under way, or a new one. `None`: it cannot be kept, because it is too large,
    /// the disk is full, or too many are under way.
    #[must_use]
    pub fn open(&self, file: &str, known: CatalogEntry) -> Option<Reader> {
        let mut flights = lock(&self.0.flights.0);
        // A flight whose end is known as bad is over for those who come now.
        let good = |view: &&watch::Receiver<View>| {
            view.has_changed().is_ok() && !matches!(view.borrow().end, Some(End::Missing | End::Failed))
        };
        if let Some(view) = flights.get(file).filter(good) {
            return Some(Reader::new(view.clone()));
        }
        // nginx looked before it was published, and the flight has landed since.
        if let Some(reader) = self.landed(file, &known) {
            return Some(reader);
        }
        if flights.len() >= AT_ONCE {
            return None;
        }
        // What has no room is passed on without being kept.
        let reservation = self.0.space.reserve(&known.expected)?;
        let (show, view) = watch::channel(View::default());
        flights.insert(file.to_owned(), view.clone());
        let (through, file) = (self.clone(), file.to_owned());
        self.spawn(async move {
            let landing = Landing { through: through.clone(), file, own: show.subscribe() };
            through.fly(known, show, reservation).await;
            drop(landing);
        });
        Some(Reader::new(view))
    }
}

impl Through {
    /// A NAR file that is published.
    fn landed(&self, file: &str, known: &CatalogEntry) -> Option<Reader> {
        let name = self.0.tree.nar_name(&known.hash_part)?;
        if name.strip_prefix("nar/") != Some(file) {
            return None;
        }
        let opened = File::open(self.0.tree.layout().served(&name)).ok()?;
        let size = opened.metadata().ok()?.len();
        let body = Body { file: opened, identity: known.expected.file_hash, size: Some(size), wrong: 0 };
        let view = View { body: Some(Arc::new(body)), visible: size, end: Some(End::Good) };
        Some(Reader::new(watch::channel(view).1))
    }
}

/// Takes a flight off the list when it ends, however that is.
struct Landing {
    through: Through,
    file: String,
    own: watch::Receiver<View>,
}

impl Drop for Landing {
    fn drop(&mut self) {
        let mut flights = lock(&self.through.0.flights.0);
        // Another one may have taken the place of a flight that went wrong.
        if flights.get(&self.file).is_some_and(|view| view.same_channel(&self.own)) {
            flights.remove(&self.file);
        }
    }
}
