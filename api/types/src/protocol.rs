//! The frames between gateway and agent: `{"type": …, "payload": …}` as text on a WebSocket.
//!
//! Protocol 1 is a superset of the original's frames: everything new lives inside `payload`, and every field the
//! original does not know is optional. An agent that says no `protocol` in its hello is an original one and is sent the
//! original's frames only.
//!
//! ```text
//! agent                                     gateway
//!   hello ─────────────────────────────────▶  (names the node, what it runs)
//!   ◀───────────────────────── welcome, sync… (the whole desired set, in parts)
//!   want ──────────────────────────────────▶  (definitions it lacks)
//!   ◀──────────────────────────────── launch…
//!   synced, ack, status ───────────────────▶
//!   ◀──────────── launch, stop, update, statusAck, forget
//! ```

use std::collections::BTreeMap;

use orion_model::{ResourceVersion, Timestamp, Uid};
use serde::{Deserialize, Serialize};

use crate::{
    Capacity,
    process::ProcessSpec,
    replica::{Exit, ProcessState},
};

/// The protocol this build speaks.
pub const PROTOCOL: u32 = 1;
/// The largest frame, in bytes.
pub const MAX_FRAME: usize = 1024 * 1024;
/// The largest definition of a replica, in bytes; a larger one is refused at apply.
pub const MAX_DEFINITION: usize = 256 * 1024;
/// How many replicas one `sync` frame names at most.
pub const SYNC_PART: usize = 2000;

/// Why the gateway closes a socket, beside the codes of RFC 6455.
pub mod close {
    /// A newer start of the same agent is connected: this one must end, and nothing may start it again for this.
    pub const SUPERSEDED: u16 = 4409;
    /// Another agent holds this node's name: try again later, since that one may be given up.
    pub const NAME_TAKEN: u16 = 4403;
}

/// What an agent sends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "payload", rename_all = "camelCase")]
pub enum FromAgent {
    /// The first frame.
    Hello(Box<Hello>),
    /// It is alive.
    Heartbeat(Heartbeat),
    /// How a replica stands.
    Status(Box<StatusReport>),
    /// It lacks these definitions.
    Want(Want),
    /// It has worked through the sync.
    Synced(Synced),
    /// A command is durably accepted.
    Ack(Ack),
    /// A command is older than what it acts on.
    Stale(Stale),
    /// A piece of a log.
    LogChunk(LogChunk),
    /// A log has ended.
    LogEnd(LogEnd),
}

/// What the gateway sends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "payload", rename_all = "camelCase")]
pub enum ToAgent {
    /// The answer to a hello.
    Welcome(Welcome),
    /// A part of the desired set.
    Sync(Sync),
    /// Run a replica, or act on a newer definition of it.
    Launch(Box<Launch>),
    /// End a replica.
    Stop(StopCommand),
    /// Change a replica in place.
    Update(Box<Update>),
    /// A report is committed.
    StatusAck(StatusAck),
    /// A finished replica need not be remembered.
    Forget(Forget),
    /// Another server holds the agents.
    Redirect(Redirect),
    /// Send a log.
    Logs(LogRequest),
    /// So many more bytes of a log may be sent.
    LogCredit(LogCredit),
}

/// Who an agent is and what it runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Hello {
    /// The id it calls itself by.
    pub node_id: String,
    /// The node's name, made a DNS label by the agent.
    pub name: String,
    /// Where it can be reached.
    pub address: String,
    /// Labels of the node.
    pub labels: BTreeMap<String, String>,
    /// Protocols it speaks; absent for an original agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<ProtocolRange>,
    /// Its version.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub agent_version: String,
    /// 128 random bits in its data directory.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub agent_id: String,
    /// New at each of its starts. A later start's is greater: longer, or as long and after it in the order of bytes.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub instance_id: String,
    /// The machine's boot.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub boot_id: String,
    /// The control plane it last obeyed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    /// That one's store epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_epoch: Option<u64>,
    /// What it can do beyond the protocol's ground.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
    /// Facts about the machine.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    /// What the machine has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Capacity>,
    /// A join or node token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Everything it runs or has finished and not been told to forget.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub replicas: Vec<StatusReport>,
}

/// The protocols an agent speaks, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProtocolRange {
    /// The lowest.
    pub min: u32,
    /// The highest.
    pub max: u32,
}

/// An agent is alive, about every 5 s.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Heartbeat {
    /// The agent's clock, in milliseconds since the Unix epoch.
    pub timestamp: i64,
    /// How busy the machine is.
    pub metrics: HostMetrics,
    /// How busy its replicas are, by uid.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub replicas: BTreeMap<Uid, ReplicaMetrics>,
}

/// How busy a machine is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HostMetrics {
    /// The fraction of all cores in use, 0 to 1. An original agent may send anything here.
    pub cpu: f64,
    /// Bytes of memory in use.
    pub memory: f64,
}

/// How busy a replica's processes are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ReplicaMetrics {
    /// Cores in use.
    pub cpu: f64,
    /// Bytes of memory in use.
    pub memory: u64,
}

/// How a replica stands, with the agent's durable number of this report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StatusReport {
    /// The service's or job's name.
    pub service: String,
    /// The Replica's name.
    pub replica_id: String,
    /// How its process stands. An original agent's words are mapped by the gateway.
    pub state: String,
    /// The Replica's namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// The Replica's incarnation; empty from an original agent.
    #[serde(skip_serializing_if = "Uid::is_empty")]
    pub uid: Uid,
    /// The definition it acts on.
    #[serde(skip_serializing_if = "ResourceVersion::is_zero")]
    pub spec_version: ResourceVersion,
    /// Which start of the process this is, from 1.
    pub attempt: u32,
    /// Durable per agent and rising over all its replicas, from 1 or above.
    pub seq: u64,
    /// The process, while there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// When the process started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// How often it was started again.
    pub restarts: u32,
    /// Whether it is ready.
    pub ready: bool,
    /// Ports by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ports: BTreeMap<String, u16>,
    /// How the last attempt ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
    /// What keeps it, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// In a hello after a restore: what it runs, for a server that does not know it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub definition: Option<Box<Definition>>,
}

impl StatusReport {
    /// The state as a word this build knows. Original agents say `started`, `healthy`, `crashed` and the like.
    pub fn process_state(&self) -> Option<ProcessState> {
        Some(match self.state.to_ascii_lowercase().as_str() {
            "starting" | "launching" | "pending" => ProcessState::Starting,
            "running" | "started" => ProcessState::Running,
            "ready" | "healthy" => ProcessState::Ready,
            "unready" | "unhealthy" => ProcessState::Unready,
            "stopping" => ProcessState::Stopping,
            "backoff" | "restarting" => ProcessState::Backoff,
            "exited" | "completed" => ProcessState::Exited,
            "failed" | "crashed" | "error" => ProcessState::Failed,
            "stopped" => ProcessState::Stopped,
            _ => return None,
        })
    }
}

/// Definitions an agent lacks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Want {
    /// Their replicas' incarnations.
    pub uids: Vec<Uid>,
}

/// An agent has worked through a sync.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Synced {
    /// The session it belongs to.
    pub session_id: String,
}

/// A command is durably accepted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ack {
    /// The command's id.
    pub id: String,
}

/// A command is older than what the agent acts on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Stale {
    /// The command's id.
    pub id: String,
    /// What the agent acts on.
    pub spec_version: ResourceVersion,
}

/// The answer to a hello.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Welcome {
    /// The protocol of this session.
    pub protocol: u32,
    /// The session.
    pub session_id: String,
    /// The control plane.
    pub cluster_id: String,
    /// Its store epoch.
    pub store_epoch: u64,
    /// How often to beat, in milliseconds.
    pub heartbeat_interval_ms: u64,
    /// The server's clock, in milliseconds since the Unix epoch.
    pub server_time: i64,
}

/// A part of the set of replicas a node should have.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sync {
    /// Counts the parts, from 0.
    pub part: u32,
    /// Whether this is the last; only then may what is not named be removed.
    pub last: bool,
    /// The replicas.
    pub replicas: Vec<SyncEntry>,
}

/// One replica of a sync.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SyncEntry {
    /// Its incarnation.
    pub uid: Uid,
    /// Its name.
    pub replica_id: String,
    /// The newest definition.
    pub spec_version: ResourceVersion,
}

/// Everything an agent needs to run a replica. Flat in the original's `service` object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Definition {
    /// The service's or job's name.
    pub name: String,
    /// The process.
    #[serde(flatten)]
    pub process: ProcessSpec,
    /// Labels of the service.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Which copy it is, or which attempt of a Run.
    #[serde(default)]
    pub index: u32,
    /// Environment that hooks have added.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hook_env: BTreeMap<String, String>,
    /// Whether an end by itself is final, as for an attempt of a Run, instead of being restarted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub once: bool,
    /// Rises with each placement; handed to the process as `ORION_FENCING_TOKEN`.
    #[serde(default)]
    pub fencing_token: u64,
}

/// Run a replica.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Launch {
    /// What to run.
    pub service: Definition,
    /// The Replica's name.
    pub replica_id: String,
    /// The command's id.
    pub id: String,
    /// The Replica's incarnation.
    pub uid: Uid,
    /// Its namespace.
    pub namespace: String,
    /// The version of the definition.
    pub spec_version: ResourceVersion,
}

/// End a replica. An agent that has nothing of it answers with a report that it is `stopped`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StopCommand {
    /// The service's or job's name.
    pub service_name: String,
    /// The Replica's name.
    pub replica_id: String,
    /// The command's id.
    pub id: String,
    /// The Replica's incarnation.
    pub uid: Uid,
    /// Its namespace.
    pub namespace: String,
    /// The version of the wish.
    pub spec_version: ResourceVersion,
    /// Why, for the log.
    pub reason: String,
}

/// Change a replica in place.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Update {
    /// The service's or job's name.
    pub service_name: String,
    /// The definition, whole.
    pub config: Definition,
    /// The Replica's name; all of the service on that node where it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replica_id: Option<String>,
    /// The command's id.
    pub id: String,
    /// The Replica's incarnation.
    pub uid: Uid,
    /// Its namespace.
    pub namespace: String,
    /// The version of the definition.
    pub spec_version: ResourceVersion,
}

/// All reports up to a number are committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StatusAck {
    /// The number of the report.
    pub seq: u64,
}

/// A finished replica need not be remembered. A `launch` of it after this begins it anew.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Forget {
    /// Its incarnation.
    pub uid: Uid,
    /// Its name.
    pub replica_id: String,
}

/// Another server holds the agents.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Redirect {
    /// Its address.
    pub url: String,
}

/// Asks for a replica's log.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LogRequest {
    /// The stream's id.
    pub id: String,
    /// The Replica's name.
    pub replica_id: String,
    /// Its incarnation.
    pub uid: Uid,
    /// Whether to go on with new lines.
    pub follow: bool,
    /// Begin with so many of the last lines; all where it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tail: Option<u64>,
    /// Only lines from this time on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// So many bytes may be sent before the first credit.
    pub credit: u64,
    /// The reader has gone: end the stream.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cancel: bool,
}

/// So many more bytes of a log may be sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogCredit {
    /// The stream's id.
    pub id: String,
    /// More bytes.
    pub bytes: u64,
}

/// Whole lines of a log: `<RFC 3339 time> stdout|stderr <text>`, each ended by a line feed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogChunk {
    /// The stream's id.
    pub id: String,
    /// The lines.
    pub data: String,
}

/// A log has ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogEnd {
    /// The stream's id.
    pub id: String,
    /// Why it could not be read, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
