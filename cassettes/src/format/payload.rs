//! Recorded bytes in a cassette, in the most readable form that gives the very same bytes back.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{
    Flaw,
    fields::Fields,
    json::{Document, Fault, Kind, Node},
    layout::Layout,
    writer::{self, Object},
};

/// The bytes that a payload may have inside a cassette; a bigger one is a file beside it.
pub const INLINE: usize = 64 * 1024;

/// How deep a body's JSON may be nested to be written as JSON: together with what a cassette puts around it this
/// stays under the 128 levels that JSON readers commonly take.
const BODY_DEPTH: usize = 112;

/// Bytes in a line of base64: 76 characters (RFC 2045 section 6.8).
const BASE64_LINE: usize = 57;

/// Body files by the SHA-256 of their content, as lower-case hex.
pub type BodyFiles = BTreeMap<String, Bytes>;

/// Reads a body file: hash and size to bytes.
pub type ReadBody<'r> = dyn FnMut(&str, u64) -> Result<Bytes, crate::Error> + 'r;

/// SHA-256 as lower-case hex.
pub fn hash(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// Whether a text can be the hash of a body file.
pub fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Add the fields that hold `bytes`: `json`, `text`, `base64` or `file`.
pub fn write(object: &mut Object<'_>, bytes: &Bytes, files: &mut BodyFiles) {
    if bytes.len() > INLINE {
        let hash = hash(bytes);
        object.string("file", &hash);
        object.number("size", bytes.len() as u64);
        files.insert(hash, bytes.clone());
        return;
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return write_base64(object, bytes) };
    match Document::parse(text, BODY_DEPTH) {
        Ok(document) => write_json(object, &document),
        Err(_) => write_lines(object.field("text"), &text.split_inclusive('\n').collect::<Vec<_>>()),
    }
}

/// Add the field `base64`.
pub fn write_base64(object: &mut Object<'_>, bytes: &[u8]) {
    write_lines(object.field("base64"), &base64_lines(bytes));
}

fn write_json(object: &mut Object<'_>, document: &Document<'_>) {
    let layout = Layout::of(document);
    if layout.apply(document.root()).as_deref() != Ok(document.text) {
        object.string("text", document.text);
        return;
    }
    let out = object.field("json");
    out.extend(document.root().tokens().map(|(_, token)| token));
    if layout == Layout::DEFAULT {
        return;
    }
    match layout.written() {
        Ok(name) => object.string("layout", &name),
        Err(runs) => object.list("layout", &runs, |out, run| writer::string(out, run)),
    }
}

fn base64_lines(bytes: &[u8]) -> Vec<String> {
    bytes.chunks(BASE64_LINE).map(|line| STANDARD.encode(line)).collect()
}

/// A text of several lines as a list, so that a change of one line shows as one line.
fn write_lines(out: &mut String, lines: &[impl AsRef<str>]) {
    match lines {
        [] => writer::string(out, ""),
        [line] => writer::string(out, line.as_ref()),
        _ => writer::list(out, lines, |out, line| writer::string(out, line.as_ref())),
    }
}

/// Take the fields that [`write()`] added.
pub fn read(fields: &mut Fields<'_>, read_body: &mut ReadBody<'_>) -> Result<Bytes, Flaw> {
    let forms = (fields.optional("json"), fields.optional("text"), fields.optional("base64"), fields.optional("file"));
    match forms {
        (Some(json), None, None, None) => {
            let layout = fields.optional("layout").map_or(Ok(Layout::DEFAULT), Layout::read)?;
            Ok(layout.apply(json)?.into())
        }
        (None, Some(text), None, None) => Ok(read_lines(text)?.into()),
        (None, None, Some(base64), None) => read_base64(base64),
        (None, None, None, Some(file)) => {
            let hash = file.string()?;
            if !is_hash(&hash) {
                return Err(file.fault("not the SHA-256 of a body file: 64 lower-case hex digits").into());
            }
            let size = super::decode::unsigned(fields.required("size")?)?;
            read_body(&hash, size).map_err(Flaw::Error)
        }
        _ => Err(fields.fault("expected exactly one of `json`, `text`, `base64`, `file`").into()),
    }
}

fn read_lines(node: Node<'_>) -> Result<String, Fault> {
    match node.kind() {
        Kind::ArrayOpen => node.items()?.into_iter().map(|line| line.text()).collect(),
        _ => node.string(),
    }
}

fn read_base64(node: Node<'_>) -> Result<Bytes, Flaw> {
    let text = read_lines(node)?;
    match STANDARD.decode(text) {
        Ok(bytes) => Ok(bytes.into()),
        Err(error) => Err(node.fault(format!("not base64: {error}")).into()),
    }
}

/// Write a short piece of the wire: a string where it is UTF-8, else `{"base64": ".."}`.
pub fn write_piece(out: &mut String, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => writer::string(out, text),
        Err(_) => Object::write(out, |object| object.string("base64", &STANDARD.encode(bytes))),
    }
}

/// Append what [`write_piece`] wrote.
pub fn read_piece(node: Node<'_>, to: &mut Vec<u8>, unknown: &mut Vec<Fault>) -> Result<(), Flaw> {
    if node.kind() != Kind::ObjectOpen {
        to.extend_from_slice(node.text()?.as_bytes());
        return Ok(());
    }
    let mut fields = Fields::of(node)?;
    to.extend_from_slice(&read_base64(fields.required("base64")?)?);
    fields.finish(unknown);
    Ok(())
}
