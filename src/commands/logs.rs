//! `orion logs`: what processes have written, each line with its replica's name where there are several.

mod follower;
mod lines;

use futures::{StreamExt, stream::BoxStream};
use orion_http::{LogOptions, WatchEvent};
use orion_model::{ClientError, FieldSelector, LabelSelector, ObjectKey, Resource, Selection, Timestamp};
use orion_types::{Job, JobRun, Replica, Service};

use crate::{
    cli::{self, Global},
    failure::Failure,
    out::note,
    remote::{Remote, shown, text},
    style::Style,
};

use self::lines::{as_text, parts};
pub(crate) use self::{
    follower::Follower,
    lines::{Line, Lines, message},
};

/// How long after a log broke off it is read on.
const RESUME_AFTER: std::time::Duration = std::time::Duration::from_secs(1);

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
    let mut resume = tokio::time::interval(RESUME_AFTER);
    resume.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut changes = std::pin::pin!(remote.client.watch(selection, None));
    loop {
        tokio::select! {
            biased;
            event = changes.next() => match event {
                Some(Ok(WatchEvent::Added(object) | WatchEvent::Modified(object))) => {
                    let key = remote.key(&Replica::KIND, &text(&object, "/metadata/name"));
                    lines.widen(&key.name);
                    if !text(&object, "/status/observed").is_empty() {
                        follower.add(key).await?;
                    }
                }
                Some(Ok(WatchEvent::Deleted(_) | WatchEvent::Synced)) => {}
                Some(Err(error)) if error.is_retryable() => note!("{error}; trying again"),
                Some(Err(error)) => return Err(error.into()),
                None => return Ok(()),
            },
            _ = resume.tick(), if follower.has_broken() => follower.resume().await,
            line = follower.next(), if !follower.is_idle() => {
                if let Some(line) = line {
                    lines.print(style, &line)?;
                }
            }
        }
    }
}
