//! What the machine itself needs for the parts nobody can do without.

use std::{
    fs::File,
    io::{Seek, Write},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use orion_http::HttpClient;

use crate::{distribution::Distribution, monotonic::Monotonic, starts::Starts};

/// How much one write to the disk holds: a page, as in a small commit.
const WRITE: usize = 4096;

/// From before a write of 4 KiB behind the others of a file until it is on the disk.
pub(crate) fn fdatasync(folder: &Path, samples: usize) -> anyhow::Result<Vec<Duration>> {
    let mut file = File::options().create(true).append(true).open(folder.join("fdatasync"))?;
    // As SQLite's write-ahead log after its first round: the blocks are there.
    file.write_all(&vec![0; WRITE * samples])?;
    file.sync_all()?;
    let mut file = File::options().write(true).open(folder.join("fdatasync"))?;
    file.rewind()?;
    let page = [7; WRITE];
    let write = |_| {
        let began = Monotonic::now();
        file.write_all(&page)?;
        file.sync_data()?;
        Ok(Monotonic::now().since(began))
    };
    (0..samples).map(write).collect()
}

/// A request to the server that asks for nothing, and its answer.
pub(crate) async fn round_trip(client: &HttpClient, samples: usize) -> anyhow::Result<Vec<Duration>> {
    let mut trips = Vec::with_capacity(samples);
    for _ in 0..samples {
        let began = Monotonic::now();
        client.read::<serde_json::Value>("/health", &[]).await?;
        trips.push(Monotonic::now().since(began));
    }
    Ok(trips)
}

/// From before a bare `posix_spawn` of the sleeper to its main.
pub(crate) async fn spawn(sleeper: &Path, starts: &Starts, samples: usize) -> anyhow::Result<Vec<Duration>> {
    let mut spawns = Vec::with_capacity(samples);
    for _ in 0..samples {
        let mut command = Command::new(sleeper);
        command.args(starts.arguments("bare")).env_clear().stdin(Stdio::null()).stdout(Stdio::null());
        let began = Monotonic::now();
        let mut child = command.spawn()?;
        let started = starts.of("bare").await;
        child.kill()?;
        child.wait()?;
        spawns.push(started?.since(began));
    }
    Ok(spawns)
}

/// The three, each as it was measured before and after what is measured beside them.
#[derive(Debug, Default)]
pub(crate) struct Floor {
    fdatasync: Vec<Duration>,
    round_trip: Vec<Duration>,
    spawn: Vec<Duration>,
}

impl Floor {
    /// Takes so many samples more of each.
    pub(crate) async fn measure(
        &mut self,
        folder: &Path,
        client: &HttpClient,
        sleeper: &Path,
        starts: &Starts,
        samples: usize,
    ) -> anyhow::Result<()> {
        self.fdatasync.extend(fdatasync(folder, samples)?);
        self.round_trip.extend(round_trip(client, samples).await?);
        self.spawn.extend(spawn(sleeper, starts, samples).await?);
        Ok(())
    }

    /// Their distributions: fdatasync, round trip, spawn.
    pub(crate) fn distributions(&self) -> [Distribution; 3] {
        [&self.fdatasync, &self.round_trip, &self.spawn].map(|samples| samples.iter().copied().collect())
    }
}
