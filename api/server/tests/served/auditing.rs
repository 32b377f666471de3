use std::{
    io,
    sync::{Arc, Mutex},
};

use serde_json::json;
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

use crate::support::{Answer, Server, WIDGETS, version_of, widget};

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl io::Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("is not poisoned").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Kept {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Kept {
    /// The lines since the last call, each without its time.
    fn take(&self) -> Vec<String> {
        let bytes = std::mem::take(&mut *self.0.lock().expect("is not poisoned"));
        String::from_utf8(bytes).expect("is text").lines().map(str::to_owned).collect()
    }
}

// On one thread, so that the subscriber of the test is the server's too.
#[tokio::test(flavor = "current_thread")]
async fn every_write_leaves_a_line_who_what_which_version_allowed_or_denied() {
    let kept = Kept::default();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new("orion::audit=info"))
        .with_writer(kept.clone())
        .with_ansi(false)
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let server = Server::start().await;
    let own = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").expect("is there"));
    let expect = |words: &[&str]| {
        let lines = kept.take();
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
    assert!(kept.take().is_empty(), "reads leave none");
}
