//! `GET /apis/orion/v1/namespaces/{namespace}/replicas/{name}/log?follow&tail&since`.

use std::{io, time::Duration};

use axum::{
    body::Body,
    extract::{Path, Query, State},
    http::header,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::stream;
use orion_apiserver::Failure;
use orion_model::{ClientError, Key, Resource, Timestamp};
use orion_types::{Node, Replica, node::Contact, protocol::LogRequest};
use serde::Deserialize;

use super::{LogReader, Next, OpenError};
use crate::agents::Gateway;

/// How long an agent may take for the first line or the end of a log that is not followed.
const ANSWER: Duration = Duration::from_secs(10);
/// A followed log may stay empty for ever, so its answer begins after this at the latest.
const FOLLOW_ANSWER: Duration = Duration::from_millis(500);

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in super::super) struct LogQuery {
    follow: Option<String>,
    tail: Option<String>,
    since: Option<String>,
}

/// Answers with a replica's log as plain text.
pub(in super::super) async fn log(
    State(gateway): State<Gateway>,
    Path((namespace, name)): Path<(String, String)>,
    Query(query): Query<LogQuery>,
) -> Result<Response, Failure> {
    let now = gateway.client().clock().now();
    let wanted = Wanted::read(&query, now)?;
    let key: Key<Replica> = Key::new(namespace, name);
    let mut reader = open(&gateway, &key, &wanted)?;
    let patience = if wanted.follow { FOLLOW_ANSWER } else { ANSWER };
    let first = match tokio::time::timeout(patience, reader.next()).await {
        Ok(Next::Failed(reason)) => {
            return Err(Failure::new(502, "BadGateway", format!("the log of {key} cannot be read: {reason}")));
        }
        Ok(first) => Some(first),
        Err(_) if wanted.follow => None,
        Err(_) => return Err(unavailable(format!("the agent does not answer for the log of {key}"))),
    };
    let body = Body::from_stream(stream::unfold((reader, first), |(reader, first)| lines(reader, first)));
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], body).into_response())
}

/// The next piece of the body. A log that breaks off breaks the body off, so that nobody takes it for whole.
async fn lines(mut reader: LogReader, first: Option<Next>) -> Option<(io::Result<Bytes>, (LogReader, Option<Next>))> {
    let next = match first {
        Some(first) => first,
        None => reader.next().await,
    };
    match next {
        Next::Lines(lines) => Some((Ok(lines), (reader, None))),
        Next::End => None,
        Next::Failed(reason) => Some((Err(io::Error::other(reason)), (reader, Some(Next::End)))),
    }
}

/// What of the log is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wanted {
    follow: bool,
    tail: Option<u64>,
    since: Option<Timestamp>,
}

impl Wanted {
    fn read(query: &LogQuery, now: Timestamp) -> Result<Self, Failure> {
        let follow = match query.follow.as_deref() {
            None | Some("false" | "0") => false,
            Some("" | "true" | "1") => true,
            Some(other) => return Err(Failure::invalid_option("follow", format!("{other:?} is not true or false"))),
        };
        let tail = query.tail.as_deref().map(|text| {
            text.parse().map_err(|_| Failure::invalid_option("tail", format!("{text:?} is not a number of lines")))
        });
        let since = query.since.as_deref().map(|text| since(text, now));
        Ok(Self { follow, tail: tail.transpose()?, since: since.transpose()? })
    }
}

/// A time, or a duration before now.
fn since(text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let ago: orion_types::Duration = text.parse().map_err(|_| {
        let message = format!("{text:?} is neither a time (2026-11-24T09:31:12Z) nor a duration (5m)");
        Failure::invalid_option("since", message)
    })?;
    let ago = i64::try_from(ago.get().as_millis()).unwrap_or(i64::MAX);
    Ok(Timestamp::from_millis(now.as_millis().saturating_sub(ago)))
}

fn open(gateway: &Gateway, key: &Key<Replica>, wanted: &Wanted) -> Result<LogReader, Failure> {
    let replica = gateway.world().replica(key).object;
    let replica = replica.ok_or_else(|| ClientError::NotFound(key.of_kind(Replica::KIND)))?;
    let Some(node) = replica.spec.node_name.as_deref() else {
        return Err(Failure::new(409, "Conflict", format!("{key} is not placed on a node yet: it has no log")));
    };
    let stored: Option<std::sync::Arc<Node>> = gateway.world().node(node).object;
    let observed = stored.as_ref().and_then(|node| node.status.observed.as_ref());
    let line = gateway.register().line(node).filter(|_| observed.is_none_or(|o| o.contact == Contact::Connected));
    let Some(line) = line else {
        return Err(unavailable(format!("the log of {key} is on node {node}, which is not connected")));
    };
    if line.agent.is_original() {
        let message = format!("the log of {key} is on node {node}, whose original agent does not send logs");
        return Err(Failure::new(501, "NotImplemented", message));
    }
    let request = LogRequest {
        id: gateway.client().randomness().suffix(16),
        replica_id: replica.metadata.name.clone(),
        uid: replica.metadata.uid.clone(),
        follow: wanted.follow,
        tail: wanted.tail,
        since: wanted.since,
        ..LogRequest::default()
    };
    line.streams.open(request).map_err(|error| match error {
        OpenError::TooMany => {
            Failure::new(429, "TooManyRequests", format!("too many logs of node {node} are being read"))
        }
        OpenError::Ended => unavailable(format!("the log of {key} is on node {node}, whose connection just ended")),
    })
}

fn unavailable(message: String) -> Failure {
    Failure::new(503, "ServiceUnavailable", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_of_a_log_is_read_or_refused_with_its_name() {
        let now = Timestamp::from_millis(600_000);
        let read = |follow: Option<&str>, tail: Option<&str>, since: Option<&str>| {
            let query =
                LogQuery { follow: follow.map(Into::into), tail: tail.map(Into::into), since: since.map(Into::into) };
            Wanted::read(&query, now).map_err(|failure| failure.status().message.clone())
        };
        let plain = Wanted { follow: false, tail: None, since: None };
        assert_eq!(read(None, None, None), Ok(plain));
        assert_eq!(read(Some(""), Some("5"), None), Ok(Wanted { follow: true, tail: Some(5), ..plain }));
        assert_eq!(read(None, None, Some("5m")), Ok(Wanted { since: Some(Timestamp::from_millis(300_000)), ..plain }));
        let epoch = Ok(Wanted { since: Some(Timestamp::UNIX_EPOCH), ..plain });
        assert_eq!(read(None, None, Some("1970-01-01T00:00:00Z")), epoch);
        for (follow, tail, since, says) in [
            (Some("maybe"), None, None, "follow: "),
            (None, Some("-1"), None, "tail: "),
            (None, None, Some("yesterday"), "since: "),
        ] {
            let message = read(follow, tail, since).expect_err("refused");
            assert!(message.starts_with(says), "{message}");
        }
    }
}
