//! The transfer of one NAR file.

use std::path::Path;
use std::sync::Arc;

use granary_placement::report::RefusalReason;
use reqwest::header::HeaderValue;
use reqwest::{StatusCode, Url, header};

use super::answer::{self, Attempt, Class, classify};
use super::ask::{Answer, Broken};
use super::writer::{Stopped, Writer};
use super::{ATTEMPTS, Fetcher, disk_fault, pause};
use crate::nar::file_size_fault;
use crate::watch::Asked;
use crate::{Expected, Fault, Growth, Source};

/// Most requests for one file, however much each brought.
const MOST_REQUESTS: u32 = 20;

/// A whole body has come.
#[derive(Debug)]
pub(super) struct Done {
    /// Whether it came in more than one answer.
    pub(super) resumed: bool,
}

/// Where a transfer begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// After so many bytes, which the file has; a break is gone on after by asking for the rest.
    After(u64),
    /// At the first byte, after each break too.
    Anew,
}

/// Where a transfer is.
struct Transfer<'t> {
    expected: &'t Expected,
    growth: Option<&'t Arc<Growth>>,
    writer: Writer,
    received: u64,
    resumed: bool,
    rest: Rest,
}

/// How the rest of a file can be had.
enum Rest {
    /// Not at all: from the start.
    Never,
    /// By asking for a range, with the strong validator of the first answer, if it had one.
    ByRange(Option<HeaderValue>),
}

/// How one answer's body ended.
enum End {
    Whole,
    Cut(String),
}

/// Where a file is written to, and who follows that.
#[derive(Clone, Copy)]
pub(super) struct Target<'t> {
    pub(super) path: &'t Path,
    pub(super) growth: Option<&'t Arc<Growth>>,
}

/// Fetches `url` into a file, which has at most as many bytes as are expected.
pub(super) async fn download(
    fetcher: &Fetcher,
    source: &Source,
    url: &Url,
    expected: &Expected,
    to: &Target<'_>,
    start: Start,
) -> Result<Done, Fault> {
    let Target { path, growth } = *to;
    let (received, resume) = match start {
        Start::After(bytes) => (bytes, true),
        Start::Anew => (0, false),
    };
    let writer = Writer::create(path, received, growth.cloned());
    // Whether there are ranges is seen when one is asked for; the hashes tell whether the file is still the same.
    let rest = if received > 0 { Rest::ByRange(None) } else { Rest::Never };
    let mut transfer = Transfer { expected, growth, writer, received, resumed: received > 0, rest };
    let (mut fruitless, mut requests) = (0, 0);
    let result = loop {
        let before = transfer.received;
        requests += 1;
        let attempt = transfer.attempt(fetcher, source, url, resume).await;
        fruitless = if transfer.received > before { 0 } else { fruitless + 1 };
        match attempt {
            Ok(()) => break Ok(Done { resumed: transfer.resumed }),
            Err(Attempt::Last(fault)) => break Err(fault),
            Err(Attempt::Again { why, .. }) if fruitless == ATTEMPTS || requests == MOST_REQUESTS => {
                break Err(answer::gave_up(&why));
            }
            Err(Attempt::Again { why, after }) => {
                tracing::debug!(%url, why, received = transfer.received, "a transfer broke off; trying again");
                pause(fruitless.max(1), after).await;
            }
        }
    };
    // The disk's own words come before what followed from them.
    transfer.writer.finish(result.is_ok()).await.map_err(|error| disk_fault("write a NAR file", &error))?;
    result
}

impl Transfer<'_> {
    async fn attempt(
        &mut self,
        fetcher: &Fetcher,
        source: &Source,
        url: &Url,
        resume: bool,
    ) -> Result<(), Attempt> {
        let range = match &self.rest {
            Rest::ByRange(validator) if resume && self.received > 0 => {
                let from = format!("bytes={}-", self.received);
                let mut range: Vec<_> =
                    HeaderValue::from_str(&from).into_iter().map(|from| (header::RANGE, from)).collect();
                range.extend(validator.iter().map(|tag| (header::IF_RANGE, tag.clone())));
                range
            }
            _ => Vec::new(),
        };
        let response = fetcher.send(source, Asked::Nar, url.clone(), &range).await?;
        match classify(response.status()) {
            Class::Whole => self.begin(&response).await?,
            Class::Part if !range.is_empty() && part_start(&response) == Some(self.received) => {
                self.resumed = true;
                if let Some(growth) = self.growth {
                    let whole = response.content_range().and_then(|range| range.length);
                    growth.announce(self.expected.file_size.or(whole));
                }
            }
            Class::Part => {
                self.rest = Rest::Never;
                return Err(Attempt::Again {
                    why: "it answers with another part of the file".into(),
                    after: None,
                });
            }
            Class::Absent => {
                let message = format!("it has the narinfo, but for {url} it answers {}", response.status());
                return Err(Attempt::Last(Fault::new(RefusalReason::NotFound, message)));
            }
            // What we have is not the beginning of what is there.
            Class::Failed { .. }
                if !range.is_empty() && response.status() == StatusCode::RANGE_NOT_SATISFIABLE =>
            {
                self.rest = Rest::Never;
                return Err(Attempt::Again { why: "it has no more of the file".into(), after: None });
            }
            Class::Failed { again } => return Err(answer::failed(&response, again)),
        }
        match self.body(fetcher, source, response).await? {
            End::Whole => self.is_whole(),
            End::Cut(why) => Err(Attempt::Again { why, after: None }),
        }
    }

    /// An answer with the whole file: forgets what came before.
    async fn begin(&mut self, response: &Answer) -> Result<(), Attempt> {
        if let Some(encoding) =
            response.headers().get(header::CONTENT_ENCODING).filter(|value| *value != "identity")
        {
            let message = format!("it sends the NAR file with Content-Encoding {encoding:?}, unasked");
            return Err(Attempt::Last(Fault::new(RefusalReason::FileHash, message)));
        }
        if let (Some(stated), Some(length)) = (self.expected.file_size, response.content_length())
            && stated != length
        {
            return Err(Attempt::Last(file_size_fault(stated, length)));
        }
        if let Some(growth) = self.growth {
            growth.announce(self.expected.file_size.or(response.content_length()));
        }
        if self.received > 0 {
            self.received = 0;
            self.writer.restart().await.map_err(stopped)?;
        }
        let ranges = response.headers().get(header::ACCEPT_RANGES).is_some_and(|value| value == "bytes");
        self.rest = if ranges { Rest::ByRange(strong_tag(response)) } else { Rest::Never };
        self.resumed = false;
        Ok(())
    }

    async fn body(&mut self, fetcher: &Fetcher, source: &Source, mut answer: Answer) -> Result<End, Attempt> {
        let most = self.expected.most_bytes();
        if answer.content_length().is_some_and(|length| self.received.saturating_add(length) > most) {
            return Err(self.too_long());
        }
        loop {
            match answer.chunk().await {
                Ok(Some(chunk)) => {
                    self.received += chunk.len() as u64;
                    fetcher.0.watch.received(source, chunk.len());
                    if self.received > most {
                        return Err(self.too_long());
                    }
                    self.writer.write(chunk).await.map_err(stopped)?;
                }
                Ok(None) => return Ok(End::Whole),
                Err(Broken::Cut(why)) => return Ok(End::Cut(why)),
                Err(Broken::Silent(fault)) => return Ok(End::Cut(fault.message)),
                Err(Broken::Slow(fault)) => return Err(Attempt::Last(fault)),
            }
        }
    }

    /// The server says that this was all of it.
    fn is_whole(&self) -> Result<(), Attempt> {
        match self.expected.file_size {
            Some(stated) if stated != self.received => {
                Err(Attempt::Last(file_size_fault(stated, self.received)))
            }
            _ => Ok(()),
        }
    }

    fn too_long(&self) -> Attempt {
        let most = self.expected.most_bytes();
        let message = if self.expected.file_size.is_some() {
            format!("the NAR file has more than the {most} bytes that the narinfo says")
        } else {
            format!(
                "the NAR file has more than {most} bytes, too many for a NAR of {}",
                self.expected.nar_size
            )
        };
        Attempt::Last(Fault::new(RefusalReason::FileSize, message))
    }
}

/// The disk failed; what it said follows from [`Writer::finish`].
fn stopped(Stopped: Stopped) -> Attempt {
    Attempt::Last(Fault::new(RefusalReason::Disk, "the disk failed"))
}

/// A validator by which the server can tell that the file is still the same.
fn strong_tag(response: &Answer) -> Option<HeaderValue> {
    response.headers().get(header::ETAG).filter(|tag| tag.as_bytes().starts_with(b"\"")).cloned()
}

/// The first position of a partial answer.
fn part_start(response: &Answer) -> Option<u64> {
    Some(response.content_range()?.part?.start)
}
