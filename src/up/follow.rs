//! What a person at `orion up` sees: replicas and services as they change, and what processes write.

use std::time::Duration;

use futures::StreamExt;
use orion_http::{LogOptions, WatchEvent};
use orion_model::{ClientError, Clock, Object, Resource, Selection};
use orion_types::{Replica, Service};
use tokio::time::Instant;

use super::narrator::{Narrator, Told};
use crate::{
    commands::logs::{Follower, Line, Lines},
    failure::Failure,
    out::say,
    remote::{Remote, decoded},
    style::{Style, safe},
};

/// How long the last news of an agent that has ended may take.
const LAST_NEWS: Duration = Duration::from_secs(1);

/// What is followed, and what has been told of it.
pub(crate) struct Follow {
    narrator: Narrator,
    follower: Follower,
    lines: Lines,
    style: Style,
    ending: bool,
}

impl Follow {
    /// Nothing told yet.
    pub(crate) fn new(remote: &Remote) -> Self {
        // What was written before this start has been seen before.
        let since = Clock::system().now().to_string();
        let options = LogOptions { follow: true, since: Some(since), tail: None };
        Self {
            narrator: Narrator::default(),
            follower: Follower::new(remote.client.clone(), options),
            lines: Lines::named(false),
            style: Style::of_stdout(),
            ending: false,
        }
    }

    /// From here on the agent ends what runs.
    pub(crate) fn ending(&mut self) {
        self.ending = true;
        self.narrator.ending();
    }

    /// How many processes are believed to run.
    pub(crate) fn live(&self) -> usize {
        self.narrator.live()
    }

    /// Tells what happens until it is dropped.
    ///
    /// # Cancel safety
    /// What has been told is kept; called again, it goes on with what is new.
    pub(crate) async fn run(&mut self, remote: &Remote) -> Result<(), Failure> {
        self.run_while(remote, |_| true).await
    }

    /// Tells what happens until nothing is believed to run any more, for a moment at most: the last reports of an agent
    /// that has ended are written, and come by themselves.
    pub(crate) async fn run_out(&mut self, remote: &Remote) {
        let running = self.run_while(remote, |narrator| narrator.live() > 0);
        // What is not told by then is not waited for: the agent knows that it has ended.
        let _out_of_time = tokio::time::timeout(LAST_NEWS, running).await;
    }

    async fn run_while(&mut self, remote: &Remote, go_on: impl Fn(&Narrator) -> bool) -> Result<(), Failure> {
        let mut replicas = std::pin::pin!(remote.client.watch(Selection::all(Replica::KIND), None));
        let mut services = std::pin::pin!(remote.client.watch(Selection::all(Service::KIND), None));
        while go_on(&self.narrator) {
            let due = self.narrator.next_due();
            tokio::select! {
                biased;
                change = replicas.next() => self.replica_changed(change).await?,
                change = services.next() => self.service_changed(change)?,
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    let now = Instant::now();
                    self.narrator.due(now).into_iter().try_for_each(|told| self.tell(Some(told)))?;
                }
                line = next_line(&mut self.follower) => self.lines.print(self.style, &line)?,
            }
        }
        Ok(())
    }

    async fn replica_changed(&mut self, change: Option<Result<WatchEvent, ClientError>>) -> Result<(), Failure> {
        match happened(change)? {
            Some(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
                let replica: Replica = decoded(object)?;
                self.lines.widen(replica.name());
                if replica.status.observed.is_some() && !replica.status.phase.is_finished() && !self.ending {
                    self.follower.add(replica.object_key()).await?;
                }
                let told = self.narrator.replica(&replica, Instant::now());
                self.tell(told)?;
            }
            Some(WatchEvent::Deleted(object)) => {
                let replica: Replica = decoded(object)?;
                self.narrator.forget_replica(&replica.object_key());
            }
            Some(WatchEvent::Synced) => self.narrator.synced(),
            None => {}
        }
        Ok(())
    }

    fn service_changed(&mut self, change: Option<Result<WatchEvent, ClientError>>) -> Result<(), Failure> {
        let told = match happened(change)? {
            Some(WatchEvent::Added(object) | WatchEvent::Modified(object)) => self.narrator.service(&decoded(object)?),
            Some(WatchEvent::Deleted(object)) => {
                self.narrator.forget_service(&decoded::<Service>(object)?.object_key())
            }
            Some(WatchEvent::Synced) | None => None,
        };
        self.tell(told)
    }

    fn tell(&self, told: Option<Told>) -> Result<(), Failure> {
        let Some(Told { name, word, tone, detail }) = told else { return Ok(()) };
        let detail = if detail.is_empty() { String::new() } else { format!(" ({})", safe(&detail)) };
        say!("{} * {}{detail}", self.lines.name(self.style, &name), self.style.paint(word, tone));
        Ok(())
    }
}

/// An event, or nothing where the watch will go on by itself.
fn happened(change: Option<Result<WatchEvent, ClientError>>) -> Result<Option<WatchEvent>, Failure> {
    match change {
        Some(Ok(event)) => Ok(Some(event)),
        Some(Err(error)) if error.is_retryable() => {
            tracing::debug!(%error, "watching");
            Ok(None)
        }
        Some(Err(error)) => Err(error.into()),
        None => Err(Failure::refused("the server ended the watch")),
    }
}

/// The next line of any replica; waits while there is none to read from.
async fn next_line(follower: &mut Follower) -> Line {
    match follower.next().await {
        Some(line) => line,
        None => std::future::pending().await,
    }
}
