//! `orion logs`: what processes have written, each line with its replica's name where there are several.

use std::collections::BTreeSet;

use futures::{
    StreamExt,
    stream::{BoxStream, SelectAll},
};
use orion_http::{HttpClient, LogOptions, WatchEvent};
use orion_model::{ClientError, FieldSelector, LabelSelector, ObjectKey, Resource, Selection, Timestamp};
use orion_types::{Job, JobRun, Replica, Service};

use crate::{
    cli::{self, Global},
    failure::Failure,
    local_time,
    out::{note, say},
    remote::{Remote, shown, text},
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
    if let Some(since) = logs.since.as_deref().filter(|since| !is_time_or_age(since)) {
        return Err(Failure::usage(format!(
            "--since {since:?}: is neither how long ago (10m) nor a time (2026-11-24T09:31:12Z)"
        )));
    }
    let remote = Remote::of(global).await?;
    let options = LogOptions { follow: logs.follow, tail: logs.tail, since: logs.since.clone() };
    let (whose, selection) = selection(&remote, logs).await?;
    if logs.follow {
        return follow(&remote, selection, options, logs.timestamps).await;
    }
    let keys = keys_of(&remote, &selection).await?;
    if keys.is_empty() {
        return Err(Failure::refused(format!("{whose} has no replica to read from")));
    }
    show(&remote, keys, &options, logs.timestamps).await
}

fn is_time_or_age(since: &str) -> bool {
    since.parse::<Timestamp>().is_ok() || since.parse::<orion_types::Duration>().is_ok()
}

/// Whose logs, and the replicas that wrote them.
async fn selection(remote: &Remote, logs: &cli::Logs) -> Result<(String, Selection), Failure> {
    let all = remote.selection(&Replica::KIND);
    if logs.what.is_empty() {
        return Ok((format!("namespace {}", remote.namespace), all));
    }
    let key = remote.find(&logs.what, &["services", "jobs", "runs", "replicas"]).await?;
    // What does not exist is told as such, not as something without a log.
    remote.client.get(&key).await?;
    let labelled = |label: &str| all.clone().with_labels(LabelSelector::equals(label, &*key.name));
    let selection = if key.kind == Service::KIND {
        labelled("orion/service")
    } else if key.kind == Job::KIND {
        labelled("orion/job")
    } else if key.kind == JobRun::KIND {
        labelled("orion/run")
    } else if key.kind == Replica::KIND {
        all.with_fields(FieldSelector::name(&*key.name))
    } else {
        return Err(Failure::usage(format!("a {} has no log", key.kind.name().to_lowercase())));
    };
    Ok((shown(&key), selection))
}

async fn keys_of(remote: &Remote, selection: &Selection) -> Result<Vec<ObjectKey>, Failure> {
    let listed = remote.client.list(selection).await?.items;
    Ok(listed.iter().map(|item| remote.key(&Replica::KIND, &text(item, "/metadata/name"))).collect())
}

/// Everything there is, in the order in which it was written.
async fn show(remote: &Remote, keys: Vec<ObjectKey>, options: &LogOptions, timestamps: bool) -> Result<(), Failure> {
    let style = Style::of_stdout();
    let mut lines = if keys.len() == 1 { Lines::anonymous(timestamps) } else { Lines::named(timestamps) };
    let mut logs = Vec::new();
    let mut unread = 0;
    for key in &keys {
        match remote.client.logs(key, options).await {
            Ok(log) => {
                lines.widen(&key.name);
                logs.push(Log { replica: key.name.to_string(), lines: log.map(as_text).boxed(), next: None });
            }
            // What was asked cannot be answered for any of them.
            Err(error @ ClientError::Invalid { .. } | error @ ClientError::BadRequest(_)) => return Err(error.into()),
            // It has not been started, or its log has had its time: that is no failure while others can be read.
            Err(error @ (ClientError::Conflict { .. } | ClientError::NotFound(_))) if keys.len() > 1 => {
                tracing::debug!(%error, replica = %key.name, "has no log");
            }
            Err(error) => {
                note!("{}: {error}", key.name);
                unread += 1;
            }
        }
    }
    for log in &mut logs {
        log.advance().await?;
    }
    // The oldest of the lines that come next, one of each log.
    while let Some(log) = logs.iter_mut().filter(|log| log.next.is_some()).min_by(|a, b| a.time().cmp(b.time())) {
        if let Some(text) = log.next.take() {
            lines.print(style, &Line { replica: log.replica.clone(), text })?;
        }
        log.advance().await?;
    }
    if unread > 0 {
        Err(Failure::refused(format!("{unread} of {} logs could not be read", keys.len())))
    } else {
        Ok(())
    }
}

fn as_text<B: AsRef<[u8]>>(line: Result<B, ClientError>) -> Result<String, ClientError> {
    line.map(|line| String::from_utf8_lossy(line.as_ref()).into_owned())
}

/// One replica's log, and its next line.
struct Log {
    replica: String,
    lines: BoxStream<'static, Result<String, ClientError>>,
    next: Option<String>,
}

impl Log {
    async fn advance(&mut self) -> Result<(), Failure> {
        self.next = self.lines.next().await.transpose()?;
        Ok(())
    }

    fn time(&self) -> &str {
        self.next.as_deref().map_or("", |line| parts(line).0)
    }
}

/// What is and what comes, of replicas that come too.
async fn follow(remote: &Remote, selection: Selection, options: LogOptions, timestamps: bool) -> Result<(), Failure> {
    let style = Style::of_stdout();
    let mut lines = Lines::named(timestamps);
    let mut follower = Follower::new(remote.client.clone(), options);
    let mut changes = std::pin::pin!(remote.client.watch(selection, None));
    loop {
        tokio::select! {
            biased;
            event = changes.next() => match event {
                Some(Ok(WatchEvent::Added(object) | WatchEvent::Modified(object))) => {
                    let key = remote.key(&Replica::KIND, &text(&object, "/metadata/name"));
                    lines.widen(&key.name);
                    if !text(&object, "/status/observed").is_empty() {
                        follower.add(key).await.map_or(Ok(()), Err)?;
                    }
                }
                Some(Ok(WatchEvent::Deleted(_) | WatchEvent::Synced)) => {}
                Some(Err(error)) if error.is_retryable() => note!("{error}; trying again"),
                Some(Err(error)) => return Err(error.into()),
                None => return Ok(()),
            },
            line = follower.next(), if !follower.is_idle() => {
                if let Some(line) = line {
                    lines.print(style, &line)?;
                }
            }
        }
    }
}

/// The logs of several replicas, merged as they come.
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

    /// Adds a replica whose log can be read; one that cannot be read yet may be added again later. What makes no sense
    /// to ask of any log is returned.
    pub(crate) async fn add(&mut self, key: ObjectKey) -> Option<Failure> {
        if self.known.contains(&key) || self.streams.len() >= MAX_STREAMS {
            return None;
        }
        let lines = match self.client.logs(&key, &self.options).await {
            Ok(lines) => lines,
            Err(error @ (ClientError::Invalid { .. } | ClientError::BadRequest(_))) => return Some(error.into()),
            Err(error) => {
                tracing::debug!(%error, replica = %key.name, "cannot be read yet");
                return None;
            }
        };
        let replica = key.name.to_string();
        let lines = lines.filter_map(move |line| {
            // A log that breaks off has no more lines; its replica's end is told elsewhere.
            std::future::ready(as_text(line).ok().map(|text| Line { replica: replica.clone(), text }))
        });
        self.known.insert(key);
        self.streams.push(lines.boxed());
        None
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

/// How lines are shown: names in a column that grows with them.
pub(crate) struct Lines {
    named: bool,
    timestamps: bool,
    width: usize,
}

impl Lines {
    /// Each with its replica's name.
    pub(crate) fn named(timestamps: bool) -> Self {
        Self { named: true, timestamps, width: 0 }
    }

    /// Without it.
    pub(crate) fn anonymous(timestamps: bool) -> Self {
        Self { named: false, timestamps, width: 0 }
    }

    /// Makes room for a name.
    pub(crate) fn widen(&mut self, name: &str) {
        self.width = self.width.max(name.chars().count());
    }

    /// A name, padded to its column.
    pub(crate) fn name(&self, style: Style, name: &str) -> String {
        let padding = self.width.saturating_sub(name.chars().count());
        format!("{}{}", style.name(name), " ".repeat(padding))
    }

    /// Prints a line.
    pub(crate) fn print(&self, style: Style, line: &Line) -> Result<(), Failure> {
        say!("{}", self.shown(style, line));
        Ok(())
    }

    fn shown(&self, style: Style, line: &Line) -> String {
        let (time, stream, message) = parts(&line.text);
        let message = safe(message);
        let message = if stream == "stderr" { style.paint(&message, Tone::Notice) } else { message };
        let time = match self.timestamps {
            true => local_time::precise(time).unwrap_or_else(|| time.to_owned()) + " ",
            false => String::new(),
        };
        let time = style.paint(&time, Tone::Faint);
        if self.named { format!("{} | {time}{message}", self.name(style, &line.replica)) } else { time + &message }
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

    #[test]
    fn names_stand_in_a_column_and_alone_there_is_none() {
        let line = |replica: &str| Line {
            replica: replica.into(),
            text: "2026-11-24T09:31:12.123456789Z stdout hello".into(),
        };
        let mut lines = Lines::named(false);
        lines.widen("database-0-abcde");
        assert_eq!(lines.shown(Style::plain(), &line("web-0-abcde")), "web-0-abcde      | hello");
        assert_eq!(Lines::anonymous(false).shown(Style::plain(), &line("web-0-abcde")), "hello");
        assert!(Lines::anonymous(true).shown(Style::plain(), &line("a")).ends_with(" hello"));
    }
}
