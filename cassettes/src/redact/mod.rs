//! Redaction: secrets are replaced by tokens before anything is written.
//!
//! A secret is known by its place (`Authorization`, a cookie, a member called `password`) or by its form (a JSON Web Token, a private
//! key, the number of a card). What was found by its place is replaced wherever else it stands in what belongs together, so that what the
//! service passes on stays the same in the recording as well. [`Redacted`] is what a store takes, and only a [`Redactor`] makes it.

mod beside;
mod bodies;
mod carried;
mod coding;
mod fields;
mod forms;
mod http;
mod json;
mod key;
mod names;
mod pass;
mod report;
mod rules;
mod scan;
mod sql;
mod token;
mod turns;
mod wire;

use std::{collections::HashSet, ops::Deref, sync::Arc};

pub use beside::Beside;
pub use key::{KEY_VARIABLE, Key, TooShort};
pub use report::{Kind, Place, Replaced};
pub use rules::{RuleError, RuleText, Rules};

use carried::Carried;
use pass::{Found, Pass};

use crate::{
    glob,
    model::{Cassette, Content, Defect, Exchange},
};

/// How often is looked again for what was found: a secret may be within another one.
const ROUNDS: usize = 3;

/// What a project says of its secrets.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Whether addresses for mail are secrets.
    pub email: bool,
    /// Secrets that stay: patterns for their whole text, in which `*` is anything.
    pub keep: Vec<String>,
    /// What else is a secret, and what is none.
    pub rules: Rules,
}

/// Finds secrets and replaces them.
#[derive(Clone, Debug)]
pub struct Redactor {
    key: Key,
    email: bool,
    keep: Vec<String>,
    rules: Rules,
    is_off: bool,
}

/// Something without the secrets that it had: what may be written. Only a [`Redactor`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redacted<T> {
    inside: T,
    replaced: Replaced,
}

impl<T> Redacted<T> {
    /// What was replaced.
    pub fn replaced(&self) -> &Replaced {
        &self.replaced
    }

    /// What may be written.
    pub fn into_inside(self) -> T {
        self.inside
    }
}

impl<T> Deref for Redacted<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.inside
    }
}

impl Redactor {
    /// One that makes tokens by that key.
    pub fn new(key: Key, policy: Policy) -> Redactor {
        let Policy { email, keep, rules } = policy;
        Redactor { key, email, keep, rules, is_off: false }
    }

    /// One that replaces nothing: for whoever says so, knowing that secrets are written.
    pub fn off() -> Redactor {
        let key = Key::of(b"nothing is replaced").expect("it is long enough");
        Redactor { is_off: true, ..Redactor::new(key, Policy::default()) }
    }

    /// What was read from the files of a store and is put together anew: it tells the disk nothing that is not there.
    pub fn from_files(cassette: Cassette) -> Redacted<Cassette> {
        Redactor::off().cassette(cassette)
    }

    /// Whether nothing is replaced.
    pub fn is_off(&self) -> bool {
        self.is_off
    }

    /// A cassette without its secrets. One and the same secret is one and the same token everywhere in it.
    pub fn cassette(&self, mut cassette: Cassette) -> Redacted<Cassette> {
        let route = cassette.entry.as_ref().map(route);
        let replaced = self.walk(&HashSet::new(), |pass| {
            for exchange in cassette.entry.iter_mut().chain(&mut cassette.downstream) {
                self.exchange_in(pass, exchange, route.as_deref());
            }
        });
        cassette.redacted.extend(replaced.kinds().map(|kind| kind.word().to_owned()));
        Redacted { inside: cassette, replaced }
    }

    /// An exchange that belongs to nothing else.
    pub fn exchange(&self, mut exchange: Exchange) -> Redacted<Exchange> {
        let replaced = self.walk(&HashSet::new(), |pass| self.exchange_in(pass, &mut exchange, None));
        Redacted { inside: exchange, replaced }
    }

    fn exchange_in<'r>(&'r self, pass: &mut Pass<'r>, exchange: &mut Exchange, route: Option<&str>) {
        pass.rules = self.rules.of(route, exchange.downstream.as_deref());
        match &mut exchange.content {
            Content::Http1(http) => {
                let is_readable = pass.http(http);
                if !is_readable && exchange.defects.is_empty() {
                    exchange.defects.push(Defect::Encrypted);
                }
            }
            Content::Wire(wire) => pass.wire(wire),
            Content::Opaque(said) => turns::redact(pass, said, false),
            Content::Nothing => {}
        }
    }

    /// Walks over what belongs together until nothing more is found in it.
    fn walk<'r>(&'r self, kept: &HashSet<Vec<u8>>, walk: impl FnMut(&mut Pass<'r>)) -> Replaced {
        self.walk_from(&Found::new(), kept, walk).0
    }

    /// The same, where something was found before; gives what was found as well.
    fn walk_from<'r>(
        &'r self,
        before: &Found,
        kept: &HashSet<Vec<u8>>,
        mut walk: impl FnMut(&mut Pass<'r>),
    ) -> (Replaced, Found) {
        let mut replaced = Replaced::default();
        let mut found = before.clone();
        if self.is_off {
            return (replaced, found);
        }
        let mut kept = kept.clone();
        if self.rules.keep_anything() {
            let mut pass = Pass::new(self, None);
            (pass.only_kept, pass.kept) = (true, kept);
            walk(&mut pass);
            kept = pass.kept;
        }
        for _ in 0..ROUNDS {
            let mut pass = Pass::new(self, Carried::of(&found).map(Arc::new));
            pass.kept = kept;
            walk(&mut pass);
            replaced.add(&pass.replaced);
            kept = std::mem::take(&mut pass.kept);
            let more: Vec<_> = pass.found.drain().filter(|(secret, _)| !found.contains_key(secret)).collect();
            if more.is_empty() {
                break;
            }
            found.extend(more);
        }
        (replaced, found)
    }

    fn keeps(&self, secret: &[u8]) -> bool {
        let text = || String::from_utf8_lossy(secret);
        !self.keep.is_empty() && self.keep.iter().any(|pattern| glob(pattern, &text()))
    }
}

/// Whether a text is what stands in place of a secret.
pub fn is_token(text: &str) -> bool {
    token::is_token(text.as_bytes())
}

/// The method and the path of an entry.
fn route(entry: &Exchange) -> String {
    match entry.request() {
        Some(request) => request.operation().to_string(),
        None => String::new(),
    }
}
