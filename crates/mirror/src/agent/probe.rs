//! Looks, when it is asked, whether the mirror can serve: that the directory can be read and that nginx answers.
//!
//! Nothing is looked at while nobody asks, and many who ask at once share one look.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use granary_fetch::Limits;
use jiff::Timestamp;
use nix::sys::statvfs::statvfs;
use reqwest::StatusCode;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::page::Room;
use crate::listen::reachable;
use crate::metrics::Connections;
use crate::tree::Tree;

/// How long a look counts.
const FRESH: Duration = Duration::from_secs(1);
/// How long the disk, and nginx, may take. Both are on this machine; below the time that a probe of a pod is given.
const PATIENCE: Duration = Duration::from_millis(2500);
/// Most that is read of what nginx says.
const MAX_BODY: usize = 4096;

/// What was seen of the directory.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    /// Why nothing can be served from it.
    pub(super) trouble: Option<String>,
    /// Room where it is.
    pub(super) room: Option<Room>,
    /// Since when it is a mirror's.
    pub(super) since: Option<Timestamp>,
}

/// Looks at directory and nginx.
#[derive(Debug)]
pub(super) struct Probe {
    tree: Arc<Tree>,
    /// nginx, as reached from this machine.
    front: SocketAddr,
    client: reqwest::Client,
    /// Held while the disk is looked at: a disk that hangs keeps one thread waiting, and not more.
    disk: Arc<Mutex<Option<(Instant, Disk)>>>,
    nginx: Mutex<Option<(Instant, Option<String>)>>,
}

impl Probe {
    /// For this tree, and the nginx that listens there.
    pub(super) fn new(tree: Arc<Tree>, listen: SocketAddr, limits: &Limits) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .connect_timeout(limits.connect.min(PATIENCE))
            .timeout(PATIENCE)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self { tree, front: reachable(listen), client, disk: Arc::default(), nginx: Mutex::default() })
    }

    /// Why nothing can be served now.
    pub(super) async fn trouble(&self) -> Option<String> {
        let (disk, nginx) = tokio::join!(self.disk(), self.nginx());
        disk.trouble.or(nginx)
    }

    /// Looks at the directory.
    pub(super) async fn disk(&self) -> Disk {
        let hangs = || Disk { trouble: Some("the disk does not answer".into()), ..Disk::default() };
        let Ok(mut seen) = timeout(PATIENCE, Arc::clone(&self.disk).lock_owned()).await else {
            return hangs();
        };
        if let Some((at, disk)) = &*seen
            && at.elapsed() < FRESH
        {
            return disk.clone();
        }
        let tree = Arc::clone(&self.tree);
        let look = tokio::task::spawn_blocking(move || {
            let disk = look(tree.directory(), tree.id());
            *seen = Some((Instant::now(), disk.clone()));
            disk
        });
        match timeout(PATIENCE, look).await {
            Ok(Ok(disk)) => disk,
            _ => hangs(),
        }
    }

    /// Asks nginx for its health; why it does not answer.
    async fn nginx(&self) -> Option<String> {
        let mut seen = self.nginx.lock().await;
        if let Some((at, trouble)) = &*seen
            && at.elapsed() < FRESH
        {
            return trouble.clone();
        }
        let answer = self.client.get(format!("http://{}/granary/v1/healthz", self.front)).send().await;
        let trouble = match answer.map(|answer| answer.status()) {
            Err(error) => Some(format!("nginx does not answer: {}", error.without_url())),
            // What it says to plain HTTP on a port of TLS: it is there.
            Ok(StatusCode::OK | StatusCode::BAD_REQUEST) => None,
            Ok(status) => Some(format!("nginx answers {status} to a question about its health")),
        };
        *seen = Some((Instant::now(), trouble.clone()));
        trouble
    }

    /// What nginx says about its connections.
    pub(super) async fn connections(&self) -> Option<Connections> {
        let mut answer =
            self.client.get(format!("http://{}/granary/v1/nginx", self.front)).send().await.ok()?;
        let mut text = Vec::new();
        while let Some(chunk) = answer.chunk().await.ok()? {
            text.extend_from_slice(&chunk);
            if text.len() > MAX_BODY {
                return None;
            }
        }
        connections(&String::from_utf8_lossy(&text))
    }
}

/// Reads what is needed to serve. The id tells whether it is still the same directory: a disk that was unmounted leaves
/// an empty one.
fn look(directory: &Path, id: &str) -> Disk {
    let of_id = directory.join(".granary/id");
    let trouble = match std::fs::read_to_string(&of_id) {
        Err(error) => Some(format!("{} cannot be read: {error}", of_id.display())),
        Ok(text) if text.trim() != id => Some(format!("{} is another disk's", of_id.display())),
        Ok(_) => std::fs::read_dir(directory.join("nar"))
            .err()
            .map(|error| format!("{} cannot be read: {error}", directory.join("nar").display())),
    };
    let since = std::fs::metadata(&of_id).and_then(|id| id.modified()).ok();
    let since = since.and_then(|since| Timestamp::try_from(since).ok());
    let room = statvfs(directory).ok().map(|disk| {
        // The types differ between machines.
        #[allow(clippy::useless_conversion, reason = "needed where the counts have fewer bits")]
        let (free, size, unit) =
            (u64::from(disk.blocks_available()), u64::from(disk.blocks()), u64::from(disk.fragment_size()));
        Room { free: free.saturating_mul(unit), size: size.saturating_mul(unit) }
    });
    Disk { trouble, room, since }
}

/// Reads nginx's `stub_status`.
fn connections(text: &str) -> Option<Connections> {
    let mut lines = text.lines().skip_while(|line| !line.starts_with("server accepts"));
    let mut counts = lines.nth(1)?.split_whitespace().map(str::parse::<u64>);
    let (accepted, _handled, requests) = (counts.next()?.ok()?, counts.next()?.ok()?, counts.next()?.ok()?);
    let states = lines.next()?;
    let state = |name: &str| -> Option<u64> {
        let mut words = states.split_whitespace().skip_while(|word| *word != name);
        words.nth(1)?.parse().ok()
    };
    Some(Connections {
        accepted,
        requests,
        reading: state("Reading:")?,
        writing: state("Writing:")?,
        waiting: state("Waiting:")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nginx_says_is_read_and_nothing_else_is() {
        let text = "Active connections: 291 \nserver accepts handled requests\n 16630948 16630947 31070465 \n\
                    Reading: 6 Writing: 179 Waiting: 106 \n";
        let said = Connections {
            accepted: 16_630_948,
            requests: 31_070_465,
            reading: 6,
            writing: 179,
            waiting: 106,
        };
        assert_eq!(connections(text), Some(said));
        for bad in [
            "",
            "<html>404</html>",
            "server accepts handled requests\n",
            "server accepts\n 1 2 x\nReading: 1",
        ] {
            assert_eq!(connections(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_directory_that_cannot_be_read_or_is_another_is_told() {
        let temp = tempfile::tempdir().unwrap();
        let tree = temp.path();
        let trouble = || look(tree, "0123").trouble.unwrap_or_default();
        assert!(trouble().contains("id cannot be read"), "{}", trouble());
        std::fs::create_dir_all(tree.join(".granary")).unwrap();
        std::fs::write(tree.join(".granary/id"), "4567\n").unwrap();
        assert!(trouble().contains("another disk's"), "{}", trouble());
        std::fs::write(tree.join(".granary/id"), "0123\n").unwrap();
        assert!(trouble().contains("nar cannot be read"), "{}", trouble());
        std::fs::create_dir(tree.join("nar")).unwrap();
        let disk = look(tree, "0123");
        assert_eq!(disk.trouble, None);
        assert!(disk.since.is_some());
        let room = disk.room.unwrap();
        assert!(room.free <= room.size && room.size > 0, "{room:?}");
    }
}
