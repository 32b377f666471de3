//! `orion down`: ends the `orion up` of a data directory, and everything it runs with it; of one that was killed, what
//! it has left running.

use std::path::Path;

use orion_agent::{
    Agent,
    process::{Handle, Identity},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Signal, pidfd_send_signal},
};
use tokio_util::sync::CancellationToken;

use crate::{
    cli, endpoint,
    failure::Failure,
    out::say,
    shutdown,
    up::{noted, own_agent},
};

/// How long everything may take to end.
const END_WITHIN_SECONDS: i64 = 120;

/// Ends it and waits until it has ended.
pub(crate) async fn run(down: &cli::Down) -> Result<(), Failure> {
    let here = std::env::current_dir()?;
    let data_dir = down.data_dir.clone().or_else(|| endpoint::nearest_data_dir(&here));
    let Some(data_dir) = data_dir else {
        return Err(Failure::refused("no `orion up` runs in this folder or above it; --data-dir names another"));
    };
    match noted(&data_dir) {
        Some(running) => end(&running).await,
        None => end_leftovers(&data_dir).await,
    }
}

async fn end(running: &Identity) -> Result<(), Failure> {
    let Some(process) = running.open()? else { return Ok(()) };
    // Through the pidfd, so that it reaches that very process or none.
    pidfd_send_signal(&process, Signal::TERM)
        .map_err(|error| Failure::refused(format!("pid {}: {error}", running.pid)))?;
    say!("stopping (pid {})", running.pid);
    if has_ended(process).await? {
        say!("stopped; nothing is left running");
        return Ok(());
    }
    Err(Failure::refused(format!("pid {} has not ended within {END_WITHIN_SECONDS} s", running.pid)))
}

/// Takes up what an `up` that was killed has left, to end it.
async fn end_leftovers(data_dir: &Path) -> Result<(), Failure> {
    let nobody = || Failure::refused(format!("no `orion up` runs with {}", data_dir.display()));
    // Where no agent ever was, nothing can be left.
    if !data_dir.join("agent").is_dir() {
        return Err(nobody());
    }
    let (shutdown, _signals) = shutdown::listen()?;
    let agent = Agent::start(own_agent(data_dir)).await.map_err(|error| Failure::of(&error))?;
    let left = agent.taken_up();
    if left > 0 {
        say!("`orion up` was killed and left {left} running: stopping them");
    }
    let at_once = CancellationToken::new();
    at_once.cancel();
    agent.run(at_once, shutdown.end).await.map_err(|error| Failure::of(&error))?;
    if left == 0 {
        return Err(nobody());
    }
    say!("stopped; nothing is left running");
    Ok(())
}

/// Waits for the end of a process: its pidfd becomes readable then.
async fn has_ended(process: Handle) -> Result<bool, Failure> {
    let waited = tokio::task::spawn_blocking(move || {
        let within = Timespec { tv_sec: END_WITHIN_SECONDS, tv_nsec: 0 };
        poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&within))
    });
    match waited.await {
        Ok(Ok(ready)) => Ok(ready > 0),
        Ok(Err(error)) => Err(Failure::refused(format!("cannot wait for its end: {error}"))),
        Err(error) => Err(Failure::refused(error.to_string())),
    }
}
