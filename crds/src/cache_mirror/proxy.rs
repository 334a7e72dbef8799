//! An HTTP proxy on the way to the upstreams.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::rules;

/// An HTTP proxy, as in networks that let nobody out directly.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Proxy {
    /// Where it is, for example `http://proxy.example.edu:3128`.
    #[schemars(length(max = 256))]
    #[x_kube(validation = Rule::new(rules::PROXY_URL).message(rules::PROXY_URL_MESSAGE))]
    pub url: String,

    /// Hosts of upstreams and channels that are asked directly, at most 64: names, names with a port, or `*.` and a domain. Default:
    /// none. Other mirrors and the operator are always asked directly.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 253)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[x_kube(validation = Rule::new(rules::PROXY_EXCEPT).message(rules::PROXY_EXCEPT_MESSAGE))]
    pub except: Vec<String>,
}
