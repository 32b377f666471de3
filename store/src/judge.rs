//! The judgement of a commit: what it comes to, or why it is refused. Pure but for the clock and the chance it is
//! given.
//!
//! ```text
//! Commit + Objects + Registry  ->  changes, versions, results   or a refusal
//!
//! checks         all against the state before the commit
//! writes         in turn, each on the draft of its object; preconditions against the state before the commit
//! drafts         finished in the order in which they were first touched: each that differs gets the next version
//! ```

mod draft;

use std::{collections::BTreeMap, sync::Arc};

use orion_model::{
    Change, Check, ClientError, Commit, Definition, Metadata, ObjectKey, Op, Precondition, Randomness, Registry,
    ResourceVersion, Stored, Timestamp, Versions, Write, Written,
};
use serde_json::Value;

use crate::{
    lease,
    limits::COMMIT_WRITES,
    metadata_rules::{self, DEFAULT_NAMESPACE, GENERATED_SUFFIX},
    objects::Objects,
    record::Outcome,
};
use draft::{Draft, Finished};

/// How often a generated name is tried again when it is taken.
const NAME_ATTEMPTS: usize = 8;

/// What a judgement depends on beside the commit and the objects.
pub(crate) struct World<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) now: Timestamp,
    pub(crate) randomness: &'a Randomness,
}

/// What a commit comes to.
pub(crate) struct Verdict {
    pub(crate) changes: Vec<Change>,
    /// `None` where nothing changes.
    pub(crate) versions: Option<Versions>,
    /// One for each write.
    pub(crate) results: Vec<(Outcome, Written)>,
}

/// Judges a commit on the objects as they are; its versions follow `after`.
pub(crate) fn judge(
    commit: &Commit,
    objects: &Objects,
    after: ResourceVersion,
    world: &World<'_>,
) -> Result<Verdict, ClientError> {
    check_size(commit)?;
    for check in &commit.checks {
        judge_check(check, objects)?;
    }
    let mut batch = Batch { objects, world, drafts: Vec::new(), index: BTreeMap::new(), targets: Vec::new() };
    for write in &commit.writes {
        batch.write(write)?;
    }
    batch.finish(after, commit.dry_run)
}

fn check_size(commit: &Commit) -> Result<(), ClientError> {
    let (writes, checks) = (commit.writes.len(), commit.checks.len());
    if writes > COMMIT_WRITES || checks > COMMIT_WRITES {
        let what =
            format!("a commit of {writes} writes and {checks} checks is too large: at most {COMMIT_WRITES} of each");
        return Err(ClientError::BadRequest(what));
    }
    Ok(())
}

fn judge_check(check: &Check, objects: &Objects) -> Result<(), ClientError> {
    let version = |key| objects.get(key).map(|object| object.version());
    match check {
        Check::Unchanged(key, expected) if version(key) != Some(*expected) => {
            Err(ClientError::Conflict { key: key.clone(), expected: Some(*expected), current: version(key) })
        }
        Check::Absent(key) if version(key).is_some() => {
            Err(ClientError::Conflict { key: key.clone(), expected: None, current: version(key) })
        }
        Check::Lease(key, epoch) if !objects.get(key).is_some_and(|lease| lease::is_in_epoch(lease, *epoch)) => {
            Err(ClientError::NotLeader { lease: key.clone(), epoch: *epoch })
        }
        Check::Unchanged(..) | Check::Absent(_) | Check::Lease(..) => Ok(()),
    }
}

/// What must be true of an object, judged on its state before the commit.
fn judge_precondition(key: &ObjectKey, current: &Stored, precondition: &Precondition) -> Result<(), ClientError> {
    let Precondition { version, uid } = precondition;
    let moved = version.is_some_and(|version| version != current.version());
    let another = uid.as_ref().is_some_and(|uid| uid != &current.metadata().uid);
    if moved || another {
        return Err(ClientError::Conflict { key: key.clone(), expected: *version, current: Some(current.version()) });
    }
    Ok(())
}

/// A commit under judgement.
struct Batch<'a> {
    objects: &'a Objects,
    world: &'a World<'a>,
    /// In the order in which their objects were first touched.
    drafts: Vec<Draft>,
    index: BTreeMap<ObjectKey, usize>,
    /// For each write, its draft.
    targets: Vec<usize>,
}

impl Batch<'_> {
    fn write(&mut self, write: &Write) -> Result<(), ClientError> {
        let kind = &write.key.kind;
        let definition = self.world.registry.get(kind).ok_or_else(|| ClientError::UnknownKind(kind.clone()))?.clone();
        let target = match &write.op {
            Op::Create(body) => self.create(write, definition, body, false)?,
            Op::CreateWhole(body) => self.create(write, definition, body, true)?,
            Op::Replace(..) | Op::Merge(..) | Op::Delete => self.draft(write, definition)?,
        };
        let draft = &mut self.drafts[target];
        match &write.op {
            Op::Create(_) | Op::CreateWhole(_) => {}
            Op::Replace(body, part) => draft.replace(body.clone(), *part)?,
            Op::Merge(patch, part) => draft.merge(patch, *part)?,
            Op::Delete => draft.delete(self.world.now),
        }
        self.targets.push(target);
        Ok(())
    }

    /// The draft of an object that is there, or that an earlier write of this commit has made.
    fn draft(&mut self, write: &Write, definition: Arc<Definition>) -> Result<usize, ClientError> {
        let key = &write.key;
        if let Some(current) = self.objects.get(key) {
            judge_precondition(key, current, &write.precondition)?;
        } else if !self.index.contains_key(key) {
            return Err(ClientError::NotFound(key.clone()));
        }
        if let Some(target) = self.index.get(key) {
            return Ok(*target);
        }
        let current = self.objects.get(key).ok_or_else(|| ClientError::NotFound(key.clone()))?;
        Ok(self.add(Draft::of(key.clone(), definition, current.clone())))
    }

    fn create(
        &mut self,
        write: &Write,
        definition: Arc<Definition>,
        body: &Value,
        whole: bool,
    ) -> Result<usize, ClientError> {
        let (written, fields) = draft::take_apart(&write.key, body.clone())?;
        let key = self.key_of_new(&write.key, &written)?;
        if self.is_taken(&key) {
            return Err(ClientError::AlreadyExists(key));
        }
        let wrong_version = write.precondition.version.filter(|version| !version.is_zero());
        if wrong_version.is_some() || write.precondition.uid.is_some() {
            return Err(ClientError::Conflict { key, expected: wrong_version, current: None });
        }
        let uid = self.world.randomness.uuid();
        let metadata = metadata_rules::created(written, &key, uid.as_str().into(), self.world.now);
        Ok(self.add(Draft::created(key, definition, metadata, fields, whole)))
    }

    /// Where a new object goes: its namespace is `default` unless asked, and its name may be generated.
    fn key_of_new(&self, key: &ObjectKey, written: &Metadata) -> Result<ObjectKey, ClientError> {
        let mut key = key.clone();
        if key.namespace.is_empty() {
            key.namespace = written.namespace.as_str().into();
        }
        if key.namespace.is_empty() && key.kind.is_namespaced() {
            key.namespace = DEFAULT_NAMESPACE.into();
        }
        if key.name.is_empty() {
            key.name = written.name.as_str().into();
        }
        draft::check_names(&key, written)?;
        if !key.name.is_empty() || written.generate_name.is_empty() {
            return Ok(key);
        }
        let base = metadata_rules::generated_base(&written.generate_name);
        for _ in 0..NAME_ATTEMPTS {
            key.name = format!("{base}{}", self.world.randomness.suffix(GENERATED_SUFFIX)).into();
            if !self.is_taken(&key) {
                break;
            }
        }
        Ok(key)
    }

    fn is_taken(&self, key: &ObjectKey) -> bool {
        self.objects.get(key).is_some() || self.index.contains_key(key)
    }

    fn add(&mut self, draft: Draft) -> usize {
        let target = self.drafts.len();
        self.index.insert(draft.key().clone(), target);
        self.drafts.push(draft);
        target
    }

    fn finish(self, after: ResourceVersion, dry_run: bool) -> Result<Verdict, ClientError> {
        let mut changes = Vec::new();
        let mut results = Vec::new();
        let mut last = after;
        for draft in self.drafts {
            let key = draft.key().clone();
            let Finished { written, change } = draft.finish((!dry_run).then_some(last.next()))?;
            let outcome = match change {
                Some(change) => {
                    last = last.next();
                    changes.push(change);
                    Outcome::Changed(changes.len() - 1)
                }
                None => Outcome::Same(key),
            };
            results.push((outcome, written));
        }
        let versions = (last > after && !dry_run).then_some(Versions { first: after.next(), last });
        let results = self.targets.into_iter().map(|target| results[target].clone()).collect();
        Ok(Verdict { changes, versions, results })
    }
}
