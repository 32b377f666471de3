//! The conversation with an agent of protocol 1.
//!
//! ```text
//! hello ─► begin: reports of all it has; welcome; sync, naming all it should have
//!          want ─► launch                     (what it lacks)
//!        synced ─► everything is looked at    (what else differs)
//! a replica changed, a report came ─► look: wish beside what the agent has and was told ─► launch, update, stop
//! not acknowledged in time ─► look again
//! report settled and the replica over ─► forget
//! ```
//!
//! Until an agent has said `synced` it is told nothing but the definitions it wants: one that obeys another control
//! plane never says it, and must not be told to stop or start anything.

mod frames;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use orion_model::{Key, Object, ResourceVersion, Uid};
use orion_types::{
    Replica,
    protocol::{
        Ack, Definition, Forget, FromAgent, Hello, Stale, StatusAck, StatusReport, SyncEntry, Synced, ToAgent, Want,
        Welcome,
    },
    replica::ProcessState,
};
use tokio::time::Instant;

use super::{
    command::{CommandId, Held, Known, Sent, Verb, due},
    definition::define,
    dialect::Dialect,
    frame,
    line::Line,
    observed::{is_over, unrunnable},
    outbox::Lane,
    reports::{Reports, Settled},
    wish::{Wish, wish},
    world::NodeView,
};

/// Answers that may be due before the agent is listened to no more.
const MAX_FORGETS: usize = 4096;

/// The gateway's side of a conversation in protocol 1.
pub(super) struct Protocol1 {
    view: NodeView,
    line: Arc<Line>,
    reports: Reports,
    resend_after: Duration,
    clock: orion_model::Clock,
    /// Replicas the store knew of in this session and that the agent has, was told of, or should have.
    entries: BTreeMap<Uid, Entry>,
    /// What is left of the present sync.
    parts: VecDeque<ToAgent>,
    synced: bool,
    wants: BTreeSet<Uid>,
    todo: BTreeMap<Uid, Key<Replica>>,
    forgets: BTreeMap<Uid, String>,
    /// Replicas whose template was not there.
    templateless: BTreeSet<Uid>,
    resend_at: Option<Instant>,
}

struct Entry {
    key: Key<Replica>,
    workload: String,
    known: Known,
    sent_at: Instant,
    /// It was launched in this session with nothing of it there: its reports begin anew.
    afresh: bool,
    /// The agent only has a record that it was stopped, though nobody wished that.
    stopped: bool,
}

impl Protocol1 {
    pub(super) fn new(
        line: Arc<Line>,
        view: NodeView,
        reports: Reports,
        clock: orion_model::Clock,
        resend_after: Duration,
    ) -> Self {
        Self {
            view,
            line,
            reports,
            resend_after,
            clock,
            entries: BTreeMap::new(),
            parts: VecDeque::new(),
            synced: false,
            wants: BTreeSet::new(),
            todo: BTreeMap::new(),
            forgets: BTreeMap::new(),
            templateless: BTreeSet::new(),
            resend_at: None,
        }
    }

    /// Takes what the hello says the agent has, and begins the first sync.
    pub(super) fn begin(&mut self, hello: Hello, welcome: Welcome, now: Instant) {
        self.line.outbox.push(Lane::Command, frame::write(&ToAgent::Welcome(welcome)));
        for report in hello.replicas {
            self.report(report, now);
        }
        self.begin_sync(now);
    }

    /// Names all the agent should have; what it was told before is forgotten, since frames may have been dropped.
    fn begin_sync(&mut self, now: Instant) {
        self.synced = false;
        self.wants.clear();
        self.todo.clear();
        self.resend_at = None;
        self.entries.values_mut().for_each(|entry| entry.known.sent = None);
        let mut forgets = Vec::new();
        let mut named = Vec::new();
        for replica in self.view.replicas() {
            let (uid, key) = (replica.metadata.uid.clone(), replica.key());
            let Some(replica) = self.reports.replica(&key, &uid) else { continue };
            let wish = wish(Some(&replica));
            let entry = match wish {
                Wish::Run(_) | Wish::Stop(_) => Some(self.entry(&replica, now)),
                Wish::Wait | Wish::Over(_) => self.entries.get_mut(&uid),
            };
            let Some(entry) = entry else { continue };
            let replica_id = replica.metadata.name.clone();
            if entry.stopped && matches!(wish, Wish::Run(_)) {
                // It was stopped with its agent. The record of that must not be taken for a replica that is there.
                entry.known.held = None;
                entry.stopped = false;
                forgets.push(ToAgent::Forget(Forget { uid: uid.clone(), replica_id: replica_id.clone() }));
            }
            named.extend(named_version(wish, entry.known).map(|spec_version| SyncEntry {
                uid,
                replica_id,
                spec_version,
            }));
        }
        self.parts = forgets.into_iter().chain(frames::in_parts(named)).collect();
    }

    fn entry(&mut self, replica: &Replica, now: Instant) -> &mut Entry {
        let view = &self.view;
        self.entries.entry(replica.metadata.uid.clone()).or_insert_with(|| Entry {
            key: replica.key(),
            workload: view.workload(replica),
            known: Known::default(),
            sent_at: now,
            afresh: false,
            stopped: false,
        })
    }

    fn report(&mut self, report: StatusReport, now: Instant) {
        let key = Key::new(report.namespace.as_str(), report.replica_id.as_str());
        let (uid, version, state) = (report.uid.clone(), report.spec_version, report.process_state());
        if state.is_none() {
            tracing::warn!(node = self.line.node, state = report.state, "an agent reports a state that is not known");
        }
        let afresh = self.entries.get(&uid).is_some_and(|entry| entry.afresh);
        let settled = self.reports.say(report, afresh);
        if let Some(replica) = self.reports.replica(&key, &uid) {
            self.entry(&replica, now);
        }
        if let (Some(entry), Some(state)) = (self.entries.get_mut(&uid), state) {
            entry.known.held = Some(Held { version, over: is_over(state) });
            entry.stopped = state == ProcessState::Stopped;
            self.todo.insert(uid, entry.key.clone());
        }
        if let Some(settled) = settled {
            self.settled(settled);
        }
    }

    /// Says one thing, if there is one.
    fn say_next(&mut self, now: Instant) -> bool {
        if let Some(part) = self.parts.pop_front() {
            self.push(Lane::Command, &part);
        } else if let Some(uid) = self.wants.pop_first() {
            self.supply(&uid, now);
        } else if let Some((uid, key)) = self.next_to_look_at() {
            self.look(&uid, &key, now);
        } else if let Some((uid, replica_id)) = self.forgets.pop_first() {
            self.push(Lane::Answer, &ToAgent::Forget(Forget { uid, replica_id }));
        } else if let Some(seq) = self.reports.ack() {
            self.push(Lane::Answer, &ToAgent::StatusAck(StatusAck { seq }));
        } else if let Some(request) = self.line.streams.next() {
            self.push(Lane::Log, &request);
        } else {
            return false;
        }
        true
    }

    fn next_to_look_at(&mut self) -> Option<(Uid, Key<Replica>)> {
        if !self.synced {
            return None;
        }
        self.todo.pop_first().or_else(|| self.line.backlog.pop())
    }

    /// Compares what is wished of a replica with what the agent has and was told.
    fn look(&mut self, uid: &Uid, key: &Key<Replica>, now: Instant) {
        let replica = self.reports.replica(key, uid);
        let wish = wish(replica.as_deref());
        if let (Some(replica), Wish::Run(_) | Wish::Stop(_)) = (&replica, wish) {
            self.entry(replica, now);
        }
        let Some(entry) = self.entries.get_mut(uid) else { return };
        let mut known = entry.known;
        if matches!(wish, Wish::Stop(_)) && replica.as_deref().is_some_and(ended_but_not_stopped) {
            // The end that is known did not end the replica: only `stopped` will.
            known.held = None;
        }
        match due(wish, known) {
            Some((verb, version)) => self.command(uid, verb, version, replica.as_deref(), now),
            None if matches!(wish, Wish::Over(_)) && !known.may_run() => drop(self.entries.remove(uid)),
            None => {}
        }
    }

    /// Gives the agent the definition it asks for.
    fn supply(&mut self, uid: &Uid, now: Instant) {
        let Some(key) = self.entries.get(uid).map(|entry| entry.key.clone()) else { return };
        let replica = self.reports.replica(&key, uid);
        match wish(replica.as_deref()) {
            Wish::Run(version) => self.command(uid, Verb::Launch, version, replica.as_deref(), now),
            Wish::Wait | Wish::Stop(_) | Wish::Over(_) => {}
        }
    }

    fn command(&mut self, uid: &Uid, verb: Verb, version: ResourceVersion, replica: Option<&Replica>, now: Instant) {
        let definition = match (verb, replica) {
            (Verb::Stop, _) | (_, None) => None,
            (Verb::Launch | Verb::Update, Some(replica)) => match self.definition(replica, uid, version, now) {
                Some(definition) => Some(definition),
                None => return,
            },
        };
        let Some(entry) = self.entries.get_mut(uid) else { return };
        entry.afresh |= verb == Verb::Launch && entry.known.held.is_none();
        entry.known.sent = Some(Sent { verb, version, acked: false });
        entry.sent_at = now;
        let id = CommandId { verb, uid: uid.clone(), version };
        let frame = frames::command(&id, &entry.key, &entry.workload, definition, replica);
        self.push(Lane::Command, &frame);
        self.resend_at.get_or_insert(now + self.resend_after);
    }

    /// What the replica runs; `None` where that cannot be sent, which has been seen to then.
    fn definition(
        &mut self,
        replica: &Replica,
        uid: &Uid,
        version: ResourceVersion,
        now: Instant,
    ) -> Option<Definition> {
        let Some(source) = self.view.source(replica) else {
            tracing::debug!(replica = %replica.key(), "its template is not there");
            self.templateless.insert(uid.clone());
            self.resend_at.get_or_insert(now + self.resend_after);
            return None;
        };
        let reason = match define(replica, source) {
            Ok(definition) => return Some(definition),
            Err(reason) => reason,
        };
        tracing::warn!(replica = %replica.key(), reason, "a replica cannot be run");
        let observed = unrunnable(replica.status.observed.as_ref(), reason, self.clock.now());
        self.reports.make(replica, observed);
        if let Some(entry) = self.entries.get_mut(uid) {
            entry.known.sent = Some(Sent { verb: Verb::Launch, version, acked: true });
        }
        None
    }

    /// Has everything looked at again that was told and not acknowledged in time.
    fn resend(&mut self, now: Instant) {
        if self.resend_at.is_none_or(|at| now < at) {
            return;
        }
        self.resend_at = None;
        let mut next = None;
        for (uid, entry) in &mut self.entries {
            if entry.known.sent.is_none_or(|sent| sent.acked) {
                continue;
            }
            let at = entry.sent_at + self.resend_after;
            if at <= now {
                entry.known.sent = None;
                self.todo.insert(uid.clone(), entry.key.clone());
            } else {
                next = Some(next.map_or(at, |next: Instant| next.min(at)));
            }
        }
        for uid in std::mem::take(&mut self.templateless) {
            if let Some(entry) = self.entries.get(&uid) {
                self.todo.insert(uid, entry.key.clone());
            }
        }
        self.resend_at = next;
    }

    fn acknowledged(&mut self, ack: &Ack) {
        let Ok(id) = ack.id.parse::<CommandId>() else { return };
        let Some(entry) = self.entries.get_mut(&id.uid) else { return };
        if let Some(sent) = entry.known.sent.as_mut().filter(|sent| sent.verb == id.verb && sent.version == id.version)
        {
            sent.acked = true;
        }
    }

    fn stale(&mut self, stale: &Stale) {
        self.acknowledged(&Ack { id: stale.id.clone() });
        let Ok(id) = stale.id.parse::<CommandId>() else { return };
        if let Some(held) = self.entries.get_mut(&id.uid).and_then(|entry| entry.known.held.as_mut()) {
            held.version = held.version.max(stale.spec_version);
        }
    }

    fn synced(&mut self, synced: &Synced) {
        if synced.session_id != self.line.session || !self.parts.is_empty() {
            return;
        }
        self.synced = true;
        self.todo.extend(self.entries.iter().map(|(uid, entry)| (uid.clone(), entry.key.clone())));
        self.todo.extend(self.view.replicas().iter().map(|replica| (replica.metadata.uid.clone(), replica.key())));
    }

    fn wanted(&mut self, want: Want) {
        // Only what is known is kept, so that the set is bounded by the node's replicas.
        self.wants.extend(want.uids.into_iter().filter(|uid| self.entries.contains_key(uid)));
    }

    fn push(&self, lane: Lane, frame: &ToAgent) {
        self.line.outbox.push(lane, frame::write(frame));
    }
}

impl Dialect for Protocol1 {
    fn hear(&mut self, frame: FromAgent) {
        let now = Instant::now();
        match frame {
            FromAgent::Status(report) => self.report(*report, now),
            FromAgent::Want(want) => self.wanted(want),
            FromAgent::Synced(synced) => self.synced(&synced),
            FromAgent::Ack(ack) => self.acknowledged(&ack),
            FromAgent::Stale(stale) => self.stale(&stale),
            FromAgent::Hello(_) => tracing::debug!(node = self.line.node, "an agent says hello again"),
            FromAgent::Heartbeat(_) | FromAgent::LogChunk(_) | FromAgent::LogEnd(_) => {}
        }
    }

    fn settled(&mut self, settled: Settled) {
        let Settled { uid, key, replica, over } = settled;
        let finished = replica.is_none_or(|replica| replica.status.phase.is_finished());
        if over && finished {
            self.forgets.insert(uid.clone(), key.name().to_owned());
            self.entries.remove(&uid);
            self.todo.remove(&uid);
        } else if let Some(entry) = self.entries.get_mut(&uid) {
            entry.afresh = false;
        }
    }

    fn speak(&mut self, now: Instant) {
        if self.line.backlog.take_overflow() {
            tracing::debug!(node = self.line.node, "an agent is too slow for its changes and is synchronised anew");
            self.line.outbox.drop_commands();
            self.begin_sync(now);
        }
        self.resend(now);
        while self.line.outbox.has_room() && self.say_next(now) {}
    }

    fn listens(&self) -> bool {
        self.forgets.len() < MAX_FORGETS
    }

    fn reports(&mut self) -> &mut Reports {
        &mut self.reports
    }

    fn wake_at(&self) -> Option<Instant> {
        self.resend_at
    }
}

/// The version by which a sync names a replica; `None` for one that it does not name. What is to end or to wait is named
/// by what the agent has, so that it neither asks for a definition of it nor takes it for unknown and ends it: a stop
/// follows where one is due.
fn named_version(wish: Wish, known: Known) -> Option<ResourceVersion> {
    match wish {
        Wish::Run(version) => Some(version),
        Wish::Wait | Wish::Stop(_) | Wish::Over(_) => known.held.map(|held| held.version),
    }
}

fn ended_but_not_stopped(replica: &Replica) -> bool {
    let state = replica.status.observed.as_ref().map(|observed| observed.state);
    state.is_some_and(|state| is_over(state) && state != ProcessState::Stopped)
}
