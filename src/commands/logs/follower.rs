//! The logs of several replicas, merged as they come. One whose connection breaks is read on from where it was.

use std::collections::{BTreeMap, BTreeSet};

use futures::{
    Stream, StreamExt,
    stream::{BoxStream, SelectAll},
};
use orion_http::{HttpClient, LogOptions};
use orion_model::{ClientError, ObjectKey};

use super::lines::{Line, as_text, parts};
use crate::failure::Failure;

/// Streams read at the same time.
const MAX_STREAMS: usize = 200;

/// Logs that are followed.
pub(crate) struct Follower {
    client: HttpClient,
    options: LogOptions,
    known: BTreeSet<ObjectKey>,
    /// Those that broke off, with the time of the last line.
    broken: BTreeMap<ObjectKey, Option<String>>,
    streams: SelectAll<BoxStream<'static, Happening>>,
}

/// What a followed log does.
enum Happening {
    Line(Line),
    /// It has ended, or its connection has.
    End(ObjectKey, Option<String>),
}

impl Follower {
    /// None yet.
    pub(crate) fn new(client: HttpClient, options: LogOptions) -> Self {
        Self { client, options, known: BTreeSet::new(), broken: BTreeMap::new(), streams: SelectAll::new() }
    }

    /// Adds a replica whose log can be read; one that cannot be read yet may be added again later.
    ///
    /// # Errors
    /// What makes no sense to ask of any log.
    pub(crate) async fn add(&mut self, key: ObjectKey) -> Result<(), Failure> {
        if self.known.contains(&key) || self.streams.len() >= MAX_STREAMS {
            return Ok(());
        }
        let last = self.broken.get(&key).cloned().flatten();
        let mut options = self.options.clone();
        if let Some(since) = &last {
            options = LogOptions { since: Some(since.clone()), tail: None, ..options };
        }
        let lines = match self.client.logs(&key, &options).await {
            Ok(lines) => lines,
            Err(error @ (ClientError::Invalid { .. } | ClientError::BadRequest(_))) => return Err(error.into()),
            Err(error) => {
                tracing::debug!(%error, replica = %key.name, "cannot be read yet");
                return Ok(());
            }
        };
        self.broken.remove(&key);
        self.streams.push(followed(key.clone(), lines, last));
        self.known.insert(key);
        Ok(())
    }

    /// Takes those that broke off up again. One that cannot be asked for any more has nothing more to say.
    pub(crate) async fn resume(&mut self) {
        for key in self.broken.keys().cloned().collect::<Vec<_>>() {
            if self.add(key.clone()).await.is_err() {
                self.broken.remove(&key);
            }
        }
    }

    /// Whether some broke off.
    pub(crate) fn has_broken(&self) -> bool {
        !self.broken.is_empty()
    }

    /// Whether there is no log to read from.
    pub(crate) fn is_idle(&self) -> bool {
        self.streams.is_empty()
    }

    /// The next line; `None` when no log is left to read.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<Line> {
        loop {
            match self.streams.next().await? {
                Happening::Line(line) => return Some(line),
                Happening::End(key, last) => {
                    self.known.remove(&key);
                    self.broken.insert(key, last);
                }
            }
        }
    }
}

/// The lines after the one of time `last`, and then that there are no more.
fn followed<B: AsRef<[u8]> + 'static>(
    key: ObjectKey,
    lines: impl Stream<Item = Result<B, ClientError>> + Send + 'static,
    last: Option<String>,
) -> BoxStream<'static, Happening> {
    let state = (lines.boxed(), last, Some(key));
    futures::stream::unfold(state, |(mut lines, mut last, key)| async move {
        let key = key?;
        loop {
            match lines.next().await.map(as_text) {
                // The line that was the last before the break comes again.
                Some(Ok(text)) if last.as_deref().is_some_and(|last| parts(&text).0 <= last) => {}
                Some(Ok(text)) => {
                    last = Some(parts(&text).0.to_owned());
                    let line = Line { replica: key.name.to_string(), text };
                    return Some((Happening::Line(line), (lines, last, Some(key))));
                }
                Some(Err(_)) | None => return Some((Happening::End(key, last.clone()), (lines, last, None))),
            }
        }
    })
    .boxed()
}
