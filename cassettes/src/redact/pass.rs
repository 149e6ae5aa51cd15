//! One walk over messages that belong together: what is found in them, and what stands in its place.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
    sync::Arc,
};

use base64::{
    Engine, alphabet,
    engine::{
        DecodePaddingMode,
        general_purpose::{GeneralPurpose, GeneralPurposeConfig},
    },
};

use super::{
    Redactor,
    carried::Carried,
    key::Key,
    report::{Kind, Place, Replaced},
    rules::Applied,
    token,
};

/// How deep texts are opened that were found in texts.
pub(super) const DEEPEST: usize = 5;

/// The shortest text that is opened as base64.
const SHORTEST_BASE64: usize = 20;

/// A part of a text and what stands in its place.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Edit {
    pub at: Range<usize>,
    pub with: Vec<u8>,
}

impl Edit {
    /// The same edit of a text that stands so far within another one.
    pub fn moved(self, by: usize) -> Edit {
        Edit { at: self.at.start + by..self.at.end + by, with: self.with }
    }
}

/// Edits of one text, in order, none within another. Nothing is allocated where there are none.
pub(super) type Edits = Vec<Edit>;

/// The text with its edits made; `None` without any.
pub(super) fn applied(text: &[u8], edits: &[Edit]) -> Option<Vec<u8>> {
    if edits.is_empty() {
        return None;
    }
    let mut made = Vec::with_capacity(text.len() + 32);
    let mut end = 0;
    for edit in edits {
        made.extend_from_slice(&text[end..edit.at.start]);
        made.extend_from_slice(&edit.with);
        end = edit.at.end;
    }
    made.extend_from_slice(&text[end..]);
    Some(made)
}

/// Edits that were found in several ways put in order. Of two that overlap the first counts, and of two that begin together the longer.
pub(super) fn in_order(mut edits: Edits) -> Edits {
    if edits.len() > 1 {
        edits.sort_by(|a, b| (a.at.start, b.at.end).cmp(&(b.at.start, a.at.end)));
        let mut end = 0;
        edits.retain(|edit| {
            let is_apart = edit.at.start >= end;
            end = if is_apart { edit.at.end } else { end };
            is_apart
        });
    }
    edits
}

/// What was found: each secret with its kind and its token.
pub(super) type Found = HashMap<Vec<u8>, (Kind, Vec<u8>)>;

/// One walk.
pub(super) struct Pass<'r> {
    pub redactor: &'r Redactor,
    /// The rules that are for the message at hand.
    pub rules: Applied<'r>,
    /// What was found elsewhere in what belongs together.
    pub carried: Option<Arc<Carried>>,
    /// Where in a message one is.
    pub place: Place,
    /// Whether what is replaced has to keep its length.
    pub fixed: bool,
    /// Whether only what has to stay is looked for.
    pub only_kept: bool,
    pub found: Found,
    /// What rules say has to stay.
    pub kept: HashSet<Vec<u8>>,
    pub replaced: Replaced,
}

impl<'r> Pass<'r> {
    pub fn new(redactor: &'r Redactor, carried: Option<Arc<Carried>>) -> Pass<'r> {
        Pass {
            redactor,
            rules: Applied::default(),
            carried,
            place: Place::Body,
            fixed: false,
            only_kept: false,
            found: Found::new(),
            kept: HashSet::new(),
            replaced: Replaced::default(),
        }
    }

    /// What stands for a secret; `None` where it may stay.
    pub fn token(&mut self, kind: Kind, secret: &[u8]) -> Option<Vec<u8>> {
        let is_token = if self.fixed { token::is_token_of_length } else { token::is_token };
        if is_nothing(secret) || is_token(secret) {
            return None;
        }
        self.replace(kind, secret, |key, fixed| match fixed {
            true => token::token_of_length(key, secret),
            false => token::token(key, secret),
        })
    }

    /// The same, where `make` knows how: it is given the key, and whether the length has to stay.
    pub fn replace(&mut self, kind: Kind, secret: &[u8], make: impl FnOnce(&Key, bool) -> Vec<u8>) -> Option<Vec<u8>> {
        if kind == Kind::Kept {
            self.kept.insert(secret.to_vec());
        }
        if self.only_kept || self.keeps(secret) {
            return None;
        }
        let made = make(&self.redactor.key, self.fixed);
        self.replaced.count(kind, self.place);
        if !self.fixed {
            self.found.insert(secret.to_vec(), (kind, made.clone()));
        }
        Some(made)
    }

    /// Whether a secret has to stay.
    pub fn keeps(&self, secret: &[u8]) -> bool {
        self.kept.contains(secret) || self.redactor.keeps(secret)
    }

    /// A value that is a secret by where it stands, whatever it looks like.
    pub fn secret(&mut self, kind: Kind, value: &[u8], depth: usize) -> Option<Vec<u8>> {
        if kind == Kind::Kept || depth == 0 {
            return self.token(kind, value);
        }
        if kind == Kind::Authorization || has_scheme(value) {
            return self.credentials(value, depth - 1);
        }
        if value.starts_with(b"eyJ") && self.jwt_length(value) == Some(value.len()) {
            return self.jwt(value, depth - 1);
        }
        if value.starts_with(b"-----BEGIN ") {
            let edits = self.scan(value, depth - 1);
            if !edits.is_empty() {
                return applied(value, &edits);
            }
        }
        self.token(kind, value)
    }

    /// A text that stands alone: a value of JSON, a field, an argument. Behind a name of secrets it is one, else what it has inside
    /// is looked through.
    pub fn leaf(&mut self, text: &[u8], name: Option<Kind>, depth: usize) -> Option<Vec<u8>> {
        if text.is_empty() {
            return None;
        }
        if let Some(kind) = name {
            return self.secret(kind, text, depth);
        }
        if let Some((kind, token)) = self.carried.as_ref().and_then(|carried| carried.whole(text)) {
            let (kind, token) = (kind, token.to_vec());
            return self.replace(kind, text, |key, fixed| match fixed {
                true => token::token_of_length(key, text),
                false => token,
            });
        }
        if depth > 0 {
            if matches!(text.trim_ascii_start().first(), Some(b'{' | b'[')) && !self.fixed {
                if let Some(edits) = self.json(text, depth - 1) {
                    return applied(text, &edits);
                }
            } else if let Some((content, engine)) = opened_base64(text) {
                return self.leaf(&content, None, depth - 1).map(|made| engine.encode(made).into_bytes());
            }
        }
        let edits = self.scan(text, depth);
        applied(text, &edits)
    }
}

/// What is no secret wherever it stands: nothing, and what others put in the place of one.
fn is_nothing(secret: &[u8]) -> bool {
    let all = |wanted: &[u8]| secret.iter().all(|byte| wanted.contains(byte));
    let words: [&[u8]; 8] =
        [b"[filtered]", b"[redacted]", b"<redacted>", b"null", b"none", b"undefined", b"deleted", b"*** hidden ***"];
    all(b"*") || all(b"x") || all(b" ") || words.iter().any(|word| secret.eq_ignore_ascii_case(word))
}

/// Whether a value says by which scheme it is to be read (RFC 9110 section 11.4).
fn has_scheme(value: &[u8]) -> bool {
    let schemes: [&[u8]; 4] = [b"bearer ", b"basic ", b"token ", b"digest "];
    schemes.iter().any(|scheme| value.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)))
}

/// How base64 is read and written, exactly as it stood.
pub(super) struct Base64 {
    engine: GeneralPurpose,
}

impl Base64 {
    /// By what shows in a text: the alphabet for URLs, padding.
    pub fn of(text: &[u8]) -> Base64 {
        let is_url = text.iter().any(|byte| matches!(byte, b'-' | b'_'));
        let is_padded = text.len().is_multiple_of(4);
        let padding = if is_padded { DecodePaddingMode::RequireCanonical } else { DecodePaddingMode::RequireNone };
        let config = GeneralPurposeConfig::new().with_encode_padding(is_padded).with_decode_padding_mode(padding);
        Base64 { engine: GeneralPurpose::new(if is_url { &alphabet::URL_SAFE } else { &alphabet::STANDARD }, config) }
    }

    pub fn decode(&self, text: &[u8]) -> Option<Vec<u8>> {
        self.engine.decode(text).ok()
    }

    pub fn encode(&self, content: Vec<u8>) -> String {
        self.engine.encode(content)
    }
}

/// What is in a text that is base64 of a readable text, and how to write it again.
pub(super) fn opened_base64(text: &[u8]) -> Option<(Vec<u8>, Base64)> {
    if !may_be_base64(text) {
        return None;
    }
    let engine = Base64::of(text);
    let content = engine.decode(text)?;
    let is_readable = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t');
    std::str::from_utf8(&content).is_ok_and(|text| text.chars().all(is_readable)).then_some((content, engine))
}

/// Whether a text begins like base64 of a readable text, which few other texts do.
pub(super) fn may_be_base64(text: &[u8]) -> bool {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    };
    if text.len() < SHORTEST_BASE64 {
        return false;
    }
    text[..16].chunks(4).all(|four| {
        let mut bits = 0_u32;
        for byte in four {
            let Some(value) = value(*byte) else { return false };
            bits = bits << 6 | u32::from(value);
        }
        let is_readable = |byte: u8| matches!(byte, b' '..=b'~' | b'\n' | b'\r' | b'\t' | 0x80..);
        bits.to_be_bytes()[1..].iter().all(|byte| is_readable(*byte))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_do_not_overlap() {
        let edit = |at: Range<usize>| Edit { at, with: b"-".to_vec() };
        let edits = in_order(vec![edit(4..6), edit(0..2), edit(1..3), edit(4..8)]);
        assert_eq!(applied(b"0123456789", &edits).unwrap(), b"-23-89");
        assert_eq!(applied(b"0123456789", &[]), None);
    }

    #[test]
    fn base64_is_written_as_it_was_read() {
        for text in [
            "dXNlcjpwYXNzd29yZDpsb25n",
            "dXNlcjpwYXNzd29yZDpsb25nZXI=",
            "dXNlcjpwYXNzd29yZDpsb25nZXI",
            "eyJhIjoiPz8_Pz8_Pz8_In0",
        ] {
            let (content, engine) = opened_base64(text.as_bytes()).unwrap();
            assert_eq!(engine.encode(content), text);
        }
        for text in [
            "dXNlcjpwYXNzd29yZDpsb25nZXI=x",
            "d41d8cd98f00b204e9800998ecf8427e",
            "short",
            "0123456789012345678901234567",
        ] {
            assert!(opened_base64(text.as_bytes()).is_none(), "{text}");
        }
    }
}
