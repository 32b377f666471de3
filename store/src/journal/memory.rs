//! A journal in memory. Clones share it, so several stores can write to one, as several servers do to a database.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use orion_model::{Clock, ObjectKey, Randomness, ResourceVersion};
use tokio::sync::watch;

use super::{Append, Entry, Error, Group, Identity, Journal, Loaded, Mark, Move, Row, Seq, Tail};

/// Versions begin at the time of creation in milliseconds, times this: a store that is made anew never repeats one.
pub(super) const VERSIONS_A_MILLISECOND: u64 = 1024;

/// The journal of stores that are gone when their process is.
#[derive(Clone, Debug)]
pub struct Memory {
    identity: Identity,
    log: Arc<Mutex<Log>>,
    head: Arc<watch::Sender<Seq>>,
}

#[derive(Debug, Default)]
struct Log {
    newest: Mark,
    entries: VecDeque<Entry>,
    materialised: Seq,
    objects: BTreeMap<ObjectKey, Bytes>,
}

impl Memory {
    /// An empty journal.
    pub fn new(clock: &Clock, randomness: &Randomness) -> Self {
        Self {
            identity: Identity { cluster: randomness.uuid(), epoch: 0, base: base_version(clock) },
            log: Arc::default(),
            head: Arc::new(watch::Sender::new(Seq::ZERO)),
        }
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        // Each method leaves the log whole before it could panic.
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The version before the first write of a store that is made now.
pub(super) fn base_version(clock: &Clock) -> ResourceVersion {
    let millis = u64::try_from(clock.now().as_millis()).unwrap_or_default();
    ResourceVersion::new(millis * VERSIONS_A_MILLISECOND)
}

impl Log {
    fn append(&mut self, after: Mark, group: Group) -> Append {
        let newest = &mut self.newest;
        if (newest.seq, newest.nonce) != (after.seq, after.nonce) {
            return Append::Taken;
        }
        *newest = Mark { seq: after.seq.next(), nonce: group.nonce, floor: newest.floor };
        let mark = *newest;
        self.entries.push_back(Entry { mark, body: group.body });
        Append::Done(mark)
    }

    fn tail(&self, after: Seq, max_bytes: usize) -> Tail {
        if after.next() < self.newest.floor {
            return Tail::Compacted { floor: self.newest.floor };
        }
        let mut bytes = 0;
        let fits = |entry: &&Entry| {
            let first = bytes == 0;
            bytes += entry.body.len();
            first || bytes <= max_bytes
        };
        let behind = self.entries.iter().skip_while(|entry| entry.mark.seq <= after);
        Tail::Dense(behind.take_while(fits).cloned().collect())
    }

    fn materialise(&mut self, from: Seq, to: Seq, moves: Vec<Move>) -> bool {
        if self.materialised != from {
            return false;
        }
        for Move { key, body } in moves {
            match body {
                Some(body) => self.objects.insert(key, body),
                None => self.objects.remove(&key),
            };
        }
        self.materialised = to;
        true
    }

    fn compact(&mut self, floor: Seq) {
        self.newest.floor = self.newest.floor.max(floor.min(self.materialised));
        let floor = self.newest.floor;
        while self.entries.front().is_some_and(|entry| entry.mark.seq < floor) {
            self.entries.pop_front();
        }
    }
}

impl Journal for Memory {
    const MATERIALISES_ON_APPEND: bool = false;

    fn identity(&self) -> Identity {
        self.identity.clone()
    }

    fn max_group(&self) -> usize {
        usize::MAX
    }

    async fn append(&self, after: Mark, group: Group) -> Result<Append, Error> {
        let appended = self.log().append(after, group);
        if let Append::Done(mark) = appended {
            self.head.send_replace(mark.seq);
        }
        Ok(appended)
    }

    async fn tail(&self, after: Seq, max_bytes: usize) -> Result<Tail, Error> {
        Ok(self.log().tail(after, max_bytes))
    }

    async fn head(&self) -> Result<Mark, Error> {
        Ok(self.log().newest)
    }

    async fn load(&self) -> Result<Loaded, Error> {
        let log = self.log();
        let row = |(key, body): (&ObjectKey, &Bytes)| {
            Ok(Row { group: key.kind.group().into(), kind: key.kind.name().into(), body: body.clone() })
        };
        let rows: Vec<_> = log.objects.iter().map(row).collect();
        Ok((log.materialised, stream::iter(rows).boxed()))
    }

    async fn materialise(&self, from: Seq, to: Seq, moves: Vec<Move>) -> Result<bool, Error> {
        Ok(self.log().materialise(from, to, moves))
    }

    async fn compact(&self, floor: Seq) -> Result<(), Error> {
        self.log().compact(floor);
        Ok(())
    }

    fn doorbell(&self) -> BoxStream<'static, ()> {
        let rings =
            stream::unfold(self.head.subscribe(), async |mut head| head.changed().await.ok().map(|()| ((), head)));
        rings.boxed()
    }

    async fn close(&self) {}
}
