//! Leases: who leads, as `coordination.k8s.io/v1` has it.
//!
//! A store never expires a lease and reads no clock. A candidate that has seen a lease's version unchanged for its
//! duration, on its own monotonic clock, takes over with that version as precondition. The epoch is the version of the
//! acquiring write (`spec.epoch`, kept by the registry), so it never repeats, and commits that carry it are refused
//! once another holds the lease.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Resource, ResourceVersion, Timestamp};

/// What a lease says.
#[derive(Resource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[resource(kind = Lease, group = "coordination.k8s.io", version = "v1")]
#[resource(column("HOLDER", ".spec.holderIdentity"))]
#[serde(rename_all = "camelCase", default)]
pub struct LeaseSpec {
    /// Who holds it; absent where nobody does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder_identity: Option<String>,
    /// For how many seconds without a renewal others leave it alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_duration_seconds: Option<u32>,
    /// When the holder acquired it; for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acquire_time: Option<Timestamp>,
    /// When the holder last renewed it; for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renew_time: Option<Timestamp>,
    /// How often it has changed hands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_transitions: Option<u32>,
    /// The version of the write by which the holder acquired it: its term. The store stamps it whenever the holder
    /// changes; what a writer says of it is ignored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<ResourceVersion>,
}
