//! A mirror that dies while it gives a NAR file to another one, which passes that on to a client.

use nix::sys::signal::{Signal, kill};

use super::support::{Scene, map_of, names_only, noise, placed};

/// More than all sockets and buffers on the way take in.
const LARGE: usize = 64 << 20;

#[tokio::test]
async fn a_mirror_that_dies_in_the_middle_of_a_nar_is_not_noticed() {
    let names = ["a-0", "b-0", "c-0"];
    let map = names_only(&names, 2);
    let table = map.table("test").unwrap();
    let artifact = placed("large", &noise(LARGE), |partition| !table.holds("a-0", partition));
    let partition = granary_placement::Partition::of(artifact.hash_part()).unwrap();
    let asked_first = table.holder_names(partition).next().unwrap().to_string();
    let Some(scene) = Scene::of(std::slice::from_ref(&artifact)).await else { return };
    let sites = names.map(|name| scene.site(name));
    scene.put_map(&map_of(1, &sites.each_ref(), 2, &[&artifact.path]));

    let [a, b, c] = sites.map(|site| scene.run_at(site, &scene.follow()));
    for (mirror, artifacts) in [(&a, 0), (&b, 1), (&c, 1)] {
        assert_eq!(mirror.synced().await.artifacts, artifacts);
    }
    let asked = scene.upstream.nars();

    let mut answer = a.get(&a.nar_name(&artifact).await).await;
    assert_eq!(answer.status(), 200);
    let mut got = Vec::new();
    while got.len() < 1 << 20 {
        got.extend_from_slice(&answer.chunk().await.unwrap().unwrap());
    }
    let mut dying = if asked_first == "b-0" { b } else { c };
    let nginx = dying.nginx().unwrap();
    dying.kill();
    kill(nginx, Signal::SIGTERM).unwrap();
    while let Some(chunk) = answer.chunk().await.unwrap() {
        got.extend_from_slice(&chunk);
    }
    assert!(got == scene.corpus.nar(&artifact), "{} bytes\n{}", got.len(), a.log());
    let lines = [
        "granary_mirror_misses_total{result=\"gone-on\"} 1",
        "granary_mirror_misses_total{result=\"cut\"} 0",
    ];
    a.has_metrics(&lines).await;
    assert_eq!(scene.upstream.nars(), asked, "the other holder has the rest");
}
