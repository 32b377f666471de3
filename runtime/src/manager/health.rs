//! How a manager is, as data.

use std::sync::Arc;

use orion_model::{ClientError, ResourceVersion};
use serde::Serialize;

use crate::{controller::Part, feeds::Feeds};

/// How a manager is.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// Each informer.
    pub informers: Vec<InformerHealth>,
    /// Each controller.
    pub controllers: Vec<ControllerHealth>,
    /// The version up to which the cache is.
    pub version: ResourceVersion,
    /// What the backend last answered to the informers, while they are not following it.
    pub trouble: Option<String>,
    /// Events that were dropped because too many waited to be written.
    pub dropped_events: u64,
}

/// How an informer is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InformerHealth {
    /// Its kind.
    pub kind: String,
    /// Whether its first list is in.
    pub synced: bool,
    /// How many objects do not decode and are skipped.
    pub undecodable: usize,
}

/// How a controller is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ControllerHealth {
    /// Its name.
    pub name: String,
    /// What keeps it from being healthy.
    pub troubles: Vec<String>,
    /// How many commits returned before the cache showed them.
    pub unobserved: u64,
}

impl Health {
    /// Whether all caches are synced and no key is stuck.
    pub fn is_ready(&self) -> bool {
        self.problems().is_empty()
    }

    /// What keeps it from being ready, each as a sentence that names the part.
    pub fn problems(&self) -> Vec<String> {
        let because = self.trouble.as_ref().map(|trouble| format!(": {trouble}")).unwrap_or_default();
        let unsynced = self.informers.iter().filter(|informer| !informer.synced);
        let unsynced = unsynced.map(|informer| format!("informer {} is not synced{because}", informer.kind));
        let stuck = self.controllers.iter().flat_map(|controller| {
            controller.troubles.iter().map(|trouble| format!("controller {}: {trouble}", controller.name))
        });
        unsynced.chain(stuck).collect()
    }
}

pub(super) fn of(feeds: &Feeds, parts: &[Arc<dyn Part>], trouble: Option<ClientError>, dropped_events: u64) -> Health {
    let root = feeds.cache().view();
    let informers = root.tables.iter().map(|table| InformerHealth {
        kind: table.kind().to_string(),
        synced: table.is_synced(),
        undecodable: table.undecodable(),
    });
    let controllers = parts.iter().map(|part| ControllerHealth {
        name: part.name().to_string(),
        troubles: part.troubles(),
        unobserved: part.unobserved(),
    });
    Health {
        informers: informers.collect(),
        controllers: controllers.collect(),
        version: root.version,
        trouble: trouble.map(|error| error.to_string()),
        dropped_events,
    }
}
