//! The objects that the demo applies, as a user would write them.

use std::fmt::Write as _;

use crate::stage::{POLICY, Site, Source};

/// A mirror of the source at a site.
pub fn cache_mirror(site: &Site, source: &Source) -> String {
    let Site { name, node, host_port, url, reach: _, tree: _, host_path } = site;
    let Source { url: upstream, key, roots: _ } = source;
    let mut yaml = format!(
        "apiVersion: granary.dev/v1alpha1
kind: CacheMirror
metadata: {{name: {name}, labels: {{tier: demo}}}}
spec:
  url: {url}
  upstreams:
  - url: {upstream}
    publicKeys: [\"{key}\"]
  storage: {{filesystem: {{hostPath: {host_path}}}, capacity: 100Gi}}
"
    );
    // Writing to a String cannot fail.
    if let Some(node) = node {
        let _ = writeln!(yaml, "  nodes: {{selector: {{kubernetes.io/hostname: {node}}}}}");
    }
    if let Some(port) = host_port {
        let _ = writeln!(yaml, "  serving: {{hostPort: {port}}}");
    }
    yaml
}

/// What is kept, and how safely.
pub fn policy(source: &Source) -> String {
    let roots = source.roots.iter().fold(String::new(), |mut list, root| {
        let _ = writeln!(list, "    - {root}");
        list
    });
    format!(
        "apiVersion: granary.dev/v1alpha1
kind: ReplicationPolicy
metadata: {{name: {POLICY}}}
spec:
  mirrors: {{matchLabels: {{tier: demo}}}}
  copies: {{target: 2}}
  spread: [{{topologyKey: zone, min: 2}}]
  artifacts:
    storePaths:
{roots}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn optional_fields_are_left_out_when_there_is_nothing_to_say() {
        let source = Source {
            url: "http://up".to_owned(),
            key: "k:v".to_owned(),
            roots: vec!["/nix/store/a".to_owned()],
        };
        let mut site = Site {
            name: "east",
            node: Some("n1".to_owned()),
            host_port: Some(80),
            url: "http://east".to_owned(),
            reach: String::new(),
            tree: None,
            host_path: "/srv".to_owned(),
        };
        let tied = cache_mirror(&site, &source);
        assert!(tied.contains("hostname: n1") && tied.contains("hostPort: 80"), "{tied}");
        (site.node, site.host_port) = (None, None);
        let free = cache_mirror(&site, &source);
        assert!(!free.contains("nodes:") && !free.contains("serving:"), "{free}");
        assert!(policy(&source).ends_with("    storePaths:\n    - /nix/store/a\n"));
    }
}
