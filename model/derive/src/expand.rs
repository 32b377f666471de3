//! What the derive writes.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote};
use syn::{DeriveInput, Ident, LitStr};

use crate::attributes::Attributes;

/// The kind of a spec: struct, constructor, serialisation, traits, definition and a test of it.
pub(crate) fn expand(input: &DeriveInput, attributes: &Attributes) -> TokenStream {
    let model = model_path();
    let parts = [
        structure(input, attributes, &model),
        serialisation(input, attributes, &model),
        traits(attributes, &model),
        resource(input, attributes, &model),
        definition_test(attributes, &model),
    ];
    quote!(#(#parts)*)
}

/// A program that adds the façade names the model through it; crates of the house name the model itself.
fn model_path() -> TokenStream {
    let package = std::env::var("CARGO_PKG_NAME").unwrap_or_default();
    let manifest = std::env::var("CARGO_MANIFEST_DIR").map(std::path::PathBuf::from).unwrap_or_default();
    let manifest = std::fs::read_to_string(manifest.join("Cargo.toml")).unwrap_or_default();
    let named = |name: &str| {
        manifest.lines().any(|line| line.trim_start().trim_start_matches('"').starts_with(name))
            || manifest.contains(&format!(".{name}]"))
    };
    if package == "orion-model" || (named("orion-model") && !named("orion-sdk")) {
        quote!(::orion_model)
    } else {
        quote!(::orion_sdk::model)
    }
}

fn status_type(attributes: &Attributes, model: &TokenStream) -> TokenStream {
    match &attributes.status {
        Some(status) => quote!(#status),
        None => quote!(#model::NoStatus),
    }
}

fn structure(input: &DeriveInput, attributes: &Attributes, model: &TokenStream) -> TokenStream {
    let (visibility, spec, kind) = (&input.vis, &input.ident, &attributes.kind);
    let status = status_type(attributes, model);
    let doc = format!("An object of kind {kind}: its metadata, its [`{spec}`] and its status.");
    quote! {
        #[doc = #doc]
        #[derive(Clone, Debug)]
        #visibility struct #kind {
            /// Its metadata.
            pub metadata: #model::Metadata,
            /// What is wished.
            pub spec: #spec,
            /// What is.
            pub status: #status,
        }

        impl #kind {
            /// A new object of this name, not yet written anywhere.
            #[allow(dead_code, reason = "not every kind is made by the program that declares it")]
            #visibility fn new(name: impl ::core::convert::Into<::std::string::String>, spec: #spec) -> Self {
                Self { metadata: #model::Metadata::named(name), spec, status: ::core::default::Default::default() }
            }
        }
    }
}

fn serialisation(input: &DeriveInput, attributes: &Attributes, model: &TokenStream) -> TokenStream {
    let (spec, kind) = (&input.ident, &attributes.kind);
    let status = status_type(attributes, model);
    let shown = if attributes.status.is_some() { quote!(Some(&self.status)) } else { quote!(None::<&#status>) };
    quote! {
        impl #model::__private::serde::Serialize for #kind {
            fn serialize<S: #model::__private::serde::Serializer>(&self, serializer: S) -> ::core::result::Result<S::Ok, S::Error> {
                let kind = <Self as #model::object::Resource>::KIND;
                #model::object::write_parts(serializer, &kind, &self.metadata, &self.spec, #shown)
            }
        }

        impl<'de> #model::__private::serde::Deserialize<'de> for #kind {
            fn deserialize<D: #model::__private::serde::Deserializer<'de>>(deserializer: D) -> ::core::result::Result<Self, D::Error> {
                let parts = #model::object::Parts::<#spec, #status>::read(deserializer)?;
                Ok(Self { metadata: parts.metadata, spec: parts.spec, status: parts.status })
            }
        }
    }
}

fn traits(attributes: &Attributes, model: &TokenStream) -> TokenStream {
    let kind = &attributes.kind;
    quote! {
        impl #model::object::Object for #kind {
            fn static_kind() -> ::core::option::Option<#model::Kind> {
                Some(<Self as #model::object::Resource>::KIND)
            }

            fn kind(&self) -> #model::Kind {
                <Self as #model::object::Resource>::KIND
            }

            fn metadata(&self) -> &#model::Metadata {
                &self.metadata
            }

            fn decode(raw: &#model::Raw) -> ::core::result::Result<Self, #model::DecodeError> {
                raw.decode()
            }
        }

        impl #model::object::Whole for #kind {
            fn metadata_mut(&mut self) -> &mut #model::Metadata {
                &mut self.metadata
            }

            fn encode(&self) -> ::core::result::Result<#model::__private::serde_json::Value, #model::__private::serde_json::Error> {
                #model::__private::serde_json::to_value(self)
            }
        }
    }
}

fn resource(input: &DeriveInput, attributes: &Attributes, model: &TokenStream) -> TokenStream {
    let (spec, kind) = (&input.ident, &attributes.kind);
    let status = status_type(attributes, model);
    let names = names(attributes, model);
    let without_status = attributes.status.is_none().then(|| quote!(.without_status()));
    let columns = attributes.columns.iter().map(|column| {
        let (method, name, path) =
            (format_ident!("{}", if column.wide { "wide_column" } else { "column" }), &column.name, &column.path);
        quote!(.#method(#name, #path))
    });
    let (selectable, sensitive, validate) = (&attributes.selectable, &attributes.sensitive, &attributes.validate);
    let derived = attributes.derived.iter().map(|derived| {
        let (path, function) = (&derived.path, &derived.function);
        quote!(.derived::<Self>(#path, #function))
    });
    quote! {
        impl #model::object::Resource for #kind {
            type Status = #status;

            const KIND: #model::Kind = {
                static NAMES: #model::kind::Names = #names;
                #model::Kind::from_static(&NAMES)
            };

            fn definition() -> #model::Definition {
                let schema = #model::schema::Schema::of::<#spec, #status>();
                #model::Definition::of::<Self>(schema)
                    #without_status
                    #(#columns)*
                    #(.selectable(#selectable))*
                    #(.sensitive(#sensitive))*
                    #(.validate::<Self>(#validate))*
                    #(#derived)*
            }
        }
    }
}

fn names(attributes: &Attributes, model: &TokenStream) -> TokenStream {
    let (group, version) = (&attributes.group, &attributes.version);
    let kind = attributes.name.as_ref().map_or_else(|| attributes.kind.to_string(), LitStr::value);
    let singular = kind.to_lowercase();
    let plural = attributes.plural.as_ref().map_or_else(|| format!("{singular}s"), LitStr::value);
    let short = &attributes.short;
    let scope = Ident::new(if attributes.cluster { "Cluster" } else { "Namespaced" }, Span::call_site());
    quote! {
        #model::kind::Names {
            group: ::std::borrow::Cow::Borrowed(#group),
            version: ::std::borrow::Cow::Borrowed(#version),
            kind: ::std::borrow::Cow::Borrowed(#kind),
            plural: ::std::borrow::Cow::Borrowed(#plural),
            singular: ::std::borrow::Cow::Borrowed(#singular),
            short: ::std::borrow::Cow::Borrowed(&[#(::std::borrow::Cow::Borrowed(#short)),*]),
            scope: #model::kind::Scope::#scope,
        }
    }
}

/// A column or selectable field whose path the schema lacks fails the author's own tests.
fn definition_test(attributes: &Attributes, model: &TokenStream) -> TokenStream {
    let kind = &attributes.kind;
    let module = format_ident!("{}_definition", kind.to_string().to_lowercase());
    quote! {
        #[cfg(test)]
        mod #module {
            #[test]
            fn names_only_fields_that_its_schema_has() {
                let checked = <super::#kind as #model::object::Resource>::definition().check();
                ::core::assert!(checked.is_ok(), "{}", checked.unwrap_err());
            }
        }
    }
}
