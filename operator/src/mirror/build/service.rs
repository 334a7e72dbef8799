//! Services: one for each holder, under which other mirrors find it, and one for clients over all of them.

use k8s_openapi::{
    api::core::v1::{Service, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::{AGENT_PORT, SECURE_SERVICE_PORT, SERVICE_PORT, of_holder as holder_metadata, of_mirror};
use crate::mirror::{
    names,
    validate::{Holder, ValidatedMirror},
};

/// An address of each family that the cluster has.
const FAMILIES: &str = "PreferDualStack";

/// The address of one holder.
pub(super) fn of_holder(mirror: &ValidatedMirror, holder: &Holder) -> Service {
    Service {
        metadata: holder_metadata(mirror, holder),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".to_owned()),
            selector: Some(names::select_holder(&mirror.name, &holder.name)),
            ports: Some(clients(mirror).chain([port("agent", AGENT_PORT, "agent")]).collect()),
            ip_family_policy: Some(FAMILIES.to_owned()),
            // Whoever asks for this holder wants this one: an answer from a pod that is just starting is better than none.
            publish_not_ready_addresses: Some(true),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// The address of all holders together.
pub(super) fn of_all(mirror: &ValidatedMirror) -> Service {
    Service {
        metadata: of_mirror(mirror),
        spec: Some(ServiceSpec {
            type_: Some(mirror.serving.service_type.as_str().to_owned()),
            selector: Some(names::select_all(&mirror.name)),
            ip_family_policy: Some(FAMILIES.to_owned()),
            ports: Some(clients(mirror).collect()),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// The ports for clients.
fn clients(mirror: &ValidatedMirror) -> impl Iterator<Item = ServicePort> {
    let secure = mirror.serving.tls.as_ref().map(|_| port("https", SECURE_SERVICE_PORT, "https"));
    [port("http", SERVICE_PORT, "http")].into_iter().chain(secure)
}

fn port(name: &str, number: i32, target: &str) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port: number,
        // The API server's default. Server-side apply needs it, because port and protocol are the key of this list.
        protocol: Some("TCP".to_owned()),
        target_port: Some(IntOrString::String(target.to_owned())),
        ..ServicePort::default()
    }
}

#[cfg(test)]
mod tests {
    use crate::mirror::{build::tests::built, names};

    #[test]
    fn a_holder_is_reached_alone_and_all_together() {
        let resources = built("{serving: {service: {type: NodePort}}}");
        let one = resources.holder_services[1].spec.as_ref().unwrap();
        assert_eq!(one.selector.as_ref().unwrap()[names::MIRROR], "blue-1");
        let ports: Vec<(i32, &str)> =
            one.ports.iter().flatten().map(|port| (port.port, port.name.as_deref().unwrap())).collect();
        assert_eq!(ports, [(80, "http"), (8081, "agent")]);
        assert_eq!(one.type_.as_deref(), Some("ClusterIP"));
        assert_eq!(one.ip_family_policy.as_deref(), Some("PreferDualStack"));

        let all = resources.service.spec.as_ref().unwrap();
        assert!(!all.selector.as_ref().unwrap().contains_key(names::MIRROR));
        assert_eq!((all.type_.as_deref(), all.ports.as_ref().map(Vec::len)), (Some("NodePort"), Some(1)));
        assert_eq!(all.publish_not_ready_addresses, None);
    }

    #[test]
    fn with_a_certificate_it_is_reached_by_tls_too() {
        let resources = built("{serving: {tls: {secretName: cert}}}");
        for service in [&resources.service, &resources.holder_services[0]] {
            let ports = service.spec.as_ref().unwrap().ports.as_ref().unwrap();
            let secure = ports.iter().find(|port| port.port == 443).unwrap();
            let target = serde_json::to_value(&secure.target_port).unwrap();
            assert_eq!((secure.name.as_deref(), target.as_str()), (Some("https"), Some("https")));
            assert!(ports.iter().any(|port| port.port == 80));
        }
    }
}
