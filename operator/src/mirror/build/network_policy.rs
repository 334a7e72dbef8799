//! The NetworkPolicy: clients reach nginx from anywhere, the agent is for the cluster. What a holder may call is not limited: its
//! upstreams can be anywhere.

use k8s_openapi::{
    api::networking::v1::{
        NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};

use super::{AGENT_PORT, HTTP_PORT, HTTPS_PORT, of_mirror};
use crate::mirror::{names, validate::ValidatedMirror};

pub(super) fn build(mirror: &ValidatedMirror) -> NetworkPolicy {
    // An empty selector: the pods of all namespaces, and nothing from outside the cluster. The operator and whatever scrapes metrics
    // may be in any namespace.
    let cluster = NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector::default()),
        ..NetworkPolicyPeer::default()
    };
    let secure = mirror.serving.tls.as_ref().map(|_| port(HTTPS_PORT));
    let clients = [port(HTTP_PORT)].into_iter().chain(secure).collect();
    NetworkPolicy {
        metadata: of_mirror(mirror),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(names::selector(names::select_all(&mirror.name))),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(vec![
                NetworkPolicyIngressRule { from: None, ports: Some(clients) },
                NetworkPolicyIngressRule { from: Some(vec![cluster]), ports: Some(vec![port(AGENT_PORT)]) },
            ]),
            egress: None,
        }),
    }
}

fn port(number: i32) -> NetworkPolicyPort {
    NetworkPolicyPort {
        port: Some(IntOrString::Int(number)),
        protocol: Some("TCP".to_owned()),
        ..NetworkPolicyPort::default()
    }
}

#[cfg(test)]
mod tests {
    use crate::mirror::build::tests::built;

    #[test]
    fn only_the_agent_is_closed_to_the_outside() {
        let policy =
            serde_json::to_value(built("{serving: {tls: {secretName: cert}}}").network_policy.spec).unwrap();
        let expected = "
podSelector: {matchLabels: {app.kubernetes.io/name: granary-mirror, app.kubernetes.io/instance: blue}}
policyTypes: [Ingress]
ingress:
- ports: [{port: 8080, protocol: TCP}, {port: 8443, protocol: TCP}]
- ports: [{port: 8081, protocol: TCP}]
  from: [{namespaceSelector: {}}]
";
        assert_eq!(policy, serde_yaml::from_str::<serde_json::Value>(expected).unwrap());
    }
}
