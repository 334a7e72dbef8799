//! What is kept about a source while it is asked.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use granary_placement::report::RefusalReason;
use reqwest::Certificate;
use tokio::sync::Semaphore;

use super::clients::{Clients, Terms};
use super::throttle::Throttle;
use crate::access::Access;
use crate::{Fault, Source};

/// Largest file of authorities that is read, in bytes: ten times what a system has.
const MAX_AUTHORITIES: u64 = 4 << 20;

/// A source's share of what there is.
#[derive(Debug)]
pub(super) struct Site {
    /// By what it was made.
    access: Access,
    pub(super) slots: Option<Arc<Semaphore>>,
    pub(super) throttle: Option<Arc<Throttle>>,
    /// With its proxy and the authorities of its `caFile`, as that was when it was last looked at.
    clients: Mutex<Option<(Option<Version>, Arc<Clients>)>>,
}

/// What a changed file is told by.
type Version = (u64, u64, i64, i64);

impl Site {
    pub(super) fn new(source: &Source) -> Self {
        let access = source.access.clone();
        Self {
            slots: access.connections.map(|most| Arc::new(Semaphore::new(most.max(1)))),
            throttle: access.bandwidth.map(Throttle::new),
            access,
            clients: Mutex::default(),
        }
    }

    /// Whether it was made for this source as it is configured now.
    pub(super) fn is_of(&self, source: &Source) -> bool {
        self.access == source.access
    }

    /// The clients that go by its proxy and trust the authorities in its `caFile`, which is read anew when it has changed;
    /// `usual` without either. Blocks for a small file.
    pub(super) fn clients(&self, usual: &Arc<Clients>, connect: Duration) -> Result<Arc<Clients>, Fault> {
        let Access { ca_file, proxy, .. } = &self.access;
        if ca_file.is_none() && proxy.is_none() {
            return Ok(Arc::clone(usual));
        }
        let trouble = |problem: String| {
            let message = match ca_file {
                Some(path) => format!("its caFile cannot be used: {}: {problem}", path.display()),
                None => format!("its proxy cannot be used: {problem}"),
            };
            Fault::new(RefusalReason::UpstreamUnreachable, message)
        };
        let version =
            ca_file.as_deref().map(version).transpose().map_err(|error| trouble(error.to_string()))?;
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, clients)) = &*clients
            && *known == version
        {
            return Ok(Arc::clone(clients));
        }
        let authorities = ca_file.as_deref().map_or_else(|| Ok(Vec::new()), authorities).map_err(trouble)?;
        let terms = Terms { connect, silence: None, authorities, proxy: proxy.clone() };
        let made = Clients::new(terms).map_err(|error| trouble(super::answer::words(error)))?;
        let made = Arc::new(made);
        *clients = Some((version, Arc::clone(&made)));
        Ok(made)
    }
}

fn version(path: &Path) -> std::io::Result<Version> {
    let meta = std::fs::metadata(path)?;
    Ok((meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec()))
}

fn authorities(path: &Path) -> Result<Vec<Certificate>, String> {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_AUTHORITIES).read_to_end(&mut text));
    read.map_err(|error| error.to_string())?;
    let certificates = Certificate::from_pem_bundle(&text).map_err(super::answer::words)?;
    if certificates.is_empty() {
        return Err("it has no PEM certificate".into());
    }
    Ok(certificates)
}
