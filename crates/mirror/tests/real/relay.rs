//! A mirror that dies while it gives a NAR file to another one, which passes that on to a client.

use granary_placement::Partition;
use nix::sys::signal::{Signal, kill};

use super::support::{
    Artifact, Corpus, Mirror, Site, Upstream, client, config, folder, map_of, noise, tools,
};

/// More than all sockets and buffers on the way take in.
const LARGE: usize = 64 << 20;

#[tokio::test]
async fn a_mirror_that_dies_in_the_middle_of_a_nar_is_not_noticed() {
    if !tools() {
        return;
    }
    let (folder, client) = (folder(), client());
    let [a, b, c] = ["a-0", "b-0", "c-0"].map(|name| Site::new(folder.path(), name));
    let map = map_of(1, &[&a, &b, &c], 2, &[]);
    let table = map.table("test").unwrap();
    let partition = |path: &Artifact| Partition::of(path.hash_part()).unwrap();
    let content = noise(LARGE);
    let artifact = (0..1000)
        .map(|seed| Artifact::new("large", seed, content.clone(), &[]))
        .find(|artifact| !table.holds("a-0", partition(artifact)))
        .unwrap();
    let asked_first = table.holder_names(partition(&artifact)).next().unwrap().to_string();
    let corpus = Corpus::make(folder.path(), std::slice::from_ref(&artifact));
    let upstream = Upstream::serve(&corpus.cache).await;
    let file = folder.path().join("map.json");
    std::fs::write(&file, map_of(1, &[&a, &b, &c], 2, &[&artifact.path]).map().to_json()).unwrap();
    let more = format!("map: {{file: '{}'}}\nlimits: {{silenceSeconds: 5}}", file.display());
    let run = |site: Site| {
        let config = config(&site, &upstream.url, &corpus.key, &more);
        Mirror::run(site, &config)
    };
    let (a, b, c) = (run(a), run(b), run(c));
    for (mirror, artifacts) in [(&a, 0), (&b, 1), (&c, 1)] {
        assert_eq!(mirror.synced(&client).await.artifacts, artifacts);
    }
    let asked = upstream.nars();

    let narinfo = format!("{}/{}.narinfo", a.url(), artifact.hash_part());
    let text = client.get(narinfo).send().await.unwrap().text().await.unwrap();
    let url = text.lines().find_map(|line| line.strip_prefix("URL: ")).unwrap();
    let mut answer = client.get(format!("{}/{url}", a.url())).send().await.unwrap();
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
    assert!(got == corpus.nar(&artifact), "{} bytes\n{}", got.len(), a.log());
    let metrics = client.get(a.agent("/metrics")).send().await.unwrap().text().await.unwrap();
    for line in
        ["granary_mirror_misses_total{result=\"gone-on\"} 1", "granary_mirror_misses_total{result=\"cut\"} 0"]
    {
        assert!(metrics.lines().any(|have| have == line), "{line} is not in\n{metrics}");
    }
    assert_eq!(upstream.nars(), asked, "the other holder has the rest");
}
