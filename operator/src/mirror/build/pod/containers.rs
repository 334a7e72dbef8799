//! The containers: `prepare` gives the directory to the mirror's user, `front` is nginx, `agent` pulls and verifies. All three are
//! one program; the image's entry point is that program.

use k8s_openapi::{
    api::core::v1::{
        Container, ContainerPort, HTTPGetAction, Lifecycle, LifecycleHandler, Probe, ResourceRequirements,
        SleepAction,
    },
    apimachinery::pkg::{api::resource::Quantity, util::intstr::IntOrString},
};

use super::{security, volumes};
use crate::mirror::{
    build::{
        AGENT_PORT, HTTP_PORT, HTTPS_PORT,
        config_map::{CONFIG_DIRECTORY, CONFIG_FILE, DATA_DIRECTORY, FRONT_DIRECTORY},
    },
    validate::{Serving, Tls},
};

/// nginx refuses connections from the moment it is told to end, while Services still lead to it: this is how long they need to
/// hear of it. Part of the pod's grace period.
const DRAIN_SECONDS: i64 = 3;

/// Makes the data directory and gives it to the mirror's user, then ends.
pub(super) fn prepare(image: &str) -> Container {
    let owner = format!("{0}:{0}", security::UID);
    Container {
        name: "prepare".to_owned(),
        image: Some(image.to_owned()),
        args: Some(["prepare", DATA_DIRECTORY, "--owner", &owner].map(str::to_owned).to_vec()),
        volume_mounts: Some(vec![volumes::data(false)]),
        security_context: Some(security::prepare()),
        resources: Some(requests("10m", "16Mi")),
        ..Container::default()
    }
}

/// nginx over the tree, with the configuration that the agent renders. It ends when nginx does; until there is a configuration it waits,
/// which no liveness probe could tell from trouble.
pub(super) fn front(image: &str, serving: &Serving) -> Container {
    let [run, tmp] = volumes::working();
    let Serving { host_port, service_type: _, tls, clients: _ } = serving;
    let on_host = |name, number, host_port: Option<u16>| ContainerPort {
        host_port: host_port.map(i32::from),
        ..port(name, number)
    };
    let secure = tls.as_ref().map(|Tls { secret: _, host_port }| on_host("https", HTTPS_PORT, *host_port));
    let ports = [on_host("http", HTTP_PORT, *host_port)].into_iter().chain(secure).collect();
    Container {
        name: "front".to_owned(),
        image: Some(image.to_owned()),
        args: Some(["front", "--dir", FRONT_DIRECTORY].map(str::to_owned).to_vec()),
        ports: Some(ports),
        readiness_probe: Some(probe("/granary/v1/healthz", "http", 2)),
        lifecycle: Some(Lifecycle {
            pre_stop: Some(LifecycleHandler {
                sleep: Some(SleepAction { seconds: DRAIN_SECONDS }),
                ..LifecycleHandler::default()
            }),
            ..Lifecycle::default()
        }),
        volume_mounts: Some(vec![volumes::data(true), run, tmp]),
        security_context: Some(security::restricted()),
        resources: Some(requests("20m", "32Mi")),
        ..Container::default()
    }
}

/// Pulls, verifies, publishes, reports.
pub(super) fn agent(image: &str) -> Container {
    let [run, tmp] = volumes::working();
    let config = format!("{CONFIG_DIRECTORY}/{CONFIG_FILE}");
    Container {
        name: "agent".to_owned(),
        image: Some(image.to_owned()),
        args: Some(["agent", "--config", &config].map(str::to_owned).to_vec()),
        ports: Some(vec![port("agent", AGENT_PORT)]),
        readiness_probe: Some(probe("/readyz", "agent", 2)),
        liveness_probe: Some(probe("/healthz", "agent", 6)),
        volume_mounts: Some(vec![volumes::data(false), volumes::configuration(), run, tmp]),
        security_context: Some(security::restricted()),
        resources: Some(requests("50m", "64Mi")),
        ..Container::default()
    }
}

fn port(name: &str, number: i32) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: number,
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

fn probe(path: &str, port: &str, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String(port.to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(5),
        timeout_seconds: Some(3),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}

/// What the scheduler sets aside. No limits: verifying uses what the node has to spare.
fn requests(cpu: &str, memory: &str) -> ResourceRequirements {
    let requests = [("cpu", cpu), ("memory", memory)];
    ResourceRequirements {
        requests: Some(
            requests
                .into_iter()
                .map(|(name, amount)| (name.to_owned(), Quantity(amount.to_owned())))
                .collect(),
        ),
        ..ResourceRequirements::default()
    }
}
