//! The timeline of nodes, as a table; the brake, the pace, and what comes back.

use std::time::Duration;

use orion_model::Whole;
use orion_types::{
    Service,
    applied::CONFIG_LABEL,
    node::{Contact, NodeObserved, NodePhase, NodeSpec},
    replica::{Phase, ReplicaSpec, phase},
    service::ServiceSpec,
};

use super::*;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn node(name: &str, phase: NodePhase) -> Arc<Node> {
    let mut node = Node::new(name, NodeSpec::default());
    node.metadata.uid = name.into();
    node.status.phase = phase;
    node.status.since = Some(NOW);
    node.status.observed = Some(NodeObserved { contact: Contact::Silent, ..NodeObserved::default() });
    Arc::new(node)
}

fn replica(name: &str, disposition: Disposition) -> Arc<Replica> {
    let mut replica = Replica::new(name, ReplicaSpec { node_name: Some("n".into()), ..ReplicaSpec::default() });
    replica.status.disposition = disposition;
    replica.status.phase = phase(&replica);
    Arc::new(replica)
}

fn charge(disposition: Disposition, lost_after: u64) -> Charge {
    Charge { replica: replica("r", disposition), lost_after: Duration::from_secs(lost_after) }
}

fn facts(node: Arc<Node>, silent: Option<u64>, replicas: Vec<Charge>) -> NodeFacts {
    let silent = silent.map(|secs| Silent { lasted: Duration::from_secs(secs), beginning_seen: false });
    NodeFacts { node, silent, replicas }
}

fn planned(nodes: &[NodeFacts], brake: bool, last_eviction: Option<u64>) -> Plan {
    let last_eviction = last_eviction.map(Duration::from_secs);
    plan(&Input { nodes, stranded: &[], brake, last_eviction, now: NOW })
}

fn phases(plan: &Plan) -> Vec<(String, NodePhase)> {
    plan.judgements.iter().map(|judgement| (judgement.node.name().to_owned(), judgement.phase)).collect()
}

#[test]
fn the_timeline_of_one_node() {
    use Disposition::{Active, Lost, Unknown};
    use NodePhase::{Lost as GivenUp, Ready, Unknown as Silent};
    // (phase, silent for, replica's disposition, its lostAfter) ──► (phase, disposition, wakes in)
    let table = [
        ((Ready, None, Active, 60), (Ready, Active, None)),
        ((Silent, None, Unknown, 60), (Ready, Active, None)),
        ((GivenUp, None, Lost, 60), (Ready, Active, None)),
        ((Ready, Some(0), Active, 60), (Ready, Active, Some(20))),
        ((Ready, Some(19), Active, 60), (Ready, Active, Some(1))),
        ((Ready, Some(20), Active, 60), (Silent, Unknown, Some(40))),
        ((Silent, Some(59), Unknown, 60), (Silent, Unknown, Some(1))),
        ((Silent, Some(60), Unknown, 60), (GivenUp, Lost, None)),
        ((Silent, Some(60), Unknown, 90), (GivenUp, Unknown, Some(30))),
        ((GivenUp, Some(90), Unknown, 90), (GivenUp, Lost, None)),
        ((Silent, Some(30), Unknown, 30), (Silent, Lost, Some(30))),
        // A service that gives up earlier makes the node unknown first.
        ((Ready, Some(10), Active, 10), (Silent, Lost, Some(10))),
        // A controller that has just started counts from its start.
        ((Silent, Some(0), Unknown, 60), (Silent, Unknown, Some(20))),
        ((GivenUp, Some(0), Lost, 60), (GivenUp, Lost, Some(20))),
    ];
    for ((phase, silent, disposition, lost_after), (then, judged, wakes)) in table {
        let case = format!("{phase:?}, silent {silent:?}, {disposition:?}, lostAfter {lost_after}");
        let node = node("n", phase);
        let plan = planned(&[facts(node, silent, vec![charge(disposition, lost_after)])], false, None);
        let new_phase = plan.judgements.first().map_or(phase, |judgement| judgement.phase);
        let new_disposition = plan.dispositions.first().map_or(disposition, |(_, disposition)| *disposition);
        assert_eq!((new_phase, new_disposition), (then, judged), "{case}");
        let wake = plan.wake.filter(|wake| *wake < Duration::from_secs(3600)).map(|wake| wake.as_secs());
        assert_eq!(wake, wakes, "{case}");
    }
}

#[test]
fn a_silence_whose_beginning_was_seen_makes_a_node_unknown_at_once() {
    let mut silent = facts(node("n", NodePhase::Ready), Some(10), vec![charge(Disposition::Active, 60)]);
    silent.silent.as_mut().expect("silent").beginning_seen = true;
    let plan = planned(&[silent], false, None);
    assert_eq!(phases(&plan), [("n".into(), NodePhase::Unknown)]);
    assert_eq!(plan.dispositions[0].1, Disposition::Unknown);
}

#[test]
fn what_is_said_already_is_not_said_again() {
    let silent = facts(node("n", NodePhase::Ready), Some(25), vec![charge(Disposition::Active, 60)]);
    let first = planned(&[silent], false, None);
    let mut status = first.judgements[0].node.status.clone();
    status.phase = first.judgements[0].phase;
    status.conditions.set(first.judgements[0].condition(NOW));
    let mut judged = node("n", NodePhase::Unknown).as_ref().clone();
    judged.status = status;
    let again = planned(&[facts(Arc::new(judged), Some(26), vec![charge(Disposition::Unknown, 60)])], false, None);
    assert!(again.judgements.is_empty() && again.dispositions.is_empty() && again.notices.is_empty());
}

#[test]
fn a_declared_node_that_was_never_seen_is_unknown_for_that_reason() {
    let mut declared = node("n", NodePhase::Unknown).as_ref().clone();
    declared.status.observed = None;
    let plan = planned(&[facts(Arc::new(declared), None, vec![])], false, None);
    assert_eq!(phases(&plan), [("n".into(), NodePhase::Unknown)]);
    let condition = plan.judgements[0].condition(NOW);
    assert_eq!((condition.reason.as_str(), condition.observed_generation), ("NeverSeen", Some(0)));
    assert!(plan.notices.is_empty());
}

fn fleet(silent: usize, lost: usize, ready: usize) -> Vec<NodeFacts> {
    let silent = (0..silent).map(|n| (format!("s{n:02}"), NodePhase::Unknown, Some(60)));
    let lost = (0..lost).map(|n| (format!("l{n:02}"), NodePhase::Lost, Some(300)));
    let ready = (0..ready).map(|n| (format!("r{n:02}"), NodePhase::Ready, None));
    let all = silent.chain(lost).chain(ready);
    all.map(|(name, phase, silent)| facts(node(&name, phase), silent, vec![charge(Disposition::Unknown, 60)])).collect()
}

#[test]
fn over_half_of_at_least_three_silent_holds_all_evictions_until_below_half() {
    // (silent, lost, ready, held before) ──► (held, evicts)
    let table = [
        ((1, 0, 0, false), (false, true)),
        ((2, 0, 0, false), (false, true)),
        ((3, 0, 0, false), (true, false)),
        ((3, 0, 2, false), (true, false)),
        ((3, 0, 3, false), (false, true)),
        ((3, 0, 3, true), (true, false)),
        ((2, 0, 3, true), (false, true)),
        ((3, 3, 3, false), (false, true)),
        ((0, 0, 6, true), (false, false)),
    ];
    for ((silent, lost, ready, before), (held, evicts)) in table {
        let plan = planned(&fleet(silent, lost, ready), before, None);
        let case = format!("{silent} silent, {lost} lost, {ready} ready, held {before}");
        assert_eq!((plan.brake, plan.evicts), (held, evicts), "{case}");
        let is_new = |(name, phase): &&(String, NodePhase)| name.starts_with('s') && *phase == NodePhase::Lost;
        let given_up = phases(&plan).iter().filter(is_new).count();
        assert_eq!(given_up, if evicts { silent } else { 0 }, "{case}");
        let told = plan.notices.iter().any(|(_, notice)| notice.reason == "ClusterPartitionSuspected");
        assert_eq!(told, held && !before, "{case}");
    }
}

#[test]
fn a_node_that_went_more_than_a_day_ago_no_longer_counts_for_the_brake() {
    let mut nodes = fleet(3, 0, 2);
    let ago = NOW.after(Duration::from_secs(25 * 3600));
    nodes.truncate(3);
    let plan = plan(&Input { nodes: &nodes, stranded: &[], brake: false, last_eviction: None, now: ago });
    assert!(!plan.brake);
}

#[test]
fn above_ten_nodes_one_is_given_up_in_ten_seconds() {
    let nodes = fleet(3, 0, 10);
    let first = planned(&nodes, false, None);
    let given_up = |plan: &Plan| phases(plan).iter().filter(|(_, phase)| *phase == NodePhase::Lost).count();
    assert_eq!((given_up(&first), first.evicts, first.wake), (1, true, Some(Duration::from_secs(10))));
    let soon = planned(&nodes, false, Some(4));
    assert_eq!((given_up(&soon), soon.evicts, soon.wake), (0, false, Some(Duration::from_secs(6))));
    assert_eq!(given_up(&planned(&nodes, false, Some(10))), 1);
    assert_eq!(given_up(&planned(&fleet(3, 0, 7), false, None)), 3, "not above ten");
}

#[test]
fn a_node_goes_a_day_after_it_was_lost_but_a_declared_one_stays() {
    let day = Duration::from_secs(24 * 3600);
    let at = |node: Arc<Node>, now| {
        let nodes = [facts(node, Some(7200), vec![charge(Disposition::Unknown, 999_999)])];
        let plan = plan(&Input { nodes: &nodes, stranded: &[], brake: false, last_eviction: None, now });
        (plan.forgotten.len(), plan.dispositions.first().map(|(_, disposition)| *disposition))
    };
    let lost = node("n", NodePhase::Lost);
    assert_eq!(at(lost.clone(), NOW.after(day - Duration::from_secs(1))), (0, None));
    assert_eq!(at(lost.clone(), NOW.after(day)), (1, Some(Disposition::Lost)));
    let mut declared = lost.as_ref().clone();
    declared.metadata.labels.insert(CONFIG_LABEL.into(), "shop".into());
    assert_eq!(at(Arc::new(declared), NOW.after(day * 3)).0, 0);
}

#[test]
fn replicas_of_a_node_that_is_not_there_are_given_up_like_those_of_a_silent_one() {
    let at = |gone: u64, disposition| {
        let stranded = [(charge(disposition, 60), Duration::from_secs(gone))];
        let plan = plan(&Input { nodes: &[], stranded: &stranded, brake: false, last_eviction: None, now: NOW });
        (plan.dispositions.first().map(|(_, judged)| *judged), plan.wake.map(|wake| wake.as_secs()))
    };
    assert_eq!(at(0, Disposition::Active), (Some(Disposition::Unknown), Some(60)));
    assert_eq!(at(59, Disposition::Unknown), (None, Some(1)));
    assert_eq!(at(60, Disposition::Unknown), (Some(Disposition::Lost), None));
}

#[test]
fn lost_after_is_the_services_within_its_bounds() {
    let replica = replica("r", Disposition::Active);
    let service = |change: fn(&mut ServiceSpec)| {
        let mut spec = ServiceSpec::default();
        change(&mut spec);
        Service::new("web", spec).in_namespace("default")
    };
    let secs = |service: Option<&Service>| plan::lost_after(service, &replica).as_secs();
    assert_eq!(secs(None), 60);
    assert_eq!(secs(Some(&service(|_| {}))), 60);
    assert_eq!(secs(Some(&service(|spec| spec.disconnect.lost_after = orion_types::Duration::from_secs(1)))), 10);
    let singleton = service(|spec| {
        spec.singleton = true;
        spec.disconnect.lost_after = orion_types::Duration::from_secs(1);
    });
    assert_eq!(secs(Some(&singleton)), 30 + 10 + 5);
    assert_eq!(replica.status.phase, Phase::Scheduled);
}
