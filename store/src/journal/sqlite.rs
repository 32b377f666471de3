//! The journal on an embedded SQLite file.
//!
//! ```text
//! writer connection       a group: one call holding its whole transaction, journal row and objects together
//! checkpoint connection   PASSIVE checkpoints beside the writer, so that no commit pays for one
//! reader connection       the tail for watches far behind, and the load at the start
//! ```
//!
//! The file is in WAL mode with `synchronous=FULL`: an append returns after the write-ahead log is on the disk. A lock
//! file beside it keeps a second control plane away, so the newest mark is known without asking.

mod checkpoint;
mod fault;
mod file;
mod lock;
mod schema;

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use orion_model::{Clock, Randomness};
use serde_json::{Value, json};
use sqlx::{ConnectOptions, Connection, Executor, Row as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use super::{
    Append, Effect, Entry, Error, Group, Identity, Journal, Loaded, Mark, Move, Nonce, Row, Seq, Tail, memory,
};
use checkpoint::Checkpoints;
pub use fault::Fault;
pub use file::OpenError;
use lock::Lock;

/// How long a statement waits for another program that has the file locked.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The largest group; a SQLite value could be larger.
const MAX_GROUP: usize = 64 << 20;

/// How many objects are read at once.
const LOAD_ROWS: i64 = 500;

/// How many kept groups are read at once, whatever their size.
const TAIL_ROWS: i64 = 1000;

/// So many free pages are left in the file for what comes next; more than that goes back to the disk,
const SPARE_PAGES: i64 = 4096;

/// in steps of so many.
const VACUUM_PAGES: i64 = 512;

/// The journal of a control plane on one machine.
#[derive(Clone)]
pub struct Sqlite {
    database: Arc<Database>,
    tasks: TaskTracker,
    /// Ends the checkpoints; so does the loss of the last handle, after which nobody could.
    closing: Arc<DropGuard>,
}

/// The open file.
struct Database {
    file: Arc<Path>,
    identity: Identity,
    writer: Slot,
    reader: Slot,
    newest: Mutex<Mark>,
    checkpoints: Checkpoints,
    lock: Mutex<Option<Lock>>,
}

/// A connection, until the journal is closed.
type Slot = tokio::sync::Mutex<Option<SqliteConnection>>;

impl Sqlite {
    /// Opens a state file, making it and its folders where they are missing.
    ///
    /// # Errors
    /// When the file is in use, read-only, corrupt, newer or another program's: the error says which and what to do.
    pub async fn open(path: impl AsRef<Path>, clock: &Clock, randomness: &Randomness) -> Result<Self, OpenError> {
        let file = file::prepare(path.as_ref())?;
        let lock = Lock::take(&file, clock.now())?;
        file::examine(&file)?;
        let fails = |error| OpenError::from_database(&file, error);
        let mut writer = options(&file).connect().await.map_err(fails)?;
        let base = memory::base_version(clock);
        let identity = schema::settle(&mut writer, &file, base, randomness).await?;
        let newest = read_newest(&mut writer).await.map_err(fails)?;
        let reader = options(&file).connect().await.map_err(fails)?;
        let checkpointer = options(&file).connect().await.map_err(fails)?;
        let database = Arc::new(Database {
            identity,
            writer: Slot::new(Some(writer)),
            reader: Slot::new(Some(reader)),
            newest: Mutex::new(newest),
            checkpoints: Checkpoints::new(file.clone()),
            lock: Mutex::new(Some(lock)),
            file,
        });
        let (tasks, closing) = (TaskTracker::new(), CancellationToken::new());
        let run = {
            let (database, closing) = (database.clone(), closing.clone());
            async move { database.checkpoints.run(checkpointer, closing).await }
        };
        tasks.spawn(run);
        Ok(Self { database, tasks, closing: Arc::new(closing.drop_guard()) })
    }
}

fn options(file: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file)
        .busy_timeout(BUSY_TIMEOUT)
        .page_size(schema::PAGE_SIZE)
        .auto_vacuum(sqlx::sqlite::SqliteAutoVacuum::Incremental)
        .synchronous(sqlx::sqlite::SqliteSynchronous::Full)
        .pragma("wal_autocheckpoint", "0")
        .pragma("journal_size_limit", checkpoint::WAL_LIMIT_BYTES.to_string())
        .disable_statement_logging()
}

async fn read_newest(connection: &mut SqliteConnection) -> Result<Mark, sqlx::Error> {
    let newest =
        sqlx::query("SELECT seq, nonce, (SELECT min(seq) FROM journal) FROM journal ORDER BY seq DESC LIMIT 1");
    let Some(row) = newest.fetch_optional(connection).await? else { return Ok(Mark::default()) };
    let oldest = seq(row.get(2));
    // The first group is still there: nothing has been dropped.
    let floor = if oldest == Seq::new(1) { Seq::ZERO } else { oldest };
    Ok(Mark { seq: seq(row.get(0)), nonce: nonce(row.get(1)), floor })
}

impl Database {
    fn newest(&self) -> Mark {
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_newest(&self, change: impl FnOnce(&mut Mark)) {
        change(&mut self.newest.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// How a statement's failure is told to the store. A failure of the disk is remembered: nothing is written after it.
    fn failed(&self, error: sqlx::Error) -> Error {
        let error = fault::classify(&self.file, error);
        if let Error::Stopped(source) = &error {
            self.checkpoints.break_down(source.clone());
        }
        error
    }

    async fn append(&self, after: Mark, group: Group) -> Result<Append, Error> {
        let mut slot = self.writer.lock().await;
        let connection = slot.as_mut().ok_or_else(|| fault::closed(&self.file))?;
        self.checkpoints.check()?;
        let newest = self.newest();
        if (newest.seq, newest.nonce) != (after.seq, after.nonce) {
            return Ok(Append::Taken);
        }
        self.checkpoints.restart_if_long(connection).await.map_err(|error| self.failed(error))?;
        let mark = Mark { seq: newest.seq.next(), nonce: group.nonce, floor: newest.floor };
        let bytes = group.body.len();
        let written = write_group(connection, mark, group).await;
        self.ended(connection, written).await?;
        self.set_newest(|newest| *newest = mark);
        self.checkpoints.written(bytes);
        Ok(Append::Done(mark))
    }

    /// Makes sure that no transaction stays open after a failure.
    async fn ended(&self, connection: &mut SqliteConnection, result: Result<(), sqlx::Error>) -> Result<(), Error> {
        let Err(error) = result else { return Ok(()) };
        let rolled_back = connection.execute("ROLLBACK").await;
        let error = self.failed(error);
        match rolled_back {
            // SQLite has rolled back by itself after some failures, and says so.
            Err(other) if !fault::is_no_transaction(&other) => Err(self.failed_for_good(other)),
            _ => Err(error),
        }
    }

    fn failed_for_good(&self, error: sqlx::Error) -> Error {
        let source = fault::source(&self.file, error);
        self.checkpoints.break_down(source.clone());
        Error::Stopped(source)
    }

    async fn compact(&self, floor: Seq) -> Result<(), Error> {
        let mut slot = self.writer.lock().await;
        let connection = slot.as_mut().ok_or_else(|| fault::closed(&self.file))?;
        self.checkpoints.check()?;
        let dropped = drop_before(connection, floor).await;
        self.ended(connection, dropped).await?;
        self.set_newest(|newest| newest.floor = newest.floor.max(floor));
        let vacuumed = vacuum(connection).await;
        self.ended(connection, vacuumed).await?;
        self.checkpoints.written(0);
        Ok(())
    }

    async fn tail(&self, after: Seq, max_bytes: usize) -> Result<Tail, Error> {
        let mut slot = self.reader.lock().await;
        let connection = slot.as_mut().ok_or_else(|| fault::closed(&self.file))?;
        let query = sqlx::query("SELECT seq, nonce, body FROM journal WHERE seq > $1 ORDER BY seq LIMIT $2");
        let mut rows = query.bind(number(after)).bind(TAIL_ROWS).fetch(connection);
        let mut entries: Vec<Entry> = Vec::new();
        let mut bytes = 0;
        while let Some(row) = rows.try_next().await.map_err(|error| fault::classify(&self.file, error))? {
            let body = Bytes::from(row.get::<Vec<u8>, _>(2));
            bytes += body.len();
            if bytes > max_bytes && !entries.is_empty() {
                break;
            }
            let mark = Mark { seq: seq(row.get(0)), nonce: nonce(row.get(1)), floor: Seq::ZERO };
            entries.push(Entry { mark, body });
        }
        drop(rows);
        let floor = self.newest().floor;
        let gap = match entries.first() {
            Some(first) => first.mark.seq > after.next(),
            None => after < floor,
        };
        if gap {
            return Ok(Tail::Compacted { floor });
        }
        entries.iter_mut().for_each(|entry| entry.mark.floor = floor);
        Ok(Tail::Dense(entries))
    }

    /// The next objects behind a row id, with their last row id.
    async fn rows(&self, after: i64) -> Result<(Vec<Row>, i64), Error> {
        let mut slot = self.reader.lock().await;
        let connection = slot.as_mut().ok_or_else(|| fault::closed(&self.file))?;
        let query = sqlx::query("SELECT id, api_group, kind, body FROM objects WHERE id > $1 ORDER BY id LIMIT $2");
        let found = query.bind(after).bind(LOAD_ROWS).fetch_all(connection).await;
        let found = found.map_err(|error| fault::classify(&self.file, error))?;
        let last = found.last().map_or(after, |row| row.get(0));
        let row = |row: &sqlx::sqlite::SqliteRow| Row {
            group: row.get(1),
            kind: row.get(2),
            body: row.get::<Vec<u8>, _>(3).into(),
        };
        Ok((found.iter().map(row).collect(), last))
    }

    async fn close(&self) {
        for slot in [&self.reader, &self.writer] {
            let Some(connection) = slot.lock().await.take() else { continue };
            if let Err(error) = connection.close().await {
                tracing::warn!(%error, file = %self.file.display(), "the state file did not close cleanly");
            }
        }
        self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// The whole transaction of a group in one call: its journal row, and its objects copied out of that row's body by
/// their places. A statement for each object would take three times as long.
///
/// Parameters are `$n`: sqlx counts `?n` over all statements together.
const WRITE_GROUP: &str = "
    BEGIN IMMEDIATE;
    INSERT INTO journal (seq, nonce, body) VALUES ($1, $2, $3);
    INSERT INTO objects (api_group, kind, namespace, name, version, body)
        SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4,
               CAST(substr($3, value ->> 5, value ->> 6) AS TEXT)
        FROM json_each($4) WHERE true
        ON CONFLICT (api_group, kind, namespace, name)
        DO UPDATE SET version = excluded.version, body = excluded.body;
    DELETE FROM objects WHERE (api_group, kind, namespace, name) IN
        (SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each($5));
    COMMIT;
";

async fn write_group(connection: &mut SqliteConnection, mark: Mark, group: Group) -> Result<(), sqlx::Error> {
    let (kept, gone): (Vec<_>, Vec<_>) = group.effects.iter().partition(|effect| effect.body.is_some());
    let query = sqlx::query(WRITE_GROUP)
        .bind(number(mark.seq))
        .bind(mark.nonce.0.cast_signed())
        .bind(Vec::from(group.body))
        .bind(Value::from_iter(kept.into_iter().map(place)).to_string())
        .bind(Value::from_iter(gone.into_iter().map(place)).to_string());
    query.execute(connection).await.map(drop)
}

/// The key of an object, its version, and where in the group its JSON stands, counted from 1.
fn place(effect: &Effect) -> Value {
    let Effect { key, version, body } = effect;
    let (start, length) = body.as_ref().map_or((0, 0), |range| (range.start + 1, range.len()));
    json!([key.kind.group(), key.kind.name(), *key.namespace, *key.name, version.get(), start, length])
}

async fn drop_before(connection: &mut SqliteConnection, floor: Seq) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM journal WHERE seq < $1").bind(number(floor)).execute(connection).await.map(drop)
}

/// Gives free pages back to the disk, a few at a time.
async fn vacuum(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let free: i64 = sqlx::query_scalar("PRAGMA freelist_count").fetch_one(&mut *connection).await?;
    let pages = (free - SPARE_PAGES).clamp(0, VACUUM_PAGES);
    if pages == 0 {
        return Ok(());
    }
    let statement = sqlx::AssertSqlSafe(format!("PRAGMA incremental_vacuum({pages})"));
    connection.execute(sqlx::raw_sql(statement)).await.map(drop)
}

fn number(seq: Seq) -> i64 {
    seq.get().cast_signed()
}

fn seq(number: i64) -> Seq {
    Seq::new(number.cast_unsigned())
}

fn nonce(number: i64) -> Nonce {
    Nonce(number.cast_unsigned())
}

impl Journal for Sqlite {
    const MATERIALISES_ON_APPEND: bool = true;

    fn identity(&self) -> Identity {
        self.database.identity.clone()
    }

    fn max_group(&self) -> usize {
        MAX_GROUP
    }

    async fn append(&self, after: Mark, group: Group) -> Result<Append, Error> {
        // To its end, whoever waits: a call that is dropped half-way would leave its transaction open.
        let database = self.database.clone();
        let appended = self.tasks.spawn(async move { database.append(after, group).await });
        appended.await.unwrap_or_else(|error| Err(fault::panicked(&self.database.file, &error)))
    }

    async fn tail(&self, after: Seq, max_bytes: usize) -> Result<Tail, Error> {
        self.database.tail(after, max_bytes).await
    }

    /// Nobody else writes, so the newest mark is at hand. After a fault of the disk it still is: whether the last group
    /// took effect is unknown to its writer, and a read may come before it or after it.
    async fn head(&self) -> Result<Mark, Error> {
        Ok(self.database.newest())
    }

    async fn load(&self) -> Result<Loaded, Error> {
        let database = self.database.clone();
        let pages = stream::try_unfold((database, 0), async |(database, after)| {
            let (rows, last) = database.rows(after).await?;
            Ok((!rows.is_empty()).then_some((rows, (database, last))))
        });
        let rows = pages.map_ok(|rows| stream::iter(rows.into_iter().map(Ok))).try_flatten();
        Ok((self.database.newest().seq, rows.boxed()))
    }

    async fn materialise(&self, _from: Seq, _to: Seq, _moves: Vec<Move>) -> Result<bool, Error> {
        // Each append has done it.
        Ok(true)
    }

    async fn compact(&self, floor: Seq) -> Result<(), Error> {
        let database = self.database.clone();
        let compacted = self.tasks.spawn(async move { database.compact(floor).await });
        compacted.await.unwrap_or_else(|error| Err(fault::panicked(&self.database.file, &error)))
    }

    fn doorbell(&self) -> BoxStream<'static, ()> {
        stream::pending().boxed()
    }

    async fn close(&self) {
        self.closing.token().cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.database.close().await;
    }
}

impl std::fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sqlite").field("file", &self.database.file).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
