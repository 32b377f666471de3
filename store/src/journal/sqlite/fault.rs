//! What SQLite's failures mean for a store.

use std::{path::Path, sync::Arc};

use crate::journal::{Error, Source};

/// A failure of the state file.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// There is no room; it goes on when there is.
    #[error("the disk is full: {file} cannot grow")]
    DiskFull {
        /// The file.
        file: String,
    },
    /// Another program holds a lock on it; it goes on when that is gone.
    #[error("{file} is locked by another program")]
    Locked {
        /// The file.
        file: String,
    },
    /// It cannot be written any more, though nothing is wrong with what stands in it.
    #[error("{file} cannot be written: {message}")]
    Refused {
        /// The file.
        file: String,
        /// What SQLite says.
        message: String,
    },
    /// The disk failed, or the file is damaged; what was being written may or may not stand.
    #[error("{file} has failed: {message}")]
    Broken {
        /// The file.
        file: String,
        /// What SQLite says.
        message: String,
    },
    /// The journal was closed.
    #[error("{file} is closed")]
    Closed {
        /// The file.
        file: String,
    },
}

/// SQLite's primary result codes (<https://www.sqlite.org/rescode.html>).
pub(super) mod code {
    pub(crate) const BUSY: i32 = 5;
    pub(crate) const LOCKED: i32 = 6;
    pub(crate) const READONLY: i32 = 8;
    pub(crate) const CORRUPT: i32 = 11;
    pub(crate) const FULL: i32 = 13;
    pub(crate) const TOOBIG: i32 = 18;
    pub(crate) const NOTADB: i32 = 26;
}

/// The primary result code of a failure, if it is SQLite's.
pub(super) fn primary_code(error: &sqlx::Error) -> Option<i32> {
    let extended: i32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(extended & 0xff)
}

/// How a failure is told to the store. What is not known to be harmless ends it.
pub(super) fn classify(file: &Path, error: sqlx::Error) -> Error {
    let name = file.display().to_string();
    let source = |fault| -> Source { Arc::new(fault) };
    match primary_code(&error) {
        Some(code::FULL) => Error::Refused(source(Fault::DiskFull { file: name })),
        Some(code::BUSY | code::LOCKED) => Error::Refused(source(Fault::Locked { file: name })),
        Some(code::READONLY | code::TOOBIG) => {
            Error::Refused(source(Fault::Refused { file: name, message: error.to_string() }))
        }
        _ => Error::Stopped(self::source(file, error)),
    }
}

/// A failure after which nothing more is written.
pub(super) fn source(file: &Path, error: sqlx::Error) -> Source {
    Arc::new(Fault::Broken { file: file.display().to_string(), message: error.to_string() })
}

/// The answer of a closed journal.
pub(super) fn closed(file: &Path) -> Error {
    Error::Refused(Arc::new(Fault::Closed { file: file.display().to_string() }))
}

/// A task that did not reach its end.
pub(super) fn panicked(file: &Path, error: &tokio::task::JoinError) -> Error {
    Error::Stopped(Arc::new(Fault::Broken { file: file.display().to_string(), message: error.to_string() }))
}

/// Whether a ROLLBACK failed only because there was nothing to roll back.
pub(super) fn is_no_transaction(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.message().contains("no transaction is active"))
}
