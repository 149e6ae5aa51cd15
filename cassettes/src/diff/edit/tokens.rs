//! Base64 and JSON Web Tokens.

use super::{Grain, Places, Typed, content, json};
use crate::diff::open;

/// A text in base64 after a prefix.
pub(super) fn base64(
    prefix: &str,
    [old, new]: [&[u8]; 2],
    url: bool,
    unpadded: bool,
    places: &Places,
) -> Option<Vec<u8>> {
    let decoded = |text: &[u8]| Some(open::decode_base64(after(prefix, text)?)?.0);
    let (old, new) = (decoded(old)?, decoded(new)?);
    fn typed(content: &[u8]) -> Typed<'_> {
        Typed { content, media_type: None }
    }
    let edited = content(typed(&old), typed(&new), places, Grain::Value)?;
    Some(format!("{prefix}{}", open::encode_base64(&edited, url, unpadded)).into_bytes())
}

/// A token after a prefix: what is in its header and its payload, and its signature. Whether that is the signature of what is
/// taken is not looked at.
pub(super) fn token(prefix: &str, [old, new]: [&[u8]; 2], places: &Places) -> Option<Vec<u8>> {
    let mut olds = after(prefix, old)?.split('.');
    let mut news = after(prefix, new)?.split('.');
    let mut edited = Vec::with_capacity(3);
    for name in ["header", "payload", "signature"] {
        let (old, new, below) = (olds.next()?, news.next()?, places.below(name));
        edited.push(match below {
            below if below.is_empty() => old.to_owned(),
            below if below.are_whole() => new.to_owned(),
            below => {
                let decoded = |part: &str| Some(open::decode_base64(part)?.0);
                open::encode_base64(&json::take(&decoded(old)?, &decoded(new)?, &below, Grain::Value)?, true, true)
            }
        });
    }
    Some(format!("{prefix}{}", edited.join(".")).into_bytes())
}

fn after<'t>(prefix: &str, text: &'t [u8]) -> Option<&'t str> {
    std::str::from_utf8(text).ok()?.strip_prefix(prefix)
}
