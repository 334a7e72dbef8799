//! An upstream whose narinfos state neither FileHash nor FileSize: what a mirror does not hold is asked of it by the
//! NarHash.

use granary_placement::Partition;
use reqwest::{Client, StatusCode};

use super::support::{
    Artifact, Corpus, Mirror, Site, Upstream, client, config, folder, map_of, noise, tools,
};

/// The NAR's URL by the mirror's narinfo.
async fn url(client: &Client, mirror: &Mirror, artifact: &Artifact) -> String {
    let narinfo = format!("{}/{}.narinfo", mirror.url(), artifact.hash_part());
    let text = client.get(narinfo).send().await.unwrap().error_for_status().unwrap().text().await.unwrap();
    format!("{}/{}", mirror.url(), text.lines().find_map(|line| line.strip_prefix("URL: ")).unwrap())
}

/// The status, and the body unless it is cut.
async fn get(client: &Client, url: &str) -> (StatusCode, Option<Vec<u8>>) {
    let answer = client.get(url).send().await.unwrap();
    (answer.status(), answer.bytes().await.ok().map(|bytes| bytes.to_vec()))
}

#[tokio::test]
async fn a_nar_without_a_stated_file_hash_is_had_from_every_mirror() {
    if !tools() {
        return;
    }
    let (folder, client) = (folder(), client());
    let [a, b] = ["a-0", "b-0"].map(|name| Site::new(folder.path(), name));
    let on_b = |name: &str, content: &[u8]| {
        let map = map_of(1, &[&a, &b], 1, &[]);
        let there = |artifact: &Artifact| {
            map.table("test").unwrap().holds("b-0", Partition::of(artifact.hash_part()).unwrap())
        };
        (0..1000).map(|seed| Artifact::new(name, seed, content.to_vec(), &[])).find(there).unwrap()
    };
    let artifacts = [on_b("small", &noise(100_000)), on_b("large", &noise(3 << 20))];
    let [small, large] = &artifacts;
    let roots = [&*small.path, &*large.path];
    let corpus = Corpus::make(folder.path(), &artifacts);
    let nars = [corpus.nar(small), corpus.nar(large)];
    for artifact in &artifacts {
        let bare = granary_nix::NarInfo { file_hash: None, file_size: None, ..corpus.narinfo(artifact) };
        let file = corpus.cache.join(format!("{}.narinfo", artifact.hash_part()));
        std::fs::write(file, bare.to_text()).unwrap();
    }
    let upstream = Upstream::serve(&corpus.cache).await;
    let map = folder.path().join("map.json");
    std::fs::write(&map, map_of(1, &[&a, &b], 1, &roots).map().to_json()).unwrap();
    let more = format!("map: {{file: '{}', pollSeconds: 1}}\nlimits: {{silenceSeconds: 5}}", map.display());
    let map_of_both = map_of(2, &[&a, &b], 2, &roots);
    let configs = [&a, &b].map(|site| config(site, &upstream.url, &corpus.key, &more));
    let (a, mut b) = (Mirror::run(a, &configs[0]), Mirror::run(b, &configs[1]));
    assert_eq!(a.synced(&client).await.artifacts, 0);
    assert_eq!(b.synced(&client).await.artifacts, 2);
    let asked = upstream.nars();

    // From the mirror that holds it, which alone knows the file's name.
    let urls = [url(&client, &a, small).await, url(&client, &a, large).await];
    for (artifact, url) in artifacts.iter().zip(&urls) {
        assert!(url.contains(&corpus.narinfo(artifact).nar_hash.to_nix32()), "{url}");
    }
    for (url, nar) in urls.iter().zip(&nars) {
        assert_eq!(get(&client, url).await, (StatusCode::OK, Some(nar.clone())), "{}", a.log());
        let part = client.get(url).header("Range", "bytes=1000-").send().await.unwrap();
        assert_eq!(part.status(), 206);
        assert_eq!(part.bytes().await.unwrap(), nar[1000..]);
        assert_eq!(client.head(url).send().await.unwrap().status(), 200);
        let other = url.replace(".zst", ".xz");
        assert_eq!(get(&client, &other).await.0, 404, "a name is of one compression");
    }
    assert_eq!(upstream.nars(), asked, "all that came from the other mirror");
    let nix = corpus.nix.substitute("a", &a.url(), &corpus.key, &large.path);
    assert!(nix.status.success(), "{}\n{}", String::from_utf8_lossy(&nix.stderr), a.log());
    assert_eq!(corpus.nix.read("a", &format!("{}/content", large.path)), large.content);

    // Nobody but the upstream is left.
    b.stop();
    let before = upstream.nars();
    assert_eq!(get(&client, &urls[0]).await, (StatusCode::OK, Some(nars[0].clone())), "{}", a.log());
    assert_eq!(get(&client, &urls[1]).await, (StatusCode::OK, Some(nars[1].clone())), "{}", a.log());
    assert_eq!(upstream.nars(), before + 2);

    // It lies about a small file, and no byte of that is passed on.
    let file = corpus.cache.join(corpus.narinfo(small).url);
    let mut bytes = nars[0].clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    assert_eq!(get(&client, &urls[0]).await.0, StatusCode::SERVICE_UNAVAILABLE);
    std::fs::write(&file, &nars[0]).unwrap();

    // Held here at last; who has the narinfo from before asks for the file by its old name.
    std::fs::write(&map, map_of_both.map().to_json()).unwrap();
    a.until(&client, "both are held", |report| report.artifacts == 2).await;
    upstream.down(true);
    for (url, nar) in urls.iter().zip(&nars) {
        assert_eq!(get(&client, url).await, (StatusCode::OK, Some(nar.clone())), "{}", a.log());
    }
}
