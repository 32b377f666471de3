//! `orion down`: ends the `orion up` of a data directory, and everything it runs with it.

use std::{os::fd::AsFd, time::Duration};

use rustix::process::{Signal, pidfd_send_signal};
use tokio::io::unix::AsyncFd;

use crate::{cli, endpoint, failure::Failure, up::noted};

/// How long everything may take to end.
const END_WITHIN: Duration = Duration::from_secs(120);

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
    let ended = AsyncFd::register(process.as_fd().try_clone_to_owned()?)
        .map_err(|error| Failure::refused(error.to_string()))?;
    match tokio::time::timeout(END_WITHIN, ended.readable()).await {
        Ok(_) => {
            println!("stopped");
            Ok(())
        }
        Err(_) => Err(Failure::refused(format!("pid {} has not ended within {END_WITHIN:?}", identity.pid))),
    }
}
