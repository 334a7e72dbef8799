//! Listings, and the debug index.

use std::fs;

use http::StatusCode;

use super::super::Fixture;
use super::gzip;
use crate::support::{Artifact, BUILD_ID, Corpus, text};

/// The listing that Nix makes of an artifact, in another cache.
fn listing(fixture: &Fixture, artifact: &Artifact) -> Vec<u8> {
    let Corpus { nix, root, secret, .. } = &fixture.scene.corpus;
    let cache = fixture.scene.path().join("listed");
    let to = format!("file://{}?write-nar-listing=true&secret-key={}", cache.display(), secret.display());
    nix.ask(&["copy", "--no-check-sigs", "--from", text(root), "--to", &to, &artifact.path]);
    fs::read(cache.join(format!("{}.ls", artifact.hash_part()))).unwrap()
}

#[tokio::test]
async fn a_listing_waits_unseen_for_its_artifact_and_what_is_no_listing_of_it_is_dropped() {
    let Some(fixture) = Fixture::start("50Mi").await else { return };
    let (library, app) = (&fixture.library, &fixture.app);
    let [library_name, app_name] = [library, app].map(|artifact| format!("{}.ls", artifact.hash_part()));
    let good = listing(&fixture, library);

    let (status, words) = fixture.put(&library_name, b"<html>".to_vec()).await;
    assert!(status == StatusCode::UNPROCESSABLE_ENTITY && words.contains(&library_name), "{words}");
    assert_eq!(fixture.put_encoded(&library_name, "gzip", gzip(&good)).await, StatusCode::CREATED);
    // It is the library's, and so it is not the application's: which only the narinfo tells.
    assert_eq!(fixture.put(&app_name, good.clone()).await.0, StatusCode::CREATED);
    assert_eq!(fixture.incoming().len(), 2);
    assert_eq!(fixture.get(&library_name).await.0, StatusCode::NOT_FOUND, "nothing is seen before");
    assert!(fixture.read(&library_name).is_none());

    fixture.push_library().await;
    assert_eq!(fixture.get(&library_name).await, (StatusCode::OK, good.clone()));
    let (narinfo, nar, url) = fixture.pair(app);
    assert_eq!(fixture.put(&url, nar).await.0, StatusCode::CREATED);
    let status = fixture.put(&app.narinfo(), narinfo.into()).await.0;
    assert_eq!(status, StatusCode::CREATED, "what stands beside it refuses no artifact");
    assert!(fixture.read(&app_name).is_none() && fixture.incoming().is_empty());

    // From now on they are checked at once, and what is here stays.
    let (status, words) = fixture.put(&app_name, good.clone()).await;
    assert!(status == StatusCode::UNPROCESSABLE_ENTITY && words.contains("it lists a NAR of"), "{words}");
    assert_eq!(fixture.put(&app_name, listing(&fixture, app)).await.0, StatusCode::CREATED);
    assert_eq!(fixture.put(&library_name, b"{}".to_vec()).await.0, StatusCode::OK);
    assert_eq!(fixture.read(&library_name), Some(good));
    // Taken for what it is: all that is known of it is in the NAR.
    assert_eq!(
        fixture.put(&format!("debuginfo/{BUILD_ID}"), b"{}".to_vec()).await.0,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    let entry = |nar: &str| {
        let member = format!("lib/debug/.build-id/{}/{}.debug", &BUILD_ID[..2], &BUILD_ID[2..]);
        format!(r#"{{"archive":"../{nar}","member":"{member}"}}"#)
    };
    let nar = fixture.mirror.nar_name(app).await;
    let (status, words) = fixture.put(&format!("debuginfo/{BUILD_ID}"), entry(&nar).into()).await;
    assert!(status == StatusCode::UNPROCESSABLE_ENTITY && words.contains("has no such debug"), "{words}");
    let long = format!("nar/{}", "n".repeat(300));
    let status = fixture.put(&format!("debuginfo/{BUILD_ID}"), entry(&long).into()).await.0;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
}
