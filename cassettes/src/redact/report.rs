//! What was redacted: kinds and places, never values.

use std::{collections::BTreeMap, fmt};

/// What kind of secret it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// What a client says of itself in `Authorization` and `Proxy-Authorization`.
    Authorization,
    /// A cookie.
    Cookie,
    /// A password, a passphrase, a code.
    Password,
    /// A key for an interface, by its name or its form.
    ApiKey,
    /// A token, by its name.
    Token,
    /// A JSON Web Token.
    Jwt,
    /// A private key.
    PrivateKey,
    /// The number of a card.
    Card,
    /// An address for mail.
    Email,
    /// Another secret, by its name.
    Secret,
    /// What a rule of `regress.toml` says.
    Rule,
    /// A whole body that could not be read.
    Unreadable,
    /// None: a rule says that it stays. Never counted.
    Kept,
}

impl Kind {
    /// All that are counted.
    pub const ALL: [Kind; 12] = [
        Kind::Authorization,
        Kind::Cookie,
        Kind::Password,
        Kind::ApiKey,
        Kind::Token,
        Kind::Jwt,
        Kind::PrivateKey,
        Kind::Card,
        Kind::Email,
        Kind::Secret,
        Kind::Rule,
        Kind::Unreadable,
    ];

    /// Its word in cassettes and reports.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Authorization => "authorization",
            Kind::Cookie => "cookie",
            Kind::Password => "password",
            Kind::ApiKey => "api-key",
            Kind::Token => "token",
            Kind::Jwt => "jwt",
            Kind::PrivateKey => "private-key",
            Kind::Card => "card",
            Kind::Email => "email",
            Kind::Secret => "secret",
            Kind::Rule => "rule",
            Kind::Unreadable => "unreadable-body",
            Kind::Kept => "kept",
        }
    }

    /// The kind with that word.
    pub fn of_word(word: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Where it stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// In the target of a request.
    Target,
    /// In a header.
    Header,
    /// In a body.
    Body,
    /// In a trailer.
    Trailer,
    /// In a value of a protocol other than HTTP.
    Value,
    /// In bytes of no protocol that is read.
    Bytes,
}

impl Place {
    /// Its word in reports.
    pub fn word(self) -> &'static str {
        match self {
            Place::Target => "target",
            Place::Header => "header",
            Place::Body => "body",
            Place::Trailer => "trailer",
            Place::Value => "value",
            Place::Bytes => "bytes",
        }
    }
}

/// How many secrets of which kind were replaced at which places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replaced(BTreeMap<(Kind, Place), u64>);

impl FromIterator<(Kind, Place, u64)> for Replaced {
    fn from_iter<T: IntoIterator<Item = (Kind, Place, u64)>>(rows: T) -> Replaced {
        Replaced(rows.into_iter().map(|(kind, place, count)| ((kind, place), count)).collect())
    }
}

impl Replaced {
    pub(super) fn count(&mut self, kind: Kind, place: Place) {
        *self.0.entry((kind, place)).or_default() += 1;
    }

    /// Adds what another one counts.
    pub fn add(&mut self, other: &Replaced) {
        for (what, count) in &other.0 {
            *self.0.entry(*what).or_default() += count;
        }
    }

    /// Whether nothing was.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// In the order of kinds and places.
    pub fn rows(&self) -> impl Iterator<Item = (Kind, Place, u64)> {
        self.0.iter().map(|((kind, place), count)| (*kind, *place, *count))
    }

    /// The kinds, each once.
    pub fn kinds(&self) -> impl Iterator<Item = Kind> {
        let mut last = None;
        self.0.keys().map(|(kind, _)| *kind).filter(move |kind| last.replace(*kind) != Some(*kind))
    }
}
