//! JSON Web Tokens (RFC 7519) and base64 (RFC 4648).

use std::borrow::Cow;

use base64::{
    Engine,
    engine::general_purpose::{GeneralPurpose, STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD},
};

use super::{content_at, open_texts};
use crate::diff::{
    json,
    tree::{Form, Tree},
};

/// The shortest text that is taken for base64: a shorter one is too often a word.
const SHORTEST: usize = 16;

/// What is in a text that is a token or base64 of a text, after `prefix`.
pub(super) fn read(prefix: &str, text: &str, depth: usize) -> Option<(Form, Tree<'static>)> {
    if text.len() < SHORTEST || depth == 0 {
        return None;
    }
    let prefix = || prefix.to_owned();
    if let Some(inside) = token(text, depth) {
        return Some((Form::Token { prefix: prefix() }, inside));
    }
    let (content, url, unpadded) = decode(text)?;
    let is_text = std::str::from_utf8(&content).is_ok_and(|text| !text.contains(is_unreadable));
    let inside = || content_at(Cow::Owned(content), None, depth - 1);
    is_text.then(|| (Form::Base64 { prefix: prefix(), url, unpadded }, inside()))
}

fn is_unreadable(c: char) -> bool {
    c.is_control() && !matches!(c, '\n' | '\r' | '\t')
}

/// The bytes, whether the alphabet for URLs shows, whether padding lacks. Decoded strictly: another text never gives
/// the same three.
pub(in crate::diff) fn decode(text: &str) -> Option<(Vec<u8>, bool, bool)> {
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'=');
    if !text.bytes().all(is_base64) {
        return None;
    }
    let (url, unpadded) = (text.contains(['-', '_']), !text.len().is_multiple_of(4));
    Some((engine(url, unpadded).decode(text).ok()?, url, unpadded))
}

/// The way back.
pub(in crate::diff) fn encode(content: &[u8], url: bool, unpadded: bool) -> String {
    engine(url, unpadded).encode(content)
}

fn engine(url: bool, unpadded: bool) -> &'static GeneralPurpose {
    match (url, unpadded) {
        (false, false) => &STANDARD,
        (false, true) => &STANDARD_NO_PAD,
        (true, false) => &URL_SAFE,
        (true, true) => &URL_SAFE_NO_PAD,
    }
}

/// Header, payload and signature of a signed token.
fn token(text: &str, depth: usize) -> Option<Tree<'static>> {
    let mut parts = text.starts_with("eyJ").then(|| text.split('.'))?;
    let (header, payload, signature) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let part = |text: &str| {
        let mut tree = json::read(&URL_SAFE_NO_PAD.decode(text).ok()?)?.into_owned();
        open_texts(&mut tree, depth - 1);
        Some(tree)
    };
    Some(Tree::Object(vec![
        (Cow::Borrowed("header"), part(header)?),
        (Cow::Borrowed("payload"), part(payload)?),
        (Cow::Borrowed("signature"), Tree::Raw(Cow::Owned(signature.as_bytes().to_vec()))),
    ]))
}
