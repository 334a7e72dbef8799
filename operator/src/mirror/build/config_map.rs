//! The ConfigMap with a holder's configuration: the same file that a mirror without Kubernetes is given.

mod form;

use granary_crds::cache_mirror::{self, CredentialsFormat};
use k8s_openapi::api::core::v1::ConfigMap;

use form::{
    Capacity, Clients, Config, Credentials, Extras, Limits, Listen, Map, Proxy, Publish, PullThrough, Push,
    Scrub, Tls, Upstream,
};

use super::{AGENT_PORT, HTTP_PORT, HTTPS_PORT, Settings, of_holder};
use crate::{
    kube_ext::hash,
    mirror::validate::{self, Holder, ValidatedMirror},
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
/// Where the tokens of those who may push are, below the configuration.
pub(super) const TOKENS_FILE: &str = "push/tokens";

/// Where the certificate is, below the configuration.
pub(super) const CERTIFICATE_FILE: &str = "tls/tls.crt";
/// Where its key is, below the configuration.
pub(super) const KEY_FILE: &str = "tls/tls.key";

/// Where the authorities of the upstream with this place in the spec are, below the configuration.
pub(super) fn authorities_file(number: usize) -> String {
    format!("authorities/{number}")
}

/// Where the credentials of the upstream with this place in the spec are, below the configuration.
pub(super) fn credentials_file(number: usize) -> String {
    format!("credentials/{number}")
}

/// How often the map is asked for.
const POLL_SECONDS: u32 = 2;

/// The ConfigMap, and the hash of its text.
pub(super) fn build(
    mirror: &ValidatedMirror,
    holder: &Holder,
    settings: &Settings,
) -> Result<(ConfigMap, String), serde_json::Error> {
    let upstreams = mirror.upstreams.iter().enumerate();
    let config = Config {
        name: holder.name.as_str(),
        directory: DATA_DIRECTORY,
        url: holder.url.as_deref(),
        upstreams: upstreams.map(upstream).collect(),
        proxy: mirror.proxy.as_ref().map(|validate::Proxy { url, except }| Proxy { url, except }),
        limits: Limits { bandwidth: mirror.bandwidth },
        pull_through: mirror.pull_through.map(|max_size| PullThrough { max_size }),
        capacity: mirror.keep_free.map(|keep_free| Capacity { keep_free }),
        push: mirror.push.as_ref().map(|validate::Push { secret: _, key: _, max_size, public_keys }| Push {
            token_file: format!("{CONFIG_DIRECTORY}/{TOKENS_FILE}"),
            max_size: *max_size,
            public_keys,
            // Validated: without it there is no push.
            allow_plain_http: true,
        }),
        scrub: mirror.scrub.map(|validate::Scrub { enabled, period, bandwidth }| Scrub {
            enabled,
            period: period.map(|seconds| format!("{seconds}s")),
            bandwidth,
        }),
        extras: mirror.extras.as_ref().map(extras),
        clients: clients(&mirror.serving.clients),
        tls: mirror.serving.tls.as_ref().map(|_| Tls {
            certificate: format!("{CONFIG_DIRECTORY}/{CERTIFICATE_FILE}"),
            key: format!("{CONFIG_DIRECTORY}/{KEY_FILE}"),
        }),
        map: Map {
            url: format!("{}/v1/map/{}", settings.map_url, mirror.namespace),
            file: format!("{CONFIG_DIRECTORY}/{MAP_FILE}"),
            poll_seconds: POLL_SECONDS,
        },
        publish: Publish { narinfo: mirror.publish_narinfo.as_str() },
        listen: Listen {
            https: mirror.serving.tls.as_ref().map(|_| format!("[::]:{HTTPS_PORT}")),
            http: format!("[::]:{HTTP_PORT}"),
            agent: format!("[::]:{AGENT_PORT}"),
        },
        front_directory: FRONT_DIRECTORY,
    };
    // JSON is YAML, and has no corner cases of quoting.
    let text = serde_json::to_string_pretty(&config)?;
    let hash = hash::short(&text);
    let data = [(CONFIG_FILE.to_owned(), text)].into();
    Ok((ConfigMap { metadata: of_holder(mirror, holder), data: Some(data), ..ConfigMap::default() }, hash))
}

fn extras(extras: &cache_mirror::Extras) -> Extras {
    let cache_mirror::Extras { listings, logs, debuginfo, realisations } = extras;
    Extras { listings: listings.as_str(), logs: *logs, debuginfo: *debuginfo, realisations: *realisations }
}

fn clients(clients: &validate::Clients) -> Clients<'_> {
    let validate::Clients { connections_per_address, requests_per_second, max_connections, trusted_proxies } =
        clients;
    Clients {
        connections_per_address: *connections_per_address,
        requests_per_second: *requests_per_second,
        max_connections: *max_connections,
        trusted_proxies,
    }
}

fn upstream((number, upstream): (usize, &validate::Upstream)) -> Upstream<'_> {
    let validate::Upstream {
        url,
        public_keys,
        priority,
        signatures,
        content_addressed,
        credentials,
        authorities,
        allowed_hosts,
        bandwidth,
        connections,
    } = upstream;
    Upstream {
        url,
        public_keys,
        priority: *priority,
        signatures: *signatures,
        content_addressed: content_addressed.as_str(),
        credentials: credentials.as_ref().map(|credentials| {
            let file = format!("{CONFIG_DIRECTORY}/{}", credentials_file(number));
            match credentials.format {
                CredentialsFormat::Bearer => Credentials::BearerFile(file),
                CredentialsFormat::Netrc => Credentials::NetrcFile(file),
            }
        }),
        ca_file: authorities.as_ref().map(|_| format!("{CONFIG_DIRECTORY}/{}", authorities_file(number))),
        allowed_hosts,
        bandwidth: *bandwidth,
        connections: *connections,
    }
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
  signatures: 1
  contentAddressed: Refuse
map: {url: 'http://maps.example:8080/v1/map/site', file: /etc/granary/map/map.json, pollSeconds: 2}
publish: {narinfo: Never}
listen: {http: '[::]:8080', agent: '[::]:8081'}
frontDirectory: /run/granary/front
";
        let read = |text: &str| serde_yaml::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(read(text), read(expected));
    }

    #[test]
    fn what_is_not_asked_for_is_not_in_the_file_and_what_is_asked_for_is() {
        let change = "
upstreams:
- {url: 'https://a', publicKeys: [K]}
- url: https://b
  publicKeys: [K]
  contentAddressed: Accept
  credentialsSecretRef: {name: robot, format: Netrc}
  caConfigMapRef: {name: site-ca}
  allowedHosts: [cdn.example]
  bandwidth: 5Mi
  connections: 2
proxy: {url: 'http://proxy:3128', except: [minio]}
bandwidth: {pull: 50Mi}
pullThrough: {maxSize: 200G}
scrub: {period: 2d}
push: {tokenSecretRef: {name: robots}, maxSize: 1Gi, publicKeys: [K], allowPlainHttp: true}
storage: {keepFree: 3Gi}
extras: {listings: Make, logs: false}
serving: {tls: {secretName: cert}, clients: {requestsPerSecond: 50, trustedProxies: [10.0.0.0/8]}}
";
        let resources = built(change);
        let text = &resources.config_maps[0].data.as_ref().unwrap()["config.yaml"];
        let file: serde_json::Value = serde_json::from_str(text).unwrap();
        let expected = "
- {url: 'https://a', publicKeys: [K], priority: 40, signatures: 1, contentAddressed: Refuse}
- url: https://b
  publicKeys: [K]
  priority: 40
  signatures: 1
  contentAddressed: Accept
  credentials: {netrcFile: /etc/granary/credentials/1}
  caFile: /etc/granary/authorities/1
  allowedHosts: [cdn.example]
  bandwidth: 5242880
  connections: 2
";
        let key = file["upstreams"][0]["publicKeys"][0].as_str().unwrap();
        let expected = expected.replace("[K]", &format!("['{key}']"));
        assert_eq!(file["upstreams"], serde_yaml::from_str::<serde_json::Value>(&expected).unwrap());
        assert_eq!(file["proxy"], serde_json::json!({"url": "http://proxy:3128", "except": ["minio"]}));
        assert_eq!(file["limits"]["bandwidth"], 50 << 20);
        assert_eq!(file["pullThrough"]["maxSize"], 200_000_000_000_u64);
        assert_eq!(file["capacity"]["keepFree"], 3_u64 << 30);
        assert_eq!(file["scrub"], serde_json::json!({"enabled": true, "period": "172800s"}));
        assert_eq!(file["push"]["tokenFile"], "/etc/granary/push/tokens");
        assert_eq!(file["push"]["allowPlainHttp"], true);
        let extras =
            serde_json::json!({"listings": "Make", "logs": false, "debuginfo": true, "realisations": true});
        assert_eq!(file["extras"], extras);
        let clients = serde_json::json!({"requestsPerSecond": 50, "trustedProxies": ["10.0.0.0/8"]});
        assert_eq!(file["clients"], clients);
        let tls =
            serde_json::json!({"certificate": "/etc/granary/tls/tls.crt", "key": "/etc/granary/tls/tls.key"});
        assert_eq!((&file["tls"], file["listen"]["https"].as_str()), (&tls, Some("[::]:8443")));
        let off = built("{pullThrough: {maxSize: 200Gi, enabled: false}}");
        assert!(!off.config_maps[0].data.as_ref().unwrap()["config.yaml"].contains("pullThrough"));
    }
}
