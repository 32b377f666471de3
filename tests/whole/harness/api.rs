//! A server's HTTP surface as a client uses it.

use std::{collections::BTreeMap, net::SocketAddr};

use serde_json::Value;

use super::http::{Answer, Request};

/// Where Orion's own kinds are served.
const RESOURCES: &str = "/apis/orion/v1";

/// A client of one server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Api(pub(crate) SocketAddr);

impl Api {
    pub(crate) fn get(&self, path: &str) -> Answer {
        Request::new("GET", path).send(self.0)
    }

    /// Sends a configuration as YAML; `query` is what stands behind the question mark.
    pub(crate) fn apply(&self, query: &str, yaml: &str) -> Answer {
        self.try_apply(query, yaml).expect("the server answers")
    }

    pub(crate) fn try_apply(&self, query: &str, yaml: &str) -> Result<Answer, String> {
        Request::new("POST", &format!("/api/apply?{query}")).body("application/yaml", yaml).try_send(self.0)
    }

    /// Applies a configuration that is good.
    #[track_caller]
    pub(crate) fn applied(&self, yaml: &str) -> Value {
        let answer = self.apply("", yaml);
        assert_eq!(answer.status, 202, "{}", answer.text());
        answer.json()
    }

    /// All objects of a kind, by its plural.
    #[track_caller]
    pub(crate) fn list(&self, plural: &str) -> Vec<Value> {
        let answer = self.get(&format!("{RESOURCES}/{plural}"));
        assert_eq!(answer.status, 200, "{plural}: {}", answer.text());
        answer.json()["items"].as_array().cloned().expect("a list")
    }

    /// One object.
    #[track_caller]
    pub(crate) fn object(&self, plural: &str, name: &str) -> Value {
        let answer = self.get(&format!("{RESOURCES}/namespaces/default/{plural}/{name}"));
        assert_eq!(answer.status, 200, "{plural}/{name}: {}", answer.text());
        answer.json()
    }

    /// The original's view of one service.
    #[track_caller]
    pub(crate) fn service(&self, name: &str) -> Value {
        let listed = self.get("/api/services").json();
        let found = listed["items"].as_array().into_iter().flatten().find(|service| service["name"] == name);
        found.cloned().unwrap_or_else(|| panic!("no service {name} in {listed:#}"))
    }

    /// Whether a service has as many available replicas as it should, and nothing else.
    pub(crate) fn is_running(&self, name: &str) -> Result<(), String> {
        let service = self.object("services", name);
        let settled = service["status"]["observedGeneration"] == service["metadata"]["generation"]
            && service["status"]["desired"] == service["spec"]["replicas"]
            && service["status"]["available"] == service["spec"]["replicas"]
            && service["status"]["updated"] == service["spec"]["replicas"];
        if settled { Ok(()) } else { Err(format!("{:#}", service["status"])) }
    }

    /// Every object of Orion's kinds with its version.
    pub(crate) fn state(&self) -> BTreeMap<String, String> {
        let kinds = self.get(RESOURCES).json();
        let names = kinds["resources"].as_array().into_iter().flatten().filter_map(|kind| kind["name"].as_str());
        let plurals: Vec<_> = names.filter(|name| !name.contains('/')).collect();
        assert!(plurals.contains(&"services"), "{kinds:#}");
        let versions = |plural: &&str| {
            let plural = (*plural).to_owned();
            let text = |object: &Value, field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
            let objects = self.list(&plural).into_iter();
            objects.map(move |object| (format!("{plural}/{}", text(&object, "name")), text(&object, "resourceVersion")))
        };
        plurals.iter().flat_map(versions).collect()
    }
}
