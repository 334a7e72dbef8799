//! The driver: the five steps, once.

use std::time::Duration;

use granary_crds::{CacheMirror, CacheMirrorStatus};
use k8s_openapi::jiff::Timestamp;
use kube::{
    Api, Resource, ResourceExt,
    api::{Patch, PatchParams},
    runtime::{
        controller::Action,
        events::{Event, EventType},
    },
};
use serde_json::json;

use crate::kube_ext::events;

use super::{
    apply::Applier,
    build::{Settings, build},
    controller::{Guarded, Shared},
    dereference::{Known, dereference},
    error::{Error, chain},
    invalid, names,
    resources::{Applied, Resources},
    status::{self, News, Now, Outcome, news},
    validate::{ValidatedMirror, validate},
};

/// When everything is looked at again though nothing woke us; jittered by up to a third, so that a thousand mirrors do not come at once.
const RESYNC: Duration = Duration::from_mins(10);
/// While the stores are being filled.
const SOON: Duration = Duration::from_secs(1);
/// Kubernetes' limit for the text of an event, in bytes.
const MAX_NOTE: usize = 1000;

/// One pass over one object.
pub(super) async fn reconcile(object: &Guarded, shared: &Shared) -> Result<Action, Error> {
    let mirror = match &object.0 {
        Ok(mirror) => mirror,
        Err(unreadable) => return invalid::report(object.meta(), unreadable, shared).await,
    };
    if mirror.metadata.deletion_timestamp.is_some() {
        // Its children go with it, by their owner references.
        return Ok(Action::await_change());
    }
    if !shared.stores.are_ready() {
        return Ok(Action::requeue(SOON));
    }
    // Reads.
    let known = dereference(mirror, &shared.stores, &shared.context);
    if mirror.spec.suspend {
        tell(mirror, &Outcome::Suspended, &known, shared).await?;
        return Ok(resync());
    }
    // Pure.
    let valid = match validate(mirror, known.map.as_deref()) {
        Ok(valid) => valid,
        Err(faults) => {
            tell(mirror, &Outcome::Invalid(&faults), &known, shared).await?;
            return Ok(resync());
        }
    };
    // Pure, then writes.
    // Boxed: the future holds whole objects, and would make every task that awaits it as large.
    match Box::pin(build_and_apply(&valid, shared)).await {
        Ok(applied) => tell(mirror, &Outcome::Applied(&applied), &known, shared).await?,
        Err(error) => {
            tell(mirror, &Outcome::Failed(&valid, chain(&error)), &known, shared).await?;
            return Err(error);
        }
    }
    Ok(resync())
}

async fn build_and_apply(valid: &ValidatedMirror, shared: &Shared) -> Result<Resources<Applied>, Error> {
    let config = &shared.context.config;
    let settings = Settings { image: config.mirror_image.clone(), map_url: config.map_url.clone() };
    let prepared = build(valid, &settings)?;
    let applier = Applier {
        client: &shared.context.client,
        stores: &shared.stores,
        memory: &shared.memory,
        mirror: valid,
    };
    Ok(Box::pin(applier.apply(prepared)).await?)
}

/// Writes the status if it says something new, and publishes what happened.
async fn tell(
    mirror: &CacheMirror,
    outcome: &Outcome<'_>,
    known: &Known,
    shared: &Shared,
) -> Result<(), Error> {
    let now = Now { clock: Timestamp::now(), instant: std::time::Instant::now() };
    let after = status::status(mirror, outcome, known, now);
    if mirror.status.as_ref() == Some(&after) {
        return Ok(());
    }
    write(mirror, &after, shared).await?;
    for news in news(mirror.status.as_ref(), &after) {
        publish(mirror, news, shared).await;
    }
    Ok(())
}

async fn write(mirror: &CacheMirror, after: &CacheMirrorStatus, shared: &Shared) -> Result<(), Error> {
    let api = Api::<CacheMirror>::namespaced(
        shared.context.client.clone(),
        &mirror.namespace().unwrap_or_default(),
    );
    let patch = json!({
        "apiVersion": CacheMirror::api_version(&()),
        "kind": CacheMirror::kind(&()),
        // Not on an object that was deleted and made anew meanwhile.
        "metadata": {"uid": mirror.metadata.uid},
        "status": after,
    });
    let parameters = PatchParams::apply(names::STATUS_MANAGER).force();
    let answer = api.patch_status(&mirror.name_any(), &parameters, &Patch::Apply(patch)).await;
    answer.map(|_| ()).map_err(|error| Error::Status(Box::new(error)))
}

async fn publish(mirror: &CacheMirror, news: News, shared: &Shared) {
    let News { warning, reason, mut note, holder } = news;
    let namespace = mirror.namespace().unwrap_or_default();
    let name = mirror.name_any();
    if warning {
        tracing::warn!(namespace, cache_mirror = name, reason, note, "told about a CacheMirror");
    } else {
        tracing::info!(namespace, cache_mirror = name, reason, note, "told about a CacheMirror");
    }
    note.truncate(note.floor_char_boundary(MAX_NOTE));
    let event = Event {
        type_: if warning { EventType::Warning } else { EventType::Normal },
        reason: reason.to_owned(),
        note: Some(note),
        action: "Reconcile".to_owned(),
        secondary: holder.map(|holder| events::about(&namespace, &holder)),
    };
    // An event is a courtesy: the status says the same.
    if let Err(error) = shared.context.recorder.publish(&event, &mirror.object_ref(&())).await {
        tracing::debug!(namespace, cache_mirror = name, error = chain(&error), "an event was not published");
    }
}

fn resync() -> Action {
    Action::requeue(RESYNC.mul_f64(1.0 - rand::random::<f64>() / 3.0))
}
