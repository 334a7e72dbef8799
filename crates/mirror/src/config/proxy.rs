//! The proxy by which upstreams and the lists of channels are asked for.

use granary_fetch::access::{Proxy, Proxying};
use serde::Deserialize;

use super::check::{Checked, parsed};
use super::upstreams::hosts;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawProxy {
    url: String,
    #[serde(default)]
    except: Vec<String>,
}

pub(super) fn check(raw: &RawProxy) -> Checked<Proxying> {
    let RawProxy { url, except } = raw;
    Ok(Proxying {
        proxy: parsed::<Proxy>("proxy.url", url, "for example http://proxy.example.edu:3128")?,
        except: hosts("proxy.except", except)?,
    })
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    fn config(proxy: &str) -> Result<Config, String> {
        let key = "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=";
        let upstream = |host: &str| format!("- {{url: 'https://{host}', publicKeys: ['{key}']}}\n");
        let yaml = format!(
            "directory: /srv/granary\nupstreams:\n{}{}pullThrough: {{maxSize: 1Gi}}\n{proxy}",
            upstream("cache.nixos.org"),
            upstream("minio.example.edu")
        );
        Config::parse(&yaml).map_err(|error| error.to_string())
    }

    #[test]
    fn upstreams_are_asked_by_the_proxy_unless_they_are_named() {
        let config = config("proxy: {url: 'http://proxy:3128', except: ['*.example.edu']}").unwrap();
        let by: Vec<_> = config
            .upstreams
            .iter()
            .map(|source| source.access.proxy.as_ref().map(ToString::to_string))
            .collect();
        assert_eq!(by, [Some("http://proxy:3128".to_owned()), None]);
    }

    #[test]
    fn every_error_names_its_field_and_no_password() {
        for (proxy, words) in [
            ("{url: 'proxy:3128'}", ["proxy.url:", "http://"]),
            ("{url: 'http://user:secret@proxy:3128'}", ["proxy.url:", "without a user name"]),
            ("{url: 'http://proxy', except: ['http://x/']}", ["proxy.except[0]:", "is no host"]),
            ("{address: x}", ["proxy", "address"]),
        ] {
            let error = config(&format!("proxy: {proxy}")).unwrap_err();
            assert!(
                words.iter().all(|word| error.contains(word)) && !error.contains("secret"),
                "{proxy}: {error}"
            );
        }
    }
}
