//! Apply: an orion.yaml becomes one atomic commit of its Config and of all that belongs to it.
//!
//! ```text
//! text ─ parse ─▶ Parsed ┐
//! Config ─ what it last said ─┼─ plan (pure) ─▶ writes, changes, warnings ─▶ one commit
//! live objects at one version ┘
//! ```
//!
//! Every write of a Config goes this way, whichever path it comes by: [`Apply`] is the Config's write handler too.

mod effects;
mod merge;
mod plan;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::future::BoxFuture;
use orion_apiserver::{Audit, Caller, FieldValidation, Verdict, WriteAnswer, WriteHandler, WriteRequest};
use orion_model::{
    Client, ClientError, Commit, CommitId, Issue, List, Object, ObjectKey, Op, Part, Resource, ResourceVersion,
    Selection, Status, Written, object::Stored, patch,
};
use orion_types::{
    Config, Job, Node, Plugin, Service,
    applied::ApplyAnswer,
    config::{Format, Options, OrionConfig, Parsed},
};
use serde_json::{Value, json};

use self::plan::{Input, Plan, plan};

/// Where a configuration is sent to be applied.
pub(crate) const PATH: &str = "/api/apply";

/// How often a plan is made anew when what it was made from has moved.
const TRIES: usize = 8;

/// What an applier says beside the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ApplyOptions {
    /// Answer the same and change nothing.
    pub dry_run: bool,
    /// Delete what the Config held and no longer names.
    pub prune: bool,
    /// Take over what belongs to another Config, or to none.
    pub force: bool,
    /// Unknown fields are errors.
    pub strict: bool,
    /// Refuse unless the Config is at this version.
    pub expect_version: Option<ResourceVersion>,
}

/// Why nothing was applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The text is wrong: all that is wrong with it.
    #[error("Invalid configuration")]
    Invalid(Vec<Issue>),
    /// Anything else.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// Applies configurations. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Apply {
    client: Client,
}

/// What was answered, and the Config as it was written, if it was.
type Applied = (ApplyAnswer, Option<Stored>);

/// What a plan is made from, all at one version.
struct World {
    config: Option<Config>,
    live: BTreeMap<ObjectKey, Stored>,
    nodes: u32,
}

impl Apply {
    /// Applies by this client.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// Applies a text, and says in the audit whether it took effect or was refused.
    ///
    /// # Errors
    /// All that is wrong with it, or why the commit was not made; nothing has changed then, unless the outcome is
    /// unknown.
    pub async fn apply(
        &self,
        caller: &Caller,
        text: &str,
        format: Format,
        options: ApplyOptions,
    ) -> Result<ApplyAnswer, ApplyError> {
        let id = CommitId::fresh(self.client.clock().now(), self.client.randomness());
        let names = names(text, format, options);
        let what = names.as_ref().map_or_else(|_| PATH.to_owned(), |names| key_of(names).to_string());
        let applied = match names {
            Ok(names) => self.try_apply(caller, names, text, format, options, id).await,
            Err(error) => Err(error),
        };
        Audit { caller, verb: "apply", what }.record(verdict(&applied, options));
        applied.map(|(answer, _)| answer)
    }

    async fn try_apply(
        &self,
        caller: &Caller,
        names: Parsed,
        text: &str,
        format: Format,
        options: ApplyOptions,
        id: CommitId,
    ) -> Result<Applied, ApplyError> {
        refuse_prune_of_default(&names, options)?;
        let mut last_conflict = None;
        for _ in 0..TRIES {
            let world = self.world(&names).await?;
            let parsed =
                OrionConfig::parse(text, format, &check_options(&world, options)).map_err(ApplyError::Invalid)?;
            expect(&parsed, world.config.as_ref(), options)?;
            let plan = self.plan(caller, &parsed, &world, options)?;
            match self.commit(plan, &parsed, &world, options, id.clone()).await {
                Ok(applied) => return Ok(applied),
                Err(error) if error.is_conflict() || error.is_not_found() => last_conflict = Some(error),
                Err(error) => return Err(error.into()),
            }
        }
        Err(last_conflict.unwrap_or_else(|| ClientError::Unavailable("apply was never tried".into())).into())
    }

    async fn world(&self, names: &Parsed) -> Result<World, ClientError> {
        let within = |kind| Selection::all(kind).in_namespace(names.namespace.as_str());
        let selections = [Config::KIND, Service::KIND, Job::KIND, Plugin::KIND].map(within).to_vec();
        let selections = [selections, vec![Selection::all(Node::KIND)]].concat();
        let listed = self.client.list_raw(List::snapshot(selections)).await?;
        let mut world = World { config: None, live: BTreeMap::new(), nodes: 0 };
        for stored in listed.items {
            if *stored.kind() == Config::KIND {
                if stored.metadata().name == names.name {
                    world.config = Some(Config::decode(&stored)?);
                }
                continue;
            }
            world.nodes += u32::from(*stored.kind() == Node::KIND);
            world.live.insert(stored.key(), stored);
        }
        Ok(world)
    }

    fn plan(&self, caller: &Caller, new: &Parsed, world: &World, options: ApplyOptions) -> Result<Plan, ClientError> {
        let last = world.config.as_ref().map(last_said).unwrap_or_default();
        plan(&Input {
            new,
            config: world.config.as_ref(),
            last: &last,
            live: &world.live,
            prune: options.prune,
            force: options.force,
            who: &caller.to_string(),
            now: self.client.clock().now(),
        })
    }

    async fn commit(
        &self,
        plan: Plan,
        parsed: &Parsed,
        world: &World,
        options: ApplyOptions,
        id: CommitId,
    ) -> Result<Applied, ClientError> {
        let mut answer = ApplyAnswer {
            status: "accepted".into(),
            resource_version: world.config.as_ref().map(|config| config.metadata.resource_version).unwrap_or_default(),
            dry_run: options.dry_run,
            changes: plan.changes,
            orphaned: plan.orphaned,
            warnings: parsed.warnings.iter().cloned().chain(plan.warnings).collect(),
        };
        if plan.writes.is_empty() {
            return Ok((answer, None));
        }
        let commit = Commit { id: Some(id), checks: plan.checks, writes: plan.writes, dry_run: options.dry_run };
        let mut committed = self.client.commit(commit).await?;
        if let Some(versions) = committed.versions {
            answer.resource_version = versions.last;
        }
        Ok((answer, committed.results.pop().map(|written| written.object)))
    }
}

fn refuse_prune_of_default(parsed: &Parsed, options: ApplyOptions) -> Result<(), ClientError> {
    if options.prune && parsed.name == "default" {
        return Err(ClientError::BadRequest(
            "prune of the config named default is refused: everything without a name of its own is in it; \
             give the config a metadata.name"
                .into(),
        ));
    }
    Ok(())
}

fn check_options(world: &World, options: ApplyOptions) -> Options {
    let plugins: BTreeSet<_> =
        world.live.keys().filter(|key| key.kind == Plugin::KIND).map(|key| key.name.to_string()).collect();
    Options { strict: options.strict, nodes: (world.nodes > 0).then_some(world.nodes), plugins, ..Options::default() }
}

fn expect(parsed: &Parsed, config: Option<&Config>, options: ApplyOptions) -> Result<(), ClientError> {
    let Some(expected) = options.expect_version else { return Ok(()) };
    let current = config.map(|config| config.metadata.resource_version);
    let matches = config
        .is_some_and(|config| [config.metadata.resource_version, config.metadata.spec_version].contains(&expected));
    if matches {
        return Ok(());
    }
    Err(ClientError::Conflict { key: key_of(parsed), expected: Some(expected), current })
}

/// What a Config last said, read by today's rules. One that no longer reads says nothing: its fields are then left
/// rather than reset.
fn last_said(config: &Config) -> Parsed {
    let text = json!({
        "metadata": {"name": config.metadata.name, "namespace": config.metadata.namespace},
        "spec": config.spec,
    })
    .to_string();
    OrionConfig::parse(&text, Format::Json, &Options::default()).unwrap_or_else(|issues| {
        tracing::warn!(config = %config.metadata.name, ?issues, "what it last said no longer reads");
        Parsed::default()
    })
}

/// A text read for the names in it: they decide what of the store is read, and everything else is checked against that.
fn names(text: &str, format: Format, options: ApplyOptions) -> Result<Parsed, ApplyError> {
    OrionConfig::parse(text, format, &Options { strict: options.strict, ..Options::default() })
        .map_err(ApplyError::Invalid)
}

fn key_of(parsed: &Parsed) -> ObjectKey {
    ObjectKey::new(Config::KIND, parsed.namespace.as_str(), parsed.name.as_str())
}

fn verdict(applied: &Result<Applied, ApplyError>, options: ApplyOptions) -> Verdict {
    match applied {
        Ok(_) if options.dry_run => Verdict::DryRun,
        Ok((answer, _)) => Verdict::Allowed { version: Some(answer.resource_version) },
        Err(ApplyError::Invalid(_)) => Verdict::Denied(400),
        Err(ApplyError::Client(error)) => Verdict::Denied(Status::from(error).code),
    }
}

impl WriteHandler for Apply {
    fn write(&self, request: WriteRequest) -> BoxFuture<'static, Result<WriteAnswer, ClientError>> {
        let apply = self.clone();
        Box::pin(async move { apply.write_config(request).await })
    }
}

impl Apply {
    /// A write of a Config by its resource: creating and changing it is an apply, deleting it is a deletion.
    async fn write_config(&self, request: WriteRequest) -> Result<WriteAnswer, ClientError> {
        let key = request.write.key.clone();
        let current = self.client.get_raw(key.clone()).await?;
        let desired = match (&request.write.op, &current) {
            (Op::Delete, _) | (Op::Replace(_, Part::Status) | Op::Merge(_, Part::Status), _) => None,
            (Op::Create(body) | Op::CreateWhole(body), None) => Some(body.clone()),
            (Op::Create(_) | Op::CreateWhole(_), Some(_)) => return Err(ClientError::AlreadyExists(key)),
            (Op::Replace(body, _), _) => Some(body.clone()),
            (Op::Merge(_, _), None) => return Err(ClientError::NotFound(key)),
            (Op::Merge(change, _), Some(current)) => {
                let mut value = current.to_value();
                patch::merge(&mut value, change);
                Some(value)
            }
        };
        let Some(desired) = desired.filter(|desired| !removes_finalizers(desired, current.as_ref())) else {
            let committed = self.client.commit(request.into_commit()).await?;
            let written = committed.into_single().ok_or(ClientError::NotFound(key))?;
            return Ok(WriteAnswer { written, warnings: Vec::new() });
        };
        let options = ApplyOptions {
            dry_run: request.options.dry_run,
            strict: request.options.field_validation == FieldValidation::Strict,
            expect_version: request.write.precondition.version,
            ..ApplyOptions::default()
        };
        let text = as_file(&key, &desired).to_string();
        // Whoever asked for the write says in the audit what became of it.
        let applied = match names(&text, Format::Json, options) {
            Ok(names) => self.try_apply(&request.caller, names, &text, Format::Json, options, request.id).await,
            Err(error) => Err(error),
        };
        let (answer, written) = applied.map_err(|error| match error {
            ApplyError::Invalid(issues) => ClientError::Invalid { key: key.clone(), issues },
            ApplyError::Client(error) => error,
        })?;
        let object = written.or(current).ok_or(ClientError::NotFound(key))?;
        Ok(WriteAnswer { written: Written { object, gone: false }, warnings: told(&answer) })
    }
}

/// A change of the metadata of a Config that is going is no apply.
fn removes_finalizers(desired: &Value, current: Option<&Stored>) -> bool {
    let Some(current) = current.filter(|current| current.metadata().is_being_deleted()) else { return false };
    desired.get("spec") == current.to_value().get("spec")
}

/// The Config as a file would say it: names from the path, no metadata but them.
fn as_file(key: &ObjectKey, desired: &Value) -> Value {
    let said = desired.pointer("/metadata/name").and_then(Value::as_str).filter(|_| key.name.is_empty());
    let name = said.unwrap_or(&key.name);
    json!({
        "metadata": {"name": name, "namespace": &*key.namespace},
        "spec": desired.get("spec").cloned().unwrap_or_default(),
    })
}

fn told(answer: &ApplyAnswer) -> Vec<String> {
    let changes = answer.changes.iter().filter(|change| change.action != "unchanged");
    let changes = changes.map(|c| format!("{}/{} {}: {}", c.kind.to_lowercase(), c.name, c.action, c.effect));
    let orphans = answer.orphaned.iter().map(|orphan| format!("{orphan} orphaned: no longer in the config"));
    let warnings = answer.warnings.iter().map(ToString::to_string);
    changes.chain(orphans).chain(warnings).collect()
}

/// A shared handler, as the resources of an API server take it.
pub fn handler(apply: &Apply) -> Arc<dyn WriteHandler> {
    Arc::new(apply.clone())
}
