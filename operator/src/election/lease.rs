//! The three requests that an election makes.

use std::future::Future;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::{Api, Client, api::PostParams};

use super::decide::Seen;

/// Why a request about the lease failed.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Somebody else wrote first.
    #[error("somebody else wrote the lease first")]
    Conflict,
    /// The operator's role does not let it.
    #[error(
        "the operator may not {verb} leases in its namespace; give its role get, create and update on leases"
    )]
    Forbidden {
        /// The verb that is missing.
        verb: &'static str,
    },
    /// Anything else.
    #[error("the lease cannot be reached: {0}")]
    Api(#[source] Box<kube::Error>),
}

/// Where the lease is. Replacing is optimistic: it succeeds only on the version that was read.
pub trait LeaseStore: Send + Sync {
    /// A lease as it was read, with its resource version.
    type Read: Send + Sync;

    /// Reads the lease.
    fn get(&self) -> impl Future<Output = Result<Option<Self::Read>, LeaseError>> + Send;
    /// What a lease that was read says.
    fn seen<'a>(&self, read: &'a Self::Read) -> Seen<'a>;
    /// Creates the lease.
    fn create(&self, spec: LeaseSpec) -> impl Future<Output = Result<(), LeaseError>> + Send;
    /// Replaces the lease that was read.
    fn replace(
        &self,
        read: Self::Read,
        spec: LeaseSpec,
    ) -> impl Future<Output = Result<(), LeaseError>> + Send;
}

/// A `Lease` in the Kubernetes API.
#[derive(Clone)]
pub struct KubeLease {
    api: Api<Lease>,
    name: String,
}

/// A lease with its spec taken out of its `Option`.
pub struct ReadLease {
    lease: Lease,
    spec: LeaseSpec,
}

impl KubeLease {
    /// The lease `namespace/name`.
    #[must_use]
    pub fn new(client: Client, namespace: &str, name: &str) -> Self {
        Self { api: Api::namespaced(client, namespace), name: name.to_owned() }
    }
}

impl LeaseStore for KubeLease {
    type Read = ReadLease;

    async fn get(&self) -> Result<Option<ReadLease>, LeaseError> {
        let lease = self.api.get_opt(&self.name).await.map_err(|error| classify(error, "get"))?;
        Ok(lease.map(|mut lease| ReadLease { spec: lease.spec.take().unwrap_or_default(), lease }))
    }

    fn seen<'a>(&self, read: &'a ReadLease) -> Seen<'a> {
        let version = read.lease.metadata.resource_version.as_deref().unwrap_or_default();
        Seen { version, spec: &read.spec }
    }

    async fn create(&self, spec: LeaseSpec) -> Result<(), LeaseError> {
        let mut lease = Lease { spec: Some(spec), ..Lease::default() };
        lease.metadata.name = Some(self.name.clone());
        let created = self.api.create(&PostParams::default(), &lease).await;
        created.map(drop).map_err(|error| classify(error, "create"))
    }

    async fn replace(&self, read: ReadLease, spec: LeaseSpec) -> Result<(), LeaseError> {
        // The metadata that was read carries the resource version: the server refuses it when somebody wrote since.
        let lease = Lease { spec: Some(spec), ..read.lease };
        let replaced = self.api.replace(&self.name, &PostParams::default(), &lease).await;
        replaced.map(drop).map_err(|error| classify(error, "update"))
    }
}

fn classify(error: kube::Error, verb: &'static str) -> LeaseError {
    match &error {
        kube::Error::Api(status) if status.code == 409 => LeaseError::Conflict,
        kube::Error::Api(status) if status.code == 401 || status.code == 403 => {
            LeaseError::Forbidden { verb }
        }
        _ => LeaseError::Api(Box::new(error)),
    }
}
