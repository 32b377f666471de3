//! `orion logs`: what processes have written, each line with its replica's name where there are several.

use std::collections::BTreeSet;

use futures::{StreamExt, stream::SelectAll};
use orion_http::{HttpClient, LogOptions, WatchEvent};
use orion_model::{LabelSelector, ObjectKey, Selection};

use crate::{
    cli::{self, Global},
    failure::Failure,
    remote::{Remote, text},
    style::{Style, Tone, safe},
};

/// Streams read at the same time.
const MAX_STREAMS: usize = 200;

/// One line, ready to be shown.
pub(crate) struct Line {
    /// Whose.
    pub(crate) replica: String,
    /// As it is stored: time, stream, text.
    pub(crate) text: String,
}

/// Shows logs.
pub(crate) async fn run(global: &Global, logs: &cli::Logs) -> Result<(), Failure> {
    let remote = Remote::of(global)?;
    let options = LogOptions { follow: logs.follow, tail: logs.tail, since: logs.since.clone() };
    let kind = remote.kind("replicas").await?;
    let selection = selection(&remote, &kind, logs).await?;
    let names: Vec<_> =
        remote.client.list(&selection).await?.items.iter().map(|replica| text(replica, "/metadata/name")).collect();
    if names.is_empty() && !logs.follow {
        return Err(Failure::refused("there is no replica to read from"));
    }
    let single = names.len() == 1 && !logs.follow;
    let style = Style::of_stdout();
    let mut follower = Follower::new(remote.client.clone(), options);
    for name in names {
        follower.add(remote.key(&kind, &name)).await;
    }
    let mut new = std::pin::pin!(remote.client.watch(selection, None));
    loop {
        tokio::select! {
            biased;
            line = follower.next() => match line {
                Some(line) => print(style, &line, single, logs.timestamps),
                None if !logs.follow => return Ok(()),
                None => {}
            },
            event = new.next(), if logs.follow => match event {
                Some(Ok(WatchEvent::Added(object) | WatchEvent::Modified(object))) => {
                    follower.add(remote.key(&kind, &text(&object, "/metadata/name"))).await;
                }
                Some(Ok(WatchEvent::Deleted(_) | WatchEvent::Synced)) => {}
                Some(Err(error)) if error.is_retryable() => {}
                Some(Err(error)) => return Err(error.into()),
                None => return Ok(()),
            },
        }
    }
}

async fn selection(remote: &Remote, kind: &orion_model::Kind, logs: &cli::Logs) -> Result<Selection, Failure> {
    let all = remote.selection(kind);
    if logs.what.is_empty() {
        return Ok(all);
    }
    let key = remote.find(&logs.what, &["services", "jobs", "runs", "replicas"]).await?;
    let labelled = |label: &str| all.clone().with_labels(LabelSelector::equals(label, &*key.name));
    Ok(match key.kind.name() {
        "Service" => labelled("orion/service"),
        "Job" => labelled("orion/job"),
        "Run" => labelled("orion/run"),
        "Replica" => all.with_fields(orion_model::FieldSelector::name(&*key.name)),
        other => return Err(Failure::usage(format!("a {other} has no log"))),
    })
}

type Lines = futures::stream::BoxStream<'static, Line>;

/// The logs of several replicas, merged as they come.
pub(crate) struct Follower {
    client: HttpClient,
    options: LogOptions,
    known: BTreeSet<ObjectKey>,
    streams: SelectAll<Lines>,
}

impl Follower {
    /// None yet.
    pub(crate) fn new(client: HttpClient, options: LogOptions) -> Self {
        Self { client, options, known: BTreeSet::new(), streams: SelectAll::new() }
    }

    /// Adds a replica whose log can be read; one that cannot be read yet may be added again later.
    pub(crate) async fn add(&mut self, key: ObjectKey) {
        if self.known.contains(&key) || self.streams.len() >= MAX_STREAMS {
            return;
        }
        let Ok(lines) = self.client.logs(&key, &self.options).await else { return };
        let replica = key.name.to_string();
        let lines = lines.filter_map(move |line| {
            let line = line
                .ok()
                .map(|line| Line { replica: replica.clone(), text: String::from_utf8_lossy(&line).into_owned() });
            std::future::ready(line)
        });
        self.known.insert(key);
        self.streams.push(lines.boxed());
    }

    /// The next line; `None` when no log is left to read.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<Line> {
        self.streams.next().await
    }
}

/// Prints a line for people.
pub(crate) fn print(style: Style, line: &Line, single: bool, timestamps: bool) {
    let (time, stream, message) = parts(&line.text);
    let time = if timestamps { format!("{} ", style.paint(time, Tone::Faint)) } else { String::new() };
    let message = safe(message);
    let message = if stream == "stderr" { style.paint(&message, Tone::Notice) } else { message };
    if single {
        println!("{time}{message}");
    } else {
        println!("{} | {time}{message}", style.name(&line.replica));
    }
}

/// The text of a stored line without its time and stream.
pub(crate) fn message(line: &str) -> &str {
    parts(line).2
}

fn parts(line: &str) -> (&str, &str, &str) {
    let (time, rest) = line.split_once(' ').unwrap_or(("", line));
    let (stream, message) = rest.split_once(' ').unwrap_or((rest, ""));
    (time, stream, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_line_is_time_stream_and_text() {
        assert_eq!(
            parts("2026-11-24T09:31:12.123456789Z stdout hello there"),
            ("2026-11-24T09:31:12.123456789Z", "stdout", "hello there")
        );
        assert_eq!(message("2026-11-24T09:31:12Z stderr "), "");
    }
}
