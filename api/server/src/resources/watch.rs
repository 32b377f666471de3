//! Watches: chunked JSON lines, as Kubernetes writes them.
//!
//! A stream goes through these states; each ends in a clean end of the body, so that a client sees a watch that is over
//! and not a connection that broke:
//!
//! ```text
//! Initial ──bookmark──▶ Following ──timeout, shutdown──▶ (last bookmark) end
//!    └────────────────────┴──error──▶ ERROR event, end
//! ```

use std::{pin::Pin, time::Duration};

use axum::{body::Body, http::HeaderValue, response::Response};
use bytes::{BufMut as _, Bytes, BytesMut};
use futures::{Stream, StreamExt as _, stream};
use orion_model::{
    ClientError, Clock, Definition, ResourceVersion, Status, Watch,
    backend::{Change, ChangeKind, Event, Watching},
};
use serde_json::{Value, json};
use tokio::time::{Sleep, sleep, timeout};

use super::{
    Call, READ_TIMEOUT,
    accept::Accept,
    query::{Query, VersionMatch},
    table::{self, Include},
};
use crate::{Closing, Failure};

/// How long a watch lasts where the client does not say, and at most.
const MAX_WATCH: Duration = Duration::from_secs(60 * 60);
/// How often a quiet watch gets a bookmark, at most and at least.
const BOOKMARKS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// About how many bytes of lines are handed to the connection at a time.
const CHUNK_BYTES: usize = 64 * 1024;

/// Answers a watch.
pub(super) async fn watch(call: &Call<'_>) -> Result<Response, Failure> {
    let plan = Plan::of(&call.query)?;
    let encoding = Encoding::of(call)?;
    let watch = Watch {
        selections: vec![call.selection()?],
        after: plan.after,
        initial: plan.initial,
        bookmarks: plan.bookmarks.then_some(plan.bookmark_interval()),
    };
    let started = timeout(READ_TIMEOUT, call.client().watch(watch)).await.map_err(|_| {
        Failure::from(ClientError::Unavailable(format!("the store did not answer within {READ_TIMEOUT:?}")))
    })?;
    let events = match started {
        Ok(events) => events,
        // Too old a version is told within the watch: clients that see HTTP 410 here try the same version again.
        Err(error @ ClientError::Expired { .. }) => stream::iter([Err(error)]).boxed(),
        Err(error) => return Err(error.into()),
    };
    let lines = Lines {
        events,
        encoding,
        state: if plan.initial { State::Initial } else { State::Following },
        last: plan.after.filter(|version| !version.is_zero()),
        deadline: Box::pin(sleep(plan.timeout)),
        closing: call.closing.clone(),
        plan,
    };
    let mut response = Response::new(Body::from_stream(lines.stream()));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(axum::http::header::CONTENT_TYPE, json);
    Ok(response)
}

/// What a client asks of a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plan {
    /// Changes after this version; of a watch that begins with what exists, how fresh that must be.
    after: Option<ResourceVersion>,
    /// Begin with what exists.
    initial: bool,
    /// Say with a marked bookmark when that was all.
    marked: bool,
    /// Send bookmarks.
    bookmarks: bool,
    timeout: Duration,
}

impl Plan {
    fn of(query: &Query) -> Result<Self, Failure> {
        let (version, meant) = (query.version()?, query.version_match()?);
        let asked = query.text("sendInitialEvents").map(|_| query.flag("sendInitialEvents"));
        match (asked, meant) {
            (Some(_), Some(VersionMatch::NotOlderThan)) | (None, None) => {}
            (Some(_), _) => {
                let message = "sendInitialEvents requires resourceVersionMatch NotOlderThan";
                return Err(Failure::invalid_option("resourceVersionMatch", message));
            }
            (None, Some(_)) => {
                let message = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
                return Err(Failure::invalid_option("resourceVersionMatch", message));
            }
        }
        let anywhere = version.is_none_or(|version| version.is_zero());
        let initial = asked.unwrap_or(anywhere);
        // Version 0 asks a list for whatever is at hand; changes after it cannot be asked for.
        let after = version.filter(|version| initial || !version.is_zero());
        Ok(Self {
            after,
            initial,
            marked: asked == Some(true),
            bookmarks: query.flag("allowWatchBookmarks"),
            timeout: query.timeout()?.unwrap_or(MAX_WATCH).min(MAX_WATCH),
        })
    }

    /// Often enough that the last one before the end is not much older than the end.
    fn bookmark_interval(&self) -> Duration {
        (self.timeout / 4).clamp(BOOKMARKS.0, BOOKMARKS.1)
    }
}

enum State {
    Initial,
    Following,
    Ended,
}

struct Lines {
    events: Watching,
    encoding: Encoding,
    plan: Plan,
    state: State,
    /// The version up to which the client has everything.
    last: Option<ResourceVersion>,
    deadline: Pin<Box<Sleep>>,
    closing: Closing,
}

type Chunk = Result<Bytes, std::convert::Infallible>;

impl Lines {
    fn stream(self) -> impl Stream<Item = Chunk> {
        let batches = stream::unfold(self, |mut lines| async move {
            let chunks = lines.next().await?;
            Some((stream::iter(chunks.into_iter().map(Ok)), lines))
        });
        batches.flatten()
    }

    /// The chunks of the next event; `None` at the end.
    async fn next(&mut self) -> Option<Vec<Bytes>> {
        if matches!(self.state, State::Ended) {
            return None;
        }
        tokio::select! {
            biased;
            () = self.closing.closed() => Some(self.end()),
            () = self.deadline.as_mut() => Some(self.end()),
            event = self.events.next() => Some(match event {
                Some(Ok(Event::Commit { version, changes })) => self.changes(version, &changes),
                Some(Ok(Event::Bookmark(version))) => self.bookmark(version),
                Some(Err(error)) => {
                    self.state = State::Ended;
                    vec![line("ERROR", &json!(Status::from(&error)))]
                }
                None => self.end(),
            }),
        }
    }

    fn changes(&mut self, version: ResourceVersion, changes: &[Change]) -> Vec<Bytes> {
        // What exists is not all there before the bookmark, whatever the versions say.
        if matches!(self.state, State::Following) {
            self.last = Some(version);
        }
        let mut chunks = Vec::new();
        let mut chunk = BytesMut::new();
        for change in changes {
            self.encoding.put(&mut chunk, change);
            if chunk.len() >= CHUNK_BYTES {
                chunks.push(chunk.split().freeze());
            }
        }
        if !chunk.is_empty() {
            chunks.push(chunk.freeze());
        }
        chunks
    }

    fn bookmark(&mut self, version: ResourceVersion) -> Vec<Bytes> {
        self.last = Some(version);
        let first = matches!(std::mem::replace(&mut self.state, State::Following), State::Initial);
        self.bookmark_line(version, first && self.plan.marked)
    }

    fn bookmark_line(&self, version: ResourceVersion, marked: bool) -> Vec<Bytes> {
        if !self.plan.bookmarks {
            return Vec::new();
        }
        vec![line("BOOKMARK", &self.encoding.bookmark(version, marked))]
    }

    /// The end, with a last bookmark so that the client goes on from here.
    fn end(&mut self) -> Vec<Bytes> {
        let following = matches!(std::mem::replace(&mut self.state, State::Ended), State::Following);
        match self.last {
            Some(version) if following => self.bookmark_line(version, false),
            _ => Vec::new(),
        }
    }
}

fn line(kind: &str, object: &Value) -> Bytes {
    format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n").into()
}

/// How the objects of a watch are written.
struct Encoding {
    definition: std::sync::Arc<Definition>,
    table: Option<(Include, Clock)>,
}

impl Encoding {
    fn of(call: &Call<'_>) -> Result<Self, Failure> {
        let table = match call.accept()? {
            Accept::Objects => None,
            Accept::Table => Some((Include::of(&call.query)?, call.client().clock().clone())),
        };
        Ok(Self { definition: call.definition.clone(), table })
    }

    fn put(&self, to: &mut BytesMut, change: &Change) {
        let kind = match change.kind {
            ChangeKind::Added => "ADDED",
            ChangeKind::Modified => "MODIFIED",
            ChangeKind::Deleted => "DELETED",
        };
        let object = &change.object;
        match &self.table {
            Some((include, clock)) => {
                let one = std::slice::from_ref(object);
                let table = table::table(&self.definition, one, object.version(), *include, clock.now());
                to.put(line(kind, &table));
            }
            None => {
                to.put(format!("{{\"type\":\"{kind}\",\"object\":").as_bytes());
                to.put(&**object.body());
                to.put(&b"}\n"[..]);
            }
        }
    }

    fn bookmark(&self, version: ResourceVersion, marked: bool) -> Value {
        let mut metadata = json!({"resourceVersion": version, "creationTimestamp": null});
        if marked {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        match &self.table {
            Some((include, clock)) => {
                let mut table = table::table(&self.definition, &[], version, *include, clock.now());
                table["metadata"] = metadata;
                table
            }
            None => {
                let kind = &self.definition.kind;
                json!({"kind": kind.name(), "apiVersion": kind.api_version(), "metadata": metadata})
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_watch_begins_with_follows_from_its_query() {
        let plan = |after: Option<u64>, initial, marked| {
            let after = after.map(ResourceVersion::new);
            Ok(Plan { after, initial, marked, bookmarks: false, timeout: MAX_WATCH })
        };
        let table = [
            ("watch=true", plan(None, true, false)),
            ("resourceVersion=0", plan(Some(0), true, false)),
            ("resourceVersion=7", plan(Some(7), false, false)),
            ("sendInitialEvents=true&resourceVersionMatch=NotOlderThan", plan(None, true, true)),
            ("sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=0", plan(Some(0), true, true)),
            ("sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=7", plan(Some(7), true, true)),
            ("sendInitialEvents=false&resourceVersionMatch=NotOlderThan", plan(None, false, false)),
            ("sendInitialEvents=true", Err(422)),
            ("sendInitialEvents=true&resourceVersionMatch=Exact&resourceVersion=7", Err(422)),
            ("resourceVersion=7&resourceVersionMatch=NotOlderThan", Err(422)),
            ("resourceVersion=x", Err(400)),
        ];
        for (text, expected) in table {
            let plan = Plan::of(&Query::parse(text)).map_err(|failure| failure.status().code);
            assert_eq!(plan, expected, "{text}");
        }
    }

    #[test]
    fn a_watch_lasts_as_long_as_asked_but_not_for_ever() {
        for (text, seconds) in [("timeoutSeconds=5", 5), ("timeoutSeconds=999999", 3600), ("timeoutSeconds=0", 3600)] {
            let plan = Plan::of(&Query::parse(text)).expect("is fine");
            assert_eq!(plan.timeout, Duration::from_secs(seconds), "{text}");
        }
    }
}
