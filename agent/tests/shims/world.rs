//! A run directory of one test, what is started in it, and the proof that nothing of it is left.

use std::{
    fs,
    future::Future,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use futures::StreamExt;
use orion_agent::{
    logs::{LogLine, LogQuery, LogReader, LogStream},
    process::{self, Handle, Stat},
    shims::{
        Definition, End, Exit, KillMode, Launch, LogSettings, Main, Shim, ShimId, ShimProgram, Shims, State, StopPolicy,
    },
    signal::Signal,
};

/// Longer than anything takes on a loaded machine; a condition that holds ends the wait at once.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) struct World {
    dir: tempfile::TempDir,
    /// Begins every nonce of this world.
    name: String,
    launched: AtomicU32,
}

impl World {
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("orion-shims-").tempdir().expect("tempdir");
        let name = dir.path().file_name().and_then(|name| name.to_str()).expect("is text").to_owned();
        Self { dir, name, launched: AtomicU32::new(0) }
    }

    /// The world of a helper process: the same directory, nothing removed at the end.
    pub(crate) fn run_dir(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn shims(&self) -> Shims {
        Shims::new(self.run_dir(), program()).expect("the run directory can be made")
    }

    pub(crate) fn launch(&self, uid: &str, attempt: u32, argv: &[&str]) -> Launch {
        let nonce = format!("{}-{}", self.name, self.launched.fetch_add(1, Ordering::Relaxed));
        launch(self.dir.path(), nonce, uid, attempt, argv)
    }

    /// A script for `sh`, with `$DIR` the world's directory.
    pub(crate) fn script(&self, uid: &str, script: &str) -> Launch {
        self.launch(uid, 1, &["sh", "-c", script])
    }

    pub(crate) fn touch(&self, name: &str) {
        fs::write(self.path(name), "").expect("writes");
    }

    pub(crate) fn log_dir(&self, uid: &str) -> PathBuf {
        self.dir.path().join("logs").join(uid)
    }

    /// All lines so far.
    pub(crate) async fn log(&self, uid: &str) -> Vec<LogLine> {
        LogReader::new(self.log_dir(uid)).read(LogQuery::default()).map(|line| line.expect("reads")).collect().await
    }

    /// What the process itself has written so far.
    pub(crate) async fn output(&self, uid: &str) -> Vec<String> {
        self.log(uid).await.into_iter().filter(|line| line.stream != LogStream::Orion).map(|line| line.text).collect()
    }

    /// Waits for a line of the process.
    pub(crate) async fn line(&self, uid: &str, wanted: &str) {
        eventually(wanted, async || self.output(uid).await.iter().any(|text| text == wanted)).await;
    }

    /// Everything alive that this world has started: shims by their run directory, processes by their marker.
    pub(crate) fn alive(&self) -> Vec<Stat> {
        let run_dir = self.run_dir();
        let mut all = process::all().expect("reads /proc");
        all.retain(|stat| !stat.is_dead() && (self.is_marked(stat) || is_shim_of(stat, &run_dir)));
        all
    }

    fn is_marked(&self, stat: &Stat) -> bool {
        process::environment_variable(stat.pid, "ORION_SHIM")
            .is_some_and(|nonce| nonce.starts_with(self.name.as_bytes()))
    }

    /// Waits until nothing is left, and says what is if something stays.
    pub(crate) async fn nothing_is_left(&self) {
        eventually("nothing is left", async || self.alive().is_empty()).await;
    }
}

impl Drop for World {
    /// The reaper of failed tests; a test that passed must have left nothing.
    fn drop(&mut self) {
        let left = self.alive();
        for stat in &left {
            if let Ok(Some(handle)) = Handle::open(stat.pid) {
                handle.kill().expect("is ours");
            }
        }
        assert!(left.is_empty() || std::thread::panicking(), "left behind: {left:?}");
    }
}

fn is_shim_of(stat: &Stat, run_dir: &Path) -> bool {
    let Ok(command) = fs::read(format!("/proc/{}/cmdline", stat.pid)) else { return false };
    let arguments: Vec<&[u8]> = command.split(|byte| *byte == 0).collect();
    arguments.contains(&&b"shim"[..]) && arguments.contains(&run_dir.as_os_str().as_encoded_bytes())
}

pub(crate) fn program() -> ShimProgram {
    ShimProgram::this_binary(["shim"])
}

pub(crate) fn launch(dir: &Path, nonce: String, uid: &str, attempt: u32, argv: &[&str]) -> Launch {
    let env = [("PATH", "/usr/local/bin:/usr/bin:/bin"), ("DIR", dir.to_str().expect("is text"))];
    Launch {
        id: ShimId { uid: uid.to_owned(), attempt },
        nonce,
        definition: Definition {
            argv: argv.iter().map(|&word| word.to_owned()).collect(),
            env: env.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
            cwd: dir.to_owned(),
            user: None,
            stop: policy(Duration::from_secs(10), KillMode::Group),
            logs: LogSettings { dir: dir.join("logs").join(uid), max_files: 3, max_file_size: 1 << 20 },
        },
    }
}

pub(crate) fn policy(timeout: Duration, kill_mode: KillMode) -> StopPolicy {
    StopPolicy { signal: Signal::TERM, timeout, kill_mode }
}

/// The main process of a shim that runs.
pub(crate) fn running(shim: &Shim) -> Main {
    match shim.state() {
        State::Running { main } => main,
        other => panic!("not running: {other:?}"),
    }
}

pub(crate) async fn ended(shim: &Shim) -> End {
    tokio::time::timeout(DEADLINE, shim.ended()).await.expect("ends in time").expect("the shims are not shut down")
}

pub(crate) async fn exited(shim: &Shim) -> Exit {
    match ended(shim).await {
        End::Exited(exit) => exit,
        other => panic!("did not exit: {other:?}"),
    }
}

/// Stops it and checks that it has gone.
pub(crate) async fn stop(shim: &Shim) -> Exit {
    shim.stop().await.expect("takes the stop");
    exited(shim).await
}

/// Waits until a condition holds.
pub(crate) async fn eventually<Holds: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> Holds) {
    let holds = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, holds).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// Whether a process runs; a zombie does not.
pub(crate) fn is_alive(pid: i32) -> bool {
    Stat::read(pid).is_ok_and(|stat| !stat.is_dead())
}

/// Kills a process this test owns the way a person or the kernel would.
pub(crate) fn kill_dash_nine(pid: i32) {
    Handle::open(pid).expect("opens").expect("is there").kill().expect("is ours");
}
