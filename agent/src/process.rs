//! Processes as the kernel shows them in `/proc`, and the two things that make signalling one safe: its identity and
//! a pidfd.
//!
//! A pid alone names nothing: it is given to another process as soon as the old one is reaped. So a process that is
//! not one's own unreaped child is signalled only through a [`Handle`], which opens the pidfd first and compares the
//! start time then.

use std::{
    fs, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid},
};
use serde::{Deserialize, Serialize};

/// Which process: never two alike, on this machine, over reboots and pid namespaces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// Its pid in its namespace.
    pub pid: i32,
    /// Clock ticks from boot to its start.
    pub start: u64,
    /// The kernel's id of this boot.
    #[serde(default)]
    pub boot: String,
    /// The inode of its pid namespace.
    #[serde(default)]
    pub pid_namespace: u64,
    /// The inode of its pidfd, where the kernel gives each process one (6.9 and later).
    #[serde(default)]
    pub pidfd: Option<u64>,
}

impl Identity {
    /// Of the calling process.
    ///
    /// # Errors
    ///
    /// `/proc` is not there or cannot be read.
    pub fn current() -> io::Result<Self> {
        Self::of(std::process::id().cast_signed())
    }

    /// Of a process that cannot vanish meanwhile: oneself or an unreaped child.
    ///
    /// # Errors
    ///
    /// There is no such process, or `/proc` cannot be read.
    pub fn of(pid: i32) -> io::Result<Self> {
        let fd = pidfd_open(checked(pid)?, PidfdFlags::empty())?;
        Ok(Self {
            pid,
            start: Stat::read(pid)?.start,
            boot: boot_id()?,
            pid_namespace: pid_namespace()?,
            pidfd: pidfd_inode(fd.as_fd()),
        })
    }

    /// Whether it is of this boot and this pid namespace, so that its pid means anything here.
    pub fn is_of_this_boot(&self) -> bool {
        boot_id().is_ok_and(|boot| boot == self.boot)
            && pid_namespace().is_ok_and(|namespace| namespace == self.pid_namespace)
    }

    /// The process, if it is still there (as a zombie too).
    ///
    /// # Errors
    ///
    /// `/proc` cannot be read, or no more files can be opened; not that the process is gone.
    pub fn open(&self) -> io::Result<Option<Handle>> {
        if !self.is_of_this_boot() {
            return Ok(None);
        }
        let Some(handle) = Handle::open(self.pid)? else { return Ok(None) };
        let same_inode = match (self.pidfd, pidfd_inode(handle.as_fd())) {
            (Some(then), Some(now)) => then == now,
            _ => true,
        };
        Ok((handle.stat.start == self.start && same_inode).then_some(handle))
    }
}

/// A process held by a pidfd: a signal through it reaches that process or none.
#[derive(Debug)]
pub struct Handle {
    pidfd: OwnedFd,
    /// What `/proc` said of it while it was held.
    pub stat: Stat,
}

impl Handle {
    /// Opens the pidfd first and reads `/proc` then, so that both speak of one process; none if it is gone.
    ///
    /// # Errors
    ///
    /// `/proc` cannot be read, or no more files can be opened; not that the process is gone.
    pub fn open(pid: i32) -> io::Result<Option<Self>> {
        let pidfd = match pidfd_open(checked(pid)?, PidfdFlags::NONBLOCK) {
            Ok(fd) => fd,
            Err(rustix::io::Errno::SRCH | rustix::io::Errno::INVAL) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let stat = match Stat::read(pid) {
            Ok(stat) => stat,
            Err(error) if vanished(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let handle = Self { pidfd, stat };
        // Reaped between the two calls: the pid may be another's already, and then so is what was read.
        Ok(handle.exists()?.then_some(handle))
    }

    /// Its pid, for showing.
    pub fn pid(&self) -> i32 {
        self.stat.pid
    }

    /// Whether it has ended (reaped or not).
    pub fn has_ended(&self) -> bool {
        let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
        matches!(poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(1))
    }

    /// Ends it at once.
    ///
    /// # Errors
    ///
    /// It may not be signalled by this user; that it is gone already is no error.
    pub fn kill(&self) -> io::Result<()> {
        match pidfd_send_signal(&self.pidfd, rustix::process::Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes its exit from the kernel if it has ended and is this process's child; else does nothing.
    pub fn reap(&self) {
        // ECHILD is the usual answer: only children can be waited for, and there is nothing to do for the others.
        let _not_a_child = waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
    }

    fn exists(&self) -> io::Result<bool> {
        match Stat::read(self.stat.pid) {
            Ok(stat) if stat.start == self.stat.start => {}
            Ok(_) => return Ok(false),
            Err(error) if vanished(&error) => return Ok(false),
            Err(error) => return Err(error),
        }
        // A pidfd of a reaped process has no pid to show any more.
        let shown = fs::read_to_string(format!("/proc/self/fdinfo/{}", std::os::fd::AsRawFd::as_raw_fd(&self.pidfd)))?;
        Ok(shown
            .lines()
            .any(|line| line.strip_prefix("Pid:").is_some_and(|pid| pid.trim() == self.stat.pid.to_string())))
    }
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

impl From<Handle> for OwnedFd {
    fn from(handle: Handle) -> Self {
        handle.pidfd
    }
}

/// The parts of `/proc/<pid>/stat` that are used here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The process.
    pub pid: i32,
    /// The kernel's letter for its state.
    pub state: char,
    /// Its parent.
    pub parent: i32,
    /// Its process group.
    pub group: i32,
    /// Its session.
    pub session: i32,
    /// Clock ticks from boot to its start.
    pub start: u64,
}

impl Stat {
    /// Reads it.
    ///
    /// # Errors
    ///
    /// The process is gone, or `/proc` cannot be read.
    pub fn read(pid: i32) -> io::Result<Self> {
        let bytes = fs::read(format!("/proc/{pid}/stat"))?;
        Self::parse(pid, &String::from_utf8_lossy(&bytes))
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}/stat is not as expected")))
    }

    /// Whether it runs nothing any more.
    pub fn is_dead(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x')
    }

    fn parse(pid: i32, text: &str) -> Option<Self> {
        // The name stands in parentheses and may hold spaces and parentheses itself.
        let rest = &text[text.rfind(')')? + 1..];
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse().ok();
        Some(Self {
            pid,
            state: fields.first()?.chars().next()?,
            parent: number(1)?,
            group: number(2)?,
            session: number(3)?,
            start: fields.get(19)?.parse().ok()?,
        })
    }
}

/// Every process of this pid namespace; those that end meanwhile may be missing.
///
/// # Errors
///
/// `/proc` cannot be read.
pub fn all() -> io::Result<Vec<Stat>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        match Stat::read(pid) {
            Ok(stat) => found.push(stat),
            Err(error) if vanished(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// All that descend from a process, parents before children, itself not among them.
///
/// # Errors
///
/// `/proc` cannot be read.
pub fn descendants(of: i32) -> io::Result<Vec<Stat>> {
    if !Path::new("/proc/thread-self/children").exists() {
        return Ok(below(of, &all()?));
    }
    let mut found: Vec<Stat> = Vec::new();
    let mut next = children(of)?;
    while let Some(pid) = next.pop() {
        match Stat::read(pid) {
            Ok(stat) if found.iter().all(|known| known.pid != pid) => {
                found.push(stat);
                next.extend(children(pid)?);
            }
            Ok(_) => {}
            Err(error) if vanished(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// The value of a variable in the environment a process was started with; none if it is gone, a zombie, or not ours to read.
pub fn environment_variable(pid: i32, name: &str) -> Option<Vec<u8>> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    environment
        .split(|byte| *byte == 0)
        .find_map(|entry| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=").map(<[u8]>::to_vec))
}

/// The descendants of a process in a table of all.
pub(crate) fn below(of: i32, all: &[Stat]) -> Vec<Stat> {
    let mut parents = vec![of];
    let mut found = Vec::new();
    while let Some(parent) = parents.pop() {
        for stat in all.iter().filter(|stat| stat.parent == parent && stat.pid != parent) {
            found.push(*stat);
            parents.push(stat.pid);
        }
    }
    found
}

fn children(of: i32) -> io::Result<Vec<i32>> {
    let mut found = Vec::new();
    let tasks = match fs::read_dir(format!("/proc/{of}/task")) {
        Ok(tasks) => tasks,
        Err(error) if vanished(&error) => return Ok(found),
        Err(error) => return Err(error),
    };
    for task in tasks {
        let Ok(task) = task else { continue };
        match fs::read_to_string(task.path().join("children")) {
            Ok(list) => found.extend(list.split_ascii_whitespace().filter_map(|pid| pid.parse::<i32>().ok())),
            Err(error) if vanished(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// The process ended between being listed and being read.
fn vanished(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

fn checked(pid: i32) -> io::Result<Pid> {
    Pid::from_raw(pid)
        .filter(|_| pid > 0)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, format!("{pid} is no pid")))
}

fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

fn pid_namespace() -> io::Result<u64> {
    Ok(rustix::fs::stat("/proc/self/ns/pid")?.st_ino)
}

/// Before 6.9 all pidfds share one anonymous inode on another file system.
fn pidfd_inode(fd: BorrowedFd<'_>) -> Option<u64> {
    const PIDFS_MAGIC: u64 = 0x5049_4446;
    let magic = rustix::fs::fstatfs(fd).ok()?.f_type;
    (magic.cast_unsigned() == PIDFS_MAGIC).then_some(())?;
    rustix::fs::fstat(fd).ok().map(|stat| stat.st_ino)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_does_not_shift_the_fields() {
        let text = "7 (a) S (b) Z 3 5 6 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1 2";
        assert_eq!(
            Stat::parse(7, text),
            Some(Stat { pid: 7, state: 'Z', parent: 3, group: 5, session: 6, start: 987_654 })
        );
    }

    #[test]
    fn an_identity_finds_its_process_and_no_other() {
        let mut child = Command::new("sleep").arg("60").stdout(Stdio::null()).spawn().expect("sleep starts");
        let identity = Identity::of(child.id().cast_signed()).expect("read");
        assert!(identity.open().expect("open").is_some());
        let earlier = Identity { start: identity.start - 1, ..identity.clone() };
        assert!(earlier.open().expect("open").is_none(), "another start time is another process");
        let other_boot = Identity { boot: "not this one".into(), ..identity.clone() };
        assert!(other_boot.open().expect("open").is_none(), "a pid of another boot means nothing");
        let handle = identity.open().expect("open").expect("alive");
        handle.kill().expect("kill");
        child.wait().expect("wait");
        assert!(handle.has_ended());
        assert!(identity.open().expect("open").is_none(), "reaped");
    }

    #[test]
    fn a_child_is_among_the_descendants_by_either_way_of_looking() {
        let mut child = Command::new("sleep").arg("60").stdout(Stdio::null()).spawn().expect("sleep starts");
        let (own, pid) = (std::process::id().cast_signed(), child.id().cast_signed());
        let listed = descendants(own).expect("listed").iter().any(|stat| stat.pid == pid);
        let scanned = below(own, &all().expect("table")).iter().any(|stat| stat.pid == pid);
        child.kill().expect("kill");
        child.wait().expect("wait");
        assert!(listed && scanned);
    }
}
