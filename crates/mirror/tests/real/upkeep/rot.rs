//! Files that changed by themselves.

use std::fs;
use std::path::Path;

use granary_placement::report::Report;

use super::has;
use crate::support::{Artifact, Mirror, Scene, eventually, library_and_app, wants};

/// As often as can be, and as fast.
const SCRUB: &str = "scrub: {period: 1s, bandwidth: 1Gi}";

/// Changes one bit, after which the file is this.
fn spoil(file: &Path) -> Vec<u8> {
    let mut bad = fs::read(file).unwrap();
    bad[100_000] ^= 1;
    fs::write(file, &bad).unwrap();
    bad
}

fn one_was_rotten(report: &Report) -> bool {
    report.upkeep.scrub.as_ref().is_some_and(|scrub| scrub.rotten == 1)
}

#[tokio::test]
async fn rot_is_found_taken_out_of_the_clients_way_and_repaired() {
    let artifacts = library_and_app(300_000);
    let [library, app] = &artifacts;
    let Some(scene) = Scene::of(&artifacts).await else { return };
    let key = &scene.corpus.key;
    let mirror = scene.run(&format!("{}\n{SCRUB}", wants(&[app])));
    mirror.until("synced", has(2)).await;
    let name = mirror.nar_name(library).await;
    let tree = mirror.site.tree();
    let file = tree.join(&name);
    let good = fs::read(&file).unwrap();

    // Nobody has it meanwhile: it is taken out all the same, and its narinfo still answered.
    scene.upstream.down(true);
    let bad = spoil(&file);
    mirror.until("found", |report| report.artifacts == 1 && one_was_rotten(report)).await;
    assert!(!file.exists());
    let aside = tree.join(".granary/quarantine").join(name.trim_start_matches("nar/"));
    assert_eq!(fs::read(aside).unwrap(), bad);
    assert_eq!(mirror.status(&library.narinfo()).await, 200);
    mirror.verified(key);

    scene.upstream.down(false);
    mirror.until("repaired", has(2)).await;
    assert_eq!(fs::read(&file).unwrap(), good);
    right_in_the_end(&mirror, &name, &good).await;
    mirror.verified(key);
    mirror.has_metrics(&["granary_mirror_scrub_rotten_total{file=\"nar\"} 1"]).await;
}

/// nginx may have the rotten file open for some seconds.
async fn right_in_the_end(mirror: &Mirror, name: &str, good: &[u8]) {
    eventually("the right bytes", async || (mirror.body(name).await? == good).then_some(())).await;
}

#[tokio::test]
async fn rot_under_a_channel_is_repaired_at_once() {
    let artifacts = library_and_app(300_000);
    let [library, app] = &artifacts;
    let Some(scene) = Scene::of(&artifacts).await else { return };
    let corpus = &scene.corpus;
    corpus.list("stable", &[app]);
    // By itself it would look again in twenty hours.
    let more = format!("channels: [{{url: '{}/stable'}}]\nsyncSeconds: 3600\n{SCRUB}", scene.upstream.url);
    let mirror = scene.run(&more);
    mirror.until("complete", |report| report.channels.iter().all(|it| it.complete.is_some())).await;
    let file = mirror.site.tree().join(&corpus.narinfo(library).url);
    spoil(&file);
    mirror.until("repaired", |report| report.artifacts == 2 && one_was_rotten(report)).await;
    assert_eq!(fs::read(&file).unwrap(), corpus.nar(library));
    mirror.verified(&corpus.key);
}

/// The NAR of a file, packed otherwise.
fn repacked(file: &[u8]) -> Vec<u8> {
    let nar = zstd::decode_all(file).unwrap();
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.include_checksum(true).unwrap();
    std::io::copy(&mut &nar[..], &mut encoder).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn what_rotted_and_comes_again_as_another_file_is_answered_under_its_old_name() {
    let library = Artifact::sized("library-1.0", 300_000);
    let Some(scene) = Scene::of(std::slice::from_ref(&library)).await else { return };
    let corpus = &scene.corpus;
    let mut mirror = scene.run(&format!("{}\n{SCRUB}", wants(&[&library])));
    mirror.until("synced", has(1)).await;
    let old = mirror.nar_name(&library).await;

    // The upstream has the same NAR in another file by now, and nothing under the old name.
    let mut info = corpus.narinfo(&library);
    let before = corpus.cache.join(&info.url);
    let file = repacked(&fs::read(&before).unwrap());
    let hash = granary_nix::Hash::of(&file);
    info.url = granary_nix::served_nar_name(hash, info.compression);
    (info.file_hash, info.file_size) = (Some(hash), Some(file.len() as u64));
    fs::remove_file(before).unwrap();
    fs::write(corpus.cache.join(&info.url), &file).unwrap();
    fs::write(corpus.cache.join(library.narinfo()), info.to_text()).unwrap();

    spoil(&mirror.site.tree().join(&old));
    mirror.until("repaired", |report| has(1)(report) && one_was_rotten(report)).await;
    right_in_the_end(&mirror, &old, &file).await;
    mirror.verified(&corpus.key);

    // From the disk, and by another process too.
    scene.upstream.down(true);
    mirror.stop();
    let mirror = Mirror::run(mirror.site.clone());
    right_in_the_end(&mirror, &old, &file).await;
    assert_eq!(mirror.nar_name(&library).await, info.url);
}
