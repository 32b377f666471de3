//! YAML (and JSON) with places.
//!
//! ```text
//! text --saphyr-parser--> events --+
//!                                  +--> builder --> Document { value, places and source texts }
//! text --json scanner------events--+
//! ```
//!
//! A [`Document`] is a JSON value that still knows where each key and value stood, and how a plain scalar was written:
//! `1.10`, `0x1F` and `yes` keep their text. Scalars mean what YAML 1.2's core schema says. The builder is a loop over
//! events with a stack of its own, so that nesting, alias expansion and size are refused by [`Limits`] before anything
//! recursive sees them.
//!
//! JSON is read by a scanner of its own rather than as the YAML it nearly is: YAML knows no surrogate pairs (`\ud83d\ude00`)
//! and ends a key at 1024 characters.
//!
//! serde_yaml, which is no longer developed, is used here only, and only to write.

mod builder;
mod error;
mod events;
mod json;
mod path;
mod scalar;
mod text;

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

pub use self::{
    error::{Error, Problem},
    path::{Path, PathSegment},
    text::decode,
};
pub use crate::issue::Place;

/// What a text may demand at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of text, and bytes of all strings after aliases are expanded. Default 4 MiB.
    pub bytes: usize,
    /// Mappings and lists within one another, aliases expanded. Default 100.
    pub depth: usize,
    /// Values and keys, aliases expanded. Default 500,000.
    pub nodes: usize,
    /// Documents of one text. Default 1000.
    pub documents: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 4 << 20, depth: 100, nodes: 500_000, documents: 1000 }
    }
}

/// One document: its value, and where all of it stood in its text.
#[derive(Clone, Debug)]
pub struct Document {
    /// The content.
    pub value: Value,
    node: Node,
}

/// Where a value stood, and what is in it.
#[derive(Clone, Debug)]
struct Node {
    place: Place,
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    /// A scalar; its text if it was written without quotes.
    Scalar(Option<Box<str>>),
    List(Vec<Node>),
    Map(BTreeMap<Box<str>, Field>),
}

#[derive(Clone, Debug)]
struct Field {
    key: Place,
    node: Node,
}

impl Document {
    /// A document that came from no text: it knows no places.
    pub fn without_places(value: Value) -> Self {
        Self { value, node: Node { place: Place { line: 0, column: 0 }, content: Content::Scalar(None) } }
    }

    /// Where the value at `path` begins; for a field of a mapping, where its key does.
    pub fn place(&self, path: &[PathSegment]) -> Option<Place> {
        let place = match path.split_last() {
            Some((PathSegment::Key(key), parent)) => match &self.find(parent)?.content {
                Content::Map(fields) => fields.get(key.as_str())?.key,
                Content::Scalar(_) | Content::List(_) => return None,
            },
            _ => self.find(path)?.place,
        };
        (place.line > 0).then_some(place)
    }

    /// The place of the nearest thing on the way to `path` that is there: of what is missing, its parent's.
    pub fn nearest_place(&self, path: &[PathSegment]) -> Option<Place> {
        (0..=path.len()).rev().find_map(|len| self.place(&path[..len]))
    }

    /// The text of the scalar at `path`, if it was written without quotes.
    pub fn source(&self, path: &[PathSegment]) -> Option<&str> {
        match &self.find(path)?.content {
            Content::Scalar(text) => text.as_deref(),
            Content::List(_) | Content::Map(_) => None,
        }
    }

    fn find(&self, path: &[PathSegment]) -> Option<&Node> {
        path.iter().try_fold(&self.node, |node, segment| match (&node.content, segment) {
            (Content::Map(fields), PathSegment::Key(key)) => fields.get(key.as_str()).map(|field| &field.node),
            (Content::List(items), PathSegment::Index(index)) => items.get(*index),
            _ => None,
        })
    }
}

/// Reads all documents of a YAML text. Documents without any content are left out.
///
/// # Errors
/// The first thing that is wrong, and where.
pub fn parse(text: &str, limits: &Limits) -> Result<Vec<Document>, Error> {
    events::parse(text::checked(text, limits)?, limits)
}

/// Reads a JSON text.
///
/// # Errors
/// The first thing that is wrong, and where.
pub fn parse_json(text: &str, limits: &Limits) -> Result<Document, Error> {
    json::parse(text::checked(text, limits)?, limits)
}

/// Writes a value as YAML. What is written reads again as the same value.
///
/// # Errors
/// When the value does not serialise, such as a mapping whose keys are no scalars.
pub fn to_string<T: Serialize + ?Sized>(value: &T) -> Result<String, WriteError> {
    serde_yaml::to_string(value).map_err(WriteError)
}

/// A value that cannot be written as YAML.
#[derive(Debug, thiserror::Error)]
#[error("cannot be written as YAML")]
pub struct WriteError(#[source] serde_yaml::Error);

#[cfg(test)]
mod tests;
