//! Fields that are accepted and kept, but have no effect yet. The list is data, so that it can shrink.

use std::sync::LazyLock;

use orion_model::yaml::Path;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    JobSpec, ServiceSpec,
    applied::ConfigSpec,
    config::check::{Findings, path_of},
    process::fields_of,
};

/// A field, or some of its values, without an effect yet.
#[derive(Clone, Copy, Debug)]
pub struct Unsupported {
    /// In which entries.
    pub of: EntryKind,
    /// The field within the entry; `[]` stands for every item of a list.
    pub field: &'static str,
    /// The values that have no effect; none means every value but the default.
    pub values: &'static [&'static str],
    /// What happens instead.
    pub reason: &'static str,
}

/// The entries of a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// Services.
    Service,
    /// Jobs.
    Job,
    /// Services and jobs.
    Workload,
    /// Plugins.
    Plugin,
}

const NO_CRON: &str = "cron is not built yet: the job never comes due";
const ONE_COMPLETION: &str = "a Run is one process that succeeds once";
const NO_PROBES: &str = "probes are not built yet: a process counts as ready when it has run for 1s";
const NO_PORTS: &str = "only static ports are built yet: it is held as a static port is";
const NO_HOOK: &str = "only beforeStart is called yet";
const NO_SCORE: &str = "the scheduler spreads over CPU and memory only yet";

/// What has no effect yet.
pub const UNSUPPORTED: &[Unsupported] = &[
    of(EntryKind::Workload, "health", NO_PROBES),
    of(EntryKind::Workload, "artifact", "artifacts are not fetched yet: the program must be on the node"),
    of(EntryKind::Workload, "resources.limits", "limits are not enforced yet"),
    of(EntryKind::Workload, "envFrom[].secret", "secrets are not built yet: its variables are not set"),
    of(EntryKind::Workload, "stop.preStop", "it is not run yet"),
    values(EntryKind::Workload, "ports[].allocation", &["dynamic", "socket"], NO_PORTS),
    of(EntryKind::Workload, "ports[].bind", NO_PORTS),
    of(EntryKind::Workload, "placement.prefer", NO_SCORE),
    of(EntryKind::Workload, "placement.spread", NO_SCORE),
    of(EntryKind::Workload, "placement.maxSkew", NO_SCORE),
    of(EntryKind::Workload, "placement.antiAffinity", NO_SCORE),
    of(EntryKind::Workload, "placement.packing", NO_SCORE),
    of(EntryKind::Workload, "singleton", "nothing stops the process of a node that is cut off yet"),
    of(EntryKind::Workload, "hooks.afterDeploy", NO_HOOK),
    of(EntryKind::Workload, "hooks.onFailure", NO_HOOK),
    of(EntryKind::Workload, "hooks.beforeStop", NO_HOOK),
    values(EntryKind::Workload, "dependencies[].condition", &["ready", "completed"], "it is taken as `started`"),
    values(EntryKind::Service, "replicas", &["eachNode"], "it is not built yet: no replica is made"),
    values(EntryKind::Service, "autoscaling.enabled", &["true"], "autoscaling is not built yet: replicas stay as said"),
    values(EntryKind::Service, "serverless.enabled", &["true"], "it runs all the time yet, unless its trigger is cron"),
    of(EntryKind::Service, "warmPool.size", "warm replicas are not built yet"),
    of(EntryKind::Workload, "schedule", NO_CRON),
    of(EntryKind::Job, "timeZone", NO_CRON),
    of(EntryKind::Job, "concurrencyPolicy", NO_CRON),
    of(EntryKind::Job, "startingDeadline", NO_CRON),
    of(EntryKind::Job, "missedRunPolicy", NO_CRON),
    of(EntryKind::Job, "successfulRunsHistoryLimit", NO_CRON),
    of(EntryKind::Job, "failedRunsHistoryLimit", NO_CRON),
    of(EntryKind::Job, "completions", ONE_COMPLETION),
    of(EntryKind::Job, "parallelism", ONE_COMPLETION),
    of(EntryKind::Job, "completionMode", ONE_COMPLETION),
    of(EntryKind::Job, "failurePolicy", "every exit code but 0 is a failed attempt yet"),
    of(EntryKind::Job, "suspend", "it is not built yet"),
    of(EntryKind::Plugin, "command", "command plugins are not built yet: it is never called"),
];

const fn of(of: EntryKind, field: &'static str, reason: &'static str) -> Unsupported {
    Unsupported { of, field, values: &[], reason }
}

const fn values(
    of: EntryKind,
    field: &'static str,
    values: &'static [&'static str],
    reason: &'static str,
) -> Unsupported {
    Unsupported { of, field, values, reason }
}

/// One line of the list as people read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The field, with the values in question where not all of them are: `spec.services[].replicas: eachNode`.
    pub path: String,
    /// What happens instead.
    pub reason: &'static str,
}

/// The whole list, as `orion validate --unsupported` prints it.
pub fn all() -> Vec<Line> {
    let lists = |unsupported: &'static Unsupported| unsupported.of.lists().iter().map(move |list| (list, unsupported));
    UNSUPPORTED.iter().flat_map(lists).map(|(list, unsupported)| unsupported.line(list)).collect()
}

impl EntryKind {
    fn lists(self) -> &'static [&'static str] {
        match self {
            Self::Service => &["services"],
            Self::Job => &["jobs"],
            Self::Workload => &["services", "jobs"],
            Self::Plugin => &["plugins"],
        }
    }
}

static SERVICE_DEFAULTS: LazyLock<Value> = LazyLock::new(|| defaults(&ServiceSpec::default()));
static JOB_DEFAULTS: LazyLock<Value> = LazyLock::new(|| defaults(&JobSpec::default()));

fn defaults(spec: &impl Serialize) -> Value {
    Value::Object(fields_of(spec))
}

/// Warns of each field that a file says in vain. What it says at its default is not in vain.
pub(super) fn warn(content: &ConfigSpec, findings: &mut Findings<'_>) {
    for unsupported in UNSUPPORTED {
        for list in unsupported.of.lists() {
            let (entries, defaults): (&[Map<String, Value>], &Value) = match *list {
                "services" => (&content.services, &SERVICE_DEFAULTS),
                "jobs" => (&content.jobs, &JOB_DEFAULTS),
                _ => (&content.plugins, &Value::Null),
            };
            let entries = entries.iter().enumerate();
            entries.for_each(|(index, entry)| unsupported.warn_of(&path_of(list, index), entry, defaults, findings));
        }
    }
}

impl Unsupported {
    fn line(&self, list: &str) -> Line {
        let values = if self.values.is_empty() { String::new() } else { format!(": {}", self.values.join(", ")) };
        Line { path: format!("spec.{list}[].{}{values}", self.field), reason: self.reason }
    }

    fn warn_of(&self, path: &Path, entry: &Map<String, Value>, defaults: &Value, findings: &mut Findings<'_>) {
        for (found, value) in said(path, self.field, entry) {
            if self.concerns(value) && !is_default(self.field, value, defaults) {
                findings.warn(found, format!("has no effect yet: {}", self.reason));
            }
        }
    }

    fn concerns(&self, value: &Value) -> bool {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        self.values.is_empty() || self.values.contains(&text.as_str())
    }
}

/// The values an entry says at a field, with their paths.
fn said<'v>(path: &Path, field: &str, entry: &'v Map<String, Value>) -> Vec<(Path, &'v Value)> {
    let mut steps = field.split('.');
    let first = steps.next().unwrap_or_default();
    let found = step(path, first, |name| entry.get(name));
    steps.fold(found, |found, next| {
        found.iter().flat_map(|(path, value)| step(path, next, |name| value.get(name))).collect()
    })
}

/// The value of one field, or each item of it.
fn step<'v>(path: &Path, field: &str, get: impl Fn(&str) -> Option<&'v Value>) -> Vec<(Path, &'v Value)> {
    let (name, each) = field.strip_suffix("[]").map_or((field, false), |name| (name, true));
    let path = path.join(name);
    match (get(name), each) {
        (Some(Value::Array(items)), true) => {
            items.iter().enumerate().map(|(index, item)| (path.join(index), item)).collect()
        }
        (Some(value), false) => vec![(path, value)],
        (Some(_), true) | (None, _) => Vec::new(),
    }
}

fn is_default(field: &str, value: &Value, defaults: &Value) -> bool {
    let default = field.split('.').try_fold(defaults, |at, name| at.get(name));
    match default {
        Some(default) => default == value,
        // Not written by default: empty, none or false.
        None => matches!(value, Value::Bool(false)) || value.as_array().is_some_and(Vec::is_empty),
    }
}
