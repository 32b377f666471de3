//! Whether a new replica can be placed beside those it replaces; where none can, one old replica is stopped first.

use std::{sync::Arc, time::Duration};

use orion_model::{Object, Timestamp};
use orion_types::{
    Replica,
    change::{SurgeBlock, surge_block},
};

use super::{
    census::{Census, Copy, count},
    plan::Input,
    rollout::{Block, Steps},
};
use crate::{labels, notice::Notice, placement, retirement, wake::Wake};

/// Within this time the scheduler has seen that a replica has ended.
const SCHEDULED_WITHIN: Duration = Duration::from_secs(2);

/// Why a new replica cannot stand beside the old: by the spec alone, or because the scheduler found no room for it.
pub(super) fn block(input: &Input<'_>, census: &Census, target: &str, wake: &mut Wake) -> Option<Block> {
    let spec = &input.service.spec;
    let usable: Vec<String> = input
        .nodes
        .iter()
        .filter(|node| placement::fits(node, &spec.placement))
        .map(|node| node.name().to_owned())
        .collect();
    match surge_block(spec, count(usable.len())) {
        Some(block @ SurgeBlock::Singleton) => return Some(Block { reason: block.to_string(), nodes: None }),
        Some(block @ SurgeBlock::StaticPort { .. }) => {
            return Some(Block { reason: block.to_string(), nodes: Some(usable) });
        }
        None => {}
    }
    // What is on its way out may be all the room that is needed, and what is on its way up soon lets an old one go.
    let on_its_way = |copy: &Copy| copy.is_of(target) && copy.replica.is_placed() && !copy.available;
    if !census.stopping.is_empty() || census.live.iter().any(on_its_way) || has_just_freed(census, input.now, wake) {
        return None;
    }
    let has_old = |index| census.live.iter().any(|copy| !copy.is_of(target) && copy.index() == index);
    let waiting = |copy: &&Copy| copy.is_of(target) && copy.has_no_room() && has_old(copy.index());
    let surge = census.live.iter().find(waiting)?;
    let refusal = surge.replica.status.conditions.get(orion_types::replica::PLACED)?;
    Some(Block { reason: refusal.message.clone(), nodes: Some(usable) })
}

/// Whether a replica has ended so lately that the scheduler may not have given its room away yet.
fn has_just_freed(census: &Census, now: Timestamp, wake: &mut Wake) -> bool {
    let ended = |replica: &Arc<Replica>| match retirement::due(replica) {
        Some(_) => Some(now),
        None => labels::time(&replica.metadata.annotations, labels::FINISHED_AT),
    };
    let until = census.finished.iter().filter_map(ended).max().map(|at| at.after(SCHEDULED_WITHIN));
    let Some(until) = until.filter(|until| *until > now) else { return false };
    wake.at(until);
    true
}

/// What is told where one replica was stopped first.
pub(super) fn notice(steps: &Steps) -> Option<Notice> {
    let reason = steps.surge_impossible.as_ref()?;
    Some(Notice::normal("SurgeImpossible", format!("one replica is stopped before its successor starts: {reason}")))
}
