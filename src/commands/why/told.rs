//! The answer in sentences: pure, from the facts.

use orion_model::{Condition, Conditions, Event, Object, Resource};
use orion_types::{
    Config, Job, JobRun, Node, Replica, Service,
    replica::{Exit, PLACED, Phase},
};
use serde_json::Value;

use super::Facts;
use crate::{
    commands::events::last_seen,
    failure::Failure,
    local_time::ago,
    remote::{decoded, shown},
    standing::{Standing, said},
    style::{Style, Tone, safe, tone_of},
};

/// Replicas that are over, and still told of.
const LAST_ENDED: usize = 3;

/// Applies of a config that are told.
const LAST_APPLIES: usize = 5;

/// The lines of an answer.
pub(super) fn lines(style: Style, facts: &Facts) -> Result<Vec<String>, Failure> {
    let mut lines = vec![format!("{}: {}", shown(&facts.key), headline(style, facts)?)];
    lines.extend(conditions(&facts.object).iter().map(|condition| condition_line(style, condition)));
    if facts.key.kind == Service::KIND {
        lines.extend(refused(style, &decoded(facts.object.clone())?));
    } else if facts.key.kind == JobRun::KIND {
        lines.extend(attempts(&decoded(facts.object.clone())?));
    } else if facts.key.kind == Node::KIND {
        lines.extend(node(&decoded(facts.object.clone())?));
    } else if facts.key.kind == Config::KIND {
        lines.extend(applies(&decoded(facts.object.clone())?));
    }
    lines.extend(replicas(style, &facts.replicas));
    for run in &facts.runs {
        lines.push(format!("\nrun/{} {}", run.name(), painted(style, &format!("{:?}", run.status.phase))));
        lines.extend(attempts(run));
    }
    lines.extend(facts.config.as_ref().and_then(applied));
    if !facts.events.is_empty() {
        lines.push("\nevents".into());
        lines.extend(facts.events.iter().map(event_line));
    }
    Ok(lines)
}

fn painted(style: Style, word: &str) -> String {
    style.paint(word, tone_of(word))
}

fn headline(style: Style, facts: &Facts) -> Result<String, Failure> {
    let kind = &facts.key.kind;
    if *kind == Service::KIND || *kind == Job::KIND {
        return Ok(match Standing::of(&facts.key, facts.object.clone())? {
            Standing::Done(what) => style.paint(&what, Tone::Good),
            Standing::Waiting(what) => format!("{} {}", style.paint("waiting:", Tone::Notice), safe(&what)),
            Standing::Failed(what) => format!("{} {}", style.paint("failed:", Tone::Bad), safe(&what)),
        });
    }
    Ok(match facts.object.pointer("/status/phase").and_then(Value::as_str) {
        Some(phase) => painted(style, phase),
        None => "is there".to_owned(),
    })
}

fn conditions(object: &Value) -> Vec<Condition> {
    let conditions = object.pointer("/status/conditions").cloned();
    let conditions = conditions.and_then(|conditions| serde_json::from_value::<Conditions>(conditions).ok());
    conditions.unwrap_or_default().iter().cloned().collect()
}

fn condition_line(style: Style, condition: &Condition) -> String {
    let Condition { kind, status, reason, message, last_transition_time, .. } = condition;
    let said = if message.is_empty() { reason.clone() } else { format!("{reason}: {message}") };
    let status = style.paint(&format!("{status:?}"), Tone::Plain);
    format!("  {kind} {status} for {}  {}", ago(*last_transition_time), safe(&said))
}

/// A rollout that was refused, and what runs instead.
fn refused(style: Style, service: &Service) -> Option<String> {
    let status = &service.status;
    let failed = status.failed.as_ref().filter(|failed| status.current.as_ref() == Some(*failed))?;
    let instead = match &status.stable {
        Some(stable) => format!("{stable} runs instead"),
        None => "no version before it was ever good".to_owned(),
    };
    let what = style.paint("refused", Tone::Bad);
    Some(format!("  {what}: {failed}; {instead}; it is not tried again until the definition changes"))
}

/// What runs or waits first, then the last that are over.
fn replicas(style: Style, replicas: &[Replica]) -> Vec<String> {
    let (mut over, live): (Vec<_>, Vec<_>) = replicas.iter().partition(|replica| replica.status.phase.is_finished());
    over.sort_by_key(|replica| std::cmp::Reverse(ended_at(replica)));
    let left_out = over.len().saturating_sub(LAST_ENDED);
    let mut lines: Vec<_> = live
        .into_iter()
        .chain(over.into_iter().take(LAST_ENDED))
        .flat_map(|replica| replica_lines(style, replica))
        .collect();
    if left_out > 0 {
        lines.push(format!("\nand {left_out} that ended before"));
    }
    lines
}

fn exit(replica: &Replica) -> Option<&Exit> {
    replica.status.observed.as_ref()?.exit.as_ref()
}

fn ended_at(replica: &Replica) -> Option<orion_model::Timestamp> {
    exit(replica).and_then(|exit| exit.at).or(replica.metadata.creation_timestamp)
}

fn replica_lines(style: Style, replica: &Replica) -> Vec<String> {
    let mut lines = vec![format!("\n{} {}", replica.name(), painted(style, &replica.status.phase.to_string()))];
    lines.push(match &replica.spec.node_name {
        None => format!("  no node: {}", safe(&said(&replica.status.conditions, PLACED))),
        Some(node) => format!("  on {node}{}", process(replica)),
    });
    let observed = replica.status.observed.as_ref();
    let stop = replica.spec.stop.as_ref().map(|stop| stop.reason.clone());
    let told = [
        ("refused", replica.status.refused.clone()),
        // Of an end it says what the end says.
        ("says", observed.filter(|_| exit(replica).is_none()).and_then(|observed| observed.message.clone())),
        ("ended last", exit(replica).map(ended)),
        ("stop wished", stop),
    ];
    for (label, said) in told {
        if let Some(said) = said.filter(|said| !said.is_empty()) {
            lines.push(format!("  {}: {}", style.paint(label, Tone::Faint), safe(&said)));
        }
    }
    if !replica.status.phase.is_finished() {
        lines.extend(replica.spec.gates.iter().map(|gate| format!("  waits for the hook {gate}")));
    }
    lines
}

fn process(replica: &Replica) -> String {
    let Some(observed) = &replica.status.observed else { return String::new() };
    let mut text = observed.pid.map(|pid| format!(", pid {pid}")).unwrap_or_default();
    if let (Some(started), false) = (observed.started_at, replica.status.phase.is_finished()) {
        text.push_str(&format!(", since {}", ago(started)));
    }
    match observed.restarts {
        0 => {}
        1 => text.push_str(", 1 restart"),
        restarts => text.push_str(&format!(", {restarts} restarts")),
    }
    if replica.status.phase == Phase::Running {
        text.push_str(", not ready yet");
    }
    text
}

/// How something ended, and when.
fn ended(exit: &Exit) -> String {
    let how = if exit.message.is_empty() { exit.summary() } else { exit.message.clone() };
    exit.at.map_or_else(|| how.clone(), |at| format!("{how}, {} ago", ago(at)))
}

fn attempts(run: &JobRun) -> Vec<String> {
    let mut lines: Vec<_> = run
        .status
        .attempts
        .iter()
        .map(|attempt| {
            let end = match (&attempt.exit, attempt.lost) {
                (_, true) => "its node was lost".to_owned(),
                (Some(exit), false) => ended(exit),
                (None, false) => "not ended".to_owned(),
            };
            format!("  attempt {}: {}, {}", attempt.number, attempt.replica, safe(&end))
        })
        .collect();
    if !run.status.reason.is_empty() {
        lines.push(format!("  {}", run.status.reason));
    }
    lines
}

fn node(node: &Node) -> Vec<String> {
    let Some(observed) = &node.status.observed else { return vec!["  its agent was never seen".into()] };
    let version = if observed.legacy { "an original agent" } else { observed.agent_version.as_str() };
    let mut lines = vec![format!("  agent {version} at {}", safe(&observed.address))];
    if node.spec.cordoned {
        lines.push("  cordoned: nothing new is placed here".into());
    }
    lines
}

/// The last applies of a config, and what each changed.
fn applies(config: &Config) -> Vec<String> {
    let last = config.status.applies.iter().take(LAST_APPLIES);
    last.map(|apply| {
        let changes = if apply.changes.is_empty() { "nothing changed".to_owned() } else { apply.changes.join(", ") };
        format!("  applied {} ago by {}: {}", ago(apply.when), safe(&apply.who), safe(&changes))
    })
    .collect()
}

fn applied(config: &Config) -> Option<String> {
    let last = config.status.applies.first()?;
    Some(format!("\nlast applied by config/{} {} ago by {}", config.name(), ago(last.when), safe(&last.who)))
}

fn event_line(event: &Event) -> String {
    format!("  {:>4} ago  {}: {}", ago(last_seen(event)), event.reason, safe(&event.note))
}

#[cfg(test)]
mod tests {
    use orion_types::service::PROGRESSING;
    use serde_json::json;

    use super::*;

    fn facts(object: Value, replicas: &[Value]) -> Facts {
        let replicas = replicas.iter().cloned().map(|replica| decoded(replica).expect("a replica")).collect();
        let service: Service = decoded(object.clone()).expect("a service");
        Facts { key: service.object_key(), object, replicas, runs: Vec::new(), config: None, events: Vec::new() }
    }

    fn service(status: Value) -> Value {
        json!({"apiVersion": "orion/v1", "kind": "Service",
            "metadata": {"name": "web", "namespace": "default", "generation": 1}, "spec": {}, "status": status})
    }

    fn replica(name: &str, spec: Value, status: Value) -> Value {
        json!({"apiVersion": "orion/v1", "kind": "Replica",
            "metadata": {"name": name, "namespace": "default"}, "spec": spec, "status": status})
    }

    fn told(facts: &Facts) -> String {
        lines(Style::plain(), facts).expect("an answer").join("\n")
    }

    #[test]
    fn a_refused_rollout_is_told_with_what_runs_instead() {
        let conditions = json!([{"type": PROGRESSING, "status": "False", "reason": "RolloutFailed",
            "message": "web-b: no such file", "lastTransitionTime": "2026-11-24T09:31:12Z"}]);
        let status = json!({"observedGeneration": 1, "desired": 1, "available": 1, "current": "web-b",
            "stable": "web-a", "failed": "web-b", "conditions": conditions});
        let told = told(&facts(service(status), &[]));
        assert!(told.starts_with("service/web: failed: web-b: no such file"), "{told}");
        assert!(told.contains("refused: web-b; web-a runs instead"), "{told}");
    }

    #[test]
    fn an_unplaceable_replica_is_told_with_each_refusal_and_what_is_over_comes_last() {
        let conditions = json!([{"type": PLACED, "status": "False", "reason": "Unplaceable",
            "message": "node-3: needs 512Mi, free 300Mi", "lastTransitionTime": "2026-11-24T09:31:12Z"}]);
        let over = |n: u32| {
            let exit = json!({"code": 1, "reason": "Error", "at": format!("2026-11-24T09:31:1{n}Z")});
            let observed = json!({"state": "stopped", "exit": exit});
            replica(
                &format!("web-0-{n}"),
                json!({"nodeName": "node-1"}),
                json!({"phase": "Stopped", "observed": observed}),
            )
        };
        let waiting = replica("web-0-new", json!({}), json!({"phase": "Pending", "conditions": conditions}));
        let replicas = [over(1), over(2), over(3), over(4), over(5), waiting];
        let told = told(&facts(service(json!({"observedGeneration": 1, "desired": 1})), &replicas));
        let at = |words: &str| told.find(words).unwrap_or_else(|| panic!("{words}: {told}"));
        assert!(at("no node: node-3: needs 512Mi, free 300Mi") < at("web-0-5 Stopped"), "{told}");
        assert!(at("web-0-5") < at("web-0-4") && !told.contains("web-0-2 "), "the last ones: {told}");
        assert!(told.contains("and 2 that ended before"), "{told}");
        assert!(told.contains("ended last: exit code 1"), "{told}");
    }
}
