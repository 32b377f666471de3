//! Ports a process listens on.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The transport of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// `tcp` or `udp`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// Who chooses a port's number and who opens it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Allocation {
    /// The number in the file; a node has one holder of it.
    #[default]
    Static,
    /// Chosen by the agent for each replica, from its port range.
    Dynamic,
    /// The number in the file, opened once a node and passed to each replica as a file descriptor.
    Socket,
}

/// One port of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PortSpec {
    /// A name for it, told to the process as `ORION_PORT_<NAME>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The number, 1 to 65535; needed unless the allocation is `dynamic`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
    /// `tcp` (default) or `udp`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub protocol: Protocol,
    /// Kept for the original's files; Orion forwards nothing, the process listens on `port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub target_port: Option<u16>,
    /// `static` (default), `dynamic` or `socket`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub allocation: Allocation,
    /// The address a `socket` port is opened on; default 0.0.0.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bind: Option<String>,
}

impl PortSpec {
    /// The number and protocol that one replica holds alone on its node, if this is a static port.
    pub fn exclusive(&self) -> Option<(u16, Protocol)> {
        match self.allocation {
            Allocation::Static => self.port.map(|port| (port, self.protocol)),
            Allocation::Dynamic | Allocation::Socket => None,
        }
    }
}

/// For list items: what is default there is left out, since clients compare lists whole.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
