//! What a narinfo must be before it counts.

use granary_nix::{HashPart, NarInfo, Trust};
use granary_placement::report::RefusalReason;
use url::Url;

use crate::{Fault, Source};

/// Most signatures of a narinfo that comes from elsewhere. Each is verified over the whole fingerprint, references and all; real
/// ones have a handful.
pub const MOST_SIGNATURES: usize = 128;

/// Reads what a source gave for `hash`: it must parse, be about that artifact, meet the source's trust, lead to a NAR file
/// where the source may have one, and name a compression that can be verified.
pub fn admit(text: &[u8], hash: &HashPart, source: &Source) -> Result<NarInfo, Fault> {
    let info = admit_trusted(text, hash, &source.trust)?;
    nar_url(&info, source)?;
    if !info.compression.is_supported() {
        let message = format!("NAR files compressed with {} cannot be verified here", info.compression);
        return Err(Fault::new(RefusalReason::UnknownCompression, message));
    }
    Ok(info)
}

/// Reads a narinfo from wherever: it must parse, be about the artifact `hash`, have no more than [`MOST_SIGNATURES`], and meet
/// `trust`.
pub fn admit_trusted(text: &[u8], hash: &HashPart, trust: &Trust) -> Result<NarInfo, Fault> {
    let info = about(text, hash)?;
    if info.sigs.len() > MOST_SIGNATURES {
        let message = format!("it has {} signatures; {MOST_SIGNATURES} are looked at", info.sigs.len());
        return Err(Fault::new(RefusalReason::BadNarinfo, message));
    }
    trust.judge(&info)?;
    Ok(info)
}

/// Reads a narinfo that must be about the artifact `hash`; whether it is trusted is for the caller to find out.
pub fn about(text: &[u8], hash: &HashPart) -> Result<NarInfo, Fault> {
    let info = NarInfo::parse(text)?;
    if info.store_path.hash_part() != *hash {
        let message = format!("the narinfo is about {}", info.store_path);
        return Err(Fault::new(RefusalReason::WrongPath, message));
    }
    Ok(info)
}

/// Where the source has the NAR file of one of its narinfos.
pub fn nar_url(info: &NarInfo, source: &Source) -> Result<Url, Fault> {
    source.nar_url(info)
}

#[cfg(test)]
mod tests {
    use granary_nix::{PublicKeys, SecretKey};

    use super::*;
    use crate::SourceKind;

    const HASH: &str = "00bgd045z0d4icpbc2yyz4gx48ak44la";

    fn key(seed: u8) -> SecretKey {
        SecretKey::from_seed("demo-1", &[seed; 32]).unwrap()
    }

    fn source() -> Source {
        let keys: PublicKeys = [key(1).public_key()].into_iter().collect();
        Source::new("http://cache.example/sub".parse().unwrap(), &keys, 0, SourceKind::Upstream)
    }

    fn text(url: &str, compression: &str, sign: impl FnOnce(&mut NarInfo)) -> Vec<u8> {
        let text = format!(
            "StorePath: /nix/store/{HASH}-a\nURL: {url}\nCompression: {compression}\n\
             NarHash: sha256:1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s\nNarSize: 9\nReferences: \n"
        );
        let mut info: NarInfo = text.parse().unwrap();
        sign(&mut info);
        info.to_text().into_bytes()
    }

    fn reason(text: &[u8]) -> RefusalReason {
        admit(text, &HASH.parse().unwrap(), &source()).unwrap_err().reason
    }

    #[test]
    fn a_signed_narinfo_of_the_right_path_is_admitted() {
        let sign = |info: &mut NarInfo| info.sigs = vec![key(1).sign(&info.fingerprint())];
        let info = admit(&text("nar/x.nar", "none", sign), &HASH.parse().unwrap(), &source()).unwrap();
        assert_eq!(nar_url(&info, &source()).unwrap().as_str(), "http://cache.example/sub/nar/x.nar");
    }

    #[test]
    fn more_signatures_than_anybody_makes_are_not_verified() {
        let with = |forged: usize| {
            let sign = move |info: &mut NarInfo| {
                info.sigs = vec![key(2).sign(&info.fingerprint()); forged];
                info.sigs.push(key(1).sign(&info.fingerprint()));
            };
            admit(&text("nar/x.nar", "none", sign), &HASH.parse().unwrap(), &source())
        };
        assert_eq!(with(MOST_SIGNATURES - 1).unwrap().sigs.len(), MOST_SIGNATURES, "the last one is good");
        let fault = with(MOST_SIGNATURES).unwrap_err();
        assert_eq!(fault.reason, RefusalReason::BadNarinfo);
        assert_eq!(fault.message, "it has 129 signatures; 128 are looked at");
    }

    #[test]
    fn each_fault_has_its_reason() {
        let sign = |info: &mut NarInfo| info.sigs = vec![key(1).sign(&info.fingerprint())];
        assert_eq!(reason(b"<html>"), RefusalReason::BadNarinfo);
        assert_eq!(reason(&text("nar/x.nar", "none", |_| {})), RefusalReason::Unsigned);
        let forged = |info: &mut NarInfo| info.sigs = vec![key(2).sign(&info.fingerprint())];
        assert_eq!(reason(&text("nar/x.nar", "none", forged)), RefusalReason::BadSignature);
        let stranger = |info: &mut NarInfo| {
            let other = SecretKey::from_seed("other-1", &[3; 32]).unwrap();
            info.sigs = vec![other.sign(&info.fingerprint())];
        };
        assert_eq!(reason(&text("nar/x.nar", "none", stranger)), RefusalReason::UntrustedKey);
        for url in ["file:///etc/passwd", "../x.nar", "/x.nar", "http://elsewhere.example/x.nar"] {
            assert_eq!(reason(&text(url, "none", sign)), RefusalReason::ForbiddenUrl, "{url}");
        }
        assert_eq!(reason(&text("nar/x.nar", "lrzip", sign)), RefusalReason::UnknownCompression);
        let odd = String::from_utf8(text("nar/x.nar", "none", sign)).unwrap().replace("none", "rot13");
        assert_eq!(reason(odd.as_bytes()), RefusalReason::UnknownCompression);
        let other = String::from_utf8(text("nar/x.nar", "none", sign))
            .unwrap()
            .replace(HASH, &HASH.replace("00b", "00c"));
        assert_eq!(reason(other.as_bytes()), RefusalReason::WrongPath);
    }
}
