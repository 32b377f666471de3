//! `orion validate`: everything that can be said of a file without a server.

use orion_model::Issue;
use orion_types::config::{self, OrionConfig, unsupported};

use crate::{
    cli,
    config_files::{self, Document},
    failure::Failure,
    style::{Style, Tone, columns},
};

/// Checks files, or lists what has no effect yet.
pub(crate) fn run(validate: &cli::Validate) -> Result<(), Failure> {
    if validate.unsupported {
        print_unsupported();
        return Ok(());
    }
    let document = config_files::load(&validate.files)?;
    let options = config::Options { strict: validate.files.strict, ..config::Options::default() };
    match OrionConfig::parse(&document.text, config::Format::Auto, &options) {
        Ok(parsed) => {
            print_issues(&document, &parsed.warnings, "warning", Tone::Notice);
            println!("{} is valid", document.source());
            Ok(())
        }
        Err(issues) => {
            print_issues(&document, &issues, "error", Tone::Bad);
            Err(Failure::refused(format!("{} is not valid: {}", document.source(), counted(issues.len()))))
        }
    }
}

/// One line for each issue: the file, the place, the path, what is wrong.
pub(crate) fn print_issues(document: &Document, issues: &[Issue], word: &str, tone: Tone) {
    let style = Style::of_stdout();
    for issue in issues {
        let place = issue.place.as_ref().filter(|_| document.media_type == "application/yaml");
        let place = place.map_or(String::new(), |place| format!(":{}:{}", place.line, place.column));
        let path = if issue.path.is_empty() { String::new() } else { format!("{}: ", issue.path) };
        eprintln!("{}{place}: {}: {path}{}", document.source(), style.paint(word, tone), issue.message);
    }
}

fn counted(errors: usize) -> String {
    if errors == 1 { "1 error".to_owned() } else { format!("{errors} errors") }
}

fn print_unsupported() {
    println!("These fields are read, checked and kept, but have no effect yet:\n");
    let rows: Vec<Vec<String>> =
        unsupported::all().iter().map(|field| vec![field.path.to_string(), field.reason.to_string()]).collect();
    print!("{}", columns(Style::of_stdout(), &["FIELD", "WHY"], &rows));
}
