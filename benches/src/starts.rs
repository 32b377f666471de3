//! Where started processes say that they run.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail};
use tokio::net::UnixDatagram;

use crate::monotonic::Monotonic;

/// Longer than any start takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// The socket on which the sleepers' datagrams arrive.
#[derive(Debug)]
pub(crate) struct Starts {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Starts {
    /// Listens in a folder.
    pub(crate) fn listen(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join("starts");
        let socket = UnixDatagram::bind(&path).with_context(|| format!("cannot listen on {}", path.display()))?;
        Ok(Self { socket, path })
    }

    /// What a sleeper of this name is to be started with.
    pub(crate) fn arguments(&self, name: &str) -> [String; 2] {
        [self.path.display().to_string(), name.to_owned()]
    }

    /// When the main of the sleeper of this name began. One that other sleepers speak before is an error: they are
    /// started one after another, and none twice.
    pub(crate) async fn of(&self, name: &str) -> anyhow::Result<Monotonic> {
        let mut bytes = [0; 256];
        let received = tokio::time::timeout(PATIENCE, self.socket.recv(&mut bytes)).await;
        let length = received.with_context(|| format!("{name} did not start within {PATIENCE:?}"))??;
        let text = std::str::from_utf8(&bytes[..length])?;
        match text.split_once(' ') {
            Some((said, began)) if said == name => Monotonic::parse(began).context("a time that does not read"),
            _ => bail!("{name} was to start, and this was said: {text:?}"),
        }
    }
}
