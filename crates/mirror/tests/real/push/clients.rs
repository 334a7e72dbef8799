//! Clients that push right and wrong.

use std::fs;

use http::StatusCode;

use super::Fixture;
use crate::support::{TOKEN, line_of};

/// As a pass tells of what it publishes and refuses.
#[tokio::test]
async fn each_pushed_artifact_has_one_line_in_the_log() {
    let Some(fixture) = Fixture::start("50Mi").await else { return };
    let Fixture { library, app, mirror, .. } = &fixture;
    let (narinfo, nar, url) = fixture.pair(library);
    assert_eq!(fixture.put(&url, nar.clone()).await.0, StatusCode::CREATED);
    assert_eq!(fixture.put(&library.narinfo(), narinfo.into()).await.0, StatusCode::CREATED);
    let (narinfo, mut bad, url) = fixture.pair(app);
    bad[60] ^= 1;
    assert_eq!(fixture.put(&url, bad).await.0, StatusCode::CREATED);
    let (status, words) = fixture.put(&app.narinfo(), narinfo.into()).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{words}");
    // What cannot even be read is told by its hash part.
    let unreadable = "0".repeat(32);
    let (status, _) = fixture.put(&format!("{unreadable}.narinfo"), b"x".to_vec()).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);

    let lines = mirror.lines_about(&[&library.path, &app.path, &unreadable]).await;
    let published = line_of(&lines, &library.path);
    assert_eq!((&published["message"], &published["source"]), (&"published".into(), &"push by ci".into()));
    assert_eq!(published["bytes"], nar.len());
    for (path, reason) in [(&app.path, "file-hash"), (&unreadable, "bad-narinfo")] {
        let line = line_of(&lines, path);
        assert_eq!((&line["message"], &line["reason"]), (&"refused".into(), &reason.into()), "{line}");
        assert_eq!(line["source"], "push by ci");
        assert!(line["fault"].as_str().is_some_and(|fault| !fault.is_empty()), "{line}");
    }

    // A pass, which looks at nothing that was pushed, does not make it forgotten.
    let last = mirror.report().await.unwrap().policies[0].last_pass.clone();
    let after = mirror.until("a pass ends", |report| report.policies[0].last_pass != last).await;
    let refused: Vec<_> = after.refused.iter().map(|refusal| refusal.store_path.as_str()).collect();
    assert_eq!(refused, [unreadable.as_str(), app.path.as_str()]);
}

#[tokio::test]
async fn what_is_pushed_is_verified_and_never_takes_the_place_of_what_is_here() {
    let Some(fixture) = Fixture::start("50Mi").await else { return };
    let Fixture { library, app, mirror, scene } = &fixture;
    let client = &scene.client;
    let (narinfo, nar, url) = fixture.pair(library);
    let name = library.narinfo();

    // Its NAR is not here; its reference is not here; it is about another path.
    let (status, words) = fixture.put(&name, narinfo.clone().into()).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(words.contains("has not been uploaded"), "{words}");
    let (app_narinfo, app_nar, app_url) = fixture.pair(app);
    let app_name = app.narinfo();
    assert_eq!(fixture.put(&app_url, app_nar.clone()).await.0, StatusCode::CREATED);
    let (status, words) = fixture.put(&app_name, app_narinfo.clone().into()).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(words.contains(&format!("{} is not here; push that first", library.path)), "{words}");
    let (status, words) = fixture.put(&name, app_narinfo.clone().into()).await;
    assert!(status == StatusCode::UNPROCESSABLE_ENTITY && words.contains("wrong-path"), "{words}");

    // A flipped bit.
    let mut flipped = nar.clone();
    flipped[1_000_000] ^= 1;
    assert_eq!(fixture.put(&url, flipped).await.0, StatusCode::CREATED);
    let (status, words) = fixture.put(&name, narinfo.clone().into()).await;
    assert!(status == StatusCode::UNPROCESSABLE_ENTITY && words.contains("file-hash"), "{words}");
    assert!(!fixture.is_visible(library));
    let record = mirror.site.tree().join(format!(".granary/quarantine/{}.json", library.hash_part()));
    let report = mirror.report().await.unwrap();
    assert!(
        record.exists() || report.refused.iter().any(|refusal| refusal.source == "push by ci"),
        "{report:?}"
    );

    // The right bytes, in chunks; then it is there, and may be sent again.
    let chunks: Vec<Result<Vec<u8>, std::io::Error>> =
        nar.chunks(100_000).map(|chunk| Ok(chunk.to_vec())).collect();
    let body = reqwest::Body::wrap_stream(futures::stream::iter(chunks));
    let request = client.put(format!("{}/{url}", mirror.url())).basic_auth("x", Some(TOKEN)).body(body);
    assert_eq!(request.send().await.unwrap().status(), StatusCode::CREATED);
    assert_eq!(fixture.status(&name).await, StatusCode::NOT_FOUND, "a NAR file alone shows nothing");
    assert_eq!(fixture.status(&url).await, StatusCode::NOT_FOUND);
    let (status, words) = fixture.put(&name, narinfo.clone().into()).await;
    assert_eq!(status, StatusCode::CREATED, "{words}");
    assert_eq!(fixture.status(&url).await, StatusCode::OK);
    assert_eq!(fixture.put(&url, nar).await.0, StatusCode::CREATED);
    assert_eq!(fixture.put(&name, narinfo.clone().into()).await.0, StatusCode::OK);
    assert_eq!(fixture.put(&app_name, app_narinfo.into()).await.0, StatusCode::CREATED);

    // Another build of the same path, signed as well.
    let secret = fs::read_to_string(&scene.corpus.secret).unwrap();
    let key: granary_nix::SecretKey = secret.trim().parse().unwrap();
    let mut other: granary_nix::NarInfo = narinfo.parse().unwrap();
    other.nar_hash = granary_nix::Hash::of(b"another build");
    other.sigs = vec![key.sign(&other.fingerprint())];
    let (status, words) = fixture.put(&name, other.to_text().into()).await;
    assert!(status == StatusCode::CONFLICT && words.contains("is here with other content"), "{words}");

    // What is no artifact is not taken, and nothing else is as it was without push.
    for path in ["nix-cache-info", "log/x.drv", ".granary/id", "nar/.hidden", "x"] {
        assert_eq!(fixture.put(path, b"x".to_vec()).await.0, StatusCode::METHOD_NOT_ALLOWED, "{path}");
    }
    let url = format!("{}/{name}", mirror.url());
    assert_eq!(
        client.delete(&url).bearer_auth(TOKEN).send().await.unwrap().status(),
        StatusCode::METHOD_NOT_ALLOWED
    );
    assert_eq!(
        client.post(&url).bearer_auth(TOKEN).send().await.unwrap().status(),
        StatusCode::METHOD_NOT_ALLOWED
    );
    assert_eq!(client.put(&url).body("x").send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
}
