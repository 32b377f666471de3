//! The data directory: private to its user, since it holds the token.

use std::{io, os::unix::fs::DirBuilderExt, path::Path};

use crate::failure::Failure;

/// Makes it, where it is not there.
pub(crate) fn make(dir: &Path) -> Result<(), Failure> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|error| unusable(dir, &error))
}

/// What to say where it cannot be used.
pub(crate) fn unusable(dir: &Path, error: &io::Error) -> Failure {
    let hint = "; --data-dir names another";
    Failure::refused(format!("the data directory {} cannot be used: {error}{hint}", dir.display()))
}
