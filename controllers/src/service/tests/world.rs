//! A world of one service: its objects, nodes with slots and ports, and agents that do as the program's name says.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use orion_model::{Condition, ConditionStatus, Object, Randomness, Timestamp, Whole};
use orion_types::{
    Node, Replica, Revision, Service,
    node::{NodePhase, NodeSpec},
    replica::{Disposition, Exit, Observed, PLACED, PROCESS_FINALIZER, Phase, ProcessState, ReplicaSpec, phase},
    service::{Replicas, ServiceSpec},
};
use serde_json::json;

use super::super::plan::{Input, Plan, child_labels, plan};
use crate::{names, notice::Notice, placed};

pub(super) struct World {
    pub(super) service: Service,
    pub(super) revisions: Vec<Arc<Revision>>,
    pub(super) replicas: BTreeMap<String, Replica>,
    pub(super) nodes: Vec<Arc<Node>>,
    pub(super) now: Timestamp,
    pub(super) notices: Vec<Notice>,
    /// How many replicas a node holds.
    pub(super) slots: usize,
    pub(super) waits: Option<String>,
    pub(super) random: Randomness,
    /// The plans of this world so far, for checks.
    pub(super) started: Vec<(u32, String)>,
}

impl World {
    pub(super) fn new(replicas: u32, nodes: usize) -> Self {
        let mut service =
            Service::new("web", ServiceSpec { replicas: Replicas::Count(replicas), ..ServiceSpec::default() })
                .in_namespace("default");
        service.metadata.uid = "service-uid".into();
        let mut world = Self {
            service,
            revisions: Vec::new(),
            replicas: BTreeMap::new(),
            nodes: (1..=nodes).map(node).collect(),
            now: Timestamp::from_millis(1_790_000_000_000),
            notices: Vec::new(),
            slots: 100,
            waits: None,
            random: Randomness::seeded(7),
            started: Vec::new(),
        };
        world.deploy("good-1");
        world
    }

    /// A world whose first revision is rolled out.
    pub(super) fn settled(replicas: u32, nodes: usize) -> Self {
        Self::settled_with(replicas, nodes, |_| {})
    }

    pub(super) fn settled_with(replicas: u32, nodes: usize, change: impl FnOnce(&mut World)) -> Self {
        let mut world = Self::new(replicas, nodes);
        change(&mut world);
        world.run_for(30);
        assert_eq!(world.ready(), replicas as usize, "settled");
        assert_eq!(world.service.status.stable, world.service.status.current);
        world.notices.clear();
        world.started.clear();
        world
    }

    /// The spec's template becomes this program. Programs whose name begins with `good` get ready, `slow` run without
    /// getting ready, `crash` exit at once, `missing` cannot be started.
    pub(super) fn deploy(&mut self, program: &str) {
        self.service.spec.process.template.command = Some(serde_json::from_value(json!(program)).expect("a command"));
        self.service.metadata.generation += 1;
    }

    pub(super) fn scale(&mut self, replicas: u32) {
        self.service.spec.replicas = Replicas::Count(replicas);
        self.service.metadata.generation += 1;
    }

    pub(super) fn static_port(&mut self) {
        self.service.spec.process.template.ports = serde_json::from_value(json!([{"port": 8080}])).expect("a port");
    }

    pub(super) fn desired(&self) -> u32 {
        self.service.spec.replicas.count().expect("a number")
    }

    /// The name of the revision of this program.
    pub(super) fn revision(&self, program: &str) -> String {
        let of = |revision: &&Arc<Revision>| command(revision) == program;
        self.revisions.iter().find(of).map(|revision| revision.name().to_owned()).expect("deployed before")
    }

    /// One run of the controller.
    pub(super) fn reconcile(&mut self) -> Plan {
        let replicas: Vec<_> = self.replicas.values().cloned().map(Arc::new).collect();
        let plan = plan(&Input {
            service: &self.service,
            revisions: &self.revisions,
            replicas: &replicas,
            nodes: &self.nodes,
            waits: self.waits.as_deref(),
            now: self.now,
        });
        self.apply(&plan);
        plan
    }

    fn apply(&mut self, plan: &Plan) {
        if let Some(new) = &plan.new_revision {
            let mut revision = super::super::revision(&self.service, new);
            revision.metadata.creation_timestamp = Some(self.now);
            self.revisions.push(Arc::new(revision));
        }
        self.revisions.retain(|revision| !plan.old_revisions.iter().any(|old| old.name() == revision.name()));
        for edit in &plan.edits {
            let replica = self.replicas.get_mut(edit.replica.name()).expect("it is there");
            super::super::change(replica, edit, &self.service, self.now);
            replica.status.phase = phase(replica);
            assert!(!edit.is_idle());
        }
        for sweep in &plan.sweeps {
            self.replicas.remove(sweep.name());
        }
        for index in &plan.starts {
            self.create(*index, &plan.target);
        }
        self.service.status = plan.status.clone();
        self.notices.extend(plan.notices.iter().cloned());
    }

    fn create(&mut self, index: u32, revision: &str) {
        let name = names::replica("web", index, &self.random);
        let spec = ReplicaSpec {
            service_name: Some("web".into()),
            index,
            revision: revision.into(),
            settings: self.service.spec.process.settings.clone(),
            ..ReplicaSpec::default()
        };
        let mut replica = Replica::new(name.as_str(), spec).owned_by(&self.service).with_finalizer(PROCESS_FINALIZER);
        replica.metadata.uid = name.as_str().into();
        replica.metadata.creation_timestamp = Some(self.now.to_seconds());
        replica.metadata.labels = child_labels(&self.service);
        replica.status.phase = phase(&replica);
        self.started.push((index, revision.to_owned()));
        self.replicas.insert(name, replica);
    }

    pub(super) fn edit(&mut self, name: &str, change: impl FnOnce(&mut Replica)) {
        let replica = self.replicas.get_mut(name).expect("it is there");
        change(replica);
        replica.status.phase = phase(replica);
    }

    /// The scheduler: the first node with a slot and, where it is asked for, the port.
    pub(super) fn schedule(&mut self) {
        let waiting: Vec<String> = self.names(|replica| replica.status.phase == Phase::Pending);
        for name in waiting {
            let exclusive = self.revisions.iter().any(|revision| {
                revision.name() == self.replicas[&name].spec.revision && !revision.spec.template.ports.is_empty()
            });
            let free = self.nodes.iter().find(|node| {
                let usable = node.status.phase == NodePhase::Ready && !node.spec.cordoned;
                let held = self.held(node.name());
                usable && held < self.slots && !(exclusive && held > 0)
            });
            let free = free.map(|node| node.name().to_owned());
            let (now, is_placed) = (self.now, free.is_some());
            self.edit(&name, |replica| {
                replica.spec.node_name = free;
                replica.status.conditions.set(Condition {
                    kind: PLACED.into(),
                    status: ConditionStatus::from(is_placed),
                    reason: if is_placed { placed::BOUND } else { placed::NO_ROOM }.into(),
                    message: "node-1: needs a slot".into(),
                    last_transition_time: now,
                    observed_generation: None,
                });
            });
        }
    }

    fn held(&self, node: &str) -> usize {
        let on_node = |replica: &&Replica| replica.spec.node_name.as_deref() == Some(node) && replica.holds_resources();
        self.replicas.values().filter(on_node).count()
    }

    /// What the agent of one replica does next.
    pub(super) fn agent(&mut self, name: &str) {
        let now = self.now;
        let program = self.program(name);
        let replica = &self.replicas[name];
        if replica.spec.node_name.is_none() || replica.status.disposition != Disposition::Active {
            return;
        }
        let was = replica.status.observed.clone();
        let state = was.as_ref().map(|observed| observed.state);
        let stops = replica.is_stop_wished();
        self.edit(name, |replica| {
            let mut observed = was.unwrap_or_default();
            if stops {
                observed.state = ProcessState::Stopped;
            } else {
                run(&program, state, &mut observed, now);
            }
            observed.ready = observed.state == ProcessState::Ready;
            observed.ready_since = observed.ready.then(|| observed.ready_since.unwrap_or(now));
            replica.status.observed = Some(observed);
        });
    }

    fn program(&self, name: &str) -> String {
        let revision = &self.replicas[name].spec.revision;
        self.revisions.iter().find(|known| known.name() == revision).map(|known| command(known)).unwrap_or_default()
    }

    /// Lets so many seconds pass, everybody acting once in each.
    pub(super) fn run_for(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.second();
        }
    }

    pub(super) fn second(&mut self) {
        self.reconcile();
        self.schedule();
        for name in self.names(|replica| !replica.status.phase.is_finished()) {
            self.agent(&name);
        }
        self.now = self.now.after(Duration::from_secs(1));
        self.reconcile();
    }

    pub(super) fn names(&self, which: impl Fn(&Replica) -> bool) -> Vec<String> {
        let found = self.replicas.iter().filter(|(_, replica)| which(replica));
        found.map(|(name, _)| name.clone()).collect()
    }

    pub(super) fn ready(&self) -> usize {
        self.names(Replica::is_ready).len()
    }

    /// Those that count as available: ready and, where they replace others, for long enough.
    pub(super) fn available(&self) -> BTreeSet<String> {
        let min_ready = self.service.spec.update.min_ready.get();
        let stable = self.service.status.stable.as_ref();
        let counts = |replica: &Replica| {
            let since = replica.status.observed.as_ref().and_then(|observed| observed.ready_since);
            let long_enough = since.is_some_and(|since| since.after(min_ready) <= self.now);
            replica.is_ready() && (long_enough || stable.is_none_or(|stable| *stable == replica.spec.revision))
        };
        self.names(counts).into_iter().collect()
    }

    pub(super) fn unfinished(&self) -> usize {
        self.names(|replica| !replica.status.phase.is_finished()).len()
    }

    /// The indices of the replicas that are to run, with their programs.
    pub(super) fn live(&self) -> Vec<(u32, String)> {
        let names = self.names(|replica| !replica.status.phase.is_finished() && !replica.is_stop_wished());
        let mut live: Vec<_> = names.iter().map(|name| (self.replicas[name].spec.index, self.program(name))).collect();
        live.sort();
        live
    }

    /// The indices of the replicas that are to run; all must run this program.
    pub(super) fn indices_of(&self, program: &str) -> Vec<u32> {
        let live = self.live();
        assert!(live.iter().all(|(_, runs)| runs == program), "{live:?}");
        live.into_iter().map(|(index, _)| index).collect()
    }

    /// The only replica of an index that is to run.
    pub(super) fn only(&self, index: u32) -> String {
        let names = self.names(|replica| {
            replica.spec.index == index && !replica.status.phase.is_finished() && !replica.is_stop_wished()
        });
        assert_eq!(names.len(), 1, "{names:?}");
        names[0].clone()
    }

    pub(super) fn said(&self) -> BTreeSet<&'static str> {
        self.notices.iter().map(|notice| notice.reason).collect()
    }

    /// Why replicas were stopped, by name.
    pub(super) fn stop_reason(&self, name: &str) -> Option<&str> {
        self.replicas[name].spec.stop.as_ref().map(|stop| stop.reason.as_str())
    }

    /// How often a replica's process has ended.
    pub(super) fn exits(&self, name: &str) -> u32 {
        let observed = self.replicas[name].status.observed.as_ref();
        observed.map_or(0, |observed| observed.restarts + u32::from(observed.state == ProcessState::Backoff))
    }

    /// The replica's node is given up.
    pub(super) fn lose(&mut self, name: &str) {
        self.edit(name, |replica| replica.status.disposition = Disposition::Lost);
    }

    /// It is heard again.
    pub(super) fn find_again(&mut self, name: &str) {
        self.edit(name, |replica| replica.status.disposition = Disposition::Active);
        let on = self.replicas[name].spec.node_name.clone();
        for node in self.nodes.iter_mut().filter(|node| Some(node.name()) == on.as_deref()) {
            Arc::make_mut(node).status.since = Some(self.now);
        }
    }

    pub(super) fn condition(&self, kind: &str) -> &Condition {
        self.service.status.conditions.get(kind).expect("it is always said")
    }
}

fn run(program: &str, state: Option<ProcessState>, observed: &mut Observed, now: Timestamp) {
    use ProcessState::{Backoff, Failed, Ready, Running, Starting};
    let exit = |permanent, code: Option<i32>, message: &str| {
        let reason = if permanent { "StartError" } else { "Error" }.to_owned();
        Some(Exit { code, reason, message: message.to_owned(), permanent, at: Some(now), ..Exit::default() })
    };
    observed.state = match (program.split('-').next().unwrap_or_default(), state) {
        (_, None) => {
            observed.attempt = 1;
            Starting
        }
        ("missing", Some(_)) => {
            observed.exit = exit(true, None, "no such file: missing");
            Failed
        }
        ("crash", Some(Starting | Running | Ready)) => {
            observed.exit = exit(false, Some(3), "");
            Backoff
        }
        ("crash", Some(_)) => {
            observed.restarts += 1;
            observed.attempt += 1;
            Starting
        }
        ("slow", Some(_)) => Running,
        (_, Some(Starting)) => Running,
        (_, Some(_)) => Ready,
    };
}

fn command(revision: &Revision) -> String {
    let value = serde_json::to_value(&revision.spec.template.command).expect("it serialises");
    value.as_str().unwrap_or_default().to_owned()
}

fn node(number: usize) -> Arc<Node> {
    let mut node = Node::new(format!("node-{number}"), NodeSpec::default());
    node.status.phase = NodePhase::Ready;
    Arc::new(node)
}
