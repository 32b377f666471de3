//! The output of real processes on disk.

use std::{fs, time::Duration};

use futures::StreamExt;
use orion_agent::logs::{LogLine, LogQuery, LogReader, LogStream};

use crate::{
    tests,
    world::{World, eventually, exited, stop},
};

tests![
    both_streams_are_stored_whole_with_times_that_do_not_go_back,
    a_flood_stays_within_its_bound_and_ends_with_its_last_line,
    a_follower_reads_every_line_of_a_rotating_log_in_order,
    a_prompt_without_an_end_of_line_is_seen,
    a_full_disk_costs_lines_and_never_the_process,
    the_log_goes_on_over_the_attempts_of_a_replica,
];

async fn both_streams_are_stored_whole_with_times_that_do_not_go_back() {
    let world = World::new();
    let shims = world.shims();
    let before = jiff::Timestamp::now();
    let shim = shims.launch(world.script("a", r"echo out; echo err >&2; printf 'no end'")).await.expect("starts");
    exited(&shim).await;
    let log = world.log("a").await;
    let of =
        |stream| log.iter().filter(|line| line.stream == stream).map(|line| line.text.as_str()).collect::<Vec<_>>();
    assert_eq!((of(LogStream::Stdout), of(LogStream::Stderr)), (vec!["out", "no end"], vec!["err"]));
    let times: Vec<_> = log.iter().map(|line| line.at).collect();
    assert!(times.is_sorted() && times[0] >= before && times[2] <= jiff::Timestamp::now(), "{times:?}");
}

async fn a_flood_stays_within_its_bound_and_ends_with_its_last_line() {
    let world = World::new();
    let shims = world.shims();
    let mut launch = world.script("a", "seq 1 200000");
    launch.definition.logs.max_files = 3;
    launch.definition.logs.max_file_size = 64 * 1024;
    let shim = shims.launch(launch).await.expect("starts");
    let exit = exited(&shim).await;
    assert_eq!((exit.code, exit.dropped_lines), (Some(0), 0));
    let sizes: Vec<u64> = fs::read_dir(world.log_dir("a"))
        .expect("reads")
        .map(|entry| entry.expect("reads").metadata().expect("reads").len())
        .collect();
    assert!(sizes.len() <= 3 && sizes.iter().all(|size| *size <= 64 * 1024), "{sizes:?}");
    let output = world.output("a").await;
    let first: usize = output[0].parse().expect("a number");
    let expected: Vec<String> = (first..=200_000).map(|number| number.to_string()).collect();
    assert!(output == expected, "the kept lines are not the last ones, in order");
}

async fn a_follower_reads_every_line_of_a_rotating_log_in_order() {
    let world = World::new();
    let shims = world.shims();
    let mut launch = world.script("a", r#"while ! [ -e "$DIR/go" ]; do sleep 0.02; done; seq 1 5000"#);
    launch.definition.logs.max_files = 100;
    launch.definition.logs.max_file_size = 16 * 1024;
    let shim = shims.launch(launch).await.expect("starts");
    let followed = LogReader::new(world.log_dir("a")).read(LogQuery { follow: true, ..LogQuery::default() });
    world.touch("go");
    let read = followed.take(5000).map(|line: std::io::Result<LogLine>| line.expect("reads").text).collect::<Vec<_>>();
    let read = tokio::time::timeout(crate::world::DEADLINE, read).await.expect("in time");
    assert!(read == (1..=5000).map(|number| number.to_string()).collect::<Vec<_>>());
    exited(&shim).await;
}

async fn a_prompt_without_an_end_of_line_is_seen() {
    let world = World::new();
    let shims = world.shims();
    let shim = shims.launch(world.script("a", "printf 'Password: '; exec sleep 1000")).await.expect("starts");
    world.line("a", "Password: ").await;
    stop(&shim).await;
}

async fn a_full_disk_costs_lines_and_never_the_process() {
    let world = World::new();
    let shims = world.shims();
    fs::create_dir_all(world.log_dir("a")).expect("makes");
    // The kernel's own full disk stands where the log would go on.
    std::os::unix::fs::symlink("/dev/full", world.log_dir("a").join("00000001.log")).expect("links");
    // Far more than a pipe holds: a shim that waited for the disk would block it.
    let shim = shims.launch(world.script("a", "seq 1 100000; exit 9")).await.expect("starts");
    let exit = tokio::time::timeout(Duration::from_secs(50), exited(&shim)).await.expect("is not blocked");
    assert_eq!((exit.code, exit.dropped_lines), (Some(9), 100_000));
}

async fn the_log_goes_on_over_the_attempts_of_a_replica() {
    let world = World::new();
    let shims = world.shims();
    for attempt in 1..=3 {
        let shim =
            shims.launch(world.launch("a", attempt, &["sh", "-c", &format!("echo {attempt}")])).await.expect("starts");
        exited(&shim).await;
    }
    eventually("all are there", async || world.output("a").await == ["1", "2", "3"]).await;
}
