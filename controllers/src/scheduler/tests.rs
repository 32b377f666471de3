//! Tables over the scheduler's plan.

use std::time::Instant;

use orion_model::{Timestamp, Whole};
use orion_types::{
    node::{NodeObserved, NodePhase, NodeSpec},
    process::Resources,
    replica::ReplicaSpec,
};
use serde_json::{Value, json};

use super::*;

fn node(name: &str, change: impl FnOnce(&mut Node)) -> Arc<Node> {
    let mut node = Node::new(name, NodeSpec::default());
    node.status.phase = NodePhase::Ready;
    node.status.observed = Some(NodeObserved::default());
    change(&mut node);
    Arc::new(node)
}

fn sized(name: &str, capacity: Value) -> Arc<Node> {
    node(name, |node| node.spec.capacity = serde_json::from_value(capacity).expect("a capacity"))
}

fn plain(names: &[&str]) -> Vec<Arc<Node>> {
    names.iter().map(|name| node(name, |_| {})).collect()
}

fn replica(service: &str, index: u32, resources: &Value) -> Arc<Replica> {
    let mut spec = ReplicaSpec { service_name: Some(service.into()), index, ..ReplicaSpec::default() };
    spec.settings.resources = serde_json::from_value::<Resources>(resources.clone()).expect("resources");
    let mut replica = Replica::new(format!("{service}-{index}-x7k2p"), spec).in_namespace("default");
    replica.metadata.creation_timestamp = Some(Timestamp::UNIX_EPOCH);
    Arc::new(replica)
}

fn pending(service: &str, index: u32, resources: Value, ports: &Value) -> Pending {
    let replica = replica(service, index, &resources);
    let ports: Vec<PortSpec> = serde_json::from_value(ports.clone()).expect("ports");
    let demand = Some(Demand::of(&replica, &ports));
    Pending { replica, placement: Placement::default(), demand, modern: false }
}

fn bare(service: &str, count: u32) -> Vec<Pending> {
    (0..count).map(|index| pending(service, index, json!({}), &json!([]))).collect()
}

fn where_to(pending: &[Pending], nodes: &[Arc<Node>], cursor: &str) -> Vec<String> {
    let mut fleet = Fleet::of(nodes);
    let plan = plan(pending, &mut fleet, cursor.to_owned());
    let text = |verdict: Verdict| match verdict {
        Verdict::Bound(node) => node,
        Verdict::Refused { message, .. } => message,
    };
    plan.verdicts.into_iter().map(|judged| text(judged.verdict)).collect()
}

#[test]
fn three_replicas_on_two_equal_nodes_go_to_the_first_the_second_and_the_first() {
    let nodes = plain(&["node-2", "node-1"]);
    assert_eq!(where_to(&bare("web", 3), &nodes, ""), ["node-1", "node-2", "node-1"]);
}

#[test]
fn ties_rotate_over_services_and_runs() {
    let nodes = plain(&["node-1", "node-2", "node-3"]);
    let each: Vec<_> = ["a", "b", "c", "d"].into_iter().flat_map(|service| bare(service, 1)).collect();
    assert_eq!(where_to(&each, &nodes, ""), ["node-1", "node-2", "node-3", "node-1"]);
    assert_eq!(where_to(&bare("a", 1), &nodes, "node-2"), ["node-3"]);
    assert_eq!(where_to(&bare("a", 1), &nodes, "node-3"), ["node-1"]);
    assert_eq!(where_to(&bare("a", 1), &nodes, "gone-or-later"), ["node-1"]);
}

#[test]
fn the_emptier_node_is_taken() {
    let nodes =
        [sized("node-1", json!({"cpu": 4, "memory": 1024})), sized("node-2", json!({"cpu": 8, "memory": 2048}))];
    let big = pending("db", 0, json!({"cpu": 2, "memory": 256}), &json!([]));
    assert_eq!(where_to(&[big], &nodes, ""), ["node-2"]);
}

#[test]
fn what_is_held_counts_and_copies_of_one_service_keep_apart() {
    let nodes = plain(&["node-1", "node-2"]);
    let mut fleet = Fleet::of(&nodes);
    let held = replica("web", 0, &json!({}));
    fleet.hold("node-1", &held, &Demand::of(&held, &[]));
    let plan = plan(&bare("web", 1), &mut fleet, "node-2".to_owned());
    assert_eq!(plan.verdicts[0].verdict, Verdict::Bound("node-2".into()));
    assert_eq!(fleet.taken().map(|node| node.name()).collect::<Vec<_>>(), ["node-2"]);
}

#[test]
fn every_refusal_is_a_sentence_a_person_can_read() {
    let web = || pending("web", 1, json!({"memory": 512}), &json!([{"port": 8080}]));
    let pinned = |node: &str| {
        let mut pending = web();
        pending.placement.node = Some(node.to_owned());
        pending
    };
    let selecting = |selector: &str| {
        let mut pending = web();
        pending.placement.nodes = serde_json::from_value(selector.into()).expect("a selector");
        pending
    };
    let table: Vec<(Pending, Vec<Arc<Node>>, &str)> = vec![
        (web(), vec![], "there is no node yet"),
        (web(), vec![sized("node-3", json!({"memory": 300}))], "node-3: needs 512Mi, free 300Mi"),
        (web(), vec![node("node-1", |node| node.spec.cordoned = true)], "node-1: is cordoned"),
        (web(), vec![node("node-1", |node| node.status.phase = NodePhase::Unknown)], "node-1: is not ready"),
        (web(), vec![node("node-1", |node| node.status.phase = NodePhase::Lost)], "node-1: is lost"),
        (pinned("node-9"), plain(&["node-1"]), "node-1: is not node-9, to which it is pinned"),
        (selecting("zone=eu"), plain(&["node-1"]), "node-1: does not match \"zone=eu\""),
        (
            Pending { modern: true, ..web() },
            vec![node("node-1", |node| node.status.observed.as_mut().expect("set").legacy = true)],
            "node-1: its agent is an original one, which cannot run this",
        ),
        (Pending { demand: None, ..web() }, plain(&["node-1"]), "its template is not known yet"),
        (
            pending("db", 0, json!({"cpu": "1500m"}), &json!([])),
            vec![sized("node-1", json!({"cpu": 1}))],
            "node-1: needs 1500m CPU, free 1",
        ),
        (
            web(),
            vec![node("a", |node| node.spec.cordoned = true), sized("b", json!({"memory": "1Ki"}))],
            "b: needs 512Mi, free 1Ki; a: is cordoned",
        ),
    ];
    for (pending, nodes, expected) in table {
        assert_eq!(where_to(&[pending], &nodes, ""), [expected]);
    }
}

#[test]
fn a_static_port_has_one_holder_a_node_and_the_refusal_names_it() {
    let ports = json!([{"port": 8080}]);
    let wants = |protocol: &str| json!([{"port": 8080, "protocol": protocol}]);
    let all = [
        pending("web", 0, json!({}), &ports),
        pending("api", 0, json!({}), &wants("udp")),
        pending("api", 1, json!({}), &wants("tcp")),
    ];
    let placed = where_to(&all, &plain(&["node-4"]), "");
    assert_eq!(placed, ["node-4", "node-4", "node-4: port 8080/tcp used by web-0-x7k2p"]);
}

#[test]
fn capacity_is_never_exceeded_and_without_one_there_is_no_limit() {
    let nodes = [sized("node-1", json!({"cpu": 2}))];
    let all: Vec<_> = (0..3).map(|index| pending("web", index, json!({"cpu": 1}), &json!([]))).collect();
    assert_eq!(where_to(&all, &nodes, ""), ["node-1", "node-1", "node-1: needs 1 CPU, free 0"]);
    assert_eq!(where_to(&all, &plain(&["node-1"]), ""), ["node-1"; 3]);
}

#[test]
fn an_original_agent_is_chosen_last() {
    let legacy = node("node-1", |node| node.status.observed.as_mut().expect("set").legacy = true);
    let nodes = [legacy.clone(), node("node-2", |_| {})];
    assert_eq!(where_to(&bare("web", 2), &nodes, ""), ["node-2", "node-2"]);
    assert_eq!(where_to(&bare("web", 1), &[legacy], ""), ["node-1"]);
}

#[test]
fn twenty_refusals_are_kept_and_the_others_counted() {
    let nodes: Vec<_> = (0..25).map(|n| node(&format!("n{n:02}"), |node| node.spec.cordoned = true)).collect();
    let said = &where_to(&bare("web", 1), &nodes, "")[0];
    assert_eq!(said.matches("is cordoned").count(), 20);
    assert!(said.ends_with("; and 5 more nodes"), "{said}");
}

#[test]
fn the_reason_tells_lack_of_room_from_lack_of_nodes() {
    let reason = |pending: Pending, nodes: &[Arc<Node>]| {
        let plan = plan(&[pending], &mut Fleet::of(nodes), String::new());
        match &plan.verdicts[0].verdict {
            Verdict::Refused { reason, .. } => *reason,
            Verdict::Bound(node) => panic!("bound to {node}"),
        }
    };
    let needs = || pending("web", 0, json!({"memory": 512}), &json!([]));
    let (small, cordoned) = (sized("a", json!({"memory": 1})), node("b", |node| node.spec.cordoned = true));
    assert_eq!(reason(needs(), &[small, cordoned.clone()]), placed::NO_ROOM);
    assert_eq!(reason(needs(), &[cordoned]), placed::NO_NODE);
}

#[test]
fn a_thousand_replicas_are_placed_over_a_hundred_nodes_within_a_second_and_evenly() {
    let nodes: Vec<_> = (0..100).map(|n| sized(&format!("node-{n:03}"), json!({"cpu": 64, "memory": 65536}))).collect();
    let all: Vec<_> = (0..50)
        .flat_map(|service| {
            (0..20)
                .map(move |index| pending(&format!("s{service}"), index, json!({"cpu": 1, "memory": 64}), &json!([])))
        })
        .collect();
    let begun = Instant::now();
    let placed = where_to(&all, &nodes, "");
    let took = begun.elapsed();
    let on = |node: &str| placed.iter().filter(|placed| placed.as_str() == node).count();
    assert!(nodes.iter().all(|node| on(node.name()) == 10));
    assert!(took.as_millis() < 1000, "{took:?}");
}

#[test]
fn those_without_room_keep_nobody_from_theirs_and_are_told_once() {
    let nodes = [sized("node-1", json!({"memory": 600}))];
    let mut big: Vec<_> = (0..3).map(|index| pending("big", index, json!({"memory": 700}), &json!([]))).collect();
    let plan_of = |pending: &[Pending]| plan(pending, &mut Fleet::of(&nodes), String::new());
    let Verdict::Refused { reason, message } = &plan_of(&big).verdicts[0].verdict else { panic!("it does not fit") };
    for told in &mut big[..2] {
        Arc::make_mut(&mut told.replica).status.conditions.set(orion_model::Condition {
            kind: PLACED.into(),
            status: ConditionStatus::False,
            reason: (*reason).to_owned(),
            message: message.clone(),
            last_transition_time: Timestamp::UNIX_EPOCH,
            observed_generation: None,
        });
    }
    big.push(pending("web", 0, json!({"memory": 512}), &json!([])));
    let plan = plan_of(&big);
    let news: Vec<_> = plan.news().iter().map(|judged| judged.replica.name().to_owned()).collect();
    assert_eq!(news, ["web-0-x7k2p", "big-2-x7k2p"]);
}
