//! What the controllers read: one informer a kind for all of them, and the indexes they look things up by.

use std::sync::Arc;

use orion_model::{Event, Key, Object};
use orion_runtime::{Index, Informer, Lister, Manager, ReconcileKey, Run, Select};
use orion_types::{Config, HookRun, Job, JobRun, Node, Plugin, Replica, Revision, Service};

use crate::dependency::{self, Standing};

/// The informers of all kinds the controllers work on.
pub(crate) struct Informers {
    pub(crate) configs: Informer<Config>,
    pub(crate) services: Informer<Service>,
    pub(crate) revisions: Informer<Revision>,
    pub(crate) replicas: Informer<Replica>,
    pub(crate) jobs: Informer<Job>,
    pub(crate) runs: Informer<JobRun>,
    pub(crate) plugins: Informer<Plugin>,
    pub(crate) hook_runs: Informer<HookRun>,
    pub(crate) nodes: Informer<Node>,
    pub(crate) events: Informer<Event>,
}

impl Informers {
    pub(crate) fn of(manager: &Manager) -> Self {
        Self {
            configs: manager.informer(Select::all()),
            services: manager.informer(Select::all()),
            revisions: manager.informer(Select::all()),
            replicas: manager.informer(Select::all()),
            jobs: manager.informer(Select::all()),
            runs: manager.informer(Select::all()),
            plugins: manager.informer(Select::all()),
            hook_runs: manager.informer(Select::all()),
            nodes: manager.informer(Select::all()),
            events: manager.informer(Select::all()),
        }
    }
}

/// The ways to the cached objects, and the indexes over them.
#[derive(Clone)]
pub(crate) struct Listers {
    pub(crate) services: Lister<Service>,
    pub(crate) revisions: Lister<Revision>,
    pub(crate) replicas: Lister<Replica>,
    pub(crate) jobs: Lister<Job>,
    pub(crate) runs: Lister<JobRun>,
    pub(crate) plugins: Lister<Plugin>,
    pub(crate) hook_runs: Lister<HookRun>,
    pub(crate) nodes: Lister<Node>,
    pub(crate) events: Lister<Event>,
    /// Replicas by the Service they are copies of.
    pub(crate) by_service: Index<Replica, Key<Service>>,
    /// Replicas by the Run they are attempts of.
    pub(crate) by_run: Index<Replica, Key<JobRun>>,
    /// Replicas by their node.
    pub(crate) by_node: Index<Replica, String>,
    /// Replicas that wait for a node.
    pub(crate) unbound: Index<Replica, ()>,
    /// Revisions by Service.
    pub(crate) of_service: Index<Revision, Key<Service>>,
    /// Runs by Job.
    pub(crate) of_job: Index<JobRun, Key<Job>>,
    /// Services that have not become stable yet, by what they depend on.
    pub(crate) young_dependents: Index<Service, Key<()>>,
    /// Jobs by what they depend on.
    pub(crate) job_dependents: Index<Job, Key<()>>,
    /// Services that are being rolled out.
    pub(crate) rolling: Index<Service, ()>,
}

impl Listers {
    pub(crate) fn of(informers: &Informers) -> Self {
        let Informers { services, revisions, replicas, jobs, runs, plugins, hook_runs, nodes, events, .. } = informers;
        Self {
            services: services.lister(),
            revisions: revisions.lister(),
            replicas: replicas.lister(),
            jobs: jobs.lister(),
            runs: runs.lister(),
            plugins: plugins.lister(),
            hook_runs: hook_runs.lister(),
            nodes: nodes.lister(),
            events: events.lister(),
            by_service: replicas.index(service_of),
            by_run: replicas.index(run_of),
            by_node: replicas.index(|replica| replica.spec.node_name.clone()),
            unbound: replicas.index(|replica| is_unbound(replica).then_some(())),
            of_service: revisions
                .index(|revision| [Key::new(revision.namespace(), revision.spec.service_name.as_str())]),
            of_job: runs.index(|run| [Key::new(run.namespace(), run.spec.job_name.as_str())]),
            young_dependents: services.index(|service| {
                let depends = service.status.stable.is_none().then_some(&service.spec.dependencies);
                let names = depends.into_iter().flatten().map(|dependency| dependency.name.as_str());
                names.map(|name| Key::new(service.namespace(), name)).collect::<Vec<_>>()
            }),
            job_dependents: jobs.index(|job| {
                let names = job.spec.dependencies.iter().map(|dependency| dependency.name.as_str());
                names.map(|name| Key::new(job.namespace(), name)).collect::<Vec<_>>()
            }),
            rolling: services.index(|service| service.status.rollout.is_some().then_some(())),
        }
    }

    /// How far the service or job of this name has come, as a run sees it.
    pub(crate) fn standing<K: ReconcileKey>(&self, run: &Run<K>, namespace: &str, name: &str) -> Standing {
        if run.read(&self.services).get(&Key::new(namespace, name)).is_some() {
            let replicas = run.read(&self.replicas);
            let key = Key::new(namespace, name);
            return dependency::of_service(replicas.by(&self.by_service, &key).map(Arc::as_ref));
        }
        match run.read(&self.jobs).get(&Key::new(namespace, name)) {
            Some(job) => dependency::of_job(&job, |name| {
                let found = run.read(&self.runs).get(&Key::new(namespace, name));
                found.map(|run| run.status.phase)
            }),
            None => Standing::Missing,
        }
    }
}

/// Whether a Replica waits for a node.
pub(crate) fn is_unbound(replica: &Replica) -> bool {
    replica.spec.node_name.is_none() && !replica.is_stop_wished() && !replica.status.phase.is_finished()
}

/// The Service a Replica is a copy of.
pub(crate) fn service_of(replica: &Replica) -> Option<Key<Service>> {
    let name = replica.spec.service_name.as_deref()?;
    Some(Key::new(replica.namespace(), name))
}

/// The Run a Replica is an attempt of.
pub(crate) fn run_of(replica: &Replica) -> Option<Key<JobRun>> {
    let name = replica.spec.run_name.as_deref()?;
    Some(Key::new(replica.namespace(), name))
}
