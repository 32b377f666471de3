//! Gets and lists. They answer from one published state and copy no object.

use std::{collections::BTreeSet, sync::Arc};

use orion_model::{ClientError, Freshness, Get, Kind, List, Listed, ObjectKey, Registry, Selection, Stored};

use crate::{heads::Heads, objects::Objects, shared::Shared, state::State};

/// Where reads are made.
pub(crate) struct Reader<J> {
    pub(crate) shared: Arc<Shared<J>>,
    pub(crate) heads: Heads,
}

impl<J> Reader<J> {
    pub(crate) async fn get(self, get: Get) -> Result<Option<Stored>, ClientError> {
        check_kind(&self.shared.registry, &get.key.kind)?;
        let state = self.state(get.freshness).await?;
        Ok(state.objects.get(&get.key).cloned())
    }

    pub(crate) async fn list(self, list: List) -> Result<Listed, ClientError> {
        check_selections(&self.shared.registry, &list.selections)?;
        let state = self.state(list.freshness).await?;
        let mut items = select(&state.objects, &list.selections, list.after.as_ref());
        let limit = list.limit.unwrap_or(usize::MAX);
        let items_within: Vec<_> = items.by_ref().take(limit).collect();
        let more = items.next().is_some();
        Ok(Listed { version: state.version, items: items_within, more })
    }

    /// A state that is as fresh as asked.
    pub(crate) async fn state(&self, freshness: Freshness) -> Result<Arc<State>, ClientError> {
        match freshness {
            Freshness::Any => {}
            Freshness::Confirmed => self.heads.confirm().await?,
            Freshness::AtLeast(version) => {
                if self.shared.state().version < version {
                    self.heads.confirm().await?;
                }
                self.shared.reach(|progress| progress.version >= version, &format!("version {version}")).await?;
            }
        }
        Ok(self.shared.state())
    }
}

/// All objects of several selections, each once, by kind, namespace and name, behind `after`.
pub(crate) fn select<'a>(
    objects: &'a Objects,
    selections: &'a [Selection],
    after: Option<&'a ObjectKey>,
) -> impl Iterator<Item = Stored> + 'a {
    let kinds: BTreeSet<&Kind> = selections.iter().map(|selection| &selection.kind).collect();
    let kinds = kinds.into_iter().filter(move |kind| after.is_none_or(|after| **kind >= after.kind));
    kinds.flat_map(move |kind| {
        let of_kind = move |selection: &&Selection| selection.kind == *kind;
        let namespace = only_namespace(selections.iter().filter(of_kind));
        let from = after
            .filter(|after| after.kind == *kind)
            .map(|after| (after.namespace.clone(), after.name.clone()))
            .max(namespace.clone().map(|namespace| (namespace, "".into())));
        let within = move |object: &&Stored| {
            namespace.as_ref().is_none_or(|namespace| **namespace == *object.metadata().namespace)
        };
        let behind = move |object: &&Stored| after.is_none_or(|after| object.key() > *after);
        let meant = move |object: &&Stored| selections.iter().any(|selection| selection.matches(object));
        objects.of_kind(kind, from).take_while(within).filter(behind).filter(meant).cloned()
    })
}

/// The namespace, where all selections are of the same one.
fn only_namespace<'a>(mut selections: impl Iterator<Item = &'a Selection>) -> Option<Arc<str>> {
    let first = selections.next()?.namespace.clone()?;
    selections.all(|selection| selection.namespace.as_ref() == Some(&first)).then_some(first)
}

/// Refuses selections that the registry cannot answer.
pub(crate) fn check_selections(registry: &Registry, selections: &[Selection]) -> Result<(), ClientError> {
    for selection in selections {
        check_kind(registry, &selection.kind)?;
        let selectable = registry.get(&selection.kind).map(|definition| &definition.selectable);
        for requirement in selection.fields.requirements() {
            let path = &requirement.path;
            let always = matches!(path.as_str(), "metadata.name" | "metadata.namespace");
            if !always && !selectable.is_some_and(|selectable| selectable.contains(path)) {
                return Err(ClientError::BadRequest(format!("field label not supported: {path}")));
            }
        }
    }
    Ok(())
}

fn check_kind(registry: &Registry, kind: &Kind) -> Result<(), ClientError> {
    registry.get(kind).map(drop).ok_or_else(|| ClientError::UnknownKind(kind.clone()))
}
