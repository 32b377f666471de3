use orion_model::{Client, ClientError, Freshness, Get, Lease, LeaseSpec, Object, Registry};

use super::*;
use crate::{Store, journal::Source};

async fn opened() -> (tempfile::TempDir, Sqlite, Store<Sqlite>) {
    let (clock, randomness) = (Clock::system(), Randomness::system());
    let folder = tempfile::tempdir().expect("a folder");
    let journal = Sqlite::open(folder.path().join("state.sqlite"), &clock, &randomness).await.expect("it opens");
    let store = Store::open(journal.clone(), Registry::new(), clock, randomness).await.expect("it loads");
    (folder, journal, store)
}

async fn fill(client: &Client, prefix: &str) -> ClientError {
    for n in 0..10_000 {
        let holder = Some("x".repeat(2000));
        let spec = LeaseSpec { holder_identity: holder, ..LeaseSpec::default() };
        if let Err(error) = client.create(&Lease::new(format!("{prefix}-{n}"), spec)).await {
            return error;
        }
    }
    panic!("nothing was full");
}

/// Bounds the file as a full disk would: SQLite gives the same error for both.
async fn set_bound(journal: &Sqlite, pages: i64) {
    let mut slot = journal.database.writer.lock().await;
    let connection = slot.as_mut().expect("it is open");
    let statement = sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {pages}"));
    connection.execute(sqlx::raw_sql(statement)).await.expect("it is set");
}

#[tokio::test]
async fn s8_a_full_disk_is_told_with_the_files_name_and_writing_resumes_by_itself() {
    let (_folder, journal, store) = opened().await;
    let client = store.client();
    let kept = client.create(&Lease::new("kept", LeaseSpec::default())).await.expect("there is room");
    set_bound(&journal, 60).await;
    for prefix in ["a", "b"] {
        let refused = fill(&client, prefix).await;
        let ClientError::Unavailable(said) = &refused else { panic!("{refused:?}") };
        assert!(said.contains("the disk is full") && said.contains("state.sqlite"), "{said}");
    }
    let before = client.list::<Lease>().await.expect("reads go on").len();
    assert!(client.get(&kept.key()).await.expect("reads go on").is_some());
    set_bound(&journal, 1 << 20).await;
    client.create(&Lease::new("later", LeaseSpec::default())).await.expect("there is room again");
    assert_eq!(
        client.list::<Lease>().await.expect("it lists").len(),
        before + 1,
        "nothing of what was refused is there"
    );
    store.close().await;
}

#[tokio::test]
async fn s8_a_broken_file_stops_writes_and_reads_go_on() {
    let (_folder, journal, store) = opened().await;
    let client = store.client();
    let kept = client.create(&Lease::new("kept", LeaseSpec::default())).await.expect("it is made");
    let failed: Source = Arc::new(Fault::Broken { file: "state.sqlite".into(), message: "disk I/O error".into() });
    journal.database.checkpoints.break_down(failed);
    let unknown = client.create(&Lease::new("a", LeaseSpec::default())).await.expect_err("it cannot be written");
    assert!(matches!(unknown, ClientError::Unknown { .. }), "{unknown:?}");
    let stopped = client.create(&Lease::new("b", LeaseSpec::default())).await.expect_err("nothing more is");
    assert!(matches!(stopped, ClientError::Stopped(_)), "{stopped:?}");
    assert!(store.stopped().await.contains("disk I/O error"));
    for freshness in [Freshness::Any, Freshness::Confirmed] {
        let get = Get { key: kept.object_key(), freshness };
        assert!(client.backend().get(get).await.expect("reads go on").is_some(), "{freshness:?}");
    }
    store.close().await;
}

#[tokio::test]
async fn no_failure_leaves_its_transaction_open() {
    let (_folder, journal, store) = opened().await;
    let mut slot = journal.database.writer.lock().await;
    let connection = slot.as_mut().expect("it is open");
    for failing in ["BEGIN IMMEDIATE; SELECT 1 FROM nowhere", "SELECT 1 FROM nowhere"] {
        let failed = connection.execute(failing).await.map(drop);
        journal.database.ended(connection, failed).await.expect_err("it has failed");
        connection.execute("BEGIN IMMEDIATE; ROLLBACK").await.expect("nothing is open");
    }
    drop(slot);
    store.close().await;
}

#[tokio::test]
async fn the_log_is_moved_into_the_file_beside_the_writer() {
    let (folder, _, store) = opened().await;
    let client = store.client();
    let spec = LeaseSpec { holder_identity: Some("x".repeat(200_000)), ..LeaseSpec::default() };
    let mut lease = client.create(&Lease::new("a", spec)).await.expect("it is made");
    let size = |name: &str| std::fs::metadata(folder.path().join(name)).map_or(0, |metadata| metadata.len());
    let (mut written, mut rounds) = (0, 0);
    while written < 60 << 20 {
        rounds += 1;
        lease = client.edit(&lease, |lease| lease.spec.lease_transitions = Some(rounds)).await.expect("it is changed");
        written += 400_000;
    }
    assert!(size("state.sqlite") > 10 << 20, "the file holds most of {written} bytes");
    assert!(size("state.sqlite-wal") < 40 << 20, "and the log begins anew: {} bytes", size("state.sqlite-wal"));
    store.close().await;
    assert_eq!(size("state.sqlite-wal"), 0, "a closed file stands alone");
}

#[tokio::test]
async fn space_that_history_leaves_goes_back_to_the_disk_in_steps() {
    let (folder, journal, store) = opened().await;
    let client = store.client();
    let spec = LeaseSpec { holder_identity: Some("x".repeat(500_000)), ..LeaseSpec::default() };
    let mut lease = client.create(&Lease::new("a", spec)).await.expect("it is made");
    for n in 0..80 {
        lease = client.edit(&lease, |lease| lease.spec.lease_transitions = Some(n)).await.expect("it is changed");
    }
    store.close().await;
    let size =
        |folder: &tempfile::TempDir| std::fs::metadata(folder.path().join("state.sqlite")).map_or(0, |m| m.len());
    let full = size(&folder);
    let journal = {
        let file = journal.database.file.clone();
        Sqlite::open(file, &Clock::system(), &Randomness::system()).await.expect("it opens")
    };
    let newest = journal.head().await.expect("it answers").seq;
    for _ in 0..4 {
        journal.compact(newest).await.expect("it is dropped");
    }
    let Ok(Tail::Dense(kept)) = journal.tail(newest.previous(), 1).await else { panic!("the floor is kept") };
    assert_eq!(kept.len(), 1);
    journal.close().await;
    let page = i64::from(schema::PAGE_SIZE);
    let given_back = i64::try_from(full - size(&folder)).expect("it has shrunk");
    assert!(given_back >= 4 * VACUUM_PAGES * page, "{given_back} bytes");
    assert!(given_back <= (4 * VACUUM_PAGES + 16) * page, "no more than a step at a time: {given_back} bytes");
}

#[tokio::test]
async fn a_groups_places_are_found_by_the_index() {
    let (_folder, journal, store) = opened().await;
    let mut slot = journal.database.writer.lock().await;
    let plan = "EXPLAIN QUERY PLAN DELETE FROM objects WHERE (api_group, kind, namespace, name) IN
        (SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each($5))";
    let rows = sqlx::query(plan).fetch_all(slot.as_mut().expect("it is open")).await.expect("it explains");
    let steps: Vec<String> = rows.iter().map(|row| row.get(3)).collect();
    assert!(steps.iter().any(|step| step.contains("SEARCH objects USING") && step.contains("name=?")), "{steps:?}");
    drop(slot);
    store.close().await;
}
