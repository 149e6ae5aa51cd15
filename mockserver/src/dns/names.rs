//! Who is asked for a name, and what was asked.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;

use super::message::{Outcome, PTR, Question};
use super::{Forward, RecordedNames};

/// Who knows the names.
#[derive(Debug, Clone)]
pub enum Names {
    /// A recording: what it does not hold does not exist.
    Recorded(Arc<RecordedNames>),
    /// The host that runs the proxy recording; answers are remembered.
    Forward(Arc<Forward>),
}

impl Names {
    /// The addresses that were given for `name` so far (forwarded) or always are (recorded).
    pub fn addresses(&self, name: &str) -> Vec<IpAddr> {
        match self {
            Self::Recorded(names) => names.addresses(name).to_vec(),
            Self::Forward(names) => names.addresses(name),
        }
    }

    /// The answer to one query, and what was asked; nothing for bytes that are no query.
    pub(super) async fn answer(&self, query: &[u8], over_udp: bool) -> Option<(Vec<u8>, Query)> {
        let question = Question::parse(query)?;
        let (reply, outcome) = match self {
            Self::Recorded(names) => names.answer(query, &question, over_udp),
            Self::Forward(names) => names.answer(query, &question, over_udp).await,
        };
        let told = Bytes::copy_from_slice(&reply);
        let query = Query { name: question.name, kind: question.kind, outcome, told };
        Some((reply, query))
    }
}

/// One question that the service asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The name, in lower case, without the dot at the end.
    pub name: String,
    /// The record type (RFC 1035, section 3.2.2), such as [`super::A`] or [`super::AAAA`].
    pub kind: u16,
    /// What came of it.
    pub outcome: Outcome,
    /// What it was told: a message (RFC 1035, section 4).
    pub told: Bytes,
}

impl Query {
    /// Whether the recording knows nothing of this name. Reverse look-ups do not count: they are about addresses.
    pub fn is_unknown(&self) -> bool {
        self.outcome == Outcome::Unknown && self.kind != PTR
    }
}

/// A name as it is compared: lower case, no dot at the end.
pub(super) fn canonical(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}
