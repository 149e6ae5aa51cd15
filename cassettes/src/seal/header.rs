//! What a sealed cassette may tell everybody: a stanza of its head, which age authenticates together with its content.

use age_core::format::Stanza;
use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD};
use serde::{Deserialize, Serialize};

use super::file::Unopened;
use crate::{model::Cassette, route::route_slug};

/// The most bytes of a file's head: what some hundred recipients take.
pub const HEAD_LIMIT: usize = 64 << 10;

const MAGIC: &[u8] = b"age-encryption.org/v1\n";
const TAG: &str = "regress-header-1";

/// What a sealed cassette tells everybody. Whoever opens it is told when it was changed; to whoever cannot, it is a claim.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The cassette's id.
    pub id: String,
    /// The slug of its route; `ambient` for the ambient cassette.
    pub route: String,
    /// When it was recorded, RFC 3339.
    pub at: String,
    /// Bytes of its content.
    pub bytes: u64,
}

impl Header {
    /// That of a cassette whose content has so many bytes.
    pub(crate) fn of(cassette: &Cassette, bytes: usize) -> Header {
        Header {
            id: cassette.id.0.clone(),
            route: cassette.entry.as_ref().map_or_else(|| cassette.id.0.clone(), route_slug),
            at: cassette.recorded.at.clone(),
            bytes: bytes as u64,
        }
    }
}

pub(super) fn stanza(header: &Header) -> Stanza {
    let body = serde_json::to_vec(header).unwrap_or_default();
    Stanza { tag: TAG.to_owned(), args: Vec::new(), body }
}

/// The readable header in the first [`HEAD_LIMIT`] bytes of a file, not authenticated; `None` where it has none.
pub(crate) fn readable(head: &[u8]) -> Result<Option<Header>, Unopened> {
    read(head)
}

/// The readable header in the head of a file, whose end is in `head`.
pub(super) fn read(head: &[u8]) -> Result<Option<Header>, Unopened> {
    let Some(rest) = head.strip_prefix(MAGIC) else {
        return Err(if MAGIC.starts_with(head) { Unopened::Head } else { Unopened::NotSealed });
    };
    let mut body: Option<String> = None;
    let mut found = None;
    let mut lines = rest.split_inclusive(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\n"));
    loop {
        let line = lines.next().flatten().and_then(|line| std::str::from_utf8(line).ok()).ok_or(Unopened::Head)?;
        if line.starts_with("---") {
            return Ok(found);
        }
        if let Some(stanza) = line.strip_prefix("-> ") {
            body = (stanza == TAG).then(String::new);
        } else if let Some(text) = &mut body {
            text.push_str(line);
            if line.len() < 64 {
                let json = BASE64_STANDARD_NO_PAD.decode(&*text).map_err(|_| Unopened::Head)?;
                found = Some(serde_json::from_slice(&json).map_err(|_| Unopened::Head)?);
                body = None;
            }
        }
    }
}
