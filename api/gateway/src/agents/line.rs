//! The line to one agent: what the rest of the gateway reaches of a session.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use orion_model::{Key, Uid};
use orion_types::{Replica, protocol::Hello};
use tokio::{sync::Notify, time::Instant};

use super::{backlog::Backlog, frame::Close, logs::Streams, outbox::Outbox};

/// Who is at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Agent {
    /// One of protocol 1.
    Known {
        /// The identity in its data directory.
        agent: String,
        /// Its present start.
        instance: String,
    },
    /// An original one, by the id it calls itself.
    Original(String),
}

impl Agent {
    pub(super) fn of(hello: &Hello) -> Self {
        match hello.protocol {
            Some(_) => Self::Known { agent: hello.agent_id.clone(), instance: hello.instance_id.clone() },
            None => Self::Original(hello.node_id.clone()),
        }
    }

    pub(super) fn is_original(&self) -> bool {
        matches!(self, Self::Original(_))
    }
}

/// A session, as the rest of the gateway reaches it.
pub(super) struct Line {
    pub(super) session: String,
    pub(super) node: String,
    pub(super) agent: Agent,
    pub(super) backlog: Backlog,
    pub(super) outbox: Outbox,
    pub(super) streams: Streams,
    /// Wakes the session: the backlog, the outbox, a stream or the eviction has something for it.
    pub(super) poke: Arc<Notify>,
    evicted: OnceLock<Close>,
    epoch: Instant,
    heard_millis: AtomicU64,
    silent: AtomicBool,
}

/// Bounds of what a session keeps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) frames: usize,
    pub(super) bytes: usize,
    pub(super) backlog: usize,
}

impl Line {
    pub(super) fn new(session: String, hello: &Hello, bounds: Bounds, now: Instant) -> Self {
        let poke = Arc::new(Notify::new());
        Self {
            session,
            node: hello.name.clone(),
            agent: Agent::of(hello),
            backlog: Backlog::new(bounds.backlog),
            outbox: Outbox::new(bounds.frames, bounds.bytes, poke.clone()),
            streams: Streams::new(poke.clone()),
            poke,
            evicted: OnceLock::new(),
            epoch: now,
            heard_millis: AtomicU64::new(0),
            silent: AtomicBool::new(false),
        }
    }

    /// Has the session look at a replica.
    pub(super) fn mark(&self, uid: &Uid, key: Key<Replica>) {
        self.backlog.mark(uid, key);
        self.poke.notify_one();
    }

    /// Ends the session.
    pub(super) fn evict(&self, close: Close) {
        // Whoever was first has said why.
        drop(self.evicted.set(close));
        self.poke.notify_one();
    }

    /// Why the session has to end, if it has to.
    pub(super) fn eviction(&self) -> Option<&Close> {
        self.evicted.get()
    }

    /// The agent was heard. Whether it had been found silent before, so that its return is news.
    pub(super) fn hear(&self, now: Instant) -> bool {
        let millis = u64::try_from(now.duration_since(self.epoch).as_millis()).unwrap_or(u64::MAX);
        self.heard_millis.store(millis, Ordering::SeqCst);
        self.silent.load(Ordering::SeqCst)
    }

    /// When the agent was last heard.
    pub(super) fn heard(&self) -> Instant {
        self.epoch + std::time::Duration::from_millis(self.heard_millis.load(Ordering::SeqCst))
    }

    /// Notes whether the agent counts as silent.
    pub(super) fn found_silent(&self, silent: bool) {
        self.silent.store(silent, Ordering::SeqCst);
    }
}
