//! The words of `#[resource(…)]`.

use syn::{DeriveInput, Error, Ident, LitStr, Path, Result, Token, Type, meta::ParseNestedMeta, parenthesized};

/// A path and the function that gives its value.
pub(crate) struct Derived {
    pub(crate) path: LitStr,
    pub(crate) function: Path,
}

/// A printed column.
pub(crate) struct Column {
    pub(crate) name: LitStr,
    pub(crate) path: LitStr,
    pub(crate) wide: bool,
}

/// Everything that `#[resource(…)]` says.
pub(crate) struct Attributes {
    pub(crate) kind: Ident,
    pub(crate) name: Option<LitStr>,
    pub(crate) group: LitStr,
    pub(crate) version: LitStr,
    pub(crate) status: Option<Type>,
    pub(crate) plural: Option<LitStr>,
    pub(crate) short: Vec<LitStr>,
    pub(crate) cluster: bool,
    pub(crate) columns: Vec<Column>,
    pub(crate) selectable: Vec<LitStr>,
    pub(crate) sensitive: Vec<LitStr>,
    pub(crate) validate: Vec<Path>,
    pub(crate) derived: Vec<Derived>,
}

#[derive(Default)]
struct Words {
    kind: Option<Ident>,
    name: Option<LitStr>,
    group: Option<LitStr>,
    version: Option<LitStr>,
    status: Option<Type>,
    plural: Option<LitStr>,
    short: Vec<LitStr>,
    cluster: bool,
    columns: Vec<Column>,
    selectable: Vec<LitStr>,
    sensitive: Vec<LitStr>,
    validate: Vec<Path>,
    derived: Vec<Derived>,
}

impl Attributes {
    /// Reads the attributes of a spec.
    pub(crate) fn read(input: &DeriveInput) -> Result<Self> {
        let mut words = Words::default();
        for attribute in input.attrs.iter().filter(|attribute| attribute.path().is_ident("resource")) {
            attribute.parse_nested_meta(|meta| words.read(&meta))?;
        }
        let missing = |word: &str| Error::new(input.ident.span(), format!("#[resource({word} = …)] is missing"));
        Ok(Self {
            kind: words.kind.ok_or_else(|| missing("kind"))?,
            name: words.name,
            group: words.group.ok_or_else(|| missing("group"))?,
            version: words.version.ok_or_else(|| missing("version"))?,
            status: words.status,
            plural: words.plural,
            short: words.short,
            cluster: words.cluster,
            columns: words.columns,
            selectable: words.selectable,
            sensitive: words.sensitive,
            validate: words.validate,
            derived: words.derived,
        })
    }
}

impl Words {
    fn read(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        let word = meta.path.get_ident().map(ToString::to_string).unwrap_or_default();
        match word.as_str() {
            "kind" => self.kind = Some(meta.value()?.parse()?),
            "name" => self.name = Some(meta.value()?.parse()?),
            "group" => self.group = Some(meta.value()?.parse()?),
            "version" => self.version = Some(meta.value()?.parse()?),
            "status" => self.status = Some(meta.value()?.parse()?),
            "plural" => self.plural = Some(meta.value()?.parse()?),
            "short" => self.short.push(meta.value()?.parse()?),
            "cluster" => self.cluster = true,
            "column" => self.columns.push(column(meta, false)?),
            "wide" => self.columns.push(column(meta, true)?),
            "selectable" => self.selectable.push(meta.value()?.parse()?),
            "sensitive" => self.sensitive.push(meta.value()?.parse()?),
            "validate" => self.validate.push(meta.value()?.parse()?),
            "derived" => self.derived.push(derived(meta)?),
            _ => return Err(meta.error("this is not a word of #[resource(…)]")),
        }
        Ok(())
    }
}

fn column(meta: &ParseNestedMeta<'_>, wide: bool) -> Result<Column> {
    let content;
    parenthesized!(content in meta.input);
    let name = content.parse()?;
    content.parse::<Token![,]>()?;
    Ok(Column { name, path: content.parse()?, wide })
}

fn derived(meta: &ParseNestedMeta<'_>) -> Result<Derived> {
    let content;
    parenthesized!(content in meta.input);
    let path = content.parse()?;
    content.parse::<Token![,]>()?;
    Ok(Derived { path, function: content.parse()? })
}
