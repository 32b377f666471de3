//! A real server and a real agent, as an operator starts them, in a folder of their own.

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use orion_http::HttpClient;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// How long a daemon may take to stand or to end: an agent ends all its processes first.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// A daemon. Dropped, it is told to end, and the agent's processes with it.
#[derive(Debug)]
struct Daemon {
    name: &'static str,
    child: Child,
}

/// A server with one agent, both ready.
#[derive(Debug)]
pub(crate) struct ControlPlane {
    url: String,
    // In this order: processes end before the server does.
    _agent: Daemon,
    _server: Daemon,
}

impl ControlPlane {
    /// Starts both, and returns when the agent's node is ready.
    pub(crate) async fn start(orion: &Path, folder: &Path) -> anyhow::Result<Self> {
        let mut command = quiet(orion);
        command.args(["server", "--listen", "127.0.0.1:0", "--data-dir"]).arg(folder.join("server"));
        let mut server = Daemon::start("server", command.stdout(Stdio::piped()))?;
        let url = server.address()?;
        let mut command = quiet(orion);
        command.args(["agent", "--server", &url, "--name", "node-1", "--stop-all"]);
        command.arg("--data-dir").arg(folder.join("agent")).arg("--workspace-root").arg(folder);
        let agent = Daemon::start("agent", command.stdout(Stdio::null()))?;
        let this = Self { url, _agent: agent, _server: server };
        this.node_is_ready().await?;
        Ok(this)
    }

    /// A client of it.
    pub(crate) fn client(&self) -> anyhow::Result<HttpClient> {
        Ok(HttpClient::new(&self.url, None)?)
    }

    async fn node_is_ready(&self) -> anyhow::Result<()> {
        let client = self.client()?;
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let nodes: Value = client.read("/api/nodes", &[]).await?;
            if nodes["items"][0]["status"] == "ready" {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
        bail!("the agent's node is not ready after {PATIENCE:?}")
    }
}

/// The binary with nothing of Orion's in its environment, logging warnings only.
fn quiet(orion: &Path) -> Command {
    let mut command = Command::new(orion);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ORION_")) {
        command.env_remove(name);
    }
    command.env("ORION_LOG", "warn").stdin(Stdio::null());
    command
}

impl Daemon {
    fn start(name: &'static str, command: &mut Command) -> anyhow::Result<Self> {
        let child = command.spawn().with_context(|| format!("cannot start the {name}"))?;
        Ok(Self { name, child })
    }

    fn address(&mut self) -> anyhow::Result<String> {
        let mut stdout = BufReader::new(self.child.stdout.take().context("stdout is piped")?);
        let mut line = String::new();
        stdout.read_line(&mut line)?;
        let url = line.trim().strip_prefix("orion server listening on ").map(str::to_owned);
        // Read on to its end: nobody else does, and a full pipe would hold the server up.
        thread::spawn(move || stdout.read_to_end(&mut Vec::new()));
        url.with_context(|| format!("the {} said {line:?}", self.name))
    }

    fn end(&mut self) -> anyhow::Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("a pid")?;
        kill_process(pid, Signal::TERM)?;
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                self.child.kill()?;
                self.child.wait()?;
                bail!("it had to be killed");
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("the {} did not end as it should: {error}", self.name);
        }
    }
}
