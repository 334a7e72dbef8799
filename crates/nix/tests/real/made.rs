//! What the real Nix writes, compared with what is made here of the same archive.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use granary_nix::listing::ListingWriter;
use granary_nix::nar::{FileDigest, NarReader};
use granary_nix::{ContentAddress, ContentProof, Hash, NarInfo};

use crate::version::{Version, conf, hash_part, with_every_version};

with_every_version! {
    listings_are_those_of_nix,
    content_addresses_prove_what_nix_made,
}

/// A store of its own below a folder, and the cache that is copied to.
struct Nix<'v> {
    version: &'v Version,
    home: PathBuf,
}

impl<'v> Nix<'v> {
    fn new(version: &'v Version, folder: &Path) -> Self {
        conf(folder);
        Self { version, home: folder.to_owned() }
    }

    fn run(&self, program: &str, arguments: &[&str]) -> String {
        let mut command = self.version.command(program, &self.home);
        command.arg("--store").arg(self.home.join("store")).args(arguments);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Copies a path to the cache, uncompressed and with its listing: its narinfo, its NAR, its listing.
    fn copy(&self, path: &str) -> (NarInfo, Vec<u8>, String) {
        let cache = self.home.join("cache");
        let to = format!("file://{}?compression=none&write-nar-listing=true", cache.display());
        self.run("nix", &["copy", "--no-check-sigs", "--to", &to, path]);
        let part = hash_part(path);
        let info = NarInfo::parse(&fs::read(cache.join(format!("{part}.narinfo"))).unwrap()).unwrap();
        let nar = fs::read(cache.join(&info.url)).unwrap();
        (info, nar, fs::read_to_string(cache.join(format!("{part}.ls"))).unwrap())
    }
}

/// The listing, and the digest of the archive's one file.
fn read(nar: &[u8]) -> (String, Option<Hash>) {
    let (mut listing, mut digest) = (ListingWriter::default(), FileDigest::default());
    let mut reader = NarReader::new(nar.len() as u64);
    for piece in nar.chunks(1000) {
        let mut note = |event: granary_nix::nar::NarEvent<'_>| {
            listing.event(&event);
            digest.event(&event);
        };
        reader.push(piece, &mut note).unwrap();
    }
    reader.finish().unwrap();
    (listing.finish().unwrap(), digest.finish())
}

/// Fields may stand in any order: Nix's versions differ in that.
fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

fn listings_are_those_of_nix(version: &Version) {
    let folder = tempfile::tempdir().unwrap();
    let nix = Nix::new(version, folder.path());
    let tree = folder.path().join("tree");
    for directory in ["bin", "empty", "a/b/c", "with space"] {
        fs::create_dir_all(tree.join(directory)).unwrap();
    }
    for (name, length) in
        [("bin/run", 10), ("a/b/c/eight", 8), ("a.b", 0), ("a-b", 5000), ("q\"\\é\n", 1), ("B", 70_000)]
    {
        fs::write(tree.join(name), vec![b'x'; length]).unwrap();
    }
    fs::set_permissions(tree.join("bin/run"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("../a/\"b", tree.join("bin/link")).unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "one file").unwrap();

    for path in [&tree, &file] {
        let made = nix.run("nix", &["store", "add-path", path.to_str().unwrap()]);
        let (info, nar, listing) = nix.copy(&made);
        assert_eq!(Hash::of(&nar), info.nar_hash);
        assert_eq!(json(&read(&nar).0), json(&listing));
    }
}

fn content_addresses_prove_what_nix_made(version: &Version) {
    let folder = tempfile::tempdir().unwrap();
    let nix = Nix::new(version, folder.path());
    let file = folder.path().join("file");
    fs::write(&file, "contents").unwrap();
    let file = file.to_str().unwrap();
    let proof = |path: &str| {
        let (info, nar, _) = nix.copy(path);
        let address: ContentAddress = info.ca.as_ref().unwrap().parse().unwrap();
        (address.matches(&info).unwrap(), read(&nar).1)
    };
    let flat = nix.run("nix-store", &["--add-fixed", "sha256", file]);
    let digest = Hash::of(b"contents");
    assert_eq!(proof(&flat), (ContentProof::File(digest), Some(digest)));
    let nar = nix.run("nix-store", &["--add-fixed", "--recursive", "sha256", file]);
    assert_eq!(proof(&nar).0, ContentProof::NarHash);

    let text = |name: &str, text: &str| format!("builtins.toFile \"{name}\" {text}");
    let expression = text("two", &format!("\"see ${{{}}}\"", text("one", "\"1\"")));
    let made = nix.run("nix", &["eval", "--raw", "--expr", &expression]);
    let (proof, contents) = proof(&made);
    assert_eq!(Some(proof), contents.map(ContentProof::File));
    let (info, ..) = nix.copy(&made);
    assert_eq!(info.references.len(), 1);
}
