//! A test's own world: a folder, the processes in it, and the reckoning at its end.

use std::{
    cell::Cell,
    collections::BTreeSet,
    fs,
    io::Read,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU16, AtomicU32, Ordering},
    thread,
    time::Duration,
};

use rustix::process::Signal;
use tempfile::TempDir;

use super::{
    Api,
    daemon::Daemon,
    processes::{self, Process},
    waiting::eventually,
};

/// How long what was killed or told to end may take to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// How long one command may take.
const COMMAND_ENDS_WITHIN: Duration = Duration::from_secs(90);

static WORLDS: AtomicU32 = AtomicU32::new(0);

/// Everything of one test. Its end must be told: [`World::end`].
pub(crate) struct World {
    folder: TempDir,
    marker: String,
    ended: Cell<bool>,
}

/// A control plane and where it listens.
pub(crate) struct Server {
    pub(crate) daemon: Daemon,
    pub(crate) address: SocketAddr,
}

/// A command that has ended.
#[derive(Debug)]
pub(crate) struct Ran {
    /// Its exit status; -1 where a signal ended it.
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl World {
    /// An empty one with a folder `work` for services.
    pub(crate) fn new() -> Self {
        let number = WORLDS.fetch_add(1, Ordering::Relaxed);
        let marker = format!("orion-whole-{}-{number}-", std::process::id());
        let folder = tempfile::Builder::new().prefix(&marker).tempdir().expect("a folder");
        fs::create_dir(folder.path().join("work")).expect("a folder");
        Self { folder, marker, ended: Cell::new(false) }
    }

    /// A path in it.
    pub(crate) fn path(&self, within: &str) -> PathBuf {
        self.folder.path().join(within)
    }

    /// Writes a file and tells its path.
    pub(crate) fn write(&self, within: &str, text: &str) -> PathBuf {
        let path = self.path(within);
        fs::write(&path, text).expect("the folder can be written");
        path
    }

    /// Starts a server on a free port, with its state in the folder `server`.
    pub(crate) fn server(&self) -> Server {
        self.server_at(SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())), "server")
    }

    /// Starts a server at an address, with its state in a folder.
    pub(crate) fn server_at(&self, listen: SocketAddr, data_dir: &str) -> Server {
        let data_dir = self.path(data_dir);
        let mut command = self.command();
        command.args(["server", "--listen", &listen.to_string(), "--data-dir"]).arg(data_dir);
        let mut daemon = Daemon::start("server", &mut command);
        let address = said_address(&mut daemon);
        Server { daemon, address }
    }

    /// Starts an agent whose processes end with it when it is told to end, in the folder named like it.
    pub(crate) fn agent(&self, server: &Server, name: &str) -> Daemon {
        let mut command = self.command();
        command.args(["agent", "--server", &server.url(), "--name", name, "--stop-all"]);
        command.arg("--data-dir").arg(self.path(name)).arg("--workspace-root").arg(self.path("work"));
        Daemon::start(name, &mut command)
    }

    /// Starts `orion up` with these arguments.
    pub(crate) fn up(&self, arguments: &[&str]) -> Server {
        let mut daemon = Daemon::start("up", self.command().arg("up").args(arguments));
        let address = said_address(&mut daemon);
        Server { daemon, address }
    }

    /// Starts a command that goes on, as `get --watch` does.
    pub(crate) fn follow(&self, server: &Server, arguments: &[&str]) -> Daemon {
        Daemon::start(arguments[0], self.command().args(["--server", &server.url()]).args(arguments))
    }

    /// Runs a command against a server to its end.
    pub(crate) fn orion(&self, server: &Server, arguments: &[&str]) -> Ran {
        self.run(self.command().args(["--server", &server.url()]).args(arguments))
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, command: &mut Command) -> Ran {
        let piped = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().expect("the binary starts");
        let stdout = read_all(child.stdout.take().expect("is piped"));
        let stderr = read_all(child.stderr.take().expect("is piped"));
        let status = eventually(&format!("{command:?} ends"), COMMAND_ENDS_WITHIN, || {
            child.try_wait().expect("a child can be waited for").ok_or_else(|| "it runs".to_owned())
        });
        let read = |text: thread::JoinHandle<String>| text.join().expect("was read");
        Ran { status: status.code().unwrap_or(-1), stdout: read(stdout), stderr: read(stderr) }
    }

    /// The binary, in this world's folder and with nothing of Orion's in its environment but what it logs.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_orion"));
        let own = |name: &str| name.starts_with("ORION_") && name != "ORION_LOG";
        for (name, _) in std::env::vars().filter(|(name, _)| own(name)) {
            command.env_remove(name);
        }
        command.current_dir(self.folder.path()).env("TMPDIR", self.folder.path());
        command
    }

    /// Everything of this world that is alive: daemons, shims, services and what they started.
    pub(crate) fn processes(&self) -> Vec<Process> {
        processes::marked(&self.marker)
    }

    /// The live main processes of a service or job, and what has lost the parent it had within one.
    pub(crate) fn processes_of(&self, service: &str) -> Vec<Process> {
        let all: Vec<_> = self.processes().into_iter().filter(|process| process.is_of(service)).collect();
        let pids: BTreeSet<_> = all.iter().map(|process| process.pid).collect();
        all.into_iter().filter(|process| !pids.contains(&process.parent)).collect()
    }

    /// Their pids, in order.
    pub(crate) fn pids_of(&self, service: &str) -> Vec<u32> {
        let mut pids: Vec<_> = self.processes_of(service).iter().map(|process| process.pid).collect();
        pids.sort_unstable();
        pids
    }

    /// Whether a service has so many live processes.
    pub(crate) fn counts(&self, service: &str, expected: usize) -> Result<Vec<u32>, String> {
        let pids = self.pids_of(service);
        if pids.len() == expected { Ok(pids) } else { Err(format!("{service} has the processes {pids:?}")) }
    }

    /// `kill -9` of one of its processes.
    pub(crate) fn kill(&self, pid: u32) {
        let process = self.processes().into_iter().find(|process| process.pid == pid);
        processes::kill(&process.expect("is alive"), &self.marker);
    }

    /// The reckoning: agents and then servers are told to end, and nothing may be left.
    #[track_caller]
    pub(crate) fn end(self, daemons: impl IntoIterator<Item = Daemon>) {
        for mut daemon in daemons {
            daemon.signal(Signal::TERM);
            let status = daemon.ends();
            assert!(status.success(), "an orderly end: {status:?}");
        }
        self.nothing_is_left();
        self.ended.set(true);
    }

    #[track_caller]
    pub(crate) fn nothing_is_left(&self) {
        eventually("nothing is left", GONE_WITHIN, || {
            let left = self.processes();
            if left.is_empty() { Ok(()) } else { Err(listed(&left)) }
        });
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let left = self.processes();
        left.iter().for_each(|process| processes::kill(process, &self.marker));
        if !thread::panicking() {
            assert!(left.is_empty(), "processes were left behind: {}", listed(&left));
            assert!(self.ended.get(), "a test tells its world's end");
        }
    }
}

impl Server {
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn api(&self) -> Api {
        Api(self.address)
    }
}

impl Ran {
    /// Its output, where it ended well.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.status, 0, "{self:#?}");
        self.stdout
    }

    /// Both outputs, where it ended with this status.
    #[track_caller]
    pub(crate) fn fails_with(self, status: i32) -> String {
        assert_eq!(self.status, status, "{self:#?}");
        assert!(!self.stderr.is_empty(), "a failure is told on stderr: {self:#?}");
        format!("{}{}", self.stdout, self.stderr)
    }

    /// Its output as JSON.
    #[track_caller]
    pub(crate) fn json(self) -> serde_json::Value {
        let text = self.ok();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}

/// A port of loopback that nobody listens on, outside of what the system hands out by itself: a server that is away
/// finds it free when it comes back.
pub(crate) fn free_port() -> u16 {
    const FIRST: u16 = 10_000;
    const COUNT: u16 = 9_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = std::process::id().wrapping_mul(37) % u32::from(COUNT);
    let start = u16::try_from(start).expect("below COUNT");
    let candidates = (0..COUNT).map(|_| FIRST + (start + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT);
    let mut free = candidates.filter(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok());
    free.next().expect("a free port")
}

#[track_caller]
fn said_address(daemon: &mut Daemon) -> SocketAddr {
    daemon.says("where it listens", |line| line.strip_prefix("orion server listening on http://")?.parse().ok())
}

fn read_all(mut from: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is told all the same.
        drop(from.read_to_end(&mut bytes));
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn listed(processes: &[Process]) -> String {
    processes.iter().map(|process| format!("\n  {} {}", process.pid, process.command)).collect()
}

/// Copies a folder of files.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("is there") {
        let entry = entry.expect("can be read");
        fs::copy(entry.path(), to.join(entry.file_name())).expect("can be copied");
    }
}
