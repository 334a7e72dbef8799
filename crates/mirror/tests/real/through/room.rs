//! What leaves to make room.

use std::fs;

use crate::support::{Artifact, Mirror, Nix, Scene, eventually, noise, succeeded};

/// Two of them have room.
const MORE: &str = "pullThrough: {maxSize: 2Mi}";

#[tokio::test(flavor = "multi_thread")]
async fn what_nginx_has_served_last_stays_and_the_other_makes_room() {
    let artifact = |name: &str, seed| {
        let content = [name.as_bytes(), &noise(900_000)].concat();
        Artifact::new(name, seed, content, &[])
    };
    let artifacts = [artifact("a-1.0", 0), artifact("b-1.0", 1), artifact("c-1.0", 2)];
    let [a, b, c] = &artifacts;
    let Some(scene) = Scene::of(&artifacts).await else { return };
    let corpus = &scene.corpus;
    let fetch = |mirror: &Mirror, client: &str, artifact: &Artifact| {
        // With a home of its own, so that it remembers nothing.
        let nix = Nix::new(&scene.path().join(client));
        succeeded(&nix.substitute(client, &mirror.url(), &corpus.key, &artifact.path));
        nix.has(client, artifact);
    };
    let count = |count: u64| move |report: &crate::support::Report| report.artifacts == count;

    let mut mirror = scene.run(MORE);
    mirror.ready().await;
    mirror.until("nginx answers", |_| true).await;
    fetch(&mirror, "first", a);
    mirror.until("a", count(1)).await;
    fetch(&mirror, "second", b);
    mirror.until("a and b", count(2)).await;
    assert_eq!(mirror.stop(), Some(0), "{}", mirror.log());
    // Long ago, and the first an hour before the second: it would be the first to leave.
    let hours = mirror.site.tree().join(".granary/access/hours");
    let known = fs::read_to_string(&hours).unwrap();
    assert!([a, b].iter().all(|artifact| known.contains(artifact.hash_part())), "{known}");
    fs::write(&hours, format!("clock 3600000\n{} 6\n{} 7\n", a.hash_part(), b.hash_part())).unwrap();

    let mut mirror = Mirror::run(mirror.site.clone());
    mirror.until("both are here", count(2)).await;
    let nars = scene.upstream.nars();
    fetch(&mirror, "third", a);
    assert_eq!(scene.upstream.nars(), nars, "a hit");
    // nginx writes it down in blocks; at its end the agent has read all of it.
    let record = mirror.site.tree().join(".granary/front/access.log");
    eventually("nginx has written it down", async || {
        let here = |file: &std::path::Path| Some(fs::read_to_string(file).ok()?.contains(a.hash_part()));
        let hour = format!("{} 1000", a.hash_part());
        (here(&record)? || fs::read_to_string(&hours).ok()?.contains(&hour)).then_some(())
    })
    .await;
    assert_eq!(mirror.stop(), Some(0), "{}", mirror.log());

    let mirror = Mirror::run(mirror.site.clone());
    mirror.until("both are here again", count(2)).await;
    mirror.has_metrics(&["granary_mirror_pull_through_reclaimed_total 0"]).await;
    fetch(&mirror, "fourth", c);
    let gone = || !mirror.site.tree().join(b.narinfo()).exists();
    mirror.until("c is here and b is not", |report| report.artifacts == 2 && gone()).await;
    let length = |artifact| corpus.nar(artifact).len();
    let lines = [
        "granary_mirror_pull_through_reclaimed_total 1".to_owned(),
        format!("granary_mirror_pull_through_reclaimed_bytes_total {}", length(b)),
        "granary_mirror_pull_through_kept_total 1".to_owned(),
        "granary_mirror_pull_through_artifacts 2".to_owned(),
        format!("granary_mirror_pull_through_bytes {}", length(a) + length(c)),
    ];
    for line in &lines {
        mirror.until_metric(line).await;
    }
    // Those that stay are hits.
    let nars = scene.upstream.nars();
    for (client, artifact) in [("fifth", a), ("sixth", c)] {
        fetch(&mirror, client, artifact);
    }
    assert_eq!(scene.upstream.nars(), nars);
    assert!(mirror.verified(&corpus.key).contains("2 artifacts"));
}
