//! `orion down`: ends the `orion up` of a data directory, and everything it runs with it.

use orion_agent::process::Handle;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Signal, pidfd_send_signal},
};

use crate::{cli, endpoint, failure::Failure, up::noted};

/// How long everything may take to end.
const END_WITHIN_SECONDS: i64 = 120;

/// Ends it and waits until it has ended.
pub(crate) async fn run(down: &cli::Down) -> Result<(), Failure> {
    let here = std::env::current_dir()?;
    let data_dir = down.data_dir.clone().or_else(|| endpoint::nearest_data_dir(&here));
    let Some(data_dir) = data_dir else { return Err(Failure::refused("no `orion up` runs here or above")) };
    let identity =
        noted(&data_dir).ok_or_else(|| Failure::refused(format!("no `orion up` runs with {}", data_dir.display())))?;
    let Some(process) = identity.open()? else { return Ok(()) };
    // Through the pidfd, so that it reaches that very process or none.
    pidfd_send_signal(&process, Signal::TERM)
        .map_err(|error| Failure::refused(format!("pid {}: {error}", identity.pid)))?;
    println!("stopping (pid {})", identity.pid);
    if has_ended(process).await? {
        println!("stopped");
        return Ok(());
    }
    Err(Failure::refused(format!("pid {} has not ended within {END_WITHIN_SECONDS} s", identity.pid)))
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
