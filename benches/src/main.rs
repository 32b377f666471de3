//! Measurements of Orion beside the machine's own limits, taken in the same run.
//!
//! ```text
//! orion-benches [--orion PATH] [apply | shim]
//! ```
//!
//! Both use the release binary `orion` and the helper `orion-bench-sleeper`, which lie beside this one. What each
//! measures, and what its limits are, says the README of this folder.

mod apply_latency;
mod control_plane;
mod distribution;
mod floor;
mod monotonic;
mod shim_cost;
mod starts;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, ensure};
use clap::{Parser, Subcommand};

/// Between two measurements: ext4 passes over inodes that were freed in the last 5 s, one by one, and the files of the
/// first would be in the way of the second's.
const SETTLE: Duration = Duration::from_secs(6);

/// Measures Orion beside the machine's own limits.
#[derive(Debug, Parser)]
struct Arguments {
    /// The release binary to measure [default: the one beside this program].
    #[arg(long, value_name = "PATH")]
    orion: Option<PathBuf>,
    /// One measurement; all without it.
    #[command(subcommand)]
    measurement: Option<Measurement>,
}

/// What is measured.
#[derive(Debug, Subcommand)]
enum Measurement {
    /// From `POST /api/apply` to the first instruction of the process's main, one service after another.
    Apply(apply_latency::Settings),
    /// What a shim costs: its private memory, and the time from a request to the child's main.
    Shim(shim_cost::Settings),
}

/// The programs that take part.
#[derive(Debug)]
struct Programs {
    orion: PathBuf,
    sleeper: PathBuf,
}

impl Programs {
    fn find(orion: Option<PathBuf>) -> anyhow::Result<Self> {
        let own = std::env::current_exe().context("this program's own path")?;
        let beside = own.parent().context("this program lies in no folder")?;
        let orion = orion.unwrap_or_else(|| beside.join("orion"));
        Ok(Self { orion: existing(&orion)?, sleeper: existing(&beside.join("orion-bench-sleeper"))? })
    }
}

fn existing(path: &Path) -> anyhow::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    ensure!(path.is_file(), "{} is not there: `just bench` builds it first", path.display());
    Ok(path)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let programs = Programs::find(arguments.orion)?;
    let apply = async |settings| apply_latency::measure(&programs, &settings).await.context("apply latency");
    let shim = async |settings| shim_cost::measure(&programs, &settings).await.context("shim cost");
    match arguments.measurement {
        Some(Measurement::Apply(settings)) => apply(settings).await,
        Some(Measurement::Shim(settings)) => shim(settings).await,
        None => {
            apply(apply_latency::Settings::default()).await?;
            tokio::time::sleep(SETTLE).await;
            shim(shim_cost::Settings::default()).await
        }
    }
}
