//! What the containers see of the world.

use k8s_openapi::api::core::v1::{
    ConfigMapProjection, EmptyDirVolumeSource, HostPathVolumeSource, KeyToPath, ProjectedVolumeSource,
    SecretProjection, Volume, VolumeMount, VolumeProjection,
};

use crate::{
    map,
    mirror::{
        build::config_map::{
            CERTIFICATE_FILE, CONFIG_DIRECTORY, CONFIG_FILE, DATA_DIRECTORY, KEY_FILE, MAP_FILE,
            RUN_DIRECTORY, TOKENS_FILE, authorities_file, credentials_file,
        },
        validate::{Authorities, Credentials, Disk, Holder, Push, Tls, ValidatedMirror},
    },
};

/// The artifacts. With a claim, the claim template has this name.
pub(in crate::mirror::build) const DATA: &str = "data";
const CONFIG: &str = "config";
const RUN: &str = "run";
const TMP: &str = "tmp";

/// The pod's volumes.
pub(super) fn of_pod(mirror: &ValidatedMirror, holder: &Holder) -> Vec<Volume> {
    let mut volumes = vec![config(mirror, holder), scratch(RUN), scratch(TMP)];
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

/// The holder's configuration, the mirror map and the upstreams' credentials in one volume: a second one could not be mounted below the
/// first, which is read-only.
fn config(mirror: &ValidatedMirror, holder: &Holder) -> Volume {
    Volume {
        name: CONFIG.to_owned(),
        projected: Some(ProjectedVolumeSource {
            sources: Some(
                [
                    from_config_map(holder.name.as_str(), CONFIG_FILE, CONFIG_FILE, false),
                    from_config_map(map::CONFIG_MAP, map::KEY, MAP_FILE, true),
                ]
                .into_iter()
                .chain(credentials(mirror))
                .chain(authorities(mirror))
                .chain(tokens(mirror))
                .chain(certificate(mirror))
                .collect(),
            ),
            default_mode: None,
        }),
        ..Volume::default()
    }
}

fn credentials(mirror: &ValidatedMirror) -> impl Iterator<Item = VolumeProjection> {
    mirror.upstreams.iter().enumerate().filter_map(|(number, upstream)| {
        let Credentials { secret, key, format: _ } = upstream.credentials.as_ref()?;
        Some(from_secret(secret, &[(key, &credentials_file(number))]))
    })
}

fn authorities(mirror: &ValidatedMirror) -> impl Iterator<Item = VolumeProjection> {
    mirror.upstreams.iter().enumerate().filter_map(|(number, upstream)| {
        let Authorities { config_map, key } = upstream.authorities.as_ref()?;
        Some(from_config_map(config_map, key, &authorities_file(number), true))
    })
}

fn tokens(mirror: &ValidatedMirror) -> Option<VolumeProjection> {
    let Push { secret, key, max_size: _, public_keys: _ } = mirror.push.as_ref()?;
    Some(from_secret(secret, &[(key, TOKENS_FILE)]))
}

/// With the keys of a Secret of type `kubernetes.io/tls`.
fn certificate(mirror: &ValidatedMirror) -> Option<VolumeProjection> {
    let Tls { secret, host_port: _ } = mirror.serving.tls.as_ref()?;
    Some(from_secret(secret, &[("tls.crt", CERTIFICATE_FILE), ("tls.key", KEY_FILE)]))
}

fn from_config_map(name: &str, key: &str, path: &str, optional: bool) -> VolumeProjection {
    VolumeProjection {
        config_map: Some(ConfigMapProjection {
            name: name.to_owned(),
            items: Some(vec![KeyToPath { key: key.to_owned(), path: path.to_owned(), mode: None }]),
            optional: Some(optional),
        }),
        ..VolumeProjection::default()
    }
}

/// A Secret that is not there does not keep the pod from serving: the agent tells what it cannot do without it.
fn from_secret(name: &str, files: &[(&str, &str)]) -> VolumeProjection {
    let item =
        |&(key, path): &(&str, &str)| KeyToPath { key: key.to_owned(), path: path.to_owned(), mode: None };
    VolumeProjection {
        secret: Some(SecretProjection {
            name: name.to_owned(),
            items: Some(files.iter().map(item).collect()),
            optional: Some(true),
        }),
        ..VolumeProjection::default()
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

#[cfg(test)]
mod tests {
    use crate::mirror::build::tests::built;

    #[test]
    fn a_secret_is_mounted_where_the_configuration_says_and_may_be_missing() {
        let change = "
upstreams:
- {url: 'https://a', publicKeys: [K]}
- {url: 'https://b', publicKeys: [K], credentialsSecretRef: {name: robot}, caConfigMapRef: {name: site-ca}}
push: {tokenSecretRef: {name: robots, key: all}, maxSize: 1Gi, publicKeys: [K], allowPlainHttp: true}
serving: {tls: {secretName: cert}}
";
        let sets = built(change).stateful_sets;
        let pod = sets[0].spec.as_ref().unwrap().template.spec.as_ref().unwrap();
        let volume = pod.volumes.iter().flatten().find(|volume| volume.name == "config").unwrap();
        let sources = volume.projected.as_ref().unwrap().sources.as_ref().unwrap();
        let secrets: Vec<_> = sources.iter().filter_map(|source| source.secret.as_ref()).collect();
        assert_eq!(secrets.len(), 3);
        assert_eq!((secrets[0].name.as_str(), secrets[0].optional), ("robot", Some(true)));
        let item = &secrets[0].items.as_ref().unwrap()[0];
        assert_eq!((item.key.as_str(), item.path.as_str()), ("token", "credentials/1"));
        let item = &secrets[1].items.as_ref().unwrap()[0];
        assert_eq!((item.key.as_str(), item.path.as_str()), ("all", "push/tokens"));
        let items = secrets[2].items.as_ref().unwrap();
        let items: Vec<_> = items.iter().map(|item| (item.key.as_str(), item.path.as_str())).collect();
        assert_eq!(items, [("tls.crt", "tls/tls.crt"), ("tls.key", "tls/tls.key")]);
        let mut authorities = sources.iter().filter_map(|source| source.config_map.as_ref());
        let authorities = authorities.find(|map| map.name == "site-ca").unwrap();
        assert_eq!(authorities.optional, Some(true));
        let item = &authorities.items.as_ref().unwrap()[0];
        assert_eq!((item.key.as_str(), item.path.as_str()), ("ca.crt", "authorities/1"));
    }
}
