//! The form in which we publish a narinfo.

use granary_nix::{NarInfo, served_nar_name};

use super::Contents;

/// The narinfo as we serve it: what the signature covers, and the signatures, as they came; the NAR file by our name for
/// it. `contents` is what we found in the NAR file ourselves; without it the source's own word is repeated, which holds
/// for the catalog only.
///
/// A NAR file whose FileHash nobody knows yet is named by its NarHash.
#[must_use]
pub fn canonical(info: &NarInfo, contents: Option<&Contents>) -> NarInfo {
    let (file_hash, file_size) = match contents {
        Some(contents) => (Some(contents.file_hash), Some(contents.file_size)),
        None => (info.file_hash, info.file_size),
    };
    let url = served_nar_name(file_hash.unwrap_or(info.nar_hash), info.compression);
    NarInfo { url, file_hash, file_size, ..info.clone() }
}

#[cfg(test)]
mod tests {
    use granary_nix::Hash;

    use super::*;

    #[test]
    fn what_is_signed_stays_and_the_file_is_named_by_its_hash() {
        let text = "StorePath: /nix/store/00bgd045z0d4icpbc2yyz4gx48ak44la-a\nURL: https://x.example/?id=7\n\
                    Compression: zstd\nNarHash: sha256:1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s\n\
                    NarSize: 9\nReferences: \n";
        let info: NarInfo = text.parse().unwrap();
        let file_hash = Hash::of(b"file");
        let ours = canonical(&info, Some(&Contents { file_hash, file_size: 4 }));
        assert_eq!(ours.url, format!("nar/{}.nar.zst", file_hash.to_nix32()));
        assert_eq!((ours.file_hash, ours.file_size), (Some(file_hash), Some(4)));
        assert_eq!(ours.fingerprint(), info.fingerprint());
        assert_eq!(canonical(&info, None).url, format!("nar/{}.nar.zst", info.nar_hash.to_nix32()));
    }
}
