//! The gateway's own writes, until its cache shows them.

use std::{collections::BTreeMap, sync::Arc};

use orion_model::{Key, Object, ResourceVersion};

/// Objects as this gateway last wrote them. What is decided right after a write is decided on what was written.
#[derive(Debug)]
pub(super) struct OwnWrites<K>(BTreeMap<Key<K>, Arc<K>>);

impl<K> Default for OwnWrites<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Object> OwnWrites<K> {
    /// Remembers a written object.
    pub(super) fn note(&mut self, object: Arc<K>) {
        self.0.insert(object.key(), object);
    }

    /// The newest known state of an object, of which a cache that has seen all up to `seen` says `cached`.
    pub(super) fn newest(&mut self, key: &Key<K>, cached: Option<Arc<K>>, seen: ResourceVersion) -> Option<Arc<K>> {
        match self.0.get(key) {
            Some(own) if own.version() > seen => Some(own.clone()),
            Some(_) => {
                self.0.remove(key);
                cached
            }
            None => cached,
        }
    }

    /// Lets go of what such a cache shows.
    pub(super) fn prune(&mut self, seen: ResourceVersion) {
        self.0.retain(|_, own| own.version() > seen);
    }
}

#[cfg(test)]
mod tests {
    use orion_types::{Replica, replica::ReplicaSpec};

    use super::*;

    fn at(version: u64) -> Arc<Replica> {
        let mut replica = Replica::new("web-0-abcde", ReplicaSpec::default());
        replica.metadata.resource_version = ResourceVersion::new(version);
        Arc::new(replica)
    }

    #[test]
    fn an_own_write_stands_until_the_cache_has_passed_it() {
        let mut own = OwnWrites::default();
        let (key, version) = (at(1).key(), |found: Option<Arc<Replica>>| found.map(|replica| replica.version().get()));
        own.note(at(5));
        assert_eq!(version(own.newest(&key, Some(at(3)), ResourceVersion::new(4))), Some(5));
        assert_eq!(version(own.newest(&key, None, ResourceVersion::new(4))), Some(5), "the cache lags, it is not gone");
        assert_eq!(version(own.newest(&key, None, ResourceVersion::new(6))), None, "it is gone");
        own.note(at(5));
        assert_eq!(version(own.newest(&key, Some(at(7)), ResourceVersion::new(7))), Some(7));
    }
}
