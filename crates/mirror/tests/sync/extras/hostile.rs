//! On a miss, from an upstream that does not behave: nothing of it is served or kept, and it is no 404 either.

use granary_nix::{SecretKey, StorePath};

use super::artifacts::{BUILD_ID, derivation, file_listing, member};
use super::{MIRROR, Scene, listing_name};
use crate::common::cache::xz;
use crate::common::{Cache, Reply};

const HEX: &str = "6c5822e05bbaef8c8ee3fe052b4a182496365912ca2925db92a8aa7afb072e60";

/// The names of each kind, for an artifact.
struct Names {
    listing: String,
    log: String,
    debuginfo: String,
    realisation: String,
    trace: String,
}

impl Names {
    fn of(path: &StorePath) -> Self {
        let drv = derivation("app");
        Self {
            listing: listing_name(path),
            log: format!("log/{}", drv.base_name()),
            debuginfo: format!("debuginfo/{BUILD_ID}"),
            realisation: format!("realisations/sha256:{HEX}!out.doi"),
            trace: format!("build-trace-v2/{}/out.doi", drv.base_name()),
        }
    }

    fn all(&self) -> [&str; 5] {
        let Self { listing, log, debuginfo, realisation, trace } = self;
        [listing, log, debuginfo, realisation, trace]
    }
}

async fn scene() -> (Scene, StorePath, Names) {
    let mut cache = Cache::new("test-1");
    let path = cache.add("app", &[]);
    cache.get(&path).info.deriver = Some(derivation("app"));
    let names = Names::of(&path);
    (Scene::new(MIRROR, cache).await, path, names)
}

/// Whatever was answered, nothing of it is left.
fn nothing_is_kept(scene: &Scene, names: &Names) {
    for name in names.all() {
        assert!(!scene.file(name).exists(), "{name}");
    }
    assert!(scene.is_tidy());
    crate::clean(scene.path(), &scene.cache.keys());
}

#[tokio::test]
async fn an_upstream_that_fails_is_never_a_404() {
    let (scene, _, names) = scene().await;
    let failures = [
        Reply::Status(500),
        Reply::Status(503),
        Reply::Status(401),
        Reply::Status(206),
        Reply::Silent,
        Reply::Stall(b"{".to_vec()),
        Reply::Cut { bytes: vec![b'x'; 1000], after: 10 },
        Reply::Encoded("rot13".into(), b"x".to_vec()),
        Reply::Encoded("xz".into(), b"not xz".to_vec()),
        Reply::Redirect("file:///etc/passwd".into()),
    ];
    for failure in failures {
        for name in names.all() {
            scene.upstream.set(name, failure.clone());
        }
        let answers = futures::future::join_all(names.all().map(|name| scene.ask(name))).await;
        let statuses: Vec<u16> = answers.iter().map(|(status, _)| status.as_u16()).collect();
        assert_eq!(statuses, [503; 5], "{failure:?}");
        nothing_is_kept(&scene, &names);
    }
}

#[tokio::test]
async fn what_has_no_end_or_grows_when_it_is_decoded_stops_at_the_bound_of_its_kind() {
    let (scene, _, names) = scene().await;
    // Above every bound but that of logs.
    let bomb = Reply::Encoded("xz".into(), xz(&vec![b' '; 33 << 20]));
    for name in names.all() {
        scene.upstream.set(name, Reply::Endless);
        assert_eq!(scene.ask(name).await.0, 503, "{name}");
        if *name != names.log {
            scene.upstream.set(name, bomb.clone());
            assert_eq!(scene.ask(name).await.0, 503, "{name}");
        }
        nothing_is_kept(&scene, &names);
    }
    scene.upstream.set(&names.log, Reply::Encoded("xz".into(), xz(&vec![b' '; 257 << 20])));
    assert_eq!(scene.ask(&names.log).await.0, 503);
    nothing_is_kept(&scene, &names);
}

#[tokio::test]
async fn a_document_that_is_wrong_is_not_served() {
    let (scene, path, names) = scene().await;
    let entry = |archive: &str, member: &str| format!(r#"{{"archive":"{archive}","member":"{member}"}}"#);
    let own = format!("../{}", scene.info(&path).url);
    let out = path.base_name();
    let realisation = |id: &str, sigs: &str| {
        format!(r#"{{"id":"sha256:{HEX}!{id}","outPath":"{out}","signatures":[{sigs}]}}"#)
    };
    // By another key under the trusted name.
    let forger = SecretKey::from_seed("test-1", &[9; 32]).unwrap();
    let sig = format!("\"{}\"", forger.sign("x"));
    let nested = r#"{"type":"directory","entries":{"a":"#.repeat(5000);
    let wrong = [
        (&names.listing, "<html>".to_owned()),
        (&names.listing, file_listing(3001)),
        (&names.listing, file_listing(3000).replace("\"version\":1", "\"version\":2")),
        (
            &names.listing,
            r#"{"version":1,"root":{"type":"directory","entries":{"..":{"type":"regular","size":3000}}}}"#
                .into(),
        ),
        (&names.listing, format!(r#"{{"version":1,"root":{nested}"#)),
        (&names.debuginfo, "[]".to_owned()),
        (&names.debuginfo, entry(&own, "../../../etc/passwd")),
        (&names.debuginfo, entry(&own, "/etc/passwd")),
        (&names.debuginfo, entry("../nar/../../../etc/passwd", &member(BUILD_ID))),
        (&names.debuginfo, entry("http://127.0.0.1/nar/x", &member(BUILD_ID))),
        (&names.debuginfo, entry(&own, &member(BUILD_ID))),
        (&names.realisation, "{".to_owned()),
        (&names.realisation, realisation("dev", "")),
        (&names.realisation, realisation("out", &sig)),
        (&names.realisation, realisation("out", "").replace(out, "../../etc/passwd")),
        (&names.trace, "{}".to_owned()),
        (&names.trace, format!(r#"{{"outPath":"{out}","signatures":[{sig}]}}"#)),
        (&names.trace, r#"{"outPath":"/etc/passwd","signatures":[]}"#.to_owned()),
    ];
    for (name, text) in wrong {
        scene.upstream.set(name, Reply::Bytes(text.clone().into()));
        let (status, body) = scene.ask(name).await;
        assert_eq!(status, 503, "{name}: {text:.200}");
        assert!(!String::from_utf8_lossy(&body).contains("passwd"));
        // The debug index alone may write the listing, from the NAR itself.
        let _ = std::fs::remove_file(scene.file(&names.listing));
        nothing_is_kept(&scene, &names);
        scene.upstream.set(name, Reply::Status(404));
    }
}

#[tokio::test]
async fn a_name_that_leads_elsewhere_is_not_even_asked_for() {
    let (scene, path, _) = scene().await;
    let drv = derivation("app");
    for name in [
        "",
        "../nix-cache-info",
        "nix-cache-info",
        ".granary/id",
        "log/../nix-cache-info",
        "log/../../../../etc/passwd",
        &format!("log/{}/../../nix-cache-info", drv.base_name()),
        &format!("log/{}", path.base_name()),
        "debuginfo/../nix-cache-info",
        &format!("debuginfo/{BUILD_ID}/x"),
        &format!("realisations/sha256:{HEX}!../../x.doi"),
        &format!("build-trace-v2/{}/../../x.doi", drv.base_name()),
        &format!("../{}", listing_name(&path)),
    ] {
        assert_eq!(scene.ask(name).await.0, 404, "{name}");
    }
    assert_eq!(scene.asked(), Vec::<String>::new());
}
