//! How a mirror looks after what it has, and who may bring more.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::{duration::Duration, rules, size::Size};

/// Reading everything again and again, so that rot is found and repaired before a client meets it.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Scrub {
    /// Whether it is done. Default: true.
    #[serde(default = "default_enabled")]
    pub enabled: bool,

    /// The time in which everything is read once, for example 14d. Default: 14d.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period: Option<Duration>,

    /// The most bytes a second that are read for it on each replica, for example 20Mi. Default: 20Mi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<Size>,
}

/// Who may bring artifacts with `nix copy --to`.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.allowPlainHttp").message("tokens would cross the network for everybody to read: set allowPlainHttp to true where something in front of the mirror speaks TLS, or where the network is trusted").field_path(".allowPlainHttp"))]
pub struct Push {
    /// A key of a Secret in the namespace of the CacheMirror that holds the tokens of those who may push. It is mounted into the pods and
    /// read again when it changes.
    pub token_secret_ref: SecretKeyRef,

    /// The most that each replica keeps of what was pushed and no policy wants, for example 50Gi.
    pub max_size: Size,

    /// The keys of which one must have signed what is pushed, 1 to 16.
    #[schemars(length(min = 1, max = 16), inner(length(max = 256)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[x_kube(validation = Rule::new(rules::PUBLIC_KEYS).message(rules::PUBLIC_KEYS_MESSAGE))]
    pub public_keys: Vec<String>,

    /// Confirms that tokens may come over plain HTTP, which the mirror always speaks, with `serving.tls` too. Default: false, which is refused.
    #[serde(default)]
    pub allow_plain_http: bool,
}

/// One key of a Secret.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(rules::OBJECT_NAME).message(rules::OBJECT_NAME_MESSAGE))]
    pub name: String,

    /// The key in the Secret. Default: token.
    #[serde(default = "default_key")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(rules::SECRET_KEY).message(rules::SECRET_KEY_MESSAGE))]
    pub key: String,
}

fn default_enabled() -> bool {
    true
}

fn default_key() -> String {
    "token".to_owned()
}
