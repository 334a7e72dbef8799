//! What a narinfo must be before it counts.

use granary_nix::{ContentAddress, HashPart, NarInfo, Trust, Unproven};
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

/// Reads a narinfo from wherever: it must parse, be about the artifact `hash`, have no more than [`MOST_SIGNATURES`], meet
/// `trust`, and have no content address of something else.
pub fn admit_trusted(text: &[u8], hash: &HashPart, trust: &Trust) -> Result<NarInfo, Fault> {
    let info = about(text, hash)?;
    if info.sigs.len() > MOST_SIGNATURES {
        let message = format!("it has {} signatures; {MOST_SIGNATURES} are looked at", info.sigs.len());
        return Err(Fault::new(RefusalReason::BadNarinfo, message));
    }
    trust.judge(&info)?;
    check_address(&info)?;
    Ok(info)
}

/// Refuses a content address that makes another path or is of another NAR. No signature covers it, so a good one says nothing
/// about it, and no Nix takes the path. Addresses that cannot be checked here, or not before the NAR is there, pass.
fn check_address(info: &NarInfo) -> Result<(), Fault> {
    let address = info.ca.as_deref().and_then(|text| text.parse::<ContentAddress>().ok());
    match address.map(|address| address.matches(info)) {
        Some(Err(wrong @ (Unproven::Path { .. } | Unproven::NarHash { .. }))) => {
            Err(Fault::new(RefusalReason::BadNarinfo, format!("{wrong}: no Nix would take it")))
        }
        _ => Ok(()),
    }
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
    use granary_nix::{Hash, PublicKeys, SecretKey};

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
    fn a_content_address_of_something_else_is_refused_whoever_signed() {
        let contents = Hash::of(b"contents");
        let admitted = |address: String, change: fn(&mut NarInfo)| {
            let sign = |info: &mut NarInfo| {
                info.nar_hash = contents;
                info.ca = Some(address);
                change(info);
                info.sigs = vec![key(1).sign(&info.fingerprint())];
            };
            let text = text("nar/x.nar", "none", sign);
            let hash = NarInfo::parse(&text).unwrap().store_path.hash_part();
            admit(&text, &hash, &source()).map_err(|fault| (fault.reason, fault.message))
        };
        // The path that its address makes.
        let fitting: fn(&mut NarInfo) = |info| {
            let address: ContentAddress = info.ca.as_ref().unwrap().parse().unwrap();
            let Err(Unproven::Path { expected, .. }) = address.matches(info) else { panic!("{info}") };
            info.store_path = expected;
        };
        for address in ["fixed:r:", "fixed:", "text:"].map(|kind| format!("{kind}{contents}")) {
            assert!(admitted(address.clone(), fitting).is_ok(), "{address}");
            let (reason, message) = admitted(address.clone(), |_| {}).unwrap_err();
            assert_eq!(reason, RefusalReason::BadNarinfo);
            assert!(
                message.starts_with(&format!("content address {address} makes /nix/store/")),
                "{message}"
            );
        }
        let other = Hash::of(b"other");
        let (reason, message) = admitted(format!("fixed:r:{other}"), fitting).unwrap_err();
        assert_eq!(reason, RefusalReason::BadNarinfo);
        assert!(message.contains(&format!("is not NarHash {contents}")), "{message}");
        // What cannot be checked here is left to who can.
        let sha1 = "text:sha1:9m1skbnr5i43n3yypvda5s65vhfwdx5a";
        assert!(admitted(sha1.to_owned(), |_| {}).is_ok());
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
