//! A narinfo that is accepted has one canonical text, which says the same.
#![no_main]

use granary_nix::{BaseUrl, ContentAddress, NarInfo, NarInfoView, Origins};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let Ok(view) = NarInfoView::parse(text) else { return };
    assert_eq!(view.text, text);
    let info = view.to_narinfo();
    let canonical = info.to_text();
    let again = NarInfo::parse(canonical.as_bytes()).expect("the canonical text is a narinfo");
    assert_eq!(again, info);
    assert_eq!(again.to_text(), canonical);
    assert_eq!(again.fingerprint(), info.fingerprint());
    if let Some(ca) = &info.ca {
        let address: ContentAddress =
            ca.parse().expect("an accepted narinfo has a well-formed content address");
        assert_eq!(address.to_string().parse::<ContentAddress>().as_ref(), Ok(&address));
        let _ = address.matches(&info);
    }
    let base: BaseUrl = "https://cache.example/sub".parse().expect("a good URL");
    if let Ok(url) = base.resolve(&info.url, Origins::Upstream) {
        assert!(matches!(url.scheme(), "http" | "https"), "{url}");
    }
});
