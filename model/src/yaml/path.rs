//! The way from a document's root to one of its values.

use std::fmt;

/// One step: into a mapping by key, or into a list by index.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PathSegment {
    /// The value of a key.
    Key(String),
    /// An item, counted from 0.
    Index(usize),
}

impl From<&str> for PathSegment {
    fn from(key: &str) -> Self {
        Self::Key(key.to_owned())
    }
}

impl From<usize> for PathSegment {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

/// Steps from the root, shown as `spec.services[0].env[A.B]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(Vec<PathSegment>);

impl Path {
    /// The root.
    pub fn root() -> Self {
        Self::default()
    }

    /// One step further.
    #[must_use]
    pub fn join(&self, segment: impl Into<PathSegment>) -> Self {
        let mut longer = self.clone();
        longer.0.push(segment.into());
        longer
    }

    /// Steps one further in place.
    pub fn push(&mut self, segment: impl Into<PathSegment>) {
        self.0.push(segment.into());
    }

    /// Takes the last step back.
    pub fn pop(&mut self) -> Option<PathSegment> {
        self.0.pop()
    }

    /// The steps.
    pub fn segments(&self) -> &[PathSegment] {
        &self.0
    }

    /// Reads a path as it is shown.
    pub fn parse(text: &str) -> Self {
        let mut segments = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            rest = rest.strip_prefix('.').unwrap_or(rest);
            let bracketed = rest.strip_prefix('[').and_then(|inner| inner.split_once(']'));
            if let Some((inner, after)) = bracketed {
                segments.push(inner.parse().map_or_else(|_| PathSegment::from(inner), PathSegment::Index));
                rest = after;
                continue;
            }
            let end =
                rest.char_indices().skip(1).find(|(_, c)| matches!(c, '.' | '[')).map_or(rest.len(), |(at, _)| at);
            let (key, after) = rest.split_at(end);
            segments.push(PathSegment::from(key));
            rest = after;
        }
        Self(segments)
    }
}

impl FromIterator<PathSegment> for Path {
    fn from_iter<I: IntoIterator<Item = PathSegment>>(segments: I) -> Self {
        Self(segments.into_iter().collect())
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, segment) in self.0.iter().enumerate() {
            match segment {
                PathSegment::Index(index) => write!(f, "[{index}]")?,
                PathSegment::Key(key) if key.is_empty() || key.contains(['.', '[', ']']) => write!(f, "[{key}]")?,
                PathSegment::Key(key) if position == 0 => f.write_str(key)?,
                PathSegment::Key(key) => write!(f, ".{key}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_prints_as_it_reads() {
        for text in
            ["", "spec", "spec.services[0].ports[12].port", "spec.env[A.B]", "[0].a", "metadata.labels[orion/x.y].z"]
        {
            assert_eq!(Path::parse(text).to_string(), text);
        }
        let path = Path::root().join("spec").join("services").join(3).join("a.b");
        assert_eq!(path.to_string(), "spec.services[3][a.b]");
        assert_eq!(Path::parse(&path.to_string()), path);
    }

    #[test]
    fn reading_a_path_never_panics() {
        for text in ["[", "]", "..", "a..b", "[]", "a[", "é[ü]", ".[x"] {
            let _ = Path::parse(text).to_string();
        }
    }
}
