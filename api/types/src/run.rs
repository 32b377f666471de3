//! Runs: one execution of a Job each.

use orion_model::{Conditions, Issue, Resource, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    process::{Settings, Template},
    replica::Exit,
};

/// One execution of a Job. It goes through attempts, each a Replica, until one succeeds or none is left; a finished
/// state never changes.
#[derive(Resource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[resource(kind = JobRun, name = "Run", group = "orion", version = "v1", status = RunStatus, validate = immutable)]
#[resource(column("JOB", ".spec.jobName"), column("PHASE", ".status.phase"), column("EXIT", ".status.exitCode"))]
#[resource(
    column("STARTED", ".status.startedAt"),
    column("FINISHED", ".status.finishedAt"),
    selectable = ".spec.jobName"
)]
#[serde(rename_all = "camelCase", default)]
pub struct RunSpec {
    /// The Job it is an execution of.
    pub job_name: String,
    /// The hash of the template it was made from.
    pub hash: String,
    /// The process, copied at creation; immutable.
    pub template: Template,
    /// The process fields that change in place.
    pub settings: Settings,
    /// Attempts after the first that may fail before the Run does.
    pub backoff_limit: u32,
    /// How long the Run may take, in seconds; without an end where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active_deadline: Option<crate::Duration>,
    /// How long it is kept after it has finished.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_after_finished: Option<crate::Duration>,
    /// Where its attempts may run, as the Job says.
    pub placement: crate::service::Placement,
    /// When it was due, for one made by a schedule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
}

/// Where a Run stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum RunPhase {
    /// No attempt has started.
    #[default]
    Pending,
    /// An attempt runs, or the next one is waited for.
    Running,
    /// An attempt succeeded.
    Succeeded,
    /// No attempt is left, or the deadline has passed.
    Failed,
}

impl RunPhase {
    /// Whether it never changes again.
    pub fn is_finished(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

/// What became of a Run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RunStatus {
    /// Where it stands.
    pub phase: RunPhase,
    /// Its attempts, oldest first; the last 20.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Attempt>,
    /// The exit code of the last attempt that ended by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// When its first attempt's process started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it finished.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// Why it failed, a CamelCase word: `BackoffLimitExceeded`, `DeadlineExceeded`, `Stopped`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What can be said of it beside.
    #[serde(skip_serializing_if = "Conditions::is_empty")]
    pub conditions: Conditions,
}

/// One attempt of a Run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Attempt {
    /// Its number, from 1.
    pub number: u32,
    /// Its Replica.
    pub replica: String,
    /// How it ended; absent while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
    /// Whether its node was lost, which does not count as a failure.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub lost: bool,
}

fn immutable(new: &JobRun, old: Option<&JobRun>) -> Vec<Issue> {
    let Some(old) = old else { return Vec::new() };
    let mut issues = Vec::new();
    if old.spec.template != new.spec.template || old.spec.hash != new.spec.hash {
        issues.push(Issue::at("spec.template", "of a Run cannot be changed"));
    }
    if old.status.phase.is_finished() && old.status.phase != new.status.phase {
        issues.push(Issue::at("status.phase", "of a finished Run cannot be changed"));
    }
    issues
}
