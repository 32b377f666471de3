//! The control plane: store, informers, controllers, gateway and the server in front of them, put together and taken
//! apart in order.
//!
//! ```text
//! start   lock and store ─▶ listener ─▶ manager: informers, controllers ─▶ gateway ─▶ serve
//! stop    serve, gateway (its sessions write the last reports) ─▶ manager ─▶ store
//! ```

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use axum::Router;
use orion_apiserver::{Guard, Health, Limits, Listener, Resources, Token, serve, with_status_errors};
use orion_gateway::{Gateway, Informers, Settings, apply::Apply, seed};
use orion_model::{Client, Registry, Resource};
use orion_runtime::{Manager, ManagerHandle, Select};
use orion_store::{Store, journal::sqlite::Sqlite};
use orion_types::Config;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{data_dir, endpoint::ENDPOINT_FILE, failure::Failure, hooks::HttpHooks, port_owner};

/// How long informers may take to sync at the start.
const SYNC_WITHIN: Duration = Duration::from_secs(60);
/// Between two looks whether they have.
const LOOK: Duration = Duration::from_millis(5);

/// Everything a control plane must be told.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Where it listens; port 0 picks one.
    pub(crate) listen: SocketAddr,
    /// Where token, socket and, by default, state are kept.
    pub(crate) data_dir: PathBuf,
    /// The SQLite file.
    pub(crate) database: PathBuf,
    /// Whether the bundled controllers run here.
    pub(crate) controllers: bool,
    /// Whether everybody must show the token.
    pub(crate) require_token: bool,
    /// Whether addresses other than loopback are allowed.
    pub(crate) insecure: bool,
    /// Names by which clients may call it, beside its addresses.
    pub(crate) host_names: Vec<String>,
}

/// A control plane that serves.
pub(crate) struct ControlPlane {
    url: String,
    token: String,
    store: Store<Sqlite>,
    endpoint_file: PathBuf,
    front: Parts,
    manager: Parts,
}

/// Tasks that stop together.
#[derive(Default)]
struct Parts {
    tasks: JoinSet<Result<(), Failure>>,
    stop: CancellationToken,
}

impl ControlPlane {
    /// Starts all parts and returns when requests are served.
    pub(crate) async fn start(options: &Options) -> Result<Self, Failure> {
        refuse_open_addresses(options)?;
        data_dir::make(&options.data_dir)?;
        let token = Token::load_or_create(&options.data_dir).map_err(|error| Failure::refused(error.to_string()))?;
        let registry = Registry::new().with_all::<orion_types::Kinds>();
        let store = orion_store::sqlite(&options.database, registry).await.map_err(|e| Failure::of(&e))?;
        let (listeners, address) = listen(options).await?;
        let client = store.client();
        let mut manager = Manager::new(client.clone());
        if options.controllers {
            let hooks = HttpHooks::new().map_err(|error| Failure::refused(error.to_string()))?;
            orion_controllers::add(&mut manager, orion_controllers::Parts { hooks: Arc::new(hooks) });
        } else {
            manager.leave_garbage();
        }
        let identity = store.identity();
        let settings = Settings::new(identity.cluster.clone(), identity.epoch);
        let (gateway, worker) = Gateway::new(client.clone(), informers(&manager), settings);
        let handle = manager.handle();
        let (mut managing, mut front) = (Parts::default(), Parts::default());
        let until = managing.stop.clone();
        managing.tasks.spawn(async move {
            manager.run_until(until.cancelled_owned()).await.map_err(|error| Failure::of(&error))
        });
        let until = front.stop.clone();
        front.tasks.spawn(async move {
            worker.run(until).await;
            Ok(())
        });
        synced(&handle, &mut managing).await?;
        let router = guard(options, token.clone()).protect(router(client, &gateway, &handle));
        let until = front.stop.clone();
        front.tasks.spawn(async move {
            serve(listeners, router, Limits::default(), until).await;
            Ok(())
        });
        let url = format!("http://{address}");
        let endpoint_file = options.data_dir.join(ENDPOINT_FILE);
        std::fs::write(&endpoint_file, format!("{url}\n"))
            .map_err(|e| Failure::refused(format!("{}: {e}", endpoint_file.display())))?;
        Ok(Self { url, token: token.as_str().to_owned(), store, endpoint_file, front, manager: managing })
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The admin token.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// Serves until `shutdown`, then stops in order. A part that fails ends all, and is named.
    pub(crate) async fn run_until(mut self, shutdown: CancellationToken) -> Result<(), Failure> {
        let ended = tokio::select! {
            biased;
            () = shutdown.cancelled() => Ok(()),
            reason = self.store.stopped() => Err(Failure::refused(format!("the store has stopped: {reason}"))),
            failure = self.front.failed() => Err(failure),
            failure = self.manager.failed() => Err(failure),
        };
        let stopped = self.stop().await;
        ended.and(stopped)
    }

    async fn stop(self) -> Result<(), Failure> {
        // Gone first, so that nobody is sent here any more. Another start writes it anew; a stale one only costs a
        // refused connection.
        let _stale = std::fs::remove_file(&self.endpoint_file);
        let front = self.front.stop().await;
        let manager = self.manager.stop().await;
        self.store.close().await;
        front.and(manager)
    }
}

impl Parts {
    /// Waits for a part that ends although nobody told it to.
    ///
    /// # Cancel safety
    /// Cancel safe.
    async fn failed(&mut self) -> Failure {
        match self.tasks.join_next().await {
            Some(Ok(Err(failure))) => failure,
            Some(Err(error)) => Failure::refused(format!("a part of the server panicked: {error}")),
            Some(Ok(Ok(()))) | None => Failure::refused("a part of the server ended by itself"),
        }
    }

    /// Tells all to stop, and waits until they have.
    async fn stop(mut self) -> Result<(), Failure> {
        self.stop.cancel();
        let mut result = Ok(());
        while let Some(part) = self.tasks.join_next().await {
            let ended =
                part.unwrap_or_else(|error| Err(Failure::refused(format!("a part of the server panicked: {error}"))));
            result = result.and(ended);
        }
        result
    }
}

fn informers(manager: &Manager) -> Informers {
    Informers {
        replicas: manager.informer(Select::all()),
        revisions: manager.informer(Select::all()),
        runs: manager.informer(Select::all()),
        services: manager.informer(Select::all()),
        nodes: manager.informer(Select::all()),
    }
}

fn router(client: Client, gateway: &Gateway, manager: &ManagerHandle) -> Router {
    let apply = Apply::new(client.clone());
    let resources = Resources::new(client.clone()).handler(Config::KIND, orion_gateway::apply::handler(&apply));
    let (store, caches) = (client.clone(), manager.clone());
    let health = Health::new()
        .live("store", move || {
            let store = store.clone();
            async move { reachable(&store).await }
        })
        .ready("caches", move || {
            let problems = caches.health().problems();
            async move { if problems.is_empty() { Ok(()) } else { Err(problems.join("; ")) } }
        });
    let router = resources
        .router()
        .merge(gateway.router())
        .merge(seed::router(client, gateway.live(), apply))
        .merge(health.router());
    with_status_errors(router)
}

async fn reachable(client: &Client) -> Result<(), String> {
    let key = Config::key_of("default", "default").of_kind(Config::KIND);
    client.get_raw(key).await.map(drop).map_err(|error| error.to_string())
}

fn guard(options: &Options, token: Token) -> Guard {
    let guard = options.host_names.iter().fold(Guard::new(token), |guard, name| guard.host_name(name));
    if options.require_token { guard.require_token() } else { guard }
}

/// Waits until all caches are filled.
async fn synced(manager: &ManagerHandle, managing: &mut Parts) -> Result<(), Failure> {
    let ready = async {
        // The manager tells by its health alone; this is once, at the start.
        while !manager.health().is_ready() {
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::select! {
        biased;
        failure = managing.failed() => Err(failure),
        ready = tokio::time::timeout(SYNC_WITHIN, ready) => ready.map_err(|_| {
            let problems = manager.health().problems().join("; ");
            Failure::refused(format!("not ready within {} s: {problems}", SYNC_WITHIN.as_secs()))
        }),
    }
}

fn refuse_open_addresses(options: &Options) -> Result<(), Failure> {
    if options.listen.ip().is_loopback() || options.insecure {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "{} is not a loopback address, and there is no TLS yet: listen on 127.0.0.1, or say --insecure",
        options.listen
    )))
}

/// Listens on the address (on `[::1]` too, where it is the default one) and on the Unix socket.
async fn listen(options: &Options) -> Result<(Vec<Listener>, SocketAddr), Failure> {
    let first = Listener::tcp(options.listen).await.map_err(|error| port_taken(options.listen, &error))?;
    let address = first.address().ok_or_else(|| Failure::refused("the listener has no address"))?;
    let mut listeners = vec![first];
    if address.ip() == IpAddr::from([127, 0, 0, 1]) {
        // A machine without IPv6 is served on 127.0.0.1 alone.
        listeners.extend(Listener::tcp(SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, address.port()))).await.ok());
    }
    let socket = options.data_dir.join("orion.sock");
    let unix = Listener::unix(&socket).map_err(|error| Failure::refused(format!("{}: {error}", socket.display())))?;
    listeners.push(unix);
    Ok((listeners, address))
}

fn port_taken(address: SocketAddr, error: &io::Error) -> Failure {
    if error.kind() != io::ErrorKind::AddrInUse {
        return Failure::refused(format!("cannot listen on {address}: {error}"));
    }
    let whom = port_owner::of(address).map_or_else(|| "another process".to_owned(), |owner| owner.to_string());
    Failure::refused(format!("port {} is taken by {whom}; --port 0 picks a free one", address.port()))
}
