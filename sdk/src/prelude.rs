//! Everything a controller's own lines name: `use orion_sdk::prelude::*`.

pub use orion_model::{
    Client, ClientError, Condition, ConditionStatus, Conditions, Dynamic, FieldSelector, Held, Issue, Key, Kind,
    LabelSelector, Meta, Metadata, NoStatus, Object, ObjectKey, OwnerReference, Registry, Resource, ResourceVersion,
    Timestamp, Uid, Whole,
};
pub use orion_runtime::{
    Action, Batch, Change, Controller, Error, Index, Informer, Lister, Manager, ManagerHandle, Owned, Reader, Reason,
    ReconcileKey, Reconciler, Result, Run, Select, Trigger,
};
pub use schemars::JsonSchema;
pub use serde::{Deserialize, Serialize};
