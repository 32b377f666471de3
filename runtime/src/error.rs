//! What a reconcile fails with: any error, and whether to try again.

use std::fmt;

type Source = Box<dyn std::error::Error + Send + Sync + 'static>;

/// The result of a reconcile and of what it calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Any error, and whether it ends the retries.
///
/// It takes every [`std::error::Error`] by `?`, and therefore is none itself.
pub struct Error {
    source: Source,
    terminal: bool,
}

impl Error {
    /// An error to be retried, from an error or a message.
    pub fn new(source: impl Into<Source>) -> Self {
        Self { source: source.into(), terminal: false }
    }

    /// An error that no retry mends: the key runs again only when something changes.
    pub fn terminal(source: impl Into<Source>) -> Self {
        Self { source: source.into(), terminal: true }
    }

    /// Whether retrying is of no use.
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// The first error of this type in the chain of sources.
    pub fn find<E: std::error::Error + 'static>(&self) -> Option<&E> {
        let first: &(dyn std::error::Error + 'static) = self.source.as_ref();
        std::iter::successors(Some(first), |error| error.source()).find_map(|error| error.downcast_ref())
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        Self { source: Box::new(error), terminal: false }
    }
}

impl fmt::Display for Error {
    /// The whole chain, outermost first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.source)?;
        for cause in std::iter::successors(self.source.source(), |error| error.source()) {
            write!(f, ": {cause}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error").field("source", &self.source).field("terminal", &self.terminal).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] std::num::ParseIntError);

    fn failing() -> Result<()> {
        Err(Outer("x".parse::<u8>().expect_err("x is no number")))?;
        Ok(())
    }

    #[test]
    fn any_error_comes_in_by_question_mark_and_is_found_again() {
        let error = failing().expect_err("it fails");
        assert!(!error.is_terminal());
        assert!(error.find::<Outer>().is_some());
        assert!(error.find::<std::num::ParseIntError>().is_some(), "sources are searched too");
        assert!(error.find::<fmt::Error>().is_none());
        assert_eq!(error.to_string(), "outer: invalid digit found in string");
    }

    #[test]
    fn k4_a_terminal_error_says_so() {
        assert!(Error::terminal("the region does not exist").is_terminal());
        assert!(!Error::new("try again").is_terminal());
    }
}
