//! An upstream whose narinfos state neither FileHash nor FileSize: what a mirror does not hold is asked of it by the
//! NarHash.

use reqwest::{Client, StatusCode};

use super::support::{Scene, eventually, flip, map_of, names_only, noise, placed};

/// The status, and the body unless it is cut.
async fn get(client: &Client, url: &str) -> (StatusCode, Option<Vec<u8>>) {
    let answer = client.get(url).send().await.unwrap();
    (answer.status(), answer.bytes().await.ok().map(|bytes| bytes.to_vec()))
}

#[tokio::test]
async fn a_nar_without_a_stated_file_hash_is_had_from_every_mirror() {
    let map = names_only(&["a-0", "b-0"], 1);
    let table = map.table("test").unwrap();
    let on_b = |name, size| placed(name, &noise(size), |partition| table.holds("b-0", partition));
    let artifacts = [on_b("small", 100_000), on_b("large", 3 << 20)];
    let [small, large] = &artifacts;
    let roots = [&*small.path, &*large.path];
    let Some(scene) = Scene::of(&artifacts).await else { return };
    let (corpus, upstream, client) = (&scene.corpus, &scene.upstream, &scene.client);
    let nars = [corpus.nar(small), corpus.nar(large)];
    for artifact in &artifacts {
        let bare = granary_nix::NarInfo { file_hash: None, file_size: None, ..corpus.narinfo(artifact) };
        let file = corpus.cache.join(artifact.narinfo());
        std::fs::write(file, bare.to_text()).unwrap();
    }
    let sites = ["a-0", "b-0"].map(|name| scene.site(name));
    scene.put_map(&map_of(1, &sites.each_ref(), 1, &roots));
    let map_of_both = map_of(2, &sites.each_ref(), 2, &roots);

    let [a, mut b] = sites.map(|site| scene.run_at(site, &scene.follow()));
    assert_eq!(a.synced().await.artifacts, 0);
    assert_eq!(b.synced().await.artifacts, 2);
    let asked = upstream.nars();

    // From the mirror that holds it, which alone knows the file's name.
    let url = async |artifact| format!("{}/{}", a.url(), a.nar_name(artifact).await);
    let urls = [url(small).await, url(large).await];
    for (artifact, url) in artifacts.iter().zip(&urls) {
        assert!(url.contains(&corpus.narinfo(artifact).nar_hash.to_nix32()), "{url}");
    }
    for (url, nar) in urls.iter().zip(&nars) {
        assert_eq!(get(client, url).await, (StatusCode::OK, Some(nar.clone())), "{}", a.log());
        let part = client.get(url).header("Range", "bytes=1000-").send().await.unwrap();
        assert_eq!(part.status(), 206);
        assert_eq!(part.bytes().await.unwrap(), nar[1000..]);
        assert_eq!(client.head(url).send().await.unwrap().status(), 200);
        let other = url.replace(".zst", ".xz");
        assert_eq!(get(client, &other).await.0, 404, "a name is of one compression");
    }
    assert_eq!(upstream.nars(), asked, "all that came from the other mirror");
    corpus.substituted("a", &a.url(), large);

    // Nobody but the upstream is left.
    b.stop();
    let before = upstream.nars();
    assert_eq!(get(client, &urls[0]).await, (StatusCode::OK, Some(nars[0].clone())), "{}", a.log());
    assert_eq!(get(client, &urls[1]).await, (StatusCode::OK, Some(nars[1].clone())), "{}", a.log());
    assert_eq!(upstream.nars(), before + 2);

    // It lies about a small file, and no byte of that is passed on.
    let file = corpus.nar_file(small);
    flip(&file);
    assert_eq!(get(client, &urls[0]).await.0, StatusCode::SERVICE_UNAVAILABLE);
    std::fs::write(&file, &nars[0]).unwrap();

    // Held here at last; who has the narinfo from before asks for the file by its old name.
    scene.put_map(&map_of_both);
    a.until("both are held", |report| report.artifacts == 2).await;
    upstream.down(true);
    // It counts a moment before its old name leads to it; nobody else can give it now.
    for (url, nar) in urls.iter().zip(&nars) {
        let whole = (StatusCode::OK, Some(nar.clone()));
        eventually("it comes from here", async || (get(client, url).await == whole).then_some(())).await;
    }
}
