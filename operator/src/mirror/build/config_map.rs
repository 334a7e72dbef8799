//! The ConfigMap with a holder's configuration: the same file that a mirror without Kubernetes is given.

use k8s_openapi::api::core::v1::ConfigMap;
use serde::Serialize;

use super::{AGENT_PORT, HTTP_PORT, Settings, of_holder};
use crate::{
    kube_ext::hash,
    mirror::validate::{Holder, ValidatedMirror},
};

/// The key in the ConfigMap, and the file in the pod.
pub(super) const CONFIG_FILE: &str = "config.yaml";
/// Where the configuration is in the pod.
pub(super) const CONFIG_DIRECTORY: &str = "/etc/granary";
/// Where the mirror map is, below the configuration.
pub(super) const MAP_FILE: &str = "map/map.json";
/// Where the artifacts are in the pod.
pub(super) const DATA_DIRECTORY: &str = "/srv/granary";
/// Where agent and nginx meet.
pub(super) const RUN_DIRECTORY: &str = "/run/granary";
/// Where nginx's configuration is rendered.
pub(super) const FRONT_DIRECTORY: &str = "/run/granary/front";
/// How often the map is asked for.
const POLL_SECONDS: u32 = 2;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Config<'a> {
    name: &'a str,
    directory: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<&'a str>,
    upstreams: Vec<Upstream<'a>>,
    map: Map,
    publish: Publish<'a>,
    listen: Listen,
    front_directory: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Upstream<'a> {
    url: &'a str,
    public_keys: &'a [String],
    priority: u16,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Map {
    url: String,
    file: String,
    poll_seconds: u32,
}

#[derive(Serialize)]
struct Publish<'a> {
    narinfo: &'a str,
}

#[derive(Serialize)]
struct Listen {
    http: String,
    agent: String,
}

/// The ConfigMap, and the hash of its text.
pub(super) fn build(
    mirror: &ValidatedMirror,
    holder: &Holder,
    settings: &Settings,
) -> Result<(ConfigMap, String), serde_json::Error> {
    let upstreams = mirror.upstreams.iter();
    let config = Config {
        name: holder.name.as_str(),
        directory: DATA_DIRECTORY,
        url: holder.url.as_deref(),
        upstreams: upstreams
            .map(|upstream| Upstream {
                url: &upstream.url,
                public_keys: &upstream.public_keys,
                priority: upstream.priority,
            })
            .collect(),
        map: Map {
            url: format!("{}/v1/map/{}", settings.map_url, mirror.namespace),
            file: format!("{CONFIG_DIRECTORY}/{MAP_FILE}"),
            poll_seconds: POLL_SECONDS,
        },
        publish: Publish { narinfo: mirror.publish_narinfo.as_str() },
        listen: Listen { http: format!("0.0.0.0:{HTTP_PORT}"), agent: format!("0.0.0.0:{AGENT_PORT}") },
        front_directory: FRONT_DIRECTORY,
    };
    // JSON is YAML, and has no corner cases of quoting.
    let text = serde_json::to_string_pretty(&config)?;
    let hash = hash::short(&text);
    let data = [(CONFIG_FILE.to_owned(), text)].into();
    Ok((ConfigMap { metadata: of_holder(mirror, holder), data: Some(data), ..ConfigMap::default() }, hash))
}

#[cfg(test)]
mod tests {
    use crate::mirror::build::tests::built;

    #[test]
    fn the_file_that_the_mirror_reads() {
        let resources = built("{publish: {narinfo: Never}}");
        let text = &resources.config_maps[1].data.as_ref().unwrap()["config.yaml"];
        let expected = "
name: blue-1
directory: /srv/granary
url: https://blue-1.example.org
upstreams:
- url: https://up.example.org
  publicKeys: ['some.key-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=']
  priority: 40
map: {url: 'http://maps.example:8080/v1/map/site', file: /etc/granary/map/map.json, pollSeconds: 2}
publish: {narinfo: Never}
listen: {http: '0.0.0.0:8080', agent: '0.0.0.0:8081'}
frontDirectory: /run/granary/front
";
        let read = |text: &str| serde_yaml::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(read(text), read(expected));
    }
}
