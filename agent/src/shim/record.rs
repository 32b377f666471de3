//! What a shim leaves on disk, so that an agent that comes later knows what became of it.
//!
//! ```text
//! <run dir>/<uid>.record            the record, locked by the live shim; one JSON object a line, only ever appended to
//! <run dir>/<uid>.sock              the shim's socket
//! <run dir>/<uid>.<attempt>.exit    one JSON line once the attempt has ended, empty before
//! ```
//!
//! The lock is the shim's from before it exists: the agent takes it and the shim inherits it as its fd 0. Both files have
//! their blocks reserved before the process starts, so that a full disk cannot cost an exit code. A line that was cut
//! off by a crash does not parse and counts as not written.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Seek, Write},
    mem::ManuallyDrop,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::fs::{FallocateFlags, FlockOperation, Mode, OFlags, fallocate, flock};
use serde::{Deserialize, Serialize};

use crate::{
    process::Identity,
    shim::wire::{Exit, Main, ShimId, StartFailure, encode},
};

/// Reserved for a record and for an exit file.
const RESERVED: u64 = 4096;

/// A record longer than this is not one of ours.
const LONGEST_RECORD: u64 = 1024 * 1024;

/// How long a lock may be held by something that is no live shim, before that counts as one.
const PASSING_HOLD: Duration = Duration::from_secs(2);

/// Between two tries to take it.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// The longest uid: it names files and a socket.
const LONGEST_UID: usize = 64;

/// Opens the run directory, made first if it is not there, for reaching what is in it.
pub(crate) fn open_dir(dir: &Path) -> io::Result<OwnedFd> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    Ok(rustix::fs::open(dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Whether a uid can name files.
pub(crate) fn is_file_name(uid: &str) -> bool {
    (1..=LONGEST_UID).contains(&uid.len())
        && uid.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// One line of a record.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub(crate) enum Entry {
    /// Written by the agent before it starts the shim.
    Launch { id: ShimId, nonce: String },
    /// Written by the shim once its socket is bound.
    Shim { process: Identity },
    /// The process's program runs.
    Started { main: Main },
    /// It could not be started.
    Failed { failure: StartFailure },
    /// The main process has ended; what is below it may not have.
    MainEnded { exit: Exit },
    /// From a newer shim.
    #[serde(other)]
    Unknown,
}

/// What a record says in all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) id: ShimId,
    pub(crate) nonce: String,
    pub(crate) shim: Option<Identity>,
    pub(crate) main: Option<Main>,
    pub(crate) failure: Option<StartFailure>,
    pub(crate) main_exit: Option<Exit>,
}

impl Record {
    /// None if not even the launch is in it.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut entries = bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
        let Entry::Launch { id, nonce } = entries.next()? else { return None };
        let mut record = Self { id, nonce, shim: None, main: None, failure: None, main_exit: None };
        for entry in entries {
            match entry {
                Entry::Shim { process } => record.shim = Some(process),
                Entry::Started { main } => record.main = Some(main),
                Entry::Failed { failure } => record.failure = Some(failure),
                Entry::MainEnded { exit } => record.main_exit = Some(exit),
                Entry::Launch { .. } | Entry::Unknown => {}
            }
        }
        Some(record)
    }
}

/// Where the files of one replica are.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    dir: PathBuf,
    uid: String,
}

/// A record whose lock is held through this file.
#[derive(Debug)]
pub(crate) struct Locked {
    file: File,
    pub(crate) record: Option<Record>,
}

impl Locked {
    /// Whether it is the record of that attempt, or of none.
    pub(crate) fn is_of(&self, attempt: u32) -> bool {
        self.record.as_ref().is_none_or(|record| record.id.attempt == attempt)
    }

    /// Makes it the record of a new launch.
    pub(crate) fn begin(&mut self, id: ShimId, nonce: String) -> io::Result<()> {
        self.file.set_len(0)?;
        append(&self.file, &Entry::Launch { id: id.clone(), nonce: nonce.clone() })?;
        self.record = Some(Record { id, nonce, shim: None, main: None, failure: None, main_exit: None });
        Ok(())
    }

    /// The file, and with it the lock, for the shim to inherit.
    pub(crate) fn share(&self) -> io::Result<OwnedFd> {
        self.file.as_fd().try_clone_to_owned()
    }
}

impl Files {
    pub(crate) fn new(dir: &Path, uid: &str) -> Self {
        Self { dir: dir.to_owned(), uid: uid.to_owned() }
    }

    /// The name of the socket in the run directory.
    pub(crate) fn socket(&self) -> String {
        format!("{}.sock", self.uid)
    }

    fn record_path(&self) -> PathBuf {
        self.dir.join(format!("{}.record", self.uid))
    }

    fn exit_path(&self, attempt: u32) -> PathBuf {
        self.dir.join(format!("{}.{attempt}.exit", self.uid))
    }

    /// Takes the record's lock, making the record if there is none; none if another holds it.
    pub(crate) fn lock_or_create(&self) -> io::Result<Option<Locked>> {
        self.lock_with(OpenOptions::new().read(true).append(true).create(true).mode(0o600))
    }

    /// Takes the record's lock; none if another holds it or there is no record.
    pub(crate) fn lock(&self) -> io::Result<Option<Locked>> {
        self.lock_with(OpenOptions::new().read(true).append(true))
    }

    /// Like [`Files::lock`], or [`Files::lock_or_create`] where `create`, and waits for holders that are none: every
    /// process that is just being spawned holds a copy of all this process has open, until its exec.
    pub(crate) fn lock_settled(&self, create: bool) -> io::Result<Option<Locked>> {
        let deadline = Instant::now() + PASSING_HOLD;
        loop {
            let locked = if create { self.lock_or_create() } else { self.lock() }?;
            if locked.is_some()
                || Instant::now() > deadline
                || !self.record_path().exists()
                || self.is_held_by_its_shim()?
            {
                return Ok(locked);
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    fn is_held_by_its_shim(&self) -> io::Result<bool> {
        let Some(shim) = self.read_record()?.and_then(|record| record.shim) else { return Ok(false) };
        Ok(shim.open()?.is_some_and(|handle| !handle.has_ended()))
    }

    fn lock_with(&self, options: &OpenOptions) -> io::Result<Option<Locked>> {
        loop {
            let mut file = match options.open(self.record_path()) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                opened => opened?,
            };
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
                locked => locked?,
            }
            // Whoever held it before may have removed it: then this lock guards a file that nobody will find.
            if self.is_still(&file)? {
                let record = read(&mut file)?;
                return Ok(Some(Locked { file, record }));
            }
        }
    }

    fn is_still(&self, file: &File) -> io::Result<bool> {
        let ours = file.metadata()?;
        match fs::metadata(self.record_path()) {
            Ok(named) => Ok((named.dev(), named.ino()) == (ours.dev(), ours.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The record as it stands, without its lock.
    pub(crate) fn read_record(&self) -> io::Result<Option<Record>> {
        match File::open(self.record_path()) {
            Ok(mut file) => read(&mut file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes record and socket; the lock proves that no shim uses them.
    pub(crate) fn remove_record(&self, _held: &Locked) -> io::Result<()> {
        remove(&self.dir.join(self.socket()))?;
        remove(&self.record_path())
    }

    /// How an attempt ended, if it has and its shim said so.
    pub(crate) fn read_exit(&self, attempt: u32) -> io::Result<Option<Exit>> {
        match fs::read(self.exit_path(attempt)) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn remove_exit(&self, attempt: u32) -> io::Result<()> {
        remove(&self.exit_path(attempt))
    }

    /// All replicas that have files in a run directory, with the attempts that have an exit file.
    pub(crate) fn list(dir: &Path) -> io::Result<std::collections::BTreeMap<String, Vec<u32>>> {
        let mut found = std::collections::BTreeMap::<String, Vec<u32>>::new();
        for entry in fs::read_dir(dir)? {
            let name = entry?.file_name();
            let Some((stem, kind)) = name.to_str().and_then(|name| name.rsplit_once('.')) else { continue };
            match (kind, stem.rsplit_once('.')) {
                ("record", None) if is_file_name(stem) => {
                    found.entry(stem.to_owned()).or_default();
                }
                ("exit", Some((uid, attempt))) if is_file_name(uid) => {
                    if let Ok(attempt) = attempt.parse() {
                        found.entry(uid.to_owned()).or_default().push(attempt);
                    }
                }
                _ => {}
            }
        }
        Ok(found)
    }
}

/// The shim's end of its record, inherited with the lock.
#[derive(Debug)]
pub(crate) struct OwnRecord {
    /// Never closed: the lock goes with the process and not a moment before.
    file: ManuallyDrop<File>,
    exit: File,
}

impl OwnRecord {
    /// Takes over the inherited record and reserves the room for all that will be written.
    pub(crate) fn take(record: OwnedFd, files: &Files, attempt: u32) -> io::Result<(Self, Record)> {
        let mut file = File::from(record);
        let read =
            read(&mut file)?.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the record names no launch"))?;
        let exit =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(files.exit_path(attempt))?;
        reserve(&file)?;
        reserve(&exit)?;
        Ok((Self { file: ManuallyDrop::new(file), exit }, read))
    }

    pub(crate) fn append(&self, entry: &Entry) -> io::Result<()> {
        append(&self.file, entry)
    }

    /// Makes the exit durable.
    pub(crate) fn write_exit(&self, exit: &Exit) -> io::Result<()> {
        self.exit.write_all_at(&encode(exit), 0)?;
        self.exit.sync_data()
    }
}

fn append(mut file: &File, entry: &Entry) -> io::Result<()> {
    file.write_all(&encode(entry))
}

fn read(file: &mut File) -> io::Result<Option<Record>> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.take(LONGEST_RECORD).read_to_end(&mut bytes)?;
    Ok(Record::parse(&bytes))
}

/// Takes the blocks now, without changing the length; a file system that cannot is used as it is.
fn reserve(file: &File) -> io::Result<()> {
    match fallocate(file, FallocateFlags::KEEP_SIZE, 0, RESERVED) {
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Ok(()),
        reserved => Ok(reserved?),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(attempt: u32) -> ShimId {
        ShimId { uid: "u-1".into(), attempt }
    }

    #[test]
    fn a_held_record_is_not_given_twice_and_a_removed_one_is_made_anew() {
        let dir = tempfile::tempdir().expect("tempdir");
        let files = Files::new(dir.path(), "u-1");
        let first = files.lock_or_create().expect("opens").expect("is free");
        assert!(files.lock_or_create().expect("opens").is_none());
        files.remove_record(&first).expect("removes");
        assert!(files.lock_or_create().expect("opens").is_some(), "the lock on the removed file holds nothing up");
    }

    #[test]
    fn a_lock_that_only_passes_through_a_spawn_is_waited_for() {
        let dir = tempfile::tempdir().expect("tempdir");
        let files = Files::new(dir.path(), "u-1");
        let held = files.lock_or_create().expect("opens").expect("is free");
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| files.lock_settled(true).expect("opens").is_some());
            scope.spawn(move || {
                std::thread::sleep(LOOK_AGAIN * 10);
                drop(held);
            });
            assert!(waiting.join().expect("joins"));
        });
    }

    #[test]
    fn a_line_cut_off_by_a_crash_counts_as_not_written() {
        let dir = tempfile::tempdir().expect("tempdir");
        let files = Files::new(dir.path(), "u-1");
        let mut locked = files.lock_or_create().expect("opens").expect("is free");
        locked.begin(id(3), "n".into()).expect("writes");
        (&locked.file).write_all(b"{\"type\":\"newer\",\"x\":1}\n{\"type\":\"shim\",\"proc").expect("writes");
        let record = files.read_record().expect("reads").expect("has a launch");
        assert_eq!((record.id, record.shim), (id(3), None));
    }

    #[test]
    fn an_exit_file_says_nothing_until_the_exit_is_written() {
        let dir = tempfile::tempdir().expect("tempdir");
        let files = Files::new(dir.path(), "u-1");
        let mut locked = files.lock_or_create().expect("opens").expect("is free");
        locked.begin(id(1), "n".into()).expect("writes");
        let (own, _) = OwnRecord::take(locked.share().expect("dup"), &files, 1).expect("takes");
        assert_eq!(files.read_exit(1).expect("reads"), None);
        let at = jiff::Timestamp::UNIX_EPOCH;
        let exit = Exit { code: Some(3), signal: None, started: Some(at), at, stopped: false, dropped_lines: 2 };
        own.write_exit(&exit).expect("writes");
        assert_eq!(files.read_exit(1).expect("reads"), Some(exit));
        assert_eq!(
            Files::list(dir.path()).expect("lists").into_iter().collect::<Vec<_>>(),
            [("u-1".to_owned(), vec![1])]
        );
    }

    #[test]
    fn a_uid_that_could_leave_the_directory_names_no_file() {
        for uid in ["", "..", "a/b", "a.b", "a\0b", &"x".repeat(65)] {
            assert!(!is_file_name(uid), "{uid:?}");
        }
        assert!(is_file_name("6f9619ff-8b86-d011-b42d-00c04fc964ff"));
    }
}
