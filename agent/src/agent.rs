//! The agent: takes up what runs here, connects to a server, and connects again for as long as it lives.

use std::{collections::BTreeMap, fs::File, io, path::PathBuf, sync::Arc, time::Duration};

use orion_model::{
    Clock, Randomness,
    backoff::{Backoff, Retry},
};
use orion_types::protocol::{Hello, PROTOCOL, ProtocolRange};
use rustix::fs::{FlockOperation, flock};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    environment::Inherit,
    host,
    ledger::Ledger,
    outbox::Outbox,
    replica::Context,
    session::{Connection, End, Session},
    shims::{ShimProgram, Shims},
    supervisor::Supervisor,
};

/// Between two looks for logs whose time is over.
const SWEEP_LOGS: Duration = Duration::from_secs(600);
/// A session that lasted so long was a good one: the next failure is the first again.
const GOOD_SESSION: Duration = Duration::from_secs(10);
/// How long processes may take to end with the agent while no server can be reached; their own timeouts end them before.
const END_ALL: Duration = Duration::from_secs(120);

/// Everything an agent must be told.
#[derive(Clone, Debug)]
pub struct Options {
    /// Addresses of the servers, tried in turn: `http://host:port` or `ws://host:port/ws`.
    pub servers: Vec<String>,
    /// The token it shows.
    pub token: Option<String>,
    /// The node's name, a DNS label.
    pub name: String,
    /// The id it calls itself by.
    pub node_id: String,
    /// Labels of the node.
    pub labels: BTreeMap<String, String>,
    /// Where its files are kept.
    pub data_dir: PathBuf,
    /// What the paths of services are relative to.
    pub workspace_root: PathBuf,
    /// The program that is a shim.
    pub shim: ShimProgram,
    /// What of its own environment processes get.
    pub inherit: Inherit,
    /// Whether processes end with it.
    pub stop_all: bool,
    /// Whether it obeys a control plane other than the one it knows.
    pub adopt: bool,
    /// Its version, as the server shows it.
    pub version: String,
}

/// Why an agent cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Its data directory cannot be used.
    #[error("the data directory {} cannot be used: {source}", path.display())]
    DataDir {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another agent uses the data directory.
    #[error("another agent uses {}; give this one a --data-dir of its own", path.display())]
    InUse {
        /// Which.
        path: PathBuf,
    },
    /// No server was named.
    #[error("no server was named")]
    NoServer,
    /// A server's address is none.
    #[error("{0:?} is no server's address: http://HOST:PORT or ws://HOST:PORT/ws")]
    Address(String),
    /// Processes that were to end with the agent have not.
    #[error("{left} processes have not ended within {} s; they are left to the next agent", END_ALL.as_secs())]
    NotEnded {
        /// How many.
        left: usize,
    },
    /// A newer start of this agent has taken over.
    #[error("a newer start of this agent has taken over: {0}")]
    Superseded(String),
}

/// An agent that has taken up what runs on its machine.
pub struct Agent {
    options: Options,
    context: Arc<Context>,
    supervisor: Supervisor,
    addresses: Vec<String>,
    instance_id: String,
    _lock: File,
}

impl Agent {
    /// Opens the data directory and takes up the processes of an earlier agent.
    ///
    /// # Errors
    /// When the directory is used by another agent or cannot be used, or an address is none.
    pub async fn start(options: Options) -> Result<Self, AgentError> {
        let addresses =
            options.servers.iter().map(|server| websocket_address(server)).collect::<Result<Vec<_>, _>>()?;
        if addresses.is_empty() {
            return Err(AgentError::NoServer);
        }
        let data_dir = |source| AgentError::DataDir { path: options.data_dir.clone(), source };
        let ledger = Ledger::open(&options.data_dir).map_err(data_dir)?;
        let lock = lock(&ledger, &options)?;
        let randomness = Randomness::system();
        let mut identity = ledger.identity().map_err(data_dir)?;
        if identity.agent_id.is_empty() {
            identity.agent_id = format!("{:016x}{:016x}", randomness.u64(), randomness.u64());
            ledger.keep_identity(&identity).map_err(data_dir)?;
        }
        let own =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        let workspace_root = std::path::absolute(&options.workspace_root).map_err(data_dir)?;
        let context = Arc::new(Context {
            shims: Shims::new(ledger.run_dir(), options.shim.clone()).map_err(data_dir)?,
            outbox: Outbox::new(ledger.clone()).map_err(data_dir)?,
            base_env: options.inherit.filter(own),
            node: options.name.clone(),
            workspace_root,
            randomness: randomness.clone(),
            kill: CancellationToken::new(),
            ledger,
        });
        let supervisor = Supervisor::recover(context.clone(), identity, options.adopt).await.map_err(data_dir)?;
        let instance_id = format!("{:015}-{:016x}", Clock::system().now().as_millis(), randomness.u64());
        Ok(Self { options, context, supervisor, addresses, instance_id, _lock: lock })
    }

    /// How many processes that an earlier agent left running it has taken up.
    pub fn taken_up(&self) -> usize {
        self.supervisor.taken_up()
    }

    /// Serves until `shutdown`; with `stop_all` the processes end then, and at once on `kill`; without it they run on.
    ///
    /// # Errors
    /// [`AgentError::Superseded`] when a newer start of this agent has taken over; [`AgentError::NotEnded`] when
    /// processes that were to end with it have not.
    pub async fn run(mut self, shutdown: CancellationToken, kill: CancellationToken) -> Result<(), AgentError> {
        let killing = self.context.kill.clone();
        let killer = AbortOnDropHandle::new(tokio::spawn(async move {
            kill.cancelled().await;
            killing.cancel();
        }));
        let sweeper = AbortOnDropHandle::new(tokio::spawn(sweep_logs(self.context.ledger.clone())));
        let mut ended = self.connect_for_ever(&shutdown).await;
        if shutdown.is_cancelled() && self.options.stop_all {
            ended = ended.and(self.end_all().await);
        }
        drop((sweeper, killer));
        self.supervisor.close().await;
        self.context.shims.shutdown().await;
        ended
    }

    async fn connect_for_ever(&mut self, shutdown: &CancellationToken) -> Result<(), AgentError> {
        let mut retry = Retry::new(Backoff::reconnecting(), self.context.randomness.clone());
        let mut next = 0;
        let mut redirected: Option<String> = None;
        while !shutdown.is_cancelled() {
            let address = redirected.take().unwrap_or_else(|| self.addresses[next % self.addresses.len()].clone());
            let began = tokio::time::Instant::now();
            match self.session(&address, shutdown).await {
                End::Shutdown => return Ok(()),
                End::Superseded(reason) => return Err(AgentError::Superseded(reason)),
                End::Redirected(url) => redirected = websocket_address(&url).ok(),
                End::Broken(reason) => {
                    // One line when it begins, then only now and then: a server that is down is no flood of logs.
                    match retry.failures() {
                        0 => tracing::warn!(server = %address, %reason, "not connected; trying again"),
                        n if n.is_multiple_of(20) => {
                            tracing::warn!(server = %address, %reason, tries = n, "still not connected")
                        }
                        _ => tracing::debug!(server = %address, %reason, "not connected"),
                    }
                    next += 1;
                }
            }
            if began.elapsed() > GOOD_SESSION {
                retry.reset();
            }
            tokio::select! {
                biased;
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(retry.next_delay()) => {}
            }
        }
        Ok(())
    }

    async fn session(&mut self, address: &str, shutdown: &CancellationToken) -> End {
        let opening = Connection::open(address, self.options.token.as_deref());
        let opened = tokio::select! {
            biased;
            () = shutdown.cancelled() => return End::Shutdown,
            opened = opening => opened,
        };
        let connection = match opened {
            Ok(connection) => connection,
            Err(reason) => return End::Broken(reason),
        };
        let hello = self.hello(&connection);
        let session = Session {
            outbox: &self.context.outbox,
            logs: self.context.ledger.clone(),
            supervisor: &mut self.supervisor,
            shutdown,
            stop_all: self.options.stop_all,
        };
        session.run(connection, hello).await
    }

    fn hello(&self, connection: &Connection) -> Hello {
        let identity = self.supervisor.identity();
        Hello {
            node_id: self.options.node_id.clone(),
            name: self.options.name.clone(),
            address: connection.local_ip().map(|ip| ip.to_string()).unwrap_or_default(),
            labels: self.options.labels.clone(),
            protocol: Some(ProtocolRange { min: PROTOCOL, max: PROTOCOL }),
            agent_version: self.options.version.clone(),
            agent_id: identity.agent_id.clone(),
            instance_id: self.instance_id.clone(),
            boot_id: host::boot_id(),
            cluster_id: identity.cluster_id.clone(),
            store_epoch: identity.store_epoch,
            attributes: host::attributes(),
            capacity: Some(host::capacity()),
            token: self.options.token.clone(),
            ..Hello::default()
        }
    }

    /// Ends what still runs, also where no server could be told.
    async fn end_all(&mut self) -> Result<(), AgentError> {
        self.supervisor.end_all().await;
        let ended = tokio::time::timeout(END_ALL, self.supervisor.all_ended()).await;
        ended.map_err(|_| AgentError::NotEnded { left: self.supervisor.left() })
    }
}

fn lock(ledger: &Ledger, options: &Options) -> Result<File, AgentError> {
    let failed = |source: io::Error| AgentError::DataDir { path: options.data_dir.clone(), source };
    let file = File::options().create(true).truncate(false).write(true).open(ledger.lock_path()).map_err(failed)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(AgentError::InUse { path: options.data_dir.clone() }),
        Err(error) => Err(failed(error.into())),
    }
}

async fn sweep_logs(ledger: Ledger) {
    let mut ticks = tokio::time::interval(SWEEP_LOGS);
    loop {
        ticks.tick().await;
        let (ledger, now) = (ledger.clone(), Clock::system().now().as_millis());
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || ledger.sweep_logs(now)).await {
            tracing::warn!(%error, "old logs could not be removed");
        }
    }
}

/// A server's address as the agents' socket: `http://host:port` becomes `ws://host:port/ws`.
fn websocket_address(server: &str) -> Result<String, AgentError> {
    let error = || AgentError::Address(server.to_owned());
    let (scheme, rest) = server.trim().split_once("://").unwrap_or(("http", server.trim()));
    let rest = rest.trim_end_matches('/');
    if rest.split('/').next().is_none_or(str::is_empty) {
        return Err(error());
    }
    match scheme {
        "ws" | "http" if rest.ends_with("/ws") => Ok(format!("ws://{rest}")),
        "ws" | "http" => Ok(format!("ws://{rest}/ws")),
        _ => Err(error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_usual_address_of_a_server_is_taken() {
        let table = [
            ("http://127.0.0.1:6060", "ws://127.0.0.1:6060/ws"),
            ("http://127.0.0.1:6060/", "ws://127.0.0.1:6060/ws"),
            ("ws://host:1/ws", "ws://host:1/ws"),
            ("host:6060", "ws://host:6060/ws"),
        ];
        for (given, expected) in table {
            assert_eq!(websocket_address(given).expect(given), expected);
        }
        for refused in ["ftp://host", "http://", "", "ws:///ws"] {
            assert!(websocket_address(refused).is_err(), "{refused}");
        }
    }
}
