//! What a writer asks of a store: one atomic commit over any number of objects and kinds.

use std::{fmt, str::FromStr};

use serde_json::Value;

use crate::{ObjectKey, Randomness, ResourceVersion, Timestamp, Uid, object::Stored};

/// The identity of a commit: its time and a random number. Repeating a commit with its id takes effect at most once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitId {
    millis: i64,
    random: u64,
}

impl CommitId {
    /// A fresh id.
    pub fn fresh(now: Timestamp, randomness: &Randomness) -> Self {
        Self { millis: now.as_millis(), random: randomness.u64() }
    }

    /// When it was made, by its maker's clock.
    pub fn time(&self) -> Timestamp {
        Timestamp::from_millis(self.millis)
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:016x}", self.millis, self.random)
    }
}

/// A text that is no commit id.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0:?} is not a commit id: milliseconds, a dash, 16 hexadecimal digits")]
pub struct CommitIdError(String);

impl FromStr for CommitId {
    type Err = CommitIdError;

    fn from_str(text: &str) -> Result<Self, CommitIdError> {
        let error = || CommitIdError(text.to_owned());
        let (millis, random) = text.split_once('-').ok_or_else(error)?;
        let millis = millis.parse().map_err(|_| error())?;
        let random = u64::from_str_radix(random, 16).map_err(|_| error())?;
        Ok(Self { millis, random })
    }
}

/// Which part of an object a write may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Everything but the status; the status a writer sends is ignored.
    Main,
    /// The status only.
    Status,
    /// Both, with one version and one event.
    Whole,
}

/// What a write does. Patches are evaluated by the store against the current state, so they are never stale.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Makes the object; it must not be there. A status in the body is dropped.
    Create(Value),
    /// Makes the object with its status.
    CreateWhole(Value),
    /// Replaces a part of the object.
    Replace(Value, Part),
    /// Applies a JSON merge patch (RFC 7396) to a part of the object.
    Merge(Value, Part),
    /// Asks for its deletion: it goes now, or when its last finalizer does.
    Delete,
}

/// What must be true of the object that a write is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Precondition {
    /// Its version, as it was read. Judged before the commit's own writes.
    pub version: Option<ResourceVersion>,
    /// Its incarnation.
    pub uid: Option<Uid>,
}

impl Precondition {
    /// Nothing must be true.
    pub const NONE: Self = Self { version: None, uid: None };

    /// The object must be at this version.
    pub const fn version(version: ResourceVersion) -> Self {
        Self { version: Some(version), uid: None }
    }
}

/// One write of a commit. Several of one object act in turn and make one version and one event.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// Which object; on create the name may be empty where the body has a `generateName`.
    pub key: ObjectKey,
    /// What to do.
    pub op: Op,
    /// What must be true of it.
    pub precondition: Precondition,
}

/// What must be true elsewhere for a commit to take effect; judged in the same atomic append as its writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// The object is still at this version.
    Unchanged(ObjectKey, ResourceVersion),
    /// There is no such object.
    Absent(ObjectKey),
    /// The lease is held by this epoch: the version of the write that acquired it.
    Lease(ObjectKey, ResourceVersion),
}

/// An atomic batch of writes and checks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Commit {
    /// Its identity; the client gives a fresh one where there is none.
    pub id: Option<CommitId>,
    /// What must be true for it to take effect.
    pub checks: Vec<Check>,
    /// What it changes, in order.
    pub writes: Vec<Write>,
    /// Judge it and answer, but change nothing.
    pub dry_run: bool,
}

impl Commit {
    /// A commit of one write.
    pub fn of(key: ObjectKey, op: Op, precondition: Precondition) -> Self {
        Self { writes: vec![Write { key, op, precondition }], ..Self::default() }
    }
}

/// What one write came to.
#[derive(Clone, Debug)]
pub struct Written {
    /// The object after the commit; for one that is gone, its last state with the version of its deletion.
    pub object: Stored,
    /// Whether the object is gone.
    pub gone: bool,
}

/// A commit that took effect.
#[derive(Clone, Debug)]
pub struct Committed {
    /// Its identity.
    pub id: CommitId,
    /// The versions it made, `None` where nothing changed or it was a dry run. Caches that have passed `last` hold it.
    pub versions: Option<Versions>,
    /// One result for each write, in order.
    pub results: Vec<Written>,
}

/// A contiguous range of versions, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// The first.
    pub first: ResourceVersion,
    /// The last.
    pub last: ResourceVersion,
}

impl Committed {
    /// The object of a commit of one write.
    pub fn into_single(mut self) -> Option<Written> {
        self.results.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_id_reads_back_from_its_text() {
        let id = CommitId::fresh(Timestamp::from_millis(1_790_000_000_123), &Randomness::seeded(1));
        assert_eq!(id.to_string().parse::<CommitId>().expect("it parses"), id);
        for bad in ["", "1", "x-1", "1-zz"] {
            assert!(bad.parse::<CommitId>().is_err(), "{bad}");
        }
    }
}
