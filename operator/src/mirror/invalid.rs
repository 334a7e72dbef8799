//! An object that does not parse: it is told so in its own status, and nothing else is done about it.

use k8s_openapi::jiff::Timestamp;

use granary_crds::{CacheMirror, Condition, find_condition, set_condition};
use kube::{
    Api, Resource,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
    core::{ObjectMeta, error_boundary::InvalidObject},
    runtime::controller::Action,
};
use serde_json::json;

use super::{controller::Shared, error::Error, names};

/// Writes a condition if it is not there yet; an error then, so that it is logged and counted once.
pub(super) async fn report(
    meta: &ObjectMeta,
    unreadable: &InvalidObject,
    shared: &Shared,
) -> Result<Action, Error> {
    let message = format!(
        "the object cannot be read, and nothing of it is changed: {unreadable}; correct the field or delete the object"
    );
    let name = meta.name.as_deref().unwrap_or_default();
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    let resource = ApiResource::erase::<CacheMirror>(&());
    let api = Api::<DynamicObject>::namespaced_with(shared.context.client.clone(), namespace, &resource);
    let failed = |error: kube::Error| Error::Status(Box::new(error));
    if let Some(there) = api.get_opt(name).await.map_err(failed)? {
        let conditions = there.data.pointer("/status/conditions").cloned().unwrap_or_default();
        // Unreadable conditions count as none: they are written over.
        let before: Vec<Condition> = serde_json::from_value(conditions).unwrap_or_default();
        if let Some(conditions) = conditions_with(before, &message, meta.generation, Timestamp::now()) {
            let status =
                json!({"observedGeneration": meta.generation, "phase": "Degraded", "conditions": conditions});
            let patch = json!({
                "apiVersion": CacheMirror::api_version(&()), "kind": CacheMirror::kind(&()),
                "metadata": {"uid": meta.uid}, "status": status,
            });
            // Merged, not applied: what else the status says, such as the replicas' nodes, stays.
            let parameters = PatchParams {
                field_manager: Some(names::STATUS_MANAGER.to_owned()),
                ..PatchParams::default()
            };
            api.patch_status(name, &parameters, &Patch::Merge(patch)).await.map_err(failed)?;
            return Err(Error::Unreadable(unreadable.to_string()));
        }
    }
    Ok(Action::await_change())
}

/// The conditions with the fault among them; `None` when they say so already.
fn conditions_with(
    mut before: Vec<Condition>,
    message: &str,
    generation: Option<i64>,
    now: Timestamp,
) -> Option<Vec<Condition>> {
    let same = find_condition(&before, "Ready").is_some_and(|ready| {
        ready.reason == "Unreadable" && ready.message == message && ready.observed_generation == generation
    });
    if same {
        return None;
    }
    set_condition(&mut before, "Ready", Some(false), "Unreadable", message, generation, now);
    Some(before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fault_is_written_once() {
        let now = Timestamp::from_second(9).unwrap();
        let first = conditions_with(vec![], "missing field `url`", Some(2), now).unwrap();
        assert_eq!((first[0].status.as_str(), first[0].reason.as_str()), ("False", "Unreadable"));
        assert_eq!(conditions_with(first.clone(), "missing field `url`", Some(2), now), None);
        assert!(conditions_with(first.clone(), "missing field `url`", Some(3), now).is_some());
        assert!(conditions_with(first, "something else", Some(2), now).is_some());
    }
}
