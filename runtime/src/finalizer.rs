//! Finalizers by structure: the object does not vanish between the first `reconcile` and a `cleanup` that succeeded,
//! unless a person removes the finalizer (K5).

use orion_model::{ClientError, Commit, Metadata, ObjectKey, Op, Part, Precondition};
use serde_json::json;

use crate::{ReconcileKey, Run};

/// What a run is to do for an object in this state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Reconcile.
    Reconcile,
    /// Put the finalizer on; reconcile in the run after.
    Protect(&'static str),
    /// Clean up and take the finalizer off.
    Cleanup(&'static str),
    /// Nothing: it is being deleted, and was cleaned up or never begun.
    Leave,
}

pub(crate) fn step(finalizer: Option<&'static str>, object: Option<&Metadata>) -> Step {
    let (Some(finalizer), Some(object)) = (finalizer, object) else { return Step::Reconcile };
    match (object.is_being_deleted(), has(object, finalizer)) {
        (false, true) => Step::Reconcile,
        (false, false) => Step::Protect(finalizer),
        (true, true) => Step::Cleanup(finalizer),
        (true, false) => Step::Leave,
    }
}

/// Puts the finalizer on the object as this run sees it.
pub(crate) async fn add<K: ReconcileKey>(run: &Run<K>, finalizer: &str) -> Result<(), ClientError> {
    let Some((key, metadata)) = own(run, run.metadata()) else { return Ok(()) };
    let mut finalizers = metadata.finalizers.clone();
    finalizers.push(finalizer.to_owned());
    write(run, key, &metadata, &finalizers).await
}

/// Takes the finalizer off the object as the cache has it now: a cleanup may have written to it.
pub(crate) async fn remove<K: ReconcileKey>(run: &Run<K>, finalizer: &str) -> Result<(), ClientError> {
    let newest = run.core().cache().view();
    let newest = run.core().primary.as_ref().and_then(|primary| primary.metadata(&newest, run.key()));
    let same = newest.filter(|newest| run.metadata().is_some_and(|seen| seen.uid == newest.uid));
    let Some((key, metadata)) = own(run, same.filter(|metadata| has(metadata, finalizer))) else { return Ok(()) };
    let finalizers: Vec<_> = metadata.finalizers.iter().filter(|name| *name != finalizer).cloned().collect();
    write(run, key, &metadata, &finalizers).await
}

fn has(object: &Metadata, finalizer: &str) -> bool {
    object.finalizers.iter().any(|name| name == finalizer)
}

fn own<K: ReconcileKey>(run: &Run<K>, metadata: Option<&Metadata>) -> Option<(ObjectKey, Metadata)> {
    Some((run.core().primary.as_ref()?.object_key(run.key()), metadata?.clone()))
}

async fn write<K: ReconcileKey>(
    run: &Run<K>,
    key: ObjectKey,
    metadata: &Metadata,
    finalizers: &[String],
) -> Result<(), ClientError> {
    let patch = Op::Merge(json!({"metadata": {"finalizers": finalizers}}), Part::Main);
    let as_read = Precondition { version: Some(metadata.resource_version), uid: Some(metadata.uid.clone()) };
    run.client().commit(Commit::of(key, patch, as_read)).await.map(drop)
}

#[cfg(test)]
mod tests {
    use orion_model::Timestamp;

    use super::*;

    #[test]
    fn k5_what_a_run_does_follows_from_finalizer_and_deletion() {
        let object = |dying: bool, finalizers: &[&str]| Metadata {
            deletion_timestamp: dying.then_some(Timestamp::UNIX_EPOCH),
            finalizers: finalizers.iter().map(|name| (*name).to_owned()).collect(),
            ..Metadata::named("a")
        };
        let table = [
            (None, Some(object(false, &[])), Step::Reconcile),
            (None, Some(object(true, &["theirs"])), Step::Reconcile),
            (Some("mine"), None, Step::Reconcile),
            (Some("mine"), Some(object(false, &["theirs"])), Step::Protect("mine")),
            (Some("mine"), Some(object(false, &["mine"])), Step::Reconcile),
            (Some("mine"), Some(object(true, &["mine"])), Step::Cleanup("mine")),
            (Some("mine"), Some(object(true, &["theirs"])), Step::Leave),
        ];
        for (finalizer, metadata, expected) in table {
            assert_eq!(step(finalizer, metadata.as_ref()), expected, "{finalizer:?} {metadata:?}");
        }
    }
}
