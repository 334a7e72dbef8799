//! What can be wrong with a spec.

use granary_crds::{
    InvalidDuration, InvalidSize,
    cache_mirror::{MAX_CONNECTIONS, MAX_NAME, MAX_REPLICAS},
};

/// What is wrong with a spec. Each says what to change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// The object has no namespace or no uid: the API server always gives both.
    #[error("the object has no {0}")]
    Incomplete(&'static str),
    /// The name cannot be part of other names.
    #[error(
        "the name {0:?} cannot be used: at most {MAX_NAME} lower case letters, digits and '-', beginning with a letter, and not ending in '-' and a number"
    )]
    Name(String),
    /// Too few or too many replicas.
    #[error("spec.replicas is {0}: it must be 1 to {MAX_REPLICAS}")]
    Replicas(i32),
    /// Two storages.
    #[error(
        "two storages in one mirror: keep hostPath or volumeClaim in spec.storage.filesystem and remove the other"
    )]
    TwoStorages,
    /// No storage.
    #[error("no storage: set hostPath or volumeClaim in spec.storage.filesystem")]
    NoStorage,
    /// A host path that is none.
    #[error(
        "spec.storage.filesystem.hostPath is {0:?}: write an absolute path below / without '.' or '..', for example /srv/granary"
    )]
    HostPath(String),
    /// A size that is none.
    #[error("{field} is {value:?}: {source}")]
    Size {
        /// The field.
        field: &'static str,
        /// What it is.
        value: String,
        /// Why it is none.
        source: InvalidSize,
    },
    /// No upstream.
    #[error("spec.upstreams is empty: name at least one binary cache to pull from")]
    NoUpstream,
    /// A URL that is none, or has what a URL may not have here.
    #[error(
        "{field} is {value:?}: write http://host[:port][/path] or https://…, without a trailing slash, a query, a user name or a password"
    )]
    Url {
        /// The field.
        field: &'static str,
        /// What it is.
        value: String,
    },
    /// The URL of the proxy.
    #[error(
        "spec.proxy.url: {0:?} is no proxy: write http://host:port, without a path, a user name or a password"
    )]
    Proxy(String),
    /// A host that no proxy is asked for.
    #[error(
        "spec.proxy.except: {0:?} is no host: write for example minio.example.edu, minio:9000 or *.example.edu"
    )]
    ProxyExcept(String),
    /// An upstream named twice.
    #[error("spec.upstreams names {0} twice: remove one")]
    RepeatedUpstream(String),
    /// No key.
    #[error("spec.upstreams: {0} has no public key, so that nothing of it could be trusted: add publicKeys")]
    NoKey(String),
    /// A key that is none.
    #[error(
        "spec.upstreams: {key:?} of {url} is not a Nix public key: write name:base64 as in trusted-public-keys"
    )]
    Key {
        /// The upstream.
        url: String,
        /// The key.
        key: String,
    },
    /// A priority out of range.
    #[error("spec.upstreams: the priority {priority} of {url} must be 0 to 1000")]
    Priority {
        /// The upstream.
        url: String,
        /// Its priority.
        priority: i32,
    },
    /// More signatures than keys, or none.
    #[error(
        "spec.upstreams: {url} asks for {signatures} signatures: it must be 1 to the number of its publicKeys"
    )]
    Signatures {
        /// The upstream.
        url: String,
        /// How many are asked for.
        signatures: i32,
    },
    /// A host that is none.
    #[error(
        "spec.upstreams: the host {host:?} in allowedHosts of {url}: write a name such as cdn.example.org, without a scheme, a port or a path"
    )]
    Host {
        /// The upstream.
        url: String,
        /// The host.
        host: String,
    },
    /// Connections out of range.
    #[error("spec.upstreams: {connections} connections to {url}: it must be 1 to {MAX_CONNECTIONS}")]
    Connections {
        /// The upstream.
        url: String,
        /// How many.
        connections: i32,
    },
    /// A reference to a Secret that cannot be followed.
    #[error(
        "{field} is {value:?}: write the name of a Secret, or of a key in it, in the namespace of the CacheMirror"
    )]
    SecretRef {
        /// The field.
        field: &'static str,
        /// What it is.
        value: String,
    },
    /// A reference to a ConfigMap that cannot be followed.
    #[error(
        "{field} is {value:?}: write the name of a ConfigMap, or of a key in it, in the namespace of the CacheMirror"
    )]
    ConfigMapRef {
        /// The field.
        field: &'static str,
        /// What it is.
        value: String,
    },
    /// A length of time that is none.
    #[error("{field} is {value:?}: {source}")]
    Duration {
        /// The field.
        field: &'static str,
        /// What it is.
        value: String,
        /// Why it is none.
        source: InvalidDuration,
    },
    /// A push without a key.
    #[error("spec.push has no public key, so that nothing of it could be trusted: add publicKeys")]
    NoPushKey,
    /// A key of a push that is none.
    #[error(
        "spec.push.publicKeys: {0:?} is not a Nix public key: write name:base64 as in trusted-public-keys"
    )]
    PushKey(String),
    /// A push over plain HTTP that nobody confirmed.
    #[error(
        "spec.push.allowPlainHttp is not true: tokens would cross the network for everybody to read; set it where something in front of the mirror speaks TLS, or where the network is trusted"
    )]
    PlainPush,
    /// One URL for several replicas.
    #[error(
        "spec.url is {0:?} for several replicas: write {{ordinal}} in it, so that each has its own, or set spec.replicas to 1"
    )]
    OneUrl(String),
    /// A number out of range.
    #[error("{field} is {value}: it must be {least} to {most}")]
    Bounds {
        /// The field.
        field: &'static str,
        /// What it is.
        value: i32,
        /// The smallest that is allowed.
        least: i32,
        /// The largest that is allowed.
        most: i32,
    },
    /// One port of the node for two protocols.
    #[error(
        "spec.serving.hostPort and spec.serving.tls.hostPort are both {0}: one port cannot speak HTTP and HTTPS; give them different numbers, or leave one out"
    )]
    OneHostPort(u16),
    /// A proxy's address that is none.
    #[error(
        "spec.serving.clients.trustedProxies: {0:?} is neither an address nor a network: write for example 10.0.0.1 or 10.0.0.0/8"
    )]
    Network(String),
}
