//! How a process and all below it come to their end.
//!
//! ```text
//! Running --stop--------> Asked --timeout--> Killing
//!    |                      |                   |
//!    +--main ends, some left+   main and all    |
//!    |                      |   below it gone   |
//!    +--main ends alone-----+-------------------+--> Settled: waitpid(-1) said ECHILD
//! ```
//!
//! The shim is a subreaper, so whatever descends from the process becomes its child at last, and ECHILD is the proof
//! that nothing is left. The main process stays a zombie until it is the only child: as long as it is not reaped, its
//! group's number is its own and the whole group can be signalled at once. All others are signalled by pidfd.

use std::{
    io,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use rustix::process::{Pid, WaitId, WaitIdOptions, WaitOptions, waitid, waitpid};

use super::{
    sys,
    wire::{Exit, KillMode, StopPolicy, Stuck},
};
use crate::{
    process::{self, Handle, Stat},
    signal::Signal,
};

/// Between two rounds of killing, doubling.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What lives this long after KILL is reported as stuck.
const STUCK_AFTER: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    Asked { kill_at: Instant },
    Killing { since: Instant, again_at: Instant, pause: Duration },
    Settled,
}

/// Something that whoever listens is to be told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    /// The main process has ended; below it, so many have not.
    MainEnded { exit: Exit, left: usize },
    /// It is being ended, or what does not end has changed.
    Stopping,
}

/// The end of one process, from its first hint to its proof.
#[derive(Debug)]
pub(super) struct Ending {
    main: i32,
    main_reaped: bool,
    main_exit: Option<Exit>,
    phase: Phase,
    stop_asked: bool,
    /// The group has had the first signal.
    group_told: bool,
    stuck: Vec<Stuck>,
    news: Vec<News>,
    /// The last look failed.
    look_again_at: Option<Instant>,
}

impl Ending {
    pub(super) fn new(main: i32) -> Self {
        Self {
            main,
            main_reaped: false,
            main_exit: None,
            phase: Phase::Running,
            stop_asked: false,
            group_told: false,
            stuck: Vec::new(),
            news: Vec::new(),
            look_again_at: None,
        }
    }

    /// Whether it has begun.
    pub(super) fn has_begun(&self) -> bool {
        self.phase != Phase::Running
    }

    /// What has been told to end and does not.
    pub(super) fn stuck(&self) -> &[Stuck] {
        &self.stuck
    }

    /// What has happened since the last call.
    pub(super) fn take_news(&mut self) -> Vec<News> {
        std::mem::take(&mut self.news)
    }

    /// How the main process ended, once nothing is left.
    pub(super) fn settled(&self) -> Option<&Exit> {
        self.main_exit.as_ref().filter(|_| self.phase == Phase::Settled)
    }

    /// When [`Ending::look`] has something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        let phase = match self.phase {
            Phase::Running | Phase::Settled => None,
            Phase::Asked { kill_at } => Some(kill_at),
            Phase::Killing { again_at, .. } => Some(again_at),
        };
        phase.into_iter().chain(self.look_again_at).min()
    }

    /// Signals the main process, if it is still there to be signalled.
    pub(super) fn signal_main(&self, signal: Signal) -> io::Result<()> {
        if self.main_exit.is_some() || self.main_reaped {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the main process has ended"));
        }
        sys::signal_child(self.main, signal)
    }

    /// Begins to end it. Again: nothing.
    pub(super) fn stop(&mut self, policy: &StopPolicy, now: Instant) {
        self.stop_asked |= self.main_exit.is_none();
        if self.phase != Phase::Running {
            return;
        }
        self.become_asked(policy, now);
        // CONT, since one that was paused could not even hear it.
        for signal in [policy.signal, Signal::CONT] {
            // One that may not be signalled is reported when the time comes to kill it.
            let _refused = match policy.kill_mode {
                KillMode::Group => sys::signal_group(self.main, signal),
                KillMode::Process => sys::signal_child(self.main, signal),
            };
        }
        self.group_told = policy.kill_mode == KillMode::Group;
    }

    /// Ends it without asking.
    pub(super) fn kill(&mut self, policy: &StopPolicy, now: Instant) {
        self.stop_asked |= self.main_exit.is_none();
        if !matches!(self.phase, Phase::Killing { .. } | Phase::Settled) {
            self.become_killing(now);
            self.look(policy, now);
        }
    }

    /// Children may have ended, or a time may have come. What keeps it from looking now, such as too many open files,
    /// ends neither the shim nor the process: it looks again.
    pub(super) fn look(&mut self, policy: &StopPolicy, now: Instant) {
        let looked = self.pass_time(now).and_then(|()| self.children_changed(policy, now));
        self.look_again_at = looked.is_err().then(|| now + LONGEST_PAUSE);
    }

    fn children_changed(&mut self, policy: &StopPolicy, now: Instant) -> io::Result<()> {
        self.notice_main(policy, now)?;
        self.reap_others()?;
        self.try_to_settle()
    }

    fn pass_time(&mut self, now: Instant) -> io::Result<()> {
        match self.phase {
            Phase::Asked { kill_at } if now >= kill_at => {
                self.become_killing(now);
                self.kill_round(now)
            }
            Phase::Killing { again_at, .. } if now >= again_at => self.kill_round(now),
            Phase::Running | Phase::Asked { .. } | Phase::Killing { .. } | Phase::Settled => Ok(()),
        }
    }

    fn become_asked(&mut self, policy: &StopPolicy, now: Instant) {
        // A timeout beyond what the clock can count is none.
        let kill_at = now.checked_add(policy.timeout).unwrap_or(now + Duration::from_secs(u64::from(u32::MAX)));
        self.phase = Phase::Asked { kill_at };
        self.news.push(News::Stopping);
    }

    fn become_killing(&mut self, now: Instant) {
        self.phase = Phase::Killing { since: now, again_at: now, pause: FIRST_PAUSE };
        self.news.push(News::Stopping);
    }

    /// Looks whether the main process has ended, and leaves it unreaped.
    fn notice_main(&mut self, policy: &StopPolicy, now: Instant) -> io::Result<()> {
        if self.main_exit.is_some() {
            return Ok(());
        }
        let Some(status) = waitid(
            WaitId::Pid(pid(self.main)?),
            WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT,
        )?
        else {
            return Ok(());
        };
        let exit = Exit {
            code: status.exit_status(),
            signal: status.terminating_signal().and_then(Signal::from_number),
            started: None,
            at: Timestamp::now(),
            stopped: self.stop_asked,
            dropped_lines: 0,
        };
        self.main_exit = Some(exit.clone());
        let left = self.others()?;
        self.news.push(News::MainEnded { exit, left: left.len() });
        if !left.is_empty() && !matches!(self.phase, Phase::Killing { .. }) {
            if self.phase == Phase::Running {
                self.become_asked(policy, now);
            }
            self.ask_others(&left, policy.signal)?;
        }
        Ok(())
    }

    /// What is left without its main process gets the first signal, unless its group has had it.
    fn ask_others(&mut self, left: &[Stat], signal: Signal) -> io::Result<()> {
        for stat in left.iter().filter(|stat| !(self.group_told && stat.group == self.main)) {
            if let Some(handle) = held(stat)? {
                // What may not be signalled is found again, and reported, when it is killed.
                let _refused = sys::signal_handle(&handle, signal);
                let _refused = sys::signal_handle(&handle, Signal::CONT);
            }
        }
        Ok(())
    }

    fn reap_others(&self) -> io::Result<()> {
        let own = std::process::id().cast_signed();
        for stat in process::descendants(own)? {
            if stat.parent == own && stat.is_dead() && stat.pid != self.main {
                waitpid(Some(pid(stat.pid)?), WaitOptions::NOHANG)?;
            }
        }
        Ok(())
    }

    /// With the main process ended and no other child seen, asks the kernel for the proof.
    fn try_to_settle(&mut self) -> io::Result<()> {
        if self.main_exit.is_none() || self.phase == Phase::Settled || !self.others()?.is_empty() {
            return Ok(());
        }
        if !self.main_reaped {
            self.main_reaped = true;
            waitpid(Some(pid(self.main)?), WaitOptions::NOHANG)?;
        }
        loop {
            match waitpid(None, WaitOptions::NOHANG) {
                Err(rustix::io::Errno::CHILD) => break,
                // One that the listing missed is alive: it is found by the next round.
                Ok(None) => return Ok(()),
                Ok(Some(_reaped)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.phase = Phase::Settled;
        self.stuck.clear();
        Ok(())
    }

    /// All descendants that live, but the main process.
    fn others(&self) -> io::Result<Vec<Stat>> {
        let mut found = process::descendants(std::process::id().cast_signed())?;
        found.retain(|stat| stat.pid != self.main && !stat.is_dead());
        Ok(found)
    }

    fn kill_round(&mut self, now: Instant) -> io::Result<()> {
        let Phase::Killing { since, pause, .. } = self.phase else { return Ok(()) };
        self.phase = Phase::Killing { since, again_at: now + pause, pause: (pause * 2).min(LONGEST_PAUSE) };
        let mut stuck = Vec::new();
        let late = now.duration_since(since) >= STUCK_AFTER;
        if !self.main_reaped {
            // Some of the group may be another user's by now; those are told one by one below.
            let refused = sys::signal_group(self.main, Signal::KILL).err();
            if self.main_exit.is_none() && (late || refused.as_ref().is_some_and(is_refusal)) {
                stuck.extend(stuck_reason(self.main, refused.as_ref()));
            }
        }
        for stat in self.others()? {
            let Some(handle) = held(&stat)? else { continue };
            let refused = sys::signal_handle(&handle, Signal::KILL).err();
            if refused.as_ref().is_some_and(is_refusal) || (late && !handle.has_ended()) {
                stuck.extend(stuck_reason(stat.pid, refused.as_ref()));
            }
        }
        if stuck != self.stuck {
            self.stuck = stuck;
            self.news.push(News::Stopping);
        }
        Ok(())
    }
}

/// The process of that entry, held by a pidfd, if it is still that one.
fn held(stat: &Stat) -> io::Result<Option<Handle>> {
    Ok(Handle::open(stat.pid)?.filter(|handle| handle.stat.start == stat.start))
}

fn is_refusal(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EPERM)
}

fn stuck_reason(pid: i32, refused: Option<&io::Error>) -> Option<Stuck> {
    let reason = match refused {
        Some(error) if is_refusal(error) => "may not be signalled: it runs as another user".to_owned(),
        Some(error) if error.raw_os_error() == Some(libc::ESRCH) => return None,
        Some(error) => format!("cannot be signalled: {error}"),
        None => "does not end on KILL: it waits in the kernel".to_owned(),
    };
    Some(Stuck { pid, reason })
}

fn pid(raw: i32) -> io::Result<Pid> {
    Pid::from_raw(raw).ok_or_else(|| io::ErrorKind::InvalidInput.into())
}
