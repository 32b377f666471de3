//! From saphyr-parser's events to the builder's.

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Tag};
use serde_json::Value;

use crate::{
    issue::Place,
    yaml::{
        Document, Error, Limits, Problem,
        builder::{Builder, Shape},
        scalar,
        text::end_of,
    },
};

/// Reads all documents of a text that has been checked.
pub(super) fn parse(text: &str, limits: &Limits) -> Result<Vec<Document>, Error> {
    let mut builder = Builder::new(limits);
    let mut documents = Vec::new();
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| scan_error(&error, text, limits))?;
        let place = place(&span.start);
        match event {
            Event::Scalar(scalar, style, anchor, tag) => {
                // A plain scalar without text is one that is not there.
                let style = if scalar.is_empty() && style == ScalarStyle::Plain { Style::Absent } else { style.into() };
                on_scalar(
                    &mut builder,
                    Scalar { text: &scalar, style, tag: tag.as_deref(), place, anchor: some(anchor) },
                )?;
            }
            Event::MappingStart(anchor, tag) => on_open(&mut builder, Shape::Map, tag.as_deref(), place, anchor)?,
            Event::SequenceStart(anchor, tag) => on_open(&mut builder, Shape::List, tag.as_deref(), place, anchor)?,
            Event::MappingEnd | Event::SequenceEnd => builder.close()?,
            Event::Alias(_) if builder.expects_key() => {
                return Err(Error::new(place, Problem::Key("it is an alias".to_owned())));
            }
            Event::Alias(anchor) => builder.alias(anchor, place)?,
            Event::DocumentEnd => documents.extend(builder.finish().filter(has_content)),
            Event::StreamEnd => break,
            Event::StreamStart | Event::DocumentStart(_) | Event::Nothing => {}
        }
        if documents.len() > limits.documents {
            return Err(Error::new(place, Problem::TooManyDocuments { limit: limits.documents }));
        }
    }
    Ok(documents)
}

struct Scalar<'a> {
    text: &'a str,
    style: Style,
    tag: Option<&'a Tag>,
    place: Place,
    anchor: Option<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    /// Nothing is written at all.
    Absent,
    Plain,
    Quoted,
}

impl From<ScalarStyle> for Style {
    fn from(style: ScalarStyle) -> Self {
        match style {
            ScalarStyle::Plain => Self::Plain,
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted | ScalarStyle::Literal | ScalarStyle::Folded => {
                Self::Quoted
            }
        }
    }
}

fn on_scalar(builder: &mut Builder<'_>, scalar: Scalar<'_>) -> Result<(), Error> {
    if builder.expects_key() && scalar.style == Style::Plain && scalar.text == "<<" {
        return builder.merge_key(scalar.place);
    }
    let value = value_of(&scalar).map_err(|problem| Error::new(scalar.place, problem))?;
    if builder.expects_key() {
        return match value {
            Value::String(name) => builder.key(name, scalar.place),
            Value::Null if scalar.style == Style::Absent => {
                Err(Error::new(scalar.place, Problem::Key("it is missing".to_owned())))
            }
            _ => Err(Error::new(scalar.place, Problem::Key(format!("write {:?}", scalar.text)))),
        };
    }
    let source = (scalar.style == Style::Plain).then_some(scalar.text);
    builder.scalar(value, source, scalar.place, scalar.anchor)
}

fn value_of(scalar: &Scalar<'_>) -> Result<Value, Problem> {
    match scalar.tag {
        Some(tag) if tag.is_yaml_core_schema() => self::scalar::tagged(&tag.suffix, scalar.text),
        Some(tag) => Err(Problem::Tag(format!("the tag {tag} means nothing here"))),
        None if scalar.style == Style::Quoted => Ok(Value::String(scalar.text.to_owned())),
        None => self::scalar::plain(scalar.text),
    }
}

fn on_open(
    builder: &mut Builder<'_>,
    shape: Shape,
    tag: Option<&Tag>,
    place: Place,
    anchor: usize,
) -> Result<(), Error> {
    if builder.expects_key() {
        return Err(Error::new(place, Problem::Key("it is a mapping or a list".to_owned())));
    }
    let expected = if shape == Shape::Map { "map" } else { "seq" };
    match tag {
        Some(tag) if !(tag.is_yaml_core_schema() && tag.suffix == expected) => {
            Err(Error::new(place, Problem::Tag(format!("the tag {tag} means nothing here"))))
        }
        _ => builder.open(shape, place, some(anchor)),
    }
}

/// A document that is only a comment or a separator is none.
fn has_content(document: &Document) -> bool {
    !document.value.is_null() || document.source(&[]).is_some()
}

/// The parser numbers anchors from 1.
fn some(anchor: usize) -> Option<usize> {
    (anchor > 0).then_some(anchor)
}

fn place(mark: &Marker) -> Place {
    Place { line: mark.line(), column: mark.col() + 1 }
}

fn scan_error(error: &ScanError, text: &str, limits: &Limits) -> Error {
    // What is missing at the end is missed one line too late.
    let place = place(error.marker()).min(end_of(text.trim_end()));
    // The scanner has a limit of its own for `[` and `{`, which it meets before the builder sees the events.
    if error.info().contains("recursion limit") {
        return Error::new(place, Problem::TooDeep { limit: limits.depth });
    }
    Error::syntax(place, error.info())
}
