//! `push`: who may bring artifacts here, and how much.

use std::net::SocketAddr;

use granary_nix::PublicKeys;
use serde::Deserialize;

use super::check::{Checked, field, parsed, path};
use super::size::Size;
use crate::push::settings::Push;

/// As it is written.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawPush {
    token_file: String,
    max_size: Size,
    public_keys: Vec<String>,
    #[serde(default)]
    allow_plain_http: bool,
}

/// Whether a token may come over plain HTTP, for which nginx listens at `http`. With TLS beside it, one that came there is
/// refused otherwise.
pub(super) fn in_clear(push: &RawPush, http: Option<SocketAddr>) -> bool {
    push.allow_plain_http || http.is_some_and(|http| http.ip().is_loopback())
}

/// `secret`: whether nobody on the way to nginx can read what is sent: it speaks TLS.
pub(super) fn check(raw: RawPush, http: SocketAddr, secret: bool) -> Checked<Push> {
    let RawPush { token_file, max_size, public_keys, allow_plain_http } = raw;
    if public_keys.is_empty() {
        return Err(field(
            "push.publicKeys",
            "name at least one key: nothing is taken without a trusted signature",
        ));
    }
    if !secret && !allow_plain_http && !http.ip().is_loopback() {
        return Err(field(
            "push.allowPlainHttp",
            format!(
                "tokens would cross the network for everybody to read: set tls, or listen.http to a loopback address in place of \
                 {http}; or, where something in front of this mirror speaks TLS, set push.allowPlainHttp to true"
            ),
        ));
    }
    let hint = "write <name>:<base64>, as in nix's trusted-public-keys";
    let keys = public_keys.iter().enumerate();
    let keys = keys.map(|(number, key)| parsed(&format!("push.publicKeys[{number}]"), key, hint));
    Ok(Push {
        token_file: path("push.tokenFile", &token_file)?,
        max_size: max_size.0,
        public_keys: keys.collect::<Checked<PublicKeys>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=";

    fn push(more: &str, listen: &str, secret: bool) -> Result<Push, String> {
        let raw = serde_yaml::from_str(&format!("tokenFile: /t\nmaxSize: 2Ki\n{more}"));
        let raw = raw.map_err(|error| error.to_string())?;
        check(raw, listen.parse().unwrap(), secret).map_err(|error| error.to_string())
    }

    #[test]
    fn tokens_cross_no_network_in_the_clear_unless_that_is_said() {
        let keys = format!("publicKeys: ['{KEY}']\n");
        let open = "0.0.0.0:8080";
        assert_eq!(push(&keys, "127.0.0.1:8080", false).unwrap().max_size, 2048);
        assert!(push(&keys, "[::1]:8080", false).is_ok());
        assert!(push(&keys, open, true).is_ok());
        let error = push(&keys, open, false).unwrap_err();
        assert!(error.starts_with("push.allowPlainHttp: ") && error.contains("0.0.0.0:8080"), "{error}");
        assert!(push(&format!("{keys}allowPlainHttp: true\n"), open, false).is_ok());
    }

    #[test]
    fn beside_tls_plain_http_is_no_way_for_a_token() {
        let raw = |more: &str| {
            serde_yaml::from_str::<RawPush>(&format!("tokenFile: /t\nmaxSize: 2Ki\npublicKeys: []\n{more}"))
                .unwrap()
        };
        let at = |address: &str| Some(address.parse().unwrap());
        assert!(!in_clear(&raw(""), at("0.0.0.0:80")) && !in_clear(&raw(""), None));
        assert!(in_clear(&raw(""), at("127.0.0.1:80")) && in_clear(&raw(""), at("[::1]:80")));
        assert!(in_clear(&raw("allowPlainHttp: true"), at("0.0.0.0:80")));
    }

    #[test]
    fn nothing_is_taken_without_a_key() {
        assert!(
            push("publicKeys: []\n", "127.0.0.1:1", false).unwrap_err().contains("push.publicKeys: name")
        );
        assert!(push("publicKeys: [x]\n", "127.0.0.1:1", false).unwrap_err().contains("push.publicKeys[0]"));
        assert!(push("", "127.0.0.1:1", false).unwrap_err().contains("publicKeys"));
        assert!(push(&format!("publicKeys: ['{KEY}']\nnoSuch: 1\n"), "127.0.0.1:1", false).is_err());
    }
}
