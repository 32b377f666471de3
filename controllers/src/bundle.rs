//! All controllers together, as one manager runs them.

use std::sync::Arc;

use orion_model::{Key, Object};
use orion_runtime::{Change, Controller, Index, Manager};
use orion_types::{Job, JobRun, Node, Replica, Service, replica::Phase};

use crate::{
    config::{self, ConfigReconciler},
    job::JobReconciler,
    listers::{Informers, Listers, service_of},
    node::{self, NodeReconciler},
    plugin::{self, HookCaller, PluginReconciler},
    retention::SweepReconciler,
    run::RunReconciler,
    scheduler::{self, SchedulerReconciler},
    service::ServiceReconciler,
};

/// What the controllers need of the world beside the store.
pub struct Parts {
    /// The way to webhooks.
    pub hooks: Arc<dyn HookCaller>,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").finish_non_exhaustive()
    }
}

/// Adds Orion's controllers to a manager, whose client's registry must hold [`orion_types::Kinds`].
pub fn add(manager: &mut Manager, parts: Parts) {
    let informers = Informers::of(manager);
    let listers = Listers::of(&informers);
    add_services(manager, &informers, &listers);
    add_jobs(manager, &informers, &listers);
    add_scheduler(manager, &informers, &listers);
    add_nodes(manager, &informers, &listers);
    add_plugins(manager, &informers, &listers, parts.hooks);
    add_configs(manager, &informers, &listers);
    manager.add(Controller::single("sweeper").reconciler(SweepReconciler { listers }));
}

fn add_services(manager: &mut Manager, informers: &Informers, listers: &Listers) {
    let rolling = listers.rolling.clone();
    let controller =
        Controller::new("service", &informers.services)
            .owns(&informers.revisions)
            .watches(&informers.replicas, |change: &Change<Replica>| keys(change, service_of))
            .watches(&informers.nodes, move |change: &Change<Node>| {
                if scheduler::on_node(change).is_some() { rolling.keys(&()) } else { Vec::new() }
            });
    let controller = dependents(controller, informers, &listers.young_dependents);
    manager.add(controller.reconciler(ServiceReconciler { listers: listers.clone() }));
}

fn add_jobs(manager: &mut Manager, informers: &Informers, listers: &Listers) {
    let jobs = Controller::new("job", &informers.jobs).owns(&informers.runs);
    let jobs = dependents(jobs, informers, &listers.job_dependents);
    manager.add(jobs.reconciler(JobReconciler { listers: listers.clone() }));

    let of_job = listers.of_job.clone();
    let runs = Controller::new("run", &informers.runs)
        .watches(&informers.replicas, |change: &Change<Replica>| keys(change, crate::listers::run_of))
        .watches(&informers.jobs, move |change: &Change<Job>| {
            let same = change.old().zip(change.new()).is_some_and(|(old, new)| old.spec == new.spec);
            if same { Vec::new() } else { of_job.keys(&change.either().key()) }
        });
    manager.add(runs.reconciler(RunReconciler { listers: listers.clone() }));
}

fn add_scheduler(manager: &mut Manager, informers: &Informers, listers: &Listers) {
    let controller = Controller::single("scheduler")
        .watches(&informers.replicas, scheduler::on_replica)
        .watches(&informers.nodes, scheduler::on_node)
        .watches(&informers.services, scheduler::on_service);
    manager.add(controller.reconciler(SchedulerReconciler::new(listers.clone())));
}

fn add_nodes(manager: &mut Manager, informers: &Informers, listers: &Listers) {
    let nodes = listers.nodes.clone();
    let controller = Controller::single("node")
        .watches(&informers.nodes, node::on_node)
        .watches(&informers.replicas, move |change: &Change<Replica>| node::on_replica(change, &nodes));
    manager.add(controller.reconciler(NodeReconciler::new(listers.clone())));
}

fn add_plugins(manager: &mut Manager, informers: &Informers, listers: &Listers, caller: Arc<dyn HookCaller>) {
    let known = listers.clone();
    let controller = Controller::new("plugin", &informers.replicas)
        .watches(&informers.plugins, move |change| plugin::on_plugin(change, &known))
        .concurrency(plugin::CONCURRENCY);
    manager.add(controller.reconciler(PluginReconciler { listers: listers.clone(), caller }));
}

fn add_configs(manager: &mut Manager, informers: &Informers, listers: &Listers) {
    let controller = Controller::new("config", &informers.configs)
        .watches(&informers.services, config::on_part)
        .watches(&informers.jobs, config::on_part)
        .watches(&informers.plugins, config::on_part)
        .watches(&informers.replicas, config::on_part);
    manager.add(controller.reconciler(ConfigReconciler { listers: listers.clone() }));
}

/// Runs those that wait for a service or a job when it may have started.
fn dependents<O: Object>(
    controller: Controller<Key<O>>,
    informers: &Informers,
    index: &Index<O, Key<()>>,
) -> Controller<Key<O>> {
    let (of_replica, of_run, of_service, of_job) = (index.clone(), index.clone(), index.clone(), index.clone());
    controller
        .watches(&informers.replicas, move |change: &Change<Replica>| {
            let runs = |replica: &Replica| matches!(replica.status.phase, Phase::Running | Phase::Ready);
            let started = change.new().filter(|new| runs(new) && !change.old().is_some_and(|old| runs(old)));
            started.and_then(|replica| service_of(replica)).map_or_else(Vec::new, |key| of_replica.keys(&key.cast()))
        })
        .watches(&informers.runs, move |change: &Change<JobRun>| {
            let run = change.either();
            let moved = change.old().map(|old| old.status.phase) != change.new().map(|new| new.status.phase);
            let job = Key::new(run.namespace(), run.spec.job_name.as_str());
            if moved { of_run.keys(&job) } else { Vec::new() }
        })
        .watches(&informers.services, move |change: &Change<Service>| appeared(change, &of_service))
        .watches(&informers.jobs, move |change: &Change<Job>| appeared(change, &of_job))
}

/// Those that depend on an object that came or went.
fn appeared<K: Object, O: Object>(change: &Change<K>, index: &Index<O, Key<()>>) -> Vec<Key<O>> {
    let stays = change.old().is_some() && change.new().is_some();
    if stays { Vec::new() } else { index.keys(&change.either().key().cast()) }
}

/// The keys that both sides of a change give.
fn keys<V, K: PartialEq>(change: &Change<V>, key: impl Fn(&V) -> Option<K>) -> Vec<K> {
    let mut keys: Vec<K> = change.sides().filter_map(|side| key(side)).collect();
    keys.dedup();
    keys
}
