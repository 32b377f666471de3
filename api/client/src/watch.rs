//! Watches that go on when the connection does not.

use std::time::Duration;

use futures::{Stream, stream};
use orion_model::{
    ClientError, ObjectKey, ResourceVersion, Selection, Status,
    backoff::{Backoff, Retry},
};
use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::{
    HttpClient,
    lines::Lines,
    resources::{collection_path, selection_query},
};

/// How long a watch may say nothing before it is taken for dead: the server sends a bookmark a minute.
const SILENCE: Duration = Duration::from_secs(90);
/// How long one connection of a watch lasts.
const TIMEOUT_SECONDS: &str = "600";
/// The longest line: the largest object, and room.
const MAX_LINE: usize = 16 * 1024 * 1024;

/// What a watch delivers.
#[derive(Clone, Debug, PartialEq)]
pub enum WatchEvent {
    /// An object is new, or came into the selection; at the beginning, it exists.
    Added(Value),
    /// An object changed.
    Modified(Value),
    /// An object is gone, or left the selection; this was its last state.
    Deleted(Value),
    /// All that exists has been delivered; from here on come changes.
    Synced,
}

impl HttpClient {
    /// Watches a selection: changes after a version, or, without one, what exists, [`WatchEvent::Synced`], and changes.
    ///
    /// It connects again by itself, from where it was. When it breaks before it has synced it begins anew, and objects
    /// may be added twice.
    ///
    /// An error that may pass (`is_retryable`, but for `Expired`) is delivered, and the watch goes on when it is polled
    /// again, after a pause. Any other ends it; after [`ClientError::Expired`] list again.
    pub fn watch(
        &self,
        selection: Selection,
        after: Option<ResourceVersion>,
    ) -> impl Stream<Item = Result<WatchEvent, ClientError>> + Send + use<> {
        let watching = Watching {
            about: ObjectKey::new(selection.kind.clone(), selection.namespace.clone().unwrap_or_default(), ""),
            retry: Retry::new(Backoff::reconnecting(), self.randomness.clone()),
            client: self.clone(),
            selection,
            after,
            lines: None,
            tried: false,
            over: false,
        };
        stream::unfold(watching, |mut watching| async move { Some((watching.next().await?, watching)) })
    }
}

struct Watching {
    client: HttpClient,
    selection: Selection,
    about: ObjectKey,
    /// Everything up to here has been delivered; `None` before the watch has synced.
    after: Option<ResourceVersion>,
    lines: Option<Lines>,
    retry: Retry,
    /// Whether a connection has been tried since the last line: a server that ends every watch at once, or cannot be
    /// reached, is not asked in a loop.
    tried: bool,
    over: bool,
}

/// One line of a watch.
#[derive(Deserialize)]
struct Line {
    #[serde(rename = "type")]
    kind: String,
    object: Value,
}

impl Watching {
    async fn next(&mut self) -> Option<Result<WatchEvent, ClientError>> {
        loop {
            if self.over {
                return None;
            }
            match self.step().await {
                Ok(Some(event)) => return Some(Ok(event)),
                Ok(None) => {}
                Err(error) => {
                    self.lines = None;
                    self.over = !error.is_retryable() || matches!(error, ClientError::Expired { .. });
                    return Some(Err(error));
                }
            }
        }
    }

    /// One line, or one connection.
    async fn step(&mut self) -> Result<Option<WatchEvent>, ClientError> {
        let Some(lines) = &mut self.lines else {
            if std::mem::replace(&mut self.tried, true) {
                sleep(self.retry.next_delay()).await;
            }
            self.lines = Some(self.connect().await?);
            return Ok(None);
        };
        match timeout(SILENCE, lines.next()).await {
            Ok(Ok(Some(line))) => {
                self.retry.reset();
                self.tried = false;
                self.event(&line)
            }
            // The end of this connection, in whatever way.
            Ok(Ok(None) | Err(_)) | Err(_) => {
                self.lines = None;
                Ok(None)
            }
        }
    }

    async fn connect(&self) -> Result<Lines, ClientError> {
        let mut query = selection_query(&self.selection);
        for (name, value) in [("watch", "true"), ("allowWatchBookmarks", "true"), ("timeoutSeconds", TIMEOUT_SECONDS)] {
            query.push((name, value.to_owned()));
        }
        match self.after {
            Some(version) => query.push(("resourceVersion", version.to_string())),
            None => {
                query.push(("sendInitialEvents", "true".to_owned()));
                query.push(("resourceVersionMatch", "NotOlderThan".to_owned()));
            }
        }
        let path = collection_path(&self.selection.kind, self.selection.namespace.as_deref());
        let request = self.client.request(Method::GET, &path).query(&query);
        Ok(Lines::new(self.client.open(request, &self.about).await?, MAX_LINE))
    }

    fn event(&mut self, line: &[u8]) -> Result<Option<WatchEvent>, ClientError> {
        let unreadable = |what: String| ClientError::BadRequest(format!("the server's watch does not read: {what}"));
        let Line { kind, object } = serde_json::from_slice(line).map_err(|error| unreadable(error.to_string()))?;
        if kind == "ERROR" {
            let status: Status = serde_json::from_value(object).map_err(|error| unreadable(error.to_string()))?;
            return Err(status.into_error(&self.about));
        }
        let version = object["metadata"]["resourceVersion"].as_str().and_then(|version| version.parse().ok());
        let version: ResourceVersion = version.ok_or_else(|| unreadable("an object has no version".to_owned()))?;
        if kind == "BOOKMARK" {
            let marked = object["metadata"]["annotations"]["k8s.io/initial-events-end"] == "true";
            // Until the mark no version stands for what has been delivered.
            if marked || self.after.is_some() {
                self.after = Some(version);
            }
            return Ok(marked.then_some(WatchEvent::Synced));
        }
        if let Some(after) = &mut self.after {
            *after = version;
        }
        match kind.as_str() {
            "ADDED" => Ok(Some(WatchEvent::Added(object))),
            "MODIFIED" => Ok(Some(WatchEvent::Modified(object))),
            "DELETED" => Ok(Some(WatchEvent::Deleted(object))),
            other => Err(unreadable(format!("an event of type {other:?}"))),
        }
    }
}
