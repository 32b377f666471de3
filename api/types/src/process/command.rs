//! What is executed: the words of a command, or the runtime and entry that stand for one.
//!
//! ```text
//! command: "node server.js --port 80"   split as a shell splits words
//! command: [node, server.js]            as it is
//! command: "a | b", shell: true         /bin/sh -c "a | b"
//! (none)                                runtime and entry: node ENTRY, bun run ENTRY, …
//! ```

use orion_model::Issue;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    process::{Release, Template},
    scalar::{Scalar, impl_scalar, kind_of},
};

/// A command: a line to be split into words, or the words.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// One line.
    Line(String),
    /// Words that are passed on as they are.
    Words(Vec<String>),
}

impl Command {
    /// Its words: a line is split as a shell splits it, without expanding anything.
    ///
    /// # Errors
    /// When a quote is not closed or there is no word; the text says which.
    pub fn words(&self) -> Result<Vec<String>, String> {
        let words = match self {
            Self::Line(line) => shlex::split(line).ok_or_else(|| format!("{line:?} has a quote that is not closed"))?,
            Self::Words(words) => words.clone(),
        };
        match words.first() {
            Some(program) if !program.is_empty() => Ok(words),
            _ => Err("names no program".to_owned()),
        }
    }
}

impl Scalar for Command {
    const FORMAT: &'static str = "command";
    const TYPES: &'static [&'static str] = &["string", "array"];

    fn shape() -> Value {
        json!({ "items": { "type": "string" } })
    }

    fn read(value: &Value) -> Result<Self, String> {
        match value {
            Value::String(line) => Ok(Self::Line(line.clone())),
            Value::Array(items) => {
                let word = |(index, item): (usize, &Value)| match item {
                    Value::String(word) => Ok(word.clone()),
                    Value::Number(_) | Value::Bool(_) => {
                        Err(format!("word {} must be a string; write \"{item}\"", index + 1))
                    }
                    other => Err(format!("word {} must be a string, not {}", index + 1, kind_of(other))),
                };
                items.iter().enumerate().map(word).collect::<Result<_, _>>().map(Self::Words)
            }
            other => Err(format!("must be a string or a list of words, not {}", kind_of(other))),
        }
    }

    fn write(&self) -> Value {
        match self {
            Self::Line(line) => line.as_str().into(),
            Self::Words(words) => words.clone().into(),
        }
    }
}

impl_scalar!(Command);

/// What kind of program a workload is. `exec` is any program by its command; the others say which runtime is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum WorkloadType {
    /// A Node.js program.
    #[default]
    Node,
    /// A Next.js application; needs a command.
    Nextjs,
    /// A Bun program.
    Bun,
    /// A Deno program.
    Deno,
    /// A Vite application; needs a command.
    Vite,
    /// A background worker.
    Worker,
    /// Any program, by its command.
    Exec,
}

/// The program that runs an entry file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Runtime {
    /// `node ENTRY`.
    Node,
    /// `bun run ENTRY`.
    Bun,
    /// `deno run --allow-net --allow-env ENTRY`.
    Deno,
    /// `python3 ENTRY`.
    Python,
    /// None: a command is needed.
    None,
}

impl Runtime {
    /// The words before the entry; `None` for no runtime.
    fn words(self) -> Option<&'static [&'static str]> {
        match self {
            Self::Node => Some(&["node"]),
            Self::Bun => Some(&["bun", "run"]),
            Self::Deno => Some(&["deno", "run", "--allow-net", "--allow-env"]),
            Self::Python => Some(&["python3"]),
            Self::None => None,
        }
    }
}

impl WorkloadType {
    fn default_runtime(self) -> Runtime {
        match self {
            Self::Node | Self::Nextjs | Self::Vite | Self::Worker => Runtime::Node,
            Self::Bun => Runtime::Bun,
            Self::Deno => Runtime::Deno,
            Self::Exec => Runtime::None,
        }
    }

    /// The command to propose to types that have no entry file of their own.
    fn proposal(self) -> Option<&'static str> {
        match self {
            Self::Nextjs => Some("node_modules/.bin/next start"),
            Self::Vite => Some("node_modules/.bin/vite preview"),
            Self::Node | Self::Bun | Self::Deno | Self::Worker | Self::Exec => None,
        }
    }
}

const RELEASE: &str = "{release}";

impl Template {
    /// The runtime in effect: what is said, else what the type implies.
    pub fn effective_runtime(&self) -> Runtime {
        self.runtime.unwrap_or_else(|| self.kind.default_runtime())
    }

    /// The program and its arguments, with `{release}` put in.
    ///
    /// # Errors
    /// An issue at the field, relative to the process, when there is no command to run.
    pub fn argv(&self) -> Result<Vec<String>, Issue> {
        let words = match &self.command {
            Some(command) => self.command_words(command)?,
            None => self.entry_words()?,
        };
        words.iter().map(|word| self.expanded("command", word)).collect()
    }

    /// The folder of the process, relative to the agent's workspace root, with `{release}` put in.
    ///
    /// # Errors
    /// An issue at `path` when it names a release and there is none.
    pub fn folder(&self) -> Result<String, Issue> {
        self.expanded("path", &self.path)
    }

    /// The artifact's URL with `{release}` put in, if there is an artifact.
    ///
    /// # Errors
    /// An issue at `artifact.url` when it names a release and there is none.
    pub fn artifact_url(&self) -> Result<Option<String>, Issue> {
        self.artifact.as_ref().map(|artifact| self.expanded("artifact.url", &artifact.url)).transpose()
    }

    fn command_words(&self, command: &Command) -> Result<Vec<String>, Issue> {
        if !self.shell {
            return command.words().map_err(|message| Issue::at("command", message));
        }
        match command {
            Command::Line(line) if line.trim().is_empty() => Err(Issue::at("command", "names no program")),
            Command::Line(line) => Ok(vec!["/bin/sh".to_owned(), "-c".to_owned(), line.clone()]),
            Command::Words(_) => Err(Issue::at("command", "is a list; with `shell: true` it must be one string")),
        }
    }

    fn entry_words(&self) -> Result<Vec<String>, Issue> {
        if self.shell {
            return Err(Issue::at("command", "is missing: `shell: true` runs a command"));
        }
        if let Some(proposal) = self.kind.proposal() {
            return Err(Issue::at("command", format!("is missing: this type needs one, such as `{proposal}`")));
        }
        let Some(runtime) = self.effective_runtime().words() else {
            return Err(Issue::at("command", "is missing: without a runtime there is nothing else to run"));
        };
        if self.entry.is_empty() {
            return Err(Issue::at("entry", "must not be empty where there is no command"));
        }
        Ok(runtime.iter().copied().chain([self.entry.as_str()]).map(str::to_owned).collect())
    }

    fn expanded(&self, field: &str, text: &str) -> Result<String, Issue> {
        match &self.release {
            _ if !text.contains(RELEASE) => Ok(text.to_owned()),
            Some(release) => Ok(text.replace(RELEASE, release.as_str())),
            None => {
                Err(Issue::at(field, "names {release}, but no release is set; set `release` or pass --set release=…"))
            }
        }
    }
}

/// A release goes into paths, commands and URLs, so it holds nothing that means something there.
pub(super) fn is_release(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '+' | '-');
    text.len() <= Release::MAX_LEN && text.chars().all(allowed) && text.starts_with(|c: char| c.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(template: Value) -> Result<Vec<String>, String> {
        let template: Template = serde_json::from_value(template).expect("a template");
        template.argv().map_err(|issue| format!("{}: {}", issue.path, issue.message))
    }

    #[test]
    fn a_template_runs_its_command_or_its_runtime_and_entry() {
        let table = [
            (json!({}), vec!["node", "index.ts"]),
            (json!({"entry": "a.js"}), vec!["node", "a.js"]),
            (json!({"type": "bun"}), vec!["bun", "run", "index.ts"]),
            (json!({"type": "deno", "entry": "main.ts"}), vec!["deno", "run", "--allow-net", "--allow-env", "main.ts"]),
            (json!({"type": "worker", "runtime": "bun"}), vec!["bun", "run", "index.ts"]),
            (json!({"runtime": "python", "entry": "app.py"}), vec!["python3", "app.py"]),
            (
                json!({"type": "exec", "command": "./serve --name 'two words' \"$HOME\" *"}),
                vec!["./serve", "--name", "two words", "$HOME", "*"],
            ),
            (json!({"command": ["echo", "a b", ""]}), vec!["echo", "a b", ""]),
            (json!({"command": "a | b > c", "shell": true}), vec!["/bin/sh", "-c", "a | b > c"]),
            (json!({"type": "nextjs", "command": "next start"}), vec!["next", "start"]),
            (json!({"command": "run {release} x-{release}", "release": "7"}), vec!["run", "7", "x-7"]),
            (json!({"entry": "{release}/a.js", "release": "1.10"}), vec!["node", "1.10/a.js"]),
        ];
        for (template, expected) in table {
            assert_eq!(argv(template.clone()), Ok(expected.into_iter().map(str::to_owned).collect()), "{template}");
        }
    }

    #[test]
    fn a_template_without_anything_to_run_says_what_to_add() {
        let table = [
            (json!({"type": "exec"}), "command: is missing"),
            (json!({"runtime": "none"}), "command: is missing"),
            (json!({"type": "nextjs"}), "next start"),
            (json!({"type": "vite"}), "vite preview"),
            (json!({"command": "echo 'open"}), "not closed"),
            (json!({"command": ""}), "names no program"),
            (json!({"command": "  ", "shell": true}), "names no program"),
            (json!({"command": []}), "names no program"),
            (json!({"command": ["a"], "shell": true}), "must be one string"),
            (json!({"shell": true}), "command: is missing"),
            (json!({"entry": ""}), "entry: must not be empty"),
            (json!({"command": "run {release}"}), "no release is set"),
        ];
        for (template, says) in table {
            let error = argv(template.clone()).expect_err("nothing to run");
            assert!(error.contains(says), "{template}: {error}");
        }
    }

    #[test]
    fn the_release_goes_into_folder_and_artifact_too() {
        let template: Template = serde_json::from_value(
            json!({"path": "releases/{release}", "release": 2026.5, "artifact": {"url": "https://x/{release}.tgz"}}),
        )
        .expect("a template");
        assert_eq!(template.folder().expect("release is set"), "releases/2026.5");
        assert_eq!(template.artifact_url().expect("release is set").as_deref(), Some("https://x/2026.5.tgz"));
    }
}
