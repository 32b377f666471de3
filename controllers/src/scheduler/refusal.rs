//! Why a replica was not placed, node by node, in words.

use std::fmt;

use orion_types::{CpuQuantity, MemoryQuantity};

use super::fleet::HeldPort;
use crate::{placed, placement::Unfit};

/// How many nodes' refusals are kept with a replica.
const KEPT: usize = 20;

/// Why one node was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// It may not run it, whatever room it has.
    Unfit(Unfit),
    /// Its agent is an original one.
    Legacy,
    /// A port is taken.
    Port { port: HeldPort, holder: String },
    /// Thousandths of a core.
    Cpu { needs: u64, free: u64 },
    /// Bytes.
    Memory { needs: u64, free: u64 },
}

/// What one node said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) node: String,
    pub(super) why: Why,
}

impl Why {
    /// Whether the node could run it, had it more room.
    fn is_room(&self) -> bool {
        match self {
            Self::Port { .. } | Self::Cpu { .. } | Self::Memory { .. } => true,
            Self::Unfit(_) | Self::Legacy => false,
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unfit(unfit) => unfit.fmt(f),
            Self::Legacy => f.write_str("its agent is an original one, which cannot run this"),
            Self::Port { port: (port, protocol), holder } => {
                write!(f, "port {port}/{} used by {holder}", format!("{protocol:?}").to_lowercase())
            }
            Self::Cpu { needs, free } => {
                let (needs, free) = (CpuQuantity::from_millis(*needs), CpuQuantity::from_millis(*free));
                write!(f, "needs {needs} CPU, free {free}")
            }
            Self::Memory { needs, free } => write!(f, "needs {}, free {}", bytes(*needs), bytes(*free)),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.node, self.why)
    }
}

/// The reason and the message of the condition `Placed`: those that lack room first.
pub(super) fn summary(mut refusals: Vec<Refusal>) -> (&'static str, String) {
    if refusals.is_empty() {
        return (placed::NO_NODE, "there is no node yet".to_owned());
    }
    refusals.sort_by_key(|refusal| !refusal.why.is_room());
    let reason = if refusals[0].why.is_room() { placed::NO_ROOM } else { placed::NO_NODE };
    let more = refusals.len().saturating_sub(KEPT);
    let mut said: Vec<String> = refusals.iter().take(KEPT).map(Refusal::to_string).collect();
    if more > 0 {
        said.push(format!("and {more} more nodes"));
    }
    (reason, said.join("; "))
}

/// Whole MiB where there is one, so that people can read it.
fn bytes(bytes: u64) -> MemoryQuantity {
    match bytes >> 20 {
        0 => MemoryQuantity::from_bytes(bytes),
        mib => MemoryQuantity::from_mib(mib),
    }
}
