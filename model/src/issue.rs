//! One thing that is wrong, and where.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::yaml::Place;

/// Something wrong with an input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issue {
    /// Where in the object: `spec.services[0].ports[0].port`.
    pub path: String,
    /// What is wrong there.
    pub message: String,
    /// Where in the source, if it came from a text.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
}

impl Issue {
    /// An issue at a path; a leading dot of the path is dropped.
    pub fn at(path: impl Into<String>, message: impl Into<String>) -> Self {
        let path: String = path.into();
        Self { path: path.trim_start_matches('.').to_owned(), message: message.into(), place: None }
    }
}

impl fmt::Display for Issue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}
