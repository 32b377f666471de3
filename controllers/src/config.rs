//! Configs: what belongs to one goes with it, dependents before what they depend on.

mod plan;

use orion_model::{Key, Metadata, Object};
use orion_runtime::{Action, Batch, Change, Reconciler, Result, Run};
use orion_types::{
    Config,
    applied::{CONFIG_FINALIZER, CONFIG_LABEL},
};

use self::plan::{Input, Plan, plan};
use crate::listers::Listers;

/// Takes down what a deleted Config held.
pub(crate) struct ConfigReconciler {
    pub(crate) listers: Listers,
}

impl Reconciler for ConfigReconciler {
    type Key = Key<Config>;

    const FINALIZER: Option<&'static str> = Some(CONFIG_FINALIZER);

    async fn reconcile(&self, _key: &Key<Config>, _run: &Run<Key<Config>>) -> Result<Action> {
        // What a Config holds is made by Apply; there is nothing to do before it goes.
        Ok(Action::Done)
    }

    async fn cleanup(&self, _key: &Key<Config>, run: &Run<Key<Config>>) -> Result<Action> {
        let Some(config) = run.object() else { return Ok(Action::Done) };
        let plan = self.plan(&config, run);
        let left = plan.left.clone();
        run.commit(batch(&config, plan)).await?;
        Ok(left.map_or(Action::Done, Action::waiting))
    }
}

impl ConfigReconciler {
    fn plan(&self, config: &Config, run: &Run<Key<Config>>) -> Plan {
        let (namespace, name) = (config.namespace(), config.name());
        let belongs = |metadata: &Metadata| metadata.labels.get(CONFIG_LABEL).is_some_and(|label| label == name);
        let (services, jobs) = (run.read(&self.listers.services), run.read(&self.listers.jobs));
        let (plugins, replicas) = (run.read(&self.listers.plugins), run.read(&self.listers.replicas));
        let nodes = run.read(&self.listers.nodes);
        plan(&Input {
            services: services.in_namespace(namespace).filter(|one| belongs(&one.metadata)).cloned().collect(),
            jobs: jobs.in_namespace(namespace).filter(|one| belongs(&one.metadata)).cloned().collect(),
            plugins: plugins.in_namespace(namespace).filter(|one| belongs(&one.metadata)).cloned().collect(),
            replicas: replicas.in_namespace(namespace).filter(|one| belongs(&one.metadata)).cloned().collect(),
            nodes: nodes.list().filter(|node| belongs(&node.metadata)).cloned().collect(),
        })
    }
}

fn batch(config: &Config, plan: Plan) -> Batch {
    let mut batch = Batch::new();
    for service in &plan.services {
        batch.delete(service);
    }
    for job in &plan.jobs {
        batch.delete(job);
    }
    for plugin in &plan.plugins {
        batch.delete(plugin);
    }
    for node in &plan.undeclared {
        batch.delete(node);
    }
    for node in &plan.released {
        batch.edit(node, |node| plan::release(node, config));
    }
    batch
}

/// A Config that is going waits for what belonged to it to be gone.
pub(crate) fn on_part<K: Object>(change: &Change<K>) -> Option<Key<Config>> {
    let part = change.either();
    let config = part.metadata().labels.get(CONFIG_LABEL)?;
    // A live Config has nothing to do about its parts; only their end, or its own, concerns it.
    Some(Key::new(part.namespace(), config.as_str()))
}
