//! How much memory a tree takes for each artifact.

use granary_fetch::Expected;
use granary_nix::{Compression, Hash, HashPart, NarInfo, StorePath};
use jiff::Timestamp;

use super::catalog::{Catalog, Digests};
use super::index::{Held, Index};

/// Just more than a table of 65,536 places takes: it has twice as many, as that of a million artifacts has.
const COUNT: u32 = 57_500;

/// A mirror of a million artifacts takes so many MiB, and what a process takes in any case.
const MIB_OF_A_MILLION: usize = 370;

/// An artifact with five references, its own path among them, a derivation, and a NAR file that is not the NAR.
fn artifact(number: u32) -> NarInfo {
    let hash = |kind: u8, number: u32| Hash::of(&[&[kind], number.to_le_bytes().as_slice()].concat());
    let path = |number: u32| {
        let part = hash(0, number).to_nix32();
        StorePath::parse_base_name(&format!("{}-package-{number}", &part[..32])).unwrap()
    };
    let references = std::iter::once(number).chain((1..5).map(|other| (number * 4 + other) % COUNT));
    NarInfo {
        store_path: path(number),
        url: format!("nar/{}.nar.xz", hash(1, number).to_nix32()),
        compression: Compression::Xz,
        file_hash: Some(hash(1, number)),
        file_size: Some(number.into()),
        nar_hash: hash(2, number),
        nar_size: u64::from(number) * 4,
        references: references.map(path).collect(),
        deriver: Some(path(COUNT + number)),
        system: None,
        sigs: Vec::new(),
        ca: None,
    }
}

#[test]
fn a_million_artifacts_take_less_than_half_a_gibibyte() {
    let (mut index, mut catalog) = (Index::default(), Catalog::default());
    index.reserve(COUNT as usize);
    catalog.reserve(COUNT as usize);
    for number in 0..COUNT {
        let (info, hash) = (artifact(number), artifact(number).store_path.hash_part());
        let held = Held::of(&info, 500, Timestamp::from_second(number.into()).ok()).unwrap();
        index.insert(hash, held, info.references.iter().map(StorePath::hash_part));
        catalog.insert(hash, Digests::of(&info, &info.to_text()), Expected::from(&info));
    }
    for number in [0, 1, COUNT - 1] {
        let (info, hash): (NarInfo, HashPart) = (artifact(number), artifact(number).store_path.hash_part());
        assert_eq!(index.get(&hash).unwrap().file_hash, info.file_hash.unwrap());
        assert_eq!(catalog.entry(&hash).unwrap().expected, Expected::from(&info));
    }
    let of_each = |bytes: usize| bytes / COUNT as usize;
    let (published, known) = (of_each(index.bytes()), of_each(catalog.bytes()));
    let mib = (published + known) * 1_000_000 / (1 << 20);
    assert!(mib < MIB_OF_A_MILLION, "{published} bytes for the artifact, {known} for its narinfo: {mib} MiB");
}
