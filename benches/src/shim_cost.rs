//! What a shim costs, on the release binary: private dirty memory, and the time from a request to the child's main.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, ensure};
use clap::Args;
use orion_agent::shims::{Definition, Launch, LogSettings, Shim, ShimId, ShimProgram, Shims, StopPolicy};

use crate::{
    Programs,
    distribution::{Distribution, Table},
    floor,
    monotonic::Monotonic,
    starts::Starts,
};

/// What makes the binary a shim.
const SHIM_ARGUMENT: &str = "__shim";

/// The most private dirty memory a shim may have, in KiB.
const MEMORY_LIMIT: u64 = 512;

/// The longest median from a request to the child's main.
const START_LIMIT: Duration = Duration::from_millis(3);

/// How much is measured.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// Shims that are started, each with one process.
    #[arg(long, default_value_t = 100)]
    shims: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { shims: 100 }
    }
}

/// Measures and prints.
pub(crate) async fn measure(programs: &Programs, settings: &Settings) -> anyhow::Result<()> {
    ensure!(settings.shims > 0, "--shims 0 measures nothing");
    let folder = tempfile::Builder::new().prefix("orion-bench-").tempdir()?;
    let starts = Starts::listen(folder.path())?;
    let bare = floor::spawn(&programs.sleeper, &starts, settings.shims as usize).await?;
    let program = ShimProgram { path: programs.orion.clone(), args: vec![SHIM_ARGUMENT.into()] };
    let shims = Shims::new(folder.path().join("run"), program)?;
    let mut running = Vec::new();
    let started = start_all(&shims, &mut running, programs, folder.path(), &starts, settings.shims).await;
    let memory = running.iter().map(|shim| private_dirty(shim.identity().pid)).collect::<anyhow::Result<Vec<_>>>();
    // Whatever was measured: nothing stays.
    end_all(&running).await?;
    shims.shutdown().await;
    print(bare.into_iter().collect(), started?.into_iter().collect(), memory?);
    Ok(())
}

async fn start_all(
    shims: &Shims,
    running: &mut Vec<Shim>,
    programs: &Programs,
    folder: &Path,
    starts: &Starts,
    count: u32,
) -> anyhow::Result<Vec<Duration>> {
    let mut times = Vec::new();
    for number in 0..count {
        let name = format!("process-{number}");
        let launch = launch(&name, &programs.sleeper, folder, starts);
        let requested = Monotonic::now();
        running.push(shims.launch(launch).await?);
        times.push(starts.of(&name).await?.since(requested));
    }
    Ok(times)
}

fn launch(name: &str, sleeper: &Path, folder: &Path, starts: &Starts) -> Launch {
    let mut argv = vec![sleeper.display().to_string()];
    argv.extend(starts.arguments(name));
    Launch {
        id: ShimId { uid: name.to_owned(), attempt: 1 },
        nonce: format!("{}-{name}", std::process::id()),
        definition: Definition {
            argv,
            env: Vec::new(),
            cwd: folder.to_owned(),
            user: None,
            stop: StopPolicy::default(),
            logs: LogSettings { dir: folder.join("logs").join(name), max_files: 3, max_file_size: 1 << 20 },
        },
    }
}

async fn end_all(running: &[Shim]) -> anyhow::Result<()> {
    for shim in running {
        shim.kill().await?;
        shim.ended().await.context("a shim was let go of")?;
    }
    Ok(())
}

/// Pages that are a process's own and changed, in KiB.
fn private_dirty(pid: i32) -> anyhow::Result<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Private_Dirty:"));
    let number = line.and_then(|rest| rest.split_whitespace().next()).context("no Private_Dirty in smaps_rollup")?;
    Ok(number.parse()?)
}

fn print(bare: Distribution, started: Distribution, mut memory: Vec<u64>) {
    memory.sort_unstable();
    let (median, most) = (memory[memory.len() / 2], memory[memory.len() - 1]);
    let start = started.median();
    Table::default()
        .with_floor(bare.median())
        .row("bare spawn to main", bare)
        .row("request to the child's main", started)
        .print("starting a process under a shim of its own (ms; the floor is one bare spawn)");
    let verdict = |holds: bool| if holds { "met" } else { "missed" };
    println!("limit: p50 at most {} ms: {}", START_LIMIT.as_millis(), verdict(start <= START_LIMIT));
    println!(
        "private dirty memory of a shim: p50 {median} KiB, max {most} KiB; limit {MEMORY_LIMIT} KiB: {}",
        verdict(median <= MEMORY_LIMIT)
    );
}
