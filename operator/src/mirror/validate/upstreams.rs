//! The upstreams of a spec.

use granary_crds::{
    Size,
    cache_mirror::{
        self, CaConfigMapRef, ContentAddressed, CredentialsFormat, CredentialsSecretRef, MAX_CONNECTIONS,
    },
    is_host, is_object_name, is_proxy_except, is_proxy_url, is_public_key, is_secret_key, is_upstream_url,
};

use super::{Invalid, check_size};

/// A binary cache to pull from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Its URL.
    pub url: String,
    /// The keys that are trusted for it.
    pub public_keys: Vec<String>,
    /// Lower is asked first.
    pub priority: u16,
    /// How many of the keys must have signed.
    pub signatures: u8,
    /// Whether a content-addressed path counts without a signature.
    pub content_addressed: ContentAddressed,
    /// What it asks for.
    pub credentials: Option<Credentials>,
    /// Who is trusted besides the system's authorities.
    pub authorities: Option<Authorities>,
    /// Other hosts that it may lead to.
    pub allowed_hosts: Vec<String>,
    /// The most bytes a second.
    pub bandwidth: Option<u64>,
    /// The most transfers at once.
    pub connections: Option<u16>,
}

/// A key of a ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorities {
    /// The ConfigMap.
    pub config_map: String,
    /// The key in it.
    pub key: String,
}

/// A key of a Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The Secret.
    pub secret: String,
    /// The key in it.
    pub key: String,
    /// What it holds.
    pub format: CredentialsFormat,
}

/// An HTTP proxy on the way to upstreams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// Its URL.
    pub url: String,
    /// Hosts that are asked directly.
    pub except: Vec<String>,
}

pub(super) fn check_proxy(proxy: &cache_mirror::Proxy, faults: &mut Vec<Invalid>) -> Proxy {
    let cache_mirror::Proxy { url, except } = proxy;
    if !is_proxy_url(url) {
        faults.push(Invalid::Proxy(url.clone()));
    }
    for host in except.iter().filter(|host| !is_proxy_except(host)) {
        faults.push(Invalid::ProxyExcept(host.clone()));
    }
    Proxy { url: url.clone(), except: except.clone() }
}

pub(super) fn check(upstreams: &[cache_mirror::Upstream], faults: &mut Vec<Invalid>) -> Vec<Upstream> {
    if upstreams.is_empty() {
        faults.push(Invalid::NoUpstream);
    }
    let mut checked: Vec<Upstream> = Vec::new();
    for upstream in upstreams {
        if checked.iter().any(|known| known.url == upstream.url) {
            faults.push(Invalid::RepeatedUpstream(upstream.url.clone()));
        }
        checked.push(one(upstream, faults));
    }
    checked
}

fn one(upstream: &cache_mirror::Upstream, faults: &mut Vec<Invalid>) -> Upstream {
    let cache_mirror::Upstream {
        url,
        public_keys,
        signatures,
        content_addressed,
        priority,
        credentials_secret_ref,
        ca_config_map_ref,
        allowed_hosts,
        bandwidth,
        connections,
    } = upstream;
    if !is_upstream_url(url) {
        faults.push(Invalid::Url { field: "spec.upstreams[].url", value: url.clone() });
    }
    if public_keys.is_empty() {
        faults.push(Invalid::NoKey(url.clone()));
    }
    for key in public_keys.iter().filter(|key| !is_public_key(key)) {
        faults.push(Invalid::Key { url: url.clone(), key: key.clone() });
    }
    let checked_signatures = u8::try_from(*signatures)
        .ok()
        .filter(|number| (1..=public_keys.len()).contains(&usize::from(*number)));
    if checked_signatures.is_none() && !public_keys.is_empty() {
        faults.push(Invalid::Signatures { url: url.clone(), signatures: *signatures });
    }
    let checked_priority = u16::try_from(*priority).ok().filter(|priority| *priority <= 1000);
    if checked_priority.is_none() {
        faults.push(Invalid::Priority { url: url.clone(), priority: *priority });
    }
    for host in allowed_hosts.iter().filter(|host| !is_host(host)) {
        faults.push(Invalid::Host { url: url.clone(), host: host.clone() });
    }
    let checked_connections = connections.and_then(|number| {
        let checked = u16::try_from(number).ok().filter(|_| (1..=MAX_CONNECTIONS).contains(&number));
        if checked.is_none() {
            faults.push(Invalid::Connections { url: url.clone(), connections: number });
        }
        checked
    });
    Upstream {
        url: url.clone(),
        public_keys: public_keys.clone(),
        priority: checked_priority.unwrap_or_default(),
        signatures: checked_signatures.unwrap_or(1),
        content_addressed: *content_addressed,
        credentials: credentials_secret_ref.as_ref().map(|reference| credentials(reference, faults)),
        authorities: ca_config_map_ref.as_ref().map(|reference| authorities(reference, faults)),
        allowed_hosts: allowed_hosts.clone(),
        bandwidth: rate(bandwidth.as_ref(), faults),
        connections: checked_connections,
    }
}

fn rate(bandwidth: Option<&Size>, faults: &mut Vec<Invalid>) -> Option<u64> {
    check_size("spec.upstreams[].bandwidth", bandwidth, faults)
}

fn authorities(reference: &CaConfigMapRef, faults: &mut Vec<Invalid>) -> Authorities {
    let CaConfigMapRef { name, key } = reference;
    if !is_object_name(name) {
        let field = "spec.upstreams[].caConfigMapRef.name";
        faults.push(Invalid::ConfigMapRef { field, value: name.clone() });
    }
    if !is_secret_key(key) {
        let field = "spec.upstreams[].caConfigMapRef.key";
        faults.push(Invalid::ConfigMapRef { field, value: key.clone() });
    }
    Authorities { config_map: name.clone(), key: key.clone() }
}

fn credentials(reference: &CredentialsSecretRef, faults: &mut Vec<Invalid>) -> Credentials {
    let CredentialsSecretRef { name, key: _, format } = reference;
    let key = reference.key();
    if !is_object_name(name) {
        let field = "spec.upstreams[].credentialsSecretRef.name";
        faults.push(Invalid::SecretRef { field, value: name.clone() });
    }
    if !is_secret_key(key) {
        let field = "spec.upstreams[].credentialsSecretRef.key";
        faults.push(Invalid::SecretRef { field, value: key.to_owned() });
    }
    Credentials { secret: name.clone(), key: key.to_owned(), format: *format }
}
