//! Waiting until what was applied is so: progress for each service and job, what it waits for, and why it failed.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::{StreamExt, stream::SelectAll};
use orion_http::{LogOptions, WatchEvent};
use orion_model::{Kind, LabelSelector, Object, ObjectKey, Resource};
use orion_types::{Job, Replica};
use tokio::time::{Instant, MissedTickBehavior};

use crate::{
    commands::logs::message,
    failure::Failure,
    out::note,
    remote::{Remote, shown, text},
    standing::Standing,
    status_line::{Channel, StatusLine},
    style::safe,
};

/// Between two turns of the line that moves.
const TURN: Duration = Duration::from_millis(120);
/// Lines of a failed process's log that are shown.
const LAST_LINES: u64 = 10;

/// Waits until services are available and jobs have run, for at most so many seconds. The keys are of one namespace,
/// the remote's.
pub(crate) async fn wait_for(
    remote: &Remote,
    keys: &[ObjectKey],
    seconds: u64,
    channel: Channel,
) -> Result<(), Failure> {
    let mut line = StatusLine::new(channel);
    let mut board = Board::new(keys);
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let mut turns = tokio::time::interval(TURN);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut changes = changes(remote, keys);
    while !board.is_over() {
        tokio::select! {
            biased;
            () = tokio::time::sleep_until(deadline) => {
                line.clear();
                let waiting = board.waiting().join("; ");
                return Err(Failure::refused(format!("not there within {seconds} s: {waiting}")));
            }
            change = changes.next() => {
                let Some((kind, change)) = change else { return Err(Failure::usage("the server ended the watch")) };
                let (key, standing) = match change {
                    Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
                        let key = remote.key(&kind, &text(&object, "/metadata/name"));
                        let standing = Standing::of(&key, object)?;
                        (key, standing)
                    }
                    Ok(WatchEvent::Deleted(object)) => {
                        let key = remote.key(&kind, &text(&object, "/metadata/name"));
                        (key, Standing::Failed("is gone".into()))
                    }
                    Ok(WatchEvent::Synced) => {
                        board.synced(&kind);
                        continue;
                    }
                    Err(error) if error.is_retryable() => {
                        line.wait_for(vec![error.to_string()]);
                        continue;
                    }
                    Err(error) => return Err(error.into()),
                };
                if let Some(standing) = board.note(&key, standing) {
                    line.say(&key, standing);
                }
                line.wait_for(board.waiting());
            }
            _ = turns.tick() => line.turn(),
        }
    }
    drop(line);
    let failed = board.failed();
    for key in &failed {
        last_log_lines(remote, key).await;
    }
    let failed: Vec<_> = failed.into_iter().map(shown).collect();
    if failed.is_empty() { Ok(()) } else { Err(Failure::refused(format!("{} failed", failed.join(", ")))) }
}

type Changes = SelectAll<futures::stream::BoxStream<'static, (Kind, Result<WatchEvent, orion_model::ClientError>)>>;

/// The watches of the kinds of these keys.
fn changes(remote: &Remote, keys: &[ObjectKey]) -> Changes {
    let mut kinds: Vec<&Kind> = keys.iter().map(|key| &key.kind).collect();
    kinds.sort();
    kinds.dedup();
    let watches = kinds.into_iter().map(|kind| {
        let watched = kind.clone();
        remote.client.watch(remote.selection(kind), None).map(move |event| (watched.clone(), event)).boxed()
    });
    futures::stream::select_all(watches)
}

/// Where each of what is waited for stands.
struct Board(BTreeMap<ObjectKey, Seen>);

#[derive(Clone, Default)]
struct Seen {
    now: Option<Standing>,
    /// What it has been told to wait for: what comes and goes is told once.
    told: BTreeSet<String>,
}

impl Board {
    fn new(keys: &[ObjectKey]) -> Self {
        Self(keys.iter().map(|key| (key.clone(), Seen::default())).collect())
    }

    /// Notes a standing, and returns it where it is news.
    fn note(&mut self, key: &ObjectKey, standing: Standing) -> Option<&Standing> {
        let seen = self.0.get_mut(key).filter(|seen| seen.now.as_ref() != Some(&standing))?;
        let news = match &standing {
            Standing::Waiting(what) => seen.told.insert(what.clone()),
            Standing::Done(_) | Standing::Failed(_) => true,
        };
        let now = seen.now.insert(standing);
        news.then_some(now)
    }

    /// What has not been seen when everything that exists has been is gone.
    fn synced(&mut self, kind: &Kind) {
        for (_, seen) in self.0.iter_mut().filter(|(key, seen)| key.kind == *kind && seen.now.is_none()) {
            seen.now = Some(Standing::Failed("is gone".into()));
        }
    }

    fn waiting(&self) -> Vec<String> {
        let waiting = self.0.iter().filter_map(|(key, seen)| match &seen.now {
            Some(Standing::Waiting(what)) => Some(format!("{}: {what}", shown(key))),
            None => Some(shown(key)),
            Some(Standing::Done(_) | Standing::Failed(_)) => None,
        });
        waiting.collect()
    }

    fn failed(&self) -> Vec<&ObjectKey> {
        let failed = self.0.iter().filter(|(_, seen)| matches!(seen.now, Some(Standing::Failed(_))));
        failed.map(|(key, _)| key).collect()
    }

    /// Whether nothing is left to wait for: all is there, or something has failed.
    fn is_over(&self) -> bool {
        !self.failed().is_empty() || self.waiting().is_empty()
    }
}

/// The end of the log of a replica that did not come up.
async fn last_log_lines(remote: &Remote, key: &ObjectKey) {
    let label = if key.kind == Job::KIND { "orion/job" } else { "orion/service" };
    let Ok(replicas) = remote.list::<Replica>(LabelSelector::equals(label, &*key.name)).await else { return };
    let exit_of = |replica: &Replica| replica.status.observed.as_ref().and_then(|observed| observed.exit.clone());
    let ended = replicas.iter().filter_map(|replica| Some((replica, exit_of(replica)?)));
    let Some((replica, exit)) = ended.max_by_key(|(replica, exit)| (exit.at, replica.metadata.creation_timestamp))
    else {
        return;
    };
    let name = replica.name();
    let sentence = if exit.message.is_empty() { exit.summary() } else { exit.message.clone() };
    note!("{name}: {}", safe(&sentence));
    let options = LogOptions { tail: Some(LAST_LINES), ..LogOptions::default() };
    let Ok(lines) = remote.client.logs(&replica.object_key(), &options).await else { return };
    let mut lines = std::pin::pin!(lines);
    while let Some(Ok(line)) = lines.next().await {
        note!("  {name} | {}", safe(message(&String::from_utf8_lossy(&line))));
    }
}

/// The keys among an apply's changes that can be waited for.
pub(crate) fn waitable(kind: &str, action: &str) -> bool {
    matches!(kind, "Service" | "Job") && action != "deleted"
}

#[cfg(test)]
mod tests {
    use orion_types::Service;

    use super::*;

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new(Service::KIND, "default", name)
    }

    #[test]
    fn it_is_over_when_all_is_there_or_something_has_failed() {
        let mut board = Board::new(&[key("a"), key("b")]);
        assert!(!board.is_over() && board.waiting() == ["service/a", "service/b"]);
        let done = || Standing::Done("1 of 1 available".into());
        assert_eq!(board.note(&key("a"), done()), Some(&done()));
        assert_eq!(board.note(&key("a"), done()), None, "that is no news");
        assert_eq!(board.note(&key("c"), done()), None, "nobody waits for it");
        let waits = |what: &str| Standing::Waiting(what.into());
        assert_eq!(board.note(&key("b"), waits("node-1")), Some(&waits("node-1")));
        board.note(&key("b"), waits("node-2"));
        assert_eq!(board.note(&key("b"), waits("node-1")), None, "that has been told");
        assert!(!board.is_over() && board.waiting() == ["service/b: node-1"]);
        let mut failing = Board(board.0.clone());
        failing.note(&key("b"), Standing::Failed("no such file".into()));
        assert!(failing.is_over() && failing.failed() == [&key("b")]);
        board.note(&key("b"), done());
        assert!(board.is_over() && board.failed().is_empty());
    }

    #[test]
    fn what_is_not_there_when_all_has_been_seen_is_gone() {
        let mut board = Board::new(&[key("a")]);
        board.synced(&Job::KIND);
        assert!(!board.is_over());
        board.synced(&Service::KIND);
        assert_eq!(board.failed(), [&key("a")]);
    }
}
