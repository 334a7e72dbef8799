//! Addresses and networks, which the operator checks before it hands them to mirrors, and each mirror before it hands them to
//! nginx.

use std::net::IpAddr;

/// Whether a text is an address, or one with the length of its network's prefix.
#[must_use]
pub fn is_network(text: &str) -> bool {
    let (address, prefix) =
        text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    let bits = if address.is_ipv4() { 32 } else { 128 };
    prefix.is_none_or(|prefix| prefix.parse::<u8>().is_ok_and(|prefix| prefix <= bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_have_a_prefix_of_its_length() {
        for good in ["10.0.0.1", "10.0.0.0/8", "::1", "fd00::/8"] {
            assert!(is_network(good), "{good}");
        }
        for bad in ["", "proxy", "10.0.0", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/8/8", "fd00::/129"] {
            assert!(!is_network(bad), "{bad}");
        }
    }
}
