//! How near an address is to us. Whoever is asked in the internet must not send us to our own machine or network: what
//! listens there may trust whoever comes from inside.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Kinds of addresses, the farthest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reach {
    /// The internet.
    Public,
    /// A private network: 10/8, 172.16/12, 192.168/16, 100.64/10, `fc00::/7`.
    Private,
    /// This machine.
    Own,
}

impl Reach {
    /// The kind of an address; `None` for those that no server may lead to: link-local ones, where clouds answer with the
    /// machine's secrets, multicast and broadcast.
    #[must_use]
    pub fn of(address: IpAddr) -> Option<Self> {
        match address {
            IpAddr::V4(address) => of_v4(address),
            IpAddr::V6(address) => of_v6(address),
        }
    }

    /// Whether a server of this kind may lead to that address.
    #[must_use]
    pub fn may_lead_to(self, address: IpAddr) -> bool {
        Self::of(address).is_some_and(|reach| reach <= self)
    }
}

fn of_v4(address: Ipv4Addr) -> Option<Reach> {
    let [first, second, ..] = address.octets();
    if address.is_link_local() || address.is_multicast() || address.is_broadcast() {
        None
    } else if address.is_loopback() || first == 0 {
        Some(Reach::Own)
    } else if address.is_private() || (first == 100 && second & 0xc0 == 64) {
        Some(Reach::Private)
    } else {
        Some(Reach::Public)
    }
}

fn of_v6(address: Ipv6Addr) -> Option<Reach> {
    let segments = address.segments();
    let embedded = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    if let Some(address) = address.to_ipv4_mapped() {
        of_v4(address)
    } else if address.is_loopback() || address.is_unspecified() {
        Some(Reach::Own)
    } else if segments[..6] == [0x64, 0xff9b, 0, 0, 0, 0] {
        of_v4(embedded(segments[6], segments[7]))
    } else if segments[0] == 0x2002 {
        of_v4(embedded(segments[1], segments[2]))
    } else if segments[0] & 0xffc0 == 0xfe80 || segments[0] >> 8 == 0xff {
        None
    } else if segments[0] & 0xfe00 == 0xfc00 || segments[0] & 0xffc0 == 0xfec0 {
        Some(Reach::Private)
    } else {
        Some(Reach::Public)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_their_kinds() {
        let of = |text: &str| Reach::of(text.parse().unwrap());
        for public in
            ["1.1.1.1", "100.128.0.1", "172.32.0.1", "2606:4700::1", "64:ff9b::101:101", "::ffff:1.1.1.1"]
        {
            assert_eq!(of(public), Some(Reach::Public), "{public}");
        }
        for private in [
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "fd00::1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "2002:a00:1::",
        ] {
            assert_eq!(of(private), Some(Reach::Private), "{private}");
        }
        for own in ["127.0.0.1", "127.9.9.9", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1", "64:ff9b::7f00:1"] {
            assert_eq!(of(own), Some(Reach::Own), "{own}");
        }
        for never in
            ["169.254.169.254", "fe80::1", "224.0.0.1", "255.255.255.255", "ff02::1", "::ffff:169.254.1.1"]
        {
            assert_eq!(of(never), None, "{never}");
        }
    }

    #[test]
    fn nobody_leads_nearer_than_they_are() {
        let may = |from: Reach, to: &str| from.may_lead_to(to.parse().unwrap());
        assert!(
            may(Reach::Public, "1.1.1.1") && !may(Reach::Public, "10.0.0.1") && !may(Reach::Public, "::1")
        );
        assert!(
            may(Reach::Private, "1.1.1.1") && may(Reach::Private, "10.0.0.1") && !may(Reach::Private, "::1")
        );
        assert!(may(Reach::Own, "10.0.0.1") && may(Reach::Own, "::1") && !may(Reach::Own, "169.254.169.254"));
    }
}
