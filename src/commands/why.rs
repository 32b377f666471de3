//! `orion why`: what runs, what waits and for what, what was refused where, what ended last and how, and which apply
//! caused it; read from the objects and their events, for any kind.

use orion_model::{LabelSelector, ObjectKey};
use serde_json::{Value, json};

use crate::{
    cli::{self, Global, Output},
    commands::{
        events::{about, ago, last_seen},
        get::print_document,
    },
    failure::Failure,
    progress::{self, Standing},
    remote::{Remote, number, shown, text},
    style::{Style, Tone, safe, tone_of},
};

/// Events that are shown.
const LAST_EVENTS: usize = 8;

/// Everything an answer is made of.
struct Facts {
    object: Value,
    replicas: Vec<Value>,
    runs: Vec<Value>,
    config: Option<Value>,
    events: Vec<Value>,
}

/// Answers for one object.
pub(crate) async fn run(global: &Global, named: &cli::Named) -> Result<(), Failure> {
    let remote = Remote::of(global)?;
    let key =
        remote.find(&named.what, &["services", "jobs", "runs", "replicas", "nodes", "configs", "plugins"]).await?;
    let facts = gather(&remote, &key).await?;
    if matches!(named.output, Output::Json | Output::Yaml) {
        let document = json!({
            "object": facts.object, "replicas": facts.replicas, "runs": facts.runs, "config": facts.config, "events": facts.events
        });
        return print_document(&document, named.output);
    }
    print(&key, &facts);
    Ok(())
}

async fn gather(remote: &Remote, key: &ObjectKey) -> Result<Facts, Failure> {
    let object = remote.client.get(key).await?;
    let label = match key.kind.name() {
        "Service" => Some("orion/service"),
        "Job" => Some("orion/job"),
        "Run" => Some("orion/run"),
        _ => None,
    };
    let replicas = listed(remote, "replicas", label, &key.name).await?;
    let runs = listed(remote, "runs", label.filter(|_| key.kind.name() == "Job"), &key.name).await?;
    let events = remote.selection(&remote.kind("events").await?).with_fields(about(key.kind.name(), &key.name));
    let mut events = remote.client.list(&events).await?.items;
    events.sort_by_key(last_seen);
    let config = match object.pointer("/metadata/labels/orion~1config").and_then(Value::as_str) {
        Some(name) => remote.client.get(&remote.key(&remote.kind("configs").await?, name)).await.ok(),
        None => None,
    };
    let events = events.split_off(events.len().saturating_sub(LAST_EVENTS));
    Ok(Facts { object, replicas, runs, config, events })
}

async fn listed(remote: &Remote, kind: &str, label: Option<&str>, name: &str) -> Result<Vec<Value>, Failure> {
    let Some(label) = label else { return Ok(Vec::new()) };
    let selection = remote.selection(&remote.kind(kind).await?).with_labels(LabelSelector::equals(label, name));
    Ok(remote.client.list(&selection).await?.items)
}

fn print(key: &ObjectKey, facts: &Facts) {
    let style = Style::of_stdout();
    println!("{}: {}", shown(key), headline(style, key, &facts.object));
    for condition in facts.object.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten() {
        println!("  {}", condition_line(style, condition));
    }
    if key.kind.name() == "Replica" {
        print_replica(style, &facts.object, "  ");
    }
    for replica in &facts.replicas {
        println!("\n{} {}", text(replica, "/metadata/name"), style.paint(&phase(replica), tone_of(&phase(replica))));
        print_replica(style, replica, "  ");
    }
    for run in &facts.runs {
        println!("\nrun/{} {}", text(run, "/metadata/name"), style.paint(&phase(run), tone_of(&phase(run))));
        print_attempts(run);
    }
    if key.kind.name() == "Run" {
        print_attempts(&facts.object);
    }
    print_apply(facts);
    if !facts.events.is_empty() {
        println!("\nevents");
        for event in &facts.events {
            let note = safe(&text(event, "/note"));
            println!("  {:>4} ago  {}: {note}", ago(&last_seen(event)), text(event, "/reason"));
        }
    }
}

fn headline(style: Style, key: &ObjectKey, object: &Value) -> String {
    let standing = match key.kind.name() {
        "Service" => progress::service_standing(object),
        "Job" => progress::job_standing(object),
        _ => return style.paint(&phase(object), tone_of(&phase(object))),
    };
    match standing {
        Standing::Done(what) => style.paint(&what, Tone::Good),
        Standing::Waiting(what) => format!("{} {}", style.paint("waiting:", Tone::Notice), safe(&what)),
        Standing::Failed(what) => format!("{} {}", style.paint("failed:", Tone::Bad), safe(&what)),
    }
}

fn condition_line(style: Style, condition: &Value) -> String {
    let status = text(condition, "/status");
    let message = text(condition, "/message");
    let reason = text(condition, "/reason");
    let said = if message.is_empty() { reason } else { format!("{reason}: {message}") };
    format!(
        "{} {} for {}  {}",
        text(condition, "/type"),
        style.paint(&status, Tone::Plain),
        ago(&text(condition, "/lastTransitionTime")),
        safe(&said)
    )
}

fn print_replica(style: Style, replica: &Value, indent: &str) {
    let node = text(replica, "/spec/nodeName");
    if node.is_empty() {
        println!("{indent}no node: {}", safe(&progress::condition(replica, "Placed")));
    } else {
        let pid = text(replica, "/status/observed/pid");
        let pid = if pid.is_empty() { String::new() } else { format!(", pid {pid}") };
        let restarts = number(replica, "/status/observed/restarts");
        println!("{indent}on {node}{pid}, {restarts} restarts");
    }
    for (label, pointer) in [
        ("refused", "/status/refused"),
        ("says", "/status/observed/message"),
        ("ended last", "/status/observed/exit/message"),
        ("stop wished", "/spec/stop/reason"),
    ] {
        let said = text(replica, pointer);
        if !said.is_empty() {
            println!("{indent}{}: {}", style.paint(label, Tone::Faint), safe(&said));
        }
    }
    for gate in replica.pointer("/spec/gates").and_then(Value::as_array).into_iter().flatten() {
        println!("{indent}waits for the hook {}", gate.as_str().unwrap_or_default());
    }
}

fn print_attempts(run: &Value) {
    for attempt in run.pointer("/status/attempts").and_then(Value::as_array).into_iter().flatten() {
        let end = text(attempt, "/exit/message");
        let end = if end.is_empty() { "not ended".to_owned() } else { end };
        println!("  attempt {}: {} {}", number(attempt, "/number"), text(attempt, "/replica"), safe(&end));
    }
}

fn print_apply(facts: &Facts) {
    let Some(config) = &facts.config else { return };
    let Some(last) = config.pointer("/status/applies/0") else { return };
    let name = text(config, "/metadata/name");
    println!("\nlast applied by config/{name} {} ago by {}", ago(&text(last, "/when")), safe(&text(last, "/who")));
}

fn phase(object: &Value) -> String {
    text(object, "/status/phase")
}
