//! `orion delete`: asks for deletions and, unless told otherwise, waits until the objects are gone.

use std::time::Duration;

use futures::StreamExt;
use orion_http::{Deletion, WatchEvent, WriteOptions};
use orion_model::{FieldSelector, ObjectKey, Selection};

use crate::{
    cli::{self, Global},
    failure::Failure,
    remote::{Remote, Target, labels, shown, text},
};

/// Deletes what was named.
pub(crate) async fn run(global: &Global, delete: &cli::Delete) -> Result<(), Failure> {
    let remote = Remote::of(global)?;
    let keys = named(&remote, delete).await?;
    let mut pending = Vec::new();
    for key in keys {
        match remote.client.delete(&key, WriteOptions::default()).await? {
            Deletion::Gone => println!("{} deleted", shown(&key)),
            Deletion::Pending(_) if delete.no_wait => println!("{} is being deleted", shown(&key)),
            Deletion::Pending(_) => pending.push(key),
        }
    }
    let all_gone = async {
        for key in &pending {
            gone(&remote, key).await?;
            println!("{} deleted", shown(key));
        }
        Ok(())
    };
    match tokio::time::timeout(Duration::from_secs(delete.timeout), all_gone).await {
        Ok(done) => done,
        Err(_) => {
            Err(Failure::refused(format!("not gone within {} s; `orion why` says what it waits for", delete.timeout)))
        }
    }
}

async fn named(remote: &Remote, delete: &cli::Delete) -> Result<Vec<ObjectKey>, Failure> {
    if delete.what.is_empty() {
        return Err(Failure::usage("name what to delete: `orion delete service/api`, or a kind with -l"));
    }
    let mut keys = Vec::new();
    for target in remote.targets(&delete.what).await? {
        match (target, &delete.selector) {
            (Target::Object(key), _) => keys.push(key),
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
