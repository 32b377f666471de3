//! What the CLI does to its files before the server sees them.
//!
//! ```text
//! files ─ ${VAR} ─▶ documents ─┬─ configs: several files merged, --set, name and namespace ─▶ /api/apply
//!                              └─ objects of other kinds                                   ─▶ their own resources
//! ```
//!
//! A config that nothing is done to is sent as its text. Where a document came from one file, its places are kept, so
//! that whatever is said of a field names its line.

mod env_files;
mod overlay;
mod variables;

use std::{
    fmt,
    io::Read,
    path::{Path, PathBuf},
};

use orion_model::{Issue, issue::Place, yaml};
use orion_types::dns_label::{MAX_WORKLOAD_NAME, to_dns_label};
use serde_json::{Map, Value};

use crate::{cli, failure::Failure, issues};

/// The file that stands for stdin.
const STDIN: &str = "-";

/// What the files hold.
pub(crate) enum Item {
    /// An orion.yaml.
    Config(Document),
    /// An object of another kind.
    Object(Value),
}

/// A config ready to be sent.
pub(crate) struct Document {
    /// Its text.
    pub(crate) text: String,
    /// Its media type.
    pub(crate) media_type: &'static str,
    /// The namespace of all it holds.
    pub(crate) namespace: String,
    /// What of it can be checked but not applied yet.
    pub(crate) not_yet: Vec<Issue>,
    sources: Sources,
    /// The one document it came from, which knows where each field stands.
    written: Option<yaml::Document>,
}

/// The files that something came from.
#[derive(Clone, Debug)]
pub(crate) struct Sources(Vec<PathBuf>);

impl fmt::Display for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, path) in self.0.iter().enumerate() {
            let between = if index > 0 { " + " } else { "" };
            write!(f, "{between}{}", shown(path))?;
        }
        Ok(())
    }
}

impl Document {
    /// The files it came from, for messages.
    pub(crate) fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Where an issue's field stands in its file, where that is known.
    pub(crate) fn place(&self, issue: &Issue) -> Option<Place> {
        // A path with a slash is an object's: it stands nowhere.
        let path = Some(&issue.path).filter(|path| !path.contains('/') || issue.place.is_some())?;
        self.written.as_ref()?.nearest_place(yaml::Path::parse(path).segments())
    }
}

/// The files a command is about: those named, or `orion.yaml` here.
pub(crate) fn named_or_default(files: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    if !files.is_empty() {
        return Ok(files.to_vec());
    }
    let default = ["orion.yaml", "orion.yml"].map(PathBuf::from).into_iter().find(|path| path.is_file());
    default.map(|path| vec![path]).ok_or_else(|| {
        Failure::usage("there is no orion.yaml here; name a file with -f, or write a first one with `orion init`")
    })
}

/// Whether a file is stdin.
pub(crate) fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == STDIN
}

/// The folder of the first file; of stdin, the working directory.
pub(crate) fn folder(files: &[PathBuf]) -> Result<PathBuf, Failure> {
    match files.first().filter(|file| !is_stdin(file)) {
        Some(file) => Ok(std::path::absolute(file)?.parent().map(Path::to_owned).unwrap_or_default()),
        None => Ok(std::env::current_dir()?),
    }
}

/// Reads, expands, merges and sets. `namespace` is the one the command line names.
pub(crate) fn load(files: &cli::Files, namespace: Option<&str>) -> Result<Vec<Item>, Failure> {
    let sources = named_or_default(&files.files)?;
    let mut configs = Vec::new();
    let mut objects = Vec::new();
    for source in &sources {
        let text = read_expanded(source)?;
        let documents = yaml::parse(&text, &yaml::Limits::default()).map_err(|error| refused(source, error))?;
        let alone = documents.len() <= 1;
        for document in documents {
            if is_config(&document.value) {
                configs.push((source.clone(), document, alone.then(|| text.clone())));
            } else {
                objects.push(Item::Object(document.value));
            }
        }
        if alone && configs.is_empty() && objects.is_empty() {
            let empty = yaml::Document::without_places(Value::Null);
            configs.push((source.clone(), empty, Some(text)));
        }
    }
    let maker = Maker { set: &files.set, namespace, folder_name: folder_name(&sources)? };
    let mut items = if sources.len() > 1 { maker.merged(configs)? } else { maker.each(configs)? };
    if !files.set.is_empty() && items.len() != 1 {
        return Err(Failure::usage("--set changes one config, and the files hold another number of them"));
    }
    items.extend(objects);
    Ok(items)
}

/// A config as it was read: its file, its content, and its text if it is alone in its file.
type Found = (PathBuf, yaml::Document, Option<String>);

/// What is done to each config.
struct Maker<'a> {
    set: &'a [String],
    namespace: Option<&'a str>,
    folder_name: Option<String>,
}

impl Maker<'_> {
    fn each(&self, configs: Vec<Found>) -> Result<Vec<Item>, Failure> {
        let made = configs.into_iter().map(|(source, document, text)| {
            let value = document.value.clone();
            self.made(Sources(vec![source]), value, Some(document), text).map(Item::Config)
        });
        made.collect()
    }

    fn merged(&self, configs: Vec<Found>) -> Result<Vec<Item>, Failure> {
        if configs.is_empty() {
            return Ok(Vec::new());
        }
        let mut merged = Value::Object(Map::new());
        let mut sources = Vec::new();
        for (source, document, _) in configs {
            overlay::merge(&mut merged, document.value, "");
            if sources.last() != Some(&source) {
                sources.push(source);
            }
        }
        Ok(vec![Item::Config(self.made(Sources(sources), merged, None, None)?)])
    }

    fn made(
        &self,
        sources: Sources,
        written: Value,
        places: Option<yaml::Document>,
        text: Option<String>,
    ) -> Result<Document, Failure> {
        let mut value = written.clone();
        for assignment in self.set {
            overlay::set(&mut value, assignment)?;
        }
        self.name(&mut value);
        let namespace = self.place(&mut value, &sources)?;
        let not_yet = self::env_files::not_read_yet(&value);
        let (text, media_type) = match text.filter(|_| value == written) {
            Some(text) => (text, "application/yaml"),
            None => (value.to_string(), "application/json"),
        };
        Ok(Document { text, media_type, namespace, not_yet, sources, written: places })
    }

    /// A config without a name is named after its folder.
    fn name(&self, value: &mut Value) {
        // What is no mapping at all is sent as it is; the server says what is wrong and where.
        if let (Some(metadata), Some(name)) = (metadata(value), &self.folder_name) {
            metadata.entry("name").or_insert_with(|| name.as_str().into());
        }
    }

    /// A config without a namespace goes into the one of the command line; one that names another is refused.
    fn place(&self, value: &mut Value, sources: &Sources) -> Result<String, Failure> {
        let Some(metadata) = metadata(value) else { return Ok("default".into()) };
        if let Some(namespace) = self.namespace {
            metadata.entry("namespace").or_insert_with(|| namespace.into());
        }
        let said = metadata.get("namespace").and_then(Value::as_str).unwrap_or("default");
        match self.namespace.filter(|namespace| *namespace != said) {
            None => Ok(said.to_owned()),
            Some(namespace) => Err(Failure::usage(format!(
                "{sources} says that its namespace is {said}, and -n says {namespace}: leave one out"
            ))),
        }
    }
}

fn metadata(value: &mut Value) -> Option<&mut Map<String, Value>> {
    value.as_object_mut()?.entry("metadata").or_insert_with(|| Value::Object(Map::new())).as_object_mut()
}

fn is_config(document: &Value) -> bool {
    document.get("kind").is_none_or(|kind| kind == "Config")
}

fn folder_name(files: &[PathBuf]) -> Result<Option<String>, Failure> {
    let folder = folder(files)?;
    Ok(folder.file_name().and_then(|name| to_dns_label(&name.to_string_lossy(), MAX_WORKLOAD_NAME)))
}

fn read_expanded(path: &Path) -> Result<String, Failure> {
    let bytes = read(path).map_err(|error| Failure::usage(format!("cannot read {}: {error}", shown(path))))?;
    let text = yaml::decode(&bytes).map_err(|error| refused(path, error))?;
    variables::expand(text, &|name| std::env::var(name).ok()).map_err(|missing| {
        let missing = missing.into_iter().map(|missing| format!("{}:{missing}", shown(path)));
        Failure::refused(missing.collect::<Vec<_>>().join("\n"))
    })
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    if !is_stdin(path) {
        return std::fs::read(path);
    }
    let mut bytes = Vec::new();
    std::io::stdin().lock().read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What cannot be read at all, told as everything else that is wrong with a file.
fn refused(path: &Path, error: yaml::Error) -> Failure {
    let place = error.place;
    issues::print(&shown(path), [(Some(place), &Issue::from(error))], issues::Severity::Error);
    Failure::refused(format!("{} cannot be read; nothing was changed", shown(path)))
}

/// A file as messages name it.
pub(crate) fn shown(path: &Path) -> String {
    if is_stdin(path) { "stdin".to_owned() } else { path.display().to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(text: &str, set: &[String], namespace: Option<&str>) -> Result<Document, Failure> {
        let mut documents = yaml::parse(text, &yaml::Limits::default()).expect("it parses");
        let maker = Maker { set, namespace, folder_name: Some("shop".into()) };
        let read = (PathBuf::from("orion.yaml"), documents.remove(0), Some(text.to_owned()));
        match maker.each(vec![read])?.remove(0) {
            Item::Config(document) => Ok(document),
            Item::Object(object) => panic!("{object}"),
        }
    }

    #[test]
    fn a_config_that_says_everything_is_sent_as_it_is_written() {
        let text = "# ours\nmetadata: { name: a }\n";
        let document = made(text, &[], None).expect("well");
        assert_eq!((document.text.as_str(), document.media_type), (text, "application/yaml"));
        assert_eq!(document.namespace, "default");
    }

    #[test]
    fn a_config_without_a_name_is_named_after_its_folder_and_keeps_its_places() {
        let document = made("spec:\n  services:\n    - name: a\n      replicas: -1\n", &[], None).expect("well");
        assert!(document.text.contains(r#""name":"shop""#), "{}", document.text);
        let place = Some(Place { line: 1, column: 99 });
        let issue = Issue { place, ..Issue::at("spec.services[0].replicas", "must be 0 or more") };
        assert_eq!(document.place(&issue), Some(Place { line: 4, column: 7 }));
        assert_eq!(document.place(&Issue::at("service/a", "is told of no field")), None);
    }

    #[test]
    fn the_namespace_of_the_command_line_fills_in_and_contradicts() {
        assert_eq!(made("spec: {}", &[], Some("blue")).expect("well").namespace, "blue");
        let named = "metadata: { namespace: blue }";
        assert_eq!(made(named, &[], Some("blue")).expect("well").namespace, "blue");
        assert_eq!(made(named, &[], None).expect("well").namespace, "blue");
        assert!(made(named, &[], Some("green")).is_err());
    }

    #[test]
    fn what_is_no_mapping_is_left_to_the_server() {
        let document = made("- a\n- b\n", &[], Some("blue")).expect("well");
        assert_eq!(document.media_type, "application/yaml");
    }
}
