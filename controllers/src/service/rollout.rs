//! One step of a rollout, of scaling and of replacing what was lost: which replicas are started, which are stopped.
//!
//! ```text
//! started ≤ desired + surge − unfinished                      (placed, or about to be)
//! stopped ≤ available − (desired − maxUnavailable)            (those that are not available cost nothing)
//! ```
//!
//! Each step holds by itself, whatever the last one came to: nothing is remembered between steps but the objects.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use orion_model::Object;
use orion_types::service::Strategy;

use super::{
    census::{Census, Copy, count},
    plan::STARTS_A_RUN,
};
use crate::wake::Wake;

/// What the service is to become.
pub(super) struct Goal<'a> {
    /// The revision all replicas are to have.
    pub(super) revision: &'a str,
    /// How many there are to be.
    pub(super) desired: u32,
    pub(super) strategy: Strategy,
    pub(super) max_surge: u32,
    pub(super) max_unavailable: u32,
    /// Why no surge copy can be placed, where that is known.
    pub(super) block: Option<Block>,
    /// Nothing is replaced, and only what is missing is started.
    pub(super) held: bool,
    /// Why replicas of other revisions are stopped.
    pub(super) reason: StopReason,
}

/// Why no surge copy can be placed.
pub(super) struct Block {
    /// In a sentence.
    pub(super) reason: String,
    /// The nodes on which a successor could stand once a replica there is gone; any, where it is `None`.
    pub(super) nodes: Option<Vec<String>>,
}

/// Why a replica is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum StopReason {
    ScaledDown,
    Replaced,
    RolledBack,
    DuplicateAfterReturn,
}

impl StopReason {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::ScaledDown => "ScaledDown",
            Self::Replaced => "Replaced",
            Self::RolledBack => "RolledBack",
            Self::DuplicateAfterReturn => "DuplicateAfterReturn",
        }
    }
}

/// What one step does.
#[derive(Default)]
pub(super) struct Steps {
    /// Replicas to start, by index.
    pub(super) starts: Vec<u32>,
    /// Replicas to stop.
    pub(super) stops: BTreeMap<String, StopReason>,
    /// One was stopped before its successor starts, for this reason.
    pub(super) surge_impossible: Option<String>,
    /// When it may come out otherwise though nothing has changed.
    pub(super) wake: Wake,
}

/// The step from what is there towards the goal.
pub(super) fn step(census: &Census, goal: &Goal<'_>) -> Steps {
    let mut step = Step { goal, steps: Steps::default(), live: census.live.clone(), stopped_old: false };
    step.drop_dead();
    step.scale_down();
    step.drop_duplicates();
    match goal.strategy {
        _ if goal.held => {}
        Strategy::Rolling => step.stop_old_within_budget(),
        Strategy::Recreate => step.stop_all_old(),
    }
    let waits_for_old = goal.strategy == Strategy::Recreate
        && !goal.held
        && (step.stopped_old || census.stopping.iter().any(|replica| replica.spec.revision != goal.revision));
    if !waits_for_old {
        step.start(census.unfinished());
    }
    step.steps
}

struct Step<'a> {
    goal: &'a Goal<'a>,
    steps: Steps,
    /// What is to run after the stops so far.
    live: Vec<Copy>,
    stopped_old: bool,
}

impl Step<'_> {
    fn drop_dead(&mut self) {
        self.stop_where(StopReason::Replaced, Copy::is_dead);
    }

    /// The index alone decides who goes: the highest do.
    fn scale_down(&mut self) {
        let desired = self.goal.desired;
        self.stop_where(StopReason::ScaledDown, |copy| copy.index() >= desired);
    }

    /// One copy is kept of each index and revision: only a node that came back makes more. While it is not sure how one
    /// of them fares, all are kept, lest the only one that works is stopped.
    fn drop_duplicates(&mut self) {
        let mut groups: BTreeMap<(u32, &str), Vec<&Copy>> = BTreeMap::new();
        for copy in &self.live {
            groups.entry((copy.index(), &copy.replica.spec.revision)).or_default().push(copy);
        }
        let mut surplus = BTreeSet::new();
        for copies in groups.into_values().filter(|copies| copies.len() > 1) {
            if let Some(until) = copies.iter().filter_map(|copy| copy.doubted_until).max() {
                self.steps.wake.at(until);
                continue;
            }
            let best = copies.iter().max_by_key(|copy| copy.worth()).map(|copy| copy.replica.name());
            let others = copies.iter().map(|copy| copy.replica.name()).filter(|name| Some(*name) != best);
            surplus.extend(others.map(str::to_owned));
        }
        self.stop_where(StopReason::DuplicateAfterReturn, |copy| surplus.contains(copy.replica.name()));
    }

    fn stop_all_old(&mut self) {
        let (revision, reason) = (self.goal.revision, self.goal.reason);
        let before = self.live.len();
        self.stop_where(reason, |copy| !copy.is_of(revision));
        self.stopped_old = self.live.len() < before;
    }

    fn stop_old_within_budget(&mut self) {
        let (revision, reason) = (self.goal.revision, self.goal.reason);
        self.stop_where(reason, |copy| !copy.is_of(revision) && !copy.available);
        let available = count(self.live.iter().filter(|copy| copy.available).count());
        let floor = self.goal.desired.saturating_sub(self.goal.max_unavailable);
        for copy in self.old_by_turn().into_iter().take(available.saturating_sub(floor) as usize) {
            self.stop(&copy, reason);
        }
        self.stop_first(reason);
    }

    /// Where no surge copy can be placed, one replica is stopped before its successor starts, if nothing else is
    /// missing: the one exception to `maxUnavailable`.
    fn stop_first(&mut self, reason: StopReason) {
        let Some(block) = &self.goal.block else { return };
        let available = count(self.live.iter().filter(|copy| copy.available).count());
        // What this step stops already makes room too.
        if available < self.goal.desired || !self.steps.stops.is_empty() {
            return;
        }
        let opens_room = |copy: &Copy| match (&block.nodes, &copy.replica.spec.node_name) {
            (None, _) => true,
            (Some(nodes), Some(node)) => nodes.contains(node),
            (Some(_), None) => false,
        };
        if let Some(copy) = self.old_by_turn().into_iter().find(opens_room) {
            self.steps.surge_impossible = Some(block.reason.clone());
            self.stop(&copy, reason);
        }
    }

    /// The old copies in the order in which they may go: first those whose successor is available, or waits for room.
    fn old_by_turn(&self) -> Vec<Copy> {
        let successor =
            |old: &Copy| self.live.iter().find(|copy| copy.is_of(self.goal.revision) && copy.index() == old.index());
        let turn = |old: &Copy| match successor(old) {
            Some(copy) if copy.available => 0,
            Some(copy) if copy.has_no_room() => 1,
            Some(_) | None => 2,
        };
        let mut old: Vec<Copy> = self.live.iter().filter(|copy| !copy.is_of(self.goal.revision)).cloned().collect();
        old.sort_by_key(|copy| (turn(copy), copy.index()));
        old
    }

    fn start(&mut self, unfinished: u32) {
        let surge =
            if self.goal.block.is_some() || self.goal.strategy == Strategy::Recreate { 0 } else { self.goal.max_surge };
        let room = self.goal.desired.saturating_add(surge).saturating_sub(unfinished) as usize;
        // One more than a run starts says that there are more; the rest need not be named now.
        let room = room.min(STARTS_A_RUN + 1);
        let indices = |of: &dyn Fn(&Copy) -> bool| -> BTreeSet<u32> {
            self.live.iter().filter(|copy| of(copy)).map(Copy::index).collect()
        };
        let any = indices(&|_| true);
        let new = if self.goal.held { any.clone() } else { indices(&|copy| copy.is_of(self.goal.revision)) };
        let all = 0..self.goal.desired;
        let mut starts: Vec<u32> = all.clone().filter(|index| !any.contains(index)).take(room).collect();
        let left = room - starts.len();
        starts.extend(all.filter(|index| any.contains(index) && !new.contains(index)).take(left));
        self.steps.starts = starts;
    }

    fn stop_where(&mut self, reason: StopReason, ends: impl Fn(&Copy) -> bool) {
        let (ending, live) = std::mem::take(&mut self.live).into_iter().partition(ends);
        self.live = live;
        let ending: Vec<Copy> = ending;
        self.steps.stops.extend(ending.into_iter().map(|copy| (copy.replica.name().to_owned(), reason)));
    }

    fn stop(&mut self, copy: &Copy, reason: StopReason) {
        let name = copy.replica.name().to_owned();
        self.live.retain(|other| !Arc::ptr_eq(&other.replica, &copy.replica));
        self.steps.stops.insert(name, reason);
    }
}
