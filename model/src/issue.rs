//! What is wrong with an object or a file, and where.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A place in a source text; both count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// One thing that is wrong: the field's path, what is wrong with it, and where it stands if it came from a text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issue {
    /// The field, such as `spec.services[0].ports[0].port`; empty for the whole.
    pub path: String,
    /// What is wrong, as the end of a sentence that begins with the field.
    pub message: String,
    /// Where it stands in the source, as `line` and `column`.
    #[serde(flatten, default)]
    pub place: Option<Place>,
}

/// Something that is accepted, but not silently.
pub type Warning = Issue;

impl Issue {
    /// Something wrong with the field at `path`, which may begin with a dot.
    pub fn at(path: impl AsRef<str>, message: impl Into<String>) -> Self {
        Self { path: path.as_ref().trim_start_matches('.').to_owned(), message: message.into(), place: None }
    }

    /// This issue seen from further up: `parent` put before its path.
    #[must_use]
    pub fn under(mut self, parent: &str) -> Self {
        self.path = match (parent, self.path.as_str()) {
            ("", _) => self.path,
            (_, "") => parent.to_owned(),
            (_, path) if path.starts_with('[') => format!("{parent}{path}"),
            (_, path) => format!("{parent}.{path}"),
        };
        self
    }
}

impl fmt::Display for Issue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = self.place {
            write!(f, "{place}: ")?;
        }
        match self.path.as_str() {
            "" => f.write_str(&self.message),
            path => write!(f, "{path}: {}", self.message),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_issue_is_flat_on_the_wire_and_has_a_place_only_where_it_came_from_a_text() {
        let mut issue = Issue::at(".spec.url", "must begin with https://");
        assert_eq!(
            serde_json::to_value(&issue).expect("serialises"),
            json!({"path": "spec.url", "message": "must begin with https://"})
        );
        assert_eq!(issue.to_string(), "spec.url: must begin with https://");
        issue.place = Some(Place { line: 3, column: 7 });
        let wire = json!({"path": "spec.url", "message": "must begin with https://", "line": 3, "column": 7});
        assert_eq!(serde_json::to_value(&issue).expect("serialises"), wire);
        assert_eq!(serde_json::from_value::<Issue>(wire).expect("reads"), issue);
        assert_eq!(issue.to_string(), "line 3, column 7: spec.url: must begin with https://");
    }

    #[test]
    fn an_issue_moves_under_its_parent() {
        assert_eq!(Issue::at("port", "").under("ports[0]").under("spec").path, "spec.ports[0].port");
        assert_eq!(Issue::at("[1]", "").under("ports").path, "ports[1]");
        assert_eq!(Issue::at("", "").under("spec").path, "spec");
    }
}
