//! The current objects, as a persistent map: a clone costs nothing and never changes.

use std::sync::Arc;

use imbl::OrdMap;
use orion_model::{Kind, ObjectKey, Stored};

/// Namespace and name.
type Place = (Arc<str>, Arc<str>);

/// Objects by kind, namespace and name, in that order.
#[derive(Clone, Default)]
pub(crate) struct Objects {
    kinds: OrdMap<Kind, OrdMap<Place, Stored>>,
}

impl Objects {
    pub(crate) fn get(&self, key: &ObjectKey) -> Option<&Stored> {
        self.kinds.get(&key.kind)?.get(&place(key))
    }

    pub(crate) fn put(&mut self, key: &ObjectKey, object: Stored) {
        self.kinds.entry(key.kind.clone()).or_default().insert(place(key), object);
    }

    pub(crate) fn remove(&mut self, key: &ObjectKey) {
        if let Some(objects) = self.kinds.get_mut(&key.kind) {
            objects.remove(&place(key));
        }
    }

    /// The objects of a kind from `place` on, in order; `None` begins at the first.
    pub(crate) fn of_kind<'a>(
        &'a self,
        kind: &Kind,
        from: Option<Place>,
    ) -> impl Iterator<Item = &'a Stored> + use<'a> {
        let from = from.unwrap_or_else(|| ("".into(), "".into()));
        self.kinds
            .get(kind)
            .into_iter()
            .flat_map(move |objects| objects.range(from.clone()..).map(|(_, object)| object))
    }
}

fn place(key: &ObjectKey) -> Place {
    (key.namespace.clone(), key.name.clone())
}

#[cfg(test)]
mod tests {
    use orion_model::{Lease, Metadata, Raw, Resource};
    use serde_json::Map;

    use super::*;

    fn lease(namespace: &str, name: &str) -> (ObjectKey, Stored) {
        let metadata = Metadata { namespace: namespace.into(), ..Metadata::named(name) };
        let raw = Raw::assemble(Lease::KIND, metadata, Map::new());
        (raw.key(), Arc::new(raw))
    }

    fn names(objects: &Objects, from: Option<Place>) -> Vec<String> {
        let path = |object: &Stored| format!("{}/{}", object.metadata().namespace, object.metadata().name);
        objects.of_kind(&Lease::KIND, from).map(path).collect()
    }

    #[test]
    fn objects_are_ordered_by_namespace_and_name() {
        let mut objects = Objects::default();
        for (namespace, name) in [("b", "a"), ("a", "z"), ("a", "b")] {
            let (key, object) = lease(namespace, name);
            objects.put(&key, object);
        }
        assert_eq!(names(&objects, None), ["a/b", "a/z", "b/a"]);
        assert_eq!(names(&objects, Some(("a".into(), "c".into()))), ["a/z", "b/a"]);
    }

    #[test]
    fn a_clone_does_not_see_later_changes() {
        let mut objects = Objects::default();
        let (key, object) = lease("a", "a");
        objects.put(&key, object);
        let before = objects.clone();
        objects.remove(&key);
        assert!(objects.get(&key).is_none());
        assert!(before.get(&key).is_some());
    }
}
