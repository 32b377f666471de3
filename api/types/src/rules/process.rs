//! What must hold within a process's definition.

use std::collections::BTreeMap;

use orion_model::Issue;

use crate::process::{
    Allocation, EnvSource, Health, PortRef, PortSpec, Probe, ProcessSpec, Resources, RestartPolicy, Template,
    is_env_name,
};

/// Whether `envFrom` may still name files: yes where the CLI is going to read them, no in what is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum EnvFiles {
    /// They may.
    Allowed,
    /// They may not.
    #[default]
    Refused,
}

pub(super) fn issues(process: &ProcessSpec, env_files: EnvFiles) -> Vec<Issue> {
    let (template, settings) = (&process.template, &process.settings);
    let mut issues = Vec::new();
    issues.extend(template.argv().err());
    issues.extend(template.folder().err());
    issues.extend(template.artifact_url().err());
    issues.extend(artifact(template));
    issues.extend(ports(&template.ports));
    issues.extend(env(template));
    issues.extend(
        template.env_from.iter().enumerate().filter_map(|(index, source)| env_source(index, source, env_files)),
    );
    issues.extend(settings.health.iter().flat_map(|health| probes(health, &template.ports)));
    issues.extend(restart(settings.restart));
    issues.extend(resources(settings.resources));
    issues
}

fn artifact(template: &Template) -> Vec<Issue> {
    let Some(artifact) = &template.artifact else { return Vec::new() };
    let mut issues = Vec::new();
    if !artifact.url.starts_with("https://") && !artifact.url.starts_with("http://") {
        issues.push(Issue::at("artifact.url", format!("{:?} does not begin with https:// or http://", artifact.url)));
    }
    if artifact.sha256.as_ref().is_some_and(|hash| hash.len() != 64 || !hash.chars().all(|c| c.is_ascii_hexdigit())) {
        issues.push(Issue::at("artifact.sha256", "is no SHA-256: 64 digits 0-9 and a-f"));
    }
    issues
}

fn ports(ports: &[PortSpec]) -> Vec<Issue> {
    let mut issues = Vec::new();
    let (mut numbers, mut names) = (BTreeMap::new(), BTreeMap::new());
    for (index, spec) in ports.iter().enumerate() {
        match spec.port {
            None if spec.allocation != Allocation::Dynamic => {
                issues.push(Issue::at(
                    format!("ports[{index}].port"),
                    "is missing: only a port with `allocation: dynamic` needs none",
                ));
            }
            Some(port) if spec.allocation != Allocation::Dynamic => {
                if let Some(first) = numbers.insert((port, spec.protocol), index) {
                    issues.push(Issue::at(
                        format!("ports[{index}].port"),
                        format!("{port}/{} is ports[{first}] too", spec.protocol.as_str()),
                    ));
                }
            }
            _ => {}
        }
        let Some(name) = &spec.name else { continue };
        if let Some(first) = names.insert(name, index) {
            issues
                .push(Issue::at(format!("ports[{index}].name"), format!("{name:?} is the name of ports[{first}] too")));
        }
    }
    issues
}

fn env(template: &Template) -> Vec<Issue> {
    let bad = template.env.keys().filter(|name| !is_env_name(name));
    let mut issues: Vec<Issue> = bad
        .map(|name| Issue::at(format!("env[{name}]"), "is no name of a variable: it is empty or holds `=` or NUL"))
        .collect();
    let chosen = template.ports.first().is_some_and(|port| port.allocation == Allocation::Dynamic);
    if chosen && template.env.contains_key("PORT") {
        issues.push(Issue::at("env.PORT", "is set, but the first port is dynamic and its number is told in PORT"));
    }
    issues
}

fn env_source(index: usize, source: &EnvSource, env_files: EnvFiles) -> Option<Issue> {
    let at = |field: &str, message: &str| Some(Issue::at(format!("envFrom[{index}]{field}"), message));
    match (&source.file, &source.secret) {
        (Some(_), None) if env_files == EnvFiles::Refused => {
            at(".file", "is read where the configuration is: apply it with `orion apply`, which turns it into a secret")
        }
        (Some(_), None) | (None, Some(_)) => None,
        (Some(_), Some(_)) => at("", "names both a file and a secret"),
        (None, None) => at("", "names neither a file nor a secret"),
    }
}

fn probes(health: &Health, ports: &[PortSpec]) -> Vec<Issue> {
    let named = [("startup", &health.startup), ("readiness", &health.readiness), ("liveness", &health.liveness)];
    let long = named.into_iter().filter_map(|(name, probe)| probe.as_ref().map(|probe| (name, probe)));
    let mut issues: Vec<Issue> = long
        .filter_map(|(name, probe)| probe_issue(probe, ports).map(|issue| issue.under(name).under("health")))
        .collect();
    if health.http.is_some() && ports.is_empty() {
        issues.push(Issue::at("health.http", "asks the first port, but there is none"));
    }
    issues
}

fn probe_issue(probe: &Probe, ports: &[PortSpec]) -> Option<Issue> {
    let port = match (&probe.http, &probe.tcp, &probe.exec) {
        (Some(http), None, None) => ("http.port", http.port.as_ref()),
        (None, Some(tcp), None) => ("tcp.port", tcp.port.as_ref()),
        (None, None, Some(exec)) => {
            return exec.command.words().err().map(|message| Issue::at("exec.command", message));
        }
        (None, None, None) => return Some(Issue::at("", "asks nothing: it needs one of http, tcp and exec")),
        _ => return Some(Issue::at("", "asks more than one of http, tcp and exec")),
    };
    match port {
        (field, Some(PortRef::Name(name))) if !ports.iter().any(|port| port.name.as_ref() == Some(name)) => {
            Some(Issue::at(field, format!("{name:?} is the name of no port")))
        }
        (field, None) if ports.is_empty() => Some(Issue::at(field, "is missing, and there is no first port")),
        _ => None,
    }
}

fn restart(policy: RestartPolicy) -> Option<Issue> {
    let longer = policy.initial_delay > policy.max_delay;
    longer.then(|| {
        Issue::at(
            "restart.initialDelay",
            format!("is {}, more than maxDelay, which is {}", policy.initial_delay, policy.max_delay),
        )
    })
}

fn resources(resources: Resources) -> Vec<Issue> {
    let Some(limits) = resources.limits else { return Vec::new() };
    let below = |field: &str, limited: bool| {
        limited.then(|| Issue::at(format!("resources.limits.{field}"), format!("is less than resources.{field}")))
    };
    let cpu = resources.cpu.zip(limits.cpu).is_some_and(|(needed, limit)| limit < needed);
    let memory = resources.memory.zip(limits.memory).is_some_and(|(needed, limit)| limit < needed);
    [below("cpu", cpu), below("memory", memory)].into_iter().flatten().collect()
}
