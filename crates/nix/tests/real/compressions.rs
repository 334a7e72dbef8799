//! The compressions as the real Nix writes them, names their files, and reads them.

use std::fs;

use granary_nix::{Compression, NarInfo, NarInfoError};

use crate::cache::{Cache, application, key, signed};
use crate::version::{Version, with_every_version};

with_every_version! {
    nix_makes_and_reads_what_a_mirror_reads_and_no_other,
    nix_takes_what_names_no_compression_for_bzip2,
}

/// Has the cache's NAR compressed by Nix; the signed narinfo of that.
fn compressed(cache: &Cache<'_>, compression: Compression) -> Result<NarInfo, String> {
    let app = application();
    cache.put(&app, &app.to_text());
    let name = format!("made-{compression}");
    let made = cache.copy(&app, &name, &format!("compression={compression}"))?;
    let file = cache.folder().join("..").join(name).join(&made.url);
    fs::copy(file, cache.folder().join(&made.url)).unwrap();
    Ok(signed(made))
}

fn nix_makes_and_reads_what_a_mirror_reads_and_no_other(version: &Version) {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::new(version, folder.path());
    for compression in Compression::ALL {
        let made = compressed(&cache, compression);
        assert_eq!(made.is_ok(), compression.is_supported(), "{compression}: {made:?}");
        let Ok(made) = made else { continue };
        assert_eq!(made.compression, compression);
        let name = format!("nar/{}.nar{}", made.file_hash.unwrap().to_nix32(), compression.suffix());
        assert_eq!(made.url, name);
        assert_eq!(made.nar_hash, application().nar_hash);
        cache.put(&made, &made.to_text());
        if let Err(words) = cache.substitute(&made, &key().public_key()) {
            panic!("{compression}: {words}");
        }
    }
}

fn nix_takes_what_names_no_compression_for_bzip2(version: &Version) {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::new(version, folder.path());
    // Nix 2.8 looks at the bytes.
    let guesses = version.number < (2, 26);
    for (compression, taken) in [(Compression::Bzip2, true), (Compression::Xz, guesses)] {
        let made = compressed(&cache, compression).unwrap();
        let line = format!("Compression: {compression}\n");
        for other in ["", "Compression: \n"] {
            let text = made.to_text().replace(&line, other);
            assert_eq!(NarInfo::parse(text.as_bytes()).unwrap().compression, Compression::Bzip2);
            cache.put(&made, &text);
            let nix = cache.substitute(&made, &key().public_key());
            assert_eq!(nix.is_ok(), taken, "{compression} as {other:?}: {nix:?}");
        }
        let text = made.to_text().replace(&line, "Compression: rot13\n");
        assert!(matches!(NarInfo::parse(text.as_bytes()), Err(NarInfoError::Field { line: 3, .. })));
        cache.put(&made, &text);
        let nix = cache.substitute(&made, &key().public_key());
        assert_eq!(nix.is_ok(), guesses, "{compression} as rot13: {nix:?}");
    }
}
