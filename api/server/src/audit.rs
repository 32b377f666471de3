//! The audit line of every write: who, what, when, which version, allowed or denied.
//!
//! Lines go to tracing under the target `orion::audit`; its subscriber stamps the time.

use orion_model::{ObjectKey, ResourceVersion};

use crate::Caller;

/// How a write that is audited ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It took effect, or changed nothing because nothing differed.
    Allowed {
        /// The version of the object after it, where there is one.
        version: Option<ResourceVersion>,
    },
    /// It was judged and would have been allowed.
    DryRun,
    /// It was refused with this HTTP status.
    Denied(u16),
}

/// What an audit line says.
#[derive(Clone, Debug)]
pub struct Audit<'a> {
    /// Who.
    pub caller: &'a Caller,
    /// Did what: `create`, `update`, `patch`, `delete`, `apply`.
    pub verb: &'a str,
    /// To what: an object's key or a path.
    pub what: String,
}

impl<'a> Audit<'a> {
    /// An audit line about an object.
    pub fn of(caller: &'a Caller, verb: &'a str, key: &ObjectKey) -> Self {
        Self { caller, verb, what: key.to_string() }
    }

    /// Writes the line.
    pub fn record(&self, verdict: Verdict) {
        let Self { caller, verb, what } = self;
        match verdict {
            Verdict::Allowed { version } => {
                let version = version.map(tracing::field::display);
                tracing::info!(target: "orion::audit", who = %caller, verb, what, version, "allowed");
            }
            Verdict::DryRun => tracing::info!(target: "orion::audit", who = %caller, verb, what, "dry run"),
            Verdict::Denied(code) => {
                tracing::warn!(target: "orion::audit", who = %caller, verb, what, code, "denied");
            }
        }
    }
}
