//! What is read of a `nix-cache-info` is what the text that is served for it says.
#![no_main]

use granary_nix::CacheInfo;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    if let Ok(info) = CacheInfo::parse(text) {
        assert_eq!(CacheInfo::parse(info.to_text().as_bytes()), Ok(info));
    }
});
