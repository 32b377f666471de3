//! What a reconcile that succeeded wants next.

use std::{
    borrow::Cow,
    fmt,
    time::{Duration, SystemTime},
};

use serde::{Serialize, Serializer};

/// What comes next for a key whose run succeeded. Failures are errors: [`Error`](crate::Error).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing, until something changes.
    Done,
    /// Another run after so long, or earlier if something changes.
    After(Duration),
    /// Another run at that time of the client's clock, or earlier if something changes.
    At(SystemTime),
    /// Nothing, until something changes; the reason is shown by `why` until the next run.
    Waiting(Reason),
}

impl Action {
    /// Waiting, with the reason.
    pub fn waiting(reason: impl Into<Reason>) -> Self {
        Self::Waiting(reason.into())
    }
}

/// Why something is so: a word or a sentence.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reason(Cow<'static, str>);

impl Reason {
    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&'static str> for Reason {
    fn from(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

impl From<String> for Reason {
    fn from(text: String) -> Self {
        Self(Cow::Owned(text))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}
