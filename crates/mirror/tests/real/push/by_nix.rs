//! `nix copy --to http://…`.

use std::fs;
use std::process::Output;

use http::StatusCode;

use super::Fixture;
use crate::support::{TOKEN, eventually, put_half, succeeded};

fn failed(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{error}");
    error
}

#[tokio::test]
async fn nix_copies_to_it_and_another_store_substitutes_from_it() {
    let Some(fixture) = Fixture::start("50Mi").await else { return };
    let Fixture { library, app, mirror, scene, .. } = &fixture;
    let corpus = &scene.corpus;

    // Without the token, and without a signature: refused, in words.
    let error = failed(&fixture.copy("0123456789abcdef0123456789abcdee", &fixture.signed()));
    assert!(error.contains("401") && error.contains("with a token only"), "{error}");
    assert!(fixture.incoming().is_empty() && !fixture.is_visible(library));
    let error = failed(&fixture.copy(TOKEN, ""));
    assert!(error.contains("422") && error.contains("unsigned: "), "{error}");
    assert!(!fixture.is_visible(library) && !fixture.is_visible(app));
    assert!(fixture.incoming().is_empty(), "what is refused for good does not wait");

    succeeded(&fixture.copy(TOKEN, &fixture.signed()));
    assert!(fixture.is_visible(library) && fixture.is_visible(app) && fixture.incoming().is_empty());
    assert_eq!(fixture.status(&mirror.nar_name(library).await).await, StatusCode::OK);

    corpus.substituted("other", &mirror.url(), app);
    corpus.nix.has("other", library);

    // Everything once more, with listings, which are not too late.
    let options = format!("{}&write-nar-listing=true", fixture.signed());
    succeeded(&fixture.copy(TOKEN, &options));
    let report = mirror.report().await.unwrap();
    assert_eq!(report.artifacts, 3, "{report:?}");
    let counted = [
        "granary_mirror_pushed_total 2",
        "granary_mirror_push_refused_total{reason=\"unauthorized\"} 1",
        "granary_mirror_push_refused_total{reason=\"invalid\"} 1",
    ];
    mirror.has_metrics(&counted).await;
    assert!(!mirror.log().contains(TOKEN), "no secret is logged");

    // Passes leave it in place, and the tree is a valid cache.
    let kept = mirror.site.tree().join(".granary/kept").join(app.hash_part());
    assert_eq!(fs::read_to_string(kept).unwrap(), "push ci\n");
    mirror.verified(&corpus.key);
}

#[tokio::test]
async fn a_client_that_dies_in_the_middle_leaves_nothing() {
    let Some(fixture) = Fixture::start("50Mi").await else { return };
    let Fixture { library, mirror, .. } = &fixture;
    let (_, nar, url) = fixture.pair(library);
    let socket = put_half(mirror.site.http, &url, &nar);
    let half = || {
        let sizes = fixture.incoming().into_iter().filter_map(|path| Some(fs::metadata(path).ok()?.len()));
        sizes.sum::<u64>()
    };
    eventually("half of it is streamed through nginx", async || (half() > 1_000_000).then_some(())).await;
    assert_eq!(fixture.status(&url).await, StatusCode::NOT_FOUND);
    drop(socket);
    eventually("the half is removed", async || fixture.incoming().is_empty().then_some(())).await;
    assert!(!fixture.is_visible(library));

    succeeded(&fixture.copy(TOKEN, &fixture.signed()));
    assert!(fixture.is_visible(library));
}

#[tokio::test]
async fn over_its_quota_a_push_is_refused_in_words_and_serving_goes_on() {
    let Some(fixture) = Fixture::start("1Mi").await else { return };
    let error = failed(&fixture.copy(TOKEN, &fixture.signed()));
    assert!(error.contains("413") && error.contains("push.maxSize is used up: 1.0 MiB are left"), "{error}");
    assert!(fixture.incoming().is_empty() && !fixture.is_visible(&fixture.library));
    assert_eq!(fixture.status("nix-cache-info").await, StatusCode::OK);
}
