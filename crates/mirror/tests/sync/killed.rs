//! The real program, killed while it syncs, retires and scrubs.

use std::fs;
use std::path::Path;
use std::process::Command;

use granary_nix::StorePath;

use super::common::{Cache, Upstream};
use super::{clean, free_port, start_agent};

/// How often it is killed.
const TIMES: usize = 40;

fn narinfos(tree: &Path) -> usize {
    let is_narinfo = |entry: &fs::DirEntry| entry.path().extension().is_some_and(|end| end == "narinfo");
    fs::read_dir(tree).map_or(0, |entries| entries.filter_map(Result::ok).filter(is_narinfo).count())
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_artifacts_come_and_go_the_tree_is_valid_and_is_completed() {
    let mut cache = Cache::new("test-1");
    let mut paths: Vec<StorePath> = Vec::new();
    for number in 0..24 {
        let references: Vec<StorePath> = paths.iter().rev().step_by(3).take(3).cloned().collect();
        paths.push(cache.add(&format!("p{number}"), &references.iter().collect::<Vec<_>>()));
    }
    let upstream = Upstream::of(&cache).await;
    let directory = tempfile::tempdir().unwrap();
    let (tree, config) = (directory.path().join("tree"), directory.path().join("config.yaml"));
    let write = |roots: &[StorePath]| {
        let roots: Vec<String> = roots.iter().map(ToString::to_string).collect();
        let text = format!(
            "directory: {tree:?}\nupstreams: [{{url: \"{}\", publicKeys: [\"{}\"]}}]\nstorePaths: [{}]\n\
             listen: {{http: '127.0.0.1:{}', agent: '127.0.0.1:{}'}}\nsyncSeconds: 1\n\
             retention: {{graceAfterUnreferenced: 0s, trash: 0s}}\nscrub: {{period: 1s, bandwidth: 1Gi}}\n",
            upstream.url(),
            cache.key.public_key(),
            roots.join(", "),
            free_port(),
            free_port(),
        );
        fs::write(&config, text).unwrap();
    };
    let mut left = 0;
    for time in 0..TIMES {
        // Everything is wanted, then only the first few, so that the rest is taken out.
        let (wanted, come) = if time % 2 == 0 { (&paths[..], true) } else { (&paths[..4], false) };
        write(wanted);
        let mut agent = start_agent(&config);
        // It is killed at another moment each time: when so many are here, or so few are left.
        let enough = 4 + time / 2;
        loop {
            let here = narinfos(&tree);
            if (come && here >= enough) || (!come && here <= 28 - enough) {
                break;
            }
            assert!(agent.try_wait().unwrap().is_none(), "it goes on");
            tokio::task::yield_now().await;
        }
        agent.kill().unwrap();
        agent.wait().unwrap();
        if tree.join("nix-cache-info").exists() {
            let check = clean(&tree, &cache.keys());
            left += usize::from(check.artifacts > 4 && check.artifacts < 24);
        }
    }
    assert!(left >= 5, "only {left} were killed in the middle");
    write(&paths);
    let sync = Command::new(env!("CARGO_BIN_EXE_granary-mirror"))
        .args(["sync", "--config"])
        .arg(&config)
        .output()
        .unwrap();
    assert!(sync.status.success(), "{}", String::from_utf8_lossy(&sync.stderr));
    assert_eq!(clean(&tree, &cache.keys()).artifacts, 24);
}
