//! The conversation with an original agent, which knows `launch`, `stop` and `update` and checks nothing.
//!
//! A replica is launched at most once: that it was is in the store (`status.observed`) before the frame is sent, so
//! neither a new connection nor a new gateway sends it again. A launched replica counts as ready, and a `stop` that
//! has reached the socket as done.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use orion_model::{Clock, Key, Object, ResourceVersion, Timestamp, Uid};
use orion_types::{
    Replica,
    protocol::{FromAgent, StatusReport},
    replica::{Observed, ProcessState},
};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    definition::define,
    dialect::Dialect,
    legacy::render,
    line::Line,
    observed::{is_over, unrunnable},
    outbox::Lane,
    reports::{Reports, Settled},
    wish::{Wish, wish},
    world::NodeView,
};

/// The gateway's side of a conversation in the original's frames.
pub(super) struct Original {
    view: NodeView,
    line: Arc<Line>,
    reports: Reports,
    clock: Clock,
    todo: BTreeMap<Uid, Key<Replica>>,
    /// Launches whose mark is on its way into the store.
    launching: BTreeMap<Uid, String>,
    /// Frames that may go.
    ready: VecDeque<String>,
    /// Replicas whose stop was queued in this session, and whether that has been written down; until they are gone.
    stopped: BTreeMap<Uid, StopSent>,
    /// What runs there as far as this session knows, to end what vanishes from the store.
    running: BTreeMap<Uid, Named>,
    /// Replicas whose template was not there, and when to look again.
    templateless: BTreeMap<Uid, Key<Replica>>,
    look_again: Option<Instant>,
}

/// How long to wait for a template that is not there.
const TEMPLATE_PATIENCE: Duration = Duration::from_secs(5);

#[derive(Clone)]
struct Named {
    service: String,
    replica: Key<Replica>,
}

enum StopSent {
    Queued(Key<Replica>),
    Noted,
}

impl Original {
    pub(super) fn new(line: Arc<Line>, view: NodeView, reports: Reports, clock: Clock) -> Self {
        let mut conversation = Self {
            view,
            line,
            reports,
            clock,
            todo: BTreeMap::new(),
            launching: BTreeMap::new(),
            ready: VecDeque::new(),
            stopped: BTreeMap::new(),
            running: BTreeMap::new(),
            templateless: BTreeMap::new(),
            look_again: None,
        };
        conversation.look_at_all();
        conversation
    }

    fn look_at_all(&mut self) {
        self.todo.extend(self.view.replicas().iter().map(|replica| (replica.metadata.uid.clone(), replica.key())));
        self.todo.extend(self.running.iter().map(|(uid, named)| (uid.clone(), named.replica.clone())));
    }

    fn say_next(&mut self) -> bool {
        if let Some(frame) = self.ready.pop_front() {
            self.line.outbox.push(Lane::Command, frame);
        } else if let Some((uid, key)) = self.todo.pop_first().or_else(|| self.line.backlog.pop()) {
            self.look(&uid, &key);
        } else {
            return false;
        }
        true
    }

    fn look(&mut self, uid: &Uid, key: &Key<Replica>) {
        let Some(replica) = self.reports.replica(key, uid) else { return self.end_what_is_gone(uid) };
        let observed = replica.status.observed.as_ref();
        let runs = observed.is_some_and(|observed| !is_over(observed.state));
        if runs {
            let named = Named { service: self.view.workload(&replica), replica: key.clone() };
            self.running.insert(uid.clone(), named);
        }
        match wish(Some(&replica)) {
            Wish::Wait => {}
            Wish::Run(version) => match observed {
                None => self.launch(&replica, version),
                Some(observed) if runs && observed.spec_version < version => self.update(&replica, observed, version),
                Some(_) => {}
            },
            Wish::Stop(_) if runs => self.stop(uid),
            Wish::Stop(_) => self.reports.make(&replica, stopped(observed)),
            Wish::Over(_) if runs => self.stop(uid),
            Wish::Over(_) => {}
        }
    }

    fn launch(&mut self, replica: &Replica, version: ResourceVersion) {
        let uid = &replica.metadata.uid;
        if self.launching.contains_key(uid) {
            return;
        }
        let now = self.clock.now();
        match self.service(replica) {
            None => {
                self.templateless.insert(uid.clone(), replica.key());
                self.look_again.get_or_insert(Instant::now() + TEMPLATE_PATIENCE);
            }
            Some(Err(reason)) => self.reports.make(replica, unrunnable(None, reason, now)),
            Some(Ok(service)) => {
                let ports = ports(&service);
                let payload = json!({ "service": service, "replicaId": replica.metadata.name });
                self.launching.insert(uid.clone(), frame("launch", &payload));
                self.reports.make(replica, launched(version, ports, now));
            }
        }
    }

    fn update(&mut self, replica: &Replica, observed: &Observed, version: ResourceVersion) {
        let Some(Ok(config)) = self.service(replica) else { return };
        let payload = json!({
            "serviceName": self.view.workload(replica), "config": config, "replicaId": replica.metadata.name
        });
        self.ready.push_back(frame("update", &payload));
        self.reports.make(replica, Observed { spec_version: version, ..observed.clone() });
    }

    fn stop(&mut self, uid: &Uid) {
        let Some(Named { service, replica }) = self.running.get(uid).cloned() else { return };
        if self.stopped.contains_key(uid) {
            return;
        }
        self.ready.push_back(frame("stop", &json!({ "serviceName": service, "replicaId": replica.name() })));
        self.stopped.insert(uid.clone(), StopSent::Queued(replica));
    }

    fn end_what_is_gone(&mut self, uid: &Uid) {
        self.stop(uid);
        self.running.remove(uid);
        if matches!(self.stopped.get(uid), Some(StopSent::Noted)) {
            self.stopped.remove(uid);
        }
    }

    /// Writes down the stops that have reached the socket.
    fn note_stops(&mut self) {
        if !self.ready.is_empty() || !self.line.outbox.is_flushed() {
            return;
        }
        let mut noted = Vec::new();
        for (uid, sent) in &mut self.stopped {
            if let StopSent::Queued(key) = std::mem::replace(sent, StopSent::Noted) {
                noted.push((uid.clone(), key));
            }
        }
        for (uid, key) in noted {
            self.running.remove(&uid);
            if let Some(replica) = self.reports.replica(&key, &uid) {
                self.reports.make(&replica, stopped(replica.status.observed.as_ref()));
            } else {
                self.stopped.remove(&uid);
            }
        }
    }

    /// The replica's definition in the original's words, or why there are none for it; `None` while its template is
    /// not there.
    fn service(&self, replica: &Replica) -> Option<Result<Value, String>> {
        let source = self.view.source(replica)?;
        let service = self.view.service(replica);
        Some(define(replica, source).and_then(|definition| render(&definition, service.as_deref())))
    }

    fn report(&mut self, report: &StatusReport) {
        let Some(replica) = self.view.replica_named(&report.replica_id) else { return };
        let Some(replica) = self.reports.replica(&replica.key(), &replica.metadata.uid) else { return };
        let Some(old) = &replica.status.observed else { return };
        if let Some(observed) = heard(old, report, self.clock.now()) {
            self.reports.make(&replica, observed);
        }
    }
}

impl Dialect for Original {
    fn hear(&mut self, frame: FromAgent) {
        if let FromAgent::Status(report) = frame {
            self.report(&report);
        }
    }

    fn settled(&mut self, settled: Settled) {
        let Some(launch) = self.launching.remove(&settled.uid) else { return };
        if let Some(replica) = settled.replica {
            self.ready.push_back(launch);
            // Its end may have been wished meanwhile.
            self.todo.insert(settled.uid, replica.key());
        }
    }

    fn speak(&mut self, now: Instant) {
        if self.line.backlog.take_overflow() {
            self.look_at_all();
        }
        if self.look_again.is_some_and(|at| at <= now) {
            self.look_again = None;
            self.todo.append(&mut self.templateless);
        }
        while self.line.outbox.has_room() && self.say_next() {}
        self.note_stops();
    }

    fn listens(&self) -> bool {
        true
    }

    fn reports(&mut self) -> &mut Reports {
        &mut self.reports
    }

    fn wake_at(&self) -> Option<Instant> {
        self.look_again
    }
}

fn frame(kind: &str, payload: &Value) -> String {
    json!({ "type": kind, "payload": payload }).to_string()
}

/// Static ports are what they say.
fn ports(service: &Value) -> BTreeMap<String, u16> {
    let ports = service["ports"].as_array().into_iter().flatten();
    let named =
        ports.filter_map(|port| Some((port["name"].as_str()?.to_owned(), u16::try_from(port["port"].as_u64()?).ok()?)));
    named.collect()
}

fn launched(version: ResourceVersion, ports: BTreeMap<String, u16>, now: Timestamp) -> Observed {
    Observed {
        state: ProcessState::Ready,
        attempt: 1,
        started_at: Some(now),
        ready: true,
        ready_since: Some(now),
        ports,
        spec_version: version,
        ..Observed::default()
    }
}

fn stopped(old: Option<&Observed>) -> Observed {
    let old = old.cloned().unwrap_or_default();
    Observed { state: ProcessState::Stopped, pid: None, ready: false, ready_since: None, ..old }
}

/// What an original agent's word makes of a state. It has no probes: what runs is ready.
fn heard(old: &Observed, report: &StatusReport, now: Timestamp) -> Option<Observed> {
    let state = match report.process_state()? {
        ProcessState::Running | ProcessState::Ready => ProcessState::Ready,
        other => other,
    };
    if state == old.state {
        return None;
    }
    let ready = state == ProcessState::Ready;
    let again = u32::from(ready && (is_over(old.state) || old.state == ProcessState::Backoff));
    Some(Observed {
        state,
        ready,
        ready_since: ready.then_some(now),
        attempt: old.attempt + again,
        restarts: old.restarts + again,
        message: report.message.clone(),
        ..old.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_original_agents_words_move_the_state() {
        let now = Timestamp::UNIX_EPOCH;
        let start = launched(ResourceVersion::new(3), BTreeMap::new(), now);
        let says = |old: &Observed, word: &str| {
            heard(old, &StatusReport { state: word.into(), ..StatusReport::default() }, now)
        };
        assert_eq!(says(&start, "running"), None);
        assert_eq!(says(&start, "dancing"), None);
        let crashed = says(&start, "crashed").expect("news");
        assert_eq!((crashed.state, crashed.ready, crashed.restarts), (ProcessState::Failed, false, 0));
        let again = says(&crashed, "started").expect("news");
        assert_eq!((again.state, again.ready, again.restarts, again.attempt), (ProcessState::Ready, true, 1, 2));
    }
}
