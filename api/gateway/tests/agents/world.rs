//! A control plane in miniature: a store in memory, its caches, and the gateway on a port of its own.

use std::{future::Future, net::SocketAddr, time::Duration};

use orion_gateway::{Gateway, Informers, Settings};
use orion_model::{Client, Key, Op, Precondition, Registry, Resource, Whole};
use orion_runtime::Manager;
use orion_store::{Memory, Store};
use orion_types::{
    JobRun, Node, Replica, Revision, Service,
    process::Template,
    replica::{Disposition, ReplicaSpec, Stop},
    revision::RevisionSpec,
    run::RunSpec,
    service::ServiceSpec,
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::gate::Gate;

/// How long anything that must happen may take.
pub(crate) const SOON: Duration = Duration::from_secs(10);

pub(crate) struct World {
    /// The test's way to the store, past the gate.
    pub(crate) client: Client,
    pub(crate) gate: Gate,
    pub(crate) gateway: Gateway,
    pub(crate) address: SocketAddr,
    pub(crate) shutdown: CancellationToken,
    pub(crate) worker: JoinHandle<()>,
    store: Store<Memory>,
    _manager: DropGuard,
}

/// Settings whose times are short enough for tests where `change` makes them so.
pub(crate) fn settings(change: impl FnOnce(&mut Settings)) -> Settings {
    let mut settings = Settings::new("cluster-1", 7);
    change(&mut settings);
    settings
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::with(settings(|_| {})).await
    }

    pub(crate) async fn with(settings: Settings) -> Self {
        let store = orion_store::memory(Registry::new().with_all::<orion_types::Kinds>())
            .await
            .expect("the kinds fit together");
        Self::over(store, settings).await
    }

    /// A gateway over a store that is there already.
    pub(crate) async fn over(store: Store<Memory>, settings: Settings) -> Self {
        let client = store.client();
        let gate = Gate::new();
        let mut manager = Manager::new(client.clone());
        manager.leave_garbage();
        let informers = Informers::of(&manager);
        let gated = client.over(|backend| gate.over(backend));
        let (gateway, worker) = Gateway::new(gated, informers.clone(), settings);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let router = orion_apiserver::with_status_errors(gateway.router());
        let (shutdown, stop_manager) = (CancellationToken::new(), CancellationToken::new());
        let serving = shutdown.clone();
        let server = axum::serve(listener, router).with_graceful_shutdown(serving.cancelled_owned());
        tokio::spawn(async move { server.await.expect("it serves") });
        let ended = stop_manager.clone().cancelled_owned();
        tokio::spawn(async move { manager.run_until(ended).await.expect("the manager runs") });
        let worker = tokio::spawn(worker.run(shutdown.clone()));
        let Informers { replicas, revisions, runs, services, nodes } = informers;
        tokio::join!(replicas.synced(), revisions.synced(), runs.synced(), services.synced(), nodes.synced());
        Self { client, gate, gateway, address, shutdown, worker, store, _manager: stop_manager.drop_guard() }
    }

    /// Ends the gateway and starts another over the same store.
    pub(crate) async fn restart(self, settings: Settings) -> Self {
        self.shutdown.cancel();
        self.worker.await.expect("the worker ends well");
        Self::over(self.store, settings).await
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A Service `web` with its first Revision.
    pub(crate) async fn service(&self, template: Value) {
        let template: Template = serde_json::from_value(template).expect("a template");
        let mut spec = ServiceSpec::default();
        spec.labels.insert("tier".into(), "front".into());
        spec.process.template = template.clone();
        self.client.create(&Service::new("web", spec).in_namespace("default")).await.expect("created");
        let spec = RevisionSpec { service_name: "web".into(), number: 1, hash: "1".into(), template };
        self.client.create(&Revision::new("web-1", spec).in_namespace("default")).await.expect("created");
    }

    /// A Run `migrate-1` of the Job `migrate`.
    pub(crate) async fn run(&self) {
        let spec = RunSpec { job_name: "migrate".into(), ..RunSpec::default() };
        self.client.create(&JobRun::new("migrate-1", spec).in_namespace("default")).await.expect("created");
    }

    /// A replica of `web`, bound to a node.
    pub(crate) async fn replica(&self, name: &str, node: &str) -> Replica {
        self.replica_with(name, node, |_| {}).await
    }

    pub(crate) async fn replica_with(&self, name: &str, node: &str, change: impl FnOnce(&mut Replica)) -> Replica {
        let mut replica = replica(name, node);
        change(&mut replica);
        self.client.create(&replica).await.expect("created")
    }

    /// An attempt of the Run `migrate-1`, bound to a node.
    pub(crate) async fn attempt(&self, name: &str, node: &str) -> Replica {
        let attempt = |replica: &mut Replica| {
            replica.spec.service_name = None;
            replica.spec.revision.clear();
            replica.spec.run_name = Some("migrate-1".into());
            replica.spec.index = 1;
        };
        self.replica_with(name, node, attempt).await
    }

    pub(crate) async fn edit(&self, name: &str, change: impl FnOnce(&mut Replica)) -> Replica {
        let replica = self.read(name).await.expect("it is there");
        self.client.edit(&replica, change).await.expect("edited")
    }

    pub(crate) async fn wish_stop(&self, name: &str) -> Replica {
        self.edit(name, |replica| replica.spec.stop = Some(Stop { reason: "ScaledDown".into() })).await
    }

    /// The Node controller gives a replica up.
    pub(crate) async fn give_up(&self, name: &str) -> Replica {
        self.judge(name, Disposition::Lost).await
    }

    /// The Node controller has heard its node again.
    pub(crate) async fn take_back(&self, name: &str) -> Replica {
        self.judge(name, Disposition::Active).await
    }

    async fn judge(&self, name: &str, disposition: Disposition) -> Replica {
        let replica = self.read(name).await.expect("it is there");
        let mut status = replica.status.clone();
        status.disposition = disposition;
        self.client.update_status(&replica, status).await.expect("written")
    }

    /// Removes a replica, finalizers or not.
    pub(crate) async fn remove(&self, name: &str) {
        let replica = self.edit(name, |replica| replica.metadata.finalizers.clear()).await;
        self.client.delete(&replica).await.expect("deleted");
    }

    pub(crate) async fn read(&self, name: &str) -> Option<Replica> {
        self.client.get(&Key::new("default", name)).await.expect("the store answers")
    }

    pub(crate) async fn node(&self, name: &str) -> Option<Node> {
        self.client.get(&Key::new("", name)).await.expect("the store answers")
    }

    /// Waits until a replica is as it should be, and gives it.
    pub(crate) async fn until(&self, name: &str, is_so: impl Fn(&Replica) -> bool) -> Replica {
        eventually(name, || async { self.read(name).await.filter(&is_so) }).await
    }

    /// Waits until a replica's observed state has this word.
    pub(crate) async fn until_state(&self, name: &str, state: &str) -> Replica {
        self.until(name, |replica| {
            replica.status.observed.as_ref().is_some_and(|observed| json!(observed.state) == state)
        })
        .await
    }

    /// Waits until a node is as it should be, and gives it.
    pub(crate) async fn until_node(&self, name: &str, is_so: impl Fn(&Node) -> bool) -> Node {
        eventually(name, || async { self.node(name).await.filter(&is_so) }).await
    }

    /// Writes an object with its status, as the store's own controllers would.
    pub(crate) async fn put<K: Resource>(&self, object: &K) {
        let body = object.encode().expect("it encodes");
        let commit = orion_model::Commit::of(object.object_key(), Op::CreateWhole(body), Precondition::NONE);
        self.client.commit(commit).await.expect("written");
    }
}

pub(crate) fn replica(name: &str, node: &str) -> Replica {
    let spec = ReplicaSpec {
        service_name: Some("web".into()),
        revision: "web-1".into(),
        node_name: Some(node.into()),
        ..ReplicaSpec::default()
    };
    Replica::new(name, spec).in_namespace("default").with_finalizer(orion_types::replica::PROCESS_FINALIZER)
}

/// Asks until there is an answer, or it has taken too long.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, ask: impl Fn() -> F) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let late = |_| panic!("{what}: not so within {SOON:?}");
    tokio::time::timeout(SOON, asking).await.unwrap_or_else(late)
}
