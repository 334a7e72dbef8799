//! How a mirror's objects are called and labelled.

use std::collections::BTreeMap;

use granary_placement::MirrorName;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// Who writes the children of a `CacheMirror`: one field manager for one purpose, so that two never take each other's fields.
pub const FIELD_MANAGER: &str = "granary-operator/cachemirror";
/// Who writes its status.
pub const STATUS_MANAGER: &str = "granary-operator/cachemirror-status";

/// The label with a holder's name.
pub const MIRROR: &str = "granary.dev/mirror";
/// The label with the name of the `CacheMirror`.
pub const INSTANCE: &str = "app.kubernetes.io/instance";
const NAME: &str = "app.kubernetes.io/name";
const COMPONENT: &str = "app.kubernetes.io/component";
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// The annotation with the hash of the configuration: a changed configuration restarts the pod.
pub const CONFIG_HASH: &str = "granary.dev/config-hash";
/// The annotation that says why a pod needs more than the `restricted` Pod Security Standard.
pub const POD_SECURITY: &str = "granary.dev/pod-security";

/// Selects the children of all `CacheMirrors`, and their pods.
pub const ALL_CHILDREN: &str =
    "app.kubernetes.io/managed-by=granary-operator,app.kubernetes.io/name=granary-mirror";

/// A set of labels.
pub type Labels = BTreeMap<String, String>;

fn labels<const N: usize>(pairs: [(&str, &str); N]) -> Labels {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// The labels of everything that belongs to a `CacheMirror`.
#[must_use]
pub fn common(cache_mirror: &str) -> Labels {
    labels([
        (NAME, "granary-mirror"),
        (INSTANCE, cache_mirror),
        (COMPONENT, "holder"),
        (MANAGED_BY, "granary-operator"),
    ])
}

/// The labels of everything that belongs to one holder.
#[must_use]
pub fn of_holder(cache_mirror: &str, holder: &MirrorName) -> Labels {
    let mut all = common(cache_mirror);
    all.insert(MIRROR.to_owned(), holder.to_string());
    all
}

/// Selects the pods of a `CacheMirror`. Selectors are immutable: only labels that never change stand in them.
#[must_use]
pub fn select_all(cache_mirror: &str) -> Labels {
    labels([(NAME, "granary-mirror"), (INSTANCE, cache_mirror)])
}

/// Selects the pod of one holder.
#[must_use]
pub fn select_holder(cache_mirror: &str, holder: &MirrorName) -> Labels {
    labels([(NAME, "granary-mirror"), (INSTANCE, cache_mirror), (MIRROR, holder.as_str())])
}

/// A selector for labels.
#[must_use]
pub fn selector(labels: Labels) -> LabelSelector {
    LabelSelector { match_labels: Some(labels), match_expressions: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_match_what_they_select() {
        let holder: MirrorName = "blue-1".parse().unwrap();
        let pod = of_holder("blue", &holder);
        for selector in [select_all("blue"), select_holder("blue", &holder)] {
            assert!(selector.iter().all(|(key, value)| pod.get(key) == Some(value)), "{selector:?}");
        }
        let watched: Vec<(&str, &str)> =
            ALL_CHILDREN.split(',').filter_map(|pair| pair.split_once('=')).collect();
        assert!(watched.iter().all(|(key, value)| pod.get(*key).is_some_and(|found| found == value)));
    }
}
