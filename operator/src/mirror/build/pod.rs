//! The pod of a holder: nginx in front, the agent beside it.

mod containers;
mod place;
mod security;
mod volumes;

use k8s_openapi::api::core::v1::PodSpec;

use super::Settings;
use crate::mirror::validate::{Disk, Holder, Serving, ValidatedMirror};

pub(super) use volumes::DATA;

/// Long enough to end the requests that are running; what a mirror writes survives a kill anyway.
const GRACE_SECONDS: i64 = 15;

/// The pod's spec.
pub(super) fn build(mirror: &ValidatedMirror, holder: &Holder, settings: &Settings) -> PodSpec {
    let prepare =
        matches!(mirror.storage, Disk::HostPath(_)).then(|| vec![containers::prepare(&settings.image)]);
    PodSpec {
        init_containers: prepare,
        containers: vec![
            containers::front(&settings.image, &mirror.serving),
            containers::agent(&settings.image),
        ],
        volumes: Some(volumes::of_pod(mirror, holder)),
        security_context: Some(security::of_pod()),
        affinity: Some(place::affinity(mirror, holder)),
        node_selector: place::node_selector(mirror, holder),
        tolerations: place::tolerations(mirror, holder),
        topology_spread_constraints: place::spread(mirror, holder),
        // No part of a holder talks to the Kubernetes API.
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(GRACE_SECONDS),
        ..PodSpec::default()
    }
}

/// Why the pod needs more than the `restricted` Pod Security Standard; `None` when it does not.
pub(super) fn security_note(mirror: &ValidatedMirror) -> Option<String> {
    let mut reasons = Vec::new();
    if let Disk::HostPath(path) = &mirror.storage {
        reasons.push(format!(
            "spec.storage.filesystem.hostPath {path} is mounted, and the init container prepare runs as root to give its directory below it to uid {}",
            security::UID
        ));
    }
    let Serving { host_port, service_type: _, tls, clients: _ } = &mirror.serving;
    if let Some(port) = host_port {
        reasons.push(format!("spec.serving.hostPort {port} is opened on the node"));
    }
    if let Some(port) = tls.as_ref().and_then(|tls| tls.host_port) {
        reasons.push(format!("spec.serving.tls.hostPort {port} is opened on the node"));
    }
    (!reasons.is_empty()).then(|| {
        format!("needs a namespace with the privileged Pod Security Standard: {}", reasons.join("; "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mirror::{build::tests::built, names};

    const VOLUME: &str = "{storage: {filesystem: {hostPath: null, volumeClaim: {size: 5Gi}}}}";

    fn pod(change: &str) -> PodSpec {
        built(change).stateful_sets.remove(0).spec.unwrap().template.spec.unwrap()
    }

    fn note(change: &str) -> Option<String> {
        let template = built(change).stateful_sets.remove(0).spec.unwrap().template;
        template.metadata.unwrap().annotations.unwrap().get(names::POD_SECURITY).cloned()
    }

    #[test]
    fn a_pod_on_a_volume_is_restricted_and_says_nothing() {
        let pod = pod(VOLUME);
        assert!(pod.init_containers.is_none());
        assert_eq!(pod.automount_service_account_token, Some(false));
        let context = pod.security_context.unwrap();
        assert_eq!(
            (context.run_as_non_root, context.run_as_user, context.fs_group),
            (Some(true), Some(64532), Some(64532))
        );
        assert_eq!(context.seccomp_profile.unwrap().type_, "RuntimeDefault");
        for container in &pod.containers {
            let context = container.security_context.as_ref().unwrap();
            let capabilities = context.capabilities.as_ref().unwrap();
            assert_eq!(capabilities.drop, Some(vec!["ALL".to_owned()]), "{}", container.name);
            assert_eq!(capabilities.add, None);
            assert_eq!(
                (context.allow_privilege_escalation, context.read_only_root_filesystem, context.run_as_user),
                (Some(false), Some(true), None)
            );
        }
        assert_eq!(note(VOLUME), None);
    }

    #[test]
    fn only_prepare_is_root_and_only_on_a_host_path() {
        let pod = pod("{}");
        let prepare = &pod.init_containers.as_ref().unwrap()[0];
        let context = prepare.security_context.as_ref().unwrap();
        assert_eq!((context.run_as_user, context.run_as_non_root), (Some(0), Some(false)));
        let capabilities = context.capabilities.as_ref().unwrap();
        assert_eq!(capabilities.add, Some(["CHOWN", "DAC_OVERRIDE", "FOWNER"].map(str::to_owned).to_vec()));
        assert_eq!(capabilities.drop, Some(vec!["ALL".to_owned()]));
        assert_eq!(
            prepare.args,
            Some(["prepare", "/srv/granary", "--owner", "64532:64532"].map(str::to_owned).to_vec())
        );
        assert!(note("{}").unwrap().contains("hostPath /data/nix"));
        assert!(note("{serving: {hostPort: 81}}").unwrap().contains("serving.hostPort 81"));
        let secure = note("{serving: {tls: {secretName: cert, hostPort: 444}}}").unwrap();
        assert!(secure.contains("tls.hostPort 444") && !secure.contains("serving.hostPort"), "{secure}");
    }

    #[test]
    fn a_host_path_pins_the_pod_for_good() {
        let pod = pod("{nodes: {selector: {tier: disks}}}");
        let affinity = serde_json::to_value(pod.affinity).unwrap();
        let terms =
            &affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"];
        assert_eq!(terms[0]["matchFields"][0]["values"][0], "metal-7");
        // The selector chose the node once; a label that is taken away later must not take the pod from its disk.
        assert_eq!(pod.node_selector, None);
        let tolerations = pod.tolerations.unwrap();
        for key in ["node.kubernetes.io/unreachable", "node.kubernetes.io/not-ready"] {
            let found = tolerations.iter().find(|toleration| toleration.key.as_deref() == Some(key)).unwrap();
            assert_eq!(found.toleration_seconds, None);
        }
    }

    #[test]
    fn a_pod_on_a_volume_is_scheduled() {
        let change =
            VOLUME.replace("storage:", "nodes: {selector: {tier: disks}, tolerations: [{key: k}]}, storage:");
        let pod = pod(&change);
        assert_eq!(pod.node_selector.unwrap()["tier"], "disks");
        assert_eq!(pod.tolerations.unwrap().len(), 1);
        let affinity = pod.affinity.unwrap();
        assert!(affinity.node_affinity.is_none() && affinity.pod_anti_affinity.is_some());
    }

    #[test]
    fn ports_probes_and_mounts() {
        let pod = pod("{serving: {hostPort: 81}}");
        let front = &pod.containers[0];
        let port = &front.ports.as_ref().unwrap()[0];
        assert_eq!((port.container_port, port.host_port), (8080, Some(81)));
        let probe = front.readiness_probe.as_ref().unwrap().http_get.as_ref().unwrap();
        assert_eq!(probe.path.as_deref(), Some("/granary/v1/healthz"));
        let before_stop =
            front.lifecycle.as_ref().unwrap().pre_stop.as_ref().unwrap().sleep.as_ref().unwrap();
        assert!(
            before_stop.seconds > 0 && before_stop.seconds < pod.termination_grace_period_seconds.unwrap()
        );
        let agent = &pod.containers[1];
        let path = |probe: &Option<k8s_openapi::api::core::v1::Probe>| {
            probe.as_ref().unwrap().http_get.as_ref().unwrap().path.clone()
        };
        assert_eq!(path(&agent.readiness_probe).as_deref(), Some("/readyz"));
        assert_eq!(path(&agent.liveness_probe).as_deref(), Some("/healthz"));

        let volumes: Vec<&str> = pod.volumes.iter().flatten().map(|volume| volume.name.as_str()).collect();
        for container in pod.containers.iter().chain(pod.init_containers.iter().flatten()) {
            for mount in container.volume_mounts.iter().flatten() {
                assert!(volumes.contains(&mount.name.as_str()), "{} mounts {}", container.name, mount.name);
            }
        }
        let data = pod.volumes.iter().flatten().find(|volume| volume.name == "data").unwrap();
        assert_eq!(data.host_path.as_ref().unwrap().path, "/data/nix/site.blue-0");
        let writable = |container: usize| {
            let mounts = pod.containers[container].volume_mounts.iter().flatten();
            mounts.filter(|mount| mount.name == "data").all(|mount| mount.read_only != Some(true))
        };
        assert!(!writable(0) && writable(1));
    }
}
