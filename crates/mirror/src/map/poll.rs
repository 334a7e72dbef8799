//! One look at a source of maps.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Duration;

use granary_fetch::WebClient;
use granary_placement::map::MAX_MAP_BYTES;
use http::{HeaderValue, StatusCode, header};
use reqwest::Response;
use url::Url;

use super::{FollowError, disk};

/// The whole exchange has to end within this time.
const TIMEOUT: Duration = Duration::from_secs(20);

/// What a look found.
pub(super) enum Polled {
    /// What it found the last time.
    Unchanged,
    /// No map there, which is not an error: the operator may not have written one yet.
    Absent,
    /// Something to read.
    Json(Vec<u8>),
}

/// A map behind HTTP, asked for with the tag of the last answer.
#[derive(Debug)]
pub(super) struct UrlPoll {
    client: WebClient,
    url: Url,
    etag: Option<HeaderValue>,
}

impl UrlPoll {
    pub(super) fn new(client: WebClient, url: Url) -> Self {
        Self { client, url, etag: None }
    }

    pub(super) async fn poll(&mut self) -> Result<Polled, FollowError> {
        let headers: Vec<_> = self.etag.iter().map(|etag| (header::IF_NONE_MATCH, etag.clone())).collect();
        let response = self.client.get(self.url.as_str(), &headers, TIMEOUT).await;
        let response = response
            .map_err(|error| FollowError::Source(format!("{} cannot be asked: {error}", self.url)))?;
        match response.status() {
            StatusCode::NOT_MODIFIED => Ok(Polled::Unchanged),
            StatusCode::NOT_FOUND => Ok(Polled::Absent),
            StatusCode::OK => {
                let etag = response.headers().get(header::ETAG).cloned();
                let json = body(response).await?;
                self.etag = etag;
                Ok(Polled::Json(json))
            }
            status => Err(FollowError::Source(format!("{} answers {status}", self.url))),
        }
    }
}

async fn body(mut response: Response) -> Result<Vec<u8>, FollowError> {
    let mut json = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| source(&error))? {
        json.extend_from_slice(&chunk);
        if json.len() > MAX_MAP_BYTES {
            return Err(FollowError::Source(format!("the map has more than {MAX_MAP_BYTES} bytes")));
        }
    }
    Ok(json)
}

/// The error with its causes: reqwest's own text leaves out why.
fn source(error: &reqwest::Error) -> FollowError {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    FollowError::Source(text)
}

/// A map in a file, read when the file changes.
#[derive(Debug)]
pub(super) struct FilePoll {
    path: PathBuf,
    seen: Option<(u64, u64, i64, i64)>,
}

impl FilePoll {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, seen: None }
    }

    pub(super) fn poll(&mut self) -> Result<Polled, FollowError> {
        let failed = |error: io::Error| FollowError::Source(format!("{}: {error}", self.path.display()));
        // A mounted ConfigMap is replaced by renaming a link, so the inode changes with the content.
        let meta = match fs::metadata(&self.path) {
            Ok(meta) => meta,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.seen = None;
                return Ok(Polled::Absent);
            }
            Err(error) => return Err(failed(error)),
        };
        let now = Some((meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec()));
        if now == self.seen {
            return Ok(Polled::Unchanged);
        }
        let json = File::open(&self.path).and_then(disk::read_bounded).map_err(failed)?;
        self.seen = now;
        Ok(Polled::Json(json))
    }
}
