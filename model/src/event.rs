//! Events: what controllers tell people, as `events.k8s.io/v1` has it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Definition, Kind, Metadata, NoStatus, Object, ObjectKey, Raw, Resource, Timestamp, Uid, Whole,
    kind::{Names, Scope},
    object::DecodeError,
    schema::Schema,
};

/// Something that happened to an object. Repeats of the same event raise its `series` instead of making another.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Event {
    /// Its metadata.
    pub metadata: Metadata,
    /// When it first happened.
    pub event_time: Option<Timestamp>,
    /// Its repeats.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub series: Option<EventSeries>,
    /// Which program reports it: `orion/service-controller`.
    pub reporting_controller: String,
    /// Which copy of it.
    pub reporting_instance: String,
    /// What was done or failed to be done, a CamelCase word.
    pub action: String,
    /// Why, a CamelCase word: `RolloutFailed`.
    pub reason: String,
    /// What it is about.
    pub regarding: ObjectReference,
    /// A sentence for people.
    pub note: String,
    /// `Normal` or `Warning`.
    #[serde(rename = "type")]
    pub kind: String,
}

/// How often an event has repeated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventSeries {
    /// How often, the first time included.
    pub count: u32,
    /// When last.
    pub last_observed_time: Timestamp,
}

/// A pointer to an object, as events carry it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectReference {
    /// `group/version`.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Namespace; empty for cluster-scoped kinds.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Incarnation, where it is known.
    #[serde(skip_serializing_if = "Uid::is_empty")]
    pub uid: Uid,
}

impl ObjectReference {
    /// A reference to the object of this key.
    pub fn to(key: &ObjectKey, uid: Uid) -> Self {
        Self {
            api_version: key.kind.api_version(),
            kind: key.kind.name().to_owned(),
            namespace: key.namespace.to_string(),
            name: key.name.to_string(),
            uid,
        }
    }
}

impl Object for Event {
    fn static_kind() -> Option<Kind> {
        Some(Self::KIND)
    }

    fn kind(&self) -> Kind {
        Self::KIND
    }

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn decode(raw: &Raw) -> Result<Self, DecodeError> {
        raw.decode()
    }
}

impl Whole for Event {
    fn metadata_mut(&mut self) -> &mut Metadata {
        &mut self.metadata
    }

    fn encode(&self) -> Result<serde_json::Value, serde_json::Error> {
        serde_json::to_value(self)
    }
}

impl Resource for Event {
    type Status = NoStatus;

    const KIND: Kind = {
        use std::borrow::Cow::Borrowed;
        static NAMES: Names = Names {
            group: Borrowed("events.k8s.io"),
            version: Borrowed("v1"),
            kind: Borrowed("Event"),
            plural: Borrowed("events"),
            singular: Borrowed("event"),
            short: Borrowed(&[Borrowed("ev")]),
            scope: Scope::Namespaced,
        };
        Kind::from_static(&NAMES)
    };

    fn definition() -> Definition {
        let schema = Schema::inline::<Self>();
        let mut properties = schema.get("properties").and_then(|p| p.as_object()).cloned().unwrap_or_default();
        properties.shift_remove("metadata");
        Definition::of::<Self>(Schema::of_properties(properties, &[]))
            .without_status()
            .column("TYPE", "type")
            .column("REASON", "reason")
            .column("OBJECT", "regarding.name")
            .column("NOTE", "note")
            .selectable("type")
            .selectable("reason")
            .selectable("regarding.kind")
            .selectable("regarding.name")
            .selectable("regarding.namespace")
            .selectable("regarding.uid")
    }
}
