//! Which revision a service is on its way to: the states of a rollout, from what the status said and what is there.
//!
//! ```text
//!            template changes                 all available
//!  settled ───────────────────▶ rolling out ────────────────▶ settled (new stable)
//!                                    │ start error, 5 exits, deadline
//!                                    ▼
//!          template changes,      failed ── autoRollback ──▶ back to stable, and stays there
//!          or a retry ◀──────────────┤
//!                                    ├── no autoRollback ──▶ held as it is
//!                                    └── never was stable ─▶ the agents go on trying; available after all: settled
//! ```

use orion_model::Timestamp;
use orion_types::{
    Service,
    service::{PROGRESSING, Rollout, ServiceStatus},
};

use super::{census::Census, trouble};
use crate::{labels, notice::Notice, wake::Wake};

/// Where a service is going.
#[derive(Debug)]
pub(super) struct Course {
    /// The revision of the spec as it is.
    pub(super) current: String,
    pub(super) stable: Option<String>,
    pub(super) failed: Option<Failure>,
    pub(super) rollout: Option<Rollout>,
    pub(super) notices: Vec<Notice>,
}

/// A revision that failed and is not tried again unasked: the current one.
#[derive(Debug)]
pub(super) struct Failure {
    /// Why; `None` where it failed before and the conditions still say why.
    pub(super) why: Option<String>,
}

/// What a course is set by.
pub(super) struct Bearings<'a> {
    pub(super) service: &'a Service,
    /// The revision of the spec as it is.
    pub(super) current: String,
    /// The last one that was done, if its template is still known.
    pub(super) stable: Option<String>,
    pub(super) census: &'a Census,
    pub(super) desired: u32,
    /// Whether nothing may start yet.
    pub(super) waits: bool,
    pub(super) now: Timestamp,
}

impl Course {
    pub(super) fn set(bearings: Bearings<'_>, wake: &mut Wake) -> Self {
        let was = &bearings.service.status;
        let Bearings { ref current, ref stable, .. } = bearings;
        if stable.as_ref() == Some(current) {
            return Self::settled(current.clone(), Vec::new());
        }
        let failed = was.failed.as_ref() == Some(current) && !is_retried(bearings.service);
        let goes_back = failed && stable.is_some();
        if !goes_back && !bearings.waits && bearings.census.is_exactly(current, bearings.desired) {
            let first = stable.is_none();
            return Self::settled(current.clone(), vec![done(current, first, bearings.desired)]);
        }
        if failed {
            let (current, stable) = (current.clone(), stable.clone());
            return Self { current, stable, failed: Some(Failure { why: None }), rollout: None, notices: Vec::new() };
        }
        Self::rolling(bearings, wake)
    }

    fn settled(current: String, notices: Vec<Notice>) -> Self {
        Self { stable: Some(current.clone()), current, failed: None, rollout: None, notices }
    }

    fn rolling(bearings: Bearings<'_>, wake: &mut Wake) -> Self {
        let Bearings { service, current, stable, census, desired, waits, now } = bearings;
        let mut course = Self { current, stable, failed: None, rollout: None, notices: Vec::new() };
        if waits {
            return course;
        }
        let known = service.status.rollout.clone().filter(|rollout| rollout.revision == course.current);
        // A revision that is tried again begins anew.
        let known = known.filter(|_| service.status.failed.as_ref() != Some(&course.current));
        let rollout = known.unwrap_or_else(|| Rollout { revision: course.current.clone(), since: now });
        let deadline = rollout.since.after(service.spec.update.deadline.get());
        let why = trouble::of_rollout(census, &course.current, rollout.since)
            .or_else(|| (deadline <= now).then(|| past_deadline(service, census, desired)));
        match why {
            None => {
                wake.at(deadline);
                course.rollout = Some(rollout);
            }
            Some(why) => course.fail(why, service),
        }
        course
    }

    fn fail(&mut self, why: String, service: &Service) {
        let then = match &self.stable {
            Some(stable) if service.spec.update.auto_rollback => format!("; going back to {stable}"),
            Some(_) => "; held as it is".to_owned(),
            None => String::new(),
        };
        self.notices.push(Notice::warning("RolloutFailed", format!("{}: {why}{then}", self.current)));
        self.failed = Some(Failure { why: Some(why) });
    }

    /// The revision that replicas are to have.
    pub(super) fn target(&self) -> &str {
        match (&self.failed, &self.stable) {
            (Some(_), Some(stable)) => stable,
            (_, _) => &self.current,
        }
    }

    /// Whether the target is what a failed rollout goes back to.
    pub(super) fn goes_back(&self) -> bool {
        self.failed.is_some() && self.stable.is_some()
    }

    /// Whether old and new replicas of a template that changed are there side by side.
    pub(super) fn is_settled(&self) -> bool {
        self.failed.is_none() && self.stable.as_deref() == Some(&self.current)
    }
}

fn done(revision: &str, first: bool, desired: u32) -> Notice {
    let what = if first { "is running" } else { "has been rolled out" };
    Notice::normal("RolloutDone", format!("{revision} {what}: {desired} of {desired} available"))
}

fn past_deadline(service: &Service, census: &Census, desired: u32) -> String {
    let deadline = service.spec.update.deadline;
    let available = census.available();
    let what = trouble::first(&census.live).map(|trouble| format!("; {}", trouble.note)).unwrap_or_default();
    format!("is not done after {deadline}: {available} of {desired} available{what}")
}

/// Whether the failed revision was asked to be tried again, after it failed.
fn is_retried(service: &Service) -> bool {
    let asked = labels::time(&service.metadata.annotations, labels::RETRY);
    let failed_at = failed_at(&service.status);
    asked.zip(failed_at).is_some_and(|(asked, failed_at)| asked > failed_at)
}

fn failed_at(status: &ServiceStatus) -> Option<Timestamp> {
    status.conditions.get(PROGRESSING).map(|condition| condition.last_transition_time)
}
