//! Clients, one and many.

use std::sync::Arc;
use std::time::Duration;

use granary_nix::{Hash, NarInfo, SecretKey};
use reqwest::StatusCode;

use super::PullThrough;
use crate::support::{Mirror, Site, Upstream, config, eventually, folder, tools};

#[tokio::test(flavor = "multi_thread")]
async fn nix_substitutes_what_nobody_wanted_before_and_again_when_the_upstream_is_gone() {
    let Some(pull) = PullThrough::start().await else { return };
    pull.substitute("first");
    pull.published(4).await;
    assert_eq!(pull.scene.upstream.nars(), 4, "each NAR file once");

    pull.scene.upstream.down(true);
    pull.substitute("second");
    assert_eq!(pull.scene.upstream.nars(), 4);
    assert!(pull.verify().contains("4 artifacts"));

    // What is not here may exist.
    let other = format!("{}.narinfo", "0".repeat(32));
    let answer = pull.mirror.get(&other).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers().contains_key("retry-after"));
    pull.scene.upstream.down(false);
    let absent = eventually("the upstream is asked again", async || {
        Some(pull.mirror.status(&other).await).filter(|status| *status != 503)
    })
    .await;
    assert_eq!(absent, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn dozens_of_clients_at_once_cost_the_upstream_one_fetch_for_each_nar() {
    let Some(pull) = PullThrough::start().await else { return };
    let pull = Arc::new(pull);
    let clients = (0..24).map(|number| {
        let pull = Arc::clone(&pull);
        tokio::task::spawn_blocking(move || pull.substitute(&format!("client-{number}")))
    });
    for client in futures::future::join_all(clients).await {
        client.unwrap();
    }
    assert_eq!(pull.scene.upstream.nars(), 4, "{}", pull.mirror.log());
    pull.published(4).await;
    pull.verify();
}

/// Far more look-ups than go on at once, at an upstream that takes long for each, so that the last would wait for longer than
/// nginx does: nobody is told that there is no such narinfo.
#[tokio::test(flavor = "multi_thread")]
async fn look_ups_that_would_wait_too_long_are_to_be_tried_again_and_are_not_absent() {
    if !tools() {
        return;
    }
    let folder = folder();
    let key = SecretKey::from_seed("test-1", &[7; 32]).unwrap();
    let cache = folder.path().join("cache");
    std::fs::create_dir(&cache).unwrap();
    let names: Vec<String> = (0..600).map(|number| format!("{number:0>32}")).collect();
    for name in &names {
        let text = format!(
            "StorePath: /nix/store/{name}-x\nURL: nar/{name}.nar\nCompression: none\nNarHash: {}\nNarSize: 9\nReferences: \n",
            Hash::of(name.as_bytes())
        );
        let info: NarInfo = text.parse().unwrap();
        let text = format!("{text}Sig: {}\n", key.sign(&info.fingerprint()));
        std::fs::write(cache.join(format!("{name}.narinfo")), text).unwrap();
    }
    let upstream = Upstream::serve(&cache).await;
    let site = Site::new(folder.path(), "through");
    config(&site, &upstream.url, &key.public_key().to_string(), "pullThrough: {maxSize: 1Gi}");
    let mirror = Mirror::run(site);
    mirror.synced().await;

    let ask = async |name: &String| {
        let answer = mirror.get(&format!("{name}.narinfo")).await;
        let retry = answer.headers().contains_key("retry-after");
        (answer.status(), retry, answer.text().await.unwrap())
    };
    upstream.think(Duration::from_secs(4));
    let all = futures::future::join_all(names.iter().map(ask)).await;
    let mut waited = 0;
    for (status, retry, words) in all {
        if status != StatusCode::OK {
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{words}");
            // The agent's word, before nginx gives it up.
            assert!(retry && words.contains("not all upstreams answer"), "{words}");
            waited += 1;
        }
    }
    assert!(waited > 0, "they were all answered at once");
    upstream.think(Duration::ZERO);
    for name in &names {
        assert_eq!(ask(name).await.0, StatusCode::OK, "{name}");
    }
}
