//! One informer's objects and indexes, as a persistent value.

use std::{any::Any, borrow::Borrow, ops::Bound, sync::Arc};

use imbl::OrdMap;
use orion_model::{Kind, Metadata, Object, ObjectKey, Raw, ResourceVersion, Uid};

use super::index::{AnyIndex, IndexTable, Probe, Values};
use crate::Change;

type Key<K> = orion_model::Key<K>;

/// What is known of one kind and selection. Cloning copies pointers.
pub(crate) struct Table<K: Object> {
    kind: Kind,
    objects: OrdMap<Key<K>, Arc<K>>,
    /// The built-in index first: owners' uids.
    indexes: Vec<Box<dyn AnyIndex<K>>>,
    /// Objects whose newest state does not decode, with that state's version.
    undecodable: OrdMap<Key<K>, ResourceVersion>,
    synced: bool,
}

/// What a new state of an object came to.
pub(crate) enum Outcome {
    /// It is in the table; its changes were pushed.
    Taken,
    /// The table has it already, or a newer one.
    Known,
    /// It does not decode. Said once for each version.
    Undecodable(orion_model::DecodeError),
}

impl<K: Object> Clone for Table<K> {
    fn clone(&self) -> Self {
        Self {
            kind: self.kind.clone(),
            objects: self.objects.clone(),
            indexes: self.indexes.iter().map(|index| index.boxed()).collect(),
            undecodable: self.undecodable.clone(),
            synced: self.synced,
        }
    }
}

impl<K: Object> Table<K> {
    pub(crate) fn new(kind: Kind) -> Self {
        let owners: Values<K, Uid> = Arc::new(|object: &K, visit: &mut dyn FnMut(Uid)| {
            object.metadata().owner_references.iter().for_each(|owner| visit(owner.uid.clone()));
        });
        Self {
            kind,
            objects: OrdMap::new(),
            indexes: vec![Box::new(IndexTable::new(owners))],
            undecodable: OrdMap::new(),
            synced: false,
        }
    }

    pub(crate) fn get(&self, key: &Key<K>) -> Option<&Arc<K>> {
        self.objects.get(key)
    }

    pub(crate) fn len(&self) -> usize {
        self.objects.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<K>> {
        self.objects.values()
    }

    pub(crate) fn in_namespace<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Arc<K>> + use<'a, K> {
        let from = self.objects.range::<_, Probe<'a, str>>((Bound::Included(Probe(namespace)), Bound::Unbounded));
        from.take_while(move |(key, _)| key.namespace() == namespace).map(|(_, object)| object)
    }

    pub(crate) fn owned_by<'a>(&'a self, owner: &'a Uid) -> impl Iterator<Item = &'a Arc<K>> + use<'a, K> {
        let owners = self.index::<Uid>(0).expect("the first index is of owners");
        owners.keys(owner).filter_map(|key| self.objects.get(key))
    }

    /// The index in this slot; `None` where this table is older than the index.
    pub(crate) fn index<V: Ord + Clone + Send + Sync + 'static>(&self, slot: usize) -> Option<&IndexTable<K, V>> {
        self.indexes.get(slot)?.as_any().downcast_ref()
    }

    pub(crate) fn by<'a, V, Q>(
        &'a self,
        slot: usize,
        value: &'a Q,
    ) -> impl Iterator<Item = &'a Arc<K>> + use<'a, K, V, Q>
    where
        V: Ord + Clone + Send + Sync + Borrow<Q> + 'static,
        Q: Ord + ?Sized,
    {
        let keys = self.index::<V>(slot).into_iter().flat_map(move |index| index.keys(value));
        keys.filter_map(|key| self.objects.get(key))
    }

    /// Adds an index over what is there and what will be; says its slot.
    pub(crate) fn add_index<V: Ord + Clone + Send + Sync + 'static>(&mut self, values: Values<K, V>) -> usize {
        let mut index = IndexTable::new(values);
        for (key, object) in &self.objects {
            index.update(key, None, Some(object));
        }
        self.indexes.push(Box::new(index));
        self.indexes.len() - 1
    }

    /// Takes a state that is in the selection.
    pub(crate) fn upsert(&mut self, raw: &Raw, changes: &mut Vec<Change<K>>) -> Outcome {
        let key = Key::new(raw.metadata().namespace.as_str(), raw.metadata().name.as_str());
        let old = self.objects.get(&key).cloned();
        if old.as_ref().is_some_and(|old| old.version() >= raw.version() && old.uid() == &raw.metadata().uid) {
            return Outcome::Known;
        }
        match K::decode(raw) {
            Ok(object) => {
                self.put(key, old, Arc::new(object), changes);
                Outcome::Taken
            }
            Err(error) => self.skip(key, old, raw, error, changes),
        }
    }

    fn put(&mut self, key: Key<K>, old: Option<Arc<K>>, new: Arc<K>, changes: &mut Vec<Change<K>>) {
        if !self.undecodable.is_empty() {
            self.undecodable.remove(&key);
        }
        for index in &mut self.indexes {
            index.update(&key, old.as_deref(), Some(&new));
        }
        self.objects.insert(key, new.clone());
        match old {
            None => changes.push(Change::Added(new)),
            Some(old) if old.uid() == new.uid() => changes.push(Change::Modified { old, new }),
            Some(old) => changes.extend([Change::Deleted(old), Change::Added(new)]),
        }
    }

    /// Keeps the last state that did decode, unless that was another incarnation.
    fn skip(
        &mut self,
        key: Key<K>,
        old: Option<Arc<K>>,
        raw: &Raw,
        error: orion_model::DecodeError,
        changes: &mut Vec<Change<K>>,
    ) -> Outcome {
        if old.is_some_and(|old| old.uid() != &raw.metadata().uid) {
            self.remove(&key, changes);
        }
        match self.undecodable.insert(key, raw.version()) {
            Some(version) if version == raw.version() => Outcome::Known,
            _ => Outcome::Undecodable(error),
        }
    }

    /// Takes out an object that is gone or left the selection.
    pub(crate) fn remove(&mut self, key: &Key<K>, changes: &mut Vec<Change<K>>) {
        self.undecodable.remove(key);
        let Some(old) = self.objects.remove(key) else { return };
        for index in &mut self.indexes {
            index.update(key, Some(&old), None);
        }
        changes.push(Change::Deleted(old));
    }

    /// Takes out what `keep` rejects.
    pub(crate) fn retain(&mut self, keep: impl Fn(&Key<K>) -> bool, changes: &mut Vec<Change<K>>) {
        let stale = self.objects.keys().chain(self.undecodable.keys()).filter(|key| !keep(key));
        for key in stale.cloned().collect::<Vec<_>>() {
            self.remove(&key, changes);
        }
    }

    pub(crate) fn set_synced(&mut self) {
        self.synced = true;
    }
}

/// A table whose type a root need not know.
pub(crate) trait AnyTable: Send + Sync {
    fn as_any(&self) -> &dyn Any;
    fn is_synced(&self) -> bool;
    fn undecodable(&self) -> usize;
    fn kind(&self) -> &Kind;
    /// The metadata of the object of this key, if it is here.
    fn metadata(&self, key: &ObjectKey) -> Option<&Metadata>;
    /// The keys of the objects that name this uid as an owner.
    fn dependents(&self, owner: &Uid) -> Vec<ObjectKey>;
}

impl<K: Object> AnyTable for Table<K> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn is_synced(&self) -> bool {
        self.synced
    }

    fn undecodable(&self) -> usize {
        self.undecodable.len()
    }

    fn kind(&self) -> &Kind {
        &self.kind
    }

    fn metadata(&self, key: &ObjectKey) -> Option<&Metadata> {
        if key.kind != self.kind {
            return None;
        }
        self.objects.get(&Key::from(key)).map(|object| object.metadata())
    }

    fn dependents(&self, owner: &Uid) -> Vec<ObjectKey> {
        self.owned_by(owner).map(|object| object.object_key()).collect()
    }
}
