//! What an agent needs to run a replica, put together from the objects that say it.

use std::collections::BTreeMap;

use orion_types::{
    Replica,
    process::{ProcessSpec, Template},
    protocol::{Definition, MAX_DEFINITION},
};

/// What a replica runs, as its Revision or its Run says it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Source {
    /// The service's or job's name.
    pub(super) name: String,
    /// The process.
    pub(super) template: Template,
    /// Labels of the service.
    pub(super) labels: BTreeMap<String, String>,
}

/// The definition of a replica.
///
/// # Errors
/// When it is larger than a frame may carry; the text says so. Apply refuses it earlier, but a Replica can be written
/// without Apply.
pub(super) fn define(replica: &Replica, source: Source) -> Result<Definition, String> {
    let spec = &replica.spec;
    let definition = Definition {
        name: source.name,
        process: ProcessSpec { template: source.template, settings: spec.settings.clone() },
        labels: source.labels,
        index: spec.index,
        hook_env: spec.env.clone(),
        once: spec.run_name.is_some(),
        // Of two placements of one index the later one's spec was written later, since the earlier one has none after
        // its end is wished.
        fencing_token: replica.metadata.spec_version.get(),
    };
    let size = serde_json::to_vec(&definition).map_or(usize::MAX, |body| body.len());
    if size > MAX_DEFINITION {
        return Err(format!("the definition has {size} bytes, more than {MAX_DEFINITION}"));
    }
    Ok(definition)
}

#[cfg(test)]
mod tests {
    use orion_model::ResourceVersion;
    use orion_types::replica::ReplicaSpec;

    use super::*;

    fn source() -> Source {
        let template = Template { entry: "main.js".into(), ..Template::default() };
        Source { name: "web".into(), template, labels: BTreeMap::from([("tier".into(), "front".into())]) }
    }

    fn replica(spec: ReplicaSpec) -> Replica {
        let mut replica = Replica::new("web-2-abcde", spec);
        replica.metadata.spec_version = ResourceVersion::new(9);
        replica
    }

    #[test]
    fn a_definition_joins_the_template_with_the_replicas_own_fields() {
        let env = BTreeMap::from([("TOKEN".into(), "x".into())]);
        let spec =
            ReplicaSpec { service_name: Some("web".into()), index: 2, env: env.clone(), ..ReplicaSpec::default() };
        let definition = define(&replica(spec), source()).expect("it fits");
        assert_eq!((definition.name.as_str(), definition.index, definition.once), ("web", 2, false));
        assert_eq!((definition.hook_env, definition.fencing_token), (env, 9));
        assert_eq!(definition.process.template.entry, "main.js");
        assert_eq!(definition.labels["tier"], "front");
    }

    #[test]
    fn the_end_of_an_attempt_of_a_run_is_final() {
        let spec = ReplicaSpec { run_name: Some("migrate-1".into()), ..ReplicaSpec::default() };
        assert!(define(&replica(spec), source()).expect("it fits").once);
    }

    #[test]
    fn a_definition_over_256_kib_is_refused_with_its_size() {
        let env = |bytes| BTreeMap::from([("BIG".into(), "x".repeat(bytes))]);
        let big = ReplicaSpec { env: env(MAX_DEFINITION), ..ReplicaSpec::default() };
        let error = define(&replica(big), source()).expect_err("too large");
        assert!(error.contains("more than 262144"), "{error}");
        let fits = ReplicaSpec { env: env(MAX_DEFINITION - 4096), ..ReplicaSpec::default() };
        assert!(define(&replica(fits), source()).is_ok());
    }
}
