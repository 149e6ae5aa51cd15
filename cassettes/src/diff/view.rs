//! A message as a tree.

use std::borrow::Cow;

use regress_protocols::{Request, Value, http1::Message};

use super::{
    coding,
    drawn::{Marks, drawn},
    headers,
    headers::{VOLATILE_REQUEST_HEADERS, VOLATILE_RESPONSE_HEADERS},
    mask::masked,
    open,
    rules::Applied,
    schema::Schema,
    tree::{Form, Member, Tree},
};

/// What counts of a message, taken apart: its line, its fields, its body opened up as far as it can be.
#[derive(Clone, Debug)]
pub struct View<'a>(pub(super) Tree<'a>);

impl<'a> View<'a> {
    /// What counts of a request, by the schema of what applies to it.
    pub fn of_request(request: impl Into<Request<'a>>, applied: &Applied) -> View<'a> {
        match request.into() {
            Request::Http(message) => View::of_http(message, applied.schema()),
            Request::Wire(_, value) => {
                let mut tree = tree_of(value);
                open::texts(&mut tree);
                View(tree)
            }
        }
    }

    fn of_http(request: &'a Message, schema: &Schema) -> View<'a> {
        let line = request_line(request);
        let line = [("method", raw(line.method)), ("target", target(line.target))];
        View::of(request, line, VOLATILE_REQUEST_HEADERS, schema)
    }

    /// What counts of a response, by the schema of what applies to it.
    pub fn of_response(response: &'a Message, applied: &Applied) -> View<'a> {
        let status = Tree::Raw(Cow::Owned(response.status().to_string().into_bytes()));
        View::of(response, [("status", status)], VOLATILE_RESPONSE_HEADERS, applied.schema())
    }

    fn of<const N: usize>(
        message: &'a Message,
        line: [(&'static str, Tree<'a>); N],
        volatile: &[&str],
        schema: &Schema,
    ) -> View<'a> {
        let content_type = message.header_text("content-type");
        let body = match coding::decode(message) {
            None => open::body(Cow::Borrowed(&message.body), content_type.as_deref(), schema),
            Some(decoded) => {
                // As it came and decoded are never equal: the same bytes under the same coding met the same end.
                let inside = open::body(Cow::Owned(decoded), content_type.as_deref(), schema);
                let inside = inside.unwrap_or(Tree::Raw(Cow::Borrowed(b"")));
                Some(Tree::opened(Form::Coded, raw(&message.body), inside))
            }
        };
        let is_in_parts = body.as_ref().is_some_and(open::is_in_parts);
        let mut members: Vec<Member<'a>> = Vec::with_capacity(N + 4);
        let mut add = |name, value| members.push((Cow::Borrowed(name), value));
        line.into_iter().for_each(|(name, value)| add(name, value));
        add("header", headers::headers(message, volatile, is_in_parts));
        add("trailer", headers::trailers(message));
        if let Some(body) = body {
            add("body", body);
        }
        if !message.is_complete() {
            let end = format!("cut short after {} bytes", message.body.len());
            add("end", Tree::Raw(Cow::Owned(end.into_bytes())));
        }
        View(Tree::Object(members))
    }

    /// The view with what the rules let pass taken out: equal for two messages between which they let everything pass
    /// (and for some others, as for two numbers that are further apart than a tolerance).
    pub fn masked(&self, rules: &Applied) -> View<'_> {
        View(masked(&self.0, &rules.root(), Marks::Alike).unwrap_or(Tree::Null))
    }

    /// The texts and numbers at the places of `generated` rules, but for those that another rule lets pass.
    pub fn drawn(&self, rules: &Applied) -> Vec<&str> {
        let mut found = Vec::new();
        drawn(&self.0, &rules.root(), &mut found);
        found
    }

    /// Asks `class` about each text and number, and about tokens before what is in them, and puts what it says in their
    /// place: values of one class become equal. Paths, names and what a rule masked are not asked about.
    pub fn classed(&mut self, class: &impl Fn(&str) -> Option<String>) {
        self.0.classed(class);
    }

    /// Bytes that are equal exactly for views that say the same.
    pub fn canonical(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(512);
        self.0.canonical(&mut bytes);
        bytes
    }
}

impl Tree<'_> {
    fn classed(&mut self, class: &impl Fn(&str) -> Option<String>) {
        match self {
            Tree::Number(_) | Tree::Text(_) | Tree::Raw(_) => {
                if let Some(class) = self.scalar().and_then(class) {
                    *self = Tree::Mark(format!("{} {class}", self.type_name()));
                }
            }
            Tree::Array(items) | Tree::Bag(items) => items.iter_mut().for_each(|item| item.classed(class)),
            Tree::Object(members) => members.iter_mut().for_each(|(_, value)| value.classed(class)),
            Tree::Opened(opened) => {
                let is_token = matches!(opened.form, Form::Base64 { .. } | Form::Token { .. });
                match opened.from.scalar().filter(|_| is_token).and_then(class) {
                    Some(class) => *self = Tree::Mark(format!("{} {class}", self.type_name())),
                    None => opened.inside.classed(class),
                }
            }
            Tree::Null | Tree::Bool(_) | Tree::Mark(_) => {}
        }
    }
}

fn tree_of(value: &Value) -> Tree<'_> {
    match value {
        Value::Null => Tree::Null,
        Value::Bool(value) => Tree::Bool(*value),
        Value::Number(text) => Tree::Number(Cow::Borrowed(text)),
        Value::Text(text) => Tree::Text(Cow::Borrowed(text)),
        Value::Bytes(bytes) => raw(bytes),
        Value::List(items) => Tree::Array(items.iter().map(tree_of).collect()),
        Value::Map(members) => {
            Tree::object(members.iter().map(|(name, value)| (Cow::Borrowed(name.as_ref()), tree_of(value))).collect())
        }
    }
}

pub(super) fn raw(bytes: &[u8]) -> Tree<'_> {
    Tree::Raw(Cow::Borrowed(bytes))
}

/// The segments of the path and the parameters of the query, as written. The path of `/a/b` has the segments ``, `a`
/// and `b`, so that they are counted from one.
fn target(target: &[u8]) -> Tree<'_> {
    let (path, query) = match target.iter().position(|byte| *byte == b'?') {
        Some(at) => (&target[..at], Some(&target[at + 1..])),
        None => (target, None),
    };
    let segments = path.split(|byte| *byte == b'/').map(raw).collect();
    let path = (Cow::Borrowed("path"), Tree::Array(segments));
    Tree::Object(match query {
        Some(query) => vec![path, (Cow::Borrowed("query"), open::query(query))],
        None => vec![path],
    })
}

struct RequestLine<'a> {
    method: &'a [u8],
    target: &'a [u8],
}

/// Method and target of a request as written, whatever bytes they are (RFC 9112 section 3).
fn request_line(request: &Message) -> RequestLine<'_> {
    let line = request.start.text().trim_ascii();
    let first = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
    let (method, rest) = line.split_at(first);
    let target = match rest.iter().rposition(|byte| *byte == b' ') {
        Some(last) if rest[last + 1..].starts_with(b"HTTP/") => &rest[..last],
        _ => rest,
    };
    RequestLine { method, target: target.trim_ascii() }
}
