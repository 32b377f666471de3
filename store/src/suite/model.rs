//! Random commits against a model that is too simple to be wrong: a map, and the rules in their plainest words.

use std::collections::{BTreeMap, BTreeSet};

use orion_model::{
    ChangeKind, Check, Client, ClientError, Commit, List, Object, Op, Part, Precondition, Randomness, Resource,
    ResourceVersion, Selection, Whole, Write,
};
use serde_json::json;

use super::{Seen, Widget, version, widget};

const ROUNDS: usize = 400;
const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const FINALIZERS: [&str; 2] = ["suite/one", "suite/two"];

/// A widget as the model knows it.
#[derive(Clone, Debug, PartialEq)]
struct Model {
    size: u32,
    note: u64,
    label: u64,
    finalizers: BTreeSet<&'static str>,
    ready: u32,
    dying: bool,
    version: ResourceVersion,
    generation: i64,
    spec_version: ResourceVersion,
}

type World = BTreeMap<&'static str, Model>;

/// One write, as the model understands it.
#[derive(Clone, Debug)]
enum Act {
    Create(u32),
    Size(u32),
    Note(u64),
    Label(u64),
    Finalizers(BTreeSet<&'static str>),
    Ready(u32),
    Delete,
}

/// Why a commit is refused.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Refusal {
    Conflict,
    NotFound,
    Exists,
    BeingDeleted,
    Invalid,
}

#[derive(Clone, Debug)]
struct Step {
    name: &'static str,
    act: Act,
    expected: Option<ResourceVersion>,
}

#[derive(Clone, Debug)]
struct Plan {
    unchanged: Option<(&'static str, ResourceVersion)>,
    absent: Option<&'static str>,
    steps: Vec<Step>,
}

/// What a commit changes, in order.
type Changes = Vec<(ChangeKind, &'static str, ResourceVersion)>;

/// Hundreds of commits of random writes and checks: outcomes, versions, objects and events are the model's.
pub async fn random_commits_agree_with_a_naive_model(client: Client) {
    // Printed where a test fails, so that its run can be had again.
    let seed = Randomness::system().u64();
    println!("seed {seed}");
    let random = Randomness::seeded(seed);
    let mut world = World::new();
    let mut last = version(&client).await;
    let mut seen = Seen::after(&client, vec![Selection::all(Widget::KIND)], last).await;
    for round in 0..ROUNDS {
        let plan = plan(&random, &world);
        let expected = judge(&plan, &world, last);
        let outcome = client.commit(commit_of(&plan)).await;
        match (expected, outcome) {
            (Ok((after, changes)), Ok(committed)) => {
                last = changes.last().map_or(last, |(_, _, version)| *version);
                let told = committed.versions.map(|versions| (versions.first, versions.last));
                assert_eq!(told, changes.first().map(|(_, _, first)| (*first, last)), "round {round}: {plan:?}");
                if !changes.is_empty() {
                    assert_eq!(events(&mut seen).await, named(&changes), "round {round}: {plan:?}");
                }
                world = after;
            }
            (Err(refusal), Err(error)) => assert_eq!(refusal, refusal_of(&error), "round {round}: {plan:?}: {error}"),
            (expected, outcome) => panic!("round {round}: {plan:?}: {expected:?} was expected, not {outcome:?}"),
        }
        assert_eq!(listed(&client, last).await, world, "round {round}: {plan:?}");
    }
}

/// A random commit; mostly one that makes sense.
fn plan(random: &Randomness, world: &World) -> Plan {
    let name = || NAMES[random.below(NAMES.len() as u64) as usize];
    let version_of = |name: &str| world.get(name).map_or(ResourceVersion::new(1), |model| model.version);
    let sometimes = |one_in: u64| random.below(one_in) == 0;
    let stale = |version: ResourceVersion| if sometimes(6) { ResourceVersion::new(version.get() - 1) } else { version };
    let step = || {
        let name = name();
        let act = match random.below(if world.contains_key(name) { 16 } else { 4 }) {
            0..=2 => Act::Create(1),
            3 | 4 => Act::Delete,
            5 => Act::Size(random.below(3) as u32 + u32::from(sometimes(10)) * 2000),
            6..=8 => Act::Note(random.below(3)),
            9 | 10 => Act::Label(random.below(2)),
            11 | 12 => Act::Finalizers(FINALIZERS.into_iter().filter(|_| sometimes(2)).collect()),
            _ => Act::Ready(random.below(3) as u32),
        };
        let creates = matches!(act, Act::Create(_));
        let expected = (!creates && sometimes(2)).then(|| stale(version_of(name)));
        Step { name, act, expected }
    };
    let steps = (0..=random.below(3)).map(|_| step()).collect();
    let unchanged = sometimes(5).then(name).map(|name| (name, stale(version_of(name))));
    Plan { unchanged, absent: sometimes(8).then(name), steps }
}

/// The rules.
fn judge(plan: &Plan, world: &World, last: ResourceVersion) -> Result<(World, Changes), Refusal> {
    if plan.unchanged.is_some_and(|(name, version)| world.get(name).map(|model| model.version) != Some(version)) {
        return Err(Refusal::Conflict);
    }
    if plan.absent.is_some_and(|name| world.contains_key(name)) {
        return Err(Refusal::Conflict);
    }
    let mut after = world.clone();
    let mut touched = Vec::new();
    for step in &plan.steps {
        write(step, world, &mut after)?;
        if !touched.contains(&step.name) {
            touched.push(step.name);
        }
    }
    let mut changes = Changes::new();
    for name in touched {
        let version = changes.last().map_or(last, |(_, _, version)| *version).next();
        if let Some(kind) = finish(name, version, world, &mut after)? {
            changes.push((kind, name, version));
        }
    }
    Ok((after, changes))
}

fn write(step: &Step, before: &World, after: &mut World) -> Result<(), Refusal> {
    if let Act::Create(size) = step.act {
        if after.contains_key(step.name) {
            return Err(Refusal::Exists);
        }
        let (version, generation, spec_version) = (ResourceVersion::ZERO, 0, ResourceVersion::ZERO);
        let finalizers = BTreeSet::new();
        let new =
            Model { size, note: 0, label: 0, finalizers, ready: 0, dying: false, version, generation, spec_version };
        after.insert(step.name, new);
        return Ok(());
    }
    let known = before.get(step.name).map(|model| model.version);
    if known.is_some() && step.expected.is_some() && step.expected != known {
        return Err(Refusal::Conflict);
    }
    let model = after.get_mut(step.name).ok_or(Refusal::NotFound)?;
    match &step.act {
        Act::Create(_) => {}
        Act::Size(size) => model.size = *size,
        Act::Note(note) => model.note = *note,
        Act::Label(label) => model.label = *label,
        Act::Finalizers(new) if model.dying && !new.is_subset(&model.finalizers) => return Err(Refusal::BeingDeleted),
        Act::Finalizers(new) => model.finalizers = new.clone(),
        Act::Ready(ready) => model.ready = *ready,
        Act::Delete => model.dying = true,
    }
    Ok(())
}

fn finish(
    name: &'static str,
    version: ResourceVersion,
    before: &World,
    after: &mut World,
) -> Result<Option<ChangeKind>, Refusal> {
    let old = before.get(name);
    let Some(new) = after.get_mut(name) else { return Ok(None) };
    if new.dying && new.finalizers.is_empty() {
        after.remove(name);
        return Ok(old.map(|_| ChangeKind::Deleted));
    }
    if old == Some(&*new) {
        return Ok(None);
    }
    if new.size > 1000 || old.is_some_and(|old| old.size > new.size) {
        return Err(Refusal::Invalid);
    }
    let spec_changed = old.is_none_or(|old| (old.size, old.note) != (new.size, new.note));
    new.version = version;
    new.generation += i64::from(spec_changed);
    if spec_changed || old.is_some_and(|old| old.dying != new.dying) {
        new.spec_version = version;
    }
    Ok(Some(if old.is_some() { ChangeKind::Modified } else { ChangeKind::Added }))
}

fn commit_of(plan: &Plan) -> Commit {
    let key = |name: &str| widget(name).object_key();
    let unchanged = plan.unchanged.map(|(name, version)| Check::Unchanged(key(name), version));
    let absent = plan.absent.map(|name| Check::Absent(key(name)));
    let write = |step: &Step| Write {
        key: key(step.name),
        op: op_of(step),
        precondition: Precondition { version: step.expected, uid: None },
    };
    let writes = plan.steps.iter().map(write).collect();
    Commit { checks: unchanged.into_iter().chain(absent).collect(), writes, ..Commit::default() }
}

fn op_of(step: &Step) -> Op {
    let main = |patch| Op::Merge(patch, Part::Main);
    match &step.act {
        Act::Create(size) => {
            let mut new = widget(step.name).with_label("label", "0");
            (new.spec.size, new.spec.note) = (*size, "0".to_owned());
            Op::Create(new.encode().expect("it encodes"))
        }
        Act::Size(size) => main(json!({"spec": {"size": size}})),
        Act::Note(note) => main(json!({"spec": {"note": note.to_string()}})),
        Act::Label(label) => main(json!({"metadata": {"labels": {"label": label.to_string()}}})),
        Act::Finalizers(finalizers) => main(json!({"metadata": {"finalizers": finalizers}})),
        Act::Ready(ready) => Op::Merge(json!({"status": {"ready": ready}}), Part::Status),
        Act::Delete => Op::Delete,
    }
}

fn refusal_of(error: &ClientError) -> Refusal {
    match error {
        ClientError::Conflict { .. } => Refusal::Conflict,
        ClientError::NotFound(_) => Refusal::NotFound,
        ClientError::AlreadyExists(_) => Refusal::Exists,
        ClientError::BeingDeleted { .. } => Refusal::BeingDeleted,
        ClientError::Invalid { .. } => Refusal::Invalid,
        other => panic!("no such refusal was expected: {other}"),
    }
}

async fn events(seen: &mut Seen) -> Vec<(ChangeKind, String, ResourceVersion)> {
    let (_, changes) = seen.commit().await;
    let told =
        |change: &orion_model::Change| (change.kind, change.object.metadata().name.clone(), change.object.version());
    changes.iter().map(told).collect()
}

fn named(changes: &Changes) -> Vec<(ChangeKind, String, ResourceVersion)> {
    changes.iter().map(|(kind, name, version)| (*kind, (*name).to_owned(), *version)).collect()
}

/// All widgets, as the model would have them.
async fn listed(client: &Client, at: ResourceVersion) -> World {
    let listed = client.list_raw(List::all(Selection::all(Widget::KIND))).await.expect("it lists");
    assert_eq!(listed.version, at);
    let known =
        |text: &str, all: &[&'static str]| *all.iter().find(|known| **known == text).expect("it is one of them");
    let read = |widget: Widget| {
        let metadata = &widget.metadata;
        let model = Model {
            size: widget.spec.size,
            note: widget.spec.note.parse().expect("a number"),
            label: metadata.labels["label"].parse().expect("a number"),
            finalizers: metadata.finalizers.iter().map(|name| known(name, &FINALIZERS)).collect(),
            ready: widget.status.ready,
            dying: metadata.is_being_deleted(),
            version: metadata.resource_version,
            generation: metadata.generation,
            spec_version: metadata.spec_version,
        };
        let phase = if model.ready >= model.size { "Whole" } else { "Partial" };
        assert_eq!(widget.status.phase.as_deref(), Some(phase));
        (known(&metadata.name, &NAMES), model)
    };
    let widgets = listed.items.iter().map(|item| Widget::decode(item).expect("it decodes"));
    widgets.map(read).collect()
}
