//! Faults in a tree that was good, each found and named.

use std::fs;
use std::path::Path;

use granary_mirror::verify::{Finding, verify_tree};
use granary_nix::{PublicKeys, StorePath};

use super::common::Cache;
use super::mirrored::Mirrored;

struct Good {
    site: Mirrored,
    base: StorePath,
    top: StorePath,
}

impl Good {
    /// A verified tree of two artifacts.
    async fn make() -> Self {
        let mut cache = Cache::new("test-1");
        let base = cache.add("base", &[]);
        let top = cache.add("top", &[&base]);
        let site = Mirrored::synced(cache, &[&top]).await;
        site.clean();
        Self { site, base, top }
    }

    fn path(&self) -> &Path {
        self.site.path()
    }

    fn narinfo(&self, path: &StorePath) -> std::path::PathBuf {
        self.path().join(path.hash_part().narinfo_name())
    }

    fn nar(&mut self, path: &StorePath) -> std::path::PathBuf {
        let url = self.site.cache.get(path).info.url.clone();
        self.path().join(url)
    }

    /// The faults as pairs of file and kind.
    fn faults(&self) -> Vec<(String, &'static str)> {
        let faults = verify_tree(self.path(), &self.site.cache.keys()).unwrap().faults;
        faults.into_iter().map(|Finding { path, kind, message: _ }| (path, kind.as_str())).collect()
    }

    /// The one fault that `path`'s narinfo must have.
    fn has(&self, path: &StorePath, kind: &'static str) {
        assert_eq!(self.faults(), [(path.hash_part().narinfo_name(), kind)]);
    }
}

#[tokio::test]
async fn bytes_that_changed_on_the_disk() {
    let mut good = Good::make().await;
    let base = good.base.clone();
    let nar = good.nar(&base);
    let bytes = fs::read(&nar).unwrap();
    let mut flipped = bytes.clone();
    flipped[500] ^= 4;
    fs::write(&nar, flipped).unwrap();
    good.has(&base, "file-hash");
    fs::write(&nar, &bytes[..500]).unwrap();
    good.has(&base, "file-size");
    fs::remove_file(&nar).unwrap();
    good.has(&base, "not-found");
}

#[tokio::test]
async fn narinfos_that_changed_on_the_disk() {
    let good = Good::make().await;
    let text = fs::read_to_string(good.narinfo(&good.top)).unwrap();
    let write = |text: &str| fs::write(good.narinfo(&good.top), text).unwrap();
    let line = |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap();
    write(&text[..text.len() / 2]);
    assert!(good.faults().contains(&(good.top.hash_part().narinfo_name(), "bad-narinfo")));
    write(&text.replace(line("NarSize"), "NarSize: 77"));
    assert_eq!(good.faults()[0].1, "bad-signature");
    write(&text.replace(line("URL"), "URL: ../../etc/passwd"));
    assert_eq!(good.faults()[0].1, "forbidden-url");
    write(&text.replace(line("FileSize"), "FileSize: 77"));
    good.has(&good.top, "file-size");
    write(&text.replace(&format!("{}\n", line("FileSize")), ""));
    good.has(&good.top, "file-hash");
    write(&fs::read_to_string(good.narinfo(&good.base)).unwrap());
    assert_eq!(good.faults()[0], (good.top.hash_part().narinfo_name(), "wrong-path"));
}

#[tokio::test]
async fn a_reference_that_is_nowhere() {
    let good = Good::make().await;
    fs::remove_file(good.narinfo(&good.base)).unwrap();
    assert_eq!(good.faults(), [], "the catalog still has it");
    let in_catalog = good.path().join(".granary/catalog").join(good.base.hash_part().narinfo_name());
    let text = fs::read_to_string(&in_catalog).unwrap();
    fs::write(&in_catalog, text.replace("NarSize: ", "NarSize: 1")).unwrap();
    let name = good.top.hash_part().narinfo_name();
    let bad = format!(".granary/catalog/{}", good.base.hash_part().narinfo_name());
    let missing = [(format!(".granary/catalog/{name}"), "missing-reference"), (name, "missing-reference")];
    assert_eq!(good.faults(), [vec![(bad, "bad-signature")], missing.to_vec()].concat().sorted());
    fs::remove_file(&in_catalog).unwrap();
    assert_eq!(good.faults(), missing);
}

#[tokio::test]
async fn files_that_are_not_whole_or_do_not_belong() {
    let good = Good::make().await;
    let half = "nar/1094wph9z4nwlgvsd53abfz8i117ykiv5dwnq9nnhz846s7xqd7d.nar.xz";
    fs::write(good.path().join(half), "half").unwrap();
    fs::write(good.path().join("note.txt"), "hello").unwrap();
    assert_eq!(good.faults(), [(half.to_owned(), "half-written")]);
    let notes = verify_tree(good.path(), &good.site.cache.keys()).unwrap().notes;
    assert_eq!(notes.iter().map(|note| note.path.as_str()).collect::<Vec<_>>(), ["note.txt"]);
    fs::remove_file(good.path().join(half)).unwrap();
    fs::write(good.path().join("nix-cache-info"), "StoreDir: /gnu/store\n").unwrap();
    assert_eq!(good.faults(), [("nix-cache-info".to_owned(), "cache-info")]);
}

#[tokio::test]
async fn keys_that_are_not_these() {
    let good = Good::make().await;
    let check = verify_tree(good.path(), &PublicKeys::default()).unwrap();
    let kinds: Vec<_> = check.faults.iter().map(|fault| fault.kind.as_str()).collect();
    assert_eq!(kinds, ["untrusted-key"; 4]);
    let json = serde_json::to_value(&check).unwrap();
    assert_eq!(json["faults"][0]["kind"], "untrusted-key");
    let nowhere = verify_tree(&good.path().join("nowhere"), &good.site.cache.keys()).unwrap_err();
    assert!(nowhere.to_string().contains("nowhere"), "{nowhere}");
}

trait Sorted {
    fn sorted(self) -> Self;
}

impl<T: Ord> Sorted for Vec<T> {
    fn sorted(mut self) -> Self {
        self.sort();
        self
    }
}
