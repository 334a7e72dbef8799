//! What must vouch for a narinfo, by upstream: so many keys, or its content address. What was taken under a rule stands as
//! long as the rule does, and no longer.

use std::path::Path;

use granary_fetch::{Source, SourceKind};
use granary_mirror::verify::verify_tree;
use granary_nix::{Hash, NarInfo, PublicKeys, SecretKey, StorePath, Trust, TrustRule};
use granary_placement::report::RefusalReason;

use super::common::cache::{nar, xz};
use super::common::{Cache, Reply, Upstream, job, mirror, source};
use super::{clean, is_visible, reason};

fn key(name: &str) -> SecretKey {
    SecretKey::from_seed(name, Hash::of(name.as_bytes()).as_bytes()).unwrap()
}

fn keys(names: &[&str]) -> PublicKeys {
    names.iter().map(|name| key(name).public_key()).collect()
}

fn source_under(upstream: &Upstream, rule: &TrustRule) -> Source {
    Source::new(upstream.url().parse().unwrap(), rule.clone(), 40, SourceKind::Upstream)
}

fn signed_by(info: &NarInfo, names: &[&str]) -> NarInfo {
    let fingerprint = info.fingerprint();
    NarInfo { sigs: names.iter().map(|name| key(name).sign(&fingerprint)).collect(), ..info.clone() }
}

fn serve(upstream: &Upstream, info: &NarInfo) {
    let text = info.to_text().into_bytes();
    upstream.set(&info.store_path.hash_part().narinfo_name(), Reply::Bytes(text));
}

/// The kinds of faults of the narinfo of `path` in the tree.
fn faults(directory: &Path, path: &StorePath, trust: impl Into<Trust>) -> Vec<&'static str> {
    let faults = verify_tree(directory, trust).unwrap().faults;
    let of = |name: String| {
        let here = faults.iter().filter(move |fault| fault.path == name);
        here.map(|fault| fault.kind.as_str())
    };
    of(path.hash_part().narinfo_name()).collect()
}

#[tokio::test]
async fn two_of_three_builders_must_have_signed() {
    let mut cache = Cache::new("a-1");
    let paths = ["both", "twice", "one", "forged"].map(|name| cache.add(name, &[]));
    let upstream = Upstream::of(&cache).await;
    let signers = [&["a-1", "c-1"][..], &["a-1", "a-1"], &["b-1", "stranger-1"], &["a-1"]];
    for (path, signers) in paths.iter().zip(signers) {
        let mut info = signed_by(&cache.get(path).info, signers);
        if path.name() == "forged" {
            info.sigs.push(key("b-1").sign("something else"));
        }
        serve(&upstream, &info);
    }
    let rule = TrustRule { keys: keys(&["a-1", "b-1", "c-1"]), signatures: 2, content_addressed: false };
    let directory = tempfile::tempdir().unwrap();
    let (_tree, syncer) = mirror(directory.path());
    let outcome = syncer.pass(&job(vec![source_under(&upstream, &rule)], &paths.each_ref()), &()).await;
    assert!(is_visible(directory.path(), &paths[0]));
    for path in &paths[1..] {
        assert_eq!(reason(&outcome, path), Some(RefusalReason::UntrustedKey), "{path}");
        assert!(!is_visible(directory.path(), path));
    }
    assert!(
        outcome.refused[0].message.contains("1 of the 2 different trusted keys"),
        "{:?}",
        outcome.refused
    );
    clean(directory.path(), rule.clone());

    // Under a stricter rule, what stands is faulty, and is not kept as good.
    let all = TrustRule { signatures: 3, ..rule };
    assert_eq!(faults(directory.path(), &paths[0], all.clone()), ["untrusted-key"]);
    let outcome = syncer.pass(&job(vec![source_under(&upstream, &all)], &[&paths[0]]), &()).await;
    assert_eq!(reason(&outcome, &paths[0]), Some(RefusalReason::UntrustedKey), "{outcome:#?}");
    assert_eq!(outcome.policies[0].verified, 0);
}

#[tokio::test]
async fn what_one_upstream_may_say_another_may_not() {
    let mut cache = Cache::new("a-1");
    let path = cache.add("p", &[]);
    let (strict, loose) = (Upstream::of(&cache).await, Upstream::of(&cache).await);
    let of = |upstream: &Upstream, names: &[&str], signatures| {
        source_under(upstream, &TrustRule { keys: keys(names), signatures, content_addressed: false })
    };
    let directory = tempfile::tempdir().unwrap();
    let (tree, syncer) = mirror(directory.path());
    let sources = vec![of(&strict, &["a-1", "b-1"], 2), of(&loose, &["other-1"], 1)];
    let outcome = syncer.pass(&job(sources, &[&path]), &()).await;
    assert_eq!(outcome.refused.len(), 1, "one key of each does not make two");
    let sources = vec![of(&strict, &["a-1", "b-1"], 2), of(&loose, &["a-1"], 1)];
    let outcome = syncer.pass(&job(sources.clone(), &[&path]), &()).await;
    assert!(outcome.is_synced() && outcome.refused.is_empty(), "{outcome:#?}");
    // On our disk both rules hold, and it is not asked for again.
    strict.take_asked();
    loose.take_asked();
    drop((tree, syncer));
    let (_tree, syncer) = mirror(directory.path());
    assert!(syncer.pass(&job(sources, &[&path]), &()).await.is_synced());
    assert_eq!((strict.take_asked(), loose.take_asked()), (vec![], vec![]));
}

#[tokio::test]
async fn unsigned_paths_that_are_named_by_their_content_are_taken_where_that_is_accepted() {
    let mut cache = Cache::new("test-1");
    let paths = [
        cache.add_addressed("text", "text:", b"a derivation"),
        cache.add_addressed("flat", "fixed:", b"a file"),
        cache.add_addressed("nar", "fixed:r:", b"a tree"),
    ];
    let signed = cache.add("signed", &[]);
    let upstream = Upstream::of(&cache).await;
    let accept = TrustRule { keys: cache.keys(), signatures: 1, content_addressed: true };
    let refuse = TrustRule::signed(cache.keys());
    let wanted: Vec<&StorePath> = paths.iter().chain([&signed]).collect();

    let directory = tempfile::tempdir().unwrap();
    let (tree, syncer) = mirror(directory.path());
    let outcome = syncer.pass(&job(vec![source_under(&upstream, &refuse)], &wanted), &()).await;
    for path in &paths {
        assert_eq!(reason(&outcome, path), Some(RefusalReason::Unsigned), "not accepted unless asked for");
    }
    let outcome = syncer.pass(&job(vec![source_under(&upstream, &accept)], &wanted), &()).await;
    assert!(outcome.is_synced() && outcome.refused.is_empty(), "{outcome:#?}");

    // Everything that reads the tree agrees, under the same rule.
    assert_eq!(clean(directory.path(), accept.clone()).artifacts, 4);
    for path in &paths {
        assert_eq!(faults(directory.path(), path, refuse.clone()), ["unsigned"], "{path}");
    }
    assert_eq!(faults(directory.path(), &signed, refuse.clone()), [""; 0]);
    upstream.take_asked();
    drop((tree, syncer));
    let (_tree, syncer) = mirror(directory.path());
    assert!(syncer.pass(&job(vec![source_under(&upstream, &accept)], &wanted), &()).await.is_synced());
    assert_eq!(upstream.take_asked(), [], "what is on the disk is still trusted after a restart");
    let outcome = syncer.pass(&job(vec![source_under(&upstream, &refuse)], &wanted), &()).await;
    assert_eq!(outcome.refused.len(), 3, "and under another rule it is not");
}

#[tokio::test]
async fn a_content_address_that_does_not_fit_is_no_signature() {
    for address in ["text:", "fixed:", "fixed:r:"] {
        let mut cache = Cache::new("test-1");
        let path = cache.add_addressed("p", address, b"the truth");
        let upstream = Upstream::of(&cache).await;
        let accept = TrustRule { keys: cache.keys(), signatures: 1, content_addressed: true };
        let info = cache.get(&path).info.clone();
        // Another file, with every hash that the narinfo states about it.
        let lie = nar(b"a falsehood");
        let file = xz(&lie);
        let lying = NarInfo {
            nar_hash: Hash::of(&lie),
            nar_size: lie.len() as u64,
            file_hash: Some(Hash::of(&file)),
            file_size: Some(file.len() as u64),
            ..info.clone()
        };
        upstream.set(&info.url, Reply::Bytes(file.clone()));
        let other = NarInfo { ca: Some(format!("{address}{}", Hash::of(b"other"))), ..lying.clone() };
        let none = NarInfo { ca: None, ..lying.clone() };
        // Only a NAR's address says everything before the NAR is there; the others need the file in it.
        let of_lying = if address == "fixed:r:" { RefusalReason::Unsigned } else { RefusalReason::NarHash };
        for (info, expected) in
            [(&lying, of_lying), (&other, RefusalReason::Unsigned), (&none, RefusalReason::Unsigned)]
        {
            serve(&upstream, info);
            let directory = tempfile::tempdir().unwrap();
            let (_tree, syncer) = mirror(directory.path());
            let outcome = syncer.pass(&job(vec![source_under(&upstream, &accept)], &[&path]), &()).await;
            assert_eq!(reason(&outcome, &path), Some(expected), "{address} {info:?}\n{outcome:#?}");
            assert!(!is_visible(directory.path(), &path));
        }
    }
}

#[tokio::test]
async fn a_signature_does_not_make_up_for_a_content_address_of_another_path() {
    let mut cache = Cache::new("test-1");
    let (path, other) = (cache.add("p", &[]), cache.add_addressed("other", "fixed:r:", b"another"));
    cache.get(&path).info.ca = cache.get(&other).info.ca.clone();
    cache.sign(&path);
    cache.sign(&other);
    let upstream = Upstream::of(&cache).await;
    for content_addressed in [false, true] {
        let rule = TrustRule { keys: cache.keys(), signatures: 1, content_addressed };
        let directory = tempfile::tempdir().unwrap();
        let (_tree, syncer) = mirror(directory.path());
        let outcome = syncer.pass(&job(vec![source_under(&upstream, &rule)], &[&path, &other]), &()).await;
        assert_eq!(reason(&outcome, &path), Some(RefusalReason::BadNarinfo), "{outcome:#?}");
        assert!(!is_visible(directory.path(), &path) && is_visible(directory.path(), &other));
        clean(directory.path(), rule);
    }
}

#[tokio::test]
async fn a_file_that_changed_on_the_disk_is_not_what_its_content_address_says() {
    let mut cache = Cache::new("test-1");
    let path = cache.add_addressed("p", "text:", b"the truth");
    let upstream = Upstream::of(&cache).await;
    let accept = TrustRule { keys: cache.keys(), signatures: 1, content_addressed: true };
    let directory = tempfile::tempdir().unwrap();
    let (_tree, syncer) = mirror(directory.path());
    assert!(syncer.pass(&job(vec![source_under(&upstream, &accept)], &[&path]), &()).await.is_synced());
    // Somebody replaces narinfo and NAR by others that fit each other.
    let (info, lie) = (cache.get(&path).info.clone(), nar(b"a falsehood"));
    let file = xz(&lie);
    let url = granary_nix::served_nar_name(Hash::of(&file), info.compression);
    std::fs::write(directory.path().join(&url), &file).unwrap();
    let (nar_hash, nar_size) = (Hash::of(&lie), lie.len() as u64);
    let (file_hash, file_size) = (Some(Hash::of(&file)), Some(file.len() as u64));
    let lying = NarInfo { url, nar_hash, nar_size, file_hash, file_size, ..info };
    std::fs::write(directory.path().join(path.hash_part().narinfo_name()), lying.to_text()).unwrap();
    assert_eq!(faults(directory.path(), &path, accept), ["nar-hash"]);
}

#[tokio::test]
async fn an_upstream_that_no_longer_signs_gives_nothing_new() {
    let mut cache = Cache::new("test-1");
    let path = cache.add("p", &[]);
    let upstream = Upstream::of(&cache).await;
    let directory = tempfile::tempdir().unwrap();
    let (tree, syncer) = mirror(directory.path());
    let job = job(vec![source(&upstream, &cache.keys(), 40)], &[&path]);
    assert!(syncer.pass(&job, &()).await.is_synced());
    serve(&upstream, &NarInfo { sigs: vec![], ..cache.get(&path).info.clone() });
    std::fs::remove_file(directory.path().join(&cache.get(&path).info.url)).unwrap();
    let outcome = syncer.pass(&job, &()).await;
    assert_eq!(reason(&outcome, &path), Some(RefusalReason::Unsigned), "{outcome:#?}");
    assert!(tree.catalog_narinfo(&path.hash_part()).is_none_or(|info| !info.sigs.is_empty()));
    assert!(!tree.holds(&path.hash_part()));
}
