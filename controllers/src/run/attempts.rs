//! The attempts of a Run: what its status has kept, brought up to date by the Replicas that are there.

use std::{collections::BTreeMap, sync::Arc};

use orion_model::Object;
use orion_types::{
    JobRun, Replica,
    replica::{ENDED_WITH_AGENT, Exit, Phase},
    run::Attempt,
};

/// How many attempts a status keeps.
const KEPT: usize = 20;

/// An attempt and how it stands.
pub(super) struct Known {
    pub(super) attempt: Attempt,
    pub(super) standing: Standing,
    pub(super) replica: Option<Arc<Replica>>,
}

/// How an attempt stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is to run, and has not ended.
    Live,
    /// Its end is wished and not reached.
    Ending,
    Succeeded,
    /// It ended otherwise, or could not begin; it counts.
    Failed,
    /// Its node was lost; it does not count.
    Lost,
    /// A person ended it.
    Stopped,
}

/// The attempts, oldest first.
pub(super) fn known(run: &JobRun, replicas: &[Arc<Replica>]) -> Vec<Known> {
    let mut known: BTreeMap<u32, Known> = BTreeMap::new();
    for attempt in &run.status.attempts {
        let standing = remembered(attempt);
        known.insert(attempt.number, Known { attempt: attempt.clone(), standing, replica: None });
    }
    for replica in replicas.iter().filter(|replica| replica.metadata.is_owned_by(run.uid())) {
        let number = replica.spec.index;
        let before = known.remove(&number).map(|known| known.attempt);
        known.insert(number, seen(replica, before));
    }
    known.into_values().collect()
}

/// The attempts a status keeps: the last.
pub(super) fn kept(known: &[Known]) -> Vec<Attempt> {
    known.iter().skip(known.len().saturating_sub(KEPT)).map(|known| known.attempt.clone()).collect()
}

/// How an attempt stands whose Replica is gone.
fn remembered(attempt: &Attempt) -> Standing {
    match &attempt.exit {
        _ if attempt.lost => Standing::Lost,
        Some(exit) if exit.is_success() => Standing::Succeeded,
        Some(exit) if exit.reason == STOPPED => Standing::Stopped,
        Some(_) => Standing::Failed,
        None => Standing::Stopped,
    }
}

const STOPPED: &str = "Stopped";

fn seen(replica: &Arc<Replica>, before: Option<Attempt>) -> Known {
    let lost_before = before.as_ref().is_some_and(|attempt| attempt.lost);
    let exit = replica.status.observed.as_ref().and_then(|observed| observed.exit.clone());
    let standing = match replica.status.phase {
        Phase::Succeeded => Standing::Succeeded,
        Phase::Lost => Standing::Lost,
        // Given up once, it does not count even where its end is learnt later.
        Phase::Failed | Phase::Stopped | Phase::Stopping if lost_before => Standing::Lost,
        Phase::Failed if exit.as_ref().is_some_and(|exit| exit.reason == ENDED_WITH_AGENT) => Standing::Lost,
        Phase::Failed => Standing::Failed,
        Phase::Stopped => Standing::Stopped,
        Phase::Stopping => Standing::Ending,
        Phase::Pending
        | Phase::Gated
        | Phase::Unknown
        | Phase::Scheduled
        | Phase::Starting
        | Phase::Running
        | Phase::Ready
        | Phase::Backoff => Standing::Live,
    };
    let exit = match standing {
        Standing::Live | Standing::Ending => None,
        Standing::Stopped => Some(exit.unwrap_or_else(|| Exit { reason: STOPPED.into(), ..Exit::default() })),
        Standing::Failed if replica.status.refused.is_some() => Some(refused(replica)),
        Standing::Succeeded | Standing::Failed | Standing::Lost => exit,
    };
    let lost = standing == Standing::Lost;
    let attempt = Attempt { number: replica.spec.index, replica: replica.name().to_owned(), exit, lost };
    Known { attempt, standing, replica: Some(replica.clone()) }
}

fn refused(replica: &Replica) -> Exit {
    let message = replica.status.refused.clone().unwrap_or_default();
    Exit { reason: "HookRefused".into(), message, ..Exit::default() }
}
