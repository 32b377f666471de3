//! Builds a document from events, within limits.
//!
//! The stack is a list of frames, one for each mapping or list that is open. Anchored values are kept whole; an alias
//! clones one, after its size has been counted against the limits.

use std::collections::{BTreeMap, btree_map::Entry};

use serde_json::{Map, Value};

use crate::{
    issue::Place,
    yaml::{Content, Document, Error, Field, Limits, Node, Problem},
};

/// A mapping or a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Map,
    List,
}

/// Identifies an anchor within a document.
pub(super) type Anchor = usize;

pub(super) struct Builder<'l> {
    limits: &'l Limits,
    used: Size,
    /// What the anchors keep: of anchors within one another, the inner content is kept once for each.
    kept: Size,
    open: Vec<Frame>,
    anchors: BTreeMap<Anchor, Anchored>,
    root: Option<Document>,
}

struct Frame {
    place: Place,
    anchor: Option<Anchor>,
    content: Open,
}

enum Open {
    Map {
        fields: Map<String, Value>,
        nodes: BTreeMap<Box<str>, Field>,
        key: Option<(Key, Place)>,
        merged: Vec<Document>,
    },
    List {
        items: Vec<Value>,
        nodes: Vec<Node>,
    },
}

enum Key {
    Name(String),
    /// `<<`: the mapping's fields are taken over unless they are there.
    Merge,
}

struct Anchored {
    document: Document,
    size: Size,
    depth: usize,
}

/// What a value takes: values and keys, and the bytes of its strings.
#[derive(Clone, Copy, Default)]
struct Size {
    nodes: usize,
    bytes: usize,
}

impl Size {
    fn plus(self, other: Self) -> Self {
        Self { nodes: self.nodes + other.nodes, bytes: self.bytes + other.bytes }
    }
}

impl<'l> Builder<'l> {
    pub(super) fn new(limits: &'l Limits) -> Self {
        Self {
            limits,
            used: Size::default(),
            kept: Size::default(),
            open: Vec::new(),
            anchors: BTreeMap::new(),
            root: None,
        }
    }

    /// Whether the next scalar is a key.
    pub(super) fn expects_key(&self) -> bool {
        matches!(self.open.last(), Some(Frame { content: Open::Map { key: None, .. }, .. }))
    }

    /// The document that is done; its anchors are forgotten, what it used stays counted.
    pub(super) fn finish(&mut self) -> Option<Document> {
        self.anchors.clear();
        self.kept = Size::default();
        self.root.take()
    }

    /// A merge key.
    pub(super) fn merge_key(&mut self, place: Place) -> Result<(), Error> {
        self.set_key(Key::Merge, place)
    }

    /// A key of the open mapping.
    pub(super) fn key(&mut self, name: String, place: Place) -> Result<(), Error> {
        check_text(&name, place)?;
        self.count(Size { nodes: 1, bytes: name.len() }, place)?;
        let Some(Frame { content: Open::Map { nodes, .. }, .. }) = self.open.last() else {
            return Err(misplaced(place));
        };
        if let Some(first) = nodes.get(name.as_str()) {
            return Err(Error::new(place, Problem::DuplicateKey { key: name, first: first.key }));
        }
        self.set_key(Key::Name(name), place)
    }

    fn set_key(&mut self, to: Key, place: Place) -> Result<(), Error> {
        match self.open.last_mut() {
            Some(Frame { content: Open::Map { key: key @ None, .. }, .. }) => *key = Some((to, place)),
            _ => return Err(misplaced(place)),
        }
        Ok(())
    }

    /// A scalar, with its text if it was written without quotes.
    pub(super) fn scalar(
        &mut self,
        value: Value,
        source: Option<&str>,
        place: Place,
        anchor: Option<Anchor>,
    ) -> Result<(), Error> {
        let bytes = match &value {
            Value::String(text) => {
                check_text(text, place)?;
                text.len()
            }
            _ => source.map_or(0, str::len),
        };
        self.count(Size { nodes: 1, bytes }, place)?;
        let node = Node { place, content: Content::Scalar(source.map(Box::from)) };
        self.add(Document { value, node }, anchor)
    }

    /// The start of a mapping or list.
    pub(super) fn open(&mut self, shape: Shape, place: Place, anchor: Option<Anchor>) -> Result<(), Error> {
        self.count(Size { nodes: 1, bytes: 0 }, place)?;
        self.check_depth(1, place)?;
        let content = match shape {
            Shape::Map => Open::Map { fields: Map::new(), nodes: BTreeMap::new(), key: None, merged: Vec::new() },
            Shape::List => Open::List { items: Vec::new(), nodes: Vec::new() },
        };
        self.open.push(Frame { place, anchor, content });
        Ok(())
    }

    /// The end of the innermost mapping or list.
    pub(super) fn close(&mut self) -> Result<(), Error> {
        let Some(Frame { place, anchor, content }) = self.open.pop() else { return Ok(()) };
        let document = match content {
            Open::List { items, nodes } => {
                Document { value: Value::Array(items), node: Node { place, content: Content::List(nodes) } }
            }
            Open::Map { mut fields, mut nodes, merged, .. } => {
                merged.into_iter().for_each(|document| take_over(document, &mut fields, &mut nodes));
                Document { value: Value::Object(fields), node: Node { place, content: Content::Map(nodes) } }
            }
        };
        self.add(document, anchor)
    }

    /// The value of an anchor once more.
    pub(super) fn alias(&mut self, anchor: Anchor, place: Place) -> Result<(), Error> {
        let Some(anchored) = self.anchors.get(&anchor) else { return Err(Error::new(place, Problem::Recursive)) };
        let total = self.used.plus(anchored.size);
        self.check_size(total, place)?;
        self.check_depth(anchored.depth, place)?;
        self.used = total;
        let mut document = anchored.document.clone();
        document.node.place = place;
        self.add(document, None)
    }

    fn add(&mut self, document: Document, anchor: Option<Anchor>) -> Result<(), Error> {
        if let Some(anchor) = anchor {
            let (size, depth) = measure(&document.value);
            self.kept = self.kept.plus(size);
            self.check_size(self.kept, document.node.place)?;
            self.anchors.insert(anchor, Anchored { document: document.clone(), size, depth });
        }
        match self.open.last_mut().map(|frame| &mut frame.content) {
            None => self.root = Some(document),
            Some(Open::List { items, nodes }) => {
                items.push(document.value);
                nodes.push(document.node);
            }
            Some(Open::Map { fields, nodes, key, merged }) => match key.take() {
                Some((Key::Name(name), place)) => {
                    nodes.insert(name.as_str().into(), Field { key: place, node: document.node });
                    fields.insert(name, document.value);
                }
                Some((Key::Merge, place)) => {
                    merged.extend(mappings(document).ok_or_else(|| Error::new(place, Problem::Merge))?)
                }
                None => {
                    return Err(Error::new(document.node.place, Problem::Key("it is a mapping or a list".to_owned())));
                }
            },
        }
        Ok(())
    }

    fn count(&mut self, size: Size, place: Place) -> Result<(), Error> {
        self.used = self.used.plus(size);
        if self.used.nodes > self.limits.nodes {
            return Err(Error::new(place, Problem::TooManyNodes { limit: self.limits.nodes }));
        }
        Ok(())
    }

    fn check_size(&self, size: Size, place: Place) -> Result<(), Error> {
        let (nodes, bytes) = (self.limits.nodes, self.limits.bytes);
        let fits = size.nodes <= nodes && size.bytes <= bytes;
        if fits { Ok(()) } else { Err(Error::new(place, Problem::Expansion { nodes, bytes })) }
    }

    fn check_depth(&self, more: usize, place: Place) -> Result<(), Error> {
        let fits = self.open.len() + more <= self.limits.depth;
        if fits { Ok(()) } else { Err(Error::new(place, Problem::TooDeep { limit: self.limits.depth })) }
    }
}

fn misplaced(place: Place) -> Error {
    Error::syntax(place, "a key stands where a value should")
}

fn check_text(text: &str, place: Place) -> Result<(), Error> {
    if text.contains('\0') { Err(Error::new(place, Problem::Character(0))) } else { Ok(()) }
}

/// The mappings of a merge key: one, or a list of them.
fn mappings(document: Document) -> Option<Vec<Document>> {
    match (document.value, document.node.content) {
        (value @ Value::Object(_), content) => {
            Some(vec![Document { value, node: Node { place: document.node.place, content } }])
        }
        (Value::Array(values), Content::List(nodes)) => {
            let documents = values.into_iter().zip(nodes).map(|(value, node)| Document { value, node });
            documents.map(|document| document.value.is_object().then_some(document)).collect()
        }
        _ => None,
    }
}

/// Adds the fields of a merged mapping that are not there yet.
fn take_over(merged: Document, fields: &mut Map<String, Value>, nodes: &mut BTreeMap<Box<str>, Field>) {
    let (Value::Object(values), Content::Map(places)) = (merged.value, merged.node.content) else { return };
    for (name, place) in places {
        let Some(value) = values.get(&*name) else { continue };
        if let Entry::Vacant(vacant) = nodes.entry(name) {
            fields.insert(vacant.key().to_string(), value.clone());
            vacant.insert(place);
        }
    }
}

/// The size of a value and how deep it is. It recurses, within the depth that was checked when it was built.
fn measure(value: &Value) -> (Size, usize) {
    let own = Size { nodes: 1, bytes: 0 };
    match value {
        Value::Array(items) => {
            let (size, depth) = items.iter().map(measure).fold((own, 0), deeper);
            (size, depth + 1)
        }
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| {
                let (size, depth) = measure(value);
                (size.plus(Size { nodes: 1, bytes: name.len() }), depth)
            };
            let (size, depth) = fields.iter().map(field).fold((own, 0), deeper);
            (size, depth + 1)
        }
        Value::String(text) => (Size { nodes: 1, bytes: text.len() }, 0),
        Value::Null | Value::Bool(_) | Value::Number(_) => (own, 0),
    }
}

fn deeper((total, deepest): (Size, usize), (size, depth): (Size, usize)) -> (Size, usize) {
    (total.plus(size), deepest.max(depth))
}
