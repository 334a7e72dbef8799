//! The certificate that nginx uses: watched, checked, and replaced only by a good one.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use granary_placement::report::CertificateReport;
use tokio::time::sleep;
use tracing::{error, info};

use crate::config::Tls;
use crate::front::{Pair, Placed};
use crate::metrics::TlsMetrics;

/// How often the files are looked at.
const POLL: Duration = Duration::from_secs(2);

/// What a change is told by: inode, size and time of both files. A mounted Secret is replaced by other files.
type Fingerprint = [Option<(u64, u64, i64, i64)>; 2];

/// The pair in use and the files that it came from.
#[derive(Debug)]
pub(super) struct Certificate {
    tls: Tls,
    /// Where nginx's files are.
    directory: PathBuf,
    metrics: Arc<TlsMetrics>,
    seen: Option<Fingerprint>,
    placed: Option<Placed>,
    trouble: Option<String>,
}

impl Certificate {
    /// With the pair of an earlier run, if nginx still has it: what is in the files now may be worse.
    pub(super) fn new(tls: Tls, directory: &Path, metrics: Arc<TlsMetrics>) -> Self {
        let placed = Placed::find(directory);
        Self { tls, directory: directory.into(), metrics, seen: None, placed, trouble: None }
    }

    /// Looks at the files if they have changed, and takes a good pair; a bad one is told once. Blocks.
    pub(super) fn look(&mut self) {
        let now = self.fingerprint();
        if self.seen == Some(now) {
            return;
        }
        self.seen = Some(now);
        let found =
            Pair::read(&self.tls.certificate, &self.tls.key).and_then(|pair| pair.place(&self.directory));
        self.metrics.usable.set(found.is_ok().into());
        self.trouble = found.as_ref().err().map(ToString::to_string);
        match found {
            Ok(placed) if self.placed.as_ref() == Some(&placed) => {}
            Ok(placed) => {
                info!(expires = %placed.expires, "nginx gets another certificate");
                self.placed = Some(placed);
            }
            Err(error) if self.placed.is_some() => {
                error!(%error, "the new certificate is not taken; the one in use stays");
            }
            Err(error) => error!(%error, "the certificate cannot be used, so there is no HTTPS"),
        }
        if let Some(placed) = &self.placed {
            self.metrics.expires.set(placed.expires.as_second());
        }
    }

    /// The address and the pair, as long as there is a good one.
    pub(super) fn https(&self) -> Option<(std::net::SocketAddr, Placed)> {
        self.placed.clone().map(|placed| (self.tls.listen, placed))
    }

    /// What the report says.
    pub(super) fn report(&self) -> CertificateReport {
        CertificateReport {
            expires: self.placed.as_ref().map(|placed| placed.expires.to_string()),
            trouble: self.trouble.clone(),
        }
    }

    /// Waits until the files are others than those that were looked at.
    pub(super) async fn replaced(&self) {
        while self.seen == Some(self.fingerprint()) {
            sleep(POLL).await;
        }
    }

    fn fingerprint(&self) -> Fingerprint {
        [&self.tls.certificate, &self.tls.key].map(|path| {
            let meta = std::fs::metadata(path).ok()?;
            Some((meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec()))
        })
    }
}
