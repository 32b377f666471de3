//! The typed way to a backend: what programs hold.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    Backend, ClientError, Clock, Commit, CommitId, Committed, Freshness, Get, Key, List, Listed, Object, ObjectKey, Op,
    Part, Precondition, Randomness, Registry, Resource, ResourceVersion, Selection, Watch, Whole, Written,
    backend::Watching, object::Stored, patch,
};

/// A backend with clock and randomness: everything a program needs of its world. Cheap to clone.
///
/// Writes carry the version that was read; a blind write is spelled out.
#[derive(Clone)]
pub struct Client {
    backend: Arc<dyn Backend>,
    clock: Clock,
    randomness: Randomness,
}

impl Client {
    /// A client of a backend, with the machine's clock and random numbers.
    pub fn new(backend: impl Backend) -> Self {
        Self::with_parts(Arc::new(backend), Clock::system(), Randomness::system())
    }

    /// A client of these parts.
    pub fn with_parts(backend: Arc<dyn Backend>, clock: Clock, randomness: Randomness) -> Self {
        Self { backend, clock, randomness }
    }

    /// The same client over a backend that decorates this one's.
    #[must_use]
    pub fn over(&self, decorate: impl FnOnce(Arc<dyn Backend>) -> Arc<dyn Backend>) -> Self {
        Self { backend: decorate(self.backend.clone()), ..self.clone() }
    }

    /// The backend.
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    /// The clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The source of random numbers.
    pub fn randomness(&self) -> &Randomness {
        &self.randomness
    }

    /// The kinds the backend serves now.
    pub fn registry(&self) -> Arc<Registry> {
        self.backend.registry()
    }

    /// Makes an atomic commit; gives it an id where it has none.
    ///
    /// # Errors
    /// As [`Backend::commit`].
    pub async fn commit(&self, mut commit: Commit) -> Result<Committed, ClientError> {
        commit.id.get_or_insert_with(|| CommitId::fresh(self.clock.now(), &self.randomness));
        self.backend.commit(commit).await
    }

    /// Reads an object, not older than the call; `None` where there is none.
    ///
    /// # Errors
    /// As [`Backend::get`], and [`ClientError::Decode`] when it does not read as `K`.
    pub async fn get<K: Resource>(&self, key: &Key<K>) -> Result<Option<K>, ClientError> {
        let raw = self.get_raw(key.of_kind(K::KIND)).await?;
        raw.map(|raw| K::decode(&raw)).transpose().map_err(Into::into)
    }

    /// Reads an object of a kind known at run time.
    ///
    /// # Errors
    /// As [`Backend::get`].
    pub async fn get_raw(&self, key: ObjectKey) -> Result<Option<Stored>, ClientError> {
        self.backend.get(Get { key, freshness: Freshness::Confirmed }).await
    }

    /// Lists the objects of a kind in all namespaces, at one version, not older than the call.
    ///
    /// # Errors
    /// As [`Backend::list`], and [`ClientError::Decode`] for the first object that does not read as `K`.
    pub async fn list<K: Resource>(&self) -> Result<Vec<K>, ClientError> {
        self.list_selected(Selection::all(K::KIND)).await
    }

    /// Lists the objects of a selection, which must be of `K`'s kind.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    pub async fn list_selected<K: Resource>(&self, selection: Selection) -> Result<Vec<K>, ClientError> {
        let listed = self.list_raw(List::all(selection)).await?;
        listed.items.iter().map(|raw| K::decode(raw).map_err(Into::into)).collect()
    }

    /// Lists objects of one or more kinds at one version.
    ///
    /// # Errors
    /// As [`Backend::list`].
    pub async fn list_raw(&self, list: List) -> Result<Listed, ClientError> {
        self.backend.list(list).await
    }

    /// Watches selections.
    ///
    /// # Errors
    /// As [`Backend::watch`].
    pub async fn watch(&self, watch: Watch) -> Result<Watching, ClientError> {
        self.backend.watch(watch).await
    }

    /// Makes an object; its status is not written.
    ///
    /// # Errors
    /// [`ClientError::AlreadyExists`] and all that [`commit`](Self::commit) gives.
    pub async fn create<K: Whole>(&self, object: &K) -> Result<K, ClientError> {
        let op = Op::Create(object.encode()?);
        self.write(object.object_key(), op, Precondition::NONE).await
    }

    /// Replaces everything of an object but its status, if it is still at the version that was read.
    ///
    /// # Errors
    /// [`ClientError::Conflict`] when it has moved.
    pub async fn update<K: Whole>(&self, object: &K) -> Result<K, ClientError> {
        let op = Op::Replace(object.encode()?, Part::Main);
        self.write(object.object_key(), op, as_read(object)).await
    }

    /// Writes an object's status, if the object is still at the version that was read.
    ///
    /// # Errors
    /// [`ClientError::Conflict`] when it has moved.
    pub async fn update_status<K: Resource>(&self, object: &K, status: K::Status) -> Result<K, ClientError> {
        let op = Op::Merge(status_patch(object, &status)?, Part::Status);
        self.write(object.object_key(), op, as_read(object)).await
    }

    /// Changes an object by a closure, sent as a merge patch of just what the closure changed, if the object is still
    /// at the version that was read.
    ///
    /// # Errors
    /// [`ClientError::Conflict`] when it has moved.
    pub async fn edit<K: Resource>(&self, object: &K, change: impl FnOnce(&mut K)) -> Result<K, ClientError> {
        let op = Op::Merge(edit_patch(object, change)?, Part::Main);
        self.write(object.object_key(), op, as_read(object)).await
    }

    /// Applies a merge patch (RFC 7396) to the current state, whatever its version.
    ///
    /// # Errors
    /// [`ClientError::NotFound`] and all that [`commit`](Self::commit) gives.
    pub async fn merge<K: Resource>(&self, key: &Key<K>, patch: Value) -> Result<K, ClientError> {
        self.write(key.of_kind(K::KIND), Op::Merge(patch, Part::Main), Precondition::NONE).await
    }

    /// Asks for the deletion of the incarnation that was read.
    ///
    /// # Errors
    /// [`ClientError::NotFound`], or [`ClientError::Conflict`] when it has moved.
    pub async fn delete<K: Whole>(&self, object: &K) -> Result<(), ClientError> {
        self.commit(Commit::of(object.object_key(), Op::Delete, as_read(object))).await.map(drop)
    }

    /// Asks for the deletion of whatever has this key.
    ///
    /// # Errors
    /// [`ClientError::NotFound`] and all that [`commit`](Self::commit) gives.
    pub async fn delete_any<K: Resource>(&self, key: &Key<K>) -> Result<(), ClientError> {
        self.commit(Commit::of(key.of_kind(K::KIND), Op::Delete, Precondition::NONE)).await.map(drop)
    }

    async fn write<K: Object>(&self, key: ObjectKey, op: Op, precondition: Precondition) -> Result<K, ClientError> {
        let committed = self.commit(Commit::of(key, op, precondition)).await?;
        let Written { object, .. } = committed
            .into_single()
            .ok_or_else(|| ClientError::Unavailable("the backend answered a write without its result".into()))?;
        K::decode(&object).map_err(Into::into)
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("clock", &self.clock).finish_non_exhaustive()
    }
}

/// The precondition that an object is still as it was read; an object that never was read must match by nothing but
/// its uid, if it has one.
pub fn as_read<K: Object>(object: &K) -> Precondition {
    let version = object.version();
    let uid = object.uid();
    Precondition {
        version: (version != ResourceVersion::ZERO).then_some(version),
        uid: (!uid.is_empty()).then(|| uid.clone()),
    }
}

/// The merge patch that says what `change` did to an object.
///
/// # Errors
/// When the object does not encode.
pub fn edit_patch<K: Whole>(object: &K, change: impl FnOnce(&mut K)) -> Result<Value, ClientError> {
    let mut changed = object.clone();
    change(&mut changed);
    Ok(patch::diff(&object.encode()?, &changed.encode()?).unwrap_or_else(|| json!({})))
}

/// The merge patch that turns an object's status as it was read into `status`.
///
/// # Errors
/// When a status does not encode.
pub fn status_patch<K: Resource>(object: &K, status: &K::Status) -> Result<Value, ClientError> {
    let old = object.encode()?.get("status").cloned().unwrap_or_else(|| json!({}));
    let change = patch::diff(&old, &serde_json::to_value(status)?);
    Ok(change.map_or_else(|| json!({}), |change| json!({ "status": change })))
}
