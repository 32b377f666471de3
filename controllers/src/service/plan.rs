//! What is to be done about a service: a pure function of the objects and the time.

use std::{collections::BTreeMap, sync::Arc};

use orion_model::{Object, Timestamp};
use orion_types::{
    Node, Replica, Revision, Service,
    process::template_hash,
    service::{Replicas, ServiceStatus},
};

use super::{
    census::{Availability, Census},
    conditions::Said,
    course::{Bearings, Course},
    rollout::{Goal, Steps, StopReason, step},
    surge,
};
use crate::{
    labels, names,
    notice::Notice,
    retention,
    retirement::{self, Finalizer},
    wake::Wake,
};

/// How many replicas one run starts at most: a commit has its bounds, and the next run goes on.
pub(super) const STARTS_A_RUN: usize = 500;

/// What a plan is made from.
pub(crate) struct Input<'a> {
    pub(crate) service: &'a Service,
    /// The service's revisions, whoever owns them.
    pub(crate) revisions: &'a [Arc<Revision>],
    /// The replicas that name the service, whoever owns them.
    pub(crate) replicas: &'a [Arc<Replica>],
    pub(crate) nodes: &'a [Arc<Node>],
    /// What has not started yet and comes first, in a sentence.
    pub(crate) waits: Option<&'a str>,
    pub(crate) now: Timestamp,
}

/// What is to be done, all in one commit.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The revision of the spec, where there is none yet.
    pub(crate) new_revision: Option<NewRevision>,
    /// Revisions that are no longer kept.
    pub(crate) old_revisions: Vec<Arc<Revision>>,
    /// The revision of the replicas to start.
    pub(crate) target: String,
    /// Replicas to start, by index.
    pub(crate) starts: Vec<u32>,
    /// Replicas to change.
    pub(crate) edits: Vec<Edit>,
    /// Replicas that are over and no longer kept.
    pub(crate) sweeps: Vec<Arc<Replica>>,
    pub(crate) status: ServiceStatus,
    pub(crate) notices: Vec<Notice>,
    pub(crate) wake: Wake,
}

/// A revision to make.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NewRevision {
    pub(crate) name: String,
    pub(crate) hash: String,
    pub(crate) number: u64,
}

/// A change of one replica.
#[derive(Debug)]
pub(crate) struct Edit {
    pub(crate) replica: Arc<Replica>,
    pub(crate) stop: Option<StopReason>,
    pub(crate) finalizer: Option<Finalizer>,
    /// Its settings and labels are to be the service's.
    pub(crate) refresh: bool,
}

impl Edit {
    pub(crate) fn is_idle(&self) -> bool {
        self.stop.is_none() && self.finalizer.is_none() && !self.refresh
    }
}

pub(crate) fn plan(input: &Input<'_>) -> Plan {
    let Input { service, now, .. } = *input;
    let mut wake = Wake::default();
    let hash = template_hash(&service.spec.process.template);
    let current = names::revision(service.name(), &hash);
    let revisions = owned_revisions(input);
    let stable = service.status.stable.clone().filter(|name| revisions.iter().any(|known| known.name() == name));
    let min_ready = service.spec.update.min_ready.get();
    let counts = Availability { stable: stable.as_deref(), min_ready, nodes: input.nodes, now };
    let census = Census::take(input.replicas, service.uid(), &counts, &mut wake);
    let desired = desired(service);
    let waits = input.waits.filter(|_| is_unborn(&census, stable.as_ref()));

    let bearings =
        Bearings { service, current: current.clone(), stable, census: &census, desired, waits: waits.is_some(), now };
    let mut course = Course::set(bearings, &mut wake);
    let steps = steps(input, &census, &course, desired, waits.is_some(), &mut wake);
    course.notices.extend(surge::notice(&steps));

    let status = Said { service, census: &census, course: &course, desired, waits, now }.status();
    Plan {
        new_revision: new_revision(&revisions, current, hash),
        old_revisions: old_revisions(&revisions, &course, &census, service),
        target: course.target().to_owned(),
        edits: edits(input, &steps),
        sweeps: retention::sweep(&kept_apart(&census, input.nodes, desired), now, &mut wake),
        starts: steps.starts,
        status,
        notices: course.notices,
        wake,
    }
}

/// How many replicas there are to be. `eachNode` makes none yet, as its warning says.
fn desired(service: &Service) -> u32 {
    match service.spec.replicas {
        Replicas::Count(count) if !service.is_being_deleted() => count,
        Replicas::Count(_) | Replicas::EachNode => 0,
    }
}

/// Whether nothing of the service has ever run: only then does it wait for what it depends on.
fn is_unborn(census: &Census, stable: Option<&String>) -> bool {
    stable.is_none() && census.live.is_empty() && census.stopping.is_empty()
}

fn steps(input: &Input<'_>, census: &Census, course: &Course, desired: u32, waits: bool, wake: &mut Wake) -> Steps {
    let update = &input.service.spec.update;
    let held = course.goes_back() && !update.auto_rollback;
    let block = if course.is_settled() || held { None } else { surge::block(input, census, course.target(), wake) };
    let reason = match course.is_settled() {
        _ if course.goes_back() => StopReason::RolledBack,
        // Nothing is rolled out, so an older revision can only have come back with its node.
        true => StopReason::DuplicateAfterReturn,
        false => StopReason::Replaced,
    };
    let goal = Goal {
        revision: course.target(),
        desired,
        strategy: update.strategy,
        max_surge: if input.service.spec.singleton { 0 } else { update.max_surge },
        max_unavailable: update.max_unavailable,
        block,
        held,
        reason,
    };
    let mut steps = step(census, &goal);
    if let Some(moment) = steps.wake.moment() {
        wake.at(moment);
    }
    if waits || after_refusals(input, census, course.target(), wake) > input.now {
        steps.starts.clear();
    }
    if steps.starts.len() > STARTS_A_RUN {
        steps.starts.truncate(STARTS_A_RUN);
        wake.at(input.now);
    }
    steps
}

/// When the next replica may be started after hooks have refused some: each wait is twice the last, as for a process
/// that ends. The last wait shows in when they were made, so that it need not be kept.
fn after_refusals(input: &Input<'_>, census: &Census, target: &str, wake: &mut Wake) -> Timestamp {
    let refused = census.refused_of(target);
    let mut made = refused.iter().rev().filter_map(|replica| replica.metadata.creation_timestamp);
    let Some(last) = made.next() else { return Timestamp::UNIX_EPOCH };
    let restart = &input.service.spec.process.settings.restart;
    let waited = made.next().map(|before| last.since(before).saturating_mul(2)).unwrap_or_default();
    let until = last.after(waited.max(restart.initial_delay.get()).min(restart.max_delay.get()));
    if until > input.now {
        wake.at(until);
    }
    until
}

fn owned_revisions<'a>(input: &Input<'a>) -> Vec<&'a Arc<Revision>> {
    let owner = input.service.uid();
    let mut owned: Vec<_> = input.revisions.iter().filter(|revision| revision.metadata.is_owned_by(owner)).collect();
    owned.sort_by_key(|revision| revision.spec.number);
    owned
}

fn new_revision(known: &[&Arc<Revision>], name: String, hash: String) -> Option<NewRevision> {
    if known.iter().any(|revision| revision.name() == name) {
        return None;
    }
    let number = known.last().map_or(0, |revision| revision.spec.number) + 1;
    Some(NewRevision { name, hash, number })
}

/// The revisions beyond the history that nothing uses, oldest first.
fn old_revisions(known: &[&Arc<Revision>], course: &Course, census: &Census, service: &Service) -> Vec<Arc<Revision>> {
    let is_used = |name: &str| {
        let running = || census.live.iter().map(|copy| &copy.replica).chain(&census.stopping);
        name == course.current
            || course.stable.as_deref() == Some(name)
            || running().any(|replica| replica.spec.revision == name)
    };
    let unused: Vec<_> = known.iter().filter(|revision| !is_used(revision.name())).collect();
    let excess = unused.len().saturating_sub(service.spec.update.history_limit as usize);
    unused.into_iter().take(excess).map(|revision| Arc::clone(revision)).collect()
}

/// The replicas that are over, without those given up with a node that may come back while nothing stands in for them:
/// their processes may be the only ones.
fn kept_apart(census: &Census, nodes: &[Arc<Node>], desired: u32) -> Vec<Arc<Replica>> {
    let stands_in = |index| census.live.iter().any(|copy| copy.index() == index && copy.replica.is_placed());
    let node_exists = |replica: &Replica| {
        replica.spec.node_name.as_ref().is_some_and(|name| nodes.iter().any(|node| node.name() == name))
    };
    let may_return = |replica: &Replica| {
        replica.status.phase == orion_types::replica::Phase::Lost
            && replica.spec.index < desired
            && !stands_in(replica.spec.index)
            && node_exists(replica)
    };
    census.finished.iter().filter(|replica| !may_return(replica)).cloned().collect()
}

fn edits(input: &Input<'_>, steps: &Steps) -> Vec<Edit> {
    let labels = child_labels(input.service);
    let edit = |replica: &Arc<Replica>| {
        let stop = steps.stops.get(replica.name()).copied();
        Edit {
            replica: replica.clone(),
            stop,
            finalizer: retirement::due(replica),
            refresh: stop.is_none() && is_outdated(replica, input.service, &labels),
        }
    };
    input.replicas.iter().map(edit).filter(|edit| !edit.is_idle()).collect()
}

/// The labels of a service's replicas.
pub(crate) fn child_labels(service: &Service) -> BTreeMap<String, String> {
    labels::inherited(&service.metadata.labels, &service.spec.labels, &[(labels::SERVICE, service.name())])
}

fn is_outdated(replica: &Replica, service: &Service, labels: &BTreeMap<String, String>) -> bool {
    !replica.status.phase.is_finished()
        && !replica.is_stop_wished()
        && replica.metadata.is_owned_by(service.uid())
        && (replica.spec.settings != service.spec.process.settings || replica.metadata.labels != *labels)
}
