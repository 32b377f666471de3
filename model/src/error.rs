//! How a call on a backend ends when it does not end well.

use std::sync::Arc;

use crate::{CommitId, Issue, Kind, ObjectKey, ResourceVersion, commit::CommitIdError, object::DecodeError};

/// A refused, failed or unsettled call.
///
/// A commit has three outcomes: done, refused (every variant but [`Unknown`](Self::Unknown)), and unknown.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ClientError {
    /// There is no such object.
    #[error("{0} not found")]
    NotFound(ObjectKey),
    /// There already is such an object.
    #[error("{0} already exists")]
    AlreadyExists(ObjectKey),
    /// The object is not as the precondition or check says.
    #[error("{key} {}", conflict(.expected, .current))]
    Conflict {
        /// Which object.
        key: ObjectKey,
        /// The version it should have had; `None` where it should have been absent or another incarnation.
        expected: Option<ResourceVersion>,
        /// The version it has; `None` where it is not there.
        current: Option<ResourceVersion>,
    },
    /// The lease is not held by the term this commit carries.
    #[error("{lease} is no longer held at epoch {epoch}")]
    NotLeader {
        /// The lease.
        lease: ObjectKey,
        /// The epoch the commit carried.
        epoch: ResourceVersion,
    },
    /// The object breaks its schema or its kind's rules.
    #[error("{key} is invalid: {}", listed(.issues))]
    Invalid {
        /// Which object.
        key: ObjectKey,
        /// All that is wrong with it.
        issues: Vec<Issue>,
    },
    /// The object is being deleted, and this write would hold it up or bring it back.
    #[error("{key} is being deleted: {refused} is refused")]
    BeingDeleted {
        /// Which object.
        key: ObjectKey,
        /// What was refused: `a new finalizer`.
        refused: String,
    },
    /// The object belongs to somebody else.
    #[error("{key} {whose}; rename it, or take it over with force")]
    OwnedElsewhere {
        /// Which object.
        key: ObjectKey,
        /// To whom: `belongs to the config "shop"`.
        whose: String,
    },
    /// The request makes no sense as it stands.
    #[error("{0}")]
    BadRequest(String),
    /// The registry knows no such kind.
    #[error("no kind {0} is registered here")]
    UnknownKind(Kind),
    /// The caller may not do this.
    #[error("{0}")]
    Forbidden(String),
    /// The caller is not known.
    #[error("{0}")]
    Unauthorized(String),
    /// An object or a commit is over its limit.
    #[error("{what} has {size} bytes, more than {limit}")]
    TooLarge {
        /// What is too large: an object's key, or the commit.
        what: String,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The version or commit id is older than the kept history.
    #[error("{what} is older than the kept history; the oldest version kept is {oldest}")]
    Expired {
        /// What was asked for.
        what: String,
        /// The oldest version that can be watched from.
        oldest: ResourceVersion,
    },
    /// The store or server cannot be reached now; nothing took effect.
    #[error("{0}")]
    Unavailable(String),
    /// Whether the commit took effect is not known; repeating it with its id settles that.
    #[error("the outcome of commit {id} is unknown: {reason}")]
    Unknown {
        /// The commit.
        id: CommitId,
        /// Why nobody knows.
        reason: String,
    },
    /// The store has stopped for good after a fault.
    #[error("the store has stopped: {0}")]
    Stopped(String),
    /// This backend cannot do this.
    #[error("{0}")]
    Unsupported(String),
    /// An object does not read as its type.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// An object does not write as JSON.
    #[error("an object does not serialise: {0}")]
    Encode(Arc<serde_json::Error>),
    /// A commit id that is none.
    #[error(transparent)]
    CommitId(#[from] CommitIdError),
}

impl ClientError {
    /// Whether the same call may well succeed later without any change to it.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Conflict { .. } | Self::Unavailable(_) | Self::Unknown { .. } | Self::Expired { .. })
    }

    /// Whether the object was not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound(_))
    }

    /// Whether the object was not as expected: a stale version, or one that is already there.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict { .. } | Self::AlreadyExists(_))
    }
}

impl From<serde_json::Error> for ClientError {
    fn from(error: serde_json::Error) -> Self {
        Self::Encode(Arc::new(error))
    }
}

fn conflict(expected: &Option<ResourceVersion>, current: &Option<ResourceVersion>) -> String {
    match (expected, current) {
        (Some(expected), Some(current)) => {
            format!("has moved: expected version {expected}, it is at {current}")
        }
        (Some(expected), None) => format!("is gone: expected version {expected}"),
        (None, Some(current)) => format!("is another than expected, at version {current}"),
        (None, None) => "is not as expected".to_owned(),
    }
}

fn listed(issues: &[Issue]) -> String {
    let shown: Vec<_> = issues.iter().map(|issue| format!("{}: {}", issue.path, issue.message)).collect();
    shown.join("; ")
}
