//! The agent with the configuration that is in the file now.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::agent::{self, AgentError};
use crate::config::Config;

/// How often the file is looked at.
const POLL: Duration = Duration::from_secs(2);

/// Runs the agent until `stop`, anew whenever the file changes to another usable configuration. nginx goes on meanwhile, by
/// the files in `front`.
pub(super) async fn agent(
    path: &Path,
    mut config: Config,
    front: &Path,
    stop: &CancellationToken,
) -> Result<(), AgentError> {
    loop {
        let inner = stop.child_token();
        let running = async {
            let config = Config { front_directory: front.to_owned(), ..config.clone() };
            let outcome = agent::run(config, inner.clone()).await;
            inner.cancel();
            outcome
        };
        let (outcome, next) = tokio::join!(running, changed(path, &config, &inner));
        outcome?;
        match next {
            Some(next) if !stop.is_cancelled() => config = next,
            _ => return Ok(()),
        }
    }
}

/// Waits for another usable configuration and then ends `token`. `None`: the token was ended before.
async fn changed(path: &Path, current: &Config, token: &CancellationToken) -> Option<Config> {
    let mut seen = fingerprint(path);
    let in_force = std::fs::read(path).ok();
    loop {
        tokio::select! {
            () = token.cancelled() => return None,
            () = sleep(POLL) => {}
        }
        let now = fingerprint(path);
        // A file that is away is being replaced.
        if now == seen || now.is_none() {
            continue;
        }
        seen = now;
        // Kubernetes replaces all files of a volume when one of them changes: with each mirror map, and with each secret.
        if std::fs::read(path).ok() == in_force {
            continue;
        }
        match Config::load(path) {
            Err(error) => error!(%error, "the changed configuration is not taken; the one in force stays"),
            Ok(next) if next.front_directory != current.front_directory => {
                error!("the changed configuration is not taken: another frontDirectory needs a restart");
            }
            Ok(next) => {
                info!("the configuration has changed; the agent begins anew");
                token.cancel();
                return Some(next);
            }
        }
    }
}

/// What a change is told by. A mounted `ConfigMap` is replaced by another file.
fn fingerprint(path: &Path) -> Option<(u64, u64, i64, i64)> {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn text(more: &str) -> String {
        format!(
            "directory: /srv/granary\nupstreams: [{{url: 'https://x', publicKeys: ['cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=']}}]\n\
             storePaths: [/nix/store/gs26yhwqhp7ilmz2p2pnfkdqrndxyyfj-app-1.0]\n{more}"
        )
    }

    #[tokio::test]
    async fn a_file_that_says_the_same_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (path, next) = (folder.path().join("config.yaml"), folder.path().join("next.yaml"));
        let replace = |text: &str| {
            std::fs::write(&next, text).unwrap();
            std::fs::rename(&next, &path).unwrap();
        };
        replace(&text(""));
        let current = Config::load(&path).unwrap();
        let token = CancellationToken::new();
        let waiting = changed(&path, &current, &token);
        tokio::pin!(waiting);
        // It looks at the file first.
        assert!(timeout(Duration::from_millis(10), &mut waiting).await.is_err());
        for same in [text(""), "nonsense".into(), text("")] {
            replace(&same);
            assert!(timeout(2 * POLL, &mut waiting).await.is_err(), "{same}");
            assert!(!token.is_cancelled());
        }
        replace(&text("publish: {narinfo: Never}\n"));
        let next = timeout(PATIENCE, waiting).await.unwrap().unwrap();
        assert_ne!(next.publish, current.publish);
        assert!(token.is_cancelled());
    }
}
