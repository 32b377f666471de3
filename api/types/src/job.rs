//! The spec of a Job: a process that ends, how often it is to succeed, and when it is run.

use std::collections::BTreeMap;

use orion_model::{Conditions, Resource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Duration, Schedule, TimeZone,
    process::ProcessSpec,
    run::RunPhase,
    service::{Dependency, Hooks, Placement},
};

/// A definition of work that ends. Without a schedule it runs once for each template.
#[derive(Resource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[resource(kind = Job, group = "orion", version = "v1", status = JobStatus, validate = crate::rules::check_job)]
#[resource(
    column("LAST RUN", ".status.lastRun"),
    column("PHASE", ".status.lastPhase"),
    column("EXIT", ".status.lastExitCode")
)]
#[serde(rename_all = "camelCase", default)]
pub struct JobSpec {
    /// The process; it is never restarted in place, so `restart` means nothing here.
    #[serde(flatten)]
    pub process: ProcessSpec,
    /// Labels of the job.
    pub labels: BTreeMap<String, String>,
    /// Where its processes run.
    pub placement: Placement,
    /// At most one live process in the whole fleet; default false, so that on a lost node an attempt may run twice.
    pub singleton: bool,
    /// How many times it must succeed; default 1.
    #[schemars(range(min = 1))]
    pub completions: u32,
    /// How many processes run at a time; default 1.
    #[schemars(range(min = 1))]
    pub parallelism: u32,
    /// Whether each completion has a number of its own (`Indexed`) or not (`NonIndexed`, default).
    pub completion_mode: CompletionMode,
    /// How many failed attempts are followed by another, 10 s doubling to 6 min apart; default 6.
    pub backoff_limit: u32,
    /// How long a Run may take with all its attempts; default for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active_deadline: Option<Duration>,
    /// How long a finished Run is kept; default 24h.
    pub ttl_after_finished: Duration,
    /// Whether nothing new is started; default false.
    pub suspend: bool,
    /// What exit codes mean, the first that matches; default: every one but 0 is a failed attempt.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failure_policy: Vec<FailureRule>,
    /// When it is due: five cron fields (six with seconds first), `@daily` and its like, or `@every 15m`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// The time zone of the schedule; default UTC.
    pub time_zone: TimeZone,
    /// What happens at a due time while a Run is unfinished: `Forbid` (default) skips it, `Allow`, `Replace`.
    pub concurrency_policy: ConcurrencyPolicy,
    /// How late a due time may still be started; default for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub starting_deadline: Option<Duration>,
    /// What happens after due times that nobody could start: `runOnce` (default) or `skip`.
    pub missed_run_policy: MissedRunPolicy,
    /// How many succeeded Runs are kept; default 3.
    #[schemars(range(max = 1000))]
    pub successful_runs_history_limit: u32,
    /// How many failed Runs are kept; default 3.
    #[schemars(range(max = 1000))]
    pub failed_runs_history_limit: u32,
    /// Plugin actions called at moments of an attempt's life.
    #[serde(skip_serializing_if = "Hooks::is_empty")]
    pub hooks: Hooks,
    /// Plugins that concern themselves with this job.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub plugins: Vec<String>,
    /// Services and jobs that come first: a name, or `{name, condition}`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dependencies: Vec<Dependency>,
}

impl Default for JobSpec {
    fn default() -> Self {
        Self {
            process: ProcessSpec::default(),
            labels: BTreeMap::new(),
            placement: Placement::default(),
            singleton: false,
            completions: 1,
            parallelism: 1,
            completion_mode: CompletionMode::default(),
            backoff_limit: 6,
            active_deadline: None,
            ttl_after_finished: Duration::from_hours(24),
            suspend: false,
            failure_policy: Vec::new(),
            schedule: None,
            time_zone: TimeZone::default(),
            concurrency_policy: ConcurrencyPolicy::default(),
            starting_deadline: None,
            missed_run_policy: MissedRunPolicy::default(),
            successful_runs_history_limit: 3,
            failed_runs_history_limit: 3,
            hooks: Hooks::default(),
            plugins: Vec::new(),
            dependencies: Vec::new(),
        }
    }
}

/// Whether completions are told apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum CompletionMode {
    /// They are all alike.
    #[default]
    NonIndexed,
    /// Each has a number.
    Indexed,
}

/// What some exit codes mean.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailureRule {
    /// The exit codes.
    pub exit_codes: Vec<i32>,
    /// What they mean.
    pub action: FailureAction,
}

/// What a failed attempt does to its Run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum FailureAction {
    /// The Run fails at once.
    FailJob,
    /// The attempt does not count.
    Ignore,
    /// The attempt counts against the backoff limit.
    Count,
}

/// What happens at a due time while a Run is unfinished.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum ConcurrencyPolicy {
    /// The due time is skipped, and recorded.
    #[default]
    Forbid,
    /// Both run.
    Allow,
    /// The unfinished one is stopped.
    Replace,
}

/// What happens after due times that nobody could start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub enum MissedRunPolicy {
    /// One Run for all of them.
    #[default]
    RunOnce,
    /// None.
    Skip,
}

/// How many template hashes a Job remembers to have run.
pub const KEPT_HASHES: usize = 100;

/// What is of a Job.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct JobStatus {
    /// The newest Run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_run: Option<String>,
    /// Where it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_phase: Option<RunPhase>,
    /// How it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_exit_code: Option<i32>,
    /// The template hashes it has run, newest first, at most [`KEPT_HASHES`]: none of them is run again unasked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ran_hashes: Vec<String>,
    /// What can be said of it beside.
    #[serde(skip_serializing_if = "Conditions::is_empty")]
    pub conditions: Conditions,
    /// The generation all this was said of.
    pub observed_generation: i64,
}
