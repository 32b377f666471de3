//! What stands in a state file, and how it is made.

use std::path::Path;

use orion_model::{Randomness, ResourceVersion};
use sqlx::{Executor, SqliteConnection};

use super::{super::Identity, OpenError};

/// `Orio`: says that a SQLite file is ours.
pub(super) const APPLICATION_ID: i32 = 0x4f72_696f;

/// The newest format this program reads, and the one it writes.
const FORMAT: i64 = 1;

/// The size of a page in bytes; set before the first table is made.
pub(super) const PAGE_SIZE: u32 = 4096;

/// Everything in one transaction: a crash leaves all of it or an empty file. The numbers are [`APPLICATION_ID`] and
/// [`FORMAT`].
const CREATE: &str = "
    BEGIN IMMEDIATE;
    PRAGMA application_id = 1332898159;
    PRAGMA user_version = 1;
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE journal (seq INTEGER PRIMARY KEY, nonce INTEGER NOT NULL, body BLOB NOT NULL) STRICT;
    CREATE TABLE objects (
        id INTEGER PRIMARY KEY,
        api_group TEXT NOT NULL,
        kind TEXT NOT NULL,
        namespace TEXT NOT NULL,
        name TEXT NOT NULL,
        version INTEGER NOT NULL,
        body TEXT NOT NULL,
        UNIQUE (api_group, kind, namespace, name)
    ) STRICT;
    INSERT INTO meta (key, value) VALUES ('format', '1'), ('epoch', '0'), ('cluster', $1), ('base', $2);
    COMMIT;
";

/// Makes what is missing, refuses what is newer, and says which journal this is.
pub(super) async fn settle(
    connection: &mut SqliteConnection,
    file: &Path,
    base: ResourceVersion,
    randomness: &Randomness,
) -> Result<Identity, OpenError> {
    let fails = |error| OpenError::from_database(file, error);
    let tables: i64 =
        sqlx::query_scalar("SELECT count(*) FROM sqlite_schema").fetch_one(&mut *connection).await.map_err(fails)?;
    if tables == 0 {
        let create = sqlx::query(CREATE).bind(randomness.uuid()).bind(base.to_string());
        create.execute(&mut *connection).await.map_err(fails)?;
    }
    let user_version: i64 =
        sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *connection).await.map_err(fails)?;
    refuse_newer(file, user_version)?;
    refuse_newer(file, meta_number(connection, file, "format").await?)?;
    // The mode stays with the file, so it is set only once the file is known to be ours.
    connection.execute("PRAGMA journal_mode = WAL").await.map_err(fails)?;
    Ok(Identity {
        cluster: meta(connection, file, "cluster").await?,
        epoch: meta_number(connection, file, "epoch").await?,
        base: ResourceVersion::new(meta_number(connection, file, "base").await?),
    })
}

fn refuse_newer(file: &Path, found: i64) -> Result<(), OpenError> {
    if found > FORMAT { Err(OpenError::Newer { file: file.into(), found, known: FORMAT }) } else { Ok(()) }
}

async fn meta(connection: &mut SqliteConnection, file: &Path, key: &'static str) -> Result<String, OpenError> {
    let query = sqlx::query_scalar("SELECT value FROM meta WHERE key = $1").bind(key);
    let value = query.fetch_optional(connection).await.map_err(|error| OpenError::from_database(file, error))?;
    value.ok_or_else(|| OpenError::Corrupt { file: file.into(), message: format!("meta has no {key}") })
}

async fn meta_number<N: std::str::FromStr>(
    connection: &mut SqliteConnection,
    file: &Path,
    key: &'static str,
) -> Result<N, OpenError> {
    let text = meta(connection, file, key).await?;
    let message = format!("{key} in meta is {text:?}, which is no number");
    text.parse().map_err(|_| OpenError::Corrupt { file: file.into(), message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_statements_carry_the_constants() {
        assert!(CREATE.contains(&format!("application_id = {APPLICATION_ID};")));
        assert!(CREATE.contains(&format!("user_version = {FORMAT};")));
        assert!(CREATE.contains(&format!("('format', '{FORMAT}')")));
    }
}
