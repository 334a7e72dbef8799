//! NAR files that another mirror holds, and what happens when it lies, is gone, or asks back.

use reqwest::Client;

use super::support::{Scene, flip, map_of, names_only, noise, placed};

#[tokio::test]
async fn a_miss_is_passed_on_and_checked() {
    // Two artifacts that the placement gives to the other mirror: one larger than what is checked before it is sent.
    let map = names_only(&["a-0", "b-0"], 1);
    let table = map.table("test").unwrap();
    let on_b = |name, size| placed(name, &noise(size), |partition| table.holds("b-0", partition));
    let artifacts = [on_b("small", 100_000), on_b("large", 3 << 20)];
    let [small, large] = &artifacts;
    let Some(scene) = Scene::of(&artifacts).await else { return };
    let (corpus, upstream, client) = (&scene.corpus, &scene.upstream, &scene.client);
    let sites = ["a-0", "b-0"].map(|name| scene.site(name));
    scene.put_map(&map_of(1, &sites.each_ref(), 1, &[&small.path, &large.path]));

    let [a, mut b] = sites.map(|site| scene.run_at(site, &scene.follow()));
    assert_eq!(a.synced().await.artifacts, 0);
    assert_eq!(b.synced().await.artifacts, 2);
    let asked = upstream.nars();

    // Any mirror answers for any artifact.
    let url = async |artifact| format!("{}/{}", a.url(), a.nar_name(artifact).await);
    let (small_url, large_url) = (url(small).await, url(large).await);
    for (artifact, url) in [(small, &small_url), (large, &large_url)] {
        let nar = corpus.nar(artifact);
        assert_eq!(body(client, url, None).await.unwrap(), nar);
        assert_eq!(body(client, url, Some("bytes=1000-")).await.unwrap(), nar[1000..]);
        let head = client.head(url).send().await.unwrap();
        assert_eq!(head.headers()["content-length"], nar.len().to_string());
        assert_eq!(head.headers()["accept-ranges"], "bytes");
        let beyond = client.get(url).header("Range", "bytes=99999999-").send().await.unwrap();
        assert_eq!(beyond.status(), 416);
        let hop = client.get(url).header("Granary-Hop", "1").send().await.unwrap();
        assert_eq!(hop.status(), 404, "a mirror that asks is not sent on");
    }
    assert_eq!(upstream.nars(), asked, "all that came from the other mirror");
    assert_eq!(a.status(&format!("nar/{}.nar", "0".repeat(52))).await, 404);

    // The other mirror's disk goes bad. A small file is replaced unseen, a large one is cut, and then replaced.
    for (artifact, cut) in [(small, false), (large, true)] {
        flip(&b.site.tree().join(a.nar_name(artifact).await));
        let first = body(client, &url(artifact).await, None).await;
        assert_eq!(first.is_none(), cut, "{}", a.log());
        let again = body(client, &url(artifact).await, None).await;
        assert_eq!(again.unwrap(), corpus.nar(artifact));
    }
    assert_eq!(upstream.nars(), asked + 3, "the small one twice, the large one once");

    // Nobody left: a client is told to come again, not that there is nothing.
    b.stop();
    upstream.down(true);
    let nobody = client.get(&small_url).send().await.unwrap();
    assert_eq!(nobody.status(), 503);
    assert!(nobody.headers().contains_key("retry-after"));
    let lines =
        ["granary_mirror_misses_total{result=\"cut\"} 1", "granary_mirror_misses_total{result=\"failed\"} 1"];
    a.has_metrics(&lines).await;
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
