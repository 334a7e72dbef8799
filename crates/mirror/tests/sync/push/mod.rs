//! Pushes over a socket, from clients that have a token and do it wrong.

mod disk;
mod quota;
mod verified;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use granary_fetch::Fetcher;
use granary_mirror::config::Extras;
use granary_mirror::extras::Keeper;
use granary_mirror::metrics::Metrics;
use granary_mirror::push::Push;
use granary_mirror::push::settings::Push as Settings;
use granary_mirror::refusals::Refusals;
use granary_mirror::tree::{Tree, TreeError};
use granary_nix::{CacheInfo, NarInfo, PublicKeys, StorePath};
use granary_placement::report::RefusalReason;
use http::StatusCode;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::common::{eventually, fetcher};
use super::{clean, is_visible};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// What the mirror's configuration says.
#[derive(Clone, Debug)]
struct Rules {
    keys: PublicKeys,
    max_size: u64,
    max_nar_size: Option<u64>,
}

impl Rules {
    /// Trusting these keys, with more room than any test needs.
    fn trusting(keys: PublicKeys) -> Self {
        Self { keys, max_size: 1 << 30, max_nar_size: None }
    }
}

/// A mirror that takes pushes, and a client.
struct Site {
    tree: Arc<Tree>,
    refusals: Arc<Refusals>,
    client: reqwest::Client,
    url: String,
    stop: CancellationToken,
    server: JoinHandle<()>,
    rules: Rules,
}

impl Site {
    /// With its tree in a folder of this one.
    async fn start(folder: &Path, rules: Rules) -> Self {
        // It installs what TLS needs, too.
        let fetcher: Fetcher = fetcher();
        let token_file = folder.join("tokens");
        fs::write(&token_file, format!("ci:{TOKEN}\n")).unwrap();
        let tree = Arc::new(Tree::open(&folder.join("tree"), &CacheInfo::default()).unwrap());
        let metrics = Arc::new(Metrics::new().unwrap());
        let counted = metrics.extras().clone();
        let refusals = Arc::new(Refusals::new(Arc::clone(&tree), metrics));
        let keeper = Keeper::new(Arc::clone(&tree), fetcher, Extras::default(), Vec::new(), counted);
        let Rules { keys, max_size, max_nar_size } = rules.clone();
        let settings = Settings { token_file, max_size, public_keys: keys };
        let push = Push::new(settings, Arc::new(keeper), Arc::clone(&refusals), 2, max_nar_size).unwrap();
        let push = Arc::new(push);
        let router = Router::new().fallback(move |request: Request| {
            let push = Arc::clone(&push);
            async move { push.put(request).await.0 }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let server = tokio::spawn(async move {
            axum::serve(listener, router).with_graceful_shutdown(stopped).await.unwrap();
        });
        // No connection is kept, so that the server can end.
        let client = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build().unwrap();
        Self { tree, refusals, client, url, stop, server, rules }
    }

    /// The next process in the same directory.
    async fn restarted(self) -> Self {
        let Self { tree, refusals, client: _, url: _, stop, server, rules } = self;
        let directory = tree.directory().to_owned();
        stop.cancel();
        server.await.unwrap();
        drop((tree, refusals));
        // What goes on in the background, for which nobody waits, has the tree for a moment more.
        let free = || {
            let opened = Tree::open(&directory, &CacheInfo::default());
            (!matches!(opened, Err(TreeError::InUse { .. }))).then_some(())
        };
        eventually("the tree is free", free).await;
        Self::start(directory.parent().unwrap(), rules).await
    }

    fn path(&self) -> &Path {
        self.tree.directory()
    }

    /// Sends a file; the answer's status and words.
    async fn put(&self, name: &str, body: impl Into<reqwest::Body>) -> (StatusCode, String) {
        let request = self.client.put(format!("{}/{name}", self.url)).bearer_auth(TOKEN).body(body);
        let answer = request.send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }

    async fn put_narinfo(&self, info: &NarInfo) -> (StatusCode, String) {
        self.put(&info.store_path.hash_part().narinfo_name(), info.to_text()).await
    }

    /// Sends an artifact as Nix does: the NAR file, which is taken, and the narinfo.
    async fn push(&self, info: &NarInfo, file: &[u8]) -> (StatusCode, String) {
        assert_eq!(self.put(&info.url, file.to_vec()).await.0, StatusCode::CREATED, "{}", info.url);
        self.put_narinfo(info).await
    }

    /// Nothing of it is to be seen, nor kept.
    fn shows_nothing_of(&self, path: &StorePath, what: &str) {
        let hash = path.hash_part();
        assert!(!is_visible(self.path(), path) && !self.tree.holds(&hash), "{what}");
        assert!(!self.tree.in_catalog(&hash) && !self.tree.is_kept(&hash), "{what}");
        let check = clean(self.path(), &self.rules.keys);
        assert_eq!(check.notes, [], "{what}: nothing lies about");
        let temp = fs::read_dir(self.tree.layout().temp()).unwrap().count();
        assert_eq!(temp, 0, "{what}: nothing half-written is left");
    }

    /// Waits for the record, and says why it was refused.
    async fn record(&self, path: &StorePath) -> (RefusalReason, String) {
        let hash = path.hash_part();
        let refusal = eventually("there is a record", || self.tree.quarantined(&hash)).await.refusal;
        assert_eq!((refusal.store_path, refusal.source.as_str()), (path.to_string(), "push by ci"));
        (refusal.reason, refusal.message)
    }

    /// Files that wait for their narinfo.
    fn waiting(&self) -> usize {
        fs::read_dir(self.tree.layout().incoming()).unwrap().count()
    }
}
