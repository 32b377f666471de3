//! What a change does to what runs, in words a person reads before it happens.

use std::collections::BTreeMap;

use orion_model::{Issue, Kind, Object, ObjectKey, Resource, object::Stored};
use orion_types::{
    Job, JobSpec, Node, Service, ServiceSpec,
    change::{Effect, changed_fields, effect, surge_block},
    process::template_hash,
    service::{Replicas, Strategy},
};
use serde_json::{Map, Value};

/// How two specs of one object differ.
pub(super) struct Difference {
    pub(super) is_change: bool,
    pub(super) fields: Vec<String>,
    pub(super) effect: Effect,
}

/// Compares two specs after their defaults, so that saying a default is no change.
pub(super) fn difference(kind: &Kind, old: &Map<String, Value>, new: &Map<String, Value>) -> Difference {
    if *kind == Service::KIND
        && let (Some(old), Some(new)) = (service(old), service(new))
    {
        let effect = effect(&old, &new);
        return Difference { is_change: old != new, fields: changed_fields(&old, &new), effect };
    }
    let mut names: Vec<_> =
        old.keys().chain(new.keys()).filter(|name| old.get(*name) != new.get(*name)).cloned().collect();
    names.sort();
    names.dedup();
    let effect = match (job(old), job(new)) {
        (Some(old), Some(new)) if *kind == Job::KIND => job_effect(&old, &new, &names),
        _ => Effect::None,
    };
    Difference { is_change: !names.is_empty(), fields: names, effect }
}

/// A Job runs once for each template; what is not its template reaches the process that runs, where it can.
fn job_effect(old: &JobSpec, new: &JobSpec, names: &[String]) -> Effect {
    if old.process.template != new.process.template {
        Effect::Restarts { fields: names.to_vec() }
    } else if old.process.settings != new.process.settings {
        Effect::InPlace
    } else {
        Effect::None
    }
}

/// What making an object does.
pub(super) fn of_creation(kind: &Kind, sparse: &Map<String, Value>) -> String {
    if *kind == Service::KIND {
        return match service(sparse).map(|spec| spec.replicas) {
            Some(Replicas::Count(0)) => "none".into(),
            Some(Replicas::Count(count)) => format!("starts {count}"),
            Some(Replicas::EachNode) => "starts one on each node".into(),
            None => String::new(),
        };
    }
    if *kind == Job::KIND { "runs once".into() } else { "none".into() }
}

/// What changing an object to this spec does.
pub(super) fn of_change(kind: &Kind, effect: &Effect, spec: &Map<String, Value>, live: &Value) -> String {
    match effect {
        Effect::None => "none".into(),
        Effect::InPlace => "in place".into(),
        Effect::Restarts { .. } if *kind == Job::KIND => {
            let hash = job(spec).map(|spec| template_hash(&spec.process.template));
            let ran = live.pointer("/status/ranHashes").and_then(Value::as_array);
            let has_run = ran.into_iter().flatten().any(|ran| ran.as_str() == hash.as_deref());
            if has_run { "none".into() } else { "runs once".into() }
        }
        Effect::Restarts { .. } => {
            let Some(ServiceSpec { update, .. }) = service(spec) else { return String::new() };
            let placed = live.pointer("/status/desired").and_then(Value::as_u64).unwrap_or(0);
            let step = u64::from(update.max_surge + update.max_unavailable).max(1);
            let how = match (update.strategy, step) {
                (Strategy::Recreate, _) => "all at once".to_owned(),
                (Strategy::Rolling, 1) => "one at a time".to_owned(),
                (Strategy::Rolling, step) => format!("{step} at a time"),
            };
            format!("restarts {placed} {how}")
        }
    }
}

/// What deleting an object does.
pub(super) fn of_deletion(live: &Stored) -> String {
    let desired = live.to_value().pointer("/status/desired").and_then(Value::as_u64).unwrap_or(0);
    if *live.kind() == Service::KIND { format!("stops {desired}") } else { "none".into() }
}

/// That a rollout has to stop before it can start, told before it happens.
pub(super) fn no_surge(
    kind: &Kind,
    name: &str,
    spec: &Map<String, Value>,
    effect: &Effect,
    live: &BTreeMap<ObjectKey, Stored>,
) -> Option<Issue> {
    let Effect::Restarts { .. } = effect else { return None };
    let spec = service(spec).filter(|spec| *kind == Service::KIND && spec.update.strategy == Strategy::Rolling)?;
    let nodes = live.iter().filter(|(key, _)| key.kind == Node::KIND).filter_map(|(_, node)| Node::decode(node).ok());
    let eligible = nodes.filter(|node| spec.placement.nodes.matches(&node.placement_labels())).count();
    let block = surge_block(&spec, u32::try_from(eligible).unwrap_or(u32::MAX))?;
    Some(Issue::at(
        format!("service/{name}"),
        format!("{block}: each replica is stopped before its successor starts, so it is away for a moment"),
    ))
}

/// That what the file says has been tried and refused, and is not tried again by saying it again. Where nothing was
/// stable before, there is nothing to go back to and its replicas are tried on.
pub(super) fn refused_revision(kind: &Kind, name: &str, live: &Value) -> Option<Issue> {
    let failed = live.pointer("/status/failed").and_then(Value::as_str)?;
    if *kind != Service::KIND || live.pointer("/status/current").and_then(Value::as_str) != Some(failed) {
        return None;
    }
    let conditions = live.pointer("/status/conditions").and_then(Value::as_array);
    let progressing = conditions.into_iter().flatten().find(|condition| condition["type"] == "Progressing");
    let why = progressing.and_then(|condition| condition["message"].as_str()).unwrap_or("its rollout failed");
    let told = match live.pointer("/status/stable").and_then(Value::as_str) {
        Some(_) => {
            format!("this version was tried and refused ({why}) and is not tried again until its definition changes")
        }
        None => format!(
            "this version was tried and has failed ({why}); with none before it to go back to, it goes on being tried"
        ),
    };
    Some(Issue::at(format!("service/{name}"), told))
}

fn job(spec: &Map<String, Value>) -> Option<JobSpec> {
    serde_json::from_value(Value::Object(spec.clone())).ok()
}

fn service(spec: &Map<String, Value>) -> Option<ServiceSpec> {
    serde_json::from_value(Value::Object(spec.clone())).ok()
}
