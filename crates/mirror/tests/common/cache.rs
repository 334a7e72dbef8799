//! A binary cache in memory: real NARs, compressed and signed.

use std::io::Read as _;

use granary_nix::{
    Compression, ContentAddress, Hash, NarInfo, PublicKeys, SecretKey, StorePath, Unproven, served_nar_name,
};
use liblzma::read::{XzDecoder, XzEncoder};

use super::{Reply, Upstream};

/// One artifact of a cache. A test changes it before it is served.
#[derive(Clone, Debug)]
pub struct Artifact {
    /// What its narinfo says; signed when it is added, and again by [`Cache::sign`].
    pub info: NarInfo,
    /// The NAR file.
    pub file: Vec<u8>,
}

/// A binary cache with a key.
#[derive(Debug)]
pub struct Cache {
    /// Its key.
    pub key: SecretKey,
    /// What it has.
    pub artifacts: Vec<Artifact>,
}

impl Cache {
    /// An empty cache. Equal names have equal keys.
    pub fn new(key_name: &str) -> Self {
        let key = SecretKey::from_seed(key_name, Hash::of(key_name.as_bytes()).as_bytes()).unwrap();
        Self { key, artifacts: Vec::new() }
    }

    /// The key by which the cache is trusted.
    pub fn keys(&self) -> PublicKeys {
        [self.key.public_key()].into_iter().collect()
    }

    /// Adds an artifact of `size` bytes that do not compress well, and signs it.
    pub fn add_sized(&mut self, name: &str, references: &[&StorePath], size: usize) -> StorePath {
        let path = store_path(name);
        let nar = nar(&noise(name, size));
        let file = xz(&nar);
        let mut info = NarInfo {
            store_path: path.clone(),
            url: served_nar_name(Hash::of(&file), Compression::Xz),
            compression: Compression::Xz,
            file_hash: Some(Hash::of(&file)),
            file_size: Some(file.len() as u64),
            nar_hash: Hash::of(&nar),
            nar_size: nar.len() as u64,
            references: references.iter().map(|path| (*path).clone()).collect(),
            deriver: None,
            system: None,
            sigs: Vec::new(),
            ca: None,
        };
        info.references.sort();
        info.sigs = vec![self.key.sign(&info.fingerprint())];
        self.artifacts.push(Artifact { info, file });
        path
    }

    /// Adds a small artifact.
    pub fn add(&mut self, name: &str, references: &[&StorePath]) -> StorePath {
        self.add_sized(name, references, 3000)
    }

    /// Adds an unsigned artifact that is one file with these contents, named by `address`: `text:`, `fixed:` or `fixed:r:`.
    pub fn add_addressed(&mut self, name: &str, address: &str, contents: &[u8]) -> StorePath {
        let place = self.add_sized(name, &[], 0);
        let nar = nar(contents);
        let file = xz(&nar);
        let hashed = if address == "fixed:r:" { Hash::of(&nar) } else { Hash::of(contents) };
        let artifact = self.get(&place);
        let info = &mut artifact.info;
        (info.nar_hash, info.nar_size) = (Hash::of(&nar), nar.len() as u64);
        (info.file_hash, info.file_size) = (Some(Hash::of(&file)), Some(file.len() as u64));
        info.url = served_nar_name(Hash::of(&file), Compression::Xz);
        info.ca = Some(format!("{address}{hashed}"));
        info.sigs.clear();
        // What the address makes is what the narinfo's path is not yet.
        let made = info.ca.as_deref().unwrap().parse::<ContentAddress>().unwrap().matches(info);
        let Err(Unproven::Path { expected, .. }) = made else { panic!("{made:?}") };
        info.store_path = expected.clone();
        artifact.file = file;
        expected
    }

    /// The artifact, to be changed.
    pub fn get(&mut self, path: &StorePath) -> &mut Artifact {
        self.artifacts.iter_mut().find(|artifact| artifact.info.store_path == *path).unwrap()
    }

    /// Packs the NAR of an artifact anew, as an upstream does that changes how it compresses; nothing of that is signed. The
    /// artifact as it was before.
    pub fn repack(&mut self, path: &StorePath, compression: Compression) -> Artifact {
        let artifact = self.get(path);
        let before = artifact.clone();
        let mut nar = Vec::new();
        XzDecoder::new(&before.file[..]).read_to_end(&mut nar).unwrap();
        let mut file = Vec::new();
        match compression {
            // Better than at first.
            Compression::Xz => drop(XzEncoder::new(&nar[..], 6).read_to_end(&mut file).unwrap()),
            Compression::Zstd => file = zstd::encode_all(&nar[..], 3).unwrap(),
            other => panic!("{other:?}"),
        }
        assert_ne!(file, before.file);
        let info = &mut artifact.info;
        (info.compression, info.url) = (compression, served_nar_name(Hash::of(&file), compression));
        (info.file_hash, info.file_size) = (Some(Hash::of(&file)), Some(file.len() as u64));
        artifact.file = file;
        before
    }

    /// Signs what the narinfo says now.
    pub fn sign(&mut self, path: &StorePath) {
        let key = self.key.clone();
        let info = &mut self.get(path).info;
        info.sigs = vec![key.sign(&info.fingerprint())];
    }

    /// Puts everything on a server as it should be.
    pub fn serve(&self, upstream: &Upstream) {
        for Artifact { info, file } in &self.artifacts {
            let hash = info.store_path.hash_part();
            upstream.set(&hash.narinfo_name(), Reply::Bytes(info.to_text().into_bytes()));
            upstream.set(&info.url, Reply::Bytes(file.clone()));
        }
    }
}

/// A store path whose hash part is made of its name.
pub fn store_path(name: &str) -> StorePath {
    StorePath::parse_base_name(&format!("{}-{name}", &Hash::of(name.as_bytes()).to_nix32()[..32])).unwrap()
}

/// The archive of one regular file.
pub fn nar(contents: &[u8]) -> Vec<u8> {
    let mut nar = Vec::new();
    let strings: [&[u8]; 7] = [b"nix-archive-1", b"(", b"type", b"regular", b"contents", contents, b")"];
    for string in strings {
        nar.extend((string.len() as u64).to_le_bytes());
        nar.extend(string);
        nar.resize(nar.len().next_multiple_of(8), 0);
    }
    nar
}

/// Compresses, in little time rather than well.
pub fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    XzEncoder::new(bytes, 0).read_to_end(&mut file).unwrap();
    file
}

/// Bytes that look random, the same for the same name.
fn noise(name: &str, size: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size);
    let mut block = Hash::of(name.as_bytes());
    while bytes.len() < size {
        bytes.extend(block.as_bytes());
        block = Hash::of(block.as_bytes());
    }
    bytes.truncate(size);
    bytes
}
