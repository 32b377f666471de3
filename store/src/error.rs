//! How opening a store fails, and how a journal's failures look to clients.

use orion_model::{ClientError, registry::DefinitionError};

use crate::journal;

/// A store that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The registry does not fit together.
    #[error("the kinds do not fit together")]
    Registry(#[from] DefinitionError),
    /// The journal does not read.
    #[error(transparent)]
    Journal(#[from] journal::Error),
    /// The SQLite file cannot be used.
    #[cfg(feature = "sqlite")]
    #[error(transparent)]
    Sqlite(#[from] journal::sqlite::OpenError),
}

/// A journal's failure, for a caller whose request had no effect.
pub(crate) fn without_effect(error: journal::Error) -> ClientError {
    match error {
        journal::Error::Refused(source) | journal::Error::Unavailable(source) => {
            ClientError::Unavailable(source.to_string())
        }
        journal::Error::Stopped(source) => ClientError::Stopped(source.to_string()),
    }
}
