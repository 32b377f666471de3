//! Probes: how the agent asks a process whether it has started, is ready, is alive.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Duration, process::Command};

/// The probes of a process. `http` alone is short for a startup and a readiness probe of that path on the first port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// Short form: a path, asked by HTTP on the first port for startup and readiness.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    /// Until it passes once, the other probes wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup: Option<Probe>,
    /// While it passes, the replica is ready. It never kills.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness: Option<Probe>,
    /// When it fails, the process is restarted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub liveness: Option<Probe>,
}

/// One probe: exactly one of `http`, `tcp` and `exec`, and how often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Probe {
    /// Passes on an answer of 200 to 399.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpProbe>,
    /// Passes when a connection is accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpProbe>,
    /// Passes when a command ends with 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exec: Option<ExecProbe>,
    /// Time between two probes; default 2s.
    pub period: Duration,
    /// How long one may take; default 1s.
    pub timeout: Duration,
    /// How many in a row make it pass; default 1.
    #[schemars(range(min = 1))]
    pub success_threshold: u32,
    /// How many failures in a row make it fail; default 3, for startup 60.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub failure_threshold: Option<u32>,
}

impl Default for Probe {
    fn default() -> Self {
        Self {
            http: None,
            tcp: None,
            exec: None,
            period: Duration::from_secs(2),
            timeout: Duration::from_secs(1),
            success_threshold: 1,
            failure_threshold: None,
        }
    }
}

/// A probe by HTTP GET.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpProbe {
    /// The path; default `/`.
    pub path: String,
    /// The port, by number or name; default the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<PortRef>,
}

impl Default for HttpProbe {
    fn default() -> Self {
        Self { path: "/".to_owned(), port: None }
    }
}

/// A probe by a TCP connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TcpProbe {
    /// The port, by number or name; default the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<PortRef>,
}

/// A probe by a command in the process's folder and environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExecProbe {
    /// The command, as a line or as a list of words.
    pub command: Command,
}

/// A port by its number or by its name among the process's ports.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PortRef {
    /// By number.
    Number(u16),
    /// By name.
    Name(String),
}

impl crate::scalar::Scalar for PortRef {
    const FORMAT: &'static str = "port-ref";
    const TYPES: &'static [&'static str] = &["integer", "string"];

    fn read(value: &serde_json::Value) -> Result<Self, String> {
        match value {
            serde_json::Value::String(name) if !name.is_empty() => Ok(Self::Name(name.clone())),
            serde_json::Value::Number(number) => {
                let port = number.as_u64().and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
                port.map(Self::Number).ok_or_else(|| format!("must be 1 to 65535, not {number}"))
            }
            _ => Err("must be a port's number or name".to_owned()),
        }
    }

    fn write(&self) -> serde_json::Value {
        match self {
            Self::Number(port) => (*port).into(),
            Self::Name(name) => name.as_str().into(),
        }
    }
}

crate::scalar::impl_scalar!(PortRef);
