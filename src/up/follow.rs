//! What a person at `orion up` sees: replicas as they come and go, and what they write.

use std::collections::BTreeMap;

use futures::StreamExt;
use orion_http::{LogOptions, WatchEvent};
use orion_model::{Clock, ObjectKey};
use serde_json::Value;

use crate::{
    commands::logs::{Follower, print},
    failure::Failure,
    remote::{Remote, text},
    style::{Style, safe, tone_of},
};

/// Follows until it is dropped.
pub(crate) async fn run(remote: &Remote) -> Result<(), Failure> {
    let style = Style::of_stdout();
    let kind = remote.kind("replicas").await?;
    // What was written before this start has been seen before.
    let since = Clock::system().now().to_string();
    let options = LogOptions { follow: true, since: Some(since), tail: None };
    let mut follower = Follower::new(remote.client.clone(), options);
    let mut phases = BTreeMap::new();
    let mut changes = std::pin::pin!(remote.client.watch(remote.selection(&kind), None));
    loop {
        tokio::select! {
            biased;
            change = changes.next() => match change {
                Some(Ok(WatchEvent::Added(object) | WatchEvent::Modified(object))) => {
                    let key = remote.key(&kind, &text(&object, "/metadata/name"));
                    told(style, &mut phases, &key, &object);
                    if !text(&object, "/status/observed").is_empty() {
                        follower.add(key).await;
                    }
                }
                Some(Ok(WatchEvent::Deleted(object))) => {
                    phases.remove(&remote.key(&kind, &text(&object, "/metadata/name")));
                }
                Some(Ok(WatchEvent::Synced)) => {}
                Some(Err(error)) if error.is_retryable() => tracing::debug!(%error, "watching replicas"),
                Some(Err(error)) => return Err(error.into()),
                None => return Ok(()),
            },
            line = next_line(&mut follower) => print(style, &line, false, false),
        }
    }
}

/// The next line of any replica; waits while there is none to read from.
async fn next_line(follower: &mut Follower) -> crate::commands::logs::Line {
    match follower.next().await {
        Some(line) => line,
        None => std::future::pending().await,
    }
}

/// One line for each change of a replica's phase.
fn told(style: Style, phases: &mut BTreeMap<ObjectKey, String>, key: &ObjectKey, replica: &Value) {
    let phase = text(replica, "/status/phase");
    if phases.get(key) == Some(&phase) {
        return;
    }
    phases.insert(key.clone(), phase.clone());
    let detail = match phase.as_str() {
        "Ready" | "Running" => format!("pid {}", text(replica, "/status/observed/pid")),
        "Backoff" | "Failed" | "Succeeded" => text(replica, "/status/observed/exit/message"),
        "Pending" => crate::progress::condition(replica, "Placed"),
        "Stopping" => text(replica, "/spec/stop/reason"),
        _ => String::new(),
    };
    let detail = if detail.is_empty() { String::new() } else { format!(" ({})", safe(&detail)) };
    println!("{} | {}{detail}", style.name(&key.name), style.paint(&phase.to_lowercase(), tone_of(&phase)));
}
