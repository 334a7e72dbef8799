//! What the containers see of the world.

use k8s_openapi::api::core::v1::{
    ConfigMapProjection, EmptyDirVolumeSource, HostPathVolumeSource, KeyToPath, ProjectedVolumeSource,
    Volume, VolumeMount, VolumeProjection,
};

use crate::{
    map,
    mirror::{
        build::config_map::{CONFIG_DIRECTORY, CONFIG_FILE, DATA_DIRECTORY, MAP_FILE, RUN_DIRECTORY},
        validate::{Disk, Holder, ValidatedMirror},
    },
};

/// The artifacts. With a claim, the claim template has this name.
pub(in crate::mirror::build) const DATA: &str = "data";
const CONFIG: &str = "config";
const RUN: &str = "run";
const TMP: &str = "tmp";

/// The pod's volumes.
pub(super) fn of_pod(mirror: &ValidatedMirror, holder: &Holder) -> Vec<Volume> {
    let mut volumes = vec![config(holder), scratch(RUN), scratch(TMP)];
    if let Disk::HostPath(path) = &mirror.storage {
        volumes.push(Volume {
            name: DATA.to_owned(),
            host_path: Some(HostPathVolumeSource {
                // A name has no dot, so that two namespaces never meet in one directory.
                path: format!("{path}/{}.{}", mirror.namespace, holder.name),
                type_: Some("DirectoryOrCreate".to_owned()),
            }),
            ..Volume::default()
        });
    }
    volumes
}

/// Where a container sees the artifacts.
pub(super) fn data(read_only: bool) -> VolumeMount {
    mount(DATA, DATA_DIRECTORY, read_only)
}

/// Where the agent sees its configuration and the mirror map.
pub(super) fn configuration() -> VolumeMount {
    mount(CONFIG, CONFIG_DIRECTORY, true)
}

/// Where nginx and the agent meet, and what both need to write to.
pub(super) fn working() -> [VolumeMount; 2] {
    [mount(RUN, RUN_DIRECTORY, false), mount(TMP, "/tmp", false)]
}

/// The holder's configuration and the mirror map in one volume: a second one could not be mounted below the first, which is read-only.
fn config(holder: &Holder) -> Volume {
    let source = |name: &str, key: &str, path: &str, optional: bool| VolumeProjection {
        config_map: Some(ConfigMapProjection {
            name: name.to_owned(),
            items: Some(vec![KeyToPath { key: key.to_owned(), path: path.to_owned(), mode: None }]),
            optional: Some(optional),
        }),
        ..VolumeProjection::default()
    };
    Volume {
        name: CONFIG.to_owned(),
        projected: Some(ProjectedVolumeSource {
            sources: Some(vec![
                source(holder.name.as_str(), CONFIG_FILE, CONFIG_FILE, false),
                source(map::CONFIG_MAP, map::KEY, MAP_FILE, true),
            ]),
            default_mode: None,
        }),
        ..Volume::default()
    }
}

fn scratch(name: &str) -> Volume {
    Volume { name: name.to_owned(), empty_dir: Some(EmptyDirVolumeSource::default()), ..Volume::default() }
}

fn mount(name: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    }
}
