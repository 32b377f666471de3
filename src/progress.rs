//! Waiting until what was applied is so: progress for each service and job, what it waits for, and why it failed.

use std::{
    collections::BTreeMap,
    io::{IsTerminal, Write},
    time::Duration,
};

use futures::StreamExt;
use orion_http::LogOptions;
use orion_model::ObjectKey;
use serde_json::Value;
use tokio::time::{Instant, MissedTickBehavior};

use crate::{
    failure::Failure,
    remote::{Remote, number, shown, text},
    style::{Style, Tone, safe},
};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(150);
/// Lines of a failed process's log that are shown.
const LAST_LINES: u64 = 10;
const SPINNER: [&str; 8] = ["⠋", "⠙", "⠸", "⠴", "⠦", "⠇", "⠏", "⠛"];

/// Where a service or job stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is as wished.
    Done(String),
    /// It is on the way, and this is what it waits for.
    Waiting(String),
    /// It will not get there by itself.
    Failed(String),
}

/// Waits until services are available and jobs have run, for at most so many seconds.
pub(crate) async fn wait_for(remote: &Remote, keys: &[ObjectKey], seconds: u64) -> Result<(), Failure> {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut shown_before: BTreeMap<ObjectKey, Standing> = BTreeMap::new();
    let mut line = StatusLine::new();
    loop {
        look.tick().await;
        let mut waiting = Vec::new();
        for key in keys {
            let now = standing_of(remote, key).await?;
            if let Standing::Waiting(what) = &now {
                waiting.push(format!("{}: {what}", shown(key)));
            }
            if shown_before.get(key) != Some(&now) {
                line.say(key, &now);
                shown_before.insert(key.clone(), now);
            }
        }
        let failed: Vec<_> =
            keys.iter().filter(|key| matches!(shown_before.get(*key), Some(Standing::Failed(_)))).collect();
        if !failed.is_empty() {
            line.clear();
            for key in &failed {
                last_log_lines(remote, key).await;
            }
            return Err(Failure::refused(format!(
                "{} failed",
                failed.into_iter().map(shown).collect::<Vec<_>>().join(", ")
            )));
        }
        if waiting.is_empty() {
            line.clear();
            return Ok(());
        }
        if Instant::now() > deadline {
            line.clear();
            return Err(Failure::refused(format!("not there within {seconds} s; {}", waiting.join("; "))));
        }
        line.spin(&waiting);
    }
}

async fn standing_of(remote: &Remote, key: &ObjectKey) -> Result<Standing, Failure> {
    match remote.client.get(key).await {
        Ok(object) if key.kind.name() == "Job" => Ok(job_standing(&object)),
        Ok(object) => Ok(service_standing(&object)),
        Err(error) if error.is_not_found() => Ok(Standing::Failed("is gone".into())),
        Err(error) => Err(error.into()),
    }
}

/// Where a service stands, by its status alone.
pub(crate) fn service_standing(service: &Value) -> Standing {
    let seen = number(service, "/status/observedGeneration") >= number(service, "/metadata/generation");
    if !seen {
        return Standing::Waiting("the controllers".into());
    }
    let (desired, available) = (number(service, "/status/desired"), number(service, "/status/available"));
    let current = text(service, "/status/current");
    if !current.is_empty() && text(service, "/status/failed") == current {
        return Standing::Failed(condition(service, "Progressing"));
    }
    let rolling = service.pointer("/status/rollout").is_some_and(|rollout| !rollout.is_null());
    if available >= desired && !rolling {
        return Standing::Done(format!("{available} of {desired} available"));
    }
    let updated = number(service, "/status/updated");
    let reason = condition(service, "Progressing");
    let reason = if reason.is_empty() { condition(service, "Available") } else { reason };
    let counts = format!("{updated} of {desired} updated, {available} available");
    Standing::Waiting(if reason.is_empty() { counts } else { format!("{counts}: {reason}") })
}

/// Where a job stands, by its status alone. One with a schedule is as wished when it is there.
pub(crate) fn job_standing(job: &Value) -> Standing {
    if number(job, "/status/observedGeneration") < number(job, "/metadata/generation") {
        return Standing::Waiting("the controllers".into());
    }
    if !text(job, "/spec/schedule").is_empty() || job.pointer("/spec/suspend") == Some(&Value::Bool(true)) {
        return Standing::Done("waits for its time".into());
    }
    let run = text(job, "/status/lastRun");
    if let Some(before) = run_before(job, &run) {
        return Standing::Done(format!("{before} has run before, and is not run again"));
    }
    match text(job, "/status/lastPhase").as_str() {
        "Succeeded" => Standing::Done(format!("{run} succeeded")),
        "Failed" => Standing::Failed(format!("{run} failed with exit code {}", text(job, "/status/lastExitCode"))),
        "" => Standing::Waiting("its run".into()),
        phase => Standing::Waiting(format!("{run} is {}", phase.to_lowercase())),
    }
}

/// The Run of a job's present template, where it is not the newest Run: that template had its turn before.
fn run_before(job: &Value, newest: &str) -> Option<String> {
    let conditions = job.pointer("/status/conditions").and_then(Value::as_array);
    let started = |condition: &&Value| condition["type"] == "Started" && condition["status"] == "True";
    let run = text(conditions.into_iter().flatten().find(started)?, "/message");
    (!run.is_empty() && run != newest).then_some(run)
}

/// The sentence of a condition, or its reason.
pub(crate) fn condition(object: &Value, kind: &str) -> String {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let found = conditions.into_iter().flatten().find(|condition| text(condition, "/type") == kind);
    let Some(condition) = found else { return String::new() };
    let message = text(condition, "/message");
    if message.is_empty() { text(condition, "/reason") } else { message }
}

/// The end of the log of a replica that did not come up.
async fn last_log_lines(remote: &Remote, key: &ObjectKey) {
    let Ok(replicas) = remote.kind("replicas").await else { return };
    let label = if key.kind.name() == "Job" { "orion/job" } else { "orion/service" };
    let selection = remote.selection(&replicas).with_labels(orion_model::LabelSelector::equals(label, &*key.name));
    let Ok(listing) = remote.client.list(&selection).await else { return };
    let ended = |replica: &&Value| replica.pointer("/status/observed/exit").is_some();
    let newest = listing.items.iter().filter(ended).max_by_key(|replica| text(replica, "/metadata/creationTimestamp"));
    let Some(replica) = newest else { return };
    let name = text(replica, "/metadata/name");
    eprintln!("{name}: {}", safe(&text(replica, "/status/observed/exit/message")));
    let options = LogOptions { tail: Some(LAST_LINES), ..LogOptions::default() };
    let Ok(lines) = remote.client.logs(&remote.key(&replicas, &name), &options).await else { return };
    let mut lines = std::pin::pin!(lines);
    while let Some(Ok(line)) = lines.next().await {
        eprintln!("  {name} | {}", safe(crate::commands::logs::message(&String::from_utf8_lossy(&line))));
    }
}

/// A line for each change and, on a terminal, one that moves.
struct StatusLine {
    style: Style,
    terminal: bool,
    turn: usize,
}

impl StatusLine {
    fn new() -> Self {
        Self { style: Style::of_stdout(), terminal: std::io::stdout().is_terminal(), turn: 0 }
    }

    fn say(&self, key: &ObjectKey, standing: &Standing) {
        self.clear();
        let (word, tone, what) = match standing {
            Standing::Done(what) => ("ready", Tone::Good, what),
            Standing::Waiting(what) => ("waiting", Tone::Notice, what),
            Standing::Failed(what) => ("failed", Tone::Bad, what),
        };
        println!("{} {}: {}", shown(key), self.style.paint(word, tone), safe(what));
    }

    fn spin(&mut self, waiting: &[String]) {
        if self.terminal {
            self.turn += 1;
            let what: String = safe(&waiting.join("; ")).chars().take(100).collect();
            print!("\r\x1b[K{} {what}", SPINNER[self.turn % SPINNER.len()]);
            // A terminal that is gone takes no progress; the command goes on.
            let _gone = std::io::stdout().flush();
        }
    }

    fn clear(&self) {
        if self.terminal {
            print!("\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service(status: Value) -> Value {
        json!({"metadata": {"generation": 2}, "spec": {}, "status": status})
    }

    #[test]
    fn a_service_is_done_when_enough_is_available_and_nothing_rolls() {
        let done =
            service(json!({"observedGeneration": 2, "desired": 2, "available": 2, "current": "a", "stable": "a"}));
        assert!(matches!(service_standing(&done), Standing::Done(_)));
        let old = service(json!({"observedGeneration": 1, "desired": 2, "available": 2}));
        assert!(matches!(service_standing(&old), Standing::Waiting(_)), "the status is of an older spec");
        let rolling =
            service(json!({"observedGeneration": 2, "desired": 2, "available": 2, "rollout": {"revision": "b"}}));
        assert!(matches!(service_standing(&rolling), Standing::Waiting(_)));
    }

    #[test]
    fn a_refused_revision_is_a_failure_with_its_reason() {
        let conditions = json!([{"type": "Progressing", "status": "False", "message": "no such file: ./x"}]);
        let failed = service(json!({
            "observedGeneration": 2, "desired": 1, "available": 1, "current": "b", "stable": "a", "failed": "b",
            "conditions": conditions
        }));
        assert_eq!(service_standing(&failed), Standing::Failed("no such file: ./x".into()));
    }

    #[test]
    fn a_job_is_done_when_its_run_has_succeeded() {
        let job = |phase: &str| {
            json!({"metadata": {"generation": 1}, "spec": {}, "status":
                {"observedGeneration": 1, "lastRun": "r", "lastPhase": phase, "lastExitCode": 3}})
        };
        assert!(matches!(job_standing(&job("Succeeded")), Standing::Done(_)));
        assert!(matches!(job_standing(&job("Running")), Standing::Waiting(_)));
        assert_eq!(job_standing(&job("Failed")), Standing::Failed("r failed with exit code 3".into()));
        let mut back = job("Failed");
        back["status"]["conditions"] = json!([{"type": "Started", "status": "True", "message": "q"}]);
        assert!(matches!(job_standing(&back), Standing::Done(_)), "the failure is another template's");
    }
}
