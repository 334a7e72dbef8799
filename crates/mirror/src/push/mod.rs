//! Push: `nix copy --to http://…` into this mirror.
//!
//! * [`settings`]: what the configuration says.
//! * [`tokens`]: who may push.
//! * [`request`]: what a path of a PUT means.
//! * [`incoming`]: NAR files that wait for their narinfo, seen by nobody; [`part`]: one that is on its way.
//! * [`quota`] and [`ledger`]: what may be used, and what is.
//! * [`body`] and [`receive`]: request bodies, bounded.
//! * [`turns`]: one after the other, for each NAR file.
//! * [`narinfo`] and [`admit`]: a narinfo with its NAR file, verified like a pull, and published.
//! * [`beside`]: listings, logs, realisations, build traces and the debug index.
//! * [`refused`]: why a request is refused, in words that Nix shows.
//!
//! A client sends the NAR file, then the narinfo, references first. A NAR file waits below `.granary/incoming`, for a day at
//! most. With the narinfo the artifact is verified and becomes visible, or is refused; nothing is ever visible that was not
//! verified. What was pushed is marked in the tree as kept, so that no retention takes it for unwanted.

mod admit;
mod beside;
mod body;
mod incoming;
mod ledger;
mod narinfo;
mod part;
mod quota;
mod receive;
mod refused;
mod request;
pub mod settings;
mod tokens;
mod turns;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use http::{Method, Request, Response, StatusCode, header};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::extras::Keeper;
use crate::refusals::Refusals;
use crate::tree::{Tree, TreeError};
use beside::Taken;
use incoming::Incoming;
use ledger::Ledger;
use refused::Refused;
use request::Upload;
use settings::Push as Settings;
use tokens::Tokens;
use turns::Turns;

pub use refused::Reason;
pub use tokens::TokensError;

/// Uploads at once.
const UPLOADS: usize = 32;
/// How often what waits too long is looked for.
const SWEEP: Duration = Duration::from_mins(10);

/// Push cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// There is nobody who could push.
    #[error("push.tokenFile: {0}")]
    Tokens(#[from] TokensError),
    /// The directory for uploads is not usable.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// Takes in what clients push.
#[derive(Debug)]
pub struct Push {
    settings: Settings,
    tokens: Tokens,
    tree: Arc<Tree>,
    /// What is checked of the files beside artifacts, and makes some of them.
    keeper: Arc<Keeper>,
    refusals: Arc<Refusals>,
    incoming: Incoming,
    ledger: Ledger,
    uploads: Semaphore,
    /// Held while a NAR file is verified.
    decoders: Semaphore,
    turns: Turns,
    /// Held while an artifact becomes visible, so that two for one path do not meet.
    publishing: tokio::sync::Mutex<()>,
    max_nar_size: Option<u64>,
}

/// What became of a request, for whoever counts.
#[derive(Debug)]
pub enum Event {
    /// An artifact is published.
    Published {
        /// Bytes of its NAR file.
        bytes: u64,
    },
    /// A request is refused.
    Refused(Reason),
    /// Nothing that counts.
    Nothing,
}

impl Push {
    /// Into the tree of `keeper`, which says what is kept beside artifacts; `refusals` is told of artifacts that are refused.
    pub fn new(
        settings: Settings,
        keeper: Arc<Keeper>,
        refusals: Arc<Refusals>,
        decoders: usize,
        max_nar_size: Option<u64>,
    ) -> Result<Self, PushError> {
        let tokens = Tokens::open(&settings.token_file)?;
        let tree = Arc::clone(keeper.tree());
        let ledger = Ledger::open(Arc::clone(&tree))?;
        let incoming = Incoming::open(tree.layout().incoming())?;
        let (uploads, decoders) = (Semaphore::new(UPLOADS), Semaphore::new(decoders.max(1)));
        let publishing = tokio::sync::Mutex::default();
        let turns = Turns::default();
        Ok(Self {
            settings,
            tokens,
            tree,
            keeper,
            refusals,
            incoming,
            ledger,
            uploads,
            decoders,
            turns,
            publishing,
            max_nar_size,
        })
    }

    /// Answers a PUT.
    pub async fn put(&self, request: Request<Body>) -> (Response<Body>, Event) {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().to_owned();
        let Some(who) = self.tokens.who(parts.headers.get(header::AUTHORIZATION)) else {
            warn!(path, "a push without a token that is known is refused");
            let refused = Refused::unauthorized();
            let event = Event::Refused(refused.reason());
            return (refused.answer(body), event);
        };
        let result = match Upload::of(&Method::PUT, &path) {
            None => Err((Refused::not_taken(&path), body)),
            Some(Upload::Nar(name)) => match self.nar(&name, &parts.headers, body).await {
                Ok(bytes) => {
                    info!(who, name, bytes, "a NAR file is uploaded; it waits for its narinfo");
                    return (empty(StatusCode::CREATED), Event::Nothing);
                }
                Err((refused, body)) => Err((refused, body)),
            },
            Some(Upload::Beside(extra)) => match self.beside(&extra, &parts.headers, body).await {
                Ok(taken) => {
                    info!(who, name = extra.file_name(), ?taken, "a file beside artifacts is pushed");
                    let new = matches!(taken, Taken::Visible(_) | Taken::Waits);
                    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
                    return (empty(status), Event::Nothing);
                }
                Err(refused) => Err(refused),
            },
            Some(Upload::NarInfo(hash)) => match body::small(&parts.headers, body).await {
                Err(refused) => Err((refused, Body::empty())),
                Ok(text) => return self.narinfo(&who, hash, &text).await,
            },
        };
        match result {
            Ok(()) => (empty(StatusCode::OK), Event::Nothing),
            Err((refused, body)) => {
                warn!(who, path, reason = refused.message(), "a push is refused");
                let event = Event::Refused(refused.reason());
                (refused.answer(body), event)
            }
        }
    }

    /// Takes a NAR file in; bytes that were written.
    async fn nar(&self, name: &str, headers: &http::HeaderMap, body: Body) -> Result<u64, (Refused, Body)> {
        let length = match body::announced(headers) {
            Ok(length) => length,
            Err(refused) => return Err((refused, body)),
        };
        if self.tree.layout().served(&format!("nar/{name}")).exists() {
            return body::discard(body).await.map_err(|refused| (refused, Body::empty()));
        }
        let Ok(_permit) = self.uploads.try_acquire() else { return Err((Refused::busy(), body)) };
        let part = match self.incoming.begin(name, length, self.quota()) {
            Ok(part) => part,
            Err(refused) => return Err((refused, body)),
        };
        // In chunks, nobody knows how much comes: then there has to be room at all.
        let _room = match self.tree.admit(length.unwrap_or(0)).await {
            Ok(room) => room,
            Err(full) => return Err((Refused::disk(full), body)),
        };
        let mut body = body.into_data_stream();
        part.write(&mut body).await.map_err(|refused| (refused, Body::from_stream(body)))
    }

    /// Bytes that uploads may have, besides what was published of them.
    fn quota(&self) -> u64 {
        let used = self.tree.kept_bytes().saturating_add(self.ledger.bytes());
        self.settings.max_size.saturating_sub(used)
    }

    /// Removes what nobody completed, until `stop`.
    pub async fn tidy(&self, stop: CancellationToken) {
        let began = Instant::now();
        self.incoming.sweep(Duration::ZERO);
        while tokio::time::timeout(SWEEP, stop.cancelled()).await.is_err() {
            self.incoming.sweep(began.elapsed());
            self.ledger.sweep();
        }
    }
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use granary_nix::CacheInfo;

    use super::*;
    use crate::capacity::Rules;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    fn push(directory: &std::path::Path) -> Push {
        let token_file = directory.join("tokens");
        std::fs::write(&token_file, TOKEN).unwrap();
        let tree = Arc::new(Tree::open(&directory.join("tree"), &CacheInfo::default()).unwrap());
        let settings =
            Settings { token_file, max_size: 1 << 20, public_keys: granary_nix::PublicKeys::default() };
        let _ = rustls::crypto::ring::default_provider().install_default();
        let fetcher = granary_fetch::Fetcher::new(granary_fetch::Limits::default()).unwrap();
        let metrics = Arc::new(crate::metrics::Metrics::new().unwrap());
        let (extras, counted) = (crate::config::Extras::default(), metrics.extras().clone());
        let refusals = Arc::new(Refusals::new(Arc::clone(&tree), metrics));
        let keeper = Keeper::new(tree, fetcher, extras, Vec::new(), counted);
        Push::new(settings, Arc::new(keeper), refusals, 1, None).unwrap()
    }

    fn nar(token: &str, body: &'static str) -> Request<Body> {
        let request = Request::put("/nar/x.nar").header(header::AUTHORIZATION, format!("Bearer {token}"));
        request.header(header::CONTENT_LENGTH, body.len()).body(Body::from(body)).unwrap()
    }

    #[tokio::test]
    async fn without_room_on_the_disk_nothing_is_taken() {
        let temp = tempfile::tempdir().unwrap();
        let push = push(temp.path());
        push.tree.capacity().limit(Some(Rules { max_size: Some(2), keep_free: 0 }));
        let (answer, event) = push.put(nar(TOKEN, "abc")).await;
        assert_eq!(answer.status(), StatusCode::INSUFFICIENT_STORAGE);
        assert!(matches!(event, Event::Refused(Reason::Disk)));
        push.tree.capacity().limit(None);
        assert_eq!(push.put(nar(TOKEN, "abc")).await.0.status(), StatusCode::CREATED);
    }

    #[tokio::test]
    async fn without_a_token_not_a_byte_is_written() {
        let temp = tempfile::tempdir().unwrap();
        let push = push(temp.path());
        let (answer, event) = push.put(nar("0123456789abcdef0123456789abcdee", "abc")).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        assert!(answer.headers().contains_key(header::WWW_AUTHENTICATE));
        assert!(matches!(event, Event::Refused(Reason::Unauthorized)));
        assert_eq!(std::fs::read_dir(push.tree.layout().incoming()).unwrap().count(), 0);
    }
}
