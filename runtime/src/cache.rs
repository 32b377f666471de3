//! The cache: what all informers of a manager know, as one value.
//!
//! ```text
//! stream of commits ──► feeds: decode, change tables ──► one new Root ──► swap ──► handlers ──► version announced
//!                                                                          │
//!                                     readers: one atomic load, no lock ◄──┘
//! ```
//!
//! Every commit makes a new [`Root`] of persistent maps behind one atomic pointer. A view is that pointer: all kinds
//! at one version, for as long as somebody holds it (C13). Objects, indexes and version move together (C5).

mod index;
mod table;

use std::sync::Arc;

use arc_swap::ArcSwap;
use orion_model::{Object, ObjectKey, ResourceVersion};
use tokio::sync::watch;

pub(crate) use self::table::{AnyTable, Outcome, Table};

/// The state of all tables at the end of one commit.
pub(crate) struct Root {
    /// Everything up to this version is in every synced table.
    pub(crate) version: ResourceVersion,
    pub(crate) tables: Vec<Arc<dyn AnyTable>>,
}

impl Root {
    /// The table of an informer's slot; `None` where this root is older than the informer.
    pub(crate) fn table<K: Object>(&self, slot: usize) -> Option<&Table<K>> {
        self.tables.get(slot)?.as_any().downcast_ref()
    }

    pub(crate) fn is_synced(&self, slot: usize) -> bool {
        self.tables.get(slot).is_some_and(|table| table.is_synced())
    }

    /// Whether any table knows an object of this key.
    pub(crate) fn knows(&self, key: &ObjectKey) -> bool {
        self.tables.iter().any(|table| table.metadata(key).is_some())
    }
}

/// The readers' side: the newest root, and word of each new version.
pub(crate) struct Cache {
    root: ArcSwap<Root>,
    version: watch::Sender<ResourceVersion>,
}

impl Cache {
    pub(crate) fn new() -> Arc<Self> {
        let root = Root { version: ResourceVersion::ZERO, tables: Vec::new() };
        Arc::new(Self { root: ArcSwap::from_pointee(root), version: watch::Sender::new(ResourceVersion::ZERO) })
    }

    /// The newest state.
    pub(crate) fn view(&self) -> Arc<Root> {
        self.root.load_full()
    }

    /// Puts a new state in place; readers see it from here on. Only the feeds do this, under their lock.
    pub(crate) fn swap(&self, root: Root) {
        self.root.store(Arc::new(root));
    }

    /// Says that the newest state and its handlers are through.
    pub(crate) fn announce(&self) {
        self.version.send_replace(self.root.load().version);
    }

    /// Resolves when `reached` says so of the newest state. Handlers have seen that state by then.
    pub(crate) async fn until(&self, reached: impl Fn(&Root) -> bool) {
        let mut announced = self.version.subscribe();
        loop {
            let version = *announced.borrow_and_update();
            let root = self.root.load();
            // A root that is swapped in but not announced yet does not count: its handlers may not be through.
            if root.version <= version && reached(&root) {
                return;
            }
            drop(root);
            // The sender lives in `self`.
            if announced.changed().await.is_err() {
                return;
            }
        }
    }

    /// Resolves when everything up to `version` is in the cache.
    pub(crate) async fn passed(&self, version: ResourceVersion) {
        self.until(|root| root.version >= version).await;
    }
}
