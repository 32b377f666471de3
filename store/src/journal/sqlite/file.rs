//! The state file before it is opened: made where it is missing, refused where it is not ours to write.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    fault::{code, primary_code},
    schema,
};

/// What every SQLite file begins with.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Where the application id stands in a SQLite file (<https://www.sqlite.org/fileformat.html>).
const APPLICATION_ID: std::ops::Range<usize> = 68..72;

/// A state file that cannot be used. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another control plane runs on it.
    #[error(
        "{file} is in use by process {pid} on {host} since {since}: stop that one first, or use another state file"
    )]
    InUse {
        /// The file.
        file: PathBuf,
        /// The process that has it.
        pid: u32,
        /// The machine it runs on.
        host: String,
        /// When it took it.
        since: String,
    },
    /// It is not a database.
    #[error("{0} is no SQLite database: move it away, or use another state file")]
    NotADatabase(PathBuf),
    /// It is another program's database.
    #[error("{0} is the database of another program: use another state file")]
    Foreign(PathBuf),
    /// A newer program has written it.
    #[error(
        "{file} has format {found}, and this program knows up to {known}: use the program that wrote it, or a newer one"
    )]
    Newer {
        /// The file.
        file: PathBuf,
        /// Its format.
        found: i64,
        /// The newest format this program reads.
        known: i64,
    },
    /// It may not be written.
    #[error("{0} is read-only: make it writable for this user, or use another state file")]
    ReadOnly(PathBuf),
    /// It is damaged.
    #[error("{file} is corrupt ({message}): restore a backup, or begin with another state file")]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// What SQLite says.
        message: String,
    },
    /// It, its folder or its lock file cannot be made or read.
    #[error("{file} cannot be opened: {source}")]
    Io {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// SQLite fails on it in another way.
    #[error("{file} cannot be opened: {source}")]
    Database {
        /// The file.
        file: PathBuf,
        /// What SQLite says.
        source: sqlx::Error,
    },
}

impl OpenError {
    pub(super) fn io(file: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => Self::ReadOnly(file.into()),
            _ => Self::Io { file: file.into(), source },
        }
    }

    pub(super) fn from_database(file: &Path, source: sqlx::Error) -> Self {
        match primary_code(&source) {
            Some(code::NOTADB) => Self::NotADatabase(file.into()),
            Some(code::CORRUPT) => Self::Corrupt { file: file.into(), message: source.to_string() },
            Some(code::READONLY) => Self::ReadOnly(file.into()),
            _ => Self::Database { file: file.into(), source },
        }
    }
}

/// Makes the file and its folders where they are missing, for this user alone.
pub(super) fn prepare(path: &Path) -> Result<Arc<Path>, OpenError> {
    // An absolute path is never taken for a URI, and stays the same when the process changes its folder.
    let file = std::path::absolute(path).map_err(|error| OpenError::io(path, error))?;
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).map_err(|error| OpenError::io(folder, error))?;
    }
    // Without any permission to write it is read-only even for those who need none.
    if fs::metadata(&file).is_ok_and(|metadata| metadata.permissions().readonly()) {
        return Err(OpenError::ReadOnly(file));
    }
    let made = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&file);
    made.map_err(|error| OpenError::io(&file, error))?;
    // Whatever links lead to it, its lock file stands beside the file itself.
    let file = fs::canonicalize(&file).map_err(|error| OpenError::io(&file, error))?;
    Ok(file.into())
}

/// Refuses what is no database or another program's, before SQLite touches it.
pub(super) fn examine(file: &Path) -> Result<(), OpenError> {
    let mut header = Vec::new();
    let read = File::open(file).and_then(|opened| opened.take(100).read_to_end(&mut header));
    read.map_err(|error| OpenError::io(file, error))?;
    if header.is_empty() {
        return Ok(());
    }
    if !header.starts_with(MAGIC) {
        return Err(OpenError::NotADatabase(file.into()));
    }
    match header.get(APPLICATION_ID) {
        Some(id) if id == schema::APPLICATION_ID.to_be_bytes() => Ok(()),
        _ => Err(OpenError::Foreign(file.into())),
    }
}
