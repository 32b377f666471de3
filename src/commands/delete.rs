//! `orion delete`: asks for deletions and, unless told otherwise, waits until the objects are gone.

use std::time::Duration;

use futures::StreamExt;
use orion_http::{Deletion, WatchEvent, WriteOptions};
use orion_model::{FieldSelector, LabelSelector, ObjectKey, Resource, Selection};
use orion_types::{Job, JobRun, Replica, Service};

use crate::{
    cli::{self, Global},
    failure::Failure,
    out::{note, say},
    remote::{Remote, Target, labels, shown, text},
    status_line::{Channel, StatusLine},
};

/// Between two turns of the line that moves.
const TURN: Duration = Duration::from_millis(120);

/// Deletes what was named.
pub(crate) async fn run(global: &Global, delete: &cli::Delete) -> Result<(), Failure> {
    let remote = Remote::of(global).await?;
    let keys = named(&remote, delete).await?;
    if keys.is_empty() {
        note!("nothing in namespace {} is selected", remote.namespace);
    }
    let mut pending = Vec::new();
    for key in keys {
        match remote.client.delete(&key, WriteOptions::default()).await? {
            Deletion::Gone if delete.no_wait || process_label(&key).is_none() => say!("{} deleted", shown(&key)),
            Deletion::Gone => pending.push(key),
            Deletion::Pending(_) if delete.no_wait => say!("{} is being deleted", shown(&key)),
            Deletion::Pending(_) => pending.push(key),
        }
    }
    let mut line = StatusLine::new(Channel::Stdout);
    let all_gone = all_gone(&remote, pending, &mut line);
    match tokio::time::timeout(Duration::from_secs(delete.timeout), all_gone).await {
        Ok(done) => done,
        Err(_) => {
            drop(line);
            Err(Failure::refused(format!("not gone within {} s; `orion why` says what it waits for", delete.timeout)))
        }
    }
}

async fn all_gone(remote: &Remote, mut pending: Vec<ObjectKey>, line: &mut StatusLine) -> Result<(), Failure> {
    let mut turns = tokio::time::interval(TURN);
    while let Some(key) = pending.first().cloned() {
        let waiting = pending.iter().map(|key| format!("{} to be gone", shown(key))).collect();
        line.wait_for(waiting);
        let mut gone = std::pin::pin!(all_of_it_gone(remote, &key));
        loop {
            tokio::select! {
                biased;
                gone = &mut gone => break gone?,
                _ = turns.tick() => line.turn(),
            }
        }
        line.line(&format!("{} deleted", shown(&key)));
        pending.remove(0);
    }
    Ok(())
}

async fn named(remote: &Remote, delete: &cli::Delete) -> Result<Vec<ObjectKey>, Failure> {
    if delete.what.is_empty() {
        return Err(Failure::usage("name what to delete: `orion delete service/api`, or a kind with -l"));
    }
    let mut keys = Vec::new();
    for target in remote.targets(&delete.what)? {
        match (target, &delete.selector) {
            (Target::Object(key), None) => keys.push(key),
            (Target::Object(key), Some(_)) => {
                return Err(Failure::usage(format!("{} is named already: leave -l out", shown(&key))));
            }
            (Target::Kind(kind), Some(selector)) => {
                let selection = remote.selection(&kind).with_labels(labels(Some(selector))?);
                let listing = remote.client.list(&selection).await?;
                keys.extend(listing.items.iter().map(|item| remote.key(&kind, &text(item, "/metadata/name"))));
            }
            (Target::Kind(kind), None) => {
                return Err(Failure::usage(format!("to delete {}, name them or select them with -l", kind.plural())));
            }
        }
    }
    Ok(keys)
}

/// The label by which replicas say whose they are, for the kinds that have some.
fn process_label(key: &ObjectKey) -> Option<&'static str> {
    [(Service::KIND, "orion/service"), (Job::KIND, "orion/job"), (JobRun::KIND, "orion/run")]
        .into_iter()
        .find_map(|(kind, label)| (key.kind == kind).then_some(label))
}

/// Waits until an object and the processes it had are gone: what was deleted must not be running still.
async fn all_of_it_gone(remote: &Remote, key: &ObjectKey) -> Result<(), Failure> {
    gone(remote, key).await?;
    let Some(label) = process_label(key) else { return Ok(()) };
    let replicas = Selection::all(Replica::KIND)
        .in_namespace(key.namespace.clone())
        .with_labels(LabelSelector::equals(label, &*key.name));
    let over = ["Lost", "Stopped", "Succeeded", "Failed"];
    loop {
        let listing = remote.client.list(&replicas).await?;
        if listing.items.iter().all(|replica| over.contains(&text(replica, "/status/phase").as_str())) {
            return Ok(());
        }
        tokio::time::sleep(TURN).await;
    }
}

/// Waits until an object is gone.
async fn gone(remote: &Remote, key: &ObjectKey) -> Result<(), Failure> {
    let selection = Selection::all(key.kind.clone()).with_fields(FieldSelector::name(&*key.name));
    let selection = if key.namespace.is_empty() { selection } else { selection.in_namespace(key.namespace.clone()) };
    let mut there = false;
    let mut events = std::pin::pin!(remote.client.watch(selection, None));
    while let Some(event) = events.next().await {
        match event {
            Ok(WatchEvent::Added(_) | WatchEvent::Modified(_)) => there = true,
            Ok(WatchEvent::Deleted(_)) => return Ok(()),
            Ok(WatchEvent::Synced) if !there => return Ok(()),
            Ok(WatchEvent::Synced) => {}
            Err(error) if error.is_retryable() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
