//! The files that `envFrom` names. They are the CLI's to read, into a Secret; Secrets are not built yet.

use orion_model::Issue;
use serde_json::Value;

/// That each of them cannot be applied yet.
pub(super) fn not_read_yet(config: &Value) -> Vec<Issue> {
    let mut issues = Vec::new();
    for list in ["services", "jobs"] {
        let items = config.pointer(&format!("/spec/{list}")).and_then(Value::as_array);
        for (at, item) in items.into_iter().flatten().enumerate() {
            let sources = item.get("envFrom").and_then(Value::as_array);
            for (source_at, source) in sources.into_iter().flatten().enumerate() {
                if source.get("file").is_some() {
                    let path = format!("spec.{list}[{at}].envFrom[{source_at}].file");
                    let message = "cannot be applied yet: files become secrets, which are not built; \
                                   say the variables under env, as `NAME: ${NAME}` where they are in your environment";
                    issues.push(Issue::at(path, message));
                }
            }
        }
    }
    issues
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_file_is_named_with_its_path() {
        let config = json!({"spec": {
            "services": [{"name": "a"}, {"name": "b", "envFrom": [{"secret": "s"}, {"file": ".env"}]}],
            "jobs": [{"name": "c", "envFrom": [{"file": ".env"}]}]
        }});
        let paths: Vec<_> = not_read_yet(&config).into_iter().map(|issue| issue.path).collect();
        assert_eq!(paths, ["spec.services[1].envFrom[1].file", "spec.jobs[0].envFrom[0].file"]);
        assert!(not_read_yet(&json!(["no config"])).is_empty());
    }
}
