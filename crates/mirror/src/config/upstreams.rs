//! The upstreams: where they are, what must vouch for them, how they are asked.

use std::collections::BTreeSet;
use std::path::PathBuf;

use granary_fetch::access::{Access, Credentials, Host, Hosts, Proxying};
use granary_fetch::source::order;
use granary_fetch::{Source, SourceKind};
use granary_nix::{BaseUrl, PublicKey, PublicKeys, TrustRule};
use serde::Deserialize;

use super::check::{Checked, field, parsed, path};
use super::size::Size;

const MAX_UPSTREAMS: usize = 16;
const MAX_HOSTS: usize = 64;
/// Fewest bytes a second that a limit may be: what a source must send to count as one that works.
const MIN_BANDWIDTH: u64 = 1 << 10;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawUpstream {
    url: String,
    public_keys: Vec<String>,
    #[serde(default = "priority")]
    priority: u16,
    #[serde(default = "signatures")]
    signatures: usize,
    #[serde(default)]
    content_addressed: ContentAddressed,
    credentials: Option<RawCredentials>,
    allowed_hosts: Option<Vec<String>>,
    ca_file: Option<String>,
    connections: Option<usize>,
    bandwidth: Option<Size>,
}

/// What becomes of narinfos without a signature whose content address makes their store path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
enum ContentAddressed {
    #[default]
    Refuse,
    Accept,
}

/// Exactly one of these.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[allow(clippy::struct_field_names, reason = "they are the names in the file")]
struct RawCredentials {
    bearer_file: Option<String>,
    basic_file: Option<String>,
    netrc_file: Option<String>,
}

pub(super) fn check_upstreams(raw: Vec<RawUpstream>, proxying: Option<&Proxying>) -> Checked<Vec<Source>> {
    if raw.is_empty() {
        return Err(field("upstreams", "name at least one binary cache to pull from, with its publicKeys"));
    }
    if raw.len() > MAX_UPSTREAMS {
        return Err(field("upstreams", format!("{} are too many; {MAX_UPSTREAMS} are allowed", raw.len())));
    }
    let mut seen = BTreeSet::new();
    let mut upstreams = Vec::with_capacity(raw.len());
    for (index, upstream) in raw.into_iter().enumerate() {
        let mut source = check_upstream(&format!("upstreams[{index}]"), upstream)?;
        source.access.proxy = proxying.and_then(|proxying| proxying.of_source(&source.url)).cloned();
        if !seen.insert(source.url.to_string()) {
            let problem = format!("{} is there twice; give it all its publicKeys in one entry", source.url);
            return Err(field(format!("upstreams[{index}].url"), problem));
        }
        upstreams.push(source);
    }
    order(&mut upstreams);
    Ok(upstreams)
}

fn check_upstream(name: &str, raw: RawUpstream) -> Checked<Source> {
    let at = |rest: &str| format!("{name}.{rest}");
    let RawUpstream {
        url,
        public_keys,
        priority,
        signatures,
        content_addressed,
        credentials,
        allowed_hosts,
        ca_file,
        connections,
        bandwidth,
    } = raw;
    let url = parsed::<BaseUrl>(&at("url"), &url, "write the http or https address of a binary cache")?;
    let content_addressed = content_addressed == ContentAddressed::Accept;
    if public_keys.is_empty() && !content_addressed {
        return Err(field(
            at("publicKeys"),
            "name at least one key: nothing is taken without a trusted signature",
        ));
    }
    let keys = public_keys.iter().enumerate().map(|(number, key)| {
        let hint = "write <name>:<base64>, as in nix's trusted-public-keys";
        parsed::<PublicKey>(&at(&format!("publicKeys[{number}]")), key, hint)
    });
    let keys = keys.collect::<Checked<PublicKeys>>()?;
    let most = keys.different().max(1);
    if !(1..=most).contains(&signatures) {
        let problem = format!("{signatures} is not between 1 and {most}, the number of different publicKeys");
        return Err(field(at("signatures"), problem));
    }
    if let Some(connections) = connections.filter(|connections| !(1..=256).contains(connections)) {
        return Err(field(at("connections"), format!("{connections} is not between 1 and 256")));
    }
    let access = Access {
        credentials: credentials.map(|raw| check_credentials(&at("credentials"), raw)).transpose()?,
        hosts: check_hosts(&at("allowedHosts"), allowed_hosts)?,
        ca_file: ca_file.map(|file| path(&at("caFile"), &file)).transpose()?,
        proxy: None,
        connections,
        bandwidth: check_bandwidth(&at("bandwidth"), bandwidth)?,
    };
    let rule = TrustRule { keys, signatures, content_addressed };
    Ok(Source { access, ..Source::new(url, rule, priority.into(), SourceKind::Upstream) })
}

fn check_credentials(name: &str, raw: RawCredentials) -> Checked<Credentials> {
    let RawCredentials { bearer_file, basic_file, netrc_file } = raw;
    let file = |kind: &str, file: String| -> Checked<PathBuf> { path(&format!("{name}.{kind}"), &file) };
    match (bearer_file, basic_file, netrc_file) {
        (Some(bearer), None, None) => file("bearerFile", bearer).map(Credentials::Bearer),
        (None, Some(basic), None) => file("basicFile", basic).map(Credentials::Basic),
        (None, None, Some(netrc)) => file("netrcFile", netrc).map(Credentials::Netrc),
        _ => Err(field(name, "set exactly one of bearerFile, basicFile and netrcFile")),
    }
}

fn check_hosts(name: &str, raw: Option<Vec<String>>) -> Checked<Hosts> {
    raw.map_or(Ok(Hosts::Usual), |raw| hosts(name, &raw).map(Hosts::Only))
}

/// A list of hosts.
pub(super) fn hosts(name: &str, raw: &[String]) -> Checked<Vec<Host>> {
    if raw.len() > MAX_HOSTS {
        return Err(field(name, format!("{} are too many; {MAX_HOSTS} are allowed", raw.len())));
    }
    let host = |(number, text): (usize, &String)| {
        parsed::<Host>(&format!("{name}[{number}]"), text, "a URL or a path does not belong there")
    };
    raw.iter().enumerate().map(host).collect()
}

/// Bytes a second, if there is a limit.
pub(super) fn check_bandwidth(name: &str, raw: Option<Size>) -> Checked<Option<u64>> {
    match raw {
        Some(Size(bytes)) if bytes < MIN_BANDWIDTH => {
            let problem = format!("{bytes} bytes a second are too few; write at least 1Ki, or leave it out");
            Err(field(name, problem))
        }
        _ => Ok(raw.map(|Size(bytes)| bytes)),
    }
}

fn priority() -> u16 {
    40
}

fn signatures() -> usize {
    1
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    const KEY: &str = "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=";
    const OTHER_KEY: &str = "nix-community.cachix.org-1:mB9FSh9qf2dCimDSUo8Zy7bkq5CX+/rkCWyvRCYg3Fs=";

    fn upstream(more: &str) -> Result<Source, String> {
        let yaml = format!(
            "directory: /srv/granary\nupstreams:\n- {{url: 'https://cache.nixos.org', {more}}}\n\
             storePaths: [/nix/store/gs26yhwqhp7ilmz2p2pnfkdqrndxyyfj-app-1.0]\n"
        );
        Config::parse(&yaml).map(|config| config.upstreams[0].clone()).map_err(|error| error.to_string())
    }

    fn signed(more: &str) -> Result<Source, String> {
        upstream(&format!("publicKeys: ['{KEY}', '{OTHER_KEY}', '{KEY}'], {more}"))
    }

    #[test]
    fn an_upstream_is_public_and_needs_one_signature_unless_said_otherwise() {
        let source = signed("").unwrap();
        assert_eq!(source.access, Access::default());
        let [rule] = source.trust.rules() else { panic!("{:?}", source.trust) };
        assert_eq!((rule.signatures, rule.content_addressed, rule.keys.different()), (1, false, 2));
    }

    #[test]
    fn every_setting_of_an_upstream_is_taken() {
        let source = signed(
            "priority: 7, signatures: 2, contentAddressed: Accept, credentials: {netrcFile: /run/netrc}, \
             allowedHosts: ['*.s3.example', 'minio:9000'], caFile: /etc/ca.pem, connections: 4, bandwidth: 10Mi",
        )
        .unwrap();
        let Source { url: _, trust, priority, kind, access } = source;
        let Access { credentials, hosts, ca_file, proxy, connections, bandwidth } = access;
        assert_eq!(proxy, None);
        assert_eq!((priority, kind), (7, SourceKind::Upstream));
        assert_eq!((trust.rules()[0].signatures, trust.rules()[0].content_addressed), (2, true));
        assert_eq!(credentials, Some(Credentials::Netrc("/run/netrc".into())));
        assert!(matches!(hosts, Hosts::Only(hosts) if hosts.len() == 2));
        assert_eq!(ca_file.as_deref(), Some(Path::new("/etc/ca.pem")));
        assert_eq!((connections, bandwidth), (Some(4), Some(10 << 20)));
        assert_eq!(signed("allowedHosts: []").unwrap().access.hosts, Hosts::Only(vec![]));
        assert!(upstream("publicKeys: [], contentAddressed: Accept").is_ok(), "content needs no key");
    }

    #[test]
    fn every_error_names_its_field() {
        for (more, words) in [
            ("signatures: 3", &["upstreams[0].signatures:", "between 1 and 2"][..]),
            ("signatures: 0", &["upstreams[0].signatures:"]),
            ("contentAddressed: Maybe", &["contentAddressed", "Accept"]),
            ("credentials: {}", &["upstreams[0].credentials:", "exactly one"]),
            ("credentials: {bearerFile: /a, netrcFile: /b}", &["upstreams[0].credentials:", "exactly one"]),
            ("credentials: {bearerFile: ''}", &["upstreams[0].credentials.bearerFile:", "empty"]),
            ("credentials: {token: x}", &["token"]),
            ("allowedHosts: ['ok', 'https://x/']", &["upstreams[0].allowedHosts[1]:", "<name>:<port>"]),
            ("caFile: ''", &["upstreams[0].caFile:"]),
            ("connections: 0", &["upstreams[0].connections:", "between 1"]),
            ("bandwidth: 10M", &["upstreams[0]", "bandwidth", "Mi"]),
            ("bandwidth: 100", &["upstreams[0].bandwidth:", "1Ki"]),
        ] {
            let error = signed(more).expect_err(more);
            for word in words {
                assert!(error.contains(word), "{more}\n→ {error}\nlacks {word:?}");
            }
        }
        assert!(upstream("publicKeys: []").unwrap_err().contains("upstreams[0].publicKeys:"));
    }

    #[test]
    fn one_upstream_is_named_once() {
        let entry = |url: &str| format!("- {{url: '{url}', publicKeys: ['{KEY}']}}\n");
        let yaml = format!(
            "directory: /srv/granary\nupstreams:\n{}{}storePaths: [/nix/store/gs26yhwqhp7ilmz2p2pnfkdqrndxyyfj-app-1.0]\n",
            entry("https://cache.nixos.org"),
            entry("https://cache.nixos.org/")
        );
        let error = Config::parse(&yaml).unwrap_err().to_string();
        assert!(error.contains("upstreams[1].url:") && error.contains("twice"), "{error}");
    }
}
