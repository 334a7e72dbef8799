//! Random values for property tests.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::{Compression, Hash, NarInfo, SecretKey, StorePath};

/// A key whose name and seed are `n`.
pub(crate) fn key(n: u8) -> SecretKey {
    SecretKey::from_seed(&format!("key-{n}"), &[n; 32]).unwrap()
}

pub(crate) fn store_path() -> impl Strategy<Value = StorePath> {
    "[0-9a-df-np-sv-z]{32}-[a-zA-Z0-9+_?=][a-zA-Z0-9+._?=-]{0,30}"
        .prop_map(|base| StorePath::parse_base_name(&base).unwrap())
}

fn hash() -> impl Strategy<Value = Hash> {
    any::<[u8; 32]>().prop_map(Hash::from_bytes)
}

/// A valid narinfo without signatures, its references in any order.
pub(crate) fn narinfo() -> impl Strategy<Value = NarInfo> {
    let file = (
        "[a-z/.?=]{1,20}",
        prop::sample::select(&Compression::ALL[..]),
        option::of(hash()),
        option::of(any::<u64>()),
    );
    let nar = (hash(), 1..=u64::MAX, vec(store_path(), 0..8));
    let rest = (option::of(store_path()), option::of("[a-z0-9_]{1,9}-linux"), option::of(hash()));
    (store_path(), file, nar, rest).prop_map(
        |(
            store_path,
            (url, compression, file_hash, file_size),
            (nar_hash, nar_size, references),
            (deriver, system, ca),
        )| NarInfo {
            store_path,
            url,
            compression,
            file_hash,
            file_size,
            nar_hash,
            nar_size,
            references,
            deriver,
            system,
            sigs: Vec::new(),
            ca: ca.map(|hash| format!("fixed:r:{hash}")),
        },
    )
}
