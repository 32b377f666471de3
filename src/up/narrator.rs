//! What a person at `orion up` is told of replicas and services: pure, given what changed and when.
//!
//! A replica passes through phases that nobody wants to read unless it stays in them: those are told only after a
//! moment, with what is waited for. What has long been over when `up` starts is not told at all.

use std::{collections::BTreeMap, time::Duration};

use orion_model::{Object, ObjectKey};
use orion_types::{
    Replica, Service,
    replica::{Observed, PLACED, Phase, ProcessState},
};
use tokio::time::Instant;

use crate::{
    standing::{self, Standing, said},
    style::Tone,
};

/// How long a replica may wait before it is said that it does.
const PATIENCE: Duration = Duration::from_secs(1);

/// One thing to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    /// Of whom.
    pub(crate) name: String,
    /// A word for what is so now.
    pub(crate) word: &'static str,
    /// How it is meant.
    pub(crate) tone: Tone,
    /// The rest; may be empty.
    pub(crate) detail: String,
}

/// What has been told so far.
#[derive(Default)]
pub(crate) struct Narrator {
    replicas: BTreeMap<ObjectKey, Seen>,
    services: BTreeMap<ObjectKey, Standing>,
    synced: bool,
    ending: bool,
}

#[derive(Default)]
struct Seen {
    news: Option<News>,
    /// Something that is told if it is still so then.
    due: Option<(Instant, News)>,
    live: bool,
}

/// What can be told of a replica; two alike are told once.
#[derive(Clone, Debug, PartialEq, Eq)]
struct News {
    word: &'static str,
    tone: Tone,
    detail: String,
    patient: bool,
}

impl Narrator {
    /// Everything that exists has been shown: from here on come changes.
    pub(crate) fn synced(&mut self) {
        self.synced = true;
    }

    /// The agent is ending: what has no process any more is stopped, not on its way.
    pub(crate) fn ending(&mut self) {
        self.ending = true;
    }

    /// How many processes are believed to run.
    pub(crate) fn live(&self) -> usize {
        self.replicas.values().filter(|seen| seen.live).count()
    }

    /// A replica is so now.
    pub(crate) fn replica(&mut self, replica: &Replica, now: Instant) -> Option<Told> {
        let news = news(replica, self.ending);
        let seen = self.replicas.entry(replica.object_key()).or_default();
        seen.live = is_live(replica);
        if !self.synced && replica.status.phase.is_finished() {
            seen.news = news;
            return None;
        }
        let news = news?;
        if seen.news.as_ref() == Some(&news) {
            seen.due = None;
            return None;
        }
        if news.patient {
            let due = seen.due.take().map_or(now + PATIENCE, |(due, _)| due);
            seen.due = Some((due, news));
            return None;
        }
        seen.due = None;
        seen.news = Some(news.clone());
        Some(told(replica.name(), news))
    }

    /// A replica is no longer there.
    pub(crate) fn forget_replica(&mut self, key: &ObjectKey) {
        self.replicas.remove(key);
    }

    /// A service is so now; told when it is there or has failed, not on the way.
    pub(crate) fn service(&mut self, service: &Service) -> Option<Told> {
        let key = service.object_key();
        let standing = standing::of_service(service);
        if matches!(standing, Standing::Waiting(_)) {
            // What comes next is news again.
            self.services.remove(&key);
            return None;
        }
        if self.services.get(&key) == Some(&standing) {
            return None;
        }
        let (word, tone, detail) = match standing.clone() {
            Standing::Failed(why) => ("failed", Tone::Bad, why),
            Standing::Done(what) | Standing::Waiting(what) => ("ready", Tone::Good, what),
        };
        self.services.insert(key, standing);
        Some(Told { name: format!("service/{}", service.name()), word, tone, detail })
    }

    /// A service is no longer there.
    pub(crate) fn forget_service(&mut self, key: &ObjectKey) -> Option<Told> {
        self.services.remove(key);
        let name = format!("service/{}", key.name);
        Some(Told { name, word: "deleted", tone: Tone::Faint, detail: String::new() })
    }

    /// When something is due that was held back.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.replicas.values().filter_map(|seen| Some(seen.due.as_ref()?.0)).min()
    }

    /// What was held back and is still so.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<Told> {
        let mut told_now = Vec::new();
        for (key, seen) in &mut self.replicas {
            if let Some((_, news)) = seen.due.take_if(|(due, _)| *due <= now) {
                seen.news = Some(news.clone());
                told_now.push(told(&key.name, news));
            }
        }
        told_now
    }
}

fn told(name: &str, news: News) -> Told {
    Told { name: name.to_owned(), word: news.word, tone: news.tone, detail: news.detail }
}

/// Whether a process of it runs, as far as is known.
fn is_live(replica: &Replica) -> bool {
    let observed = replica.status.observed.as_ref();
    observed.is_some_and(|observed| observed.pid.is_some()) && !replica.status.phase.is_finished()
}

/// What can be said of a replica; `None` where its present phase is not worth a word.
fn news(replica: &Replica, ending: bool) -> Option<News> {
    let now = |word, tone, detail: String| Some(News { word, tone, detail, patient: false });
    let later = |word, detail: String| Some(News { word, tone: Tone::Notice, detail, patient: true });
    let observed = replica.status.observed.as_ref();
    // An agent that ends takes its processes with it, without anybody's wish.
    match observed.map(|observed| observed.state) {
        Some(ProcessState::Stopped) => return now("stopped", Tone::Faint, String::new()),
        Some(ProcessState::Starting | ProcessState::Backoff) if ending => {
            return now("stopped", Tone::Faint, String::new());
        }
        Some(ProcessState::Stopping) if !replica.status.phase.is_finished() => {
            return now("stopping", Tone::Faint, stop_reason(replica));
        }
        _ => {}
    }
    match replica.status.phase {
        Phase::Pending => later("pending", said(&replica.status.conditions, PLACED)),
        Phase::Gated => later("waiting", format!("for the hook {}", replica.spec.gates.join(", "))),
        Phase::Scheduled => later("waiting", format!("for node {}", node(replica))),
        Phase::Starting => later("starting", message(observed)),
        Phase::Running => now("started", Tone::Plain, pid(observed)),
        Phase::Ready => now("ready", Tone::Good, pid(observed)),
        Phase::Backoff => now("ended", Tone::Bad, format!("{}; it is started again", ended(observed))),
        Phase::Unknown => now("unknown", Tone::Notice, format!("node {} is silent", node(replica))),
        Phase::Lost => now("lost", Tone::Bad, format!("with node {}", node(replica))),
        Phase::Succeeded => now("succeeded", Tone::Good, String::new()),
        Phase::Failed => now("failed", Tone::Bad, replica.status.refused.clone().unwrap_or_else(|| ended(observed))),
        Phase::Stopping => now("stopping", Tone::Faint, stop_reason(replica)),
        Phase::Stopped => now("stopped", Tone::Faint, String::new()),
    }
}

fn node(replica: &Replica) -> &str {
    replica.spec.node_name.as_deref().unwrap_or("?")
}

fn stop_reason(replica: &Replica) -> String {
    replica.spec.stop.as_ref().map(|stop| stop.reason.clone()).unwrap_or_default()
}

fn message(observed: Option<&Observed>) -> String {
    observed.and_then(|observed| observed.message.clone()).unwrap_or_default()
}

fn pid(observed: Option<&Observed>) -> String {
    let Some(observed) = observed else { return String::new() };
    let pid = observed.pid.map(|pid| format!("pid {pid}")).unwrap_or_default();
    match observed.restarts {
        0 => pid,
        restarts => format!("{pid}, restart {restarts}"),
    }
}

/// How it ended last, or why it cannot start.
fn ended(observed: Option<&Observed>) -> String {
    let exit = observed.and_then(|observed| observed.exit.as_ref());
    match exit {
        Some(exit) if !exit.message.is_empty() => exit.message.clone(),
        Some(exit) => exit.summary(),
        None => message(observed),
    }
}

#[cfg(test)]
mod tests {
    use orion_types::replica::{Exit, ReplicaSpec};

    use super::*;

    fn replica(phase: Phase, state: Option<ProcessState>) -> Replica {
        let mut replica = Replica::new("web-0-abcde", ReplicaSpec::default());
        replica.spec.node_name = Some("node-1".into());
        replica.status.phase = phase;
        let pid = matches!(state, Some(ProcessState::Running | ProcessState::Ready)).then_some(42);
        replica.status.observed = state.map(|state| Observed { state, pid, ..Observed::default() });
        replica
    }

    fn started() -> Narrator {
        let mut narrator = Narrator::default();
        narrator.synced();
        narrator
    }

    fn words(told: &[Told]) -> Vec<String> {
        told.iter().map(|told| format!("{} {}", told.word, told.detail).trim().to_owned()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn phases_that_pass_are_not_told() {
        let mut narrator = started();
        let now = Instant::now();
        for (phase, state) in
            [(Phase::Pending, None), (Phase::Scheduled, None), (Phase::Starting, Some(ProcessState::Starting))]
        {
            assert_eq!(narrator.replica(&replica(phase, state), now), None, "{phase}");
        }
        let told = narrator.replica(&replica(Phase::Running, Some(ProcessState::Running)), now);
        assert_eq!(words(&Vec::from_iter(told)), ["started pid 42"]);
        assert!(narrator.next_due().is_none() && narrator.due(now + PATIENCE).is_empty());
        let same = narrator.replica(&replica(Phase::Running, Some(ProcessState::Running)), now);
        assert_eq!(same, None, "it is told once");
        assert_eq!(narrator.live(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_phase_that_stays_is_told_with_its_reason_when_patience_ends() {
        let mut narrator = started();
        let now = Instant::now();
        let mut pending = replica(Phase::Pending, None);
        assert_eq!(narrator.replica(&pending, now), None);
        let condition = serde_json::json!([{"type": PLACED, "status": "False", "reason": "Unplaceable",
            "message": "node-1: needs 512Mi, free 300Mi", "lastTransitionTime": "2026-11-24T09:31:12Z"}]);
        pending.status.conditions = serde_json::from_value(condition).expect("conditions");
        assert_eq!(narrator.replica(&pending, now + PATIENCE / 2), None);
        assert_eq!(narrator.next_due(), Some(now + PATIENCE), "counted from when it began");
        assert!(narrator.due(now + PATIENCE / 2).is_empty());
        assert_eq!(words(&narrator.due(now + PATIENCE)), ["pending node-1: needs 512Mi, free 300Mi"]);
        assert_eq!(narrator.replica(&pending, now + 2 * PATIENCE), None, "it is told once");
        assert!(narrator.due(now + 9 * PATIENCE).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_over_before_is_not_told_and_what_runs_is() {
        let mut narrator = Narrator::default();
        let now = Instant::now();
        assert_eq!(narrator.replica(&replica(Phase::Succeeded, Some(ProcessState::Exited)), now), None);
        let mut other = replica(Phase::Ready, Some(ProcessState::Ready));
        other.metadata.name = "web-1-abcde".into();
        assert_eq!(words(&Vec::from_iter(narrator.replica(&other, now))), ["ready pid 42"]);
        narrator.synced();
        assert_eq!(narrator.replica(&replica(Phase::Succeeded, Some(ProcessState::Exited)), now), None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_is_told_with_how_it_ended() {
        let mut narrator = started();
        let now = Instant::now();
        let mut ended = replica(Phase::Backoff, Some(ProcessState::Backoff));
        let observed = ended.status.observed.as_mut().expect("is there");
        observed.exit = Some(Exit { code: Some(3), ..Exit::default() });
        assert_eq!(words(&Vec::from_iter(narrator.replica(&ended, now))), ["ended exit code 3; it is started again"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_ends_with_its_agent_is_told_as_stopped_once() {
        for state in [ProcessState::Starting, ProcessState::Stopped] {
            let mut narrator = started();
            let now = Instant::now();
            narrator.replica(&replica(Phase::Ready, Some(ProcessState::Ready)), now);
            narrator.ending();
            assert_eq!(narrator.live(), 1);
            let told = narrator.replica(&replica(Phase::Starting, Some(state)), now);
            assert_eq!(words(&Vec::from_iter(told)), ["stopped"], "{state:?}");
            assert_eq!(narrator.replica(&replica(Phase::Stopped, Some(ProcessState::Stopped)), now), None);
            assert_eq!(narrator.live(), 0);
        }
    }
}
