//! Where a list that was cut goes on.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use orion_model::{Kind, ObjectKey, ResourceVersion};
use serde::{Deserialize, Serialize};

use crate::Failure;

/// The place of the last object of a page, and the version of the first page.
///
/// Later pages show what is there when they are asked for, but carry the first page's version: whoever watches from it
/// gets every change since, those that fell between two pages included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ContinueToken {
    #[serde(rename = "v")]
    pub(super) version: ResourceVersion,
    #[serde(rename = "ns")]
    namespace: String,
    #[serde(rename = "n")]
    name: String,
}

impl ContinueToken {
    pub(super) fn after(version: ResourceVersion, last: &ObjectKey) -> Self {
        Self { version, namespace: last.namespace.to_string(), name: last.name.to_string() }
    }

    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok();
        let token = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        token.ok_or_else(|| Failure::bad_request("continue key is not valid"))
    }

    /// The key after which the next page begins.
    pub(super) fn key(&self, kind: &Kind) -> ObjectKey {
        ObjectKey::new(kind.clone(), self.namespace.as_str(), self.name.as_str())
    }
}

impl std::fmt::Display for ContinueToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let json = serde_json::to_vec(self).expect("three strings serialise");
        f.write_str(&BASE64_URL_SAFE_NO_PAD.encode(json))
    }
}

#[cfg(test)]
mod tests {
    use orion_model::{Lease, Resource};

    use super::*;

    #[test]
    fn a_continue_token_reads_back_and_nonsense_is_refused() {
        let key = ObjectKey::new(Lease::KIND, "default", "a");
        let token = ContinueToken::after(ResourceVersion::new(7), &key);
        let again = ContinueToken::parse(&token.to_string()).expect("reads back");
        assert_eq!((again.key(&Lease::KIND), again.version), (key, ResourceVersion::new(7)));
        for text in ["", "x", "e30", "%%%"] {
            assert!(ContinueToken::parse(text).is_err(), "{text:?}");
        }
    }
}
