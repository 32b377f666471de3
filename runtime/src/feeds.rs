//! The writers' side of the cache: one feed an informer, and the handlers that hear of its changes.
//!
//! Handlers run in the task that applies the stream, after the swap and in order. They only put keys into queues or
//! changes into a subscription, so a slow controller holds up nobody (C8): what it misses coalesces by key there.
//! Because each single change is mapped, no state that a run may have seen in a view goes unmapped.
//!
//! Listers and indexes hold the [`Cache`], never the feeds: a handler that holds a lister makes no cycle.

use std::{
    any::{Any, TypeId},
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use orion_model::{ChangeKind, Key, Kind, Object, ObjectKey, Raw, ResourceVersion, Selection, object::Stored};
use tokio::sync::Notify;

use crate::{
    Change,
    cache::{AnyTable, Cache, Outcome, Root, Table},
};

/// What a handler is told after each commit that concerns its informer.
pub(crate) struct Notice<'a, K> {
    pub(crate) version: ResourceVersion,
    pub(crate) changes: &'a [Change<K>],
    /// Whether this is what existed when the handler or its informer began.
    pub(crate) initial: bool,
}

/// Whether a handler wants to hear more.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attention {
    Keep,
    Drop,
}

pub(crate) type Handler<K> = Box<dyn FnMut(&Notice<'_, K>) -> Attention + Send>;

/// All feeds of a manager.
pub(crate) struct Feeds {
    cache: Arc<Cache>,
    feeds: Mutex<Vec<Box<dyn AnyFeed>>>,
    added: Notify,
}

/// The feed of one informer.
struct Feed<K: Object> {
    selection: Selection,
    handlers: Vec<Handler<K>>,
    changes: Vec<Change<K>>,
    initial: bool,
}

trait AnyFeed: Send {
    fn selection(&self) -> &Selection;
    fn object_type(&self) -> TypeId;
    fn as_any(&mut self) -> &mut dyn Any;
    /// The table after these changes; `None` where they do not concern it.
    fn apply(&mut self, table: &dyn AnyTable, changes: &[orion_model::Change]) -> Option<Arc<dyn AnyTable>>;
    /// The table after a list: exactly what is in it.
    fn replace(&mut self, table: &dyn AnyTable, listed: &[Stored]) -> Arc<dyn AnyTable>;
    /// Tells the handlers what the last `apply` or `replace` changed.
    fn notify(&mut self, version: ResourceVersion);
    fn close(&mut self);
}

impl Feeds {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { cache: Cache::new(), feeds: Mutex::default(), added: Notify::new() })
    }

    pub(crate) fn cache(&self) -> &Arc<Cache> {
        &self.cache
    }

    /// The slot of the informer of this type and selection, made if there is none yet (C12).
    pub(crate) fn slot<K: Object>(&self, selection: Selection) -> usize {
        let mut feeds = self.lock();
        let same = |feed: &dyn AnyFeed| feed.object_type() == TypeId::of::<K>() && feed.selection() == &selection;
        if let Some(slot) = feeds.iter().position(|feed| same(feed.as_ref())) {
            return slot;
        }
        let root = self.cache.view();
        let mut tables = root.tables.clone();
        tables.push(Arc::new(Table::<K>::new(selection.kind.clone())));
        feeds.push(Box::new(Feed::<K> { selection, handlers: Vec::new(), changes: Vec::new(), initial: true }));
        self.cache.swap(Root { version: root.version, tables });
        self.added.notify_one();
        feeds.len() - 1
    }

    /// Resolves once informers were added since the last time.
    pub(crate) async fn added(&self) {
        self.added.notified().await;
    }

    /// What has to be watched, and for how many slots that is.
    pub(crate) fn selections(&self) -> (Vec<Selection>, usize) {
        let feeds = self.lock();
        let mut selections: Vec<Selection> = Vec::new();
        for feed in feeds.iter() {
            if !selections.contains(feed.selection()) {
                selections.push(feed.selection().clone());
            }
        }
        (selections, feeds.len())
    }

    /// How many slots there are.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Changes the newest table of a slot outside the stream, such as by an index.
    pub(crate) fn alter<K: Object, T>(&self, slot: usize, change: impl FnOnce(&mut Table<K>) -> T) -> T {
        let _writing = self.lock();
        let root = self.cache.view();
        let mut table = root.table::<K>(slot).expect("a slot has one type").clone();
        let answer = change(&mut table);
        let mut tables = root.tables.clone();
        tables[slot] = Arc::new(table);
        self.cache.swap(Root { version: root.version, tables });
        answer
    }

    /// Tells `handler` of all that is there now and then of exactly what follows (C9).
    pub(crate) fn handle<K: Object>(&self, slot: usize, mut handler: Handler<K>) {
        let mut feeds = self.lock();
        let root = self.cache.view();
        let table = root.table::<K>(slot).expect("a slot has one type");
        if table.is_synced() {
            let changes: Vec<_> = table.iter().cloned().map(Change::Added).collect();
            let notice = Notice { version: root.version, changes: &changes, initial: true };
            if handler(&notice) == Attention::Drop {
                return;
            }
        }
        let feed = feeds[slot].as_any().downcast_mut::<Feed<K>>().expect("a slot has one type");
        feed.handlers.push(handler);
    }

    /// Whether a write that left `object` behind will come by in the stream: some informer has it or will have it.
    pub(crate) fn concerns(&self, key: &ObjectKey, object: &Raw) -> bool {
        let feeds = self.lock();
        let mut of_kind = feeds.iter().filter(|feed| feed.selection().kind == key.kind);
        of_kind.any(|feed| feed.selection().matches(object)) || self.cache.view().knows(key)
    }

    /// Takes one commit.
    pub(crate) fn commit(&self, version: ResourceVersion, changes: &[orion_model::Change]) {
        let mut feeds = self.lock();
        let root = self.cache.view();
        let mut tables = root.tables.clone();
        let mut touched = Vec::new();
        for (slot, feed) in feeds.iter_mut().enumerate().filter(|(slot, _)| root.is_synced(*slot)) {
            if let Some(table) = feed.apply(tables[slot].as_ref(), changes) {
                tables[slot] = table;
                touched.push(slot);
            }
        }
        self.cache.swap(Root { version: version.max(root.version), tables });
        for slot in touched {
            feeds[slot].notify(version);
        }
        drop(feeds);
        self.cache.announce();
    }

    /// Takes a list of everything that the first `covered` slots select.
    pub(crate) fn replace(&self, version: ResourceVersion, covered: usize, listed: &[Stored]) {
        let mut feeds = self.lock();
        let mut tables = self.cache.view().tables.clone();
        for (slot, feed) in feeds.iter_mut().enumerate().take(covered) {
            tables[slot] = feed.replace(tables[slot].as_ref(), listed);
        }
        self.cache.swap(Root { version, tables });
        for feed in feeds.iter_mut().take(covered) {
            feed.notify(version);
        }
        drop(feeds);
        self.cache.announce();
    }

    /// Takes word that nothing else happened up to `version`.
    pub(crate) fn bookmark(&self, version: ResourceVersion) {
        self.commit(version, &[]);
    }

    /// Lets go of all handlers.
    pub(crate) fn close(&self) {
        self.lock().iter_mut().for_each(|feed| feed.close());
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Box<dyn AnyFeed>>> {
        self.feeds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Object> Feed<K> {
    fn table<'a>(&self, table: &'a dyn AnyTable) -> &'a Table<K> {
        table.as_any().downcast_ref().expect("a slot has one type")
    }

    fn upsert(&mut self, table: &mut Table<K>, raw: &Raw) {
        if let Outcome::Undecodable(error) = table.upsert(raw, &mut self.changes) {
            tracing::warn!(object = %raw.key(), version = %raw.version(), %error, "object does not decode and is skipped");
        }
    }

    fn step(&mut self, table: &mut Table<K>, change: &orion_model::Change) {
        let object = &change.object;
        if change.kind != ChangeKind::Deleted && self.selection.matches(object) {
            return self.upsert(table, object);
        }
        let key = key_of::<K>(object);
        // What a list brought already may come by once more.
        if table.get(&key).is_none_or(|known| known.version() <= object.version()) {
            table.remove(&key, &mut self.changes);
        }
    }
}

impl<K: Object> AnyFeed for Feed<K> {
    fn selection(&self) -> &Selection {
        &self.selection
    }

    fn object_type(&self) -> TypeId {
        TypeId::of::<K>()
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }

    fn apply(&mut self, table: &dyn AnyTable, changes: &[orion_model::Change]) -> Option<Arc<dyn AnyTable>> {
        let kind: Kind = self.selection.kind.clone();
        let mut mine = changes.iter().filter(|change| change.object.kind() == &kind).peekable();
        mine.peek()?;
        let mut table = self.table(table).clone();
        for change in mine {
            self.step(&mut table, change);
        }
        Some(Arc::new(table))
    }

    fn replace(&mut self, table: &dyn AnyTable, listed: &[Stored]) -> Arc<dyn AnyTable> {
        let mut table = self.table(table).clone();
        let selected: Vec<_> = listed.iter().filter(|raw| self.selection.matches(raw)).collect();
        let keys: BTreeSet<Key<K>> = selected.iter().map(|raw| key_of::<K>(raw)).collect();
        table.retain(|key| keys.contains(key), &mut self.changes);
        for raw in selected {
            self.upsert(&mut table, raw);
        }
        self.initial = !table.is_synced();
        table.set_synced();
        Arc::new(table)
    }

    fn notify(&mut self, version: ResourceVersion) {
        let changes = std::mem::take(&mut self.changes);
        let initial = std::mem::replace(&mut self.initial, false);
        if changes.is_empty() && !initial {
            return;
        }
        let notice = Notice { version, changes: &changes, initial };
        self.handlers.retain_mut(|handler| handler(&notice) == Attention::Keep);
    }

    fn close(&mut self) {
        self.handlers.clear();
    }
}

fn key_of<K>(raw: &Raw) -> Key<K> {
    Key::new(raw.metadata().namespace.as_str(), raw.metadata().name.as_str())
}
