//! `tls` and `listen.https`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::check::{Checked, address, field, path};

/// HTTPS, with HTTP/2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Where nginx listens.
    pub listen: SocketAddr,
    /// The certificate with those that lead to its root, PEM. Watched: a good new pair is taken without a restart.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawTls {
    certificate: String,
    key: String,
}

/// Both settings or none. `directory` is the tree and `front` where nginx's files are, with a copy of the key among them.
pub(super) fn check(
    tls: Option<RawTls>,
    https: Option<&str>,
    directory: &Path,
    front: &Path,
) -> Checked<Option<Tls>> {
    match (tls, https) {
        (None, None) => Ok(None),
        (Some(_), None) => {
            Err(field("listen.https", "tls is set: write where HTTPS listens, as 0.0.0.0:8443"))
        }
        (None, Some(_)) => Err(field("tls", "listen.https needs a certificate and its key")),
        (Some(_), Some(_)) if front.starts_with(directory) => Err(field(
            "frontDirectory",
            "with tls, name one outside of directory, as /run/granary/front: a copy of the key is kept there, and what is \
             in directory is copied and carried away",
        )),
        (Some(RawTls { certificate, key }), Some(https)) => Ok(Some(Tls {
            listen: address("listen.https", https)?,
            certificate: path("tls.certificate", &certificate)?,
            key: path("tls.key", &key)?,
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;

    fn parse(more: &str) -> Result<Config, String> {
        let key = "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=";
        let root = "/nix/store/gs26yhwqhp7ilmz2p2pnfkdqrndxyyfj-app-1.0";
        let yaml = format!(
            "directory: /srv/granary\nupstreams: [{{url: 'https://cache.nixos.org', publicKeys: ['{key}']}}]\n\
             storePaths: [{root}]\n{more}"
        );
        Config::parse(&yaml).map_err(|error| error.to_string())
    }

    const TLS: &str = "tls: {certificate: /etc/c.pem, key: /etc/k.pem}\nfrontDirectory: /run/granary/front\n";

    #[test]
    fn https_goes_beside_plain_http_or_alone() {
        let config = parse(&format!("{TLS}listen: {{https: '0.0.0.0:8443'}}")).unwrap();
        assert_eq!(config.http.map(|http| http.port()), Some(8080));
        assert_eq!(config.tls.unwrap().listen.port(), 8443);
        let alone = parse(&format!("{TLS}listen: {{http: null, https: '0.0.0.0:8443'}}")).unwrap();
        assert_eq!(alone.http, None);
        assert_eq!(parse("").unwrap().tls, None);
    }

    #[test]
    fn every_error_names_its_field() {
        for (more, words) in [
            ("listen: {http: null}", ["listen.http:", "https"]),
            ("listen: {https: '0.0.0.0:8443'}", ["tls:", "certificate"]),
            (TLS, ["listen.https:", "0.0.0.0:8443"]),
            (&*format!("{TLS}listen: {{https: '0.0.0.0:8080'}}"), ["listen.agent:", "different ports"]),
            (&*format!("{TLS}listen: {{https: '0.0.0.0:8081'}}"), ["listen.agent:", "different ports"]),
            (&*format!("{TLS}listen: {{https: here}}"), ["listen.https:", "port"]),
            (
                &*format!("{}listen: {{https: '0.0.0.0:8443'}}", TLS.replace("/run", "/srv/granary")),
                ["frontDirectory:", "/run/granary/front"],
            ),
            (
                &*format!("{}listen: {{https: '0.0.0.0:8443'}}", TLS.replace("/etc/k.pem", "'/etc/$k'")),
                ["tls.key:", "'$'"],
            ),
        ] {
            let error = parse(more).unwrap_err();
            assert!(words.iter().all(|word| error.contains(word)), "{more}\n→ {error}");
        }
    }
}
