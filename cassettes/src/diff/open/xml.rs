//! XML by its elements.

use std::borrow::Cow;

use roxmltree::{Document, Node, NodeType};

use crate::diff::tree::{Member, Tree};

/// The deepest nesting that is read; a deeper text is compared as text.
const DEEPEST: usize = 200;

/// The most nodes that are read.
const MOST: u32 = 1_000_000;

/// The document's elements, comments and processing instructions. `None` for what is not well-formed, and for what has
/// a document type (its entities are not resolved).
///
/// An element is an object: `@name` for each attribute (and `@xmlns` where the namespace is not the parent's), and
/// `#text` where there is only text in it, else `#` with what is in it. White space between elements is left out where
/// there is nothing else between them.
pub(super) fn read(content: &[u8]) -> Option<Tree<'static>> {
    let text = std::str::from_utf8(content).ok()?;
    if !text.trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n']).starts_with('<') {
        return None;
    }
    let options = roxmltree::ParsingOptions { allow_dtd: false, nodes_limit: MOST };
    let document = Document::parse_with_options(text, options).ok()?;
    let mut nodes = document.root().children().map(|node| node_tree(node, None, 0));
    match (nodes.next(), nodes.next()) {
        (Some(only), None) => only,
        (Some(first), Some(second)) => {
            let all: Option<Vec<_>> = [first, second].into_iter().chain(nodes).collect();
            Some(Tree::Array(all?))
        }
        (None, _) => None,
    }
}

fn node_tree(node: Node<'_, '_>, namespace: Option<&str>, depth: usize) -> Option<Tree<'static>> {
    let named = |name: &str, value: Tree<'static>| Tree::Object(vec![(Cow::Owned(name.to_owned()), value)]);
    Some(match node.node_type() {
        NodeType::Element if depth < DEEPEST => {
            let inside = element(node, namespace, depth)?;
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

fn element(node: Node<'_, '_>, outer: Option<&str>, depth: usize) -> Option<Tree<'static>> {
    let namespace = node.tag_name().namespace();
    let mut members: Vec<Member<'static>> = Vec::new();
    if namespace != outer {
        members.push((Cow::Borrowed("@xmlns"), raw(namespace.unwrap_or_default())));
    }
    members.extend(node.attributes().map(|attribute| {
        let name = match attribute.namespace() {
            Some(namespace) => format!("@{{{namespace}}}{}", attribute.name()),
            None => format!("@{}", attribute.name()),
        };
        (Cow::Owned(name), raw(attribute.value()))
    }));
    let is_space = |child: &Node<'_, '_>| child.is_text() && child.text().is_some_and(|text| text.trim().is_empty());
    let has_text = node.children().any(|child| child.is_text() && !is_space(&child));
    let has_others = node.children().any(|child| !child.is_text());
    if has_others {
        let children = node.children().filter(|child| has_text || !is_space(child));
        let children: Option<Vec<_>> = children.map(|child| node_tree(child, namespace, depth + 1)).collect();
        members.push((Cow::Borrowed("#"), Tree::Array(children?)));
    } else if node.has_children() {
        let text: String = node.children().filter_map(|child| child.text()).collect();
        members.push((Cow::Borrowed("#text"), raw(&text)));
    }
    Some(Tree::object(members))
}

fn raw(text: &str) -> Tree<'static> {
    Tree::Raw(Cow::Owned(text.as_bytes().to_vec()))
}
