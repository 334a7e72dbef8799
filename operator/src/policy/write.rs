//! Step 4: the only writes: the status, and events about what has turned.

use granary_crds::{Condition, ReplicationPolicy, ReplicationPolicyStatus, find_condition, set_condition};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Api, Resource, ResourceExt,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
    core::DeserializeGuard,
    runtime::events::{Event, EventType},
};
use serde_json::{Value, json};
use tracing::{info, warn};

use super::status::{ACCEPTED, SATISFIED};
use crate::context::Context;

/// Owns the fields of the status and nothing else.
const FIELD_MANAGER: &str = "granary-operator/policy-status";
/// Owns one condition of an object that cannot be read, so that the figures known before stay.
const UNREADABLE_MANAGER: &str = "granary-operator/policy-unreadable";

/// Writes a status when it differs from the one that stands.
pub async fn write(
    context: &Context,
    policy: &ReplicationPolicy,
    status: ReplicationPolicyStatus,
) -> Result<(), kube::Error> {
    if policy.status.as_ref() == Some(&status) {
        return Ok(());
    }
    let (namespace, name) = (policy.namespace().unwrap_or_default(), policy.name_any());
    patch(context, FIELD_MANAGER, &namespace, &name, json!(status)).await?;
    if let Some(event) = turned(policy.status.as_ref(), &status) {
        info!(namespace, name, reason = event.reason, note = event.note, "policy");
        publish(context, &policy.object_ref(&()), &event).await;
    }
    Ok(())
}

/// Tells about an object that cannot be read, as well as that can be done.
pub async fn unreadable(context: &Context, object: &DeserializeGuard<ReplicationPolicy>, why: &str) {
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    warn!(namespace, name, why, "the policy cannot be read; what it last asked for stays in force");
    let message = format!("the object cannot be read: {why}; what it last asked for stays in force");
    if let Err(error) = condition(context, object, &message).await {
        warn!(namespace, name, %error, "the status of the unreadable policy was not written");
    }
    let event = event(EventType::Warning, "Invalid", "Read", &message);
    publish(context, &object.object_ref(&()), &event).await;
}

/// Sets the condition of an object that cannot be read. Merged, not applied, because the API server applies nothing to an object
/// that does not fit its schema; and since a merge replaces the whole list, it is read before. Figures that stand are left alone.
async fn condition(
    context: &Context,
    object: &DeserializeGuard<ReplicationPolicy>,
    message: &str,
) -> Result<(), kube::Error> {
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let resource = ApiResource::erase::<ReplicationPolicy>(&());
    let api = Api::<DynamicObject>::namespaced_with(context.client.clone(), &namespace, &resource);
    let Some(there) = api.get_opt(&name).await? else { return Ok(()) };
    let conditions = there.data.pointer("/status/conditions").cloned().unwrap_or_default();
    let mut conditions: Vec<Condition> = serde_json::from_value(conditions).unwrap_or_default();
    let generation = object.meta().generation;
    let now = jiff::Timestamp::now();
    set_condition(&mut conditions, ACCEPTED, Some(false), "Invalid", message, generation, now);
    let parameters = PatchParams { field_manager: Some(UNREADABLE_MANAGER.into()), ..PatchParams::default() };
    let patch = json!({"metadata": {"uid": object.meta().uid}, "status": {"conditions": conditions}});
    api.patch_status(&name, &parameters, &Patch::Merge(patch)).await.map(drop)
}

async fn patch(
    context: &Context,
    manager: &str,
    namespace: &str,
    name: &str,
    status: Value,
) -> Result<(), kube::Error> {
    let api: Api<ReplicationPolicy> = Api::namespaced(context.client.clone(), namespace);
    let body = json!({
        "apiVersion": ReplicationPolicy::api_version(&()),
        "kind": ReplicationPolicy::kind(&()),
        "metadata": {"name": name},
        "status": status,
    });
    // Forced, because nobody else has a say in these fields.
    let parameters = PatchParams::apply(manager).force();
    match api.patch_status(name, &parameters, &Patch::Apply(&body)).await {
        // It was deleted meanwhile.
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        result => result.map(drop),
    }
}

/// What has turned between two statuses and is worth an event.
fn turned(before: Option<&ReplicationPolicyStatus>, after: &ReplicationPolicyStatus) -> Option<Event> {
    let before = before.and_then(|before| find_condition(&before.conditions, SATISFIED));
    let after = find_condition(&after.conditions, SATISFIED)?;
    let was = before.is_some_and(|before| before.status == "True");
    let is_other = before.is_some_and(|before| before.reason != after.reason);
    match after.status.as_str() {
        "True" if !was => Some(event(EventType::Normal, "Satisfied", &after.reason, &after.message)),
        "False" if was || is_other => {
            Some(event(EventType::Warning, "Unsatisfied", &after.reason, &after.message))
        }
        _ => None,
    }
}

/// The action names the cause, because kube's recorder counts events that differ in their note alone as one.
fn event(type_: EventType, reason: &str, action: &str, note: &str) -> Event {
    // The API takes at most 1 kB.
    let note = Some(note[..note.floor_char_boundary(1000)].to_owned());
    Event { type_, reason: reason.to_owned(), note, action: action.to_owned(), secondary: None }
}

async fn publish(context: &Context, about: &ObjectReference, event: &Event) {
    if let Err(error) = context.recorder.publish(event, about).await {
        warn!(%error, reason = event.reason, "the event was not published");
        context.metrics.error("policy", "event");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_turns_are_events() {
        let status = |holds: Option<bool>, reason| {
            let mut status = ReplicationPolicyStatus::default();
            let now = jiff::Timestamp::UNIX_EPOCH;
            set_condition(&mut status.conditions, SATISFIED, holds, reason, "", None, now);
            status
        };
        let reason = |before: Option<&ReplicationPolicyStatus>, after: &ReplicationPolicyStatus| {
            turned(before, after).map(|event| format!("{} {}", event.reason, event.action))
        };
        let unknown = status(None, "Waiting");
        let missing = status(Some(false), "CopiesMissing");
        let silent = status(Some(false), "MirrorsSilent");
        let all = status(Some(true), "Verified");
        assert_eq!(reason(None, &unknown), None);
        assert_eq!(reason(Some(&unknown), &missing).as_deref(), Some("Unsatisfied CopiesMissing"));
        assert_eq!(reason(Some(&missing), &missing), None);
        assert_eq!(reason(Some(&missing), &all).as_deref(), Some("Satisfied Verified"));
        assert_eq!(reason(Some(&all), &all), None);
        assert_eq!(reason(Some(&all), &silent).as_deref(), Some("Unsatisfied MirrorsSilent"));
    }
}
