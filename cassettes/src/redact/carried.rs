//! A secret that was found by its place is one wherever else it stands in what belongs together.

use std::collections::HashMap;

use aho_corasick::{AhoCorasick, MatchKind};

use super::{
    pass::{Edit, Found},
    report::Kind,
};
use crate::percent::percent_encoded;

/// The shortest secret that is looked for within other texts.
const WITHIN: usize = 8;
/// The shortest that counts also where letters or digits stand beside it.
const GLUED: usize = 16;
/// The shortest that is looked for as a whole text.
const WHOLE: usize = 5;
/// The most that are looked for within other texts; beyond, as whole texts alone.
const MOST: usize = 10_000;

/// Secrets that were found, to be looked for elsewhere.
pub(super) struct Carried {
    within: Option<AhoCorasick>,
    /// Of each pattern of `within`.
    tokens: Vec<(Kind, Vec<u8>)>,
    whole: HashMap<Vec<u8>, (Kind, Vec<u8>)>,
}

impl Carried {
    /// Of what was found; `None` where nothing of it is worth looking for.
    pub fn of(found: &Found) -> Option<Carried> {
        let mut patterns: Vec<Vec<u8>> = Vec::new();
        let mut tokens = Vec::new();
        let mut whole = HashMap::new();
        for (secret, (kind, token)) in found {
            if secret.len() >= WHOLE && !secret.iter().all(u8::is_ascii_digit) && secret != b"false" {
                whole.insert(secret.clone(), (*kind, token.clone()));
            }
            if is_telling(secret) && patterns.len() < MOST {
                for written in writings(secret) {
                    patterns.push(written);
                    tokens.push((*kind, token.clone()));
                }
            }
        }
        if whole.is_empty() && patterns.is_empty() {
            return None;
        }
        let within = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(patterns).ok();
        Some(Carried { within, tokens, whole })
    }

    /// The token of a text that is a secret as a whole.
    pub fn whole(&self, text: &[u8]) -> Option<(Kind, &[u8])> {
        self.whole.get(text).map(|(kind, token)| (*kind, &token[..]))
    }

    /// The places in a text where secrets stand.
    pub fn edits(&self, text: &[u8]) -> impl Iterator<Item = (Kind, Edit)> {
        let matches = self.within.iter().flat_map(move |within| within.find_iter(text));
        matches.filter_map(move |found| {
            let at = found.range();
            let is_joined = |a: Option<&u8>, b: Option<&u8>| {
                let is_letter = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
                is_letter(a) && is_letter(b)
            };
            let before = at.start.checked_sub(1).and_then(|before| text.get(before));
            let glued = is_joined(before, text.get(at.start)) || is_joined(text.get(at.end - 1), text.get(at.end));
            let (kind, token) = &self.tokens[found.pattern().as_usize()];
            (!glued || at.len() >= GLUED).then(|| (*kind, Edit { at, with: token.clone() }))
        })
    }
}

/// Whether a secret is no word that may well stand elsewhere and mean something else.
fn is_telling(secret: &[u8]) -> bool {
    let (lower, upper) = (secret.iter().all(u8::is_ascii_lowercase), secret.iter().all(u8::is_ascii_uppercase));
    let is_number = secret.iter().all(u8::is_ascii_digit);
    secret.len() >= WITHIN && ((!lower && !upper && !is_number) || secret.len() >= GLUED)
}

/// How a secret may be written: as it is, in a URL, in XML.
fn writings(secret: &[u8]) -> Vec<Vec<u8>> {
    let mut writings = vec![secret.to_vec()];
    let encoded = percent_encoded(secret);
    if encoded != secret {
        writings.push(percent_encoded_lower(secret));
        writings.push(String::from_utf8_lossy(&encoded).replace("%20", "+").into_bytes());
        writings.push(encoded);
    }
    if secret.iter().any(|byte| matches!(byte, b'&' | b'<' | b'>' | b'"' | b'\'')) {
        let text = String::from_utf8_lossy(secret);
        let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
        writings.push(escaped.clone().into_bytes());
        writings.push(escaped.replace('\'', "&#39;").into_bytes());
        writings.push(text.replace('\'', "''").into_bytes());
    }
    writings
}

/// As [`percent_encoded`], with the digits that some write.
fn percent_encoded_lower(secret: &[u8]) -> Vec<u8> {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    let written = |byte: &u8| if is_plain(byte) { vec![*byte] } else { format!("%{byte:02x}").into_bytes() };
    secret.iter().flat_map(written).collect()
}

/// The edits for all that was carried to a text.
pub(super) fn edits(carried: Option<&Carried>, text: &[u8]) -> Vec<(Kind, Edit)> {
    carried.map(|carried| carried.edits(text).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::pass::{Edits, applied};

    #[test]
    fn what_is_no_word_is_found_within_other_texts() {
        let found: Found = ["s3cret-value", "password", "a b&c d?", "hunter"]
            .map(|secret| (secret.as_bytes().to_vec(), (Kind::Password, b"TOKEN".to_vec())))
            .into_iter()
            .collect();
        let carried = Carried::of(&found).unwrap();
        let made = |text: &str| {
            let edits: Edits = edits(Some(&carried), text.as_bytes()).into_iter().map(|(_, edit)| edit).collect();
            applied(text.as_bytes(), &edits).map(|made| String::from_utf8(made).unwrap())
        };
        assert_eq!(made("key=s3cret-value.").as_deref(), Some("key=TOKEN."));
        assert_eq!(made("xs3cret-value"), None);
        assert_eq!(made("the password"), None);
        assert_eq!(
            made("q=a%20b%26c%20d%3F&r=a+b%26c+d%3F&s=a%20b%26c%20d%3f").as_deref(),
            Some("q=TOKEN&r=TOKEN&s=TOKEN")
        );
        assert_eq!(made("<p>a b&amp;c d?</p>").as_deref(), Some("<p>TOKEN</p>"));
        assert!(
            carried.whole(b"password").is_some() && carried.whole(b"hunter").is_some() && carried.whole(b"a").is_none()
        );
        assert!(Carried::of(&Found::new()).is_none());
    }
}
