//! A lock file beside the state file: it keeps a second control plane away and names the first.
//!
//! The kernel's lock is what counts, and ends with its process however that ends; what stands in the file only tells
//! people whom to stop.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use orion_model::Timestamp;
use serde::{Deserialize, Serialize};

use super::OpenError;

/// Held as long as the state file is in use.
pub(super) struct Lock {
    _file: File,
}

#[derive(Serialize, Deserialize)]
struct Holder {
    pid: u32,
    host: String,
    since: String,
}

impl Lock {
    pub(super) fn take(state: &Path, now: Timestamp) -> Result<Self, OpenError> {
        let path = lock_path(state);
        let fails = |error| OpenError::io(&path, error);
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let mut file = opened.map_err(fails)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use(state, file)),
            Err(TryLockError::Error(error)) => return Err(fails(error)),
        }
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let holder = Holder { pid: std::process::id(), host, since: now.to_seconds().to_string() };
        let text = serde_json::to_vec(&holder).expect("a holder serialises");
        let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(&text));
        written.map_err(fails)?;
        Ok(Self { _file: file })
    }
}

fn lock_path(state: &Path) -> PathBuf {
    let mut name = state.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

fn in_use(state: &Path, mut lock: File) -> OpenError {
    let mut text = String::new();
    // Its holder may be writing it right now; then its name is not known yet.
    let holder = lock.read_to_string(&mut text).ok().and_then(|_| serde_json::from_str::<Holder>(&text).ok());
    let unknown = || Holder { pid: 0, host: "an unknown machine".into(), since: "just now".into() };
    let Holder { pid, host, since } = holder.unwrap_or_else(unknown);
    OpenError::InUse { file: state.into(), pid, host, since }
}
