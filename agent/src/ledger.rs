//! What an agent must not forget, as files in its data directory: who it is, whom it obeys, what it runs.
//!
//! ```text
//! agent/identity.json           agentId, clusterId, storeEpoch
//! agent/seq                     report numbers up to this one may have been used
//! agent/replicas/<uid>.json     a Record: what is wished of a replica, how far it has come
//! agent/logs/<uid>/             its output
//! agent/run/                    the shims' own files
//! ```
//!
//! Every file is written beside its place, synced and renamed, so that it reads back whole whatever happens.

use std::{
    collections::BTreeSet,
    fs, io,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use orion_model::{ResourceVersion, Uid};
use orion_types::protocol::{Definition, StatusReport};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// How many report numbers are set aside at a time, so that a report costs no write of its own.
const SEQ_BLOCK: u64 = 10_000;

/// Who an agent is and whom it obeys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Identity {
    /// 128 random bits, made once.
    pub agent_id: String,
    /// The control plane it obeys.
    pub cluster_id: Option<String>,
    /// The store epoch it last saw there.
    pub store_epoch: Option<u64>,
}

/// One replica: what is wished of it and how far it has come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Record {
    /// Its incarnation.
    pub uid: Uid,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub replica_id: String,
    /// The newest wish it acts on.
    pub spec_version: ResourceVersion,
    /// What it runs; absent for one that was to be stopped before it was ever launched here.
    pub definition: Option<Definition>,
    /// The last start of its process, from 1; 0 before the first.
    pub attempt: u32,
    /// How often it was started again.
    pub restarts: u32,
    /// Its end is wished, for this reason.
    pub stop: Option<String>,
    /// Its last report, once nothing of it runs any more and nothing will.
    pub end: Option<StatusReport>,
    /// After a restore the server did not know it; it is kept until a person decides.
    pub held: bool,
}

impl Record {
    /// Counts another start of its process.
    pub(crate) fn begin_attempt(&mut self) {
        self.restarts += u32::from(self.attempt > 0);
        self.attempt += 1;
    }
}

/// What is remembered of replicas.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Records {
    /// The records, by uid.
    pub read: Vec<Record>,
    /// Whose records are there and do not read: torn, or of a newer agent.
    pub unread: BTreeSet<Uid>,
}

/// The files of one agent. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Ledger {
    root: PathBuf,
}

impl Ledger {
    /// Opens the agent's part of a data directory, made with mode 0700 if it is not there.
    ///
    /// # Errors
    /// When a folder cannot be made.
    pub fn open(data_dir: &Path) -> io::Result<Self> {
        let root = std::path::absolute(data_dir)?.join("agent");
        for folder in ["", "replicas", "logs", "run"] {
            use std::os::unix::fs::DirBuilderExt;
            fs::DirBuilder::new().recursive(true).mode(0o700).create(root.join(folder))?;
        }
        Ok(Self { root })
    }

    /// Where the shims keep their files.
    pub fn run_dir(&self) -> PathBuf {
        self.root.join("run")
    }

    /// Where the output of replicas is kept.
    pub fn logs_dir(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// Where one replica's output is kept.
    pub fn log_dir(&self, uid: &Uid) -> PathBuf {
        self.logs_dir().join(uid.as_str())
    }

    /// Whether a replica is or was here: remembered, or its output still kept.
    pub fn knows(&self, uid: &Uid) -> bool {
        self.record_path(uid).is_file() || self.log_dir(uid).is_dir()
    }

    /// Where the file is locked while an agent uses this directory.
    pub fn lock_path(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// Who this agent is; the default where it has not been decided.
    ///
    /// # Errors
    /// When the file is there and does not read.
    pub fn identity(&self) -> io::Result<Identity> {
        Ok(read(&self.root.join("identity.json"))?.unwrap_or_default())
    }

    /// Keeps who this agent is.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep_identity(&self, identity: &Identity) -> io::Result<()> {
        write(&self.root.join("identity.json"), identity, Renamed::Synced)
    }

    /// Sets the next block of report numbers aside and returns it: from, to (not included).
    ///
    /// # Errors
    /// When the file does not read or cannot be written.
    pub fn reserve_seqs(&self) -> io::Result<(u64, u64)> {
        let path = self.root.join("seq");
        let from = read::<u64>(&path)?.unwrap_or(1);
        write(&path, &(from + SEQ_BLOCK), Renamed::Synced)?;
        Ok((from, from + SEQ_BLOCK))
    }

    /// Every replica that is remembered.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn records(&self) -> io::Result<Records> {
        let mut records = Records::default();
        for entry in fs::read_dir(self.root.join("replicas"))? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            match read::<Record>(&path) {
                Ok(Some(record)) => records.read.push(record),
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(path = %path.display(), %error, "a replica's record does not read; left alone");
                    records.unread.extend(path.file_stem().and_then(|uid| uid.to_str()).map(Uid::new));
                }
            }
        }
        records.read.sort_by(|a, b| a.uid.cmp(&b.uid));
        Ok(records)
    }

    /// Keeps a replica's record; when this returns there is one whatever happens. After a loss of power it may be the
    /// one before this: nothing runs then that could contradict it, and the server says again what it wishes. To wait
    /// for the folder each time would make every start wait for the disk twice.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep(&self, record: &Record) -> io::Result<()> {
        let path = self.record_path(&record.uid);
        let renamed = if path.exists() { Renamed::Unsynced } else { Renamed::Synced };
        write(&path, record, renamed)
    }

    /// Forgets a replica, and marks its log to be removed `keep_for_millis` after `now_millis`.
    ///
    /// # Errors
    /// When the record cannot be removed.
    pub fn forget(&self, uid: &Uid, now_millis: i64, keep_for_millis: i64) -> io::Result<()> {
        let logs = self.log_dir(uid);
        if logs.is_dir() {
            write(&logs.join("remove-after"), &now_millis.saturating_add(keep_for_millis), Renamed::Unsynced)?;
        }
        match fs::remove_file(self.record_path(uid)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    /// Removes the logs whose time is over.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn sweep_logs(&self, now_millis: i64) -> io::Result<()> {
        for entry in fs::read_dir(self.logs_dir())? {
            let path = entry?.path();
            let due = read::<i64>(&path.join("remove-after")).ok().flatten();
            if due.is_some_and(|due| due <= now_millis) {
                fs::remove_dir_all(&path)?;
            }
        }
        Ok(())
    }

    fn record_path(&self, uid: &Uid) -> PathBuf {
        self.root.join("replicas").join(format!("{uid}.json"))
    }
}

/// Whether a uid can name files: what the server gives always can.
pub fn is_file_name(uid: &Uid) -> bool {
    let text = uid.as_str();
    (1..=100).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
}

fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", path.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
    }
}

/// Whether the folder is synced too after a file has got its name, so that it keeps it over a loss of power.
#[derive(Clone, Copy)]
enum Renamed {
    Synced,
    Unsynced,
}

fn write<T: Serialize>(path: &Path, value: &T, renamed: Renamed) -> io::Result<()> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let beside = path.with_extension("new");
    let bytes = serde_json::to_vec(value).map_err(io::Error::other)?;
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside).map_err(named)?;
    file.write_all(&bytes).and_then(|()| file.sync_data()).map_err(named)?;
    fs::rename(&beside, path).map_err(named)?;
    match (renamed, path.parent()) {
        (Renamed::Synced, Some(folder)) => fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(named),
        (Renamed::Synced, None) | (Renamed::Unsynced, _) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger() -> (tempfile::TempDir, Ledger) {
        let dir = tempfile::tempdir().expect("a directory");
        let ledger = Ledger::open(dir.path()).expect("it opens");
        (dir, ledger)
    }

    #[test]
    fn a_record_reads_back_and_is_gone_when_forgotten() {
        let (_dir, ledger) = ledger();
        let record = Record { uid: Uid::new("u-1"), replica_id: "web-0".into(), attempt: 3, ..Record::default() };
        ledger.keep(&record).expect("kept");
        assert_eq!(ledger.records().expect("read").read, std::slice::from_ref(&record));
        fs::create_dir_all(ledger.log_dir(&record.uid)).expect("made");
        ledger.forget(&record.uid, 1000, 500).expect("forgotten");
        assert_eq!(ledger.records().expect("read").read, []);
        ledger.sweep_logs(1499).expect("swept");
        assert!(ledger.log_dir(&record.uid).exists(), "its time is not over");
        ledger.sweep_logs(1500).expect("swept");
        assert!(!ledger.log_dir(&record.uid).exists());
    }

    #[test]
    fn report_numbers_never_repeat_over_restarts() {
        let (_dir, ledger) = ledger();
        let (first, end) = ledger.reserve_seqs().expect("reserved");
        let (second, _) = ledger.clone().reserve_seqs().expect("reserved");
        assert!(first < end && end <= second);
    }

    #[test]
    fn a_torn_record_is_named_and_the_others_are_read() {
        let (_dir, ledger) = ledger();
        let record = Record { uid: Uid::new("good"), ..Record::default() };
        ledger.keep(&record).expect("kept");
        fs::write(ledger.record_path(&Uid::new("torn")), b"{\"uid\":").expect("written");
        let records = ledger.records().expect("read");
        assert_eq!((records.read, records.unread), (vec![record], BTreeSet::from([Uid::new("torn")])));
    }
}
