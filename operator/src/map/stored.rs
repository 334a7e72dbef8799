//! Reading and writing the ConfigMap of a map.

use std::collections::BTreeMap;

use granary_placement::{MapError, MirrorMap};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client, api::PostParams};

use super::{CONFIG_MAP, KEY};

/// Where the text of a map that could not be read is kept, for whoever wants to know what happened.
const UNREADABLE: &str = "unreadable-map.json";
/// How much of it, in bytes: a ConfigMap holds one MiB.
const UNREADABLE_KEPT: usize = 64 << 10;

/// Why a map was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Somebody wrote first.
    #[error("somebody wrote the map first")]
    Conflict,
    /// The stored map cannot be read from the API server.
    #[error("the ConfigMap {CONFIG_MAP} cannot be read: {0}")]
    Read(#[source] Box<kube::Error>),
    /// The API server does not take it.
    #[error("the ConfigMap {CONFIG_MAP} cannot be written: {0}")]
    Write(#[source] Box<kube::Error>),
    /// It would be no map.
    #[error("the map would break its own rules: {0}")]
    Map(#[from] MapError),
}

impl WriteError {
    /// The label of the error metric.
    #[must_use]
    pub fn metric_label(&self) -> &'static str {
        match self {
            Self::Conflict => "conflict",
            Self::Read(_) => "read",
            Self::Write(_) => "write",
            Self::Map(_) => "map",
        }
    }
}

/// The stored ConfigMap.
pub async fn read(client: &Client, namespace: &str) -> Result<Option<ConfigMap>, WriteError> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    api.get_opt(CONFIG_MAP).await.map_err(|error| WriteError::Read(Box::new(error)))
}

/// Writes a map in place of exactly the ConfigMap that was read, or creates it when there was none.
pub async fn write(
    client: &Client,
    namespace: &str,
    read: Option<ConfigMap>,
    map: &MirrorMap,
    unreadable: Option<&str>,
) -> Result<ConfigMap, WriteError> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let exists = read.is_some();
    let config_map = filled(read.unwrap_or_default(), map, unreadable);
    let parameters = PostParams::default();
    let written = if exists {
        // The metadata that was read carries the resource version: two operators can never write two maps of one epoch.
        api.replace(CONFIG_MAP, &parameters, &config_map).await
    } else {
        api.create(&parameters, &config_map).await
    };
    written.map_err(|error| match &error {
        kube::Error::Api(status) if status.code == 409 => WriteError::Conflict,
        // Deleted since it was read.
        kube::Error::Api(status) if status.code == 404 && exists => WriteError::Conflict,
        _ => WriteError::Write(Box::new(error)),
    })
}

fn filled(mut config_map: ConfigMap, map: &MirrorMap, unreadable: Option<&str>) -> ConfigMap {
    config_map.metadata.name = Some(CONFIG_MAP.to_owned());
    let labels = config_map.metadata.labels.get_or_insert_with(BTreeMap::new);
    for (label, value) in
        [("app.kubernetes.io/managed-by", "granary-operator"), ("app.kubernetes.io/component", "mirror-map")]
    {
        labels.insert(label.to_owned(), value.to_owned());
    }
    let data = config_map.data.get_or_insert_with(BTreeMap::new);
    if let Some(text) = unreadable {
        data.insert(UNREADABLE.to_owned(), text[..text.floor_char_boundary(UNREADABLE_KEPT)].to_owned());
    }
    data.insert(KEY.to_owned(), String::from_utf8_lossy(&map.to_json()).into_owned());
    config_map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_keeps_the_version_that_was_read_and_the_text_that_could_not_be() {
        let read: ConfigMap = serde_yaml::from_str(
            "{metadata: {name: granary-mirror-map, resourceVersion: '7', labels: {team: x}}, data: {map.json: '{', other: kept}}",
        )
        .unwrap();
        let map = MirrorMap {
            epoch: 2,
            namespace: "ns".into(),
            mirrors: vec![],
            policies: vec![],
            table_hash: String::new(),
        };
        let written = filled(read, &map, Some("{"));
        assert_eq!(written.metadata.resource_version.as_deref(), Some("7"));
        assert_eq!(written.metadata.labels.as_ref().unwrap()["team"], "x");
        let data = written.data.unwrap();
        assert_eq!((data[UNREADABLE].as_str(), data["other"].as_str()), ("{", "kept"));
        assert_eq!(MirrorMap::from_json(data[KEY].as_bytes()).unwrap(), map);
    }
}
