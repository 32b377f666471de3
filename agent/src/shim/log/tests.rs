use std::{fs, path::Path};

use super::*;
use crate::logs::{LogLine, LogStream};

fn settings(dir: &Path, max_files: u32, max_file_size: u64) -> LogSettings {
    LogSettings { dir: dir.to_owned(), max_files, max_file_size }
}

/// All stored lines, in order, without their times.
fn stored(dir: &Path) -> Vec<(LogStream, String)> {
    let files =
        segments(dir).expect("lists").into_iter().map(|number| fs::read(segment_path(dir, number)).expect("reads"));
    let bytes: Vec<u8> = files.flatten().collect();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    text.lines()
        .map(|line| LogLine::parse(line.as_bytes()).expect("every line is whole"))
        .map(|line| (line.stream, line.text))
        .collect()
}

fn total(dir: &Path) -> (usize, u64) {
    let numbers = segments(dir).expect("lists");
    (
        numbers.len(),
        numbers.iter().map(|number| fs::metadata(segment_path(dir, *number)).expect("is there").len()).sum(),
    )
}

#[test]
fn a_line_read_in_pieces_is_stored_as_one() {
    let dir = tempfile::tempdir().expect("tempdir");
    let (mut log, mut lines, now) =
        (LogWriter::new(settings(dir.path(), 2, 4096)), Lines::new(LogStream::Stderr), Instant::now());
    lines.feed(b"one\ntw", now, &mut log);
    assert_eq!(lines.due(), Some(now + PARTIAL_AFTER), "the piece is due to be seen");
    lines.feed(b"o\n\n", now, &mut log);
    assert_eq!(lines.due(), None);
    log.flush();
    let stderr = |text: &str| (LogStream::Stderr, text.to_owned());
    assert_eq!(stored(dir.path()), [stderr("one"), stderr("two"), stderr("")]);
}

#[test]
fn the_files_never_exceed_their_bound_and_keep_the_newest_lines() {
    let dir = tempfile::tempdir().expect("tempdir");
    let (mut log, mut lines) = (LogWriter::new(settings(dir.path(), 3, 1024)), Lines::new(LogStream::Stdout));
    for number in 0..500 {
        lines.feed(format!("line {number}\n").as_bytes(), Instant::now(), &mut log);
        log.flush();
        let (files, bytes) = total(dir.path());
        assert!(files <= 3 && bytes <= 3 * 1024, "{files} files, {bytes} bytes");
    }
    let kept = stored(dir.path());
    assert_eq!(kept.last().map(|(_, text)| text.as_str()), Some("line 499"));
    assert!(kept.len() >= 2 * 1024 / 60, "two full files are kept at least: {}", kept.len());
    assert_eq!(log.dropped(), 0, "rotated away is not dropped");
}

#[test]
fn a_line_without_end_is_cut_at_its_bound_and_nothing_of_it_is_lost() {
    let dir = tempfile::tempdir().expect("tempdir");
    let (mut log, mut lines) = (LogWriter::new(settings(dir.path(), 9, 1 << 20)), Lines::new(LogStream::Stdout));
    lines.feed(&vec![b'x'; 3 * LONGEST_LINE + 5], Instant::now(), &mut log);
    lines.flush(&mut log);
    log.flush();
    let lengths: Vec<usize> = stored(dir.path()).iter().map(|(_, text)| text.len()).collect();
    assert_eq!(lengths, [LONGEST_LINE, LONGEST_LINE, LONGEST_LINE, 5]);
}

#[test]
fn the_next_attempt_goes_on_where_the_last_ended() {
    let dir = tempfile::tempdir().expect("tempdir");
    for text in ["first\n", "second\n"] {
        let mut log = LogWriter::new(settings(dir.path(), 2, 4096));
        Lines::new(LogStream::Stdout).feed(text.as_bytes(), Instant::now(), &mut log);
        log.flush();
    }
    assert_eq!(total(dir.path()).0, 1);
    assert_eq!(stored(dir.path()).len(), 2);
}

#[test]
fn a_disk_that_takes_nothing_costs_lines_that_are_counted_in_their_place() {
    let dir = tempfile::tempdir().expect("tempdir");
    let place = dir.path().join("logs");
    fs::write(&place, "a file where the folder should be").expect("writes");
    let (mut log, mut lines) = (LogWriter::new(settings(&place, 2, 4096)), Lines::new(LogStream::Stdout));
    lines.feed(b"lost 1\nlost 2\n", Instant::now(), &mut log);
    log.flush();
    lines.feed(b"lost 3\n", Instant::now(), &mut log);
    log.flush();
    assert_eq!(log.dropped(), 3);
    fs::remove_file(&place).expect("removes");
    lines.feed(b"kept\n", Instant::now(), &mut log);
    log.flush();
    let stored = stored(&place);
    assert!(matches!(&stored[0], (LogStream::Orion, text) if text.starts_with("3 lines dropped: ")), "{stored:?}");
    assert_eq!(stored[1..], [(LogStream::Stdout, "kept".to_owned())]);
    assert_eq!(log.dropped(), 3);
}

#[test]
fn a_lower_bound_takes_effect_at_once() {
    let dir = tempfile::tempdir().expect("tempdir");
    let (mut log, mut lines) = (LogWriter::new(settings(dir.path(), 5, 1024)), Lines::new(LogStream::Stdout));
    for number in 0..200 {
        lines.feed(format!("line {number}\n").as_bytes(), Instant::now(), &mut log);
    }
    log.flush();
    assert_eq!(total(dir.path()).0, 5);
    log.set_bound(&settings(Path::new("/elsewhere"), 2, 1024));
    assert_eq!(total(dir.path()).0, 2);
    assert_eq!(log.settings().dir, dir.path(), "the folder stays");
}
