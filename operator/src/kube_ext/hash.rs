//! A short stable hash, for annotations that say "this changed". Not for anything that an adversary could gain from.

/// FNV-1a, 64 bits, in hex: the same text has the same hash in every version of the operator, so that an upgrade alone never
/// restarts a pod.
#[must_use]
pub fn short(text: &str) -> String {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_vectors() {
        assert_eq!(short(""), "cbf29ce484222325");
        assert_eq!(short("a"), "af63dc4c8601ec8c");
        assert_eq!(short("foobar"), "85944171f73967e8");
    }
}
