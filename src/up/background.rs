//! `orion up -d` and what `orion down` needs to find it again: a note of who runs here.

use std::{
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use orion_agent::process::Identity;
use orion_http::HttpClient;

use crate::{cli, endpoint::ENDPOINT_FILE, failure::Failure};

/// The file that says which process is the `orion up` of a data directory.
pub(crate) const UP_FILE: &str = "up.json";
/// What the background process writes.
const LOG_FILE: &str = "up.log";
/// How long it may take to serve.
const START_WITHIN: Duration = Duration::from_secs(60);

/// A note that this process is the `orion up` of a data directory; gone when it is dropped.
pub(crate) struct Running {
    path: PathBuf,
}

impl Running {
    /// Writes the note.
    pub(crate) fn note(data_dir: &Path) -> Result<Self, Failure> {
        let path = data_dir.join(UP_FILE);
        let identity = Identity::current()?;
        fs::write(&path, serde_json::to_vec(&identity).unwrap_or_default())?;
        Ok(Self { path })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A note that stays names a process that is gone, which its reader finds out.
        let _stays = fs::remove_file(&self.path);
    }
}

/// Who the note names, if that very process still runs.
pub(crate) fn noted(data_dir: &Path) -> Option<Identity> {
    let bytes = fs::read(data_dir.join(UP_FILE)).ok()?;
    let identity: Identity = serde_json::from_slice(&bytes).ok()?;
    let handle = identity.open().ok()??;
    (!handle.has_ended()).then_some(identity)
}

/// Starts the same `up` in a session of its own and returns when it serves.
pub(crate) async fn start(up: &cli::Up, files: &[PathBuf], data_dir: &Path) -> Result<(), Failure> {
    if let Some(running) = noted(data_dir) {
        return Err(Failure::refused(format!(
            "`orion up` runs here already (pid {}); `orion down` ends it",
            running.pid
        )));
    }
    fs::create_dir_all(data_dir)?;
    let log_path = data_dir.join(LOG_FILE);
    let log = fs::File::create(&log_path)?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("up").arg("--port").arg(up.port.to_string()).arg("--data-dir").arg(data_dir);
    for file in files {
        command.arg("-f").arg(file);
    }
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
    let mut child = command.spawn()?;
    let serving = async {
        loop {
            if let Some(status) = child.try_wait()? {
                let said = fs::read_to_string(&log_path).unwrap_or_default();
                return Err(Failure::refused(format!("it ended at once ({status}):\n{said}")));
            }
            if noted(data_dir).is_some()
                && let Ok(url) = fs::read_to_string(data_dir.join(ENDPOINT_FILE))
                && let Ok(client) = HttpClient::new(url.trim(), None)
                && client.health().await.is_ok()
            {
                return Ok(url.trim().to_owned());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    match tokio::time::timeout(START_WITHIN, serving).await {
        Ok(Ok(url)) => {
            println!("orion server listening on {url}");
            println!("it runs in the background, logging to {}; `orion down` ends it", log_path.display());
            Ok(())
        }
        Ok(Err(failure)) => Err(failure),
        Err(_) => {
            Err(Failure::refused(format!("it does not serve after {START_WITHIN:?}; see {}", log_path.display())))
        }
    }
}
