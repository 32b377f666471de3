//! Processes as the kernel lists them.

use std::{collections::BTreeMap, fs, os::unix::ffi::OsStrExt, path::Path};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// A live process of a test.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) parent: u32,
    pub(crate) command: String,
    pub(crate) environment: BTreeMap<String, String>,
}

impl Process {
    /// Whether it is of a service or job: those processes know what they are, and shims do not.
    pub(crate) fn is_of(&self, service: &str) -> bool {
        self.environment.get("ORION_SERVICE_NAME").is_some_and(|name| name == service)
    }

    pub(crate) fn node(&self) -> &str {
        self.environment.get("ORION_NODE_NAME").map_or("", String::as_str)
    }
}

/// Every live process that has the marker in its command line, environment, folder or first file descriptors. One that
/// is dead and only waits to be reaped is not alive.
pub(super) fn marked(marker: &str) -> Vec<Process> {
    let entries = fs::read_dir("/proc").expect("/proc is there");
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| read(pid, marker)).collect()
}

/// Ends a process of a test for good; one that is gone already, or is no longer the test's, is left alone.
pub(super) fn kill(process: &Process, marker: &str) {
    let pid = i32::try_from(process.pid).ok().and_then(Pid::from_raw).expect("a pid");
    let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else { return };
    // The pidfd names one process for ever, so what is read of /proc now is read of that one or of none.
    if read(process.pid, marker).is_some() {
        // An error means that it has ended by itself in this moment.
        pidfd_send_signal(pidfd, Signal::KILL).unwrap_or_default();
    }
}

fn read(pid: u32, marker: &str) -> Option<Process> {
    let folder = format!("/proc/{pid}");
    let folder = Path::new(&folder);
    let command = fs::read(folder.join("cmdline")).ok()?;
    let environment = fs::read(folder.join("environ")).unwrap_or_default();
    let links = ["cwd", "fd/0", "fd/1", "fd/2"].map(|link| fs::read_link(folder.join(link)).unwrap_or_default());
    let links = links.iter().map(|link| link.as_os_str().as_bytes());
    let texts = [command.as_slice(), environment.as_slice()].into_iter().chain(links);
    let is_marked = texts.into_iter().any(|text| contains(text, marker.as_bytes()));
    let parent = parent_of_living(folder)?;
    if !is_marked || pid == std::process::id() {
        return None;
    }
    let command = String::from_utf8_lossy(&command).replace('\0', " ").trim_end().to_owned();
    let environment = String::from_utf8_lossy(&environment)
        .split('\0')
        .filter_map(|variable| variable.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    Some(Process { pid, parent, command, environment })
}

/// The parent of a process that is not dead.
fn parent_of_living(folder: &Path) -> Option<u32> {
    let stat = fs::read_to_string(folder.join("stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?;
    fields.next()?.parse().ok().filter(|_| !matches!(state, "Z" | "X"))
}

fn contains(text: &[u8], words: &[u8]) -> bool {
    text.windows(words.len()).any(|window| window == words)
}
