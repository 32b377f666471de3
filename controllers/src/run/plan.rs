//! What is to be done about a Run: a pure function of the objects and the time.

use std::{sync::Arc, time::Duration};

use orion_model::{Condition, Object, Timestamp};
use orion_types::{
    Job, JobRun, Replica,
    job::ConcurrencyPolicy,
    process::template_hash,
    run::{RunPhase, RunStatus},
};

use super::attempts::{self, Known, Standing};
use crate::{
    names,
    notice::Notice,
    retention,
    retirement::{self, Finalizer},
    wake::Wake,
};

/// The first delay after a failed attempt; it doubles.
const FIRST_DELAY: Duration = Duration::from_secs(10);
/// The longest.
const LONGEST_DELAY: Duration = Duration::from_secs(360);

/// The condition that says that an attempt has failed and the next is waited for; it counts from when that was seen.
const RETRYING: &str = "Retrying";

pub(crate) struct Input<'a> {
    pub(crate) run: &'a JobRun,
    /// Its Job, if that is still there.
    pub(crate) job: Option<&'a Job>,
    /// The replicas that name the Run.
    pub(crate) replicas: &'a [Arc<Replica>],
    pub(crate) now: Timestamp,
}

/// What is to be done, all in one commit.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The number of the attempt to start.
    pub(crate) start: Option<u32>,
    pub(crate) edits: Vec<Edit>,
    /// Replicas that are over and no longer kept.
    pub(crate) sweeps: Vec<Arc<Replica>>,
    pub(crate) status: RunStatus,
    /// The Run itself is no longer kept.
    pub(crate) is_swept: bool,
    pub(crate) notice: Option<Notice>,
    pub(crate) wake: Wake,
}

/// A change of one replica.
#[derive(Debug)]
pub(crate) struct Edit {
    pub(crate) replica: Arc<Replica>,
    pub(crate) stop: Option<&'static str>,
    pub(crate) finalizer: Option<Finalizer>,
    /// Its settings are to be the Run's.
    pub(crate) refresh: bool,
}

/// What comes next for a Run that has not finished.
enum Next {
    /// An attempt runs, or is on its way.
    Wait,
    Start(u32),
    /// After a failure.
    Retry {
        number: u32,
        delay: Duration,
    },
    /// Nothing new is started for now.
    Suspended,
    End {
        phase: RunPhase,
        reason: &'static str,
        note: String,
    },
}

pub(crate) fn plan(input: &Input<'_>) -> Plan {
    let known = attempts::known(input.run, input.replicas);
    let mut wake = Wake::default();
    let mut status = input.run.status.clone();
    status.attempts = attempts::kept(&known);
    status.exit_code = known.iter().rev().find_map(|known| known.attempt.exit.as_ref()?.code);
    status.started_at = status.started_at.or_else(|| first_start(&known));

    let was_finished = status.phase.is_finished();
    let (mut start, mut notice) = (None, None);
    if !was_finished {
        match next(input, &known, &mut wake) {
            Next::Wait => not_retrying(&mut status, input),
            Next::Suspended => {}
            Next::Start(number) => start = Some(number),
            Next::Retry { number, delay } => start = retry(number, delay, &mut status, input, &mut wake),
            Next::End { phase, reason, note } => {
                notice = Some(ended(phase, reason, note));
                finish(&mut status, phase, reason, input.now);
            }
        }
        if start.is_some() {
            not_retrying(&mut status, input);
        }
        if !status.phase.is_finished() && (status.started_at.is_some() || known.len() > 1) {
            status.phase = RunPhase::Running;
        }
    }
    let is_swept = is_swept(input, &status, &mut wake);
    Plan {
        start,
        edits: edits(input, &known, &status),
        sweeps: sweeps(&known, input.now, &mut wake),
        status,
        is_swept,
        notice,
        wake,
    }
}

fn next(input: &Input<'_>, known: &[Known], wake: &mut Wake) -> Next {
    if let Some(done) = known.iter().find(|known| known.standing == Standing::Succeeded) {
        let note = format!("attempt {} succeeded", done.attempt.number);
        return Next::End { phase: RunPhase::Succeeded, reason: "", note };
    }
    if let Some(end) = past_deadline(input, wake).or_else(|| stopped(known)) {
        return end;
    }
    if superseded(input) == Some(Superseded::AtOnce) {
        return fail("Superseded", "the job has another template now");
    }
    if known.iter().any(|known| known.standing == Standing::Live) {
        return Next::Wait;
    }
    let failures = failures(known);
    if failures > input.run.spec.backoff_limit {
        let last = known.iter().rev().find_map(|known| Some(known.attempt.exit.as_ref()?.summary()));
        let note = format!("{failures} attempts have failed, the last with {}", last.unwrap_or_default());
        return fail("BackoffLimitExceeded", note);
    }
    if superseded(input).is_some() {
        return fail("Superseded", "the job has another template now");
    }
    if input.job.is_some_and(|job| job.spec.suspend) || input.run.is_being_deleted() {
        return Next::Suspended;
    }
    let number = known.last().map_or(0, |known| known.attempt.number) + 1;
    match known.last().map(|known| known.standing) {
        Some(Standing::Failed) => Next::Retry { number, delay: delay(failures) },
        _ => Next::Start(number),
    }
}

fn fail(reason: &'static str, note: impl Into<String>) -> Next {
    Next::End { phase: RunPhase::Failed, reason, note: note.into() }
}

fn past_deadline(input: &Input<'_>, wake: &mut Wake) -> Option<Next> {
    let limit = input.run.spec.active_deadline?;
    let deadline = input.run.metadata.creation_timestamp?.after(limit.get());
    if deadline > input.now {
        wake.at(deadline);
        return None;
    }
    Some(fail("DeadlineExceeded", format!("has not succeeded within {limit}")))
}

fn stopped(known: &[Known]) -> Option<Next> {
    let stopped = known.iter().find(|known| known.standing == Standing::Stopped)?;
    Some(fail("Stopped", format!("attempt {} was stopped", stopped.attempt.number)))
}

/// How many attempts have failed. Of those that the status no longer keeps, all have.
fn failures(known: &[Known]) -> u32 {
    let forgotten = known.first().map_or(0, |first| first.attempt.number.saturating_sub(1));
    let failed = known.iter().filter(|known| known.standing == Standing::Failed).count();
    forgotten.saturating_add(u32::try_from(failed).unwrap_or(u32::MAX))
}

/// 10 s after the first failure, doubling to 6 min.
fn delay(failures: u32) -> Duration {
    FIRST_DELAY.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST_DELAY)
}

/// Counts the delay from when the failure was seen, by this controller's own clock: the agent's may be wrong.
fn retry(number: u32, delay: Duration, status: &mut RunStatus, input: &Input<'_>, wake: &mut Wake) -> Option<u32> {
    status.conditions.set(retrying(true, format!("attempt {number} follows after {}s", delay.as_secs()), input));
    let since = status.conditions.get(RETRYING).map_or(input.now, |condition| condition.last_transition_time);
    let at = since.after(delay);
    if at <= input.now {
        return Some(number);
    }
    wake.at(at);
    None
}

fn not_retrying(status: &mut RunStatus, input: &Input<'_>) {
    if status.conditions.get(RETRYING).is_some() {
        status.conditions.set(retrying(false, String::new(), input));
    }
}

fn retrying(holds: bool, message: String, input: &Input<'_>) -> Condition {
    Condition {
        kind: RETRYING.to_owned(),
        status: holds.into(),
        reason: if holds { "AttemptFailed" } else { "AttemptStarted" }.to_owned(),
        message,
        last_transition_time: input.now,
        observed_generation: Some(input.run.metadata.generation),
    }
}

/// How a Run gives way to that of a newer template.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Superseded {
    /// It is stopped.
    AtOnce,
    /// What runs may end; nothing new is started.
    BetweenAttempts,
}

/// Whether the job has a newer template; only Runs that it made for a template give way.
fn superseded(input: &Input<'_>) -> Option<Superseded> {
    let job = input.job?;
    let is_for_template = input.run.name() == names::run(job.name(), &input.run.spec.hash);
    let hash = template_hash(&job.spec.process.template);
    if !is_for_template || job.spec.schedule.is_some() || hash == input.run.spec.hash {
        return None;
    }
    match job.spec.concurrency_policy {
        ConcurrencyPolicy::Allow => None,
        ConcurrencyPolicy::Forbid => Some(Superseded::BetweenAttempts),
        ConcurrencyPolicy::Replace => Some(Superseded::AtOnce),
    }
}

fn ended(phase: RunPhase, reason: &'static str, note: String) -> Notice {
    match phase {
        RunPhase::Succeeded => Notice::normal("Succeeded", note),
        RunPhase::Pending | RunPhase::Running | RunPhase::Failed => Notice::warning(reason, note),
    }
}

fn finish(status: &mut RunStatus, phase: RunPhase, reason: &str, now: Timestamp) {
    status.phase = phase;
    status.reason = reason.to_owned();
    status.finished_at = Some(now);
    status.conditions.remove(RETRYING);
}

fn first_start(known: &[Known]) -> Option<Timestamp> {
    known.iter().find_map(|known| known.replica.as_ref()?.status.observed.as_ref()?.started_at)
}

fn is_swept(input: &Input<'_>, status: &RunStatus, wake: &mut Wake) -> bool {
    let times = status.finished_at.zip(input.run.spec.ttl_after_finished);
    let Some((finished, ttl)) = times.filter(|_| !input.run.is_being_deleted()) else { return false };
    let until = finished.after(ttl.get());
    if until > input.now {
        wake.at(until);
    }
    until <= input.now
}

fn sweeps(known: &[Known], now: Timestamp, wake: &mut Wake) -> Vec<Arc<Replica>> {
    let over = known.iter().filter_map(|known| known.replica.as_ref());
    retention::sweep(over.filter(|replica| replica.status.phase.is_finished()), now, wake)
}

fn edits(input: &Input<'_>, known: &[Known], status: &RunStatus) -> Vec<Edit> {
    let edit = |replica: &Arc<Replica>| {
        let standing = known.iter().find(|known| known.attempt.number == replica.spec.index).map(|k| k.standing);
        let stop = standing.and_then(|standing| stop(replica, standing, status));
        let is_live = !replica.status.phase.is_finished() && !replica.is_stop_wished() && stop.is_none();
        let refresh = is_live && replica.spec.settings != input.run.spec.settings;
        Edit { replica: replica.clone(), stop, finalizer: retirement::due(replica), refresh }
    };
    let edits = input.replicas.iter().map(edit);
    edits.filter(|edit| edit.stop.is_some() || edit.finalizer.is_some() || edit.refresh).collect()
}

/// Why an attempt is to end: it was lost, and must not go on beside the next where its node comes back, or the Run is
/// over.
fn stop(replica: &Replica, standing: Standing, status: &RunStatus) -> Option<&'static str> {
    if replica.is_stop_wished() {
        return None;
    }
    match standing {
        Standing::Lost => Some("Lost"),
        Standing::Live if status.phase.is_finished() => Some(match status.reason.as_str() {
            "DeadlineExceeded" => "DeadlineExceeded",
            _ => "Replaced",
        }),
        Standing::Live | Standing::Ending | Standing::Succeeded | Standing::Failed | Standing::Stopped => None,
    }
}
