//! Informers: handles that say which objects of a kind a manager keeps in its cache.

use std::{marker::PhantomData, sync::Arc};

use orion_model::{FieldSelector, Kind, LabelSelector, Object, Selection};

use crate::{Index, Lister, Subscription, feeds::Feeds};

/// Which objects of a kind an informer keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Select {
    namespace: Option<Arc<str>>,
    labels: LabelSelector,
    fields: FieldSelector,
}

impl Select {
    /// All of them.
    pub fn all() -> Self {
        Self::default()
    }

    /// Those of one namespace.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<Arc<str>>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// Those whose labels match.
    #[must_use]
    pub fn labels(mut self, labels: LabelSelector) -> Self {
        self.labels = labels;
        self
    }

    /// Those whose selectable fields match.
    #[must_use]
    pub fn fields(mut self, fields: FieldSelector) -> Self {
        self.fields = fields;
        self
    }

    pub(crate) fn of(self, kind: Kind) -> Selection {
        Selection { kind, namespace: self.namespace, labels: self.labels, fields: self.fields }
    }
}

/// A handle to the cached objects of one kind and selection. Two informers of one manager with the same type and
/// selection are the same one; cloning copies the handle.
pub struct Informer<K> {
    pub(crate) feeds: Arc<Feeds>,
    pub(crate) slot: usize,
    pub(crate) kind: Kind,
    object: PhantomData<fn() -> K>,
}

impl<K: Object> Informer<K> {
    pub(crate) fn new(feeds: &Arc<Feeds>, selection: Selection) -> Self {
        let kind = selection.kind.clone();
        Self { feeds: feeds.clone(), slot: feeds.slot::<K>(selection), kind, object: PhantomData }
    }

    /// The way to its objects.
    pub fn lister(&self) -> Lister<K> {
        Lister::new(self.feeds.cache().clone(), self.slot, self.kind.clone())
    }

    /// Adds an index over the values that `values` gives for each object. They are owned: an index outlives objects.
    pub fn index<V, I>(&self, values: impl Fn(&K) -> I + Send + Sync + 'static) -> Index<K, V>
    where
        V: Ord + Clone + Send + Sync + 'static,
        I: IntoIterator<Item = V>,
    {
        let visit = Arc::new(move |object: &K, visit: &mut dyn FnMut(V)| values(object).into_iter().for_each(visit));
        let slot = self.feeds.alter::<K, _>(self.slot, |table| table.add_index(visit));
        Index::new(self.lister(), slot)
    }

    /// All that is there, and then exactly what follows, for code that is no controller.
    pub fn subscribe(&self) -> Subscription<K> {
        Subscription::of(self)
    }

    /// Whether its first list is in.
    pub fn is_synced(&self) -> bool {
        self.feeds.cache().view().is_synced(self.slot)
    }

    /// Resolves when its first list is in.
    ///
    /// # Cancel safety
    /// May be dropped at any point.
    pub async fn synced(&self) {
        self.feeds.cache().until(|root| root.is_synced(self.slot)).await;
    }
}

impl<K> Clone for Informer<K> {
    fn clone(&self) -> Self {
        Self { feeds: self.feeds.clone(), slot: self.slot, kind: self.kind.clone(), object: PhantomData }
    }
}

impl<K> std::fmt::Debug for Informer<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Informer({})", self.kind)
    }
}
