//! An upload that is larger than the memory that the agent may take for it.

use std::fs::{self, File};
use std::io::Read as _;

use crate::support::{Artifact, Nix, Scene, TOKEN, netrc, succeeded, takes_pushes, text, wants};

/// Bytes of what is pushed. No compression makes them fewer.
const SIZE: u64 = 150_000_000;
/// The most memory, in KiB, that the agent may ever have had.
const MEMORY: u64 = 100 << 10;

// The mirror's upstream has to answer while this thread waits for Nix.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_path_is_pushed_by_nix_whole_and_through_little_memory() {
    let mut content = Vec::new();
    File::open("/dev/urandom").unwrap().take(SIZE).read_to_end(&mut content).unwrap();
    let large = Artifact::new("large-1.0", 0, content, &[]);
    let own = Artifact::new("own-1.0", 0, b"the mirror's own".to_vec(), &[]);
    let artifacts = [large, own];
    let [large, own] = &artifacts;
    let Some(scene) = Scene::of(&artifacts).await else { return };
    let corpus = &scene.corpus;
    let more = format!("{}\n{}", wants(&[own]), takes_pushes(scene.path(), "400Mi", &corpus.key));
    let mirror = scene.synced(&more).await;
    let memory = || {
        let status = fs::read_to_string(format!("/proc/{}/status", mirror.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    };

    let to = format!("{}?compression=none&secret-key={}", mirror.url(), corpus.secret.display());
    let mut copy = corpus.nix.command("nix");
    copy.args(["copy", "--no-check-sigs", "--option", "netrc-file"]).arg(netrc(scene.path(), TOKEN));
    copy.args(["--from", text(&corpus.root), "--to", &to, &large.path]);
    succeeded(&copy.output().unwrap());
    assert!(memory() < MEMORY, "{} KiB for the upload", memory());
    assert_eq!(mirror.report().await.unwrap().artifacts, 2);
    let file = mirror.site.tree().join(mirror.nar_name(large).await);
    let length = fs::metadata(file).unwrap().len();
    assert!(length > SIZE, "as it was sent: {length}");
    mirror
        .has_metrics(&[
            "granary_mirror_pushed_total 1",
            &format!("granary_mirror_pushed_bytes_total {length}"),
        ])
        .await;

    scene.upstream.down(true);
    // With a home of its own: the other one remembers what it has pushed.
    let client = Nix::new(&scene.path().join("client"));
    succeeded(&client.substitute("client", &mirror.url(), &corpus.key, &large.path));
    client.has("client", large);
    assert!(memory() < MEMORY, "{} KiB for all of it", memory());
    mirror.verified(&corpus.key);
}
