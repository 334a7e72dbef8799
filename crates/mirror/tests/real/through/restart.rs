//! Ends, good and bad, and what is there after them.

use super::PullThrough;
use crate::support::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_a_nar_comes_the_tree_is_valid_and_goes_on() {
    let Some(mut pull) = PullThrough::start().await else { return };
    let large = &pull.artifacts[1];
    let (narinfo, nar) = (large.narinfo(), pull.scene.corpus.narinfo(large).url);
    assert_eq!(pull.mirror.status(&narinfo).await, 200);
    pull.scene.upstream.slow(true);
    let mut body = pull.mirror.get(&nar).await;
    assert_eq!(body.status(), 200);
    assert_eq!(body.headers()["accept-ranges"], "bytes");
    assert!(body.content_length().is_some() && body.headers().contains_key("etag"));
    body.chunk().await.unwrap().unwrap();
    pull.mirror.kill();
    pull.verify();
    let cut = async {
        while body.chunk().await?.is_some() {}
        Ok::<_, reqwest::Error>(())
    };
    assert!(cut.await.is_err(), "a body that is not whole does not end well");

    pull.scene.upstream.slow(false);
    let _old = pull.restart().await;
    pull.substitute("after");
    pull.published(4).await;
    pull.verify();
    let parts = pull.scene.upstream.parts();
    assert!(matches!(parts[..], [start] if start > 0), "what had come is not fetched again: {parts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nginx_serves_by_itself_is_an_access() {
    let Some(mut pull) = PullThrough::start().await else { return };
    pull.substitute("first");
    pull.published(4).await;
    assert_eq!(pull.mirror.stop(), Some(0), "{}", pull.mirror.log());
    let state = pull.mirror.site.tree().join(".granary");
    let hour = |hash: &str| {
        let text = std::fs::read_to_string(state.join("access/hours")).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(hash)).map(str::to_owned);
        line.unwrap_or_else(|| panic!("{hash} is not in {text}")).trim().parse::<u32>().unwrap()
    };
    let [_, large, small, _] = &pull.artifacts;
    let (large, small) = (large.hash_part().to_owned(), small.hash_part().to_owned());
    assert_eq!(hour(&large), 0, "it has run for less than an hour");
    std::fs::write(state.join("access/hours"), format!("clock 3600000\n{large} 7\n{small} 7\n")).unwrap();

    let _old = pull.restart().await;
    // By its narinfo the one, by its NAR file the other.
    let paths = [format!("{large}.narinfo"), pull.scene.corpus.narinfo(&pull.artifacts[2]).url];
    for path in paths {
        eventually("nginx writes it down", async || {
            assert_eq!(pull.mirror.status(&path).await, 200);
            let record = std::fs::read_to_string(state.join("front/access.log")).ok()?;
            record.contains(path.trim_end_matches(".narinfo")).then_some(())
        })
        .await;
    }
    assert_eq!(pull.mirror.stop(), Some(0), "{}", pull.mirror.log());
    assert_eq!((hour(&large), hour(&small)), (1000, 1000));
}
