//! XML by its elements.

use std::{borrow::Cow, ops::Range};

use roxmltree::{Document, Node, NodeType};

use crate::diff::tree::{Member, Tree};

/// The deepest nesting that is read; a deeper text is compared as text.
const DEEPEST: usize = 200;

/// The namespace of `xml:space`.
const XML: &str = "http://www.w3.org/XML/1998/namespace";

/// The most nodes that are read.
const MOST: u32 = 1_000_000;

/// The document's elements, comments and processing instructions. `None` for what is not well-formed, and for what has
/// a document type (its entities are not resolved).
///
/// An element is an object: `@name` for each attribute (and `@xmlns` where the namespace is not the parent's), and
/// `#text` where there is only text in it, else `#` with what is in it. White space between elements is left out where
/// there is nothing else between them, unless `xml:space` says that it is to be kept.
pub(super) fn read(content: &[u8]) -> Option<Tree<'static>> {
    let text = std::str::from_utf8(content).ok()?;
    let options = roxmltree::ParsingOptions { allow_dtd: false, nodes_limit: MOST };
    let document = Document::parse_with_options(text, options).ok()?;
    let mut nodes = document.root().children().map(|node| node_tree(node, Outer::default()));
    match (nodes.next(), nodes.next()) {
        (Some(only), None) => only,
        (Some(first), Some(second)) => {
            let all: Option<Vec<_>> = [first, second].into_iter().chain(nodes).collect();
            Some(Tree::Array(all?))
        }
        (None, _) => None,
    }
}

/// What an element has from those around it.
#[derive(Clone, Copy, Default)]
struct Outer<'n> {
    namespace: Option<&'n str>,
    keeps_space: bool,
    depth: usize,
}

fn node_tree(node: Node<'_, '_>, outer: Outer<'_>) -> Option<Tree<'static>> {
    let named = |name: &str, value: Tree<'static>| Tree::Object(vec![(Cow::Owned(name.to_owned()), value)]);
    Some(match node.node_type() {
        NodeType::Element if outer.depth < DEEPEST => {
            let inside = element(node, outer)?;
            named(node.tag_name().name(), inside)
        }
        NodeType::Text => raw(node.text().unwrap_or_default()),
        NodeType::Comment => named("#comment", raw(node.text().unwrap_or_default())),
        NodeType::PI => {
            let instruction = node.pi()?;
            named(&format!("?{}", instruction.target), raw(instruction.value.unwrap_or_default()))
        }
        NodeType::Element | NodeType::Root => return None,
    })
}

fn element(node: Node<'_, '_>, outer: Outer<'_>) -> Option<Tree<'static>> {
    let namespace = node.tag_name().namespace();
    let mut members: Vec<Member<'static>> = Vec::new();
    if namespace != outer.namespace {
        members.push((Cow::Borrowed("@xmlns"), raw(namespace.unwrap_or_default())));
    }
    members.extend(node.attributes().map(|attribute| {
        let name = match attribute.namespace() {
            Some(namespace) => format!("@{{{namespace}}}{}", attribute.name()),
            None => format!("@{}", attribute.name()),
        };
        (Cow::Owned(name), raw(attribute.value()))
    }));
    let (children, keeps_space) = children(node, outer.keeps_space);
    let has_others = node.children().any(|child| !child.is_text());
    if has_others {
        let outer = Outer { namespace, keeps_space, depth: outer.depth + 1 };
        let children: Option<Vec<_>> = children.map(|child| node_tree(child, outer)).collect();
        members.push((Cow::Borrowed("#"), Tree::Array(children?)));
    } else if node.has_children() {
        let text: String = node.children().filter_map(|child| child.text()).collect();
        members.push((Cow::Borrowed("#text"), raw(&text)));
    }
    Some(Tree::object(members))
}

/// What counts of what is in an element, and whether white space counts there.
fn children<'n, 'i>(node: Node<'n, 'i>, keeps_space: bool) -> (impl Iterator<Item = Node<'n, 'i>>, bool) {
    let keeps_space = match node.attribute((XML, "space")) {
        Some(space) => space == "preserve",
        None => keeps_space,
    };
    let is_space = |child: &Node<'_, '_>| child.is_text() && child.text().is_some_and(|text| text.trim().is_empty());
    let has_text = keeps_space || node.children().any(|child| child.is_text() && !is_space(&child));
    (node.children().filter(move |child| has_text || !is_space(child)), keeps_space)
}

/// Where in a document the attributes and the texts of elements stand that these paths lead to, as [`read`] has them, each
/// as written. `None` where one is not there, or is something else.
pub(in crate::diff) fn spans(text: &str, pointers: &[&str]) -> Option<Vec<Range<usize>>> {
    let options = roxmltree::ParsingOptions { allow_dtd: false, nodes_limit: MOST };
    let document = Document::parse_with_options(text, options).ok()?;
    pointers.iter().map(|pointer| span(&document, pointer)).collect()
}

fn span(document: &Document<'_>, pointer: &str) -> Option<Range<usize>> {
    let mut steps = pointer.strip_prefix('/')?.split('/').map(|step| step.replace("~1", "/").replace("~0", "~"));
    let mut siblings: Vec<Node<'_, '_>> = document.root().children().collect();
    let mut is_only = siblings.len() == 1;
    let mut keeps_space = false;
    loop {
        let index = if is_only { 0 } else { steps.next()?.parse().ok()? };
        let node = *siblings.get(index)?;
        if !node.is_element() || steps.next()? != node.tag_name().name() {
            return None;
        }
        let step = steps.next()?;
        if step != "#" {
            return if steps.next().is_none() { leaf(document, node, &step) } else { None };
        }
        let (below, kept) = children(node, keeps_space);
        (siblings, keeps_space, is_only) = (below.collect(), kept, false);
    }
}

/// The value of an attribute, or the text of an element in which there is nothing else.
fn leaf(document: &Document<'_>, node: Node<'_, '_>, step: &str) -> Option<Range<usize>> {
    let step = match step.strip_prefix('@') {
        Some(name) => {
            let is_named = |attribute: &roxmltree::Attribute<'_, '_>| match attribute.namespace() {
                Some(namespace) => name == format!("{{{namespace}}}{}", attribute.name()),
                None => name == attribute.name(),
            };
            return Some(node.attributes().find(is_named)?.range_value());
        }
        None => step,
    };
    if step != "#text" || node.children().any(|child| !child.is_text()) {
        return None;
    }
    let element = node.range();
    let text = &document.input_text()[element.clone()];
    let mut quote = None;
    let opening = text.bytes().position(|byte| {
        match (quote, byte) {
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), _) if open == byte => quote = None,
            _ => {}
        }
        byte == b'>' && quote.is_none()
    })?;
    let closing = text.rfind("</").filter(|closing| *closing > opening)?;
    Some(element.start + opening + 1..element.start + closing)
}

fn raw(text: &str) -> Tree<'static> {
    Tree::Raw(Cow::Owned(text.as_bytes().to_vec()))
}
