//! Where connections are taken. `[::]` means every address, of IPv6 and of IPv4, and on a machine without IPv6 those of IPv4.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use rustix::net::sockopt::set_ipv6_v6only;
use tokio::net::{TcpListener, TcpSocket};

/// Connections that wait to be taken.
const BACKLOG: u32 = 1024;

/// Whether this machine has IPv6. A kernel that was started without it makes no such socket.
#[must_use]
pub fn has_ipv6() -> bool {
    UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).is_ok()
}

/// The addresses that nginx listens on for one of the configuration. It keeps IPv4 apart, so that the addresses of clients
/// are written as everywhere.
#[must_use]
pub fn addresses(configured: SocketAddr, has_ipv6: bool) -> Vec<SocketAddr> {
    let of_ipv4 = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), configured.port());
    match (is_every(configured), has_ipv6) {
        (true, true) => vec![of_ipv4, configured],
        (true, false) => vec![of_ipv4],
        (false, _) => vec![configured],
    }
}

fn is_every(configured: SocketAddr) -> bool {
    configured.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED)
}

/// An address that this machine can connect to, for one that it listens on.
#[must_use]
pub fn reachable(mut configured: SocketAddr) -> SocketAddr {
    if configured.ip().is_unspecified() {
        configured.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    configured
}

/// Listens at an address of the configuration.
///
/// # Errors
///
/// The address is taken, or is none of this machine's.
pub fn bind(configured: SocketAddr) -> io::Result<TcpListener> {
    let every = is_every(configured);
    let (socket, address) = match configured {
        SocketAddr::V6(_) if !every || has_ipv6() => (TcpSocket::new_v6()?, configured),
        SocketAddr::V6(_) => (TcpSocket::new_v4()?, (Ipv4Addr::UNSPECIFIED, configured.port()).into()),
        SocketAddr::V4(_) => (TcpSocket::new_v4()?, configured),
    };
    if address.is_ipv6() {
        // A machine may be set to keep them apart.
        set_ipv6_v6only(&socket, !every)?;
    }
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn every_address_is_of_both_families_where_there_are_both() {
        assert_eq!(addresses(at("[::]:80"), true), [at("0.0.0.0:80"), at("[::]:80")]);
        assert_eq!(addresses(at("[::]:80"), false), [at("0.0.0.0:80")]);
        for one in ["0.0.0.0:80", "[::1]:80", "10.0.0.1:80"] {
            assert_eq!(addresses(at(one), true), [at(one)]);
        }
    }

    #[test]
    fn a_wildcard_is_reached_on_loopback() {
        assert_eq!(reachable(at("0.0.0.0:1")), at("127.0.0.1:1"));
        assert_eq!(reachable(at("[::]:1")), at("127.0.0.1:1"));
        assert_eq!(reachable(at("[fd00::1]:1")), at("[fd00::1]:1"));
    }

    #[tokio::test]
    async fn connections_of_both_families_are_taken() {
        let listener = bind(at("[::]:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        if has_ipv6() {
            TcpStream::connect((Ipv6Addr::LOCALHOST, port)).await.unwrap();
        }
        assert!(bind(at(&format!("0.0.0.0:{port}"))).is_err(), "it is taken");
    }

    #[tokio::test]
    async fn one_family_is_one_family() {
        let port = bind(at("0.0.0.0:0")).unwrap().local_addr().unwrap().port();
        assert!(TcpStream::connect((Ipv6Addr::LOCALHOST, port)).await.is_err());
    }
}
