//! What can be wrong with a text.

use crate::issue::{Issue, Place};

/// What is wrong with a text, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct Error {
    /// Where.
    pub place: Place,
    /// What.
    pub problem: Problem,
}

/// What is wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// It does not parse.
    #[error("{0}")]
    Syntax(String),
    /// It is longer than allowed.
    #[error("the text is too large: at most {limit} bytes are allowed")]
    TooLarge {
        /// Bytes allowed.
        limit: usize,
    },
    /// It nests deeper than allowed.
    #[error("nested too deeply: at most {limit} levels are allowed")]
    TooDeep {
        /// Levels allowed.
        limit: usize,
    },
    /// It holds more values than allowed.
    #[error("too many values: at most {limit} are allowed")]
    TooManyNodes {
        /// Values allowed.
        limit: usize,
    },
    /// It holds more documents than allowed.
    #[error("too many documents: at most {limit} are allowed")]
    TooManyDocuments {
        /// Documents allowed.
        limit: usize,
    },
    /// Its aliases expand to more than allowed.
    #[error("aliases expand to too much: more than {nodes} values or {bytes} bytes")]
    Expansion {
        /// Values allowed.
        nodes: usize,
        /// Bytes allowed.
        bytes: usize,
    },
    /// An alias stands inside what it refers to.
    #[error("the alias refers to what it is a part of")]
    Recursive,
    /// A mapping says a key twice.
    #[error("the key {key:?} is there already, on {first}")]
    DuplicateKey {
        /// The key.
        key: String,
        /// Where it stood first.
        first: Place,
    },
    /// A key is no string.
    #[error("a key must be a string: {0}")]
    Key(String),
    /// A number that JSON does not have.
    #[error("{0} is no number that can be kept: it is infinite, undefined or too large")]
    NotFinite(String),
    /// A scalar that is not what its tag says, or a tag that means nothing here.
    #[error("{0}")]
    Tag(String),
    /// A merge key whose value is no mapping.
    #[error("`<<` takes a mapping or a list of mappings")]
    Merge,
    /// A character that no text may hold.
    #[error("the character U+{0:04X} is not allowed")]
    Character(u32),
    /// Bytes that are not UTF-8.
    #[error("the text is not UTF-8")]
    NotUtf8,
    /// UTF-16 or UTF-32.
    #[error("the text is {0}; save it as UTF-8")]
    Encoding(&'static str),
}

impl Error {
    pub(super) fn new(place: Place, problem: Problem) -> Self {
        Self { place, problem }
    }

    pub(super) fn syntax(place: Place, message: impl Into<String>) -> Self {
        Self::new(place, Problem::Syntax(message.into()))
    }
}

impl From<Error> for Issue {
    fn from(error: Error) -> Self {
        Self { path: String::new(), message: error.problem.to_string(), place: Some(error.place) }
    }
}
