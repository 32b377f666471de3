//! Secondary indexes: sorted pairs of a value and the key of an object that has it.
//!
//! One flat set, not a set for each value: a node of a persistent map costs kilobytes, and most values have few keys.

use std::{any::Any, borrow::Borrow, cmp::Ordering, ops::Bound, sync::Arc};

use equivalent::{Comparable, Equivalent};
use imbl::OrdSet;
use orion_model::Key;

/// The values of one object, given to a visitor.
pub(crate) type Values<K, V> = Arc<dyn Fn(&K, &mut dyn FnMut(V)) + Send + Sync>;

/// One index of one table.
pub(crate) struct IndexTable<K, V> {
    entries: OrdSet<(V, Key<K>)>,
    values: Values<K, V>,
}

/// An index whose value type a table need not know.
pub(crate) trait AnyIndex<K>: Send + Sync {
    /// Moves an object from what it was to what it is.
    fn update(&mut self, key: &Key<K>, old: Option<&K>, new: Option<&K>);
    fn boxed(&self) -> Box<dyn AnyIndex<K>>;
    fn as_any(&self) -> &dyn Any;
}

impl<K: 'static, V: Ord + Clone + Send + Sync + 'static> IndexTable<K, V> {
    pub(crate) fn new(values: Values<K, V>) -> Self {
        Self { entries: OrdSet::new(), values }
    }

    /// The keys of the objects that have this value, in order.
    pub(crate) fn keys<'a, Q>(&'a self, value: &'a Q) -> impl Iterator<Item = &'a Key<K>> + use<'a, K, V, Q>
    where
        V: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        let entries = self.entries.range::<_, Probe<'a, Q>>((Bound::Included(Probe(value)), Bound::Unbounded));
        entries.take_while(move |(found, _)| found.borrow() == value).map(|(_, key)| key)
    }

    fn of(&self, object: Option<&K>) -> Vec<V> {
        let mut values = Vec::new();
        if let Some(object) = object {
            (self.values)(object, &mut |value| values.push(value));
        }
        values
    }
}

impl<K: 'static, V: Ord + Clone + Send + Sync + 'static> AnyIndex<K> for IndexTable<K, V> {
    fn update(&mut self, key: &Key<K>, old: Option<&K>, new: Option<&K>) {
        let (before, after) = (self.of(old), self.of(new));
        if before == after {
            return;
        }
        for value in before {
            self.entries.remove(&(value, key.clone()));
        }
        for value in after {
            self.entries.insert((value, key.clone()));
        }
    }

    fn boxed(&self) -> Box<dyn AnyIndex<K>> {
        Box::new(Self { entries: self.entries.clone(), values: self.values.clone() })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Stands just before all entries that begin with a value.
pub(crate) struct Probe<'a, Q: ?Sized>(pub(crate) &'a Q);

impl<K, V: Borrow<Q>, Q: Ord + ?Sized> Equivalent<(V, Key<K>)> for Probe<'_, Q> {
    fn equivalent(&self, _: &(V, Key<K>)) -> bool {
        false
    }
}

impl<K, V: Borrow<Q>, Q: Ord + ?Sized> Comparable<(V, Key<K>)> for Probe<'_, Q> {
    fn compare(&self, (value, _): &(V, Key<K>)) -> Ordering {
        self.0.cmp(value.borrow()).then(Ordering::Less)
    }
}

/// Stands just before all keys of a namespace.
impl<K> Equivalent<Key<K>> for Probe<'_, str> {
    fn equivalent(&self, _: &Key<K>) -> bool {
        false
    }
}

impl<K> Comparable<Key<K>> for Probe<'_, str> {
    fn compare(&self, key: &Key<K>) -> Ordering {
        self.0.cmp(key.namespace()).then(Ordering::Less)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Thing(&'static [&'static str]);

    fn index() -> IndexTable<Thing, String> {
        IndexTable::new(Arc::new(|thing: &Thing, visit| thing.0.iter().for_each(|value| visit((*value).to_owned()))))
    }

    fn key(name: &str) -> Key<Thing> {
        Key::new("default", name)
    }

    fn names(index: &IndexTable<Thing, String>, value: &str) -> Vec<String> {
        index.keys(value).map(|key| key.name().to_owned()).collect()
    }

    #[test]
    fn an_object_is_found_by_each_of_its_values_and_by_no_other() {
        let mut index = index();
        index.update(&key("b"), None, Some(&Thing(&["eu", "us"])));
        index.update(&key("a"), None, Some(&Thing(&["eu"])));
        index.update(&key("c"), None, Some(&Thing(&["e", "eua"])));
        assert_eq!(names(&index, "eu"), ["a", "b"]);
        assert_eq!(names(&index, "us"), ["b"]);
        assert_eq!(names(&index, "as"), [""; 0]);
    }

    #[test]
    fn c5_an_object_leaves_the_values_it_no_longer_has() {
        let mut index = index();
        index.update(&key("a"), None, Some(&Thing(&["eu", "us"])));
        index.update(&key("a"), Some(&Thing(&["eu", "us"])), Some(&Thing(&["us", "as"])));
        assert_eq!((names(&index, "eu").len(), names(&index, "us").len(), names(&index, "as").len()), (0, 1, 1));
        index.update(&key("a"), Some(&Thing(&["us", "as"])), None);
        assert_eq!((names(&index, "us").len(), names(&index, "as").len()), (0, 0));
    }

    #[test]
    fn an_older_copy_of_an_index_stays_as_it_was() {
        let mut index = index();
        index.update(&key("a"), None, Some(&Thing(&["eu"])));
        let older = index.boxed();
        index.update(&key("a"), Some(&Thing(&["eu"])), None);
        let older = older.as_any().downcast_ref::<IndexTable<Thing, String>>().expect("its type");
        assert_eq!((names(older, "eu").len(), names(&index, "eu").len()), (1, 0));
    }
}
