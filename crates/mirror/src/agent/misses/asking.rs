//! Places are asked for a file or the rest of one, and how they did is remembered.

use std::time::Instant;

use granary_fetch::Answer;
use granary_nix::Hash;
use http::HeaderValue;
use tracing::info;
use url::Url;

use super::benched::Benched;
use super::due::{Due, Head};
use super::sources::{Failure, Located, Place, Sources};
use super::unwell::Unwell;
use crate::tree::CatalogEntry;

/// What a client wants.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// Its name here, for the log.
    pub(super) file: String,
    pub(super) known: CatalogEntry,
    /// One range, if the client wants a part.
    pub(super) range: Option<HeaderValue>,
}

/// The places, and what is known of them.
#[derive(Debug)]
pub(super) struct Asking {
    sources: Sources,
    pub(super) benched: Benched,
    unwell: Unwell,
}

/// The rest of a file.
pub(super) struct Rest {
    pub(super) url: Url,
    pub(super) file_hash: Option<Hash>,
    pub(super) answer: Answer,
    /// Bytes of the answer that come before it.
    pub(super) skip: u64,
}

impl Asking {
    pub(super) fn new(sources: Sources) -> Self {
        Self { sources, benched: Benched::default(), unwell: Unwell::default() }
    }

    /// The places that may have a file, in the order in which they are asked.
    pub(super) fn places(&self, known: &CatalogEntry) -> Vec<Place> {
        self.in_order(self.sources.of(known.hash_part))
    }

    /// Those that failed a moment ago last.
    pub(super) fn in_order(&self, places: Vec<Place>) -> Vec<Place> {
        self.unwell.last(places, Instant::now())
    }

    /// Asks for what the client wants.
    pub(super) async fn start(&self, place: &Place, wanted: &Wanted) -> Result<(Located, Answer), Failure> {
        let located = self.locate(place, &wanted.known).await?;
        let answer = self.sources.get(place, located.url.clone(), wanted.range.as_ref()).await?;
        Ok((located, answer))
    }

    /// Asks for what is due of a file of which a part has come, and takes only what can be of that same file: with its
    /// length, and with its `file_hash` where both are known. The bytes that are skipped are no more than `skippable`.
    pub(super) async fn rest(
        &self,
        place: &Place,
        known: &CatalogEntry,
        due: &Due,
        file_hash: Option<Hash>,
        skippable: u64,
    ) -> Result<Rest, Failure> {
        let Located { url, expected } = self.locate(place, known).await?;
        if let (Some(one), Some(other)) = (file_hash, expected.file_hash)
            && one != other
        {
            return Err(Failure::OtherFile);
        }
        if let Some(actual) = expected.file_size.filter(|actual| *actual != due.total()) {
            return Err(Failure::Size { expected: due.total(), actual });
        }
        let answer = self.sources.get(place, url.clone(), due.range().as_ref()).await?;
        let skip = due.skip(&Head::of(&answer), skippable)?;
        Ok(Rest { url, file_hash: expected.file_hash, answer, skip })
    }

    async fn locate(&self, place: &Place, known: &CatalogEntry) -> Result<Located, Failure> {
        let located = self.sources.locate(place, known).await?;
        if self.benched.has(located.url.as_str()) { Err(Failure::Benched) } else { Ok(located) }
    }

    /// A place gives something.
    pub(super) fn answered(&self, place: &Place) {
        self.unwell.answered(&place.to_string());
    }

    /// A place gives nothing, and another one is asked.
    pub(super) fn refused(&self, place: &Place, file: &str, failure: &Failure) {
        if failure.is_silence() {
            self.unwell.failed(&place.to_string(), Instant::now());
        }
        info!(source = %place, file, %failure, "a source does not give a NAR file; asking the next");
    }

    /// A place broke off in the middle.
    pub(super) fn broke_off(&self, place: &Place) {
        self.unwell.failed(&place.to_string(), Instant::now());
    }
}
