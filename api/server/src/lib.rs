//! Serves the resources of any registry as Kubernetes serves them.
