//! What an object is to a program: three traits, and the forms an object has before its type is known.
//!
//! ```text
//! Object     what a cache holds: a kind, or a view of one; metadata and decode
//! Whole      Object that may be written: encode
//! Resource   Whole that is a kind: names, status type, definition; derived
//! ```

use std::{fmt, sync::Arc};

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned, ser::SerializeStruct};
use serde_json::{Map, Value, value::RawValue};

use crate::{Definition, Key, Kind, Metadata, ObjectKey, OwnerReference, ResourceVersion, Uid, metadata::null_default};

/// An object as the store holds it: metadata at hand, the whole as JSON bytes.
///
/// The bytes are what a client gets: `apiVersion`, `kind`, `metadata` and all content, unknown fields included.
#[derive(Clone)]
pub struct Raw {
    kind: Kind,
    metadata: Metadata,
    body: Bytes,
}

/// An object that does not read as what it should be.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{key} does not decode at `{path}`: {message}")]
pub struct DecodeError {
    /// Which object.
    pub key: ObjectKey,
    /// Where in it.
    pub path: String,
    /// What is wrong there.
    pub message: String,
}

impl Raw {
    /// Takes an object apart from its JSON value.
    ///
    /// # Errors
    /// When the value is no object or its metadata does not read.
    pub fn from_value(kind: Kind, mut value: Value) -> Result<Self, DecodeError> {
        let error =
            |path: String, message: String| DecodeError { key: ObjectKey::new(kind.clone(), "", ""), path, message };
        let Some(fields) = value.as_object_mut() else {
            return Err(error(".".into(), "is not an object".into()));
        };
        let metadata = fields.get("metadata").cloned().unwrap_or_default();
        let metadata: Metadata = serde_path_to_error::deserialize::<_, Option<Metadata>>(metadata)
            .map_err(|e| error(format!("metadata.{}", e.path()), e.inner().to_string()))?
            .unwrap_or_default();
        Ok(Self::assemble(kind, metadata, std::mem::take(fields)))
    }

    /// Puts an object together from its metadata and the rest; `fields`' own metadata, kind and apiVersion are replaced.
    pub fn assemble(kind: Kind, metadata: Metadata, mut fields: Map<String, Value>) -> Self {
        for known in ["apiVersion", "kind", "metadata"] {
            fields.remove(known);
        }
        let whole = Assembled { kind: &kind, metadata: &metadata, fields: &fields };
        let body = serde_json::to_vec(&whole).expect("a JSON value always serialises");
        Self { kind, metadata, body: body.into() }
    }

    /// Reads an object back from its stored bytes.
    ///
    /// # Errors
    /// When the bytes are not such an object.
    pub fn from_body(kind: Kind, body: Bytes) -> Result<Self, DecodeError> {
        #[derive(Deserialize)]
        struct Head {
            #[serde(default)]
            metadata: Metadata,
        }
        let head: Head = serde_json::from_slice(&body).map_err(|e| DecodeError {
            key: ObjectKey::new(kind.clone(), "", ""),
            path: "metadata".into(),
            message: e.to_string(),
        })?;
        Ok(Self { kind, metadata: head.metadata, body })
    }

    /// Its kind.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Its metadata.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Its key.
    pub fn key(&self) -> ObjectKey {
        ObjectKey::of(&self.kind, &self.metadata)
    }

    /// Its version.
    pub fn version(&self) -> ResourceVersion {
        self.metadata.resource_version
    }

    /// The whole object as JSON.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The whole object as a value.
    pub fn to_value(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a stored body is JSON")
    }

    /// The object as its type.
    ///
    /// # Errors
    /// Where it does not read as one, with the path.
    pub fn decode<K: DeserializeOwned>(&self) -> Result<K, DecodeError> {
        // The plain decoder is twice as fast; the path is worked out only when there is something to say. From a value,
        // not from the bytes: a line and column in what is stored would tell nobody anything.
        if let Ok(object) = serde_json::from_slice(&self.body) {
            return Ok(object);
        }
        serde_path_to_error::deserialize(self.to_value()).map_err(|e| DecodeError {
            key: self.key(),
            path: e.path().to_string(),
            message: e.inner().to_string(),
        })
    }
}

impl fmt::Debug for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} @{}", self.key(), self.version())
    }
}

impl Serialize for Raw {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_slice(&self.body).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

struct Assembled<'a> {
    kind: &'a Kind,
    metadata: &'a Metadata,
    fields: &'a Map<String, Value>,
}

impl Serialize for Assembled<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let mut map = serializer.serialize_map(Some(3 + self.fields.len()))?;
        map.serialize_entry("apiVersion", &self.kind.api_version())?;
        map.serialize_entry("kind", self.kind.name())?;
        map.serialize_entry("metadata", self.metadata)?;
        for (name, value) in self.fields {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// What a cache can hold: a kind, or a view of one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an object",
    note = "derive `Resource` on the kind's spec, or use `Meta<K>` or `Dynamic`"
)]
pub trait Object: Clone + fmt::Debug + Send + Sync + 'static {
    /// The kind, where the type alone says it; `None` for [`Dynamic`].
    fn static_kind() -> Option<Kind>;

    /// The object's kind.
    fn kind(&self) -> Kind;

    /// Its metadata.
    fn metadata(&self) -> &Metadata;

    /// Reads it from what the store holds.
    ///
    /// # Errors
    /// Where it does not read as this type, with the path.
    fn decode(raw: &Raw) -> Result<Self, DecodeError>;

    /// Its name.
    fn name(&self) -> &str {
        &self.metadata().name
    }

    /// Its namespace; empty for cluster-scoped kinds.
    fn namespace(&self) -> &str {
        &self.metadata().namespace
    }

    /// Its incarnation.
    fn uid(&self) -> &Uid {
        &self.metadata().uid
    }

    /// The version of its last write.
    fn version(&self) -> ResourceVersion {
        self.metadata().resource_version
    }

    /// Its key.
    fn key(&self) -> Key<Self> {
        Key::new(self.namespace(), self.name())
    }

    /// Its key with the kind as data.
    fn object_key(&self) -> ObjectKey {
        ObjectKey::of(&self.kind(), self.metadata())
    }

    /// Whether its deletion has been asked for.
    fn is_being_deleted(&self) -> bool {
        self.metadata().is_being_deleted()
    }
}

/// An object that may be written: nothing of it is left out.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be written",
    note = "views such as `Meta<K>` hold a part of an object; write the kind itself"
)]
pub trait Whole: Object {
    /// Its metadata, to change before a write.
    fn metadata_mut(&mut self) -> &mut Metadata;

    /// The whole object as JSON.
    ///
    /// # Errors
    /// When a part of it does not serialise.
    fn encode(&self) -> Result<Value, serde_json::Error>;

    /// This object, owned and managed by `owner`: same namespace, collected when the owner is gone.
    #[must_use]
    fn owned_by<O: Object>(mut self, owner: &O) -> Self {
        let reference = OwnerReference::controller(&owner.kind(), owner.metadata());
        let metadata = self.metadata_mut();
        if metadata.namespace.is_empty() {
            metadata.namespace = owner.namespace().to_owned();
        }
        metadata.owner_references.retain(|other| other.uid != reference.uid);
        metadata.owner_references.push(reference);
        self
    }

    /// This object in a namespace.
    #[must_use]
    fn in_namespace(mut self, namespace: impl Into<String>) -> Self {
        self.metadata_mut().namespace = namespace.into();
        self
    }

    /// This object with a label.
    #[must_use]
    fn with_label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata_mut().labels.insert(name.into(), value.into());
        self
    }

    /// This object with a finalizer.
    #[must_use]
    fn with_finalizer(mut self, name: impl Into<String>) -> Self {
        self.metadata_mut().finalizers.push(name.into());
        self
    }
}

/// A kind: what `#[derive(Resource)]` makes of a spec.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a resource",
    note = "put `#[derive(Resource)]` and `#[resource(kind = …, group = …, version = …)]` on its spec"
)]
pub trait Resource: Whole + Serialize + DeserializeOwned {
    /// The type of its status; [`NoStatus`] where it has none.
    type Status: Clone + fmt::Debug + Default + Serialize + DeserializeOwned + Send + Sync + 'static;

    /// The kind.
    const KIND: Kind;

    /// What a [`Registry`](crate::Registry) needs to know of it.
    fn definition() -> Definition;

    /// The key of an object of this name in a namespace.
    fn key_of(namespace: &str, name: &str) -> Key<Self> {
        Key::new(namespace, name)
    }
}

/// An object, however it is held: by value, or shared as caches hand it out.
pub trait Held {
    /// The object's type.
    type Object: Object;

    /// The object.
    fn held(&self) -> &Self::Object;

    /// The object to share: without a copy, where it is shared already.
    fn shared(&self) -> Arc<Self::Object>;
}

impl<K: Object> Held for K {
    type Object = K;

    fn held(&self) -> &K {
        self
    }

    fn shared(&self) -> Arc<K> {
        Arc::new(self.clone())
    }
}

impl<K: Object> Held for Arc<K> {
    type Object = K;

    fn held(&self) -> &K {
        self
    }

    fn shared(&self) -> Arc<K> {
        self.clone()
    }
}

/// The status of a kind that has none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NoStatus {}

/// The metadata of an object of kind `K`, for caches that need no more.
pub struct Meta<K: Resource> {
    metadata: Metadata,
    kind: std::marker::PhantomData<fn() -> K>,
}

impl<K: Resource> Clone for Meta<K> {
    fn clone(&self) -> Self {
        Self { metadata: self.metadata.clone(), kind: self.kind }
    }
}

impl<K: Resource> fmt::Debug for Meta<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Meta({} @{})", self.object_key(), self.version())
    }
}

impl<K: Resource> Object for Meta<K> {
    fn static_kind() -> Option<Kind> {
        Some(K::KIND)
    }

    fn kind(&self) -> Kind {
        K::KIND
    }

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn decode(raw: &Raw) -> Result<Self, DecodeError> {
        Ok(Self { metadata: raw.metadata().clone(), kind: std::marker::PhantomData })
    }
}

/// An object of a kind that is known only at run time: everything but its metadata is a JSON map.
#[derive(Clone, Debug, PartialEq)]
pub struct Dynamic {
    /// Its kind.
    pub kind: Kind,
    /// Its metadata.
    pub metadata: Metadata,
    /// The rest: `spec`, `status` and whatever else stands at the top.
    pub data: Map<String, Value>,
}

impl Object for Dynamic {
    fn static_kind() -> Option<Kind> {
        None
    }

    fn kind(&self) -> Kind {
        self.kind.clone()
    }

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn decode(raw: &Raw) -> Result<Self, DecodeError> {
        let mut data: Map<String, Value> = raw.decode()?;
        for known in ["apiVersion", "kind", "metadata"] {
            data.remove(known);
        }
        Ok(Self { kind: raw.kind().clone(), metadata: raw.metadata().clone(), data })
    }
}

impl Whole for Dynamic {
    fn metadata_mut(&mut self) -> &mut Metadata {
        &mut self.metadata
    }

    fn encode(&self) -> Result<Value, serde_json::Error> {
        serde_json::to_value(Assembled { kind: &self.kind, metadata: &self.metadata, fields: &self.data })
    }
}

/// The three parts of a derived kind, as they stand on the wire. What the derive's `Serialize` and `Deserialize` use.
#[doc(hidden)]
#[derive(Deserialize)]
#[serde(bound = "Spec: DeserializeOwned, Status: DeserializeOwned + Default")]
pub struct Parts<Spec, Status> {
    #[serde(default, deserialize_with = "null_default")]
    pub metadata: Metadata,
    pub spec: Spec,
    #[serde(default, deserialize_with = "null_default")]
    pub status: Status,
}

impl<Spec: DeserializeOwned, Status: DeserializeOwned + Default> Parts<Spec, Status> {
    #[doc(hidden)]
    pub fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::deserialize(deserializer)
    }
}

#[doc(hidden)]
pub fn write_parts<S: Serializer, Spec: Serialize, Status: Serialize>(
    serializer: S,
    kind: &Kind,
    metadata: &Metadata,
    spec: &Spec,
    status: Option<&Status>,
) -> Result<S::Ok, S::Error> {
    let mut parts = serializer.serialize_struct("Object", 5)?;
    parts.serialize_field("apiVersion", &kind.api_version())?;
    parts.serialize_field("kind", kind.name())?;
    parts.serialize_field("metadata", metadata)?;
    parts.serialize_field("spec", spec)?;
    match status {
        Some(status) => parts.serialize_field("status", status)?,
        None => parts.skip_field("status")?,
    }
    parts.end()
}

/// A shared stored object, as caches, watches and results hand it on.
pub type Stored = Arc<Raw>;
