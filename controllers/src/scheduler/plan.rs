//! Where each waiting replica goes: a pure function of what waits, of the fleet and of the node taken last.

use std::sync::Arc;

use orion_types::{Replica, replica::PLACED, service::Placement};

use super::{
    fleet::{Demand, Fleet, Room},
    refusal::{Refusal, Why, summary},
};
use crate::{placed, placement};

/// A replica that waits for a node.
pub(super) struct Pending {
    pub(super) replica: Arc<Replica>,
    pub(super) placement: Placement,
    /// What it asks; `None` where its template is not known.
    pub(super) demand: Option<Demand>,
    /// Whether an original agent cannot run it.
    pub(super) modern: bool,
}

/// What became of one.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Bound(String),
    Refused { reason: &'static str, message: String },
}

/// A replica and what became of it.
pub(super) struct Judged {
    pub(super) replica: Arc<Replica>,
    pub(super) verdict: Verdict,
}

/// What became of all.
pub(super) struct Plan {
    pub(super) verdicts: Vec<Judged>,
    /// The node taken last.
    pub(super) cursor: String,
}

/// Places them in the order given; each sees what those before it have taken.
pub(super) fn plan(pending: &[Pending], fleet: &mut Fleet, mut cursor: String) -> Plan {
    let mut verdicts = Vec::with_capacity(pending.len());
    for one in pending {
        let verdict = match &one.demand {
            Some(demand) => match choose(one, demand, fleet, &cursor) {
                Ok(index) => {
                    cursor = fleet.take(index, &one.replica, demand);
                    Verdict::Bound(cursor.clone())
                }
                Err(refusals) => {
                    let (reason, message) = summary(refusals);
                    Verdict::Refused { reason, message }
                }
            },
            None => Verdict::Refused { reason: placed::NO_NODE, message: "its template is not known yet".to_owned() },
        };
        verdicts.push(Judged { replica: one.replica.clone(), verdict });
    }
    Plan { verdicts, cursor }
}

impl Plan {
    /// What is not written yet: the bindings, and then the refusals that are not said already, so that those who have
    /// no room never keep others from theirs.
    pub(super) fn news(&self) -> Vec<&Judged> {
        let bound = self.verdicts.iter().filter(|judged| matches!(judged.verdict, Verdict::Bound(_)));
        bound.chain(self.verdicts.iter().filter(|judged| judged.is_refused_anew())).collect()
    }
}

impl Judged {
    fn is_refused_anew(&self) -> bool {
        let Verdict::Refused { reason, message } = &self.verdict else { return false };
        let said = self.replica.status.conditions.get(PLACED);
        said.is_none_or(|said| said.reason != *reason || said.message != *message)
    }
}

/// The best node; among equals the next one after that taken last.
fn choose(pending: &Pending, demand: &Demand, fleet: &Fleet, cursor: &str) -> Result<usize, Vec<Refusal>> {
    let mut refusals = Vec::new();
    let mut fitting = Vec::new();
    for (index, room) in fleet.rooms().iter().enumerate() {
        match refuses(room, pending, demand) {
            Some(why) => refusals.push(Refusal { node: room.name().to_owned(), why }),
            None => fitting.push((index, room)),
        }
    }
    let next = |(index, room): &(usize, &Room)| (room.score(demand), room.name() <= cursor, *index);
    fitting.into_iter().min_by_key(next).map(|(index, _)| index).ok_or(refusals)
}

fn refuses(room: &Room, pending: &Pending, demand: &Demand) -> Option<Why> {
    if let Some(unfit) = placement::unfit(&room.node, &room.labels, &pending.placement) {
        return Some(Why::Unfit(unfit));
    }
    if pending.modern && room.node.is_legacy() {
        return Some(Why::Legacy);
    }
    room.lacks(demand)
}
