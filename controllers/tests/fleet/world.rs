//! A store, a manager with all controllers, and agents whose programs do as their names say.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    future::Future,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use futures::{FutureExt, StreamExt, future::BoxFuture};
use orion_controllers::{HookAnswer, HookCall, HookCaller, HookError, Parts};
use orion_model::{
    Client, ClientError, Clock, Key, Object, Randomness, Registry, Resource, Selection, Timestamp, Uid, Watch, Whole,
};
use orion_runtime::{Manager, ManagerHandle, RunError};
use orion_store::{Memory, Store};
use orion_types::{
    Job, JobRun, Kinds, Node, Replica, Revision, Service,
    job::JobSpec,
    node::{Contact, NodeObserved, NodeSpec},
    process::Template,
    replica::{Exit, Observed, Phase, ProcessState},
    service::ServiceSpec,
};
use serde_json::{Value, json};
use tokio::{
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// Virtual time in which everything here must have happened.
const SOON: Duration = Duration::from_secs(3600);
/// How often agents look while something happens.
const BEAT: Duration = Duration::from_millis(100);
/// And while nothing does.
const IDLE: Duration = Duration::from_secs(20);

pub(crate) struct World {
    pub(crate) client: Client,
    pub(crate) hooks: Arc<Hooks>,
    fleet: Arc<Mutex<Fleet>>,
    manager: Option<Running>,
    agents: JoinSet<()>,
}

struct Running {
    handle: ManagerHandle,
    stop: CancellationToken,
    task: JoinHandle<Result<(), RunError>>,
}

/// What runs on the machines, whether or not anybody can hear of it.
#[derive(Default)]
pub(crate) struct Fleet {
    connected: BTreeSet<String>,
    processes: BTreeMap<Uid, Process>,
    /// Names of replicas in the order in which their processes began.
    pub(crate) started: Vec<String>,
    /// Whether the gateway has what was given up ended as soon as its node is back.
    pub(crate) ends_lost: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) replica: String,
    pub(crate) service: Option<String>,
    node: String,
    ready: bool,
}

impl World {
    pub(crate) async fn new(nodes: usize) -> Self {
        let start = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000);
        let (clock, randomness) = (Clock::starting_at(start), Randomness::seeded(1));
        let journal = Memory::new(&clock, &randomness);
        let registry = Registry::new().with_all::<Kinds>();
        let store = Store::open(journal, registry, clock, randomness).await.expect("a memory store opens");
        let mut world = Self {
            client: store.client(),
            hooks: Arc::default(),
            fleet: Arc::default(),
            manager: None,
            agents: JoinSet::new(),
        };
        for number in 1..=nodes {
            world.join(&format!("node-{number}"), json!({})).await;
        }
        world.agents.spawn(agents(world.client.clone(), world.fleet.clone()));
        world.start();
        world
    }

    /// Starts the controllers.
    pub(crate) fn start(&mut self) {
        let mut manager = Manager::new(self.client.clone());
        orion_controllers::add(&mut manager, Parts { hooks: self.hooks.clone() });
        let (handle, stop) = (manager.handle(), CancellationToken::new());
        let task = tokio::spawn(manager.run_until(stop.clone().cancelled_owned()));
        self.manager = Some(Running { handle, stop, task });
    }

    /// Stops the controllers, in order.
    pub(crate) async fn stop(&mut self) {
        let Some(Running { stop, task, .. }) = self.manager.take() else { return };
        stop.cancel();
        timeout(SOON, task).await.expect("in time").expect("no panic").expect("a clean end");
    }

    /// Cuts the controllers off in the middle of whatever they do.
    pub(crate) async fn crash(&mut self) {
        let Some(Running { task, .. }) = self.manager.take() else { return };
        task.abort();
        assert!(task.await.expect_err("it was cut off").is_cancelled());
    }

    pub(crate) fn handle(&self) -> &ManagerHandle {
        &self.manager.as_ref().expect("it runs").handle
    }

    pub(crate) fn fleet(&self) -> MutexGuard<'_, Fleet> {
        self.fleet.lock().expect("not poisoned")
    }

    /// A machine joins, with what it has.
    pub(crate) async fn join(&self, name: &str, capacity: Value) {
        let spec = NodeSpec { capacity: serde_json::from_value(capacity).expect("a capacity"), ..NodeSpec::default() };
        self.client.create(&Node::new(name, spec)).await.expect("a new node");
        self.contact(name, Contact::Connected).await;
    }

    /// The gateway says whether a node is heard. The machine goes on either way.
    pub(crate) async fn contact(&self, name: &str, contact: Contact) {
        if contact == Contact::Silent {
            self.fleet().connected.remove(name);
        } else {
            self.end_what_was_given_up(name).await;
        }
        self.retry(|| async {
            let node = self.get::<Node>("", name).await.expect("it is there");
            let mut status = node.status.clone();
            let observed = status.observed.get_or_insert_with(NodeObserved::default);
            (observed.contact, observed.contact_since) = (contact, Some(self.client.clock().now()));
            self.client.update_status(&node, status).await
        })
        .await;
        if contact == Contact::Connected {
            self.fleet().connected.insert(name.to_owned());
        }
    }

    async fn end_what_was_given_up(&self, node: &str) {
        if self.fleet().ends_lost {
            let lost = |replica: &Replica| replica.status.phase == Phase::Lost;
            for replica in self.replicas().await.iter().filter(|replica| lost(replica)) {
                self.fleet().processes.retain(|uid, process| uid != replica.uid() || process.node != node);
            }
        }
    }

    pub(crate) async fn get<K: Resource>(&self, namespace: &str, name: &str) -> Option<K> {
        self.client.get(&Key::new(namespace, name)).await.expect("the store answers")
    }

    pub(crate) async fn service(&self, name: &str) -> Service {
        self.get("default", name).await.expect("it is there")
    }

    pub(crate) async fn replicas(&self) -> Vec<Replica> {
        self.client.list().await.expect("the store answers")
    }

    /// The replicas that are not over.
    pub(crate) async fn unfinished(&self) -> Vec<Replica> {
        let all = self.replicas().await;
        all.into_iter().filter(|replica| !replica.status.phase.is_finished()).collect()
    }

    /// Makes a service that runs this program.
    pub(crate) async fn serve(&self, name: &str, program: &str, spec: Value) -> Service {
        let mut spec: ServiceSpec = serde_json::from_value(spec).expect("a spec");
        spec.process.template = template(program, &spec.process.template);
        self.client.create(&Service::new(name, spec).in_namespace("default")).await.expect("a new service")
    }

    /// Makes a job that runs this program.
    pub(crate) async fn job(&self, name: &str, program: &str, spec: Value) -> Job {
        let mut spec: JobSpec = serde_json::from_value(spec).expect("a spec");
        spec.process.template = template(program, &spec.process.template);
        self.client.create(&Job::new(name, spec).in_namespace("default")).await.expect("a new job")
    }

    pub(crate) async fn edit<K: Resource>(&self, namespace: &str, name: &str, change: impl Fn(&mut K)) -> K {
        self.retry(|| async {
            let object = self.get::<K>(namespace, name).await.expect("it is there");
            self.client.edit(&object, &change).await
        })
        .await
    }

    pub(crate) async fn deploy(&self, service: &str, program: &str) {
        self.edit::<Service>("default", service, |service| {
            service.spec.process.template = template(program, &service.spec.process.template);
        })
        .await;
    }

    async fn retry<T, F: Future<Output = Result<T, ClientError>>>(&self, attempt: impl Fn() -> F) -> T {
        loop {
            match attempt().await {
                Err(ClientError::Conflict { .. }) => {}
                result => return result.expect("only conflicts are expected"),
            }
        }
    }

    /// How many processes of a service run and are ready, whoever knows of them.
    pub(crate) fn ready_processes(&self, service: &str) -> usize {
        let is_its = |process: &&Process| process.service.as_deref() == Some(service) && process.ready;
        self.fleet().processes.values().filter(is_its).count()
    }

    pub(crate) fn processes(&self) -> usize {
        self.fleet().processes.len()
    }

    /// Waits until a service has so many ready replicas, as many processes, and nothing else.
    pub(crate) async fn settled(&self, service: &str, replicas: usize) {
        eventually(&format!("{service} has {replicas} replicas"), || async {
            let of = |replica: &Replica| replica.spec.service_name.as_deref() == Some(service);
            let unfinished: Vec<_> = self.unfinished().await.into_iter().filter(of).collect();
            let settled = self.get::<Service>("default", service).await.is_none_or(|service| {
                service.status.observed_generation == service.metadata.generation && service.status.rollout.is_none()
            });
            settled
                && unfinished.len() == replicas
                && unfinished.iter().all(Replica::is_ready)
                && self.ready_processes(service) == replicas
        })
        .await;
    }

    pub(crate) async fn run_of(&self, job: &str) -> Option<JobRun> {
        let runs: Vec<JobRun> = self.client.list().await.expect("the store answers");
        runs.into_iter().find(|run| run.spec.job_name == job)
    }
}

/// Waits, on virtual time, until `done`.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, done: impl Fn() -> F) {
    let wait = async {
        while !done().await {
            sleep(Duration::from_millis(50)).await;
        }
    };
    assert!(timeout(SOON, wait).await.is_ok(), "not within {SOON:?}: {what}");
}

/// Lets so many virtual seconds pass.
pub(crate) async fn pass(seconds: u64) {
    sleep(Duration::from_secs(seconds)).await;
}

fn template(program: &str, beside: &Template) -> Template {
    let command = serde_json::from_value(json!(program)).expect("a command");
    Template { command: Some(command), ..beside.clone() }
}

/// All agents: they look whenever a Replica or a Node changes, and until they have nothing new to say.
async fn agents(client: Client, fleet: Arc<Mutex<Fleet>>) {
    let selections = [Replica::KIND, Node::KIND].map(Selection::all).to_vec();
    let watch = Watch { selections, after: None, initial: false, bookmarks: None };
    let mut changes = client.watch(watch).await.expect("a store in memory can be watched");
    loop {
        if !beat(&client, &fleet).await {
            let _ = timeout(IDLE, changes.next()).await;
        }
        sleep(BEAT).await;
        while changes.next().now_or_never().flatten().is_some() {}
    }
}

/// Each agent that is heard looks once at what it should run, and says how it stands.
/// Whether one of them had something to say.
async fn beat(client: &Client, fleet: &Mutex<Fleet>) -> bool {
    let mut spoke = false;
    let Ok(replicas) = client.list::<Replica>().await else { return spoke };
    let programs = programs(client).await;
    for replica in &replicas {
        let said = {
            let mut fleet = fleet.lock().expect("not poisoned");
            let heard = replica.spec.node_name.as_ref().is_some_and(|node| fleet.connected.contains(node));
            let program = programs.get(&template_of(replica)).cloned().unwrap_or_default();
            heard.then(|| fleet.act(replica, &program, client.clock().now())).flatten()
        };
        if let Some(observed) = said {
            spoke = true;
            let status = orion_types::replica::ReplicaStatus { observed: Some(observed), ..replica.status.clone() };
            // Whoever was faster wins; the next beat says it again.
            match client.update_status(replica, status).await {
                Ok(_) | Err(ClientError::Conflict { .. } | ClientError::NotFound(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
    let known: BTreeSet<&Uid> = replicas.iter().map(Object::uid).collect();
    let mut fleet = fleet.lock().expect("not poisoned");
    let Fleet { connected, processes, .. } = &mut *fleet;
    processes.retain(|uid, process| known.contains(uid) || !connected.contains(&process.node));
    spoke
}

fn template_of(replica: &Replica) -> String {
    replica.spec.run_name.clone().unwrap_or_else(|| replica.spec.revision.clone())
}

async fn programs(client: &Client) -> BTreeMap<String, String> {
    let text = |template: &Template| {
        let command = serde_json::to_value(&template.command).expect("it serialises");
        command.as_str().unwrap_or_default().to_owned()
    };
    let revisions: Vec<Revision> = client.list().await.unwrap_or_default();
    let runs: Vec<JobRun> = client.list().await.unwrap_or_default();
    let revisions = revisions.iter().map(|one| (one.name().to_owned(), text(&one.spec.template)));
    revisions.chain(runs.iter().map(|one| (one.name().to_owned(), text(&one.spec.template)))).collect()
}

impl Fleet {
    /// What an agent has to say anew of a replica.
    fn act(&mut self, replica: &Replica, program: &str, now: Timestamp) -> Option<Observed> {
        let was = replica.status.observed.clone();
        let uid = replica.uid();
        if replica.status.phase.is_finished() {
            return None;
        }
        let state = was.as_ref().map(|observed| observed.state);
        let mut observed = was.clone().unwrap_or_default();
        if replica.is_stop_wished() || (state.is_some() && !self.processes.contains_key(uid) && was_alive(state)) {
            self.processes.remove(uid);
            observed.state = ProcessState::Stopped;
        } else if !replica.spec.gates.is_empty() {
            return None;
        } else {
            self.run(replica, program, &mut observed, now);
        }
        observed.ready = observed.state == ProcessState::Ready;
        observed.ready_since = observed.ready.then(|| observed.ready_since.unwrap_or(now));
        (was.as_ref() != Some(&observed)).then(|| {
            observed.seq += 1;
            observed
        })
    }

    /// `good` gets ready, `crash` ends with 3 and is tried again, `missing` cannot be started, `slow` runs for a minute
    /// and ends with 0, `exit0` and `exit3` end at once.
    fn run(&mut self, replica: &Replica, program: &str, observed: &mut Observed, now: Timestamp) {
        use ProcessState::{Backoff, Exited, Failed, Ready, Running};
        let uid = replica.uid().clone();
        let exit = |code: Option<i32>, permanent| {
            let reason = if permanent { "StartError" } else { "Error" };
            let message = if permanent { "no such file: missing" } else { "" };
            let (reason, message) = (reason.to_owned(), message.to_owned());
            Some(Exit { code, reason, message, permanent, at: Some(now), ..Exit::default() })
        };
        let is_new = observed.attempt == 0;
        let began = observed.started_at.unwrap_or(now);
        match program.split('-').next().unwrap_or_default() {
            "missing" => (observed.state, observed.exit) = (Failed, exit(None, true)),
            _ if is_new => {
                (observed.state, observed.started_at, observed.attempt) = (Running, Some(now), 1);
                let process = Process {
                    replica: replica.name().to_owned(),
                    service: replica.spec.service_name.clone(),
                    node: replica.spec.node_name.clone().unwrap_or_default(),
                    ready: false,
                };
                self.started.push(process.replica.clone());
                self.processes.insert(uid.clone(), process);
            }
            "crash" if observed.state == Running => {
                (observed.state, observed.exit) = (Backoff, exit(Some(3), false));
            }
            "crash" => {
                observed.state = Running;
                observed.restarts += 1;
                observed.attempt += 1;
            }
            "slow" if now.since(began) < Duration::from_secs(60) => {}
            "exit0" | "slow" => self.end(&uid, observed, Exited, exit(Some(0), false)),
            "exit3" => self.end(&uid, observed, Exited, exit(Some(3), false)),
            _ => {
                observed.state = Ready;
                self.processes.entry(uid).and_modify(|process| process.ready = true);
            }
        }
    }

    fn end(&mut self, uid: &Uid, observed: &mut Observed, state: ProcessState, exit: Option<Exit>) {
        self.processes.remove(uid);
        (observed.state, observed.exit) = (state, exit);
    }
}

/// Whether a process in this state is still there.
fn was_alive(state: Option<ProcessState>) -> bool {
    use ProcessState::{Ready, Running, Starting, Stopping, Unready};
    matches!(state, Some(Starting | Running | Ready | Unready | Stopping))
}

/// A webhook that answers as told, and remembers what it was asked.
#[derive(Default)]
pub(crate) struct Hooks {
    pub(crate) calls: Mutex<Vec<HookCall>>,
    pub(crate) answers: Mutex<VecDeque<Result<HookAnswer, HookError>>>,
}

impl Hooks {
    pub(crate) fn will_answer(&self, status: u16, body: Value) {
        let answer = HookAnswer { status, body: body.to_string().into_bytes() };
        self.answers.lock().expect("not poisoned").push_back(Ok(answer));
    }

    pub(crate) fn keys(&self) -> Vec<String> {
        self.calls.lock().expect("not poisoned").iter().map(|call| call.idempotency_key.clone()).collect()
    }
}

impl HookCaller for Hooks {
    fn call(&self, call: HookCall) -> BoxFuture<'static, Result<HookAnswer, HookError>> {
        self.calls.lock().expect("not poisoned").push(call);
        let answer = self.answers.lock().expect("not poisoned").pop_front();
        async move { answer.unwrap_or_else(|| Ok(HookAnswer { status: 200, body: Vec::new() })) }.boxed()
    }
}
