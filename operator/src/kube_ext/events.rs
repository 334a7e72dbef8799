//! What an event is about.

use granary_placement::MirrorName;
use k8s_openapi::api::{apps::v1::StatefulSet, core::v1::ObjectReference};
use kube::Resource;

/// The holder that an event on its `CacheMirror` is about. Events of one kind on one object are counted as one by kube's recorder, so that
/// the second holder's would never be seen without this.
#[must_use]
pub fn about(namespace: &str, holder: &MirrorName) -> ObjectReference {
    ObjectReference {
        api_version: Some(StatefulSet::api_version(&()).into_owned()),
        kind: Some(StatefulSet::kind(&()).into_owned()),
        namespace: Some(namespace.to_owned()),
        name: Some(holder.to_string()),
        ..ObjectReference::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_names_the_stateful_set() {
        let reference = about("site", &"blue-1".parse().unwrap());
        let text = |field: Option<String>| field.unwrap();
        assert_eq!(
            (text(reference.api_version), text(reference.kind)),
            ("apps/v1".into(), "StatefulSet".into())
        );
        assert_eq!((text(reference.namespace), text(reference.name)), ("site".into(), "blue-1".into()));
    }
}
