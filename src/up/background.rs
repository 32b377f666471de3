//! `orion up -d` and what `orion down` needs to find it again: a note of who runs here.

use std::{
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use orion_agent::process::Identity;
use serde::{Deserialize, Serialize};

use crate::{
    config_files::is_stdin,
    data_dir,
    failure::Failure,
    out::{note, put, say},
};

/// The file that says which process is the `orion up` of a data directory.
const UP_FILE: &str = "up.json";
/// What the background process writes.
const LOG_FILE: &str = "up.log";
/// How long it may take to serve and to apply.
const START_WITHIN: Duration = Duration::from_secs(60);
/// Between two looks whether it has.
const LOOK: Duration = Duration::from_millis(50);

/// Who runs here.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    #[serde(flatten)]
    process: Identity,
    /// Whether the files have been applied.
    #[serde(default)]
    applied: bool,
}

/// A note that this process is the `orion up` of a data directory; gone when it is dropped.
pub(crate) struct Running {
    path: PathBuf,
    note: Note,
    in_background: bool,
}

impl Running {
    /// Writes the note.
    pub(crate) fn note(data_dir: &Path, in_background: bool) -> Result<Self, Failure> {
        let note = Note { process: Identity::current()?, applied: false };
        let running = Self { path: data_dir.join(UP_FILE), note, in_background };
        running.write()?;
        Ok(running)
    }

    /// Whether nobody sits before it.
    pub(crate) fn in_background(&self) -> bool {
        self.in_background
    }

    /// Notes that the files have been applied.
    pub(crate) fn applied(&mut self) -> Result<(), Failure> {
        self.note.applied = true;
        self.write()
    }

    fn write(&self) -> Result<(), Failure> {
        let text = serde_json::to_vec(&self.note).map_err(|error| Failure::of(&error))?;
        fs::write(&self.path, text).map_err(|error| Failure::refused(format!("{}: {error}", self.path.display())))
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
    read(data_dir).map(|note| note.process)
}

fn read(data_dir: &Path) -> Option<Note> {
    let bytes = fs::read(data_dir.join(UP_FILE)).ok()?;
    let note: Note = serde_json::from_slice(&bytes).ok()?;
    let handle = note.process.open().ok()??;
    (!handle.has_ended()).then_some(note)
}

/// Starts the same `up` in a session of its own and returns when it has applied its files.
pub(crate) async fn start(files: &[PathBuf], data_dir: &Path) -> Result<(), Failure> {
    data_dir::make(data_dir)?;
    let log_path = data_dir.join(LOG_FILE);
    let log = fs::File::create(&log_path).map_err(|error| data_dir::unusable(data_dir, &error))?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(std::env::args_os().skip(1)).arg("--detached");
    let stdin = if files.iter().any(|file| is_stdin(file)) { Stdio::inherit() } else { Stdio::null() };
    command.stdin(stdin).stdout(log.try_clone()?).stderr(log).process_group(0);
    let mut child = command.spawn()?;
    let pid = child.id();
    let applied = async {
        loop {
            if let Some(status) = child.try_wait()? {
                return Err(Failure::refused(format!("it has ended ({status}); see {}", log_path.display())));
            }
            if read(data_dir).is_some_and(|note| note.applied) {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    let within = START_WITHIN.as_secs();
    let applied = tokio::time::timeout(START_WITHIN, applied).await.unwrap_or_else(|_| {
        Err(Failure::refused(format!("it has not started within {within} s; see {}", log_path.display())))
    });
    // What it has said so far is what a person would have read in the foreground.
    let said = fs::read_to_string(&log_path).unwrap_or_default();
    if let Err(failure) = applied {
        note!("{}", said.trim_end());
        return Err(failure);
    }
    put!("{said}");
    say!("it runs in the background (pid {pid}) and logs to {}", log_path.display());
    Ok(())
}
