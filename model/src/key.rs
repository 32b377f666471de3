//! What names an object: [`ObjectKey`] where the kind is data, [`Key`] where it is a type.

use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    marker::PhantomData,
    sync::Arc,
};

use crate::{Kind, Metadata};

/// Kind, namespace and name of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// The kind.
    pub kind: Kind,
    /// The namespace; empty for cluster-scoped kinds.
    pub namespace: Arc<str>,
    /// The name.
    pub name: Arc<str>,
}

impl ObjectKey {
    /// A key from its parts.
    pub fn new(kind: Kind, namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self { kind, namespace: namespace.into(), name: name.into() }
    }

    /// The key of an object of `kind` with this metadata.
    pub fn of(kind: &Kind, metadata: &Metadata) -> Self {
        Self::new(kind.clone(), metadata.namespace.as_str(), metadata.name.as_str())
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.kind.resource())?;
        write_path(f, &self.namespace, &self.name)
    }
}

/// Namespace and name of an object whose kind is the type `K`.
pub struct Key<K: ?Sized> {
    namespace: Arc<str>,
    name: Arc<str>,
    kind: PhantomData<fn() -> K>,
}

impl<K: ?Sized> Key<K> {
    /// A key in a namespace; the namespace of a cluster-scoped kind is empty.
    pub fn new(namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self { namespace: namespace.into(), name: name.into(), kind: PhantomData }
    }

    /// The namespace; empty for cluster-scoped kinds.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same names as a key of another type, such as a view of the kind.
    pub fn cast<V: ?Sized>(&self) -> Key<V> {
        Key { namespace: self.namespace.clone(), name: self.name.clone(), kind: PhantomData }
    }

    /// The untyped key, of this kind.
    pub fn of_kind(&self, kind: Kind) -> ObjectKey {
        ObjectKey { kind, namespace: self.namespace.clone(), name: self.name.clone() }
    }
}

impl<K: ?Sized> From<&ObjectKey> for Key<K> {
    fn from(key: &ObjectKey) -> Self {
        Self { namespace: key.namespace.clone(), name: key.name.clone(), kind: PhantomData }
    }
}

impl<K: ?Sized> Clone for Key<K> {
    fn clone(&self) -> Self {
        self.cast()
    }
}

impl<K: ?Sized> PartialEq for Key<K> {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.namespace == other.namespace
    }
}

impl<K: ?Sized> Eq for Key<K> {}

impl<K: ?Sized> PartialOrd for Key<K> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<K: ?Sized> Ord for Key<K> {
    fn cmp(&self, other: &Self) -> Ordering {
        (&self.namespace, &self.name).cmp(&(&other.namespace, &other.name))
    }
}

impl<K: ?Sized> Hash for Key<K> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.namespace.hash(state);
        self.name.hash(state);
    }
}

impl<K: ?Sized> fmt::Debug for Key<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_path(f, &self.namespace, &self.name)
    }
}

impl<K: ?Sized> fmt::Display for Key<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_path(f, &self.namespace, &self.name)
    }
}

fn write_path(f: &mut fmt::Formatter<'_>, namespace: &str, name: &str) -> fmt::Result {
    match namespace {
        "" => f.write_str(name),
        _ => write!(f, "{namespace}/{name}"),
    }
}
