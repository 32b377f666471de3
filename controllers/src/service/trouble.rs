//! What is wrong with a replica, in a sentence, and when what is wrong makes a rollout fail.

use orion_model::{ConditionStatus, Object, Timestamp};
use orion_types::{
    Replica,
    replica::{Exit, PLACED, ProcessState},
};

use super::census::{Census, Copy};

/// So many exits of new replicas fail a rollout.
const EXITS: u32 = 5;
/// So many refusals by hooks do: an answer is no accident, and no more of them are kept of an index.
const REFUSALS: usize = 3;

/// What keeps one replica from being ready, where it is more than a matter of time.
pub(super) struct Trouble {
    pub(super) reason: &'static str,
    pub(super) note: String,
}

/// What is wrong with a replica.
pub(super) fn of(replica: &Replica) -> Option<Trouble> {
    let name = replica.name();
    if let Some(refused) = &replica.status.refused {
        return Some(Trouble { reason: "HookRefused", note: format!("{name}: {refused}") });
    }
    if replica.spec.node_name.is_none() {
        let condition = replica.status.conditions.get(PLACED).filter(|c| c.status == ConditionStatus::False)?;
        return Some(Trouble { reason: "Unplaceable", note: format!("{name}: {}", condition.message) });
    }
    if let Some(gate) = replica.spec.gates.first() {
        return Some(Trouble { reason: "Gated", note: format!("{name}: waits for hook {gate}") });
    }
    let observed = replica.status.observed.as_ref().filter(|_| is_down(replica))?;
    let said = observed.exit.as_ref().map(sentence).or_else(|| observed.message.clone());
    let reason = if permanent_exit(replica).is_some() { "StartError" } else { "Exiting" };
    Some(Trouble { reason, note: format!("{name}: {}", said.unwrap_or_else(|| "does not run".into())) })
}

/// Why the rollout of a revision has failed; `None` where it has not.
pub(super) fn of_rollout(census: &Census, revision: &str, since: Timestamp) -> Option<String> {
    let new = || census.live.iter().filter(|copy| copy.is_of(revision)).map(|copy| &*copy.replica);
    if let Some((replica, exit)) = new().find_map(|replica| Some((replica, permanent_exit(replica)?))) {
        return Some(format!("{} cannot start: {}", replica.name(), sentence(exit)));
    }
    // Creation times are whole seconds.
    let since = Some(since.to_seconds());
    let refused = census.refused_of(revision);
    let refused: Vec<_> = refused.into_iter().filter(|replica| replica.metadata.creation_timestamp >= since).collect();
    if let Some(last) = refused.last().filter(|_| refused.len() >= REFUSALS) {
        return of(last).map(|trouble| trouble.note);
    }
    let ended = new().map(exits).fold(0, u32::saturating_add);
    if ended < EXITS {
        return None;
    }
    let last = new().max_by_key(|replica| exits(replica)).and_then(last_words).unwrap_or_default();
    Some(format!("new replicas have ended {ended} times{last}"))
}

/// The first trouble among those that are to run.
pub(super) fn first<'a>(live: impl IntoIterator<Item = &'a Copy>) -> Option<Trouble> {
    live.into_iter().find_map(|copy| of(&copy.replica))
}

/// How often its process has ended by itself.
fn exits(replica: &Replica) -> u32 {
    let Some(observed) = &replica.status.observed else { return 0 };
    observed.restarts.saturating_add(u32::from(is_down(replica)))
}

fn last_words(replica: &Replica) -> Option<String> {
    let exit = replica.status.observed.as_ref()?.exit.as_ref()?;
    Some(format!(", {} with {}", replica.name(), sentence(exit)))
}

fn is_down(replica: &Replica) -> bool {
    replica.status.observed.as_ref().is_some_and(|observed| match observed.state {
        ProcessState::Backoff | ProcessState::Exited | ProcessState::Failed => true,
        ProcessState::Starting
        | ProcessState::Running
        | ProcessState::Ready
        | ProcessState::Unready
        | ProcessState::Stopping
        | ProcessState::Stopped => false,
    })
}

fn permanent_exit(replica: &Replica) -> Option<&Exit> {
    let observed = replica.status.observed.as_ref().filter(|_| is_down(replica))?;
    observed.exit.as_ref().filter(|exit| exit.permanent)
}

fn sentence(exit: &Exit) -> String {
    let summary = exit.summary();
    match exit.message.as_str() {
        "" => summary,
        message if exit.code.is_none() && exit.signal.is_none() => message.to_owned(),
        message => format!("{summary} ({message})"),
    }
}
