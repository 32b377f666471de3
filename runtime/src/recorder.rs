//! Events: what controllers tell people, written in the background.
//!
//! Saying something never blocks and never fails a run. The same thing said again of the same object raises the series
//! of one Event object, whose name follows from what it says, so that a restart goes on counting where it was.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use orion_model::{
    Client, ClientError, Event, Key, Metadata, Timestamp,
    event::{EventSeries, ObjectReference},
};
use serde_json::json;
use tokio::{sync::mpsc, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::Reason;

/// Events that wait to be written; more are dropped and counted.
const WAITING: usize = 1024;

/// Between two rounds of writing: what repeats faster makes one write.
const ROUND: Duration = Duration::from_secs(1);

/// Events whose count is at hand; the others are read again.
const REMEMBERED: usize = 4096;

/// Where events of objects outside of namespaces stand.
const NAMESPACE: &str = "default";

/// Whether an event is good or bad news.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Tone {
    Normal,
    Warning,
}

/// What is said, apart from when.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Saying {
    api_version: String,
    kind: String,
    namespace: String,
    name: String,
    uid: String,
    controller: Arc<str>,
    reason: Reason,
    note: String,
    tone: Tone,
}

struct Said {
    saying: Saying,
    at: Timestamp,
}

/// The way to say something.
#[derive(Clone)]
pub(crate) struct Recorder {
    said: mpsc::Sender<Said>,
    dropped: Arc<AtomicU64>,
}

/// Writes what was said.
pub(crate) struct Writer {
    said: mpsc::Receiver<Said>,
    client: Client,
    counts: HashMap<String, u32>,
}

struct Tally {
    count: u32,
    first: Timestamp,
    last: Timestamp,
}

pub(crate) fn channel(client: Client) -> (Recorder, Writer) {
    let (sender, said) = mpsc::channel(WAITING);
    let recorder = Recorder { said: sender, dropped: Arc::default() };
    (recorder, Writer { said, client, counts: HashMap::new() })
}

impl Recorder {
    pub(crate) fn say(
        &self,
        regarding: ObjectReference,
        controller: &Arc<str>,
        reason: Reason,
        note: String,
        tone: Tone,
        at: Timestamp,
    ) {
        let saying = Saying {
            api_version: regarding.api_version,
            kind: regarding.kind,
            namespace: regarding.namespace,
            name: regarding.name,
            uid: regarding.uid.to_string(),
            controller: controller.clone(),
            reason,
            note,
            tone,
        };
        if self.said.try_send(Said { saying, at }).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many events were dropped because too many waited.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Writer {
    /// Writes until shutdown, and then what still waits.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        let mut said = Vec::new();
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                count = self.said.recv_many(&mut said, WAITING) => if count == 0 { break },
            }
            self.write_all(&mut said).await;
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                () = sleep(ROUND) => {}
            }
        }
        while let Ok(one) = self.said.try_recv() {
            said.push(one);
        }
        self.write_all(&mut said).await;
    }

    async fn write_all(&mut self, said: &mut Vec<Said>) {
        for (saying, tally) in tallied(said.drain(..)) {
            if let Err(error) = self.write(&saying, &tally).await {
                tracing::warn!(%error, reason = %saying.reason, "an event could not be written");
            }
        }
    }

    async fn write(&mut self, saying: &Saying, tally: &Tally) -> Result<(), ClientError> {
        let key = saying.key();
        let before = match self.counts.get(key.name()) {
            Some(count) => *count,
            None => match self.client.create(&saying.event(&key, tally)).await {
                Ok(_) => return self.remember(&key, tally.count),
                Err(ClientError::AlreadyExists(_)) => self.count_of(&key).await?,
                Err(error) => return Err(error),
            },
        };
        let count = before.saturating_add(tally.count);
        let series = json!({"series": {"count": count, "lastObservedTime": tally.last}});
        match self.client.merge::<Event>(&key, series).await {
            Ok(_) => self.remember(&key, count),
            // It was swept meanwhile.
            Err(ClientError::NotFound(_)) => {
                self.client.create(&saying.event(&key, tally)).await?;
                self.remember(&key, tally.count)
            }
            Err(error) => Err(error),
        }
    }

    async fn count_of(&self, key: &Key<Event>) -> Result<u32, ClientError> {
        let event = self.client.get(key).await?;
        Ok(event.map_or(0, |event| event.series.map_or(1, |series| series.count)))
    }

    fn remember(&mut self, key: &Key<Event>, count: u32) -> Result<(), ClientError> {
        if self.counts.len() >= REMEMBERED {
            self.counts.clear();
        }
        self.counts.insert(key.name().to_owned(), count);
        Ok(())
    }
}

fn tallied(said: impl Iterator<Item = Said>) -> BTreeMap<Saying, Tally> {
    let mut tallies: BTreeMap<Saying, Tally> = BTreeMap::new();
    for Said { saying, at } in said {
        let tally = tallies.entry(saying).or_insert(Tally { count: 0, first: at, last: at });
        tally.count = tally.count.saturating_add(1);
        tally.last = tally.last.max(at);
    }
    tallies
}

impl Saying {
    fn key(&self) -> Key<Event> {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        let namespace = if self.namespace.is_empty() { NAMESPACE } else { &self.namespace };
        Key::new(namespace, format!("{}.{:016x}", self.name, hasher.finish()))
    }

    fn event(&self, key: &Key<Event>, tally: &Tally) -> Event {
        let metadata = Metadata { namespace: key.namespace().to_owned(), ..Metadata::named(key.name()) };
        let repeated = tally.count > 1;
        Event {
            metadata,
            event_time: Some(tally.first),
            series: repeated.then_some(EventSeries { count: tally.count, last_observed_time: tally.last }),
            reporting_controller: self.controller.to_string(),
            reporting_instance: String::new(),
            action: "Reconcile".to_owned(),
            reason: self.reason.to_string(),
            regarding: ObjectReference {
                api_version: self.api_version.clone(),
                kind: self.kind.clone(),
                namespace: self.namespace.clone(),
                name: self.name.clone(),
                uid: self.uid.as_str().into(),
            },
            note: self.note.clone(),
            kind: match self.tone {
                Tone::Normal => "Normal".to_owned(),
                Tone::Warning => "Warning".to_owned(),
            },
        }
    }
}
