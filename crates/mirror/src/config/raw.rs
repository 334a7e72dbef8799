//! The file as it is written. Texts stay texts here, so that [`super::check`] can say which field is wrong and why.

use serde::Deserialize;

use super::Extras;
use super::capacity::RawCapacity;
use super::channels::RawChannel;
use super::clients::RawClients;
use super::proxy::RawProxy;
use super::pull_through::RawPullThrough;
use super::retention::RawRetention;
use super::scrub::RawScrub;
use super::size::Size;
use super::tls::RawTls;
use super::upstreams::RawUpstream;
use crate::front::Publish;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Raw {
    #[serde(default = "name")]
    pub name: String,
    pub directory: String,
    pub upstreams: Vec<RawUpstream>,
    pub proxy: Option<RawProxy>,
    pub store_paths: Option<Vec<String>>,
    pub map: Option<RawMap>,
    #[serde(default)]
    pub channels: Vec<RawChannel>,
    pub pull_through: Option<RawPullThrough>,
    pub url: Option<String>,
    #[serde(default)]
    pub publish: RawPublish,
    #[serde(default)]
    pub listen: RawListen,
    pub tls: Option<RawTls>,
    #[serde(default)]
    pub clients: RawClients,
    pub front_directory: Option<String>,
    #[serde(default)]
    pub cache_info: RawCacheInfo,
    #[serde(default = "sync_seconds")]
    pub sync_seconds: u64,
    #[serde(default)]
    pub limits: RawLimits,
    pub push: Option<super::push::RawPush>,
    pub retention: Option<RawRetention>,
    pub capacity: Option<RawCapacity>,
    #[serde(default)]
    pub scrub: RawScrub,
    #[serde(default)]
    pub extras: Extras,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawMap {
    pub url: Option<String>,
    pub file: Option<String>,
    #[serde(default = "poll_seconds")]
    pub poll_seconds: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawPublish {
    #[serde(default)]
    pub narinfo: Publish,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct RawListen {
    /// `null`: HTTPS alone.
    pub http: Option<String>,
    pub https: Option<String>,
    pub agent: String,
}

impl Default for RawListen {
    fn default() -> Self {
        Self { http: Some("[::]:8080".into()), https: None, agent: "[::]:8081".into() }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct RawCacheInfo {
    pub store_dir: String,
    pub priority: u16,
}

impl Default for RawCacheInfo {
    fn default() -> Self {
        Self { store_dir: granary_nix::STORE_DIR.into(), priority: 30 }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct RawLimits {
    pub connections: usize,
    pub decoders: Option<usize>,
    pub max_nar_size: Option<u64>,
    pub silence_seconds: u64,
    pub connect_seconds: u64,
    pub bandwidth: Option<Size>,
}

impl Default for RawLimits {
    fn default() -> Self {
        Self {
            connections: 8,
            decoders: None,
            max_nar_size: None,
            silence_seconds: 20,
            connect_seconds: 5,
            bandwidth: None,
        }
    }
}

fn name() -> String {
    "local".into()
}

fn sync_seconds() -> u64 {
    30
}

fn poll_seconds() -> u64 {
    2
}
