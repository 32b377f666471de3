//! Reading the cache: [`Lister`] says of what, [`Reader`] at which moment.

use std::{borrow::Borrow, marker::PhantomData, sync::Arc};

use orion_model::{Held, Key, Kind, Object, OwnerReference, ResourceVersion, Uid};

use crate::cache::{Cache, Root, Table};

/// The way to an informer's objects. A run reads through it at the run's view ([`Run::read`](crate::Run::read)); code
/// outside of runs reads the newest state ([`latest`](Self::latest)).
pub struct Lister<K> {
    pub(crate) cache: Arc<Cache>,
    pub(crate) slot: usize,
    pub(crate) kind: Kind,
    object: PhantomData<fn() -> K>,
}

impl<K: Object> Lister<K> {
    pub(crate) fn new(cache: Arc<Cache>, slot: usize, kind: Kind) -> Self {
        Self { cache, slot, kind, object: PhantomData }
    }

    /// The newest state, held still.
    pub fn latest(&self) -> Reader<K> {
        self.at(self.cache.view())
    }

    pub(crate) fn at(&self, root: Arc<Root>) -> Reader<K> {
        Reader { root, slot: self.slot, kind: self.kind.clone(), object: PhantomData }
    }
}

impl<K> Clone for Lister<K> {
    fn clone(&self) -> Self {
        Self { cache: self.cache.clone(), slot: self.slot, kind: self.kind.clone(), object: PhantomData }
    }
}

impl<K> std::fmt::Debug for Lister<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lister({})", self.kind)
    }
}

/// Objects at one version. It does not move, costs a pointer, and all readers of one view agree over all kinds.
pub struct Reader<K> {
    root: Arc<Root>,
    slot: usize,
    kind: Kind,
    object: PhantomData<fn() -> K>,
}

impl<K: Object> Reader<K> {
    /// The version: all writes up to it are seen, and none after.
    pub fn version(&self) -> ResourceVersion {
        self.root.version
    }

    /// Whether the first list is in; before, everything looks empty.
    pub fn is_synced(&self) -> bool {
        self.root.is_synced(self.slot)
    }

    /// One object.
    pub fn get(&self, key: &Key<K>) -> Option<Arc<K>> {
        self.table()?.get(key).cloned()
    }

    /// All objects, by namespace and name.
    pub fn list(&self) -> impl Iterator<Item = &Arc<K>> {
        self.table().into_iter().flat_map(Table::iter)
    }

    /// The objects of one namespace, by name.
    pub fn in_namespace<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Arc<K>> {
        self.table().into_iter().flat_map(move |table| table.in_namespace(namespace))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.table().map_or(0, Table::len)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The objects that have a value in an index of this informer.
    ///
    /// Values borrow as map keys do: an `Index<K, String>` is asked with a `&str`.
    pub fn by<'a, V, Q>(
        &'a self,
        index: &Index<K, V>,
        value: &'a Q,
    ) -> impl Iterator<Item = &'a Arc<K>> + use<'a, K, V, Q>
    where
        V: Ord + Clone + Send + Sync + Borrow<Q> + 'static,
        Q: Ord + ?Sized,
    {
        let slot = index.slot;
        self.table().into_iter().flat_map(move |table| table.by::<V, Q>(slot, value))
    }

    /// The objects of this owner: those that name its uid.
    pub fn owned_by<H: Held>(&self, owner: &H) -> Owned<K> {
        let owner = owner.held();
        let reference = OwnerReference::controller(&owner.kind(), owner.metadata());
        Owned { reader: self.clone(), owner: reference, namespace: owner.namespace().to_owned() }
    }

    fn table(&self) -> Option<&Table<K>> {
        self.root.table(self.slot)
    }
}

impl<K> Clone for Reader<K> {
    fn clone(&self) -> Self {
        Self { root: self.root.clone(), slot: self.slot, kind: self.kind.clone(), object: PhantomData }
    }
}

impl<K> std::fmt::Debug for Reader<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Reader({} @{})", self.kind, self.root.version)
    }
}

/// The children of one owner at one version; also what [`Batch::exactly`](crate::Batch::exactly) starts from.
pub struct Owned<K> {
    pub(crate) reader: Reader<K>,
    pub(crate) owner: OwnerReference,
    pub(crate) namespace: String,
}

impl<K: Object> Owned<K> {
    /// The children, by namespace and name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<K>> {
        let owner: &Uid = &self.owner.uid;
        self.reader.table().into_iter().flat_map(move |table| table.owned_by(owner))
    }

    /// The children, to keep.
    pub fn to_vec(&self) -> Vec<Arc<K>> {
        self.iter().cloned().collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}

impl<K> std::fmt::Debug for Owned<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Owned({} of {} {})", self.reader.kind, self.owner.kind, self.owner.name)
    }
}

/// A secondary index of an informer, as a value: made by [`Informer::index`](crate::Informer::index), it changes with
/// the objects, in the same step.
pub struct Index<K, V> {
    pub(crate) lister: Lister<K>,
    pub(crate) slot: usize,
    value: PhantomData<fn() -> V>,
}

impl<K: Object, V: Ord + Clone + Send + Sync + 'static> Index<K, V> {
    pub(crate) fn new(lister: Lister<K>, slot: usize) -> Self {
        Self { lister, slot, value: PhantomData }
    }

    /// The keys of the objects that have this value now: what mappers of [`watches`](crate::Controller::watches) ask.
    /// Runs read at their view instead, by [`Reader::by`].
    pub fn keys<Q>(&self, value: &Q) -> Vec<Key<K>>
    where
        V: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        self.lister.latest().by(self, value).map(|object| object.key()).collect()
    }
}

impl<K, V> Clone for Index<K, V> {
    fn clone(&self) -> Self {
        Self { lister: self.lister.clone(), slot: self.slot, value: PhantomData }
    }
}

impl<K, V> std::fmt::Debug for Index<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Index({})", self.lister.kind)
    }
}
