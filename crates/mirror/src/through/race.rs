//! One narinfo from several upstreams.
//!
//! They are asked by priority, the next one as soon as the one before has failed, has said no, or has said nothing for a
//! moment. The first verified narinfo wins. "It does not exist" needs the word of every one of them.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use granary_fetch::{Fault, Fetcher, Source};
use granary_nix::{HashPart, NarInfo};
use tokio::time::{Instant, sleep, sleep_until};

/// How long the first upstream is waited for before the second is asked too. The n-th wait is the n-th part of it, so that
/// 16 upstreams are all asked within a second.
const HEAD_START: Duration = Duration::from_millis(300);
/// How long a client waits for upstreams that do not answer, before it is told to come again.
const DEADLINE: Duration = Duration::from_secs(12);

/// A verified narinfo as an upstream gave it.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) info: Arc<NarInfo>,
    /// The upstream's place in their order.
    pub(super) source: usize,
}

/// What the upstreams say of an artifact.
#[derive(Clone, Debug)]
pub(super) enum Verdict {
    /// One has it.
    Found(Found),
    /// None has it, or none that may be passed on.
    Absent,
    /// Some do not have it, and others did not answer: why.
    Unknown(Arc<str>),
}

/// A narinfo that may not be passed on, and which upstream gave it.
#[derive(Clone, Debug)]
pub(super) struct Bad {
    pub(super) fault: Fault,
    pub(super) source: String,
}

/// What the answers were, while none was good.
#[derive(Debug, Default)]
struct Answers {
    troubles: Vec<String>,
    bad: Option<Bad>,
}

/// Asks them. Without a good narinfo, the first bad one is told too.
pub(super) async fn race(fetcher: &Fetcher, upstreams: &[Source], hash: &HashPart) -> (Verdict, Option<Bad>) {
    let mut asking = FuturesUnordered::new();
    let (mut asked, mut answers) = (0, Answers::default());
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(source) = upstreams.get(asked) {
            asking.push(ask(fetcher, asked, source, hash));
            asked += 1;
        } else if asking.is_empty() {
            return answers.verdict();
        }
        let more = asked < upstreams.len();
        let head_start = HEAD_START / u32::try_from(asked).unwrap_or(u32::MAX).max(1);
        tokio::select! {
            Some((number, answer)) = asking.next() => match answer {
                Ok(Some(info)) => {
                    return (Verdict::Found(Found { info: Arc::new(info), source: number }), None);
                }
                Ok(None) => {}
                Err(fault) => answers.note(&upstreams[number], hash, fault),
            },
            () = sleep(head_start), if more => {}
            () = sleep_until(deadline) => {
                answers.troubles.push("not all upstreams answer in time".to_owned());
                return answers.verdict();
            }
        }
    }
}

async fn ask(
    fetcher: &Fetcher,
    number: usize,
    source: &Source,
    hash: &HashPart,
) -> (usize, Result<Option<NarInfo>, Fault>) {
    (number, fetcher.narinfo(source, hash).await)
}

impl Answers {
    /// What an upstream says and may not be passed on is as good as nothing: asking again would change nothing.
    fn note(&mut self, source: &Source, hash: &HashPart, fault: Fault) {
        if fault.is_transient() {
            self.troubles.push(format!("{}: {fault}", source.url));
            return;
        }
        tracing::debug!(artifact = %hash, source = %source.url, reason = %fault.reason, %fault, "a narinfo is not passed on");
        self.bad.get_or_insert_with(|| Bad { fault, source: source.url.to_string() });
    }

    fn verdict(self) -> (Verdict, Option<Bad>) {
        let verdict = if self.troubles.is_empty() {
            Verdict::Absent
        } else {
            Verdict::Unknown(self.troubles.join("; ").into())
        };
        (verdict, self.bad)
    }
}
