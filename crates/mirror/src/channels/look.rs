//! Whether a channel has a new revision.

use std::fs::File;
use std::io::BufReader;
use std::time::{Duration, Instant};

use granary_fetch::WebError;
use http::{HeaderValue, StatusCode, header};
use jiff::Timestamp;
use reqwest::Response;
use tokio::io::AsyncWriteExt as _;

use super::list::{ListError, Listed, MOST_COMPRESSED, read_list};
use super::{Lists, Revision, Standing};
use crate::tree::{TempFile, TreeError};

/// The file of a revision.
const LIST: &str = "store-paths.xz";
/// How long it may take to come.
const PATIENCE: Duration = Duration::from_mins(10);

/// Why a channel cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// It does not answer.
    #[error("its store-paths.xz cannot be had: {0}")]
    Ask(#[from] WebError),
    /// It breaks off.
    #[error("its store-paths.xz cannot be had: {0}")]
    Body(#[from] reqwest::Error),
    /// It answers something else.
    #[error("for its store-paths.xz it answers {0}")]
    Status(StatusCode),
    /// It never ends.
    #[error("its store-paths.xz did not come within {} s", PATIENCE.as_secs())]
    Slow,
    /// It is too large.
    #[error("its store-paths.xz has more than {MOST_COMPRESSED} bytes")]
    TooLarge,
    /// It is no list.
    #[error("its store-paths.xz is not taken: {0}")]
    List(#[from] ListError),
    /// Our disk.
    #[error(transparent)]
    Disk(#[from] TreeError),
    /// Our disk.
    #[error("cannot write its store-paths.xz: {0}")]
    Write(#[from] std::io::Error),
    /// The process ends.
    #[error("the mirror is stopping")]
    Stopping,
}

impl Lists {
    /// Asks for the list, and keeps it if it is a new one. What is in the way is logged and told.
    pub(super) async fn look(&self, standing: &Standing) {
        let trouble = self.try_to_look(standing).await.err().map(|error| error.to_string());
        if let Some(trouble) = &trouble {
            let channel = &standing.channel.name;
            tracing::warn!(channel, trouble, "the channel cannot be followed now");
        }
        tokio::task::block_in_place(|| self.looked(standing, trouble.is_none(), Timestamp::now()));
        let mut now = standing.now();
        now.trouble = trouble;
        now.looked = Some(Instant::now());
    }

    /// The list was asked for, and had or not. Blocks on the disk.
    fn looked(&self, standing: &Standing, had: bool, time: Timestamp) {
        if let Err(error) = self.change(standing, |state| state.looked(had, time)) {
            // A disk that takes nothing in does not make the channel late.
            tracing::debug!(%error, "when a channel was looked at cannot be kept");
            standing.now().state.looked(had, time);
        }
    }

    async fn try_to_look(&self, standing: &Standing) -> Result<(), ChannelError> {
        let url = format!("{}/{LIST}", standing.channel.url);
        let (tag, known) = {
            let now = standing.now();
            (now.state.tag.clone(), !now.state.revisions.is_empty())
        };
        let tag = tag.filter(|_| known).and_then(|tag| HeaderValue::try_from(tag).ok());
        let headers: Vec<_> = tag.into_iter().map(|tag| (header::IF_NONE_MATCH, tag)).collect();
        let answer = self.client.get(&url, &headers, PATIENCE).await?;
        match answer.status() {
            StatusCode::NOT_MODIFIED if known => return Ok(()),
            StatusCode::OK => {}
            status => return Err(ChannelError::Status(status)),
        }
        let tag = answer.headers().get(header::ETAG).and_then(|tag| tag.to_str().ok()).map(str::to_owned);
        // Channels redirect to their newest release, by which people know it.
        let found_at = answer.url().as_str().trim_end_matches(LIST).trim_end_matches('/').to_owned();
        let compressed = self.download(answer).await?;
        let (list, listed) = self.unpack(compressed).await?;
        let Listed { id, paths } = listed;
        let revision =
            Revision { id, url: found_at, paths, seen: Timestamp::now(), complete: None, refused: 0 };
        Ok(tokio::task::block_in_place(|| self.found(standing, list, revision, tag))?)
    }

    async fn download(&self, mut answer: Response) -> Result<TempFile, ChannelError> {
        let temp = self.tree.temp();
        let mut file = tokio::fs::File::create(temp.path()).await?;
        let mut bytes = 0;
        while let Some(chunk) = answer.chunk().await? {
            bytes += chunk.len() as u64;
            if bytes > MOST_COMPRESSED {
                return Err(ChannelError::TooLarge);
            }
            file.write_all(&chunk).await?;
        }
        file.flush().await?;
        Ok(temp)
    }

    async fn unpack(&self, compressed: TempFile) -> Result<(TempFile, Listed), ChannelError> {
        let list = self.tree.temp();
        let read = move || {
            let from = BufReader::new(File::open(compressed.path())?);
            let listed = read_list(from, File::create(list.path())?)?;
            Ok::<_, ChannelError>((list, listed))
        };
        tokio::task::spawn_blocking(read).await.map_err(|_| ChannelError::Stopping)?
    }
}
