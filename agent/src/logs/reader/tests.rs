use std::{fs, io::Write, path::Path, time::Duration};

use futures::StreamExt;

use super::*;

fn stamped(second: u32) -> String {
    format!("2026-11-24T09:31:{second:02}.000000000Z stdout line {second}\n")
}

fn write(dir: &Path, number: u64, seconds: impl IntoIterator<Item = u32>) {
    let text: String = seconds.into_iter().map(stamped).collect();
    let mut file = fs::OpenOptions::new().append(true).create(true).open(segment_path(dir, number)).expect("opens");
    file.write_all(text.as_bytes()).expect("writes");
}

async fn texts(dir: &Path, query: LogQuery) -> Vec<String> {
    LogReader::new(dir).read(query).map(|line| line.expect("reads").text).collect().await
}

fn lines(seconds: impl IntoIterator<Item = u32>) -> Vec<String> {
    seconds.into_iter().map(|second| format!("line {second}")).collect()
}

#[tokio::test]
async fn a_folder_that_is_not_there_has_no_lines() {
    assert_eq!(texts(Path::new("/nowhere/at/all"), LogQuery::default()).await, Vec::<String>::new());
}

#[tokio::test]
async fn lines_come_in_order_over_all_files() {
    let dir = tempfile::tempdir().expect("tempdir");
    write(dir.path(), 9, 0..3);
    write(dir.path(), 10, 3..6);
    assert_eq!(texts(dir.path(), LogQuery::default()).await, lines(0..6));
}

#[tokio::test]
async fn a_tail_counts_over_the_borders_of_files() {
    let dir = tempfile::tempdir().expect("tempdir");
    write(dir.path(), 1, 0..3);
    write(dir.path(), 2, 3..6);
    for tail in 0..=7 {
        let query = LogQuery { tail: Some(tail), ..LogQuery::default() };
        assert_eq!(
            texts(dir.path(), query).await,
            lines(6_u32.saturating_sub(u32::try_from(tail).expect("small"))..6),
            "tail {tail}"
        );
    }
}

#[tokio::test]
async fn since_leaves_out_what_is_older() {
    let dir = tempfile::tempdir().expect("tempdir");
    write(dir.path(), 1, 0..6);
    let query = LogQuery { since: Some("2026-11-24T09:31:04Z".parse().expect("a time")), ..LogQuery::default() };
    assert_eq!(texts(dir.path(), query).await, lines(4..6));
}

#[tokio::test]
async fn a_follower_misses_nothing_over_rotation_and_sees_only_whole_lines() {
    let dir = tempfile::tempdir().expect("tempdir");
    write(dir.path(), 1, 0..2);
    let query = LogQuery { tail: Some(1), follow: true, ..LogQuery::default() };
    let mut followed = Box::pin(LogReader::new(dir.path()).read(query).map(|line| line.expect("reads").text));
    let mut next = async || {
        tokio::time::timeout(Duration::from_secs(10), followed.next()).await.expect("in time").expect("has no end")
    };
    assert_eq!(next().await, "line 1");
    let torn = stamped(2);
    let mut file = fs::OpenOptions::new().append(true).open(segment_path(dir.path(), 1)).expect("opens");
    file.write_all(&torn.as_bytes()[..20]).expect("writes");
    file.write_all(&torn.as_bytes()[20..]).expect("writes");
    assert_eq!(next().await, "line 2");
    write(dir.path(), 1, [3]);
    write(dir.path(), 2, [4]);
    fs::remove_file(segment_path(dir.path(), 1)).expect("removes");
    assert_eq!(next().await, "line 3", "a file that is open is read to its end");
    assert_eq!(next().await, "line 4");
}
