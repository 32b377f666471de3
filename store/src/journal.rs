//! What a store stands on: a durable, ordered log of groups that grows by conditional appends.
//!
//! ```text
//! append(after: Mark, group)   the group stands right behind `after`, or another's does: a compare-and-swap
//! tail(after)                  the groups behind a place, in order, as long as they are kept
//! load()                       the objects as of some group; replaying the tail behind it gives the present
//! head()                       the newest mark, linearizably
//! ```
//!
//! A group holds *effects*: whole objects as they are after each write. Whoever replays one needs no clock, no chance
//! and no schema. Sequence numbers stay inside the store; what the world sees are resource versions.

pub mod memory;
#[cfg(feature = "sqlite")]
pub mod sqlite;

use std::{fmt, ops::Range, sync::Arc};

use bytes::Bytes;
use futures::stream::BoxStream;
use orion_model::{ObjectKey, ResourceVersion};

/// The place of a group in the journal; the first is 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(u64);

impl Seq {
    /// Before the first group.
    pub const ZERO: Self = Self(0);

    /// A place by its number.
    pub const fn new(seq: u64) -> Self {
        Self(seq)
    }

    /// Its number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The place behind this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The place before this one.
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A random number that tells a group from any other that might have taken its place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Nonce(pub u64);

/// A group's place, its identity, and the oldest group that is still readable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// The place.
    pub seq: Seq,
    /// Whose group stands there.
    pub nonce: Nonce,
    /// The oldest group that can still be read; zero while none has been dropped.
    pub floor: Seq,
}

/// How an append ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Append {
    /// The group stands, durably, at this mark.
    Done(Mark),
    /// Another writer's group stands there: catch up and judge again.
    Taken,
    /// The place is taken and its group no longer kept, so nobody can say whose it was: look the commit ids up.
    Unsettled,
}

/// What stands behind a place.
#[derive(Clone, Debug)]
pub enum Tail {
    /// The next groups, without a gap; none where there is nothing more.
    Dense(Vec<Entry>),
    /// The next group is no longer kept.
    Compacted {
        /// The oldest that is.
        floor: Seq,
    },
}

/// One kept group.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its mark.
    pub mark: Mark,
    /// Its content, as [`Group::body`] was.
    pub body: Bytes,
}

/// What one append writes.
#[derive(Clone, Debug)]
pub struct Group {
    /// Its identity.
    pub nonce: Nonce,
    /// All of its commits; a journal keeps these bytes and does not read them.
    pub body: Bytes,
    /// What it comes to for each object, for journals that keep the objects up to date in the same transaction.
    pub effects: Vec<Effect>,
}

/// What a group comes to for one object.
#[derive(Clone, Debug)]
pub struct Effect {
    /// The object.
    pub key: ObjectKey,
    /// The version of its last write.
    pub version: ResourceVersion,
    /// Where its JSON stands in the group's body; `None` where it is gone.
    pub body: Option<Range<usize>>,
}

/// A change to the readable copy of the objects.
#[derive(Clone, Debug)]
pub struct Move {
    /// The object.
    pub key: ObjectKey,
    /// Its JSON; `None` where it is gone.
    pub body: Option<Bytes>,
}

/// An object of the readable copy.
#[derive(Clone, Debug)]
pub struct Row {
    /// The group of its kind.
    pub group: String,
    /// The name of its kind.
    pub kind: String,
    /// Its JSON.
    pub body: Bytes,
}

/// The readable copy: as of which group, and its objects in no particular order.
pub type Loaded = (Seq, BoxStream<'static, Result<Row, Error>>);

/// What a journal is, apart from what stands in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Stays the same through restore and migration.
    pub cluster: String,
    /// Zero, and higher after each restore.
    pub epoch: u64,
    /// The version before the first write.
    pub base: ResourceVersion,
}

/// What lies beneath a failure.
pub type Source = Arc<dyn std::error::Error + Send + Sync>;

/// How a call on a journal fails.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// It had no effect, and that is proven.
    #[error("{0}")]
    Refused(Source),
    /// The journal cannot be reached now; nothing of the call took or will take effect.
    #[error("{0}")]
    Unavailable(Source),
    /// The journal is broken. What was under way may have taken effect; nothing more will be accepted.
    #[error("{0}")]
    Stopped(Source),
}

/// Durable, ordered, conditional append.
///
/// # Cancel safety
/// An `append` runs to its end, whether or not its future is polled on.
pub trait Journal: Send + Sync + 'static {
    /// Whether `append` moves the readable copy in the same transaction, so that `materialise` has nothing to do.
    const MATERIALISES_ON_APPEND: bool;

    /// Which journal this is.
    fn identity(&self) -> Identity;

    /// The largest group in bytes; the store refuses larger ones before sending.
    fn max_group(&self) -> usize;

    /// Puts a group right behind `after`, if nothing stands there. It settles: an outcome is known when it returns.
    fn append(&self, after: Mark, group: Group) -> impl Future<Output = Result<Append, Error>> + Send;

    /// The groups behind a place, up to about `max_bytes`, at least one where there is one.
    fn tail(&self, after: Seq, max_bytes: usize) -> impl Future<Output = Result<Tail, Error>> + Send;

    /// The newest mark, not older than the call.
    fn head(&self) -> impl Future<Output = Result<Mark, Error>> + Send;

    /// The readable copy of the objects.
    fn load(&self) -> impl Future<Output = Result<Loaded, Error>> + Send;

    /// Moves the readable copy from one group to another; `false` where it no longer stood at `from`.
    fn materialise(&self, from: Seq, to: Seq, moves: Vec<Move>) -> impl Future<Output = Result<bool, Error>> + Send;

    /// Makes `floor` the oldest group that can be read, dropping those before it. The readable copy must have passed
    /// them.
    fn compact(&self, floor: Seq) -> impl Future<Output = Result<(), Error>> + Send;

    /// Rings when the head may have moved by another's hand, or when the journal has broken.
    fn doorbell(&self) -> BoxStream<'static, ()>;

    /// Gives everything back that it holds; another may open the same journal afterwards.
    fn close(&self) -> impl Future<Output = ()> + Send;
}
