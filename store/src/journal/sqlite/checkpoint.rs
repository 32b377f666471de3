//! Moves what stands in the write-ahead log into the file, beside the writer: a COMMIT that had to do it would take
//! several times as long.

use std::{
    path::Path,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use sqlx::{Connection, Row, SqliteConnection};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{
    super::{Error, Source},
    fault, schema,
};

/// A checkpoint is made about every so many pages.
const CHECKPOINT_PAGES: u64 = 1000;

/// A log that has grown beyond so many pages, because the checkpoints never caught up, is begun anew by the writer.
const RESTART_PAGES: u64 = 16_384;

/// What is left of the log's file when it is begun anew.
pub(super) const WAL_LIMIT_BYTES: u64 = RESTART_PAGES * schema::PAGE_SIZE as u64;

/// About how many pages a group touches beside its bytes: leaves of the journal, the objects and their index.
const PAGES_A_GROUP: u64 = 5;

/// The state of the log, and of the file it belongs to.
pub(super) struct Checkpoints {
    file: Arc<Path>,
    /// About how many pages have been written since the last checkpoint.
    written: AtomicU64,
    /// How long the log was at the last checkpoint that did not reach its end; zero after one that did.
    length: AtomicU64,
    wake: Notify,
    broken: OnceLock<Source>,
}

impl Checkpoints {
    pub(super) fn new(file: Arc<Path>) -> Self {
        Self {
            file,
            written: AtomicU64::new(0),
            length: AtomicU64::new(0),
            wake: Notify::new(),
            broken: OnceLock::new(),
        }
    }

    /// Notes that the disk has failed.
    pub(super) fn break_down(&self, source: Source) {
        // The first failure is the one to tell.
        self.broken.set(source).ok();
    }

    /// Refuses once the disk has failed.
    pub(super) fn check(&self) -> Result<(), Error> {
        self.broken.get().map_or(Ok(()), |source| Err(Error::Stopped(source.clone())))
    }

    /// Notes that a group of so many bytes, which stand in the journal and as objects, has been written.
    pub(super) fn written(&self, bytes: usize) {
        let pages = PAGES_A_GROUP + 2 * bytes as u64 / u64::from(schema::PAGE_SIZE);
        if self.written.fetch_add(pages, Ordering::Relaxed) + pages >= CHECKPOINT_PAGES {
            self.wake.notify_one();
        }
    }

    /// Begins the log anew where it has grown too long; for the writer, between two groups.
    pub(super) async fn restart_if_long(&self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        if self.length.load(Ordering::Relaxed) <= RESTART_PAGES {
            return Ok(());
        }
        self.length.store(0, Ordering::Relaxed);
        sqlx::query("PRAGMA wal_checkpoint(RESTART)").fetch_one(connection).await.map(drop)
    }

    /// Makes checkpoints until the journal is closed.
    pub(super) async fn run(&self, mut connection: SqliteConnection, closing: CancellationToken) {
        loop {
            tokio::select! {
                biased;
                () = closing.cancelled() => break,
                () = self.wake.notified() => {}
            }
            self.written.store(0, Ordering::Relaxed);
            match checkpoint(&mut connection).await {
                Ok(left) => self.length.store(left, Ordering::Relaxed),
                Err(error) => self.failed(error),
            }
        }
        if let Err(error) = connection.close().await {
            tracing::warn!(%error, file = %self.file.display(), "the connection for checkpoints did not close cleanly");
        }
    }

    fn failed(&self, error: sqlx::Error) {
        match fault::classify(&self.file, error) {
            Error::Stopped(source) => {
                tracing::error!(%source, "a checkpoint has failed");
                self.break_down(source);
            }
            // Nothing is lost: it all stands in the log, and the next checkpoint tries again.
            Error::Refused(source) | Error::Unavailable(source) => tracing::warn!(%source, "a checkpoint has to wait"),
        }
    }
}

/// Moves what can be moved without waiting; gives the length of the log in pages, zero if all of it was moved.
async fn checkpoint(connection: &mut SqliteConnection) -> Result<u64, sqlx::Error> {
    let row = sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").fetch_one(connection).await?;
    let (length, moved): (i64, i64) = (row.get(1), row.get(2));
    Ok(if moved >= length { 0 } else { u64::try_from(length).unwrap_or_default() })
}
