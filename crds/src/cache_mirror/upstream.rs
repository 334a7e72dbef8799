//! Where a mirror pulls from.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{rules, size::Size};

/// The largest number of transfers from one upstream at once.
pub const MAX_CONNECTIONS: i32 = 256;

/// A binary cache to pull from.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.signatures <= size(self.publicKeys)").message("more signatures are asked for than there are keys: lower signatures or add publicKeys").field_path(".signatures"))]
pub struct Upstream {
    /// The cache's URL, `http` or `https`, without a trailing slash.
    #[schemars(length(max = 256))]
    #[x_kube(validation = Rule::new(rules::UPSTREAM_URL).message(rules::UPSTREAM_URL_MESSAGE))]
    pub url: String,

    /// The keys whose signatures are trusted for what comes from this upstream, 1 to 16, as in nix.conf's `trusted-public-keys`:
    /// `name:base64`. A narinfo without a good signature by one of them is refused.
    #[schemars(length(min = 1, max = 16), inner(length(max = 256)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[x_kube(validation = Rule::new(rules::PUBLIC_KEYS).message(rules::PUBLIC_KEYS_MESSAGE))]
    pub public_keys: Vec<String>,

    /// The number of different keys of `publicKeys` that must have signed each narinfo, 1 to 16. Default: 1.
    #[serde(default = "default_signatures")]
    #[schemars(range(min = 1, max = 16))]
    pub signatures: i32,

    /// Whether a content-addressed store path counts without a signature: its name proves its content. `Refuse` or `Accept`. Default:
    /// Refuse.
    #[serde(default)]
    pub content_addressed: ContentAddressed,

    /// The order in which upstreams are asked: lower first, 0 to 1000. Default: 40.
    #[serde(default = "default_priority")]
    #[schemars(range(min = 0, max = 1000))]
    pub priority: i32,

    /// A Secret in the namespace of the CacheMirror with what the upstream asks for. It is mounted into the pods and read again when it
    /// changes. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<CredentialsSecretRef>,

    /// A ConfigMap in the namespace of the CacheMirror with PEM certificates of authorities that are trusted for this upstream besides
    /// the system's. It is read again when it changes. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_config_map_ref: Option<CaConfigMapRef>,

    /// Other hosts that the upstream's NAR URLs and redirects may lead to, at most 16. Default: none are named; then NAR URLs stay at the
    /// upstream.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 253)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[x_kube(validation = Rule::new(rules::HOSTS).message(rules::HOSTS_MESSAGE))]
    pub allowed_hosts: Vec<String>,

    /// The most bytes a second that are pulled from this upstream, for example 50Mi. Default: no limit of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<Size>,

    /// The most NAR files that are pulled from this upstream at once, 1 to 256. Default: no limit of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 256))]
    pub connections: Option<i32>,
}

/// Whether a content-addressed store path counts without a signature.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContentAddressed {
    /// It needs a signature as any other.
    #[default]
    Refuse,
    /// It counts when its content addresses to its store path.
    Accept,
}

/// One key of a ConfigMap.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CaConfigMapRef {
    /// The ConfigMap's name.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(rules::OBJECT_NAME).message(rules::OBJECT_NAME_MESSAGE))]
    pub name: String,

    /// The key in the ConfigMap. Default: ca.crt.
    #[serde(default = "default_ca_key")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(rules::SECRET_KEY).message(rules::CONFIG_MAP_KEY_MESSAGE))]
    pub key: String,
}

/// One key of a Secret, and how what it holds is used.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CredentialsSecretRef {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(rules::OBJECT_NAME).message(rules::OBJECT_NAME_MESSAGE))]
    pub name: String,

    /// The key in the Secret. Default: `token` for `Bearer`, `netrc` for `Netrc`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(rules::SECRET_KEY).message(rules::SECRET_KEY_MESSAGE))]
    pub key: Option<String>,

    /// What the key holds. `Bearer`: a token, sent as `Authorization: Bearer`. `Netrc`: lines as in Nix's `netrc-file`. Default: Bearer.
    #[serde(default)]
    pub format: CredentialsFormat,
}

/// What a Secret holds.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum CredentialsFormat {
    /// A token.
    #[default]
    Bearer,
    /// A netrc file.
    Netrc,
}

fn default_ca_key() -> String {
    "ca.crt".to_owned()
}

fn default_priority() -> i32 {
    40
}

fn default_signatures() -> i32 {
    1
}

// === impl CredentialsSecretRef ===

impl CredentialsSecretRef {
    /// The key in the Secret, given or by default.
    #[must_use]
    pub fn key(&self) -> &str {
        self.key.as_deref().unwrap_or(match self.format {
            CredentialsFormat::Bearer => "token",
            CredentialsFormat::Netrc => "netrc",
        })
    }
}

// === impl ContentAddressed ===

impl ContentAddressed {
    /// The name that the mirror's configuration file uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refuse => "Refuse",
            Self::Accept => "Accept",
        }
    }
}
