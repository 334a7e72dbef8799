//! Files that nginx could not read, which the scrub is to look at before everything else.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use granary_nix::Extra;
use tokio::net::UnixDatagram;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::front::{faults_socket, unreadable};
use crate::percent::decoded;
use crate::scrub::Suspect;
use crate::tree::Tree;

/// Longest line of nginx's.
const LINE: usize = 4096;
/// Pause after trouble with the socket.
const RETRY: Duration = Duration::from_secs(5);

/// Listens to nginx until `stop`. `front`: the directory of its files.
pub(super) async fn listen(
    front: PathBuf,
    tree: Arc<Tree>,
    suspects: mpsc::Sender<Suspect>,
    stop: CancellationToken,
) {
    let Some(path) = faults_socket(&front) else { return };
    let listening = async {
        let mut told = false;
        loop {
            let error = match bind(&path) {
                Ok(socket) => hear(&socket, &tree, &suspects).await,
                Err(error) => error,
            };
            if !std::mem::replace(&mut told, true) {
                warn!(path = %path.display(), %error, "what nginx cannot read is found by the scrub alone");
            }
            sleep(RETRY).await;
        }
    };
    stop.run_until_cancelled(listening).await;
}

/// In the place of what an earlier process left. nginx's workers, who may be nobody, have to reach it.
fn bind(path: &Path) -> io::Result<UnixDatagram> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = UnixDatagram::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o666))?;
    Ok(socket)
}

/// Names what nginx complains about, until the socket fails.
async fn hear(socket: &UnixDatagram, tree: &Tree, suspects: &mpsc::Sender<Suspect>) -> io::Error {
    let mut line = vec![0; LINE];
    loop {
        let length = match socket.recv(&mut line).await {
            Ok(length) => length,
            Err(error) => return error,
        };
        let line = String::from_utf8_lossy(&line[..length]);
        let Some((path, suspect)) = unreadable(&line).and_then(|path| Some((path, suspect(tree, path)?)))
        else {
            continue;
        };
        warn!(path, "nginx cannot read a file; it is looked at now");
        // When there are too many, their turn comes with everything else.
        let _ = suspects.try_send(suspect);
    }
}

/// What the path of a request names: a narinfo, a NAR file, or a file beside an artifact.
fn suspect(tree: &Tree, path: &str) -> Option<Suspect> {
    let path = decoded(path.strip_prefix('/')?.split('?').next()?)?;
    if let Some(hash) = path.strip_suffix(".narinfo") {
        return hash.parse().ok().map(Suspect::Artifact);
    }
    match path.strip_prefix("nar/") {
        Some(file) => tree.find_nar(file).map(|known| Suspect::Artifact(known.hash_part)),
        None => Extra::parse(&path).ok().map(Suspect::Beside),
    }
}

#[cfg(test)]
mod tests {
    use granary_nix::CacheInfo;

    use super::*;

    #[test]
    fn what_a_client_asked_for_is_what_is_looked_at() {
        let temp = tempfile::tempdir().unwrap();
        let tree = Tree::open(temp.path(), &CacheInfo::default()).unwrap();
        let hash = "00bgd045z0d4icpbc2yyz4gx48ak44la";
        let of = |path: &str| suspect(&tree, path);
        assert_eq!(of(&format!("/{hash}.narinfo")), Some(Suspect::Artifact(hash.parse().unwrap())));
        let hex = "6c5822e05bbaef8c8ee3fe052b4a182496365912ca2925db92a8aa7afb072e60";
        for (path, name) in [
            (format!("/{hash}.ls"), format!("{hash}.ls")),
            (format!("/log/{hash}-a.drv?x=1"), format!("log/{hash}-a.drv")),
            (format!("/realisations/sha256:{hex}%21out.doi"), format!("realisations/sha256:{hex}!out.doi")),
        ] {
            assert_eq!(of(&path), Some(Suspect::Beside(Extra::parse(&name).unwrap())), "{path}");
        }
        for path in ["", "/", "/nix-cache-info", "/nar/a.nar.xz", "/log/%2e%2e/nix-cache-info", "/%zz.ls"] {
            assert_eq!(of(path), None, "{path}");
        }
    }
}
