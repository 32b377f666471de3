//! What every object carries beside its content, as Kubernetes has it.

use std::{collections::BTreeMap, fmt};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::{Kind, ResourceVersion, Timestamp};

/// The identity of one incarnation of an object, given by the store; a recreated object has another.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(transparent, inline)]
pub struct Uid(String);

impl Uid {
    /// A uid by its text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the store has not given one yet.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for Uid {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// An object's metadata. The store alone writes `uid`, `resourceVersion`, `generation`, `specVersion`,
/// `creationTimestamp` and `deletionTimestamp`; what a writer says of them is a precondition or is ignored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    /// The name, unique for its kind within the namespace.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_default")]
    pub name: String,
    /// On create without a name: the store appends five random characters to this.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_default")]
    pub generate_name: String,
    /// The namespace; empty for cluster-scoped kinds.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_default")]
    pub namespace: String,
    /// The identity of this incarnation.
    #[serde(skip_serializing_if = "Uid::is_empty", deserialize_with = "null_default")]
    pub uid: Uid,
    /// The version of the write that made this state.
    #[serde(skip_serializing_if = "ResourceVersion::is_zero", deserialize_with = "null_default")]
    pub resource_version: ResourceVersion,
    /// Rises by one with each change outside metadata and status.
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "null_default")]
    pub generation: i64,
    /// The version of the write that last changed the spec or set the deletion timestamp.
    #[serde(skip_serializing_if = "ResourceVersion::is_zero", deserialize_with = "null_default")]
    pub spec_version: ResourceVersion,
    /// When the object was created, to the second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creation_timestamp: Option<Timestamp>,
    /// When its deletion was asked for; it goes when its last finalizer does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_timestamp: Option<Timestamp>,
    /// How long a deletion may take, in seconds; kept for Kubernetes' clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_grace_period_seconds: Option<i64>,
    /// What selectors match on.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_default")]
    pub labels: BTreeMap<String, String>,
    /// Anything else that tools want to note.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_default")]
    pub annotations: BTreeMap<String, String>,
    /// Who must act before the object may go.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_default")]
    pub finalizers: Vec<String>,
    /// Whose objects this one belongs to; when all of them are gone it is collected.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_default")]
    pub owner_references: Vec<OwnerReference>,
    /// Which manager set which field, as Kubernetes writes it; kept as it comes.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_default")]
    #[schemars(with = "Vec<serde_json::Map<String, serde_json::Value>>")]
    pub managed_fields: Vec<serde_json::Value>,
}

impl Metadata {
    /// Metadata of a new object of this name.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// Whether deletion has been asked for.
    pub fn is_being_deleted(&self) -> bool {
        self.deletion_timestamp.is_some()
    }

    /// The owner that manages this object, if one does.
    pub fn controller(&self) -> Option<&OwnerReference> {
        self.owner_references.iter().find(|owner| owner.controller)
    }

    /// Whether this object names `owner` (by uid) as an owner.
    pub fn is_owned_by(&self, owner: &Uid) -> bool {
        self.owner_references.iter().any(|reference| &reference.uid == owner)
    }
}

/// A pointer from an object to the one it belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OwnerReference {
    /// `group/version` of the owner.
    pub api_version: String,
    /// Kind of the owner.
    pub kind: String,
    /// Name of the owner.
    pub name: String,
    /// Its incarnation.
    pub uid: Uid,
    /// Whether this owner manages the object; at most one does.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub controller: bool,
    /// Whether the owner may not go in the foreground before this object has.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub block_owner_deletion: bool,
}

impl OwnerReference {
    /// A managing owner reference to an object of `kind` with this metadata.
    pub fn controller(kind: &Kind, owner: &Metadata) -> Self {
        Self {
            api_version: kind.api_version(),
            kind: kind.name().to_owned(),
            name: owner.name.clone(),
            uid: owner.uid.clone(),
            controller: true,
            block_owner_deletion: true,
        }
    }

    /// Whether it points to an object of this kind; the version of the group does not count.
    pub fn is_of(&self, kind: &Kind) -> bool {
        let group = self.api_version.split_once('/').map_or("", |(group, _)| group);
        self.kind == kind.name() && group == kind.group()
    }
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// Reads `null` as the default, since Kubernetes' clients write both.
pub(crate) fn null_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}
