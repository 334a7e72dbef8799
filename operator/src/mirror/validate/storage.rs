//! Where the artifacts of a mirror lie.

use granary_crds::{
    cache_mirror::{Filesystem, Storage, VolumeClaim},
    is_host_path,
};

use super::{Invalid, check_size};

/// Where the artifacts lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disk {
    /// A directory on the node.
    HostPath(String),
    /// A volume of the cluster.
    Volume {
        /// The class that provides it; `None`: the default one.
        class: Option<String>,
        /// Its size.
        size: String,
    },
}

/// Exactly one of the two.
pub(super) fn check(storage: &Storage, faults: &mut Vec<Invalid>) -> Option<Disk> {
    let Storage { filesystem: Filesystem { host_path, volume_claim }, capacity, keep_free: _ } = storage;
    check_size("spec.storage.capacity", Some(capacity), faults);
    match (host_path, volume_claim) {
        (Some(_), Some(_)) => {
            faults.push(Invalid::TwoStorages);
            None
        }
        (None, None) => {
            faults.push(Invalid::NoStorage);
            None
        }
        (Some(path), None) => {
            if !is_host_path(path) {
                faults.push(Invalid::HostPath(path.clone()));
            }
            Some(Disk::HostPath(path.clone()))
        }
        (None, Some(VolumeClaim { storage_class_name, size: volume })) => {
            check_size("spec.storage.filesystem.volumeClaim.size", Some(volume), faults);
            Some(Disk::Volume { class: storage_class_name.clone(), size: volume.as_str().to_owned() })
        }
    }
}
