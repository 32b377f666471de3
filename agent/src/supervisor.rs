//! All replicas of one agent, and what a control plane's frames do to them.
//!
//! A stranger's sync kills nothing: an agent obeys the control plane it knows, and after a restore of that one it keeps
//! what the server has forgotten until a person decides.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
};

use orion_model::{ResourceVersion, Uid};
use orion_types::protocol::{Forget, FromAgent, Launch, Stale, StopCommand, Sync, Synced, Update, Want, Welcome};
use tokio_util::task::TaskTracker;

use crate::{
    ledger::{Identity, Record, is_file_name},
    replica::{Command, Context, Found, Handle, Worker},
    shims::{End, Recovered},
};

/// How many definitions are asked for in one frame.
const WANT_PART: usize = 5000;

/// The replicas of one agent.
pub(crate) struct Supervisor {
    context: Arc<Context>,
    identity: Identity,
    adopt: bool,
    ending: bool,
    replicas: BTreeMap<Uid, Entry>,
    /// What was found of replicas whose records do not read. It is left alone until the server speaks of it.
    unread: BTreeMap<Uid, Trace>,
    /// Those that were told to be forgotten: their entries go when their tasks have ended.
    forgetting: BTreeSet<Uid>,
    tasks: TaskTracker,
    taken_up: usize,
    session: Session,
}

struct Entry {
    handle: Handle,
    spec_version: ResourceVersion,
    replica_id: String,
    held: bool,
}

/// What was found of a replica without its record: its last attempt as far as is known.
struct Trace {
    attempt: u32,
    found: Found,
}

impl Default for Trace {
    /// There was a record, so there may have been an attempt.
    fn default() -> Self {
        Self { attempt: 1, found: Found::Nothing }
    }
}

/// What the present session has said so far.
#[derive(Default)]
struct Session {
    id: String,
    obeyed: bool,
    restored: bool,
    named: BTreeMap<Uid, ResourceVersion>,
}

impl Supervisor {
    /// Takes up what an earlier agent left: its records, and the shims that were found.
    pub(crate) async fn recover(context: Arc<Context>, identity: Identity, adopt: bool) -> io::Result<Self> {
        let tasks = TaskTracker::new();
        let mut supervisor = Self {
            context,
            identity,
            adopt,
            ending: false,
            taken_up: 0,
            replicas: BTreeMap::new(),
            unread: BTreeMap::new(),
            forgetting: BTreeSet::new(),
            tasks,
            session: Session::default(),
        };
        let (mut live, mut ended) = (BTreeMap::new(), BTreeMap::new());
        for found in supervisor.context.shims.recover().await? {
            match found {
                Recovered::Live(shim) => {
                    live.insert(Uid::new(shim.id().uid.clone()), shim);
                }
                Recovered::Ended { id, end } => {
                    ended.entry(Uid::new(id.uid.clone())).or_insert_with(Vec::new).push((id, end));
                }
            }
        }
        supervisor.taken_up = live.len();
        let records = supervisor.context.ledger.records()?;
        for uid in records.unread {
            let live = live.remove(&uid).map(|shim| Trace { attempt: shim.id().attempt, found: Found::Live(shim) });
            let ends = ended.remove(&uid).unwrap_or_default().into_iter();
            let last = ends.max_by_key(|(id, _)| id.attempt);
            let last = last.map(|(id, end)| Trace { attempt: id.attempt, found: Found::Ended(end) });
            supervisor.unread.insert(uid, live.or(last).unwrap_or_default());
        }
        for record in records.read {
            let ends = ended.remove(&record.uid).unwrap_or_default();
            let end = supervisor.last_end(&record, ends).await;
            let found = live.remove(&record.uid).map(Found::Live).or(end.map(Found::Ended));
            supervisor.add(record, found.unwrap_or(Found::Nothing));
        }
        // A record is written before its shim starts, so these are of a ledger that was removed by hand.
        for (uid, shim) in live {
            tracing::warn!(%uid, "a process without a record is ended");
            if let Err(error) = shim.stop().await {
                tracing::warn!(%uid, %error, "it was not ended");
            }
        }
        Ok(supervisor)
    }

    /// The end of the last attempt; older ones are forgotten.
    async fn last_end(&self, record: &Record, ends: Vec<(crate::shims::ShimId, End)>) -> Option<End> {
        let mut last = None;
        for (id, end) in ends {
            if id.attempt == record.attempt {
                last = Some(end);
            } else if let Err(error) = self.context.shims.forget(&id).await {
                tracing::warn!(%id, %error, "an ended attempt's files stay");
            }
        }
        last
    }

    fn add(&mut self, record: Record, found: Found) {
        let (uid, spec_version, held) = (record.uid.clone(), record.spec_version, record.held);
        let replica_id = record.replica_id.clone();
        let (handle, worker) = Worker::new(self.context.clone(), record, found);
        self.tasks.spawn(worker.run());
        self.replicas.insert(uid, Entry { handle, spec_version, replica_id, held });
    }

    /// How many processes of an earlier agent were still running.
    pub(crate) fn taken_up(&self) -> usize {
        self.taken_up
    }

    /// How many replicas still have a task, after [`end_all`](Self::end_all): those whose processes have not ended.
    pub(crate) fn left(&self) -> usize {
        self.tasks.len()
    }

    /// Who this agent is.
    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// A server has answered the hello.
    pub(crate) fn welcome(&mut self, welcome: &Welcome) {
        self.session = Session { id: welcome.session_id.clone(), ..Session::default() };
        let known = self.identity.cluster_id.as_deref();
        let stranger = known.is_some_and(|known| known != welcome.cluster_id);
        let older = !stranger && self.identity.store_epoch.is_some_and(|epoch| welcome.store_epoch < epoch);
        if (stranger || older) && !self.adopt {
            let why = if stranger { "another control plane" } else { "an older state of the control plane" };
            tracing::warn!(
                reason = "ForeignControlPlane",
                server = %welcome.cluster_id,
                "this is {why} than the one obeyed so far: its wishes are ignored and everything runs on; \
                 `orion agent --adopt` makes it the one obeyed"
            );
            return;
        }
        self.session.obeyed = true;
        self.session.restored = !stranger && self.identity.store_epoch.is_some_and(|epoch| welcome.store_epoch > epoch);
        let identity = Identity {
            cluster_id: Some(welcome.cluster_id.clone()),
            store_epoch: Some(welcome.store_epoch),
            ..self.identity.clone()
        };
        if identity != self.identity {
            if let Err(error) = self.context.ledger.keep_identity(&identity) {
                tracing::error!(%error, "cannot keep which control plane is obeyed");
            }
            self.identity = identity;
        }
    }

    /// A part of the desired set. After the last: what is lacking is asked for, what is not named is ended.
    pub(crate) async fn sync(&mut self, sync: Sync) {
        if !self.session.obeyed {
            return;
        }
        self.session.named.extend(sync.replicas.into_iter().map(|entry| (entry.uid, entry.spec_version)));
        if !sync.last {
            return;
        }
        let named = std::mem::take(&mut self.session.named);
        self.replicas.retain(|_, entry| !entry.handle.has_ended());
        let lacking: Vec<_> = named
            .iter()
            .filter(|(uid, version)| self.replicas.get(*uid).is_none_or(|entry| entry.handle.kept() < **version))
            .map(|(uid, _)| uid.clone())
            .collect();
        for part in lacking.chunks(WANT_PART) {
            self.context.outbox.answer(FromAgent::Want(Want { uids: part.to_vec() }));
        }
        self.end_unnamed(&named.into_keys().collect()).await;
        let session_id = self.session.id.clone();
        self.context.outbox.answer(FromAgent::Synced(Synced { session_id }));
    }

    async fn end_unnamed(&mut self, named: &BTreeSet<Uid>) {
        let restored = self.session.restored;
        for (uid, entry) in self.replicas.iter_mut().filter(|(uid, _)| !named.contains(*uid)) {
            if restored && !entry.held {
                tracing::warn!(reason = "HeldAfterRestore", %uid, "the restored server does not know it; it runs on");
                entry.held = true;
                entry.handle.tell(Command::Hold).await;
            }
            if !entry.held {
                let reason = "NotDesired".to_owned();
                let (id, spec_version) = (String::new(), entry.spec_version);
                entry.handle.tell(Command::Stop { id, spec_version, reason }).await;
            }
        }
    }

    /// Whether it takes on what is new. An agent that ends everything does not; what it leaves unacknowledged is said
    /// again to the next one.
    fn takes_work(&self) -> bool {
        self.session.obeyed && !self.ending
    }

    /// Run a replica.
    pub(crate) async fn launch(&mut self, launch: Launch) {
        if !self.takes_work() {
            return;
        }
        let Launch { service, replica_id, id, uid, namespace, spec_version } = launch;
        if !is_file_name(&uid) {
            tracing::error!(%uid, "a launch without a usable uid is ignored");
            return;
        }
        if !self.has(&uid) {
            let record = Record { uid: uid.clone(), namespace, replica_id, ..Record::default() };
            match self.unread.remove(&uid) {
                None => self.add(record, Found::Nothing),
                // With its definition, so that it is taken up as what it is: an attempt of a Run is not made twice.
                Some(Trace { attempt, found }) => {
                    self.add(Record { attempt, definition: Some(service.clone()), ..record }, found);
                }
            }
        }
        self.define(&uid, id, spec_version, Box::new(service)).await;
    }

    /// Change a replica in place.
    pub(crate) async fn update(&mut self, update: Update) {
        if !self.takes_work() {
            return;
        }
        if !self.has(&update.uid) {
            // An update of what is not here says that a launch was lost: ask for it.
            self.context.outbox.answer(FromAgent::Want(Want { uids: vec![update.uid] }));
            return;
        }
        self.define(&update.uid, update.id, update.spec_version, Box::new(update.config)).await;
    }

    async fn define(
        &mut self,
        uid: &Uid,
        id: String,
        spec_version: ResourceVersion,
        definition: Box<orion_types::protocol::Definition>,
    ) {
        let Some(entry) = self.replicas.get_mut(uid) else { return };
        if spec_version < entry.spec_version {
            let spec_version = entry.spec_version;
            self.context.outbox.answer(FromAgent::Stale(Stale { id, spec_version }));
            return;
        }
        entry.spec_version = spec_version;
        entry.held = false;
        entry.handle.tell(Command::Define { id, spec_version, definition }).await;
    }

    /// End a replica. One that is not here is remembered as ended, so that an older launch cannot start it.
    pub(crate) async fn stop(&mut self, stop: StopCommand) {
        if !self.session.obeyed || !is_file_name(&stop.uid) {
            return;
        }
        if !self.has(&stop.uid) && self.takes_work() {
            let (uid, namespace, replica_id) = (stop.uid.clone(), stop.namespace, stop.replica_id);
            let record = Record { uid, namespace, replica_id, ..Record::default() };
            match self.unread.remove(&stop.uid) {
                Some(Trace { attempt, found: Found::Live(shim) }) => {
                    self.add(Record { attempt, ..record }, Found::Live(shim));
                }
                Some(_) | None => self.add(record, Found::Nothing),
            }
        }
        let Some(entry) = self.replicas.get_mut(&stop.uid) else { return };
        entry.spec_version = entry.spec_version.max(stop.spec_version);
        tracing::info!(replica = %entry.replica_id, reason = %stop.reason, "stopping");
        let command = Command::Stop { id: stop.id, spec_version: stop.spec_version, reason: stop.reason };
        entry.handle.tell(command).await;
    }

    /// A finished replica need not be remembered. One that is not finished refuses, so its entry stays as long as its
    /// task.
    pub(crate) async fn forget(&mut self, forget: Forget) {
        if let Some(entry) = self.replicas.get(&forget.uid) {
            entry.handle.tell(Command::Forget).await;
            self.forgetting.insert(forget.uid);
        }
        for uid in std::mem::take(&mut self.forgetting) {
            if self.has(&uid) {
                self.forgetting.insert(uid);
            }
        }
    }

    /// Whether a replica is here. One whose task has ended is no more.
    fn has(&mut self, uid: &Uid) -> bool {
        if self.replicas.get(uid).is_some_and(|entry| entry.handle.has_ended()) {
            self.replicas.remove(uid);
        }
        self.replicas.contains_key(uid)
    }

    /// Ends every process, to be started again by the next agent.
    pub(crate) async fn end_all(&mut self) {
        self.ending = true;
        for entry in self.replicas.values() {
            entry.handle.tell(Command::EndWithAgent).await;
        }
    }

    /// Waits until every process has ended, after [`end_all`](Self::end_all).
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn all_ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Lets go of all replicas and waits for their tasks; the processes run on.
    pub(crate) async fn close(&mut self) {
        self.replicas.clear();
        self.tasks.close();
        self.tasks.wait().await;
    }
}
