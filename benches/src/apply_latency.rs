//! From `POST /api/apply` to a running process: services applied one after another to a real server with a real agent.
//!
//! "Running" is the first instruction of the process's main, by its own clock. Each service has a config of its own, and
//! the next is applied as soon as the last one runs, so the reports of earlier ones share the way. The phases are
//! measured on further services, since the watch that shows them costs time itself.

use std::{path::Path, pin::pin, time::Duration};

use anyhow::{Context, bail};
use clap::Args;
use futures::{Stream, StreamExt};
use orion_http::{ApplyOptions, HttpClient, WatchEvent};
use orion_model::{ClientError, Resource, Selection};
use orion_types::Replica;
use serde_json::{Value, json};

use crate::{
    Programs,
    control_plane::ControlPlane,
    distribution::{Distribution, Table, millis},
    floor::Floor,
    monotonic::Monotonic,
    starts::Starts,
};

/// Commits that must be on the disk one after another before the process may start: the apply, the replica, its node.
const COMMITS: u32 = 3;

/// Records of the agent that must be on the disk: what it was told to run.
const RECORDS: u32 = 1;

/// Ways over a socket: the apply and its answer, and the launch on its way to the agent, taken as a whole one.
const ROUND_TRIPS: u32 = 2;

/// Programs to be started one after another: the shim and the process.
const SPAWNS: u32 = 2;

/// The goal for the median.
const GOAL: Duration = Duration::from_millis(10);

/// The goal for the median, in floors.
const GOAL_FLOORS: u32 = 4;

/// How long the watch may take to show what a process that runs has gone through.
const SHOWN_WITHIN: Duration = Duration::from_secs(10);

/// How much is measured.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// Services that are applied.
    #[arg(long, default_value_t = 200)]
    services: usize,
    /// Further services whose phases are watched.
    #[arg(long, default_value_t = 50)]
    phases: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { services: 200, phases: 50 }
    }
}

/// One service's way.
struct Sample {
    applied: Monotonic,
    answered: Monotonic,
    main: Monotonic,
}

/// When the phases of one service were seen.
struct Phases {
    sample: Sample,
    created: Monotonic,
    bound: Monotonic,
    running: Monotonic,
}

/// Measures and prints.
pub(crate) async fn measure(programs: &Programs, settings: &Settings) -> anyhow::Result<()> {
    let folder = tempfile::Builder::new().prefix("orion-bench-").tempdir()?;
    let starts = Starts::listen(folder.path())?;
    let control_plane = ControlPlane::start(&programs.orion, folder.path()).await?;
    let applier = Applier { client: control_plane.client()?, sleeper: &programs.sleeper, starts: &starts };
    let mut floor = Floor::default();
    let half = settings.services.div_ceil(2);
    floor.measure(folder.path(), &applier.client, applier.sleeper, &starts, half).await?;
    let mut samples = Vec::with_capacity(settings.services);
    for number in 0..settings.services {
        samples.push(applier.apply(&format!("service-{number}")).await?);
    }
    floor.measure(folder.path(), &applier.client, applier.sleeper, &starts, half).await?;
    print(&samples, &floor);
    if settings.phases > 0 {
        print_phases(&applier.watched(settings.phases).await?);
    }
    Ok(())
}

struct Applier<'a> {
    client: HttpClient,
    sleeper: &'a Path,
    starts: &'a Starts,
}

impl Applier<'_> {
    /// Applies a config with one service, and waits for its process.
    async fn apply(&self, name: &str) -> anyhow::Result<Sample> {
        let body = serde_json::to_vec(&config(name, self.sleeper, self.starts))?;
        let applied = Monotonic::now();
        self.client.apply::<Value>(body, "application/json", ApplyOptions::default()).await?;
        let answered = Monotonic::now();
        let main = self.starts.of(name).await?;
        Ok(Sample { applied, answered, main })
    }

    /// The same with a watch of all replicas open.
    async fn watched(&self, count: usize) -> anyhow::Result<Vec<Phases>> {
        let selection = Selection::all(Replica::KIND).in_namespace("default");
        let since = self.client.list(&selection).await?.version;
        let mut events = pin!(self.client.watch(selection, Some(since)));
        let mut phases = Vec::with_capacity(count);
        for number in 0..count {
            let name = format!("watched-{number}");
            let (sample, seen) = tokio::join!(self.apply(&name), seen(&name, events.as_mut()));
            let [created, bound, running] = seen?;
            phases.push(Phases { sample: sample?, created, bound, running });
        }
        Ok(phases)
    }
}

/// When a service's only replica was seen first, with a node, and with a running process.
async fn seen(
    service: &str,
    mut events: impl Stream<Item = Result<WatchEvent, ClientError>> + Unpin,
) -> anyhow::Result<[Monotonic; 3]> {
    let all = async {
        let (mut created, mut bound) = (None, None);
        while let Some(event) = events.next().await {
            let (WatchEvent::Added(replica) | WatchEvent::Modified(replica)) = event? else { continue };
            if replica["spec"]["serviceName"] != service {
                continue;
            }
            let now = Monotonic::now();
            let created = *created.get_or_insert(now);
            if replica["spec"]["nodeName"].is_string() {
                bound.get_or_insert(now);
            }
            if let Some(bound) = bound
                && matches!(replica["status"]["phase"].as_str(), Some("Running" | "Ready"))
            {
                return Ok([created, bound, now]);
            }
        }
        bail!("the watch ended")
    };
    tokio::time::timeout(SHOWN_WITHIN, all).await.with_context(|| format!("{service} was not shown as running"))?
}

fn config(name: &str, sleeper: &Path, starts: &Starts) -> Value {
    let [socket, name_argument] = starts.arguments(name);
    let service = json!({
        "name": name,
        "type": "exec",
        "runtime": "none",
        "command": [sleeper, socket, name_argument],
    });
    json!({ "apiVersion": "orion/v1", "kind": "Config", "metadata": { "name": name }, "spec": { "services": [service] } })
}

fn print(samples: &[Sample], floor: &Floor) {
    let [fdatasync, round_trip, spawn] = floor.distributions();
    let least = (COMMITS + RECORDS) * fdatasync.median() + ROUND_TRIPS * round_trip.median() + SPAWNS * spawn.median();
    let to_main: Distribution = samples.iter().map(|sample| sample.main.since(sample.applied)).collect();
    let median = to_main.median();
    Table::default()
        .with_floor(least)
        .row("fdatasync of 4 KiB", fdatasync)
        .row("loopback round trip, GET /health", round_trip)
        .row("bare spawn to main", spawn)
        .row("apply to its answer", samples.iter().map(|sample| sample.answered.since(sample.applied)).collect())
        .row("apply to the process's main", to_main)
        .print("POST /api/apply to process running, one service after another (ms)");
    println!(
        "floor, of medians: {} fdatasyncs ({COMMITS} commits, {RECORDS} record of the agent) + {ROUND_TRIPS} round trips + {SPAWNS} spawns (shim, process) = {:.3} ms",
        COMMITS + RECORDS,
        millis(least),
    );
    let verdict = |holds: bool| if holds { "met" } else { "missed" };
    println!(
        "goals: p50 under {} ms: {}; within {GOAL_FLOORS} floors: {}",
        GOAL.as_millis(),
        verdict(median < GOAL),
        verdict(median <= GOAL_FLOORS * least),
    );
}

fn print_phases(phases: &[Phases]) {
    let between = |from: fn(&Phases) -> Monotonic, to: fn(&Phases) -> Monotonic| {
        phases.iter().map(|phases| to(phases).since(from(phases))).collect::<Distribution>()
    };
    Table::default()
        .row("apply to its answer", between(|p| p.sample.applied, |p| p.sample.answered))
        .row("apply to the replica", between(|p| p.sample.applied, |p| p.created))
        .row("replica to its node", between(|p| p.created, |p| p.bound))
        .row("node to the process's main", between(|p| p.bound, |p| p.sample.main))
        .row("main to Running in the store", between(|p| p.sample.main, |p| p.running))
        .row("apply to the process's main", between(|p| p.sample.applied, |p| p.sample.main))
        .print("its phases, with a watch open that shows them (ms)");
}
