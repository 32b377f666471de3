//! The shim: a small process between the agent and one process of a replica.
//!
//! It owns what must outlive the agent: the pipes and the log, the exit status, the stop procedure and a socket. It is
//! the same binary as the agent and branches off before any async runtime starts: one thread, `poll`, and little
//! memory, since there is one of it for each replica.
//!
//! ```text
//! agent                                    shim                              process
//! lock the record, spawn     ----------->  fd 0 record, fd 1 socketpair
//! run {definition}           ----------->  bind the socket, note itself
//!                            <-- bound     take the definition
//!                                          fork, session, user, exec  ---->  main
//!                            <-- started   note it
//! (may die, come back, ask by the socket)  logs, requests
//!                                          main ends, or stop: end all below it until no child is left
//!                                          write the exit file
//!                            <-- exited    end
//! ```
//!
//! The definition waits in the socketpair until the shim is bound. An agent that dies before it has sent it leaves no
//! process: the shim reads the end of the socketpair and ends. One that dies later leaves a shim that is found by its
//! locked record.

mod child;
mod connection;
mod ending;
mod log;
pub(crate) mod record;
mod supervisor;
mod sys;
pub mod wire;

use std::{
    env,
    fs::File,
    io,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
    path::PathBuf,
    process::ExitCode,
};

use jiff::Timestamp;
use nix::{
    sys::{
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
        stat::{Mode, umask},
    },
    unistd::{dup2_stdin, dup2_stdout, setsid},
};

use self::{
    connection::Connection,
    record::{Entry, Files, OwnRecord, Record},
    supervisor::Supervisor,
    wire::{Definition, Main, PROTOCOL, Reply, Request, ShimId, StartFailure, StartFailureKind},
};
use crate::process::Identity;

/// How many arguments follow the ones that select the shim: run directory, uid, attempt.
const ARGUMENTS: usize = 3;

/// Runs the shim of one process until nothing of that process is left. To be called first thing in `main`, before any
/// thread exists, when the agent's [`ShimProgram`](crate::shims::ShimProgram) arguments say so.
#[must_use]
pub fn main() -> ExitCode {
    sys::close_inherited();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The agent gives /dev/null for stderr: this is for a person who starts a shim by hand.
            eprintln!("orion shim: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A shim that is bound and has no process yet.
struct Ready {
    id: ShimId,
    files: Files,
    dir: OwnedFd,
    identity: Identity,
    launch: Record,
    record: OwnRecord,
    listener: UnixListener,
    agent: Connection,
    signals: SignalFd,
    umask: Mode,
}

fn run() -> io::Result<()> {
    let mut ready = prepare()?;
    let started = ready.definition().and_then(|definition| {
        let started = ready.start(&definition)?;
        Ok((started, definition.stop, definition.logs))
    });
    match started {
        Ok(((main, stdout, stderr), stop, logs)) => {
            sys::trim_memory();
            Supervisor::new(ready, main, [stdout, stderr], stop, logs)?.run()
        }
        Err(failure) => ready.fail(failure),
    }
}

fn prepare() -> io::Result<Ready> {
    let (dir, id) = arguments().ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, "an internal command of the agent's: RUN_DIR UID ATTEMPT")
    })?;
    // A session of its own: the terminal's INT and HUP are the agent's business. Fails if it leads one already.
    let _leads_one = setsid();
    rustix::thread::set_name(c"orion-shim")?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let umask = umask(Mode::from_bits_truncate(0o077));
    SigSet::all().thread_set_mask()?;
    let signals = SignalFd::with_flags(
        &SigSet::from_iter([Signal::SIGCHLD, Signal::SIGTERM]),
        SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC,
    )?;
    let (record, agent) = take_standard_descriptors()?;
    let files = Files::new(&dir, &id.uid);
    let (record, launch) = OwnRecord::take(record, &files, id.attempt)?;
    if launch.id != id {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("the record is of {}, not of {id}", launch.id)));
    }
    let dir = record::open_dir(&dir)?;
    // The lock is held, so whatever bound it before is dead.
    unlink_socket(&dir, &files);
    let listener = UnixListener::bind(format!("/proc/self/fd/{}/{}", dir.as_raw_fd(), files.socket()))?;
    listener.set_nonblocking(true)?;
    let identity = Identity::current()?;
    record.append(&Entry::Shim { process: identity.clone() })?;
    Ok(Ready { id, files, dir, identity, launch, record, listener, agent: Connection::new(agent), signals, umask })
}

fn arguments() -> Option<(PathBuf, ShimId)> {
    let mut last: Vec<_> = env::args_os().collect();
    let mut last = last.split_off(last.len().checked_sub(ARGUMENTS)?).into_iter();
    let dir = PathBuf::from(last.next()?);
    let uid = last.next()?.into_string().ok().filter(|uid| record::is_file_name(uid))?;
    let attempt = last.next()?.to_str()?.parse().ok()?;
    dir.is_absolute().then_some((dir, ShimId { uid, attempt }))
}

/// Moves record and socketpair to descriptors that close on exec, so that the process inherits neither the lock nor the
/// agent, and leaves /dev/null in their places.
fn take_standard_descriptors() -> io::Result<(OwnedFd, UnixStream)> {
    let record = io::stdin().as_fd().try_clone_to_owned()?;
    let agent = io::stdout().as_fd().try_clone_to_owned()?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    dup2_stdin(null.as_fd())?;
    dup2_stdout(null.as_fd())?;
    Ok((record, UnixStream::from(agent)))
}

/// A socket left behind is removed by the next shim of the replica, or when the record is forgotten.
fn unlink_socket(dir: &OwnedFd, files: &Files) {
    let _not_there = rustix::fs::unlinkat(dir, files.socket(), rustix::fs::AtFlags::empty());
}

impl Ready {
    /// Says that it is bound, and waits for what to run. An agent that goes away before it has said so is a failure like
    /// others: nothing is started, and the record says it.
    fn definition(&mut self) -> Result<Box<Definition>, StartFailure> {
        let failure = |kind, message: String| Err(StartFailure { kind, message });
        let bound = Reply::Bound { protocol: PROTOCOL, shim: self.identity.clone() };
        let mut heard = self.agent.send_now(&bound).and_then(|()| self.agent.wait_for_request());
        loop {
            match heard {
                Ok(Some(Request::Run { definition })) => return Ok(definition),
                Ok(Some(_)) => heard = self.agent.wait_for_request(),
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    return failure(
                        StartFailureKind::BadDefinition,
                        format!("the shim does not understand the definition: {error}"),
                    );
                }
                Ok(None) | Err(_) => {
                    return failure(
                        StartFailureKind::Transient,
                        "the agent ended before it had said what to run".to_owned(),
                    );
                }
            }
        }
    }

    fn start(&self, definition: &Definition) -> Result<(Main, OwnedFd, OwnedFd), StartFailure> {
        let started = child::start(definition, &self.launch.nonce, self.umask)?;
        let noted = Identity::of(started.pid).and_then(|process| {
            let main = Main { process, at: Timestamp::now() };
            self.record.append(&Entry::Started { main: main.clone() })?;
            Ok(main)
        });
        match noted {
            Ok(main) => Ok((main, started.stdout, started.stderr)),
            Err(error) => {
                // What is not in the record must not run: a later agent could not tell what to look for.
                let undone = undo(started.pid).err();
                let message = format!("could not note the process in its record: {}", undone.unwrap_or(error));
                Err(StartFailure { kind: StartFailureKind::Transient, message })
            }
        }
    }

    /// The record says it first: if this agent is gone, the next one need not wonder whether something runs.
    fn fail(mut self, failure: StartFailure) -> io::Result<()> {
        self.record.append(&Entry::Failed { failure: failure.clone() })?;
        unlink_socket(&self.dir, &self.files);
        // An agent that is gone is no matter.
        let _told = self.agent.send_now(&Reply::Failed { failure });
        Ok(())
    }
}

/// Ends a process that has just been started.
fn undo(main: i32) -> io::Result<()> {
    sys::signal_group(main, crate::signal::Signal::KILL)?;
    rustix::process::waitpid(rustix::process::Pid::from_raw(main), rustix::process::WaitOptions::empty())?;
    Ok(())
}
