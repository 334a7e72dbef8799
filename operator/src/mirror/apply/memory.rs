//! What was last applied, so that an object that nobody touched since is not written again.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use kube::core::ObjectMeta;

/// One applied object: what was wanted, and what the API server made of it.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    wanted: String,
    uid: Option<String>,
    resource_version: Option<String>,
}

type Children = HashMap<(String, String), Entry>;

/// What was last applied, by the uid of the owner. Only saves requests: without it everything would be applied each time.
#[derive(Debug, Default)]
pub(in crate::mirror) struct Memory {
    owners: Mutex<HashMap<String, Children>>,
}

// === impl Memory ===

impl Memory {
    /// Whether the object is exactly as it was left, and the same is wanted. `there` is the object as last seen; any change of it, by
    /// anybody, has changed its resource version.
    pub(super) fn is_untouched(&self, owner: &str, kind: &str, there: &ObjectMeta, wanted: &str) -> bool {
        let key = (kind.to_owned(), there.name.clone().unwrap_or_default());
        let owners = self.lock();
        owners.get(owner).and_then(|children| children.get(&key)).is_some_and(|entry| {
            entry.wanted == wanted
                && entry.uid == there.uid
                && entry.resource_version.is_some()
                && entry.resource_version == there.resource_version
        })
    }

    /// Notes what the API server answered.
    pub(super) fn note(&self, owner: &str, kind: &str, answer: &ObjectMeta, wanted: String) {
        let key = (kind.to_owned(), answer.name.clone().unwrap_or_default());
        let entry =
            Entry { wanted, uid: answer.uid.clone(), resource_version: answer.resource_version.clone() };
        self.lock().entry(owner.to_owned()).or_default().insert(key, entry);
    }

    /// Forgets the owners that are gone.
    pub(in crate::mirror) fn retain(&self, known: impl Fn(&str) -> bool) {
        self.lock().retain(|owner, _| known(owner));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Children>> {
        // Each change is one call on the map, so a poisoned lock guards sound data.
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(uid: &str, version: &str) -> ObjectMeta {
        ObjectMeta {
            name: Some("blue-0".into()),
            uid: Some(uid.into()),
            resource_version: Some(version.into()),
            ..ObjectMeta::default()
        }
    }

    #[test]
    fn any_change_of_the_object_or_the_wish_is_seen() {
        let memory = Memory::default();
        memory.note("owner", "Service", &meta("u", "5"), "wish".into());
        assert!(memory.is_untouched("owner", "Service", &meta("u", "5"), "wish"));
        assert!(!memory.is_untouched("owner", "Service", &meta("u", "6"), "wish"));
        assert!(!memory.is_untouched("owner", "Service", &meta("v", "5"), "wish"));
        assert!(!memory.is_untouched("owner", "Service", &meta("u", "5"), "other wish"));
        assert!(!memory.is_untouched("owner", "ConfigMap", &meta("u", "5"), "wish"));
        assert!(!memory.is_untouched("other", "Service", &meta("u", "5"), "wish"));
        memory.retain(|owner| owner != "owner");
        assert!(!memory.is_untouched("owner", "Service", &meta("u", "5"), "wish"));
    }
}
