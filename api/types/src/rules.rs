//! What must hold within one spec, beyond the form of each field: pure checks, for a configuration's entries and for
//! objects that another client writes.

mod process;

use orion_model::Issue;
use serde::Serialize;

pub(crate) use self::process::EnvFiles;
use crate::{
    job::JobSpec,
    process::fields_of,
    service::{Replicas, ServiceSpec, Strategy},
};

/// The largest definition of a service or job, as JSON: it goes to an agent in one frame.
pub const MAX_DEFINITION_BYTES: usize = 256 * 1024;

impl ServiceSpec {
    /// What is wrong with the spec by itself, whoever wrote it; paths are relative to the spec.
    pub fn issues(&self) -> Vec<Issue> {
        service(self, EnvFiles::Refused)
    }
}

impl JobSpec {
    /// What is wrong with the spec by itself, whoever wrote it; paths are relative to the spec.
    pub fn issues(&self) -> Vec<Issue> {
        job(self, EnvFiles::Refused)
    }
}

/// What is wrong with a service's spec.
pub(crate) fn service(spec: &ServiceSpec, env_files: EnvFiles) -> Vec<Issue> {
    let mut issues = process::issues(&spec.process, env_files);
    issues.extend(singleton(spec));
    issues.extend(update(spec));
    issues.extend(autoscaling(spec));
    issues.extend(warm_pool(spec));
    issues.extend(size(spec));
    issues
}

/// What is wrong with a job's spec.
pub(crate) fn job(spec: &JobSpec, env_files: EnvFiles) -> Vec<Issue> {
    let mut issues = process::issues(&spec.process, env_files);
    let empty = spec.failure_policy.iter().position(|rule| rule.exit_codes.is_empty());
    issues.extend(empty.map(|index| Issue::at(format!("failurePolicy[{index}].exitCodes"), "names no exit code")));
    issues.extend(size(spec));
    issues
}

fn singleton(spec: &ServiceSpec) -> Vec<Issue> {
    if !spec.singleton {
        return Vec::new();
    }
    let mut issues = Vec::new();
    match spec.replicas {
        Replicas::Count(0 | 1) => {}
        many => issues.push(Issue::at("replicas", format!("is {many}, but a singleton has at most 1"))),
    }
    if spec.autoscaling.enabled && spec.autoscaling.max_replicas > 1 {
        issues.push(Issue::at("autoscaling.maxReplicas", "must be 1 for a singleton"));
    }
    issues
}

fn update(spec: &ServiceSpec) -> Option<Issue> {
    let stuck =
        spec.update.strategy == Strategy::Rolling && spec.update.max_surge == 0 && spec.update.max_unavailable == 0;
    stuck.then(|| Issue::at("update.maxUnavailable", "and maxSurge are both 0, so no replica could ever be replaced"))
}

fn autoscaling(spec: &ServiceSpec) -> Option<Issue> {
    let (min, max) = (spec.autoscaling.min_replicas, spec.autoscaling.max_replicas);
    if min > max {
        return Some(Issue::at("autoscaling.minReplicas", format!("is {min}, more than maxReplicas, which is {max}")));
    }
    let each = spec.autoscaling.enabled && spec.replicas == Replicas::EachNode;
    each.then(|| Issue::at("autoscaling.enabled", "has no number to change where replicas is eachNode"))
}

fn warm_pool(spec: &ServiceSpec) -> Option<Issue> {
    let fixed = spec.warm_pool.size > 0 && spec.process.template.ports.iter().any(|port| port.exclusive().is_some());
    fixed.then(|| {
        Issue::at(
            "warmPool.size",
            "needs ports with `allocation: dynamic`: a static one is held by the replica that serves",
        )
    })
}

fn size(spec: &impl Serialize) -> Option<Issue> {
    let bytes = serde_json::Value::Object(fields_of(spec)).to_string().len();
    (bytes > MAX_DEFINITION_BYTES).then(|| {
        Issue::at(
            "",
            format!(
                "is a definition of {} KiB, at most {} KiB are allowed",
                bytes.div_ceil(1024),
                MAX_DEFINITION_BYTES / 1024
            ),
        )
    })
}
