//! What a new build says, without its secrets, beside what was recorded.

use std::{
    borrow::Cow,
    collections::HashSet,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use regress_protocols::{Value, http1::Message, wire::Protocol};

use super::{
    Redacted, Redactor, Replaced,
    pass::{DEEPEST, Found, Pass, applied},
    route,
};
use crate::model::{Cassette, Exchange};

/// Redacts what a build says in a replay. What the recording says in the place of a secret stays: it is a token, or somebody wanted to
/// have it there.
#[derive(Debug)]
pub struct Beside {
    redactor: Arc<Redactor>,
    recorded: Vec<Arc<Cassette>>,
    /// Secrets in what was recorded, once somebody asks.
    known: OnceLock<HashSet<Vec<u8>>>,
    /// What was found so far, to be found elsewhere.
    found: Mutex<Found>,
}

impl Beside {
    /// Beside the cassette of an entry, that of no entry, or both.
    pub fn new(redactor: Arc<Redactor>, recorded: Vec<Arc<Cassette>>) -> Beside {
        Beside { redactor, recorded, known: OnceLock::new(), found: Mutex::default() }
    }

    /// A message to a downstream, or the response to an entry (`None`). What `stays` says yes to is not replaced.
    pub fn message<'m>(
        &self,
        message: &'m Message,
        downstream: Option<&str>,
        stays: impl Fn(&str) -> bool,
    ) -> Cow<'m, Message> {
        self.redacted(message, downstream, stays, |pass, message| {
            pass.message(message);
        })
    }

    /// A request in another protocol.
    pub fn value<'v>(
        &self,
        protocol: Protocol,
        value: &'v Value,
        downstream: Option<&str>,
        stays: impl Fn(&str) -> bool,
    ) -> Cow<'v, Value> {
        self.redacted(value, downstream, stays, |pass, value| pass.request(protocol, value))
    }

    /// Bytes that are neither, and texts for people.
    pub fn bytes<'b>(&self, bytes: &'b [u8]) -> Cow<'b, [u8]> {
        let said = Cow::Borrowed(bytes);
        let made = self.redacted(
            &said,
            None,
            |_| false,
            |pass, bytes| {
                let edits = pass.scan(bytes, DEEPEST);
                if let Some(made) = applied(bytes, &edits) {
                    *bytes = Cow::Owned(made);
                }
            },
        );
        made.into_owned()
    }

    /// What a cassette would be.
    pub fn cassette(&self, cassette: Cassette) -> Redacted<Cassette> {
        let route = cassette.entry.as_ref().map(route);
        let mut made = cassette.clone();
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (replaced, _) = self.redactor.walk_from(&found, self.known(), |pass| {
            for exchange in made.entry.iter_mut().chain(&mut made.downstream) {
                self.redactor.exchange_in(pass, exchange, route.as_deref());
            }
        });
        made.redacted.extend(replaced.kinds().map(|kind| kind.word().to_owned()));
        Redacted { inside: made, replaced }
    }

    fn redacted<'s, 't, T: Clone>(
        &'s self,
        said: &'t T,
        downstream: Option<&str>,
        stays: impl Fn(&str) -> bool,
        redact: impl Fn(&mut Pass<'s>, &mut T),
    ) -> Cow<'t, T> {
        if self.redactor.is_off() {
            return Cow::Borrowed(said);
        }
        let entry = self.recorded.iter().find_map(|cassette| cassette.entry.as_ref());
        let route = entry.map(route);
        let rules = || self.redactor.rules.of(route.as_deref(), downstream);
        let before = self.found.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let walk = |kept: &HashSet<Vec<u8>>| {
            let mut made = said.clone();
            let (replaced, found) = self.redactor.walk_from(&before, kept, |pass| {
                pass.rules = rules();
                redact(pass, &mut made);
            });
            (made, replaced, found)
        };
        let nothing = |replaced: &Replaced| replaced.is_empty();
        let (mut made, mut replaced, mut found) = walk(&HashSet::new());
        if nothing(&replaced) {
            return Cow::Borrowed(said);
        }
        let mut kept = self.known().clone();
        kept.extend(found.keys().filter(|secret| std::str::from_utf8(secret).is_ok_and(&stays)).cloned());
        if !kept.is_empty() {
            (made, replaced, found) = walk(&kept);
        }
        if nothing(&replaced) {
            return Cow::Borrowed(said);
        }
        self.found.lock().unwrap_or_else(PoisonError::into_inner).extend(found);
        Cow::Owned(made)
    }

    /// What would be replaced in what was recorded, were it recorded now.
    fn known(&self) -> &HashSet<Vec<u8>> {
        self.known.get_or_init(|| {
            let mut known = HashSet::new();
            for cassette in &self.recorded {
                let route = cassette.entry.as_ref().map(route);
                let mut exchanges: Vec<Exchange> = cassette.exchanges().cloned().collect();
                let (_, found) = self.redactor.walk_from(&Found::new(), &HashSet::new(), |pass| {
                    for exchange in &mut exchanges {
                        self.redactor.exchange_in(pass, exchange, route.as_deref());
                    }
                });
                known.extend(found.into_keys());
            }
            known
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Connection, Content, Ended, HttpExchange,
        redact::{Key, Policy},
    };

    fn cassette(authorization: &str) -> Arc<Cassette> {
        let request = Message::request("GET", "/", &[("Authorization", authorization)], "");
        let http = HttpExchange::new(request, None);
        let entry = Exchange {
            downstream: None,
            connection: Connection { id: 1, local: None, peer: "127.0.0.1:80".parse().unwrap(), tls: false },
            at: 0,
            took: None,
            content: Content::Http1(http),
            ended: Ended::Ok,
            cause: None,
            defects: Vec::new(),
        };
        Arc::new(Cassette {
            id: crate::CassetteId("a".to_owned()),
            recorded: crate::Recorded {
                at: "2026-11-22T10:15:02Z".to_owned(),
                service: "shop".to_owned(),
                by: "regress".to_owned(),
                via: crate::Via::Socket,
                kernel: "6.8.0".to_owned(),
            },
            nondeterministic: Vec::new(),
            redacted: Default::default(),
            entry: Some(entry),
            downstream: Vec::new(),
            defects: Vec::new(),
        })
    }

    fn beside(authorization: &str) -> Beside {
        let redactor = Redactor::new(Key::of(b"a key of these tests").unwrap(), Policy::default());
        Beside::new(Arc::new(redactor), vec![cassette(authorization)])
    }

    fn header(beside: &Beside, authorization: &str, stays: &str) -> String {
        let message = Message::request("GET", "/", &[("Authorization", authorization)], "");
        let redacted = beside.message(&message, None, |secret| secret == stays);
        redacted.header_text("authorization").unwrap().into_owned()
    }

    #[test]
    fn what_was_recorded_stays_whether_it_is_a_token_or_a_secret() {
        for recorded in ["Bearer of-the-recording-1", "Bearer redacted0123456789"] {
            let beside = beside(recorded);
            assert_eq!(header(&beside, recorded, ""), recorded);
            assert!(header(&beside, "Bearer of-the-new-build-1", "").starts_with("Bearer redacted"));
            assert_eq!(header(&beside, "Bearer bound-to-something", "bound-to-something"), "Bearer bound-to-something");
        }
    }

    #[test]
    fn what_was_found_is_found_elsewhere_later() {
        let beside = beside("Bearer redacted0123456789");
        let token = header(&beside, "Bearer of-the-new-build-1", "").split_off(7);
        assert_eq!(*beside.bytes(b"it said of-the-new-build-1!"), *format!("it said {token}!").into_bytes());
        assert_eq!(*beside.bytes(b"nothing"), *b"nothing");
    }
}
