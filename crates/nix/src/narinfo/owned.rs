//! The owned narinfo: canonical text and fingerprint.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use super::{NarInfoError, NarInfoView};
use crate::compression::Compression;
use crate::hash::Hash;
use crate::signature::Signature;
use crate::store_path::StorePath;

/// What a cache says about one artifact.
///
/// The fields are public, so that a mirror can put its own URL, compression and FileHash in: none of these is signed.
/// Text fields must not hold LF; those that were parsed do not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NarInfo {
    /// The artifact. Signed.
    pub store_path: StorePath,
    /// Where the NAR file is, relative to the cache's URL or absolute.
    pub url: String,
    /// How the NAR file is compressed.
    pub compression: Compression,
    /// Digest of the NAR file's bytes.
    pub file_hash: Option<Hash>,
    /// Bytes of the NAR file.
    pub file_size: Option<u64>,
    /// Digest of the decompressed NAR. Signed.
    pub nar_hash: Hash,
    /// Bytes of the decompressed NAR. Signed.
    pub nar_size: u64,
    /// Store paths that the contents mention, possibly itself. Signed. Sorted and each once when parsed.
    pub references: Vec<StorePath>,
    /// The derivation that made it.
    pub deriver: Option<StorePath>,
    /// The platform, which Nix up to 2.8 wrote.
    pub system: Option<String>,
    /// Signatures over the [fingerprint](Self::fingerprint).
    pub sigs: Vec<Signature>,
    /// Content address, for a path that is named by its contents.
    pub ca: Option<String>,
}

impl NarInfo {
    /// Reads a text strictly; short for [`NarInfoView::parse`] and [`NarInfoView::to_narinfo`].
    pub fn parse(text: &[u8]) -> Result<Self, NarInfoError> {
        NarInfoView::parse(text).map(|view| view.to_narinfo())
    }

    /// The text that is signed: `1;<store path>;<NarHash>;<NarSize>;<references>`, the references being full paths,
    /// sorted, between commas.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let references = self.sorted_references();
        let references: Vec<_> = references.iter().map(ToString::to_string).collect();
        format!("1;{};{};{};{}", self.store_path, self.nar_hash, self.nar_size, references.join(","))
    }

    /// The canonical text: fields in Nix's order, LF, nix32 hashes, sorted references, absent fields left out, except
    /// that an empty `References: ` stays, with its space.
    #[must_use]
    pub fn to_text(&self) -> String {
        self.to_string()
    }

    fn sorted_references(&self) -> Vec<&StorePath> {
        let mut references: Vec<_> = self.references.iter().collect();
        references.sort_unstable();
        references.dedup();
        references
    }
}

impl fmt::Display for NarInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Named one by one, so that a new field is not forgotten here.
        let Self {
            store_path,
            url,
            compression,
            file_hash,
            file_size,
            nar_hash,
            nar_size,
            references: _,
            deriver,
            system,
            sigs,
            ca,
        } = self;
        writeln!(f, "StorePath: {store_path}\nURL: {url}\nCompression: {compression}")?;
        optional_line(f, "FileHash", file_hash.as_ref())?;
        optional_line(f, "FileSize", file_size.as_ref())?;
        write!(f, "NarHash: {nar_hash}\nNarSize: {nar_size}\nReferences: ")?;
        for (index, reference) in self.sorted_references().into_iter().enumerate() {
            if index > 0 {
                f.write_char(' ')?;
            }
            f.write_str(reference.base_name())?;
        }
        f.write_char('\n')?;
        optional_line(f, "Deriver", deriver.as_ref().map(StorePath::base_name))?;
        optional_line(f, "System", system.as_ref())?;
        for sig in sigs {
            writeln!(f, "Sig: {sig}")?;
        }
        optional_line(f, "CA", ca.as_ref())
    }
}

fn optional_line(f: &mut fmt::Formatter<'_>, name: &str, value: Option<impl fmt::Display>) -> fmt::Result {
    value.map_or(Ok(()), |value| writeln!(f, "{name}: {value}"))
}

impl FromStr for NarInfo {
    type Err = NarInfoError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::narinfo::SAMPLE;
    use crate::testing;

    /// What the sample refers to.
    const NET_TOOLS: &str = "00bgd045z0d4icpbc2yyz4gx48ak44la-net-tools-1.60";
    const GLIBC: &str = "7gx4kiv5m0i7d7qkixq2cwzbr10lvxwc-glibc-2.27";

    /// The sample as it is written, with the fields that it lacks.
    fn canonical() -> String {
        let sorted = SAMPLE.replace(&format!("{GLIBC} {NET_TOOLS}"), &format!("{NET_TOOLS} {GLIBC}"));
        let more = "\
System: x86_64-linux
CA: fixed:r:sha256:1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s
";
        sorted + more
    }

    #[test]
    fn canonical_text_stays_as_it_is() {
        let text = canonical();
        assert_eq!(NarInfo::parse(text.as_bytes()).unwrap().to_text(), text);
    }

    #[test]
    fn other_spellings_become_canonical() {
        let sorted = format!("{NET_TOOLS} {GLIBC}");
        let text = canonical().replace(&sorted, &format!("{GLIBC}  {sorted}"));
        let text = text.replace(
            "NarHash: sha256:1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s",
            "NarHash: sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        );
        let mut lines: Vec<_> = text.split_inclusive('\n').collect();
        lines.reverse();
        assert_eq!(NarInfo::parse(lines.concat().as_bytes()).unwrap().to_text(), canonical());
    }

    #[test]
    fn absent_fields() {
        let text = "\
StorePath: /nix/store/00bgd045z0d4icpbc2yyz4gx48ak44la-a
URL: nar/x
NarHash: sha256:1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s
NarSize: 1
";
        let info = NarInfo::parse(text.as_bytes()).unwrap();
        assert_eq!(info.to_text(), text.replace("NarHash", "Compression: bzip2\nNarHash") + "References: \n");
        assert_eq!(
            info.fingerprint(),
            "1;/nix/store/00bgd045z0d4icpbc2yyz4gx48ak44la-a;\
             sha256:1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s;1;"
        );
    }

    #[test]
    fn the_fingerprint_has_full_sorted_paths() {
        let info = NarInfo::parse(canonical().as_bytes()).unwrap();
        assert_eq!(
            info.fingerprint(),
            "1;/nix/store/00bgd045z0d4icpbc2yyz4gx48ak44la-net-tools-1.60;\
             sha256:1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s;464152;\
             /nix/store/00bgd045z0d4icpbc2yyz4gx48ak44la-net-tools-1.60,\
             /nix/store/7gx4kiv5m0i7d7qkixq2cwzbr10lvxwc-glibc-2.27"
        );
    }

    proptest! {
        #[test]
        fn round_trip(mut info in testing::narinfo(), signers in 0..3_u8) {
            info.sigs = (0..signers).map(|n| testing::key(n).sign(&info.fingerprint())).collect();
            let text = info.to_text();
            let parsed = NarInfo::parse(text.as_bytes()).unwrap();
            info.references.sort();
            info.references.dedup();
            prop_assert_eq!(&parsed, &info);
            prop_assert_eq!(parsed.to_text(), text);
        }

        #[test]
        fn never_panics_on_bytes(text in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = NarInfo::parse(&text);
        }

        #[test]
        fn never_panics_on_almost_a_narinfo(
            info in testing::narinfo(),
            edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut text = info.to_text().into_bytes();
            for (place, byte) in edits {
                let place = place.index(text.len());
                text[place] = byte;
            }
            if let Ok(parsed) = NarInfo::parse(&text) {
                prop_assert_eq!(NarInfo::parse(parsed.to_text().as_bytes()), Ok(parsed));
            }
            text.truncate(cut.index(text.len()));
            let _ = NarInfo::parse(&text);
        }
    }
}
