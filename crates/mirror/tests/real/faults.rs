//! NAR files that another mirror holds, and what happens when it lies, is gone, or asks back.

use granary_placement::Partition;
use reqwest::Client;

use super::support::{
    Artifact, Corpus, Mirror, Site, Upstream, client, config, folder, map_of, noise, tools,
};

#[tokio::test]
async fn a_miss_is_passed_on_and_checked() {
    if !tools() {
        return;
    }
    let (folder, client) = (folder(), client());
    let [a, b] = ["a-0", "b-0"].map(|name| Site::new(folder.path(), name));
    // Two artifacts that the placement gives to the other mirror: one larger than what is checked before it is sent.
    let on_b = |name: &str, content: &[u8]| {
        let map = map_of(1, &[&a, &b], 1, &[]);
        let there = |artifact: &Artifact| {
            map.table("test").unwrap().holds("b-0", Partition::of(artifact.hash_part()).unwrap())
        };
        (0..1000).map(|seed| Artifact::new(name, seed, content.to_vec(), &[])).find(there).unwrap()
    };
    let artifacts = [on_b("small", &noise(100_000)), on_b("large", &noise(3 << 20))];
    let [small, large] = &artifacts;
    let corpus = Corpus::make(folder.path(), &artifacts);
    let upstream = Upstream::serve(&corpus.cache).await;
    let map = folder.path().join("map.json");
    std::fs::write(&map, map_of(1, &[&a, &b], 1, &[&small.path, &large.path]).map().to_json()).unwrap();
    let more = format!("map: {{file: '{}'}}\nlimits: {{silenceSeconds: 5}}", map.display());
    let configs = [&a, &b].map(|site| config(site, &upstream.url, &corpus.key, &more));
    let (a, mut b) = (Mirror::run(a, &configs[0]), Mirror::run(b, &configs[1]));
    assert_eq!(a.synced(&client).await.artifacts, 0);
    assert_eq!(b.synced(&client).await.artifacts, 2);
    let asked = upstream.nars();

    // Any mirror answers for any artifact.
    let url = async |artifact: &Artifact| {
        let narinfo = format!("{}/{}.narinfo", a.url(), artifact.hash_part());
        let text =
            client.get(narinfo).send().await.unwrap().error_for_status().unwrap().text().await.unwrap();
        format!("{}/{}", a.url(), text.lines().find_map(|line| line.strip_prefix("URL: ")).unwrap())
    };
    let (small_url, large_url) = (url(small).await, url(large).await);
    for (artifact, url) in [(small, &small_url), (large, &large_url)] {
        let nar = corpus.nar(artifact);
        assert_eq!(body(&client, url, None).await.unwrap(), nar);
        assert_eq!(body(&client, url, Some("bytes=1000-")).await.unwrap(), nar[1000..]);
        let head = client.head(url).send().await.unwrap();
        assert_eq!(head.headers()["content-length"], nar.len().to_string());
        assert_eq!(head.headers()["accept-ranges"], "bytes");
        let beyond = client.get(url).header("Range", "bytes=99999999-").send().await.unwrap();
        assert_eq!(beyond.status(), 416);
        let hop = client.get(url).header("Granary-Hop", "1").send().await.unwrap();
        assert_eq!(hop.status(), 404, "a mirror that asks is not sent on");
    }
    assert_eq!(upstream.nars(), asked, "all that came from the other mirror");
    let nobody = client.get(format!("{}/nar/{}.nar", a.url(), "0".repeat(52))).send().await.unwrap();
    assert_eq!(nobody.status(), 404);

    // The other mirror's disk goes bad. A small file is replaced unseen, a large one is cut, and then replaced.
    for (artifact, cut) in [(small, false), (large, true)] {
        let file = b
            .site
            .tree()
            .join(url(artifact).await.rsplit_once("/nar/").map(|(_, name)| format!("nar/{name}")).unwrap());
        let mut bytes = std::fs::read(&file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&file, bytes).unwrap();
        let first = body(&client, &url(artifact).await, None).await;
        assert_eq!(first.is_none(), cut, "{}", a.log());
        let again = body(&client, &url(artifact).await, None).await;
        assert_eq!(again.unwrap(), corpus.nar(artifact));
    }
    assert_eq!(upstream.nars(), asked + 3, "the small one twice, the large one once");

    // Nobody left: a client is told to come again, not that there is nothing.
    b.stop();
    upstream.down(true);
    let nobody = client.get(&small_url).send().await.unwrap();
    assert_eq!(nobody.status(), 503);
    assert!(nobody.headers().contains_key("retry-after"));
    let metrics = client.get(a.agent("/metrics")).send().await.unwrap().text().await.unwrap();
    for line in
        ["granary_mirror_misses_total{result=\"cut\"} 1", "granary_mirror_misses_total{result=\"failed\"} 1"]
    {
        assert!(metrics.lines().any(|have| have == line), "{line} is not in\n{metrics}");
    }
}

/// The body, or `None` when it is cut.
async fn body(client: &Client, url: &str, range: Option<&str>) -> Option<Vec<u8>> {
    let mut request = client.get(url);
    if let Some(range) = range {
        request = request.header("Range", range);
    }
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), if range.is_some() { 206 } else { 200 });
    answer.bytes().await.ok().map(|bytes| bytes.to_vec())
}
