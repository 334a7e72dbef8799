//! Whom to ask. Pure.

use std::net::IpAddr;

use granary_placement::MirrorName;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use crate::stores::HOLDER;

/// One holder to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The holder's namespace.
    pub namespace: String,
    /// The holder.
    pub holder: MirrorName,
    /// Its pod's address; `None` while it has none.
    pub address: Option<IpAddr>,
}

impl Target {
    /// The holder that a pod is; `None` for a pod that says it is none.
    #[must_use]
    pub fn of(pod: &Pod) -> Option<Self> {
        let holder = pod.labels().get(HOLDER)?.parse().ok()?;
        let status = pod.status.as_ref();
        let running = status.and_then(|status| status.phase.as_deref()) == Some("Running");
        let address = status.and_then(|status| status.pod_ip.as_ref()).and_then(|ip| ip.parse().ok());
        Some(Self { namespace: pod.namespace()?, holder, address: address.filter(|_| running) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_running_pod_with_an_address_is_asked() {
        let target = |status: &str| {
            let text = format!(
                "{{metadata: {{namespace: ns, name: x, labels: {{{HOLDER}: north-0}}}}, status: {status}}}"
            );
            Target::of(&serde_yaml::from_str(&text).unwrap()).unwrap().address
        };
        assert_eq!(target("{phase: Running, podIP: 10.0.0.7}"), "10.0.0.7".parse().ok());
        assert_eq!(target("{phase: Running, podIP: 'fd00::7'}"), "fd00::7".parse().ok());
        assert_eq!(target("{phase: Running}"), None);
        assert_eq!(target("{phase: Failed, podIP: 10.0.0.7}"), None, "the address may be another's by now");
        let other: Pod = serde_yaml::from_str("{metadata: {namespace: ns, name: x}}").unwrap();
        assert_eq!(Target::of(&other), None);
    }
}
