//! Secrets in bodies, by their media type and what they look like.

use std::{borrow::Cow, ops::Range};

use super::{
    names,
    pass::{Base64, Edit, Edits, Pass, applied},
};
use crate::diff::gunzip;

/// A message of gRPC is decompressed to no more than this.
const MOST_DECODED: usize = 16 << 20;
/// How deep messages of Protocol Buffers are opened.
const DEEPEST: usize = 32;

/// A media type in lower case, without its parameters.
pub(super) fn media_type(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

impl Pass<'_> {
    /// What has to be replaced in a body without content coding.
    pub(super) fn body(&mut self, content: &[u8], content_type: &str, depth: usize) -> Edits {
        let media_type = media_type(content_type);
        if media_type == "application/x-www-form-urlencoded" {
            return self.fields(content, true, depth);
        }
        if media_type.starts_with("multipart/")
            && let Some(edits) = self.multipart(content, content_type, depth)
        {
            return edits;
        }
        if let Some(kind) = media_type.strip_prefix("application/grpc") {
            return self.grpc(content, kind, depth);
        }
        if media_type.ends_with("protobuf")
            && let Some(with) = self.protobuf(content, DEEPEST)
        {
            return with.map(|with| Edit { at: 0..content.len(), with }).into_iter().collect();
        }
        self.text(content, depth)
    }

    /// A text of no known type; what is no text keeps its length.
    pub(super) fn text(&mut self, content: &[u8], depth: usize) -> Edits {
        if let Some(edits) = self.json(content, depth) {
            return edits;
        }
        let is_text = std::str::from_utf8(content).is_ok_and(|text| !text.contains('\0'));
        if is_text && content.len() < 1 << 20 && !self.fixed {
            let text = content.trim_ascii();
            if let Some((inside, engine)) = super::pass::opened_base64(text) {
                let at = content.len() - content.trim_ascii_start().len();
                let with =
                    self.leaf(&inside, None, depth.saturating_sub(1)).map(|made| engine.encode(made).into_bytes());
                return with.map(|with| Edit { at: at..at + text.len(), with }).into_iter().collect();
            }
        }
        let before = self.fixed;
        self.fixed |= !is_text;
        let edits = self.scan(content, depth);
        self.fixed = before;
        edits
    }

    /// A body in parts (RFC 2046 section 5.1, RFC 7578); `None` for what is not made of them.
    fn multipart(&mut self, content: &[u8], content_type: &str, depth: usize) -> Option<Edits> {
        let boundary = parameter(content_type, "boundary").filter(|boundary| !boundary.is_empty())?;
        let delimiter = format!("--{boundary}");
        let marks: Vec<usize> = memchr::memmem::find_iter(content, delimiter.as_bytes()).collect();
        let first = *marks.first()?;
        let mut edits = self.known(&content[..first]);
        for (index, mark) in marks.iter().enumerate() {
            let start = mark + delimiter.len();
            let end = marks.get(index + 1).copied().unwrap_or(content.len());
            let part = &content[start..end];
            let head = memchr::memmem::find(part, b"\r\n\r\n");
            let known = self.known(&part[..head.unwrap_or(part.len())]);
            edits.extend(known.into_iter().map(|edit| edit.moved(start)));
            let Some(head) = head else { continue };
            let from = start + head + 4;
            let length = end.saturating_sub(from);
            let inside = content[from..from + length].strip_suffix(b"\r\n").unwrap_or(&content[from..from + length]);
            edits.extend(self.part(&part[..head], inside, from, depth));
        }
        Some(edits)
    }

    fn part(&mut self, head: &[u8], content: &[u8], from: usize, depth: usize) -> Edits {
        let head = String::from_utf8_lossy(head);
        let value = |wanted: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(':'));
            lines.find(|(name, _)| name.trim().eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim().to_owned())
        };
        let name = value("content-disposition").and_then(|value| parameter(&value, "name")).unwrap_or_default();
        let kind = self.rules.field(name.as_bytes()).or_else(|| names::secret(name.as_bytes()));
        let content_type = value("content-type").unwrap_or_default();
        let edits = match kind {
            Some(kind) => {
                let with = self.secret(kind, content, depth);
                with.map(|with| Edit { at: 0..content.len(), with }).into_iter().collect()
            }
            None if depth == 0 => Edits::new(),
            None => self.body(content, &content_type, depth - 1),
        };
        edits.into_iter().map(|edit| edit.moved(from)).collect()
    }

    /// Messages of gRPC, each behind a byte of flags and its length.
    fn grpc(&mut self, content: &[u8], kind: &str, depth: usize) -> Edits {
        if kind.starts_with("-web-text") {
            let engine = Base64::of(content);
            let made = engine.decode(content).and_then(|inside| {
                let edits = self.grpc(&inside, "-web", depth);
                applied(&inside, &edits)
            });
            let with = made.map(|made| engine.encode(made).into_bytes());
            return with.map(|with| Edit { at: 0..content.len(), with }).into_iter().collect();
        }
        let mut edits = Edits::new();
        let mut at = 0;
        while let Some((head, rest)) = content[at..].split_first_chunk::<5>() {
            let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
            let Some(message) = rest.get(..length) else { break };
            if let Some(made) = self.grpc_message(head[0], message, kind, depth) {
                let length = u32::try_from(made.len()).unwrap_or(u32::MAX).to_be_bytes();
                let with = [&head[..1], &length, &made].concat();
                edits.push(Edit { at: at..at + 5 + message.len(), with });
            }
            at += 5 + length;
        }
        if at < content.len() {
            // A message that was cut.
            let before = std::mem::replace(&mut self.fixed, true);
            let found = self.scan(&content[at..], depth);
            self.fixed = before;
            edits.extend(found.into_iter().map(|edit| edit.moved(at)));
        }
        edits
    }

    fn grpc_message(&mut self, flags: u8, message: &[u8], kind: &str, depth: usize) -> Option<Vec<u8>> {
        if flags & 1 == 1 {
            let plain = gunzip(message, MOST_DECODED)?;
            return self.grpc_message(flags & !1, &plain, kind, depth).map(|made| super::coding::gzip(&made));
        }
        let is_message = flags == 0 && !kind.ends_with("+json");
        if is_message && let Some(made) = self.protobuf(message, DEEPEST) {
            return made;
        }
        let edits = self.text(message, depth);
        applied(message, &edits)
    }

    /// The fields of a message of Protocol Buffers, as far as bytes tell. `None` for bytes that are no message, or are written otherwise
    /// than libraries do; inside it, what has to be written instead.
    fn protobuf(&mut self, message: &[u8], depth: usize) -> Option<Option<Vec<u8>>> {
        let fields = fields(message)?;
        let mut edits = Edits::new();
        for Field { content, at } in fields {
            let inside = &message[content.clone()];
            let is_plain = |text: &str| !text.chars().any(|c| c.is_control() && !matches!(c, '\t' | '\n' | '\r'));
            let made = match std::str::from_utf8(inside) {
                Ok(text) if is_plain(text) => self.leaf(inside, None, super::pass::DEEPEST),
                _ if depth > 0 && fields_inside(inside) => self.protobuf(inside, depth - 1).flatten(),
                _ => {
                    let before = std::mem::replace(&mut self.fixed, true);
                    let edits = self.scan(inside, 1);
                    self.fixed = before;
                    applied(inside, &edits)
                }
            };
            if let Some(made) = made {
                let mut with = varint(made.len() as u64);
                with.extend_from_slice(&made);
                edits.push(Edit { at: at..content.end, with });
            }
        }
        Some(applied(message, &edits))
    }
}

/// A field that has a length: where that stands, and the content.
struct Field {
    at: usize,
    content: Range<usize>,
}

fn fields_inside(bytes: &[u8]) -> bool {
    fields(bytes).is_some()
}

fn fields(message: &[u8]) -> Option<Vec<Field>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < message.len() {
        let key = read_varint(message, &mut at)?;
        if key >> 3 == 0 {
            return None;
        }
        match key & 7 {
            0 => drop(read_varint(message, &mut at)?),
            1 => at += 8,
            5 => at += 4,
            2 => {
                let begins = at;
                let length = usize::try_from(read_varint(message, &mut at)?).ok()?;
                let end = at.checked_add(length).filter(|end| *end <= message.len())?;
                found.push(Field { at: begins, content: at..end });
                at = end;
            }
            _ => return None,
        }
        if at > message.len() {
            return None;
        }
    }
    Some(found)
}

fn read_varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0_u64;
    for place in 0..10 {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// The value of a parameter (RFC 9110 section 5.6.6).
fn parameter(value: &str, wanted: &str) -> Option<String> {
    let mut parameters = value.split(';').skip(1).filter_map(|parameter| parameter.split_once('='));
    let (_, value) = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case(wanted))?;
    let value = value.trim();
    Some(value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value).to_owned())
}

/// A text for reading.
pub(super) fn lossy(bytes: Option<&[u8]>) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes.unwrap_or_default())
}
