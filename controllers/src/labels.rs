//! The labels and annotations by which controllers mark what they make.

use std::collections::BTreeMap;

use orion_model::Timestamp;

/// On a Replica: the Service it is a copy of.
pub const SERVICE: &str = "orion/service";
/// On a Run and on its attempts: the Job.
pub const JOB: &str = "orion/job";
/// On an attempt: its Run.
pub const RUN: &str = "orion/run";

/// On a Replica that is over: since when, by the clock of the controller that saw it. Retention counts from here.
pub const FINISHED_AT: &str = "orion/finished-at";
/// On a Service: when its failed revision was asked to be tried again, as RFC 3339 writes times.
pub const RETRY: &str = "orion/retry";

/// What a child inherits: the labels of the object itself (`orion/config` among them), those its spec names, and the
/// controllers' own, which win.
pub(crate) fn inherited(
    of_object: &BTreeMap<String, String>,
    of_spec: &BTreeMap<String, String>,
    own: &[(&str, &str)],
) -> BTreeMap<String, String> {
    let own = own.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let mut labels = of_object.clone();
    labels.extend(of_spec.clone());
    labels.extend(own);
    labels
}

/// The time an annotation says, where it says one.
pub(crate) fn time(annotations: &BTreeMap<String, String>, name: &str) -> Option<Timestamp> {
    annotations.get(name)?.parse().ok()
}
