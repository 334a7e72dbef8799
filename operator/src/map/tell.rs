//! Tells people what happened to holders: events on their `CacheMirror`, and the notes that its conditions show.

use std::sync::Arc;

use granary_crds::CacheMirror;
use granary_placement::{MirrorMap, MirrorName, MirrorState};
use k8s_openapi::api::core::v1::{ConfigMap, ObjectReference};
use kube::{
    Resource, ResourceExt,
    core::DeserializeGuard,
    runtime::events::{Event, EventType},
};
use tracing::{info, warn};

use super::note::Note;
use crate::{context::Context, kube_ext::events::about};

type CacheMirrors = [Arc<DeserializeGuard<CacheMirror>>];

/// Takes over the notes of a round, together with those of the moments before that still matter, and publishes what is new.
pub async fn notes(
    context: &Context,
    namespace: &str,
    cache_mirrors: &CacheMirrors,
    map: &MirrorMap,
    mut notes: Vec<Note>,
) {
    for object in cache_mirrors {
        for note in context.maps.notes(namespace, &object.name_any()) {
            let serves =
                map.mirror(note.holder.as_str()).is_none_or(|mirror| mirror.state == MirrorState::Serving);
            if note.trouble.is_moment() && !serves && !notes.contains(&note) {
                notes.push(note);
            }
        }
    }
    for Note { holder, trouble } in context.maps.tell(namespace, notes) {
        warn!(namespace, %holder, %trouble, "holder");
        let text = format!("{holder}: {trouble}");
        publish(context, cache_mirrors, holder.holder(), EventType::Warning, trouble.reason(), text).await;
    }
}

/// Publishes which holders have come and which have gone.
pub async fn states(context: &Context, cache_mirrors: &CacheMirrors, before: &MirrorMap, map: &MirrorMap) {
    for mirror in &map.mirrors {
        let was = before.mirror(mirror.name.as_str()).map(|mirror| mirror.state);
        if was == Some(mirror.state) {
            continue;
        }
        let (type_, reason, text) = match mirror.state {
            MirrorState::Joining => continue,
            MirrorState::Serving => (EventType::Normal, "MirrorServing", "it serves"),
            MirrorState::Unreachable => (
                EventType::Warning,
                "MirrorUnreachable",
                "it has stopped answering; clients are no longer sent to it",
            ),
        };
        info!(namespace = map.namespace, holder = %mirror.name, state = mirror.state.as_str(), "holder");
        let text = format!("{}: {text}", mirror.name);
        publish(context, cache_mirrors, mirror.name.holder(), type_, reason, text).await;
    }
}

/// Tells that a stored map could not be read, and that this ConfigMap now has another.
pub async fn unreadable(context: &Context, written: &ConfigMap) {
    let note = "the map could not be read; it was put together again from status and reports, and the old text is kept under \
                the key unreadable-map.json";
    let event = event(EventType::Warning, "MapUnreadable", note);
    publish_about(context, &event, &written.object_ref(&())).await;
}

async fn publish(
    context: &Context,
    cache_mirrors: &CacheMirrors,
    holder: Option<(&str, u32)>,
    type_: EventType,
    reason: &str,
    note: String,
) {
    let owner = holder.and_then(|(name, _)| cache_mirrors.iter().find(|object| object.name_any() == name));
    let Some(owner) = owner else { return };
    let secondary = holder
        .and_then(|(name, ordinal)| MirrorName::of_holder(name, ordinal).ok())
        .map(|holder| about(&owner.namespace().unwrap_or_default(), &holder));
    let event = Event { secondary, ..event(type_, reason, &note) };
    publish_about(context, &event, &owner.object_ref(&())).await;
}

fn event(type_: EventType, reason: &str, note: &str) -> Event {
    // The API takes at most 1 kB.
    let note = Some(note[..note.floor_char_boundary(1000)].to_owned());
    Event { type_, reason: reason.to_owned(), note, action: "Place".to_owned(), secondary: None }
}

async fn publish_about(context: &Context, event: &Event, object: &ObjectReference) {
    if let Err(error) = context.recorder.publish(event, object).await {
        // An event is a courtesy; what it tells is also in the log, the status and the metrics.
        warn!(%error, reason = event.reason, "the event was not published");
        context.metrics.error("map", "event");
    }
}
