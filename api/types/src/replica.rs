//! Replicas: one placement of one process, and what became of it.
//!
//! A Replica is bound to a node once. Its template is its Revision's or its Run's; the process fields that change in
//! place are its `settings`. Each field has one writer:
//!
//! ```text
//! spec   serviceName, runName, index, revision, settings, stop   the controller that made it
//!        nodeName                                                the scheduler, once
//!        gates, env                                              the plugin controller
//! status observed                                                the gateway
//!        disposition                                             the Node controller
//!        conditions[Placed]                                      the scheduler
//!        refused                                                 the plugin controller
//!        phase                                                   nobody: the store derives it, see [`phase`]
//! ```

use std::{collections::BTreeMap, fmt};

use orion_model::{Conditions, Issue, Object, Resource, ResourceVersion, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::process::Settings;

/// The finalizer that keeps a Replica until its process is known to be gone; its creator removes it.
pub const PROCESS_FINALIZER: &str = "orion/process";

/// The reason of the exit of an attempt that was ended because its agent ended with its processes: as with a lost node,
/// that is no failure of the attempt's own.
pub const ENDED_WITH_AGENT: &str = "EndedWithAgent";

/// The condition that says whether the scheduler could place a Replica.
pub const PLACED: &str = "Placed";

/// What is wished of one replica.
#[derive(Resource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[resource(kind = Replica, group = "orion", version = "v1", status = ReplicaStatus, short = "rep")]
#[resource(selectable = ".spec.nodeName", selectable = ".spec.serviceName", selectable = ".spec.runName")]
#[resource(
    column("PHASE", ".status.phase"),
    column("NODE", ".spec.nodeName"),
    column("RESTARTS", ".status.observed.restarts")
)]
#[resource(column("PID", ".status.observed.pid"), wide("REVISION", ".spec.revision"), wide("INDEX", ".spec.index"))]
#[resource(derived(".status.phase", derived_phase), validate = bound_once)]
#[serde(rename_all = "camelCase", default)]
pub struct ReplicaSpec {
    /// The Service it is a copy of; absent for an attempt of a Run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_name: Option<String>,
    /// The Run it is an attempt of; absent for a copy of a Service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_name: Option<String>,
    /// Which copy it is; a surge copy shares the index of the one it replaces. The attempt's number, for a Run.
    pub index: u32,
    /// The Revision whose template it runs; empty for an attempt of a Run.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub revision: String,
    /// The node it is bound to; written once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_name: Option<String>,
    /// Hooks that must pass before it may be launched.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<String>,
    /// Environment that hooks have added.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// The process fields that change in place.
    pub settings: Settings,
    /// Its end is wished; final. A deletion timestamp implies it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop: Option<Stop>,
}

/// Why a replica is to end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Stop {
    /// A CamelCase word: `ScaledDown`, `Replaced`, `RolledBack`, `DuplicateAfterReturn`, `Deleted`, `DeadlineExceeded`.
    pub reason: String,
}

/// What is of one replica.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ReplicaStatus {
    /// Where it stands, derived from the rest.
    pub phase: Phase,
    /// What the Node controller says of the node it is on.
    pub disposition: Disposition,
    /// Whether it could be placed, and why not.
    #[serde(skip_serializing_if = "Conditions::is_empty")]
    pub conditions: Conditions,
    /// A hook refused it, for this reason; it will not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// What its agent last reported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed: Option<Observed>,
}

/// Whether a replica's node can be heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Disposition {
    /// Its node is ready.
    #[default]
    Active,
    /// Its node has fallen silent.
    Unknown,
    /// Its node has been silent for too long; it has been given up, for good.
    Lost,
}

/// Where a replica stands, in the order in which the first that holds wins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Phase {
    /// Given up with its node.
    Lost,
    /// An attempt that ended with exit code 0.
    Succeeded,
    /// An attempt that ended otherwise, or a replica that a hook refused.
    Failed,
    /// Its end was wished and nothing of it is left.
    Stopped,
    /// Its end is wished.
    Stopping,
    /// No node yet.
    #[default]
    Pending,
    /// Bound, and waiting for hooks.
    Gated,
    /// Its node is silent.
    Unknown,
    /// Bound; its agent has said nothing yet.
    Scheduled,
    /// Being launched.
    Starting,
    /// Its process runs, not yet ready.
    Running,
    /// Its process runs and is ready.
    Ready,
    /// It ended or could not start, and waits to be tried again.
    Backoff,
}

impl Phase {
    /// Whether it is over: it will never run again and holds nothing.
    pub fn is_finished(self) -> bool {
        matches!(self, Self::Lost | Self::Succeeded | Self::Failed | Self::Stopped)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What an agent says of a process, on the wire and in `status.observed`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub enum ProcessState {
    /// Being launched.
    #[default]
    Starting,
    /// The process runs.
    Running,
    /// It runs and is ready.
    Ready,
    /// It runs and is no longer ready.
    Unready,
    /// It is being ended.
    Stopping,
    /// It ended or could not start, and will be tried again.
    Backoff,
    /// It ended by itself and is not tried again.
    Exited,
    /// It could not be started and is not tried again.
    Failed,
    /// It was ended as wished; nothing of it is left.
    Stopped,
}

/// What an agent last reported of a replica.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Observed {
    /// How its process stands.
    pub state: ProcessState,
    /// Its process, while there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Which start of the process this is, from 1.
    pub attempt: u32,
    /// How often the agent has started it again.
    pub restarts: u32,
    /// When this attempt's process started, by the agent's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// Whether it is ready.
    pub ready: bool,
    /// Since when, by the gateway's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_since: Option<Timestamp>,
    /// Its ports by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ports: BTreeMap<String, u16>,
    /// The agent's number of this report; a lower one changes nothing.
    pub seq: u64,
    /// The specVersion the agent acts on.
    #[serde(skip_serializing_if = "ResourceVersion::is_zero")]
    pub spec_version: ResourceVersion,
    /// How the last attempt ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
    /// What keeps it, in a sentence: why it cannot start, what cannot be stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// How a process ended, or why it did not start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Exit {
    /// Its exit code, where it exited by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// The signal that ended it, where one did: `SIGKILL`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// A CamelCase word: `Completed`, `Error`, `Signalled`, `StartError`, `ShimLost`, `Stopped`.
    pub reason: String,
    /// A sentence for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// When, by the agent's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// Whether trying again cannot mend it: no such file, not executable, no such user.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub permanent: bool,
}

impl Exit {
    /// Whether the process ended by itself with exit code 0.
    pub fn is_success(&self) -> bool {
        self.code == Some(0)
    }

    /// The end in a few words: `exit code 3`, `SIGKILL`, or the reason.
    pub fn summary(&self) -> String {
        match (self.code, &self.signal) {
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(signal)) => signal.clone(),
            (None, None) => self.reason.clone(),
        }
    }
}

impl Replica {
    /// Whether its end is wished.
    pub fn is_stop_wished(&self) -> bool {
        self.spec.stop.is_some() || self.is_being_deleted()
    }

    /// Bound to a node, and not over.
    pub fn is_placed(&self) -> bool {
        self.spec.node_name.is_some() && !self.status.phase.is_finished()
    }

    /// Whether its process runs and is ready, its node can be heard, and its end is not wished.
    pub fn is_ready(&self) -> bool {
        self.status.phase == Phase::Ready
    }

    /// Whether it holds its node's resources and ports: placed, stopping included.
    pub fn holds_resources(&self) -> bool {
        self.is_placed()
    }
}

/// What of a Replica is written once: whose it is, what it runs, where, and that its end is wished.
fn bound_once(new: &Replica, old: Option<&Replica>) -> Vec<Issue> {
    let Some(old) = old else { return Vec::new() };
    let (new, old) = (&new.spec, &old.spec);
    let fixed = [
        ("spec.serviceName", new.service_name == old.service_name),
        ("spec.runName", new.run_name == old.run_name),
        ("spec.index", new.index == old.index),
        ("spec.revision", new.revision == old.revision),
        ("spec.nodeName", old.node_name.is_none() || new.node_name == old.node_name),
        ("spec.stop", old.stop.is_none() || new.stop.is_some()),
    ];
    let changed = fixed.into_iter().filter(|(_, same)| !same);
    changed.map(|(path, _)| Issue::at(path, "of a Replica cannot be changed once it is set")).collect()
}

fn derived_phase(replica: &Replica) -> Value {
    Value::String(phase(replica).to_string())
}

/// Where a replica stands: a pure function of the object, kept by the store on each write.
pub fn phase(replica: &Replica) -> Phase {
    let status = &replica.status;
    let state = status.observed.as_ref().map(|observed| observed.state);
    if status.disposition == Disposition::Lost {
        return Phase::Lost;
    }
    if let Some(end) = finished(replica) {
        return end;
    }
    if replica.is_stop_wished() {
        // What no agent was ever told of is over as soon as its end is wished.
        let over = replica.spec.node_name.is_none() || state == Some(ProcessState::Stopped);
        return if over { Phase::Stopped } else { Phase::Stopping };
    }
    if replica.spec.node_name.is_none() {
        return Phase::Pending;
    }
    if !replica.spec.gates.is_empty() {
        return Phase::Gated;
    }
    if status.disposition == Disposition::Unknown {
        return Phase::Unknown;
    }
    match state {
        None => Phase::Scheduled,
        Some(ProcessState::Starting | ProcessState::Stopped) => Phase::Starting,
        Some(ProcessState::Running | ProcessState::Unready | ProcessState::Stopping) => Phase::Running,
        Some(ProcessState::Ready) => Phase::Ready,
        Some(ProcessState::Backoff | ProcessState::Exited | ProcessState::Failed) => Phase::Backoff,
    }
}

/// `Succeeded` or `Failed`, for what has finished and is not to be restarted, or was refused by a hook.
fn finished(replica: &Replica) -> Option<Phase> {
    if replica.status.refused.is_some() {
        return Some(Phase::Failed);
    }
    let observed = replica.status.observed.as_ref().filter(|_| replica.spec.run_name.is_some())?;
    match observed.state {
        ProcessState::Exited if observed.exit.as_ref().is_some_and(Exit::is_success) => Some(Phase::Succeeded),
        ProcessState::Exited | ProcessState::Failed => Some(Phase::Failed),
        ProcessState::Starting
        | ProcessState::Running
        | ProcessState::Ready
        | ProcessState::Unready
        | ProcessState::Stopping
        | ProcessState::Backoff
        | ProcessState::Stopped => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replica(change: impl FnOnce(&mut Replica)) -> Replica {
        let mut replica = Replica::new("web-0-abcde", ReplicaSpec::default());
        replica.spec.service_name = Some("web".into());
        replica.spec.node_name = Some("node-1".into());
        change(&mut replica);
        replica
    }

    fn says(replica: &mut Replica, state: ProcessState, code: Option<i32>) {
        let exit = code.map(|code| Exit { code: Some(code), ..Exit::default() });
        replica.status.observed = Some(Observed { state, exit, ..Observed::default() });
    }

    #[test]
    fn the_phase_is_the_first_that_holds() {
        let stop = || Some(Stop { reason: "ScaledDown".into() });
        let table: [(&str, Replica, Phase); 16] = [
            ("unbound", replica(|r| r.spec.node_name = None), Phase::Pending),
            ("bound", replica(|_| {}), Phase::Scheduled),
            ("gated", replica(|r| r.spec.gates = vec!["p:check".into()]), Phase::Gated),
            ("starting", replica(|r| says(r, ProcessState::Starting, None)), Phase::Starting),
            ("running", replica(|r| says(r, ProcessState::Running, None)), Phase::Running),
            ("ready", replica(|r| says(r, ProcessState::Ready, None)), Phase::Ready),
            ("unready", replica(|r| says(r, ProcessState::Unready, None)), Phase::Running),
            ("a service's exit is not its end", replica(|r| says(r, ProcessState::Backoff, Some(0))), Phase::Backoff),
            (
                "silent node",
                replica(|r| {
                    says(r, ProcessState::Ready, None);
                    r.status.disposition = Disposition::Unknown;
                }),
                Phase::Unknown,
            ),
            (
                "lost wins over a late running",
                replica(|r| {
                    says(r, ProcessState::Running, None);
                    r.status.disposition = Disposition::Lost;
                }),
                Phase::Lost,
            ),
            (
                "stop wished",
                replica(|r| {
                    says(r, ProcessState::Ready, None);
                    r.spec.stop = stop();
                }),
                Phase::Stopping,
            ),
            (
                "stop acknowledged",
                replica(|r| {
                    says(r, ProcessState::Stopped, None);
                    r.spec.stop = stop();
                }),
                Phase::Stopped,
            ),
            (
                "stopped before any node knew of it",
                replica(|r| {
                    r.spec.node_name = None;
                    r.spec.stop = stop();
                }),
                Phase::Stopped,
            ),
            (
                "an attempt that ended well",
                replica(|r| {
                    r.spec.run_name = Some("migrate-1".into());
                    says(r, ProcessState::Exited, Some(0));
                }),
                Phase::Succeeded,
            ),
            (
                "an attempt that did not",
                replica(|r| {
                    r.spec.run_name = Some("migrate-1".into());
                    says(r, ProcessState::Exited, Some(3));
                }),
                Phase::Failed,
            ),
            ("refused by a hook", replica(|r| r.status.refused = Some("no".into())), Phase::Failed),
        ];
        for (case, replica, expected) in table {
            assert_eq!(phase(&replica), expected, "{case}");
        }
    }

    #[test]
    fn a_replica_is_bound_once_and_its_stop_is_final() {
        let bound = replica(|_| {});
        let unbound = replica(|r| r.spec.node_name = None);
        let stopped = replica(|r| r.spec.stop = Some(Stop { reason: "ScaledDown".into() }));
        let paths = |new: &Replica, old: &Replica| -> Vec<String> {
            bound_once(new, Some(old)).into_iter().map(|issue| issue.path).collect()
        };
        assert_eq!(paths(&bound, &unbound), [""; 0], "binding it");
        assert_eq!(paths(&stopped, &bound), [""; 0], "wishing its end");
        assert_eq!(paths(&replica(|r| r.spec.node_name = Some("node-2".into())), &bound), ["spec.nodeName"]);
        assert_eq!(paths(&unbound, &bound), ["spec.nodeName"]);
        assert_eq!(paths(&bound, &stopped), ["spec.stop"]);
        assert_eq!(paths(&replica(|r| r.spec.revision = "web-b".into()), &bound), ["spec.revision"]);
        assert_eq!(paths(&replica(|r| r.spec.index = 3), &bound), ["spec.index"]);
    }

    #[test]
    fn the_registry_derives_the_phase() {
        let mut ready = replica(|r| says(r, ProcessState::Ready, None));
        ready.status.phase = Phase::Pending;
        let raw = orion_model::Raw::from_value(Replica::KIND, serde_json::to_value(&ready).expect("it encodes"));
        let fields = Replica::definition().derived_fields(&raw.expect("an object")).expect("it decodes");
        assert_eq!(fields[0].1, Value::String("Ready".into()));
    }
}
