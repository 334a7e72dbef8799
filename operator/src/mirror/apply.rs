//! Step 4: all writes but the status. Server-side apply with one field manager; an object that is as it was left is not written again.

mod memory;

use std::{collections::BTreeSet, fmt::Debug, marker::PhantomData};

use k8s_openapi::NamespaceResourceScope;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, Preconditions, PropagationPolicy},
    core::ObjectMeta,
    runtime::reflector::ObjectRef,
};
use serde::{Serialize, de::DeserializeOwned};

pub(super) use memory::Memory;

use super::{
    names,
    resources::{Applied, Prepared, Resources},
    stores::{Metadata, Stores},
    validate::ValidatedMirror,
};
use crate::kube_ext::hash;

/// Why something could not be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An object of this name is somebody else's. It is left alone.
    #[error(
        "{kind} {name} exists and does not belong to this CacheMirror: delete or rename it, or give the CacheMirror another name"
    )]
    Foreign {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
    },
    /// The object of a `CacheMirror` of the same name that was deleted is still being removed.
    #[error("{kind} {name} belongs to a deleted CacheMirror of the same name and has not been removed yet")]
    Leftover {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
    },
    /// The object has no JSON form.
    #[error("failed to render {kind} {name}")]
    Render {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
        /// Why not.
        source: serde_json::Error,
    },
    /// The API server refused, or did not answer.
    #[error("failed to {action} {kind} {name}")]
    Api {
        /// What was tried.
        action: &'static str,
        /// The object's kind.
        kind: String,
        /// Its name.
        name: String,
        /// What the API server said.
        source: Box<kube::Error>,
    },
}

/// Writes what was built, and removes what is no longer wanted.
pub(super) struct Applier<'a> {
    pub client: &'a Client,
    pub stores: &'a Stores,
    pub memory: &'a Memory,
    pub mirror: &'a ValidatedMirror,
}

// === impl Error ===

impl Error {
    /// The kind of the error, for a metric.
    #[must_use]
    pub fn metric_label(&self) -> &'static str {
        match self {
            Self::Foreign { .. } => "foreign-object",
            Self::Leftover { .. } => "leftover-object",
            Self::Render { .. } => "render",
            Self::Api { .. } => "api",
        }
    }

    fn api<K: Resource<DynamicType = ()>>(action: &'static str, name: &str, source: kube::Error) -> Self {
        Self::Api { action, kind: K::kind(&()).into_owned(), name: name.to_owned(), source: Box::new(source) }
    }
}

/// A kind of object that is applied.
trait Kind:
    Resource<Scope = NamespaceResourceScope, DynamicType = ()>
    + Clone
    + Debug
    + Serialize
    + DeserializeOwned
    + 'static
{
}

impl<K> Kind for K where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned
        + 'static
{
}

// === impl Applier ===

impl Applier<'_> {
    /// Applies in the order in which pods need things: configuration before the StatefulSet, or pods would start twice. Orphans go last.
    pub(super) async fn apply(&self, resources: Resources<Prepared>) -> Result<Resources<Applied>, Error> {
        // Complete: a kind that is built and not applied does not compile.
        let Resources {
            config_maps,
            holder_services,
            service,
            network_policy,
            disruption_budget,
            stateful_sets,
            stage: PhantomData,
        } = resources;
        let stores = self.stores;
        let applied = Resources {
            config_maps: self.all(&stores.config_maps, config_maps).await?,
            holder_services: self.all(&stores.services, holder_services).await?,
            service: self.one(&stores.services, service).await?,
            network_policy: self.one(&stores.network_policies, network_policy).await?,
            disruption_budget: self.one(&stores.disruption_budgets, disruption_budget).await?,
            stateful_sets: self.all(&stores.stateful_sets, stateful_sets).await?,
            stage: PhantomData,
        };
        self.remove_orphans().await?;
        Ok(applied)
    }

    async fn all<K: Kind>(&self, store: &Metadata<K>, objects: Vec<K>) -> Result<Vec<K>, Error> {
        let mut applied = Vec::with_capacity(objects.len());
        for object in objects {
            applied.push(self.one(store, object).await?);
        }
        Ok(applied)
    }

    async fn one<K: Kind>(&self, store: &Metadata<K>, object: K) -> Result<K, Error> {
        let (kind, name) = (K::kind(&()).into_owned(), object.name_any());
        let text = match serde_json::to_string(&object) {
            Ok(text) => text,
            Err(source) => return Err(Error::Render { kind, name, source }),
        };
        let wanted = hash::short(&text);
        let api = Api::<K>::namespaced(self.client.clone(), &self.mirror.namespace);
        let reference = ObjectRef::new(&name).within(&self.mirror.namespace);
        if let Some(there) = store.get(&reference) {
            self.check_ours::<K>(&there.metadata)?;
            if self.memory.is_untouched(&self.mirror.owner.uid, &kind, &there.metadata, &wanted) {
                return Ok(object);
            }
        } else {
            // Not among the children: absent, just made, or it lost its labels, or it is somebody else's.
            let there = api.get_metadata_opt(&name).await;
            if let Some(there) = there.map_err(|source| Error::api::<K>("read", &name, source))? {
                self.check_ours::<K>(&there.metadata)?;
            }
        }
        // Forced: whoever else edited these fields by hand, the CacheMirror says what they are.
        let parameters = PatchParams::apply(names::FIELD_MANAGER).force();
        let answer = api.patch(&name, &parameters, &Patch::Apply(&object)).await;
        let answer = answer.map_err(|source| Error::api::<K>("apply", &name, source))?;
        self.memory.note(&self.mirror.owner.uid, &kind, answer.meta(), wanted);
        Ok(answer)
    }

    fn check_ours<K: Resource<DynamicType = ()>>(&self, there: &ObjectMeta) -> Result<(), Error> {
        let owner = there.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
        let (kind, name) = (K::kind(&()).into_owned(), there.name.clone().unwrap_or_default());
        match owner {
            Some(owner) if owner.uid == self.mirror.owner.uid => Ok(()),
            Some(owner) if owner.kind == self.mirror.owner.kind && owner.name == self.mirror.owner.name => {
                Err(Error::Leftover { kind, name })
            }
            _ => Err(Error::Foreign { kind, name }),
        }
    }

    /// Removes the children of holders that are no longer wanted. A holder that only waits for its node is wanted. Claims and what lies on
    /// disks are never touched.
    async fn remove_orphans(&self) -> Result<(), Error> {
        let wanted: BTreeSet<&str> = self.mirror.holders.iter().map(|holder| holder.name.as_str()).collect();
        self.remove(&self.stores.stateful_sets, &wanted).await?;
        self.remove(&self.stores.services, &wanted).await?;
        self.remove(&self.stores.config_maps, &wanted).await
    }

    async fn remove<K: Kind>(&self, store: &Metadata<K>, wanted: &BTreeSet<&str>) -> Result<(), Error> {
        let api = Api::<K>::namespaced(self.client.clone(), &self.mirror.namespace);
        for object in store.state() {
            let ours = object.namespace().as_deref() == Some(self.mirror.namespace.as_str())
                && object.owner_references().iter().any(|owner| owner.uid == self.mirror.owner.uid);
            let orphan =
                object.labels().get(names::MIRROR).is_some_and(|holder| !wanted.contains(holder.as_str()));
            if !ours || !orphan || object.metadata.deletion_timestamp.is_some() {
                continue;
            }
            let name = object.name_any();
            let parameters = DeleteParams {
                propagation_policy: Some(PropagationPolicy::Background),
                // This very object, not one that has taken its name since.
                preconditions: Some(Preconditions { uid: object.uid(), resource_version: None }),
                ..DeleteParams::default()
            };
            match api.delete(&name, &parameters).await {
                Ok(_) => {
                    tracing::info!(kind = %K::kind(&()), name, "removed what belonged to a replica that is no longer wanted");
                }
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(source) => return Err(Error::api::<K>("delete", &name, source)),
            }
        }
        Ok(())
    }
}
