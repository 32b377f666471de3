//! What is said of a service in its status.

use orion_model::{Condition, ConditionStatus, Conditions, Timestamp};
use orion_types::{
    Service,
    service::{AVAILABLE, DEGRADED, PROGRESSING, ServiceStatus},
};

use super::{
    census::Census,
    course::{Course, Failure},
    trouble,
};

/// The reason of a rollout that failed, in `Progressing` and in `Degraded`.
pub(super) const ROLLOUT_FAILED: &str = "RolloutFailed";

/// What the status says beside the course.
pub(super) struct Said<'a> {
    pub(super) service: &'a Service,
    pub(super) census: &'a Census,
    pub(super) course: &'a Course,
    pub(super) desired: u32,
    /// What has to come first, in a sentence.
    pub(super) waits: Option<&'a str>,
    pub(super) now: Timestamp,
}

struct Saying {
    status: ConditionStatus,
    reason: &'static str,
    message: String,
}

impl Said<'_> {
    pub(super) fn status(&self) -> ServiceStatus {
        let Self { service, census, course, desired, .. } = *self;
        ServiceStatus {
            ready: census.ready(),
            available: census.available(),
            updated: census.placed_of(&course.current),
            desired,
            stable: course.stable.clone(),
            current: Some(course.current.clone()),
            failed: course.failed.as_ref().map(|_| course.current.clone()),
            rollout: course.rollout.clone(),
            conditions: self.conditions(),
            observed_generation: service.metadata.generation,
        }
    }

    fn conditions(&self) -> Conditions {
        let mut conditions = self.service.status.conditions.clone();
        for (kind, saying) in
            [(AVAILABLE, self.available()), (PROGRESSING, self.progressing()), (DEGRADED, self.degraded())]
        {
            conditions.set(Condition {
                kind: kind.to_owned(),
                status: saying.status,
                reason: saying.reason.to_owned(),
                message: saying.message,
                last_transition_time: self.now,
                observed_generation: Some(self.service.metadata.generation),
            });
        }
        conditions
    }

    fn available(&self) -> Saying {
        let (available, desired) = (self.census.available(), self.desired);
        let enough = available >= desired;
        let reason = if enough { "EnoughReplicas" } else { "TooFewReplicas" };
        Saying::new(enough.into(), reason, format!("{available} of {desired} available"))
    }

    fn progressing(&self) -> Saying {
        let current = &self.course.current;
        if let Some(failure) = &self.course.failed {
            return Saying::new(ConditionStatus::False, ROLLOUT_FAILED, self.failure(failure));
        }
        if let Some(waits) = self.waits {
            return Saying::new(ConditionStatus::Unknown, "WaitsForDependencies", waits.to_owned());
        }
        if self.course.rollout.is_none() {
            return Saying::new(ConditionStatus::True, "Done", format!("{current} is rolled out"));
        }
        let new = self.census.live.iter().filter(|copy| copy.is_of(current) && copy.available).count();
        Saying::new(ConditionStatus::True, "RollingOut", format!("{current}: {new} of {} available", self.desired))
    }

    fn degraded(&self) -> Saying {
        if let Some(failure) = &self.course.failed {
            return Saying::new(ConditionStatus::True, ROLLOUT_FAILED, self.failure(failure));
        }
        match trouble::first(&self.census.live) {
            Some(trouble) => Saying::new(ConditionStatus::True, trouble.reason, trouble.note),
            None => Saying::new(ConditionStatus::False, "AsWished", String::new()),
        }
    }

    /// Why the rollout failed: as found now, or as the conditions have said since.
    fn failure(&self, failure: &Failure) -> String {
        let said = self.service.status.conditions.get(PROGRESSING).filter(|said| said.reason == ROLLOUT_FAILED);
        match (&failure.why, said) {
            (Some(why), _) => format!("{}: {why}", self.course.current),
            (None, Some(said)) => said.message.clone(),
            (None, None) => format!("{} has failed", self.course.current),
        }
    }
}

impl Saying {
    fn new(status: ConditionStatus, reason: &'static str, message: String) -> Self {
        Self { status, reason, message }
    }
}
