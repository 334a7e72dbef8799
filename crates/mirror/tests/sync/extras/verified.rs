//! What `verify` says about them.

use granary_mirror::extras::complete_fresh;
use granary_mirror::verify::{Finding, verify_tree};

use super::artifacts::{BUILD_ID, debug, debug_listing, derivation};
use super::{MAKE, Scene, listing_name};
use crate::common::{Cache, Reply};

const HEX: &str = "6c5822e05bbaef8c8ee3fe052b4a182496365912ca2925db92a8aa7afb072e60";

#[tokio::test]
async fn each_kind_of_fault_is_found_and_named() {
    let mut cache = Cache::new("test-1");
    let path = debug(&mut cache, "app-debug");
    let drv = derivation("app");
    cache.get(&path).info.deriver = Some(drv.clone());
    let scene = Scene::new(MAKE, cache).await;
    let realisation = format!("realisations/sha256:{HEX}!out.doi");
    let trace = format!("build-trace-v2/{}/out.doi", drv.base_name());
    let text = format!(r#"{{"id":"sha256:{HEX}!out","outPath":"{}","signatures":[]}}"#, path.base_name());
    scene.upstream.set(&realisation, Reply::Bytes(text.clone().into()));
    scene.upstream.set(&trace, Reply::Bytes(text.into()));
    scene.upstream.set(&format!("log/{}", drv.base_name()), Reply::Bytes(b"a log".to_vec()));
    complete_fresh(&scene.keeper).await;
    assert_eq!(scene.ask(&realisation).await.0, 200);
    assert_eq!(scene.ask(&trace).await.0, 200);
    let check = crate::clean(scene.path(), &scene.cache.keys());
    assert_eq!((check.extras, check.logs, check.notes), (5, 1, vec![]));

    let listing = listing_name(&path);
    let entry = format!("debuginfo/{BUILD_ID}");
    let moved = debug_listing().replace("824", "832");
    let renamed = debug_listing().replace(".debug\"", ".debog\"");
    let cases: [(&str, String, &str); 9] = [
        (&listing, "{".into(), "listing"),
        (&listing, debug_listing().replace("\"size\":3", "\"size\":30"), "listing"),
        // Only the NAR itself tells of these.
        (&listing, moved, "listing"),
        (&listing, renamed, "listing"),
        (&entry, "{}".into(), "debuginfo"),
        (
            &entry,
            String::from_utf8(scene.read(&entry).unwrap()).unwrap().replace("../nar/", "../nar/0"),
            "debuginfo",
        ),
        (&realisation, "[]".into(), "realisation"),
        (
            &realisation,
            String::from_utf8(scene.read(&realisation).unwrap()).unwrap().replace("!out", "!dev"),
            "realisation",
        ),
        (&trace, "x".into(), "realisation"),
    ];
    for (name, text, kind) in cases {
        let good = scene.read(name).unwrap();
        std::fs::write(scene.file(name), &text).unwrap();
        let faults = verify_tree(scene.path(), &scene.cache.keys()).unwrap().faults;
        let found: Vec<_> =
            faults.iter().map(|Finding { path, kind, .. }| (path.as_str(), kind.as_str())).collect();
        assert_eq!(found, [(name, kind)], "{text}");
        std::fs::write(scene.file(name), good).unwrap();
    }

    std::fs::write(scene.file("log/notes.txt"), "x").unwrap();
    std::fs::write(scene.file(&listing_name(&drv)), debug_listing()).unwrap();
    let check = verify_tree(scene.path(), &scene.cache.keys()).unwrap();
    let mut notes: Vec<_> = check.notes.iter().map(|note| (note.path.clone(), note.kind.as_str())).collect();
    notes.sort();
    let mut expected = vec![("log/notes.txt".to_owned(), "stray"), (listing_name(&drv), "orphan")];
    expected.sort();
    assert_eq!((check.faults, notes), (vec![], expected));
}
