//! Files that nginx could not read, which the scrub is to look at before everything else.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use granary_nix::HashPart;
use tokio::net::UnixDatagram;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::front::{faults_socket, unreadable};
use crate::tree::Tree;

/// Longest line of nginx's.
const LINE: usize = 4096;
/// Pause after trouble with the socket.
const RETRY: Duration = Duration::from_secs(5);

/// Listens to nginx until `stop`. `front`: the directory of its files.
pub(super) async fn listen(
    front: PathBuf,
    tree: Arc<Tree>,
    suspects: mpsc::Sender<HashPart>,
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
async fn hear(socket: &UnixDatagram, tree: &Tree, suspects: &mpsc::Sender<HashPart>) -> io::Error {
    let mut line = vec![0; LINE];
    loop {
        let length = match socket.recv(&mut line).await {
            Ok(length) => length,
            Err(error) => return error,
        };
        let line = String::from_utf8_lossy(&line[..length]);
        let Some((path, artifact)) = unreadable(&line).and_then(|path| Some((path, artifact(tree, path)?)))
        else {
            continue;
        };
        warn!(path, %artifact, "nginx cannot read a file; it is looked at now");
        // When there are too many, their turn comes with everything else.
        let _ = suspects.try_send(artifact);
    }
}

/// The artifact of a narinfo or a NAR file, by the path of a request.
fn artifact(tree: &Tree, path: &str) -> Option<HashPart> {
    let path = path.strip_prefix('/')?;
    match path.strip_suffix(".narinfo") {
        Some(hash) => hash.parse().ok(),
        None => tree.find_nar(path.strip_prefix("nar/")?).map(|known| known.hash_part),
    }
}
