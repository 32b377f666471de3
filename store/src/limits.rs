//! What a store bounds, on every journal alike.

use std::time::Duration;

/// The largest object, in bytes of its JSON.
pub const OBJECT_BYTES: usize = 1 << 20;

/// The largest commit, in bytes as it is journalled, old objects included.
pub const COMMIT_BYTES: usize = 8 << 20;

/// The most writes of one commit; checks are bounded by the same number.
pub const COMMIT_WRITES: usize = 10_000;

/// Where the writer cuts a group, between commits, in bytes. One commit may be larger.
pub(crate) const GROUP_BYTES: usize = 4 << 20;

/// How many commits may wait for the writer; further ones wait for room.
pub(crate) const WAITING_COMMITS: usize = 1024;

/// How many reads may wait for one confirmation of the head; further ones wait for room.
pub(crate) const WAITING_READS: usize = 1024;

/// How much of the newest history is kept in memory for watches, in bytes of objects. Older history is read from the
/// journal.
pub(crate) const RING_BYTES: usize = 32 << 20;

/// How much of the journal is read at once.
pub(crate) const TAIL_BYTES: usize = 4 << 20;

/// History is kept at least so long,
pub const HISTORY_TIME: Duration = Duration::from_secs(600);

/// and at least so many versions.
pub const HISTORY_VERSIONS: u64 = 10_000;

/// How much history one step of compaction drops at most, in groups.
pub(crate) const COMPACTION_GROUPS: usize = 256;

/// The pause between two steps of compaction.
pub(crate) const COMPACTION_PAUSE: Duration = Duration::from_secs(1);

/// How far the clock of a commit id's maker may differ from the store's. An id is taken for fresh that long before and
/// after the store's clock reads its time, also where that clock has been set back. It is less than [`HISTORY_TIME`], so that an
/// id that may have been forgotten is told from a fresh one.
pub const COMMIT_ID_SKEW: Duration = Duration::from_secs(300);

/// How long a read waits for a version that has not been reached.
pub(crate) const FRESHNESS_WAIT: Duration = Duration::from_secs(3);
