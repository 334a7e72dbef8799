//! Realisations and build traces.

use std::fs;

use granary_nix::realisation::Realisation;
use granary_nix::{NarInfo, SecretKey};
use http::StatusCode;

use super::super::Fixture;
use super::DRV;
use crate::support::names;

const HEX: &str = "6c5822e05bbaef8c8ee3fe052b4a182496365912ca2925db92a8aa7afb072e60";

#[tokio::test]
async fn a_realisation_must_be_of_its_output_and_of_what_is_here_and_does_not_change() {
    let Some(fixture) = Fixture::start("50Mi").await else { return };
    let out = fixture.library.path.trim_start_matches("/nix/store/").to_owned();
    let name = format!("realisations/sha256:{HEX}!out.doi");
    let text = |out: &str, sigs: &str| {
        format!(
            r#"{{"dependentRealisations":{{}},"id":"sha256:{HEX}!out","outPath":"{out}","signatures":[{sigs}]}}"#
        )
    };
    let (status, words) = fixture.put(&name, text(&out, "").into()).await;
    assert!(status == StatusCode::UNPROCESSABLE_ENTITY && words.contains("push that first"), "{words}");
    fixture.push_library().await;

    let secret = fs::read_to_string(&fixture.scene.corpus.secret).unwrap();
    let key: SecretKey = secret.trim().parse().unwrap();
    let forger = SecretKey::from_seed("test-1", &[9; 32]).unwrap();
    let signed = |key: &SecretKey| {
        let realisation = Realisation::parse(text(&out, "").as_bytes()).unwrap();
        text(&out, &format!("\"{}\"", key.sign(&realisation.signed_text())))
    };
    for wrong in [
        "{".to_owned(),
        text("../../etc/passwd", ""),
        text(&out, "").replace("!out", "!dev"),
        signed(&forger),
        text(&out, "")
            .replace("\"signatures\"", &format!("\"x\":\"{}\",\"signatures\"", "x".repeat(1 << 20))),
    ] {
        let status = fixture.put(&name, wrong.clone().into()).await.0;
        let refused = [StatusCode::UNPROCESSABLE_ENTITY, StatusCode::PAYLOAD_TOO_LARGE].contains(&status);
        assert!(refused && fixture.read(&name).is_none(), "{status}: {wrong:.300}");
    }
    // As Nix 2.34 spells it; signed by whom the mirror trusts.
    let spelled = name.replace('!', "%21");
    assert_eq!(fixture.put(&spelled, signed(&key).into()).await.0, StatusCode::CREATED);
    for spelled in [&name, &spelled] {
        assert_eq!(fixture.get(spelled).await, (StatusCode::OK, signed(&key).into_bytes()));
    }
    assert_eq!(fixture.put(&name, text(&out, "").into()).await.0, StatusCode::OK);
    let own = names(&fixture.mirror.site.tree());
    let own = own.iter().filter_map(|name| name.strip_suffix(".narinfo"));
    let own = own.filter(|hash| *hash != fixture.library.hash_part()).collect::<Vec<_>>();
    let own: NarInfo =
        String::from_utf8(fixture.read(&format!("{}.narinfo", own[0])).unwrap()).unwrap().parse().unwrap();
    let (status, words) = fixture.put(&name, text(own.store_path.base_name(), "").into()).await;
    assert!(status == StatusCode::CONFLICT && words.contains("names another path"), "{words}");
    assert_eq!(fixture.read(&name), Some(signed(&key).into_bytes()));

    // Most have no signature, and the artifact has its own.
    let trace = format!("build-trace-v2/{DRV}/out.doi");
    let entry = format!(r#"{{"outPath":"{out}","signatures":[]}}"#);
    assert_eq!(fixture.put(&trace, entry.clone().into()).await.0, StatusCode::CREATED);
    assert_eq!(fixture.get(&trace).await, (StatusCode::OK, entry.into_bytes()));
}
