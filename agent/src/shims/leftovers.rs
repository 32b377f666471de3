//! What a dead shim left, found and ended.
//!
//! Its main process dies with it by the parent-death signal. Others are found by the marker in their environment, as
//! descendants of such, and as children that this process inherited in the main process's session. Each is signalled
//! through a pidfd that was opened before it was looked at, so a pid that has passed to a stranger is never hit.

use std::{
    io,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::{
    process::{self, Handle, Stat},
    shim::{
        record::Record,
        wire::{MARKER, Stuck},
    },
};

/// After KILL, how long something may take to end before it counts as stuck.
const END_WITHIN: Duration = Duration::from_secs(10);

/// How long one look at what is left waits for it to end.
const LOOK_AGAIN: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

/// Waits for a process that has been killed, and reaps it if it is a child.
pub(super) fn wait_for_end(process: &Handle) -> io::Result<()> {
    let deadline = Instant::now() + END_WITHIN;
    while !process.has_ended() {
        if Instant::now() > deadline {
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("process {} does not end", process.pid())));
        }
        poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&LOOK_AGAIN))?;
    }
    process.reap();
    Ok(())
}

/// Ends all that is left of a dead shim, and says what does not end.
///
/// # Errors
///
/// `/proc` cannot be read.
pub(super) fn end(record: &Record) -> io::Result<Vec<Stuck>> {
    if record.shim.as_ref().is_none_or(|shim| !shim.is_of_this_boot()) {
        return Ok(Vec::new());
    }
    let deadline = Instant::now() + END_WITHIN;
    // Held until they have ended: a zombie shows neither environment nor session of its own to find it by again.
    let mut held: Vec<Handle> = Vec::new();
    loop {
        for stat in left(record, &process::all()?) {
            if held.iter().any(|known| (known.stat.pid, known.stat.start) == (stat.pid, stat.start)) {
                continue;
            }
            held.extend(Handle::open(stat.pid)?.filter(|handle| handle.stat.start == stat.start));
        }
        let pids: Vec<i32> = held.iter().map(Handle::pid).collect();
        held.retain(|handle| !is_over(handle, &pids));
        let stuck: Vec<Stuck> = held.iter().map(kill).collect();
        if held.is_empty() || Instant::now() > deadline {
            return Ok(stuck);
        }
        let mut fds: Vec<PollFd<'_>> = held.iter().map(|handle| PollFd::new(handle, PollFlags::IN)).collect();
        poll(&mut fds, Some(&LOOK_AGAIN))?;
    }
}

/// Whether it has ended and is nobody's here to reap. One whose dead parent has not been reaped yet comes to this
/// process only then.
fn is_over(handle: &Handle, held: &[i32]) -> bool {
    if !handle.has_ended() {
        return false;
    }
    handle.reap();
    let own = std::process::id().cast_signed();
    match Stat::read(handle.pid()) {
        Ok(stat) if stat.start == handle.stat.start => stat.parent != own && !held.contains(&stat.parent),
        Ok(_) | Err(_) => true,
    }
}

/// Kills it, and says what to report if it lives on.
fn kill(handle: &Handle) -> Stuck {
    let reason = match handle.kill() {
        Ok(()) => "does not end on KILL: it waits in the kernel".to_owned(),
        Err(error) => format!("may not be signalled: {error}"),
    };
    Stuck { pid: handle.pid(), reason }
}

/// All of the table that belongs to a dead shim: the living, and zombies that are this process's to reap.
fn left(record: &Record, table: &[Stat]) -> Vec<Stat> {
    let own = std::process::id().cast_signed();
    let mut found: Vec<Stat> =
        table.iter().filter(|stat| stat.pid != own && is_seed(record, stat, table, own)).copied().collect();
    for seed in found.clone() {
        for below in process::below(seed.pid, table) {
            if below.pid != own && found.iter().all(|known| known.pid != below.pid) {
                found.push(below);
            }
        }
    }
    found.retain(|stat| !stat.is_dead() || stat.parent == own);
    found
}

fn is_seed(record: &Record, stat: &Stat, table: &[Stat], own: i32) -> bool {
    let is_main = |of: &Stat| {
        record.main.as_ref().is_some_and(|main| main.process.pid == of.pid && main.process.start == of.start)
    };
    if is_main(stat) {
        return true;
    }
    // A session outlives its leader, and its number is not given away before it is empty.
    let in_main_session = record.main.as_ref().is_some_and(|main| main.process.pid == stat.session);
    let leader_is_main_or_gone = table.iter().find(|other| other.pid == stat.session).is_none_or(is_main);
    if stat.parent == own && in_main_session && leader_is_main_or_gone {
        return true;
    }
    process::environment_variable(stat.pid, MARKER).is_some_and(|nonce| nonce == record.nonce.as_bytes())
}
