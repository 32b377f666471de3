//! The derive macro behind Orion's resources.
//!
//! `#[derive(Resource)]` stands on a spec and writes the kind's struct (`metadata`, `spec`, `status`), its constructor,
//! its serialisation and its definition. See the attribute's words in [`Resource`].

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

mod attributes;
mod expand;

/// Makes a kind of a spec.
///
/// ```ignore
/// #[derive(Resource, Clone, Debug, Serialize, Deserialize, JsonSchema)]
/// #[resource(kind = Website, group = "example.org", version = "v1", status = WebsiteStatus)]
/// #[resource(column("URL", ".spec.url"), selectable = ".spec.region", validate = check)]
/// struct WebsiteSpec { url: String, region: String }
/// ```
///
/// | word | meaning | default |
/// |---|---|---|
/// | `kind = Website` | the struct that is written, and the kind's name | required |
/// | `name = "Run"` | the kind's name where the struct's differs | the struct's |
/// | `group = "…"`, `version = "…"` | where it is served | required |
/// | `status = Type` | its status: `Clone + Debug + Default + Serialize + Deserialize + JsonSchema` | none |
/// | `plural = "…"`, `short = "…"` (repeatable) | its other names | kind + `s`, none |
/// | `cluster` | objects have no namespace | namespaced |
/// | `column("NAME", ".path")`, `wide("NAME", ".path")` | printed columns | none |
/// | `selectable = ".path"` | a field that field selectors may use | none |
/// | `sensitive = ".path"` | a field shown only as a hash | none |
/// | `validate = function` | `fn(&Kind, Option<&Kind>) -> Vec<Issue>`, pure | none |
/// | `derived(".path", function)` | `fn(&Kind) -> serde_json::Value`, pure, kept by the store | none |
#[proc_macro_derive(Resource, attributes(resource))]
pub fn derive_resource(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    attributes::Attributes::read(&input)
        .map(|attributes| expand::expand(&input, &attributes))
        .unwrap_or_else(|error| error.to_compile_error())
        .into()
}
