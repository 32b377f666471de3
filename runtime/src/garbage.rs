//! Garbage collection: an object whose owners are all gone is deleted.
//!
//! One view shows all kinds at one version, so an owner that it does not show beside its child is gone for good: uids
//! never come back. The deletion carries the child's version, so a child that has found another owner is left alone.
//! Owners of kinds that the registry does not know count as there. Deletion is Kubernetes' `Background`.

use orion_model::{
    Commit, DecodeError, Event, Kind, Metadata, Object, ObjectKey, Op, OwnerReference, Precondition, Raw, Registry,
    Resource, kind::Scope,
};

use crate::{Action, Change, Controller, ManagerHandle, Reconciler, Result, Run, Runnable, Select, cache::Cache};

/// Objects looked after at the same time.
const CONCURRENCY: usize = 16;

/// The metadata of an object of any kind.
#[derive(Clone, Debug)]
struct Any {
    kind: Kind,
    metadata: Metadata,
}

impl Object for Any {
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
        Ok(Self { kind: raw.kind().clone(), metadata: raw.metadata().clone() })
    }
}

struct Collector {
    kinds: Vec<Kind>,
}

/// The collector over all kinds that the backend knows now. Events, which nobody owns, are left out.
pub(crate) fn collector(manager: &ManagerHandle) -> Runnable {
    let registry = manager.client().registry();
    let kinds = collected(&registry);
    let mut controller = Controller::keyed("garbage-collector").concurrency(CONCURRENCY);
    for kind in &kinds {
        let objects = manager.informer_of::<Any>(kind.clone(), Select::all());
        let cache = objects.feeds.cache().clone();
        controller = controller.watches(&objects, move |change| concerned(&cache, change));
    }
    controller.reconciler(Collector { kinds })
}

fn collected(registry: &Registry) -> Vec<Kind> {
    registry.iter().map(|definition| definition.kind.clone()).filter(|kind| *kind != Event::KIND).collect()
}

/// The object itself, if somebody owns it; what it owned, if it is gone.
fn concerned(cache: &Cache, change: &Change<Any>) -> Vec<ObjectKey> {
    match change {
        Change::Added(new) | Change::Modified { new, .. } if new.metadata.owner_references.is_empty() => Vec::new(),
        Change::Added(new) | Change::Modified { new, .. } => vec![new.object_key()],
        Change::Deleted(gone) => cache.view().tables.iter().flat_map(|table| table.dependents(gone.uid())).collect(),
    }
}

impl Reconciler for Collector {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey, run: &Run<ObjectKey>) -> Result<Action> {
        let Some(object) = run.metadata_of(key) else { return Ok(Action::Done) };
        if object.is_being_deleted() || object.owner_references.is_empty() {
            return Ok(Action::Done);
        }
        if object.owner_references.iter().any(|owner| self.lives(owner, &object.namespace, run)) {
            return Ok(Action::Done);
        }
        let as_seen = Precondition { version: Some(object.resource_version), uid: Some(object.uid.clone()) };
        match run.client().commit(Commit::of(key.clone(), Op::Delete, as_seen)).await {
            Err(error) if error.is_not_found() => Ok(Action::Done),
            result => Ok(result.map(|_| Action::Done)?),
        }
    }
}

impl Collector {
    fn lives(&self, owner: &OwnerReference, namespace: &str, run: &Run<ObjectKey>) -> bool {
        let Some(kind) = self.kinds.iter().find(|kind| owner.is_of(kind)) else { return true };
        let namespace = match kind.names().scope {
            Scope::Namespaced => namespace,
            Scope::Cluster => "",
        };
        let key = ObjectKey::new(kind.clone(), namespace, owner.name.as_str());
        run.metadata_of(&key).is_some_and(|found| found.uid == owner.uid)
    }
}
