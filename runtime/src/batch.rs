//! Atomic commits, built with types: what a reconcile writes.

use std::{any::Any, collections::BTreeSet, marker::PhantomData, sync::Arc};

use orion_model::{
    Check, ClientError, Commit, CommitId, DecodeError, Held, Key, Object, ObjectKey, Op, Part, Precondition, Resource,
    ResourceVersion, Versions, Whole, Write, Written,
    client::{as_read, edit_patch, status_patch},
    patch,
};
use serde_json::{Map, Value};

use crate::{ledger::Leave, lister::Owned};

/// Writes and checks that take effect together or not at all.
///
/// Every write carries the version that was read; the blind ones say so in their names. Objects are taken by reference,
/// by value or as the `Arc` of a cache. Nothing is sent before [`Run::commit`](crate::Run::commit), and nothing at all
/// if no write would change anything.
#[derive(Default)]
pub struct Batch {
    entries: Vec<Entry>,
    checks: Vec<Check>,
    id: Option<CommitId>,
    leave: Leave,
    error: Option<CommitError>,
}

struct Entry {
    write: Write,
    /// The object as it stays, where the write asks for what is there already.
    unchanged: Option<Arc<dyn Any + Send + Sync>>,
}

/// Where to read the result of one write from a [`Committed`].
#[derive(Debug)]
pub struct Slot<K> {
    index: usize,
    object: PhantomData<fn() -> K>,
}

/// Why a commit did not take effect, or is not known to have.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommitError {
    /// The backend's answer.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A name that [`Batch::exactly`] wants is held by something that is not this owner's.
    #[error("{key} is wanted by {owner}, but {holder}")]
    NameHeld {
        /// The name.
        key: ObjectKey,
        /// Who wants it.
        owner: String,
        /// Whose it is: `belongs to Website shop`.
        holder: String,
    },
    /// [`Batch::exactly`] was given two objects of one name.
    #[error("{0} is wanted twice")]
    WantedTwice(ObjectKey),
}

impl Batch {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes an object; its status is not written.
    pub fn create<H: Held<Object: Whole>>(&mut self, object: &H) -> Slot<H::Object> {
        let object = object.held();
        let op = object.encode().map(Op::Create);
        self.write(object, op.map_err(Into::into), Precondition::NONE)
    }

    /// Makes an object together with its status.
    pub fn create_with_status<H: Held<Object: Whole>>(&mut self, object: &H) -> Slot<H::Object> {
        let object = object.held();
        let op = object.encode().map(Op::CreateWhole);
        self.write(object, op.map_err(Into::into), Precondition::NONE)
    }

    /// Replaces everything of an object but its status.
    pub fn update<H: Held<Object: Whole>>(&mut self, object: &H) -> Slot<H::Object> {
        let object = object.held();
        let op = object.encode().map(|body| Op::Replace(body, Part::Main));
        self.write(object, op.map_err(Into::into), as_read(object))
    }

    /// Changes an object by a closure, sent as a merge patch of just what the closure changed. A change of the status
    /// has no effect here: see [`status`](Self::status).
    pub fn edit<H: Held<Object: Whole>>(&mut self, object: &H, change: impl FnOnce(&mut H::Object)) -> Slot<H::Object> {
        let patch = edit_patch(object.held(), change);
        self.merge(object, patch, Part::Main)
    }

    /// Writes an object's status.
    pub fn status<H>(&mut self, object: &H, status: <H::Object as Resource>::Status) -> Slot<H::Object>
    where
        H: Held<Object: Resource>,
    {
        let patch = status_patch(object.held(), &status);
        self.merge(object, patch, Part::Status)
    }

    /// Asks for an object's deletion.
    pub fn delete<H: Held>(&mut self, object: &H) -> Slot<H::Object> {
        let object = object.held();
        self.write(object, Ok(Op::Delete), as_read(object))
    }

    /// Replaces everything but the status of whatever has this name, at whatever version. There must be one.
    pub fn overwrite<H: Held<Object: Whole>>(&mut self, object: &H) -> Slot<H::Object> {
        let object = object.held();
        let op = object.encode().map(|mut body| {
            // A version in the body would be a precondition.
            if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.shift_remove("resourceVersion");
                metadata.shift_remove("uid");
            }
            Op::Replace(body, Part::Main)
        });
        self.write(object, op.map_err(Into::into), Precondition::NONE)
    }

    /// Asks for the deletion of whatever has this key.
    pub fn delete_any<K: Resource>(&mut self, key: &Key<K>) -> Slot<K> {
        self.push(key.of_kind(K::KIND), Op::Delete, Precondition::NONE, None)
    }

    /// Makes the children of an owner exactly these: missing ones are created, differing ones changed, the others
    /// deleted. Nothing that is as wanted is written, and nothing that belongs to another is touched.
    ///
    /// Of a child, its content and labels become what is wanted; annotations, finalizers and owners are added, never
    /// taken away; its status is left alone. A child that is being deleted is left to go, even if it is wanted: it is
    /// made anew by the run that its end triggers.
    pub fn exactly<K: Whole>(&mut self, children: Owned<K>, wanted: impl IntoIterator<Item = K>) {
        let mut kept = BTreeSet::new();
        for child in wanted {
            let child = adopt(child, &children);
            let key = child.key();
            if !kept.insert(key.clone()) {
                return self.fail(CommitError::WantedTwice(child.object_key()));
            }
            match children.reader.get(&key) {
                None => {
                    self.create(&child);
                }
                Some(existing) if !existing.metadata().is_owned_by(&children.owner.uid) => {
                    return self.fail(held_by_another(existing.as_ref(), &children));
                }
                Some(existing) if existing.is_being_deleted() => {}
                Some(existing) => self.converge(&existing, &child),
            }
        }
        for child in children.iter().filter(|child| !child.is_being_deleted() && !kept.contains(&child.key())) {
            self.delete(child);
        }
    }

    /// The commit takes effect only if the object is still at the version that was read.
    pub fn unchanged<H: Held>(&mut self, object: &H) {
        let object = object.held();
        self.checks.push(Check::Unchanged(object.object_key(), object.version()));
    }

    /// The commit takes effect only if there is no such object.
    pub fn absent<K: Resource>(&mut self, key: &Key<K>) {
        self.checks.push(Check::Absent(key.of_kind(K::KIND)));
    }

    /// Returns as soon as the commit is done, without waiting until the cache shows it. The next run of the key waits
    /// all the same.
    pub fn nowait(&mut self) {
        self.leave.nowait = true;
    }

    /// Lets this commit change content and labels of objects that are being deleted.
    pub fn even_if_being_deleted(&mut self) {
        self.leave.even_if_dying = true;
    }

    /// The commit's identity, for one that is repeated: it takes effect at most once.
    pub fn with_id(&mut self, id: CommitId) {
        self.id = Some(id);
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.checks.is_empty()
    }

    fn converge<K: Whole>(&mut self, existing: &Arc<K>, wanted: &K) {
        let patch = existing.encode().and_then(|existing| Ok(child_patch(&existing, &wanted.encode()?)));
        match patch {
            Ok(None) => {}
            Ok(Some(patch)) => {
                self.merge(existing, Ok(patch), Part::Main);
            }
            Err(error) => self.fail(ClientError::from(error).into()),
        }
    }

    fn merge<H: Held>(&mut self, object: &H, patch: Result<Value, ClientError>, part: Part) -> Slot<H::Object> {
        let idle = patch.as_ref().is_ok_and(|patch| patch.as_object().is_some_and(Map::is_empty));
        let unchanged = idle.then(|| object.shared() as Arc<dyn Any + Send + Sync>);
        let object = object.held();
        let op = patch.map(|patch| Op::Merge(patch, part));
        self.record(object.object_key(), op, as_read(object), unchanged)
    }

    fn write<K: Object>(&mut self, object: &K, op: Result<Op, ClientError>, precondition: Precondition) -> Slot<K> {
        self.record(object.object_key(), op, precondition, None)
    }

    fn record<K>(
        &mut self,
        key: ObjectKey,
        op: Result<Op, ClientError>,
        precondition: Precondition,
        unchanged: Option<Arc<dyn Any + Send + Sync>>,
    ) -> Slot<K> {
        match op {
            Ok(op) => self.push(key, op, precondition, unchanged),
            Err(error) => {
                self.fail(error.into());
                Slot { index: self.entries.len(), object: PhantomData }
            }
        }
    }

    fn push<K>(
        &mut self,
        key: ObjectKey,
        op: Op,
        precondition: Precondition,
        unchanged: Option<Arc<dyn Any + Send + Sync>>,
    ) -> Slot<K> {
        let index = self.entries.len();
        self.entries.push(Entry { write: Write { key, op, precondition }, unchanged });
        Slot { index, object: PhantomData }
    }

    /// The first error is what the commit will say; it is not sent.
    fn fail(&mut self, error: CommitError) {
        self.error.get_or_insert(error);
    }

    /// The commit to send, or its result where there is nothing to send.
    pub(crate) fn prepare(self) -> Result<Prepared, CommitError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        if self.checks.is_empty() && self.entries.iter().all(|entry| entry.unchanged.is_some()) {
            let results = self.entries.into_iter().filter_map(|entry| entry.unchanged.map(Outcome::Unchanged));
            return Ok(Prepared::Idle(Committed { results: results.collect(), versions: None, observed: true }));
        }
        let writes = self.entries.into_iter().map(|entry| entry.write).collect();
        Ok(Prepared::Send(Commit { id: self.id, checks: self.checks, writes, dry_run: false }, self.leave))
    }
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let writes: Vec<_> = self.entries.iter().map(|entry| &entry.write).collect();
        f.debug_struct("Batch").field("writes", &writes).field("checks", &self.checks).finish_non_exhaustive()
    }
}

/// What becomes of a batch.
pub(crate) enum Prepared {
    Idle(Committed),
    Send(Commit, Leave),
}

/// A batch that took effect, or had nothing to change.
pub struct Committed {
    results: Vec<Outcome>,
    versions: Option<Versions>,
    observed: bool,
}

enum Outcome {
    Written(Written),
    Unchanged(Arc<dyn Any + Send + Sync>),
}

impl Committed {
    pub(crate) fn new(committed: orion_model::Committed, observed: bool) -> Self {
        let results = committed.results.into_iter().map(Outcome::Written).collect();
        Self { results, versions: committed.versions, observed }
    }

    /// The object that a write left behind; for one that is gone, its last state.
    ///
    /// # Errors
    /// When it does not read as its type.
    ///
    /// # Panics
    /// When the slot is of another batch.
    pub fn get<K: Object>(&self, slot: &Slot<K>) -> Result<Arc<K>, DecodeError> {
        match &self.results[slot.index] {
            Outcome::Written(written) => K::decode(&written.object).map(Arc::new),
            Outcome::Unchanged(object) => Ok(object.clone().downcast().expect("a slot is read from its own batch")),
        }
    }

    /// Whether a write left no object behind: a deletion that nothing holds up.
    ///
    /// # Panics
    /// When the slot is of another batch.
    pub fn is_gone<K>(&self, slot: &Slot<K>) -> bool {
        matches!(&self.results[slot.index], Outcome::Written(written) if written.gone)
    }

    /// The version of the last change; `None` where nothing changed.
    pub fn version(&self) -> Option<ResourceVersion> {
        self.versions.map(|versions| versions.last)
    }

    /// Whether the cache did not show the commit in time. It has taken effect all the same.
    pub fn is_unobserved(&self) -> bool {
        !self.observed
    }
}

impl std::fmt::Debug for Committed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Committed").field("versions", &self.versions).field("observed", &self.observed).finish()
    }
}

fn adopt<K: Whole>(mut child: K, children: &Owned<K>) -> K {
    let metadata = child.metadata_mut();
    if metadata.namespace.is_empty() {
        metadata.namespace.clone_from(&children.namespace);
    }
    if !metadata.is_owned_by(&children.owner.uid) {
        metadata.owner_references.push(children.owner.clone());
    }
    child
}

fn held_by_another<K: Object>(existing: &K, children: &Owned<K>) -> CommitError {
    let metadata = existing.metadata();
    let holder = match metadata.controller().or(metadata.owner_references.first()) {
        Some(owner) => format!("belongs to {} {}", owner.kind, owner.name),
        None => "belongs to nobody".to_owned(),
    };
    let owner = format!("{} {}", children.owner.kind, children.owner.name);
    CommitError::NameHeld { key: existing.object_key(), owner, holder }
}

/// The patch that makes a child what is wanted; `None` where it is.
fn child_patch(existing: &Value, wanted: &Value) -> Option<Value> {
    let mut target = wanted.clone();
    let fields = target.as_object_mut()?;
    for (name, value) in [("metadata", child_metadata(&existing["metadata"], &wanted["metadata"]))]
        .into_iter()
        .chain(existing.get("status").map(|status| ("status", status.clone())))
    {
        fields.insert(name.to_owned(), value);
    }
    if existing.get("status").is_none() {
        fields.shift_remove("status");
    }
    patch::diff(existing, &target)
}

fn child_metadata(existing: &Value, wanted: &Value) -> Value {
    let mut target = existing.clone();
    let Some(fields) = target.as_object_mut() else { return wanted.clone() };
    match wanted.get("labels") {
        Some(labels) => fields.insert("labels".to_owned(), labels.clone()),
        None => fields.shift_remove("labels"),
    };
    if let Some(annotations) = wanted.get("annotations") {
        patch::merge(fields.entry("annotations").or_insert(Value::Null), annotations);
    }
    for (list, identity) in [("finalizers", None), ("ownerReferences", Some("uid"))] {
        let Some(missing) = missing(existing, wanted, list, identity) else { continue };
        if let Some(known) = fields.entry(list).or_insert_with(|| Value::Array(Vec::new())).as_array_mut() {
            known.extend(missing);
        }
    }
    target
}

/// The items of a wanted list that the existing one lacks, if there are any.
fn missing(existing: &Value, wanted: &Value, list: &str, identity: Option<&str>) -> Option<Vec<Value>> {
    let same = |a: &Value, b: &Value| match identity {
        Some(field) => a[field] == b[field],
        None => a == b,
    };
    let known = existing.get(list).and_then(Value::as_array);
    let wanted = wanted.get(list)?.as_array()?.iter();
    let missing = wanted.filter(|item| !known.is_some_and(|known| known.iter().any(|other| same(other, item))));
    Some(missing.cloned().collect::<Vec<_>>()).filter(|missing| !missing.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn k11_a_child_that_is_as_wanted_needs_no_patch() {
        let existing = json!({
            "apiVersion": "v1", "kind": "Probe",
            "metadata": {
                "name": "a", "namespace": "default", "uid": "u", "resourceVersion": "7", "labels": {"l": "1"},
                "annotations": {"theirs": "x"}, "finalizers": ["theirs"], "ownerReferences": [{"uid": "o", "name": "x"}],
            },
            "spec": {"region": "eu"}, "status": {"up": true},
        });
        let wanted = json!({
            "apiVersion": "v1", "kind": "Probe",
            "metadata": {"name": "a", "namespace": "default", "labels": {"l": "1"}, "ownerReferences": [{"uid": "o"}]},
            "spec": {"region": "eu"}, "status": {},
        });
        assert_eq!(child_patch(&existing, &wanted), None);
    }

    #[test]
    fn k11_content_and_labels_become_what_is_wanted_and_the_rest_is_added_to() {
        let existing = json!({
            "metadata": {"labels": {"l": "1", "old": "1"}, "annotations": {"theirs": "x"}, "finalizers": ["theirs"]},
            "spec": {"region": "eu", "target": "a"},
        });
        let wanted = json!({
            "metadata": {"labels": {"l": "2"}, "annotations": {"ours": "y"}, "finalizers": ["ours"]},
            "spec": {"region": "us"},
        });
        let patch = json!({
            "metadata": {"labels": {"old": null, "l": "2"}, "annotations": {"ours": "y"}, "finalizers": ["theirs", "ours"]},
            "spec": {"region": "us", "target": null},
        });
        assert_eq!(child_patch(&existing, &wanted), Some(patch));
    }
}
