//! What of a process changes in place, under the same pid.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    CpuQuantity, Duration, MemoryQuantity,
    process::{Command, Health},
    scalar::{Scalar, impl_scalar, text},
};

/// The fields of a process that change in place.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Settings {
    /// How a process that ended is started again.
    pub restart: RestartPolicy,
    /// How it is stopped.
    pub stop: StopPolicy,
    /// Its probes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// How its output is kept.
    pub logs: LogSettings,
    /// What it needs and what it may use.
    pub resources: Resources,
}

/// How a process that ended by itself is started again: at once after 10 s up, else with a delay that doubles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RestartPolicy {
    /// The first delay; default 1s.
    pub initial_delay: Duration,
    /// The longest delay; default 60s.
    pub max_delay: Duration,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self { initial_delay: Duration::from_secs(1), max_delay: Duration::from_secs(60) }
    }
}

/// How a process is stopped: the signal, then after the timeout KILL to all that is left of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct StopPolicy {
    /// The signal; default SIGTERM.
    pub signal: Signal,
    /// How long after the signal KILL follows; default 10s.
    pub timeout: Duration,
    /// Whom the signal goes to: `group` (default) or `process`.
    pub kill_mode: KillMode,
    /// A command run before the signal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pre_stop: Option<Command>,
}

impl Default for StopPolicy {
    fn default() -> Self {
        Self {
            signal: Signal::default(),
            timeout: Duration::from_secs(10),
            kill_mode: KillMode::default(),
            pre_stop: None,
        }
    }
}

/// Whom a stop signal goes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum KillMode {
    /// The process group.
    #[default]
    Group,
    /// The main process alone.
    Process,
}

/// A signal that stops a process. Written with or without `SIG`, in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Signal {
    /// SIGHUP.
    Hup,
    /// SIGINT.
    Int,
    /// SIGQUIT.
    Quit,
    /// SIGKILL.
    Kill,
    /// SIGUSR1.
    Usr1,
    /// SIGUSR2.
    Usr2,
    /// SIGALRM.
    Alrm,
    /// SIGTERM.
    #[default]
    Term,
    /// SIGWINCH.
    Winch,
}

impl Signal {
    const ALL: [Self; 9] =
        [Self::Hup, Self::Int, Self::Quit, Self::Kill, Self::Usr1, Self::Usr2, Self::Alrm, Self::Term, Self::Winch];

    /// Its name with `SIG`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hup => "SIGHUP",
            Self::Int => "SIGINT",
            Self::Quit => "SIGQUIT",
            Self::Kill => "SIGKILL",
            Self::Usr1 => "SIGUSR1",
            Self::Usr2 => "SIGUSR2",
            Self::Alrm => "SIGALRM",
            Self::Term => "SIGTERM",
            Self::Winch => "SIGWINCH",
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Signal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let upper = text.to_ascii_uppercase();
        let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
        let found = Self::ALL.into_iter().find(|signal| &signal.as_str()[3..] == bare);
        found.ok_or_else(|| {
            format!("{text:?} is no signal that stops a process; use one of {}", Self::ALL.map(Self::as_str).join(", "))
        })
    }
}

impl Scalar for Signal {
    const FORMAT: &'static str = "signal";
    const TYPES: &'static [&'static str] = &["string"];

    fn read(value: &Value) -> Result<Self, String> {
        text(value)?.parse()
    }

    fn write(&self) -> Value {
        self.as_str().into()
    }
}

impl_scalar!(Signal);

/// How the output of a process is kept on its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LogSettings {
    /// How many files are kept; default 5.
    #[schemars(range(min = 1, max = 1000))]
    pub max_files: u32,
    /// The size at which a file is closed and the next begun; default 10Mi.
    pub max_file_size: MemoryQuantity,
    /// How long they are kept after the replica is gone; default 24h.
    pub keep_for: Duration,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { max_files: 5, max_file_size: MemoryQuantity::from_mib(10), keep_for: Duration::from_hours(24) }
    }
}

/// What a process needs of its node, which the scheduler keeps free for it, and what it may use at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// Cores it needs: `0.5` or `"500m"`; default none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<CpuQuantity>,
    /// Memory it needs: a bare number is MiB, `"512Mi"` and `"1G"` say their unit; default none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryQuantity>,
    /// What it may use at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
}

/// Bounds enforced by the kernel where the node can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Cores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<CpuQuantity>,
    /// Memory; what goes beyond it is killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryQuantity>,
    /// Processes and threads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub pids: Option<u32>,
}
