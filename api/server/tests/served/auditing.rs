use std::{cell::RefCell, io};

use serde_json::json;
use tracing_subscriber::EnvFilter;

use crate::support::{Answer, Server, WIDGETS, version_of, widget};

thread_local! {
    /// What was logged on this thread.
    static KEPT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Keeps what is logged, for each thread by itself: tests that run beside this one log too.
struct Kept;

impl io::Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        KEPT.with_borrow_mut(|kept| kept.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The lines since the last call.
fn take() -> Vec<String> {
    let bytes = KEPT.take();
    String::from_utf8(bytes).expect("is text").lines().map(str::to_owned).collect()
}

// On one thread, so that what the server logs is kept for this test.
#[tokio::test(flavor = "current_thread")]
async fn every_write_leaves_a_line_who_what_which_version_allowed_or_denied() {
    let filter = EnvFilter::new("orion::audit=info");
    // For the whole process: where a subscriber is one thread's alone, others switch its lines off.
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| Kept).with_ansi(false).init();
    let server = Server::start().await;
    let own = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").expect("is there"));
    let expect = |words: &[&str]| {
        let lines = take();
        let [line] = &lines[..] else { panic!("one line, not {lines:?}") };
        for word in words {
            assert!(line.contains(word), "{word}: {line}");
        }
    };

    let made = server.widget("a", 1).await;
    let version = format!("version={}", version_of(&made));
    let who = format!("who=uid:{own}");
    let what = "what=\"widgets.example.org default/a\"";
    expect(&["INFO", "allowed", &who, "verb=\"create\"", what, &version]);
    server.merge(&format!("{WIDGETS}/a?dryRun=All"), &json!({"spec": {"size": 2}})).await;
    expect(&["INFO", "dry run", &who, "verb=\"patch\"", what]);
    server.send("POST", WIDGETS, &widget("b", 101)).await.fails(422, "Invalid");
    expect(&["WARN", "denied", &who, "verb=\"POST\"", WIDGETS, "code=422"]);
    server.send("PUT", &format!("{WIDGETS}/a"), &json!([])).await.fails(400, "BadRequest");
    expect(&["WARN", "denied", "verb=\"PUT\"", "code=400"]);
    Answer::of(server.request("DELETE", &format!("{WIDGETS}/a")).bearer_auth("wrong")).await.fails(401, "Unauthorized");
    expect(&["WARN", "denied", "verb=\"DELETE\"", "code=401"]);
    server.get(&format!("{WIDGETS}/a")).await;
    assert!(take().is_empty(), "reads leave none");
}
