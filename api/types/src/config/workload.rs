//! Which entry is a service and which a job, and what is to be said of either.

use std::{collections::BTreeSet, sync::LazyLock};

use orion_model::yaml::Path;
use serde_json::{Map, Value};

use crate::{
    Duration, ServiceSpec,
    applied::ConfigSpec,
    config::{
        Declared,
        check::{Findings, path_of},
        shape::CONFIG,
    },
    service::Replicas,
};

/// The heartbeat of an agent by default. A node is not lost sooner than after two of them.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// What a job's spec holds; `restart` means nothing there.
static JOB_FIELDS: LazyLock<BTreeSet<&'static str>> = LazyLock::new(|| {
    let job =
        CONFIG.object().and_then(|config| config.within("spec")?.within("jobs")).expect("a configuration has jobs");
    job.fields.keys().map(String::as_str).filter(|field| !matches!(*field, "name" | "restart")).collect()
});

/// A restart is asked for by a command; a file would ask for it again at each apply.
pub(super) fn drop_restarts(content: &mut ConfigSpec, findings: &mut Findings<'_>) {
    for (list, entries) in [("services", &mut content.services), ("jobs", &mut content.jobs)] {
        for (index, entry) in entries.iter_mut().enumerate() {
            if entry.shift_remove("restartedAt").is_some() {
                findings.warn(
                    path_of(list, index).join("restartedAt"),
                    "has no effect in a file: it is set by `orion restart`",
                );
            }
        }
    }
}

/// Whether a service's entry is a job: it has a schedule, or is started by one.
pub(super) fn is_job(entry: &Map<String, Value>) -> bool {
    entry.contains_key("schedule") || is_started_by_schedule(entry)
}

fn is_started_by_schedule(entry: &Map<String, Value>) -> bool {
    entry.get("serverless").is_some_and(|serverless| serverless["enabled"] == true && serverless["trigger"] == "cron")
}

/// An entry's fields without its name: what it says of its spec.
pub(super) fn spec_fields(entry: &Map<String, Value>) -> Map<String, Value> {
    entry.iter().filter(|(field, _)| *field != "name").map(|(field, value)| (field.clone(), value.clone())).collect()
}

/// The fields of the job that a service's entry is.
pub(super) fn job_fields(entry: &Map<String, Value>, path: &Path, findings: &mut Findings<'_>) -> Map<String, Value> {
    let mut fields = spec_fields(entry);
    fields.retain(|field, _| JOB_FIELDS.contains(field.as_str()));
    for field in entry
        .keys()
        .filter(|field| !JOB_FIELDS.contains(field.as_str()) && !matches!(field.as_str(), "name" | "serverless"))
    {
        findings.warn(path.join(field.as_str()), "has no effect: a service with a schedule is a job");
    }
    if !fields.contains_key("schedule") {
        findings.warn(path.join("serverless").join("trigger"), "is cron, but there is no schedule: it never comes due");
        fields.insert("suspend".to_owned(), Value::Bool(true));
    }
    fields
}

/// A job's process is not started again where it ended.
pub(super) fn warn_of_restart(fields: &Map<String, Value>, path: &Path, findings: &mut Findings<'_>) {
    if fields.contains_key("restart") {
        findings.warn(path.join("restart"), "has no effect: a job's attempts are told by backoffLimit");
    }
}

/// What a service may say, but hardly means.
pub(super) fn warn_of_service(
    service: Option<&Declared<ServiceSpec>>,
    nodes: Option<u32>,
    findings: &mut Findings<'_>,
) {
    let Some(Declared { path, spec, sparse, .. }) = service else { return };
    let path = Path::parse(path);
    if spec.disconnect.lost_after.get() < 2 * HEARTBEAT.get() && sparse.contains_key("disconnect") {
        findings.warn(
            path.join("disconnect").join("lostAfter"),
            format!("is less than two heartbeats of an agent and is raised to {}s", 2 * HEARTBEAT.get().as_secs()),
        );
    }
    for (index, port) in spec.process.template.ports.iter().enumerate() {
        let at = path.join("ports").join(index);
        if let (Some(target), Some(number)) = (port.target_port, port.port)
            && target != number
        {
            findings.warn(
                at.join("targetPort"),
                format!("has no effect: Orion forwards nothing, the process listens on {number}"),
            );
        }
        if let (Some((number, _)), Replicas::Count(replicas)) = (port.exclusive(), spec.replicas)
            && replicas > nodes.unwrap_or(1)
        {
            let known = nodes.map(|nodes| format!(", and there are {nodes}")).unwrap_or_default();
            let message = format!(
                "{number} is static, so {replicas} replicas need {replicas} nodes{known}; `allocation: dynamic` or `socket` lets them share one"
            );
            findings.warn(at.join("port"), message);
        }
    }
}
