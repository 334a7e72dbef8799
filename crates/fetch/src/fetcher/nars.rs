//! NAR files: transferred, resumed, and verified.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use granary_nix::NarInfo;
use granary_placement::report::RefusalReason;
use reqwest::Url;

use super::download::{self, Start, Target};
use super::{Fetcher, disk_fault, local_fault};
use crate::watch::{Running, Watched};
use crate::{Expected, Fault, Growth, Source, Verified, narinfo};

impl Fetcher {
    /// Fetches the NAR file of one of the source's narinfos into a new file at `path`, and verifies it. On any failure
    /// there is no file.
    ///
    /// The file is written, but not synced. While it is decompressed no connection is held, and while it is transferred no
    /// decoder is.
    pub async fn nar(&self, source: &Source, info: &NarInfo, path: &Path) -> Result<Verified, Fault> {
        let result = self.try_nar(source, info, &Target { path, growth: None }, 0).await;
        if result.is_err() {
            // It may never have been created.
            let _ = std::fs::remove_file(path);
        }
        result
    }

    /// The same as [`Self::nar`], going on after what an earlier attempt left at `path`, if anything. The file stays when the
    /// source broke off or does not have it. Wrong bytes are fetched once more from the start, unless all of them came now; then
    /// there is no file.
    pub async fn rest_of_nar(&self, source: &Source, info: &NarInfo, path: &Path) -> Result<Verified, Fault> {
        self.rest_into(source, info, &Target { path, growth: None }).await
    }

    /// The same, for a file that is read while it is written: `growth` tells how far it is. Nothing in it is verified
    /// before this returns.
    pub async fn rest_of_nar_followed(
        &self,
        source: &Source,
        info: &NarInfo,
        path: &Path,
        growth: &Arc<Growth>,
    ) -> Result<Verified, Fault> {
        self.rest_into(source, info, &Target { path, growth: Some(growth) }).await
    }

    async fn rest_into(&self, source: &Source, info: &NarInfo, to: &Target<'_>) -> Result<Verified, Fault> {
        let most = Expected::from(info).most_bytes();
        let have = std::fs::metadata(to.path).map_or(0, |file| file.len());
        let have = if have > most { 0 } else { have };
        let result = self.try_nar(source, info, to, have).await;
        let goes_on = |fault: &Fault| {
            matches!(fault.reason, RefusalReason::UpstreamUnreachable | RefusalReason::NotFound)
        };
        if result.as_ref().is_err_and(|fault| !goes_on(fault)) {
            let _ = std::fs::remove_file(to.path);
        }
        result
    }

    /// `have` bytes are there already.
    async fn try_nar(
        &self,
        source: &Source,
        info: &NarInfo,
        to: &Target<'_>,
        have: u64,
    ) -> Result<Verified, Fault> {
        let url = narinfo::nar_url(info, source)?;
        let expected = Expected::from(info);
        if let Some(most) = self.0.limits.max_nar_size.filter(|most| expected.nar_size > *most) {
            let message = format!("the NAR has {} bytes; limits.maxNarSize is {most}", expected.nar_size);
            return Err(Fault::new(RefusalReason::TooLarge, message));
        }
        let resumed = if have > 0 && expected.file_size == Some(have) {
            // The process ended between the last byte and the check.
            true
        } else {
            self.transfer(source, &url, &expected, to, Start::After(have)).await?.resumed
        };
        match self.check(expected, to.path).await {
            // Two halves may have been of two different files.
            Err(fault) if resumed && !fault.is_transient() => {
                tracing::info!(%url, %fault, "a resumed transfer gave wrong bytes; once more from the start");
                if let Some(growth) = to.growth {
                    growth.wrong();
                }
                self.transfer(source, &url, &expected, to, Start::Anew).await?;
                self.check(expected, to.path).await
            }
            result => result,
        }
    }

    async fn transfer(
        &self,
        source: &Source,
        url: &Url,
        expected: &Expected,
        to: &Target<'_>,
        start: Start,
    ) -> Result<download::Done, Fault> {
        // The source's own first: who waits for that keeps no other source waiting.
        let _slot = self.slot(source).await?;
        let _held = self.0.connections.acquire().await.map_err(|error| local_fault(&error))?;
        self.may_ask(source)?;
        let _counted = Running::transfer(&*self.0.watch);
        let result = download::download(self, source, url, expected, to, start).await;
        self.learn(source, result.as_ref().err());
        result
    }

    async fn check(&self, expected: Expected, path: &Path) -> Result<Verified, Fault> {
        let (path, watch) = (path.to_owned(), Arc::clone(&self.0.watch));
        let check = move || {
            let (_counted, began) = (Running::verification(&*watch), Instant::now());
            let watched = |inner| Watched { inner, watch: Arc::clone(&watch) };
            let result = File::open(&path).and_then(|inner| expected.check(watched(inner)));
            watch.verified(began.elapsed());
            result
        };
        let result = self.0.decoders.run(check).await.map_err(|error| local_fault(&error))?;
        result.unwrap_or_else(|error| Err(disk_fault("read back a NAR file", &error)))
    }
}
