//! The agents' side of the gateway: their WebSocket, and what the store is told of them.
//!
//! ```text
//!            Replicas changed                         GET …/log
//!                  │ by nodeName                          │
//!                  ▼                                      ▼
//! /ws ─► session ─ line ◄───────────── register ◄──── log streams
//!          │  dialect: protocol 1, or the original's frames
//!          │     wish beside what the agent has ─► launch, update, stop
//!          ├─► reports ─► Replica.status.observed
//!          ├─► LiveMetrics (memory only)
//!          └─► register ─► nodes ─► Node.status.observed
//! ```
//!
//! All of it is level-triggered. Nothing here remembers what should be done: a command is the difference between the
//! Replicas bound to a node and what its agent says it has, worked out when there is room to send it. So a message that
//! is lost, doubled or late is only a delay, and a session that ends takes nothing with it.
//!
//! An idle agent costs a heartbeat to read and a ping to send; a changed Replica costs the session of its node a look.

mod backlog;
mod command;
mod definition;
mod dialect;
mod frame;
mod hello;
mod legacy;
mod line;
mod live;
mod liveness;
mod logs;
mod nodes;
mod observed;
mod original;
mod outbox;
mod own_writes;
mod protocol1;
mod register;
mod reports;
mod session;
mod settings;
mod wish;
mod world;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{State, WebSocketUpgrade},
    response::Response,
    routing::get,
};
use orion_apiserver::Failure;
use orion_model::{Client, Object};
use orion_runtime::Change;
use orion_types::protocol::MAX_FRAME;
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::{
    live::{LiveMetrics, NodeLive},
    settings::Settings,
    world::Informers,
};
use self::{nodes::Nodes, register::Register, wish::wish, world::World};

/// How long sessions may take to end when the gateway does.
const DRAIN: Duration = Duration::from_secs(3);

/// The handle to the agents' gateway. Cheap to clone.
#[derive(Clone)]
pub struct Gateway(Arc<Shared>);

/// What keeps the gateway going: routes changes of Replicas to sessions and writes Nodes.
pub struct Worker(Arc<Shared>);

/// What all sessions share.
struct Shared {
    client: Client,
    world: World,
    settings: Settings,
    register: Register,
    live: LiveMetrics,
    sessions: Arc<Semaphore>,
    closing: CancellationToken,
    tracker: TaskTracker,
}

impl Gateway {
    /// A gateway that writes through `client` and reads these informers, and its worker, which is to be run. Until the
    /// informers are synced, agents are told to come again.
    pub fn new(client: Client, informers: Informers, settings: Settings) -> (Self, Worker) {
        let shared = Arc::new(Shared {
            client,
            world: World::new(informers),
            sessions: Arc::new(Semaphore::new(settings.max_sessions)),
            settings,
            register: Register::default(),
            live: LiveMetrics::default(),
            closing: CancellationToken::new(),
            tracker: TaskTracker::new(),
        });
        (Self(shared.clone()), Worker(shared))
    }

    /// The routes `/ws` and `/apis/orion/v1/namespaces/{namespace}/replicas/{name}/log`, to be merged with others.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/ws", get(upgrade))
            .route("/apis/orion/v1/namespaces/{namespace}/replicas/{name}/log", get(logs::route::log))
            .with_state(self.clone())
    }

    /// The live numbers of nodes and replicas.
    pub fn live(&self) -> LiveMetrics {
        self.0.live.clone()
    }

    fn client(&self) -> &Client {
        &self.0.client
    }

    fn world(&self) -> &World {
        &self.0.world
    }

    fn register(&self) -> &Register {
        &self.0.register
    }
}

impl Worker {
    /// Runs until `shutdown`; then closes all sockets as going away and waits for their sessions, for 3 s at most.
    ///
    /// # Cancel safety
    /// Not cancel safe: dropped, it leaves sessions that are told of nothing.
    pub async fn run(self, shutdown: CancellationToken) {
        let shared = self.0;
        tokio::select! {
            biased;
            () = shutdown.cancelled() => {}
            () = work(&shared) => tracing::warn!("the gateway's informers have ended"),
        }
        shared.closing.cancel();
        shared.tracker.close();
        if tokio::time::timeout(DRAIN, shared.tracker.wait()).await.is_err() {
            tracing::warn!(sessions = shared.tracker.len(), "sessions of agents have not ended in time");
        }
    }
}

async fn work(shared: &Arc<Shared>) {
    shared.world.synced().await;
    tokio::join!(route(shared), Nodes::new(shared.clone()).run());
}

/// Has the session of a node look at each of its replicas of which something else is wished than before.
async fn route(shared: &Shared) {
    let mut subscription = shared.world.replica_changes();
    while let Some(changes) = subscription.next().await {
        for change in &changes.changes {
            if let Change::Modified { old, new } = change
                && wish(Some(old)) == wish(Some(new))
            {
                continue;
            }
            for replica in change.sides() {
                let line = replica.spec.node_name.as_deref().and_then(|node| shared.register.line(node));
                if let Some(line) = line {
                    line.mark(&replica.metadata.uid, replica.key());
                }
            }
        }
    }
}

async fn upgrade(State(gateway): State<Gateway>, upgrade: WebSocketUpgrade) -> Result<Response, Failure> {
    let shared = gateway.0;
    let unavailable = |message: &str| Failure::new(503, "ServiceUnavailable", message);
    if shared.closing.is_cancelled() {
        return Err(unavailable("the server is shutting down"));
    }
    if !shared.world.is_synced() {
        return Err(unavailable("the server is starting; connect again in a moment"));
    }
    let place = shared.sessions.clone().try_acquire_owned();
    let place = place.map_err(|_| unavailable("too many agents are connected to this server"))?;
    Ok(upgrade.max_message_size(MAX_FRAME).max_frame_size(MAX_FRAME).on_upgrade(move |socket| {
        let tracker = shared.tracker.clone();
        tracker.track_future(async move {
            session::serve(socket, shared).await;
            drop(place);
        })
    }))
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway").field("settings", &self.0.settings).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Worker")
    }
}
