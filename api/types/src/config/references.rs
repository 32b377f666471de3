//! What entries say of each other: names, dependencies, plugins.

use std::collections::{BTreeMap, BTreeSet};

use orion_model::yaml::Path;
use serde_json::{Map, Value};

use crate::{
    applied::ConfigSpec,
    config::{
        Options, Parsed,
        check::{Findings, max_name, path_of},
    },
    dns_label::label_problem,
    service::{Dependency, DependencyCondition, Hooks},
};

/// Names are labels, and each is given once; services and jobs share theirs.
pub(super) fn check_names(content: &ConfigSpec, findings: &mut Findings<'_>) {
    let (mut workloads, mut nodes, mut plugins) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for (list, entries) in lists(content) {
        for (index, name) in
            entries.iter().enumerate().filter_map(|(index, entry)| Some((index, entry.get("name")?.as_str()?)))
        {
            let path = path_of(list, index);
            let problem =
                if list == "plugins" { plugin_name_problem(name) } else { label_problem(name, max_name(list)) };
            if let Some(problem) = problem {
                findings.issue(path.join("name"), problem);
            }
            let names = match list {
                "nodes" => &mut nodes,
                "plugins" => &mut plugins,
                _ => &mut workloads,
            };
            if let Some(first) = names.insert(name, path.clone()) {
                findings.issue(path.join("name"), format!("{name:?} is the name of {first} too"));
                names.insert(name, first);
            }
        }
    }
}

fn lists(content: &ConfigSpec) -> [(&'static str, &[Map<String, Value>]); 4] {
    [("services", &content.services), ("jobs", &content.jobs), ("nodes", &content.nodes), ("plugins", &content.plugins)]
}

fn plugin_name_problem(name: &str) -> Option<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '@' | '/' | '.' | '_' | '-');
    let good = !name.is_empty() && name.chars().all(allowed);
    (!good).then(|| format!("{name:?} is no plugin's name: letters, digits, `@`, `/`, `.`, `_` and `-`"))
}

/// One service or job, as its dependents see it.
struct Workload<'p> {
    path: Path,
    is_job: bool,
    dependencies: &'p [Dependency],
}

/// Dependencies lead to what is there and not in circles; plugins are registered.
pub(super) fn check(parsed: &Parsed, options: &Options, findings: &mut Findings<'_>) {
    let services = parsed.services.iter().map(|service| {
        (service.name.as_str(), Path::parse(&service.path), false, service.spec.dependencies.as_slice())
    });
    let jobs = parsed
        .jobs
        .iter()
        .map(|job| (job.name.as_str(), Path::parse(&job.path), true, job.spec.dependencies.as_slice()));
    let workloads: BTreeMap<&str, Workload<'_>> = services
        .chain(jobs)
        .map(|(name, path, is_job, dependencies)| (name, Workload { path, is_job, dependencies }))
        .collect();
    let names: BTreeSet<&str> = lists(&parsed.content)[..2]
        .iter()
        .flat_map(|(_, entries)| entries.iter())
        .filter_map(|entry| entry.get("name")?.as_str())
        .collect();
    if findings.knows_all_names() {
        dependencies(&workloads, &names, findings);
    }
    cycles(&workloads, findings);
    plugins(parsed, options, findings);
}

fn dependencies(workloads: &BTreeMap<&str, Workload<'_>>, names: &BTreeSet<&str>, findings: &mut Findings<'_>) {
    for (name, workload) in workloads {
        for (index, dependency) in workload.dependencies.iter().enumerate() {
            let path = workload.path.join("dependencies").join(index);
            let on = dependency.name.as_str();
            if on == *name {
                findings.issue(path, format!("is {name:?} itself"));
            } else if !names.contains(on) {
                let hint = crate::suggest::did_you_mean(on, names.iter().copied());
                findings.issue(path, format!("{on:?} is the name of no service or job here{hint}"));
            } else if let Some(problem) = workloads.get(on).and_then(|target| condition_problem(dependency, target)) {
                findings.issue(path, problem);
            }
        }
    }
}

fn condition_problem(dependency: &Dependency, target: &Workload<'_>) -> Option<String> {
    let name = &dependency.name;
    match (dependency.condition, target.is_job) {
        (DependencyCondition::Completed, false) => {
            Some(format!("waits until {name:?} has completed, but that is a service, which never does"))
        }
        (DependencyCondition::Ready, true) => {
            Some(format!("waits until {name:?} is ready, but that is a job; use `condition: completed`"))
        }
        _ => None,
    }
}

/// Names each cycle once. Workloads that wait for nothing are taken away until only cycles are left (and what waits for
/// them); from there every way leads into one.
fn cycles(workloads: &BTreeMap<&str, Workload<'_>>, findings: &mut Findings<'_>) {
    let mut waiting: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, workload) in workloads {
        let known = workload.dependencies.iter().map(|dependency| dependency.name.as_str());
        waiting.insert(name, known.filter(|on| on != name && workloads.contains_key(on)).collect());
    }
    loop {
        remove_free(&mut waiting);
        let Some(cycle) = a_cycle(&waiting) else { return };
        let (first, second) = (cycle[0], cycle.get(1).copied().unwrap_or(cycle[0]));
        let workload = &workloads[first];
        let index = workload.dependencies.iter().position(|dependency| dependency.name == second).unwrap_or_default();
        let circle: Vec<&str> = cycle.iter().copied().chain([first]).collect();
        findings.issue(workload.path.join("dependencies").join(index), format!("is a cycle: {}", circle.join(" -> ")));
        cycle.iter().for_each(|name| drop(waiting.insert(name, BTreeSet::new())));
    }
}

/// Takes away, again and again, what waits for nothing that is left.
fn remove_free(waiting: &mut BTreeMap<&str, BTreeSet<&str>>) {
    let mut waited_by: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut left: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, on) in waiting.iter() {
        left.insert(name, on.len());
        on.iter().for_each(|on| waited_by.entry(on).or_default().push(name));
    }
    let mut free: Vec<&str> = left.iter().filter(|(_, count)| **count == 0).map(|(name, _)| *name).collect();
    while let Some(name) = free.pop() {
        waiting.remove(name);
        for dependent in waited_by.get(name).into_iter().flatten() {
            let count = left.entry(dependent).or_default();
            *count = count.saturating_sub(1);
            if *count == 0 {
                free.push(dependent);
            }
        }
    }
    let names: BTreeSet<&str> = waiting.keys().copied().collect();
    waiting.values_mut().for_each(|on| on.retain(|name| names.contains(name)));
}

fn a_cycle<'a>(waiting: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> Option<Vec<&'a str>> {
    let mut way: Vec<&str> = Vec::new();
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut at = *waiting.keys().next()?;
    while seen.insert(at, way.len()).is_none() {
        way.push(at);
        at = *waiting.get(at)?.iter().next()?;
    }
    let start = way.iter().position(|name| *name == at)?;
    Some(way.split_off(start))
}

/// A plugin that nobody registered is a warning, and so is a hook that names none.
fn plugins(parsed: &Parsed, options: &Options, findings: &mut Findings<'_>) {
    let listed: BTreeSet<&str> =
        parsed.content.plugins.iter().filter_map(|entry| entry.get("name")?.as_str()).collect();
    let defined: BTreeSet<&str> = parsed.plugins.iter().map(|plugin| plugin.name.as_str()).collect();
    let registered = |name: &str| options.plugins.contains(name) || defined.contains(name);
    let nobody = |name: &str| format!("{name:?} is a plugin that nobody registered");
    for (index, entry) in parsed.content.plugins.iter().enumerate() {
        if let Some(name) =
            entry.get("name").and_then(Value::as_str).filter(|name| entry.len() == 1 && !registered(name))
        {
            findings.warn(path_of("plugins", index), nobody(name));
        }
    }
    let known = |name: &str| registered(name) || listed.contains(name);
    let services = parsed.services.iter().map(|service| (&service.path, &service.spec.plugins, &service.spec.hooks));
    let jobs = parsed.jobs.iter().map(|job| (&job.path, &job.spec.plugins, &job.spec.hooks));
    for (path, plugins, hooks) in services.chain(jobs) {
        let path = Path::parse(path);
        for (index, name) in plugins.iter().enumerate().filter(|(_, name)| !known(name)) {
            findings.warn(path.join("plugins").join(index), nobody(name));
        }
        unknown_hooks(&path, hooks, &known, findings);
    }
}

fn unknown_hooks(path: &Path, hooks: &Hooks, known: &impl Fn(&str) -> bool, findings: &mut Findings<'_>) {
    for (moment, list) in hooks.all() {
        for (index, hook) in list.iter().enumerate() {
            let at = path.join("hooks").join(moment).join(index);
            match hook.parts() {
                None => findings.warn(at, format!("{:?} calls nothing: a hook is `plugin:action`", hook.as_str())),
                Some((plugin, _)) if !known(plugin) => {
                    findings.warn(at, format!("{plugin:?} is a plugin that nobody registered"))
                }
                Some(_) => {}
            }
        }
    }
}
