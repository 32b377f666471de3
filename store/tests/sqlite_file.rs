//! What a state file goes through: reopened, in use, foreign, newer, read-only, damaged, full.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use futures::StreamExt;
use orion_model::{
    Client, ClientError, Clock, Commit, CommitId, Object, Op, Precondition, Randomness, Registry, Resource, Selection,
    Watch, Whole, backend::Event,
};
use orion_store::{
    OpenError, Sqlite, Store,
    journal::{Append, Group, Journal, Nonce, sqlite::OpenError as FileError},
    suite::{Widget, registry, widget, zone},
};
use tempfile::TempDir;

fn state_file() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("state.sqlite");
    (folder, file)
}

async fn open(file: &Path) -> Store<Sqlite> {
    orion_store::sqlite(file, registry()).await.expect("it opens")
}

async fn refused(file: &Path) -> FileError {
    match orion_store::sqlite(file, registry()).await {
        Err(OpenError::Sqlite(error)) => error,
        other => panic!("a refusal was expected, not {other:?}"),
    }
}

/// Runs SQL on a closed state file, as another program would.
async fn with_sql(file: &Path, sql: &'static str) {
    use sqlx::{ConnectOptions, Connection, Executor};
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file).create_if_missing(true);
    let mut connection = options.connect().await.expect("it connects");
    connection.execute(sql).await.expect("it runs");
    connection.close().await.expect("it closes");
}

fn with_id(client: &Client, name: &str) -> Commit {
    let made = widget(name);
    let op = Op::Create(made.encode().expect("it encodes"));
    let id = CommitId::fresh(client.clock().now(), client.randomness());
    Commit { id: Some(id), ..Commit::of(made.object_key(), op, Precondition::NONE) }
}

#[tokio::test]
async fn s1_a_reopened_store_holds_all_that_was_acknowledged() {
    let (_folder, file) = state_file();
    let store = open(&file).await;
    let client = store.client();
    let kept = client.create(&widget("kept").with_label("app", "web")).await.expect("it is made");
    let changed = client.edit(&kept, |widget| widget.spec.note = "x".into()).await.expect("it is changed");
    let gone = client.create(&zone("gone")).await.expect("it is made");
    client.delete(&gone).await.expect("it is deleted");
    let identity = store.identity();
    store.close().await;

    let store = open(&file).await;
    let client = store.client();
    let read = client.get(&kept.key()).await.expect("it answers").expect("it is there");
    assert_eq!((&read.metadata, &read.spec, &read.status), (&changed.metadata, &changed.spec, &changed.status));
    assert!(client.list::<orion_store::suite::Zone>().await.expect("it lists").is_empty());
    assert_eq!(store.identity(), identity);
    let next = client.create(&widget("next")).await.expect("it goes on");
    assert!(next.version() > gone.version(), "s3: versions go on rising");
    store.close().await;
}

#[tokio::test]
async fn s5_a_watch_goes_on_from_its_version_after_a_restart() {
    let (_folder, file) = state_file();
    let store = open(&file).await;
    let first = store.client().create(&widget("a")).await.expect("it is made");
    let second = store.client().create(&widget("b")).await.expect("it is made");
    store.close().await;
    let store = open(&file).await;
    let from = Watch::after(vec![Selection::all(Widget::KIND)], first.version());
    let mut seen = store.client().watch(from).await.expect("it is kept");
    let Some(Ok(Event::Commit { version, changes })) = seen.next().await else { panic!("an event was expected") };
    assert_eq!((version, changes.len()), (second.version(), 1));
    store.close().await;
    let end = seen.next().await;
    assert!(matches!(end, Some(Err(ClientError::Unavailable(_)))), "a closed store ends its watches: {end:?}");
}

#[tokio::test]
async fn s6_a_commit_repeated_after_a_restart_is_not_made_again() {
    let (_folder, file) = state_file();
    let store = open(&file).await;
    let commit = with_id(&store.client(), "a");
    let first = store.client().commit(commit.clone()).await.expect("it is made");
    store.close().await;
    let store = open(&file).await;
    let again = store.client().commit(commit).await.expect("it was made");
    assert_eq!(again.versions, first.versions);
    assert_eq!(again.results[0].object.body(), first.results[0].object.body());
    store.close().await;
}

#[tokio::test]
async fn s3_an_empty_store_keeps_its_first_version() {
    let (_folder, file) = state_file();
    let mut versions = Vec::new();
    for _ in 0..2 {
        let store = open(&file).await;
        let list = orion_model::List::all(Selection::all(Widget::KIND));
        versions.push(store.client().list_raw(list).await.expect("it lists").version);
        store.close().await;
    }
    assert_eq!(versions[0], versions[1]);
}

#[tokio::test]
async fn a_kind_that_is_not_registered_today_is_kept() {
    let (_folder, file) = state_file();
    let store = open(&file).await;
    let made = store.client().create(&widget("a")).await.expect("it is made");
    store.close().await;
    let poorer = orion_store::sqlite(&file, Registry::new()).await.expect("it opens without the kind");
    assert!(matches!(poorer.client().get(&made.key()).await, Err(ClientError::UnknownKind(_))));
    poorer.close().await;
    let store = open(&file).await;
    assert_eq!(store.client().get(&made.key()).await.expect("it answers").map(|w| w.metadata), Some(made.metadata));
    store.close().await;
}

#[tokio::test]
async fn the_file_and_its_folders_are_made_for_this_user_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("deep/er/state.sqlite");
    let store = open(&file).await;
    store.client().create(&widget("a")).await.expect("it is made");
    for made in [file.clone(), with_suffix(&file, "-wal"), with_suffix(&file, ".lock")] {
        let mode = fs::metadata(&made).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", made.display());
    }
    store.close().await;
}

fn with_suffix(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[tokio::test]
async fn a_second_control_plane_is_refused_and_told_of_the_first() {
    let (folder, file) = state_file();
    let store = open(&file).await;
    let error = refused(&file).await;
    assert!(matches!(&error, FileError::InUse { pid, .. } if *pid == std::process::id()), "{error:?}");
    let said = error.to_string();
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    for part in [&*file.to_string_lossy(), &format!("process {}", std::process::id()), &host, "stop that one first"] {
        assert!(said.contains(part), "{said}");
    }
    let link = folder.path().join("link.sqlite");
    std::os::unix::fs::symlink(&file, &link).expect("it is made");
    assert!(matches!(refused(&link).await, FileError::InUse { .. }), "another way to the same file is no other file");
    store.client().create(&widget("a")).await.expect("the first goes on");
    store.close().await;
    open(&file).await.close().await;
}

#[tokio::test]
async fn a_store_that_is_only_dropped_gives_its_file_back_too() {
    let (_folder, file) = state_file();
    let store = open(&file).await;
    let made = store.client().create(&widget("a")).await.expect("it is made");
    drop(store);
    let again = async {
        loop {
            match orion_store::sqlite(&file, registry()).await {
                Ok(store) => break store,
                Err(OpenError::Sqlite(FileError::InUse { .. })) => tokio::task::yield_now().await,
                Err(other) => panic!("{other}"),
            }
        }
    };
    let again = tokio::time::timeout(std::time::Duration::from_secs(10), again).await.expect("its tasks end");
    assert!(again.client().get(&made.key()).await.expect("it answers").is_some());
    again.close().await;
}

#[tokio::test]
async fn what_is_no_database_is_refused_and_left_alone() {
    let (_folder, file) = state_file();
    for content in ["services:\n  - name: api\n", "SQLite format"] {
        fs::write(&file, content).expect("it is written");
        let error = refused(&file).await;
        assert!(matches!(error, FileError::NotADatabase(_)), "{error:?}");
        assert!(error.to_string().contains("move it away"), "{error}");
        assert_eq!(fs::read_to_string(&file).expect("it reads"), content);
    }
}

#[tokio::test]
async fn another_programs_database_is_refused_and_left_alone() {
    let (_folder, file) = state_file();
    with_sql(&file, "CREATE TABLE notes (text TEXT); INSERT INTO notes VALUES ('dear diary')").await;
    let before = fs::read(&file).expect("it reads");
    let error = refused(&file).await;
    assert!(matches!(error, FileError::Foreign(_)), "{error:?}");
    assert_eq!(fs::read(&file).expect("it reads"), before);
}

#[tokio::test]
async fn a_newer_file_is_refused_with_both_formats() {
    for sql in ["PRAGMA user_version = 2", "UPDATE meta SET value = '2' WHERE key = 'format'"] {
        let (_folder, file) = state_file();
        open(&file).await.close().await;
        with_sql(&file, sql).await;
        let error = refused(&file).await;
        assert!(matches!(error, FileError::Newer { found: 2, known: 1, .. }), "{sql}: {error:?}");
    }
}

#[tokio::test]
async fn a_read_only_file_is_refused() {
    let (_folder, file) = state_file();
    open(&file).await.close().await;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o400)).expect("it is set");
    let error = refused(&file).await;
    assert!(matches!(error, FileError::ReadOnly(_)), "{error:?}");
    assert!(error.to_string().contains("read-only"), "{error}");
}

#[tokio::test]
async fn a_damaged_file_is_refused() {
    let (_folder, file) = state_file();
    let store = open(&file).await;
    for n in 0..50 {
        store.client().create(&widget(&format!("w{n}"))).await.expect("it is made");
    }
    store.close().await;
    let mut bytes = fs::read(&file).expect("it reads");
    bytes[4096..].fill(0x5a);
    fs::write(&file, bytes).expect("it is written");
    let error = orion_store::sqlite(&file, registry()).await.expect_err("it is damaged");
    assert!(error.to_string().contains("state.sqlite"), "{error}");
    assert!(error.to_string().contains("malformed") || error.to_string().contains("corrupt"), "{error}");
}

#[tokio::test]
async fn a_folder_in_the_files_place_is_refused() {
    let (folder, _) = state_file();
    let error = refused(folder.path()).await;
    assert!(matches!(error, FileError::Io { .. }), "{error:?}");
}

#[tokio::test]
async fn an_append_behind_another_mark_is_taken() {
    let (_folder, file) = state_file();
    let journal = Sqlite::open(&file, &Clock::system(), &Randomness::system()).await.expect("it opens");
    let start = journal.head().await.expect("it answers");
    let group = |nonce| Group { nonce: Nonce(nonce), body: vec![1, 2, 3].into(), effects: Vec::new() };
    let Ok(Append::Done(mark)) = journal.append(start, group(u64::MAX)).await else { panic!("it is free") };
    assert_eq!(journal.head().await.expect("it answers"), mark);
    assert!(matches!(journal.append(start, group(2)).await, Ok(Append::Taken)));
    journal.close().await;
    let journal = Sqlite::open(&file, &Clock::system(), &Randomness::system()).await.expect("it opens");
    assert_eq!(journal.head().await.expect("it answers"), mark, "also a nonce beyond what SQLite's integers hold");
    journal.close().await;
}
