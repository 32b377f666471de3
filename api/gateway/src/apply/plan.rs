//! What an apply does: a pure function of the file, what the last one said, and what is there.

use std::collections::{BTreeMap, BTreeSet};

use orion_model::{
    Check, ClientError, Issue, Kind, Object, ObjectKey, Op, Part, Precondition, Resource, Timestamp, Write,
    object::Stored, patch,
};
use orion_types::{
    Config, Job, Node, Plugin, Service,
    applied::{AppliedChange, AppliedRecord, CONFIG_FINALIZER, CONFIG_LABEL},
    config::Parsed,
};
use serde_json::{Map, Value, json};

use super::{
    effects,
    merge::{Scaled, keep_scaled, three_way},
};

/// How many applies a Config remembers.
const KEPT_APPLIES: usize = 20;

/// Everything a plan is made from.
pub(super) struct Input<'a> {
    /// The file.
    pub(super) new: &'a Parsed,
    /// The Config as it is.
    pub(super) config: Option<&'a Config>,
    /// What it last said.
    pub(super) last: &'a Parsed,
    /// Every Service, Job, Plugin of the namespace and every Node.
    pub(super) live: &'a BTreeMap<ObjectKey, Stored>,
    /// Delete what the Config held and no longer names.
    pub(super) prune: bool,
    /// Take over what belongs to others.
    pub(super) force: bool,
    /// Who applies.
    pub(super) who: &'a str,
    /// When.
    pub(super) now: Timestamp,
}

/// What is to be written, and what is to be said.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) checks: Vec<Check>,
    /// Empty where nothing changes.
    pub(super) writes: Vec<Write>,
    pub(super) changes: Vec<AppliedChange>,
    pub(super) orphaned: Vec<String>,
    pub(super) warnings: Vec<Issue>,
}

/// One thing the file declares, whatever its kind.
struct Wanted<'a> {
    kind: Kind,
    name: &'a str,
    sparse: &'a Map<String, Value>,
}

/// Makes the plan.
pub(super) fn plan(input: &Input<'_>) -> Result<Plan, ClientError> {
    let mut plan = Plan::default();
    let wanted = wanted(input.new);
    let said = said(input.last);
    for wanted in &wanted {
        let key = key(input, &wanted.kind, wanted.name);
        let last = said.get(&(wanted.kind.clone(), wanted.name)).copied();
        match input.live.get(&key) {
            Some(live) => change(input, &mut plan, wanted, &key, live, last)?,
            None => create(input, &mut plan, wanted, key),
        }
    }
    leave(input, &mut plan, &wanted);
    leave_nodes(input, &mut plan);
    write_config(input, &mut plan)?;
    Ok(plan)
}

fn wanted(parsed: &Parsed) -> Vec<Wanted<'_>> {
    let services = parsed.services.iter().map(|s| Wanted { kind: Service::KIND, name: &s.name, sparse: &s.sparse });
    let jobs = parsed.jobs.iter().map(|j| Wanted { kind: Job::KIND, name: &j.name, sparse: &j.sparse });
    let plugins = parsed.plugins.iter().map(|p| Wanted { kind: Plugin::KIND, name: &p.name, sparse: &p.sparse });
    let nodes = parsed.nodes.iter().map(|n| Wanted { kind: Node::KIND, name: &n.name, sparse: &n.sparse });
    services.chain(jobs).chain(plugins).chain(nodes).collect()
}

fn said(parsed: &Parsed) -> BTreeMap<(Kind, &str), &Map<String, Value>> {
    wanted(parsed).into_iter().map(|wanted| ((wanted.kind, wanted.name), wanted.sparse)).collect()
}

fn key(input: &Input<'_>, kind: &Kind, name: &str) -> ObjectKey {
    let namespace = if kind.is_namespaced() { input.new.namespace.as_str() } else { "" };
    ObjectKey::new(kind.clone(), namespace, name)
}

fn create(input: &Input<'_>, plan: &mut Plan, wanted: &Wanted<'_>, key: ObjectKey) {
    let mut labels = file_labels(wanted);
    if wanted.kind != Node::KIND {
        labels.insert(CONFIG_LABEL.into(), input.new.name.as_str().into());
    }
    let body = json!({"metadata": {"labels": labels}, "spec": wanted.sparse});
    let effect = effects::of_creation(&wanted.kind, wanted.sparse);
    plan.changes.push(said_of(wanted, "created", Vec::new(), effect));
    plan.writes.push(Write { key, op: Op::Create(body), precondition: Precondition::NONE });
}

fn change(
    input: &Input<'_>,
    plan: &mut Plan,
    wanted: &Wanted<'_>,
    key: &ObjectKey,
    live: &Stored,
    last: Option<&Map<String, Value>>,
) -> Result<(), ClientError> {
    let owner = live.metadata().labels.get(CONFIG_LABEL);
    let is_node = wanted.kind == Node::KIND;
    if !is_node && owner.is_none_or(|owner| *owner != input.new.name) && !input.force {
        return Err(belongs_elsewhere(key, owner));
    }
    if live.metadata().is_being_deleted() {
        let refused = format!("{} is still being deleted; apply again when it is gone", shown(key));
        return Err(ClientError::BeingDeleted { key: key.clone(), refused });
    }
    let before = live.to_value();
    let live_spec = before.get("spec").and_then(Value::as_object).cloned().unwrap_or_default();
    let nothing = Map::new();
    let last = last.unwrap_or(&nothing);
    let mut spec = three_way(last, wanted.sparse, &live_spec);
    let scaled = keep_scaled(last, wanted.sparse, &live_spec, &mut spec);
    let mut after = before.clone();
    after["spec"] = Value::Object(spec.clone());
    let labels = labels_after(input, wanted, last, live, is_node);
    after["metadata"]["labels"] = json!(labels);
    if labels.is_empty() {
        after["metadata"].as_object_mut().map(|metadata| metadata.shift_remove("labels"));
    }
    let difference = effects::difference(&wanted.kind, &live_spec, &spec);
    let mut fields = difference.fields;
    if let Scaled::Kept { live, file } = scaled {
        let remark = file.map_or_else(|| "no longer in the file".to_owned(), |file| format!("scaled; file: {file}"));
        fields.push(format!("replicas: {live} kept ({remark})"));
    }
    let moved = patch::diff(&before, &after).filter(|_| difference.is_change || metadata_moved(live, &labels));
    let Some(patch) = moved else {
        plan.warnings.extend(effects::refused_revision(&wanted.kind, wanted.name, &before));
        plan.changes.push(said_of(wanted, "unchanged", fields, "none".into()));
        return Ok(());
    };
    let effect = effects::of_change(&wanted.kind, &difference.effect, &spec, &before);
    plan.warnings.extend(effects::no_surge(&wanted.kind, wanted.name, &spec, &difference.effect, input.live));
    plan.changes.push(said_of(wanted, "changed", fields, effect));
    let precondition = Precondition { version: None, uid: Some(live.metadata().uid.clone()) };
    plan.writes.push(Write { key: key.clone(), op: Op::Merge(patch, Part::Main), precondition });
    Ok(())
}

/// The labels of a service are labels of its object too, so that selectors see them.
fn file_labels(wanted: &Wanted<'_>) -> Map<String, Value> {
    if wanted.kind == Node::KIND {
        return Map::new();
    }
    wanted.sparse.get("labels").and_then(Value::as_object).cloned().unwrap_or_default()
}

fn labels_after(
    input: &Input<'_>,
    wanted: &Wanted<'_>,
    last: &Map<String, Value>,
    live: &Stored,
    is_node: bool,
) -> BTreeMap<String, String> {
    let mut labels = live.metadata().labels.clone();
    if is_node {
        return labels;
    }
    let new = file_labels(wanted);
    for name in last.get("labels").and_then(Value::as_object).into_iter().flat_map(Map::keys) {
        if !new.contains_key(name) {
            labels.remove(name);
        }
    }
    labels.extend(new.into_iter().filter_map(|(name, value)| Some((name, value.as_str()?.to_owned()))));
    labels.insert(CONFIG_LABEL.into(), input.new.name.clone());
    labels
}

fn metadata_moved(live: &Stored, labels: &BTreeMap<String, String>) -> bool {
    live.metadata().labels != *labels
}

fn belongs_elsewhere(key: &ObjectKey, owner: Option<&String>) -> ClientError {
    let whose = match owner {
        Some(owner) => format!("belongs to the config {owner:?}"),
        None => "was not made by a config".to_owned(),
    };
    ClientError::OwnedElsewhere { key: key.clone(), whose }
}

/// What this Config holds and no longer names: deleted with prune, or where its name became another kind; else told.
fn leave(input: &Input<'_>, plan: &mut Plan, wanted: &[Wanted<'_>]) {
    let named: BTreeSet<_> = wanted.iter().map(|wanted| (wanted.kind.clone(), wanted.name)).collect();
    for (key, live) in input.live.iter().filter(|(key, _)| key.kind != Node::KIND) {
        let held = live.metadata().labels.get(CONFIG_LABEL).is_some_and(|owner| *owner == input.new.name);
        if !held || live.metadata().is_being_deleted() || named.contains(&(key.kind.clone(), &*key.name)) {
            continue;
        }
        let became_other =
            wanted.iter().any(|w| w.name == &*key.name && is_workload(&w.kind) && is_workload(&key.kind));
        if !input.prune && !became_other {
            plan.orphaned.push(shown(key));
            continue;
        }
        let precondition = Precondition { version: None, uid: Some(live.metadata().uid.clone()) };
        plan.writes.push(Write { key: key.clone(), op: Op::Delete, precondition });
        plan.changes.push(AppliedChange {
            kind: key.kind.name().into(),
            name: key.name.to_string(),
            action: "deleted".into(),
            fields: Vec::new(),
            effect: effects::of_deletion(live),
        });
    }
}

/// A node that is no longer named loses what the last file declared of it; with prune one that was never seen goes.
fn leave_nodes(input: &Input<'_>, plan: &mut Plan) {
    let gone = input.last.nodes.iter().filter(|last| input.new.nodes.iter().all(|new| new.name != last.name));
    for last in gone {
        let key = key(input, &Node::KIND, &last.name);
        let Some(live) = input.live.get(&key) else { continue };
        if !input.prune {
            plan.orphaned.push(shown(&key));
            continue;
        }
        let before = live.to_value();
        let never_seen = before.pointer("/status/observed").is_none();
        let op = if never_seen {
            Op::Delete
        } else {
            let live_spec = before.get("spec").and_then(Value::as_object).cloned().unwrap_or_default();
            let spec = three_way(&last.sparse, &Map::new(), &live_spec);
            let mut after = before.clone();
            after["spec"] = Value::Object(spec);
            let Some(patch) = patch::diff(&before, &after) else { continue };
            Op::Merge(patch, Part::Main)
        };
        plan.writes.push(Write { key, op, precondition: Precondition::NONE });
        plan.changes.push(AppliedChange {
            kind: Node::KIND.name().into(),
            name: last.name.clone(),
            action: if never_seen { "deleted" } else { "changed" }.into(),
            fields: vec!["declaration removed".into()],
            effect: "none".into(),
        });
    }
}

/// The Config itself, last, so that its version is the commit's. Nothing is written where nothing changes.
fn write_config(input: &Input<'_>, plan: &mut Plan) -> Result<(), ClientError> {
    let key = key(input, &Config::KIND, &input.new.name);
    let same = input.config.is_some_and(|config| config.spec == input.new.content);
    if same && plan.writes.is_empty() {
        return Ok(());
    }
    let record = AppliedRecord {
        who: input.who.to_owned(),
        when: input.now,
        release: input.new.content.release.clone(),
        changes: plan
            .changes
            .iter()
            .filter(|change| change.action != "unchanged")
            .map(|change| format!("{}/{} {}", change.kind.to_lowercase(), change.name, change.action))
            .collect(),
    };
    match input.config {
        None => {
            let mut config = Config::new(input.new.name.clone(), input.new.content.clone());
            config.metadata.namespace = input.new.namespace.clone();
            config.metadata.finalizers.push(CONFIG_FINALIZER.into());
            config.status.applies.push(record);
            plan.checks.push(Check::Absent(key.clone()));
            plan.writes.push(Write {
                key,
                op: Op::CreateWhole(serde_json::to_value(&config)?),
                precondition: Precondition::NONE,
            });
        }
        Some(old) => {
            if old.is_being_deleted() {
                let refused = format!("{} is still being deleted; apply again when it is gone", shown(&key));
                return Err(ClientError::BeingDeleted { key, refused });
            }
            let mut config = old.clone();
            config.spec = input.new.content.clone();
            config.status.applies.insert(0, record);
            config.status.applies.truncate(KEPT_APPLIES);
            let op = Op::Replace(serde_json::to_value(&config)?, Part::Whole);
            plan.writes.push(Write { key, op, precondition: Precondition::version(old.metadata.resource_version) });
        }
    }
    Ok(())
}

fn said_of(wanted: &Wanted<'_>, action: &str, fields: Vec<String>, effect: String) -> AppliedChange {
    AppliedChange { kind: wanted.kind.name().into(), name: wanted.name.into(), action: action.into(), fields, effect }
}

fn is_workload(kind: &Kind) -> bool {
    *kind == Service::KIND || *kind == Job::KIND
}

fn shown(key: &ObjectKey) -> String {
    format!("{}/{}", key.kind.names().singular, key.name)
}
