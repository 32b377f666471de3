//! The logs of several replicas, merged as they come.

use std::collections::BTreeSet;

use futures::{
    StreamExt,
    stream::{BoxStream, SelectAll},
};
use orion_http::{HttpClient, LogOptions};
use orion_model::{ClientError, ObjectKey};

use super::lines::{Line, as_text};
use crate::failure::Failure;

/// Streams read at the same time.
const MAX_STREAMS: usize = 200;

/// Logs that are followed.
pub(crate) struct Follower {
    client: HttpClient,
    options: LogOptions,
    known: BTreeSet<ObjectKey>,
    streams: SelectAll<BoxStream<'static, Line>>,
}

impl Follower {
    /// None yet.
    pub(crate) fn new(client: HttpClient, options: LogOptions) -> Self {
        Self { client, options, known: BTreeSet::new(), streams: SelectAll::new() }
    }

    /// Adds a replica whose log can be read; one that cannot be read yet may be added again later.
    ///
    /// # Errors
    /// What makes no sense to ask of any log.
    pub(crate) async fn add(&mut self, key: ObjectKey) -> Result<(), Failure> {
        if self.known.contains(&key) || self.streams.len() >= MAX_STREAMS {
            return Ok(());
        }
        let lines = match self.client.logs(&key, &self.options).await {
            Ok(lines) => lines,
            Err(error @ (ClientError::Invalid { .. } | ClientError::BadRequest(_))) => return Err(error.into()),
            Err(error) => {
                tracing::debug!(%error, replica = %key.name, "cannot be read yet");
                return Ok(());
            }
        };
        let replica = key.name.to_string();
        let lines = lines.filter_map(move |line| {
            // A log that breaks off has no more lines; its replica's end is told elsewhere.
            std::future::ready(as_text(line).ok().map(|text| Line { replica: replica.clone(), text }))
        });
        self.known.insert(key);
        self.streams.push(lines.boxed());
        Ok(())
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
        self.streams.next().await
    }
}
