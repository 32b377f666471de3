//! What agent and shim say to each other: one JSON object a line, over the socketpair the shim was started on and over
//! its socket alike.
//!
//! A shim lives as long as its process, so an agent meets shims older and newer than itself. The protocol only ever
//! grows: a field that is not known is ignored, a field that is missing has a default, a frame of an unknown type is
//! skipped, and nothing changes its meaning.
//!
//! ```text
//! agent                               shim
//!                                     bind the socket
//!                        <-- bound
//! run {definition}       -->
//!                                     start the process
//!                        <-- started | failed
//! hello                  --> <-- state
//! stop, kill, signal, settings --> <-- done | refused
//!                        <-- stopping, exited
//! ```

use std::{fmt, path::PathBuf, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{process::Identity, signal::Signal};

/// The protocol this build speaks; it only ever grows.
pub const PROTOCOL: u32 = 1;

/// A frame is at most this many bytes: a definition of 256 KiB and its environment, escaped.
pub const MAX_FRAME: usize = 4 * 1024 * 1024;

/// The variable that marks every process below a shim with the shim's nonce.
pub const MARKER: &str = "ORION_SHIM";

/// Which start of which replica: the replica's uid and the number of the attempt.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ShimId {
    /// The uid of the Replica: letters, digits, `-` and `_`, since it names files.
    pub uid: String,
    /// Rises with each start of the same Replica.
    pub attempt: u32,
}

impl fmt::Display for ShimId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.uid, self.attempt)
    }
}

/// What runs, and where: sent once, and forgotten by the shim when the process has started.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Definition {
    /// The program and its arguments. A program without a slash is looked up in the `PATH` of `env`.
    pub argv: Vec<String>,
    /// The whole environment; the shim adds its marker and nothing else.
    #[serde(default)]
    pub env: Vec<(String, String)>,
    /// The working directory.
    pub cwd: PathBuf,
    /// The user to become, by name or number; none: the agent's own.
    #[serde(default)]
    pub user: Option<String>,
    /// How it is stopped.
    #[serde(default)]
    pub stop: StopPolicy,
    /// Where its output goes.
    pub logs: LogSettings,
}

impl fmt::Debug for Definition {
    /// Without the environment's values, which may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.env.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Definition")
            .field("argv", &self.argv)
            .field("env", &names)
            .field("cwd", &self.cwd)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// How a process is asked to end, and how long it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StopPolicy {
    /// The first signal.
    pub signal: Signal,
    /// From the first signal to KILL.
    #[serde(rename = "timeoutMs", with = "millis")]
    pub timeout: Duration,
    /// Who gets the first signal. What is left after the main process has ended gets it in either mode.
    pub kill_mode: KillMode,
}

impl Default for StopPolicy {
    fn default() -> Self {
        Self { signal: Signal::TERM, timeout: Duration::from_secs(10), kill_mode: KillMode::Group }
    }
}

/// Who gets the first signal of a stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum KillMode {
    /// The process group of the main process.
    #[default]
    Group,
    /// The main process alone.
    Process,
}

/// Where the output goes, and its bound: `max_files` × `max_file_size` bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogSettings {
    /// The replica's own folder; made if it is not there.
    pub dir: PathBuf,
    /// How many files, at least 1.
    pub max_files: u32,
    /// Bytes in a file, at least 1 KiB.
    pub max_file_size: u64,
}

/// The main process of a shim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Main {
    /// Its process, as identified when it was started.
    pub process: Identity,
    /// When its program had replaced the shim's.
    pub at: Timestamp,
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exit {
    /// The exit code, if it ended by itself.
    #[serde(default)]
    pub code: Option<i32>,
    /// The signal that ended it.
    #[serde(default)]
    pub signal: Option<Signal>,
    /// When the main process had started; unknown to shims of earlier builds.
    #[serde(default)]
    pub started: Option<Timestamp>,
    /// When the main process ended.
    pub at: Timestamp,
    /// Whether a stop or kill had been asked for.
    #[serde(default)]
    pub stopped: bool,
    /// Lines of output that a full or broken disk has cost.
    #[serde(default)]
    pub dropped_lines: u64,
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code, self.signal) {
            (_, Some(signal)) => write!(f, "killed by {signal} ({})", signal.number()),
            (Some(code), None) => write!(f, "exited with code {code}"),
            (None, None) => write!(f, "ended, how is not known"),
        }
    }
}

/// A process that has been told to end and does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stuck {
    /// Which one.
    pub pid: i32,
    /// Why, as a person reads it.
    pub reason: String,
}

/// Why a process could not be started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
#[serde(rename_all = "camelCase")]
pub struct StartFailure {
    /// What kind of failure.
    pub kind: StartFailureKind,
    /// The whole sentence, with the path or name it is about.
    pub message: String,
}

/// What kind of failure kept a process from starting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StartFailureKind {
    /// The program, or the interpreter its first line names, is not there.
    NoSuchFile,
    /// It is there and may not, or cannot, be executed.
    NotExecutable,
    /// The working directory is not there or may not be entered.
    NoSuchDirectory,
    /// The user is not known here, or the agent may not become it.
    NoSuchUser,
    /// The definition can never be started: no program, a NUL, an environment name with `=`, too large.
    BadDefinition,
    /// The machine could not do it now; the next try may.
    #[serde(other)]
    Transient,
}

impl StartFailureKind {
    /// Whether trying the same definition again may help.
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::Transient)
    }
}

/// What the agent sends.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum Request {
    /// Who are you? Answered by `state`.
    Hello {
        /// The protocol the agent speaks.
        #[serde(default)]
        protocol: u32,
    },
    /// Start this; once, on the socketpair only.
    Run {
        /// What to start.
        definition: Box<Definition>,
    },
    /// End the process as its policy says.
    Stop {
        /// Comes back in the answer.
        id: u64,
    },
    /// End it now.
    Kill {
        /// Comes back in the answer.
        id: u64,
    },
    /// Send one signal to the main process.
    Signal {
        /// Comes back in the answer.
        id: u64,
        /// Which.
        signal: Signal,
    },
    /// Change in place how it is stopped and how its logs are kept.
    Settings {
        /// Comes back in the answer.
        id: u64,
        /// From now on.
        stop: StopPolicy,
        /// From now on; the folder stays what it was.
        logs: LogSettings,
    },
    /// From a newer agent.
    #[serde(other)]
    Unknown,
}

/// What the shim sends.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum Reply {
    /// The socket is bound and the record says so: the definition may come.
    Bound {
        /// The protocol the shim speaks.
        #[serde(default)]
        protocol: u32,
        /// The shim's own process.
        shim: Identity,
    },
    /// Answer to `hello`.
    State(Box<Snapshot>),
    /// The process's program runs.
    Started {
        /// It.
        main: Main,
    },
    /// It could not be started; the shim ends.
    Failed {
        /// Why.
        failure: StartFailure,
    },
    /// It is being ended; sent again when `stuck` changes.
    Stopping {
        /// What does not end.
        #[serde(default)]
        stuck: Vec<Stuck>,
    },
    /// It has ended, nothing of it is left, and the exit file says so.
    Exited {
        /// How.
        exit: Exit,
    },
    /// The request is carried out, or under way.
    Done {
        /// Which request.
        id: u64,
    },
    /// The request is not carried out.
    Refused {
        /// Which request.
        id: u64,
        /// Why.
        reason: String,
    },
    /// From a newer shim.
    #[serde(other)]
    Unknown,
}

/// What a shim knows of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// The protocol the shim speaks.
    #[serde(default)]
    pub protocol: u32,
    /// Whose it is.
    pub id: ShimId,
    /// The proof that it is the shim of that record.
    pub nonce: String,
    /// Its own process.
    pub shim: Identity,
    /// Its main process, once started.
    #[serde(default)]
    pub main: Option<Main>,
    /// Whether the process is being ended.
    #[serde(default)]
    pub stopping: bool,
    /// What does not end.
    #[serde(default)]
    pub stuck: Vec<Stuck>,
    /// How it would be stopped.
    #[serde(default)]
    pub stop: StopPolicy,
    /// How its logs are kept.
    #[serde(default)]
    pub logs: Option<LogSettings>,
}

/// A frame as it goes on the wire.
pub(crate) fn encode(frame: &impl Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(frame).expect("frames have string keys and no failing serializers");
    bytes.push(b'\n');
    bytes
}

mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_of_a_newer_agent_is_unknown_and_no_error() {
        let frame: Request = serde_json::from_str(r#"{"type":"exec","id":7,"command":["ls"]}"#).expect("decodes");
        assert!(matches!(frame, Request::Unknown));
    }

    #[test]
    fn fields_of_a_newer_agent_are_ignored_and_missing_ones_have_defaults() {
        let text = r#"{"type":"run","definition":{"argv":["a"],"cwd":"/","sockets":[1],"logs":{"dir":"/l","maxFiles":1,"maxFileSize":1}}}"#;
        let Request::Run { definition } = serde_json::from_str(text).expect("decodes") else { panic!("not a run") };
        assert_eq!(definition.stop, StopPolicy::default());
        assert_eq!(definition.env, []);
    }

    #[test]
    fn an_unknown_kind_of_failure_counts_as_transient() {
        let failure: StartFailure = serde_json::from_str(r#"{"kind":"cgroupGone","message":"m"}"#).expect("decodes");
        assert_eq!(failure.kind, StartFailureKind::Transient);
    }

    #[test]
    fn the_values_of_the_environment_are_not_in_what_debug_prints() {
        let definition = Definition {
            argv: vec!["a".into()],
            env: vec![("TOKEN".into(), "hunter2".into())],
            cwd: "/".into(),
            user: None,
            stop: StopPolicy::default(),
            logs: LogSettings { dir: "/l".into(), max_files: 1, max_file_size: 1 },
        };
        let shown = format!("{definition:?}");
        assert!(shown.contains("TOKEN") && !shown.contains("hunter2"), "{shown}");
    }
}
