//! What a session speaks: protocol 1 or the original's frames. Both are state machines without any I/O: frames, changes
//! and outcomes go in, frames come out into the outbox and reports into [`Reports`].

use orion_types::protocol::FromAgent;
use tokio::time::Instant;

use super::reports::{Reports, Settled};

/// One side's knowledge of a conversation, and what it says next.
pub(super) trait Dialect: Send {
    /// Takes a frame, but for those that are the same for all: heartbeats and logs.
    fn hear(&mut self, frame: FromAgent);

    /// Takes a report's end.
    fn settled(&mut self, settled: Settled);

    /// Says what there is to say, as far as the outbox has room.
    fn speak(&mut self, now: Instant);

    /// Whether more frames can be taken. An agent that makes answers due and takes none is not listened to, until it
    /// does or its pings end the session.
    fn listens(&self) -> bool;

    /// The reports on their way into the store.
    fn reports(&mut self) -> &mut Reports;

    /// When [`speak`](Self::speak) is to be called though nothing happened.
    fn wake_at(&self) -> Option<Instant>;
}
