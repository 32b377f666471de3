//! What must hold within one spec, beyond the form of each field: pure checks, for a configuration's entries and for
//! objects that another client writes.

mod process;

use orion_model::{Issue, Metadata, yaml::Path};
use serde::Serialize;
use serde_json::Value;

pub(crate) use self::process::EnvFiles;
use crate::{
    Job, Service,
    dns_label::{MAX_WORKLOAD_NAME, label_problem},
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

/// The check of a Service that is written, by whatever way.
pub(crate) fn check_service(service: &Service, _old: Option<&Service>) -> Vec<Issue> {
    check_object(&service.metadata, service.spec.issues())
}

/// The check of a Job that is written, by whatever way.
pub(crate) fn check_job(job: &Job, _old: Option<&Job>) -> Vec<Issue> {
    check_object(&job.metadata, job.spec.issues())
}

fn check_object(metadata: &Metadata, of_spec: Vec<Issue>) -> Vec<Issue> {
    let name = label_problem(&metadata.name, MAX_WORKLOAD_NAME).map(|problem| Issue::at("metadata.name", problem));
    name.into_iter().chain(of_spec.into_iter().map(|issue| issue.under("spec"))).collect()
}

/// What is wrong with a service's spec.
pub(crate) fn service(spec: &ServiceSpec, env_files: EnvFiles) -> Vec<Issue> {
    let mut issues = process::issues(&spec.process, env_files);
    issues.extend(singleton(spec));
    issues.extend(replicas(spec));
    issues.extend(update(spec));
    issues.extend(autoscaling(spec));
    issues.extend(warm_pool(spec));
    issues.extend(content(spec));
    issues
}

/// The most replicas of one service. More is a slip of the finger: ten thousand machines would have ten each.
const MAX_REPLICAS: u32 = 100_000;

fn replicas(spec: &ServiceSpec) -> Option<Issue> {
    let too_many = matches!(spec.replicas, Replicas::Count(count) if count > MAX_REPLICAS);
    too_many.then(|| Issue::at("replicas", format!("must be at most {MAX_REPLICAS}")))
}

/// What is wrong with a job's spec.
pub(crate) fn job(spec: &JobSpec, env_files: EnvFiles) -> Vec<Issue> {
    let mut issues = process::issues(&spec.process, env_files);
    let empty = spec.failure_policy.iter().position(|rule| rule.exit_codes.is_empty());
    issues.extend(empty.map(|index| Issue::at(format!("failurePolicy[{index}].exitCodes"), "names no exit code")));
    issues.extend(content(spec));
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

/// What concerns the spec as a whole: its size, and strings that no process could be given.
fn content(spec: &impl Serialize) -> Vec<Issue> {
    let content = Value::Object(fields_of(spec));
    let text = content.to_string();
    let bytes = text.len();
    let size = || {
        format!(
            "is a definition of {} KiB, at most {} KiB are allowed",
            bytes.div_ceil(1024),
            MAX_DEFINITION_BYTES / 1024
        )
    };
    let mut issues: Vec<Issue> = (bytes > MAX_DEFINITION_BYTES).then(|| Issue::at("", size())).into_iter().collect();
    if text.contains("\\u0000") {
        find_nul(&content, &Path::root(), &mut issues);
    }
    issues
}

fn find_nul(value: &Value, path: &Path, issues: &mut Vec<Issue>) {
    match value {
        Value::String(text) if text.contains('\0') => issues.push(Issue::at(path.to_string(), "holds a NUL character")),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| find_nul(item, &path.join(index), issues))
        }
        Value::Object(fields) => {
            fields.iter().for_each(|(name, item)| find_nul(item, &path.join(name.as_str()), issues))
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_service_has_at_most_a_hundred_thousand_replicas() {
        let with = |count| super::ServiceSpec { replicas: super::Replicas::Count(count), ..Default::default() };
        assert_eq!(super::replicas(&with(super::MAX_REPLICAS)), None);
        assert!(super::replicas(&with(super::MAX_REPLICAS + 1)).is_some());
    }

    use orion_model::{Raw, Resource};
    use serde_json::json;

    use super::*;

    fn paths<K: Resource>(object: Value) -> Vec<String> {
        let definition = K::definition();
        let raw = Raw::from_value(definition.kind.clone(), object).expect("is an object");
        definition.issues(&raw, None).into_iter().map(|issue| issue.path).collect()
    }

    #[test]
    fn an_object_that_another_client_writes_obeys_the_same_rules() {
        let service = |name: &str, spec: Value| {
            paths::<Service>(
                json!({"apiVersion": "orion/v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"}, "spec": spec}),
            )
        };
        assert!(service("web", json!({"command": "run"})).is_empty());
        assert_eq!(service("web", json!({"type": "exec"})), ["spec.command"]);
        assert_eq!(service("web", json!({"envFrom": [{"file": ".env"}]})), ["spec.envFrom[0].file"]);
        assert_eq!(
            service("web", json!({"update": {"maxSurge": 0}, "env": {"A": "x\0"}})),
            ["spec.update.maxUnavailable", "spec.env.A"]
        );
        assert_eq!(service("Web", json!({})), ["metadata.name"]);
        assert_eq!(service(&"a".repeat(51), json!({})), ["metadata.name"]);
        assert_eq!(service("web", json!({"command": "x".repeat(MAX_DEFINITION_BYTES)})), ["spec"]);
        let job = json!({"metadata": {"name": "once"}, "spec": {"runtime": "none"}});
        assert_eq!(paths::<Job>(job), ["spec.command"]);
    }
}
