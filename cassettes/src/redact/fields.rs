//! Secrets in what is made of names and values: credentials, cookies, queries, forms.

use super::{
    names,
    pass::{Base64, Edit, Edits, Pass, applied},
    report::Kind,
};
use crate::percent::{percent_decoded, percent_encoded};

/// Values of cookies from this length on are secrets whatever the name: nothing tells a log-in from a choice.
const COOKIE: usize = 8;

/// Parameters of credentials that are no secrets.
const PARAMETERS: &[&str] = &[
    "realm",
    "username",
    "uri",
    "algorithm",
    "qop",
    "nc",
    "signedheaders",
    "headers",
    "version",
    "keyid",
    "charset",
    "oauth_version",
    "oauth_signature_method",
    "oauth_timestamp",
    "created",
    "expires",
    "userhash",
];

impl Pass<'_> {
    /// What a client says of itself (RFC 9110 section 11.4), with its scheme kept.
    pub(super) fn credentials(&mut self, value: &[u8], depth: usize) -> Option<Vec<u8>> {
        let Some(space) = memchr::memchr(b' ', value) else { return self.bare(value, depth) };
        let (scheme, rest) = value.split_at(space + 1);
        let with = if scheme.eq_ignore_ascii_case(b"basic ") {
            self.basic(rest, depth)?
        } else if !rest.contains(&b' ') && !rest.contains(&b',') && !rest.trim_ascii_end().ends_with(b"\"") {
            self.bare(rest, depth)?
        } else {
            let edits = self.parameters(rest, depth);
            applied(rest, &edits)?
        };
        Some([scheme, &with].concat())
    }

    fn bare(&mut self, value: &[u8], depth: usize) -> Option<Vec<u8>> {
        if value.starts_with(b"eyJ") && self.jwt_length(value) == Some(value.len()) {
            return self.jwt(value, depth.saturating_sub(1));
        }
        self.token(Kind::Authorization, value)
    }

    /// `user:password` in base64 (RFC 7617). A name without a password is the secret itself.
    fn basic(&mut self, value: &[u8], depth: usize) -> Option<Vec<u8>> {
        let engine = Base64::of(value);
        let content = engine.decode(value).filter(|content| content.contains(&b':'));
        let Some(content) = content else { return self.token(Kind::Authorization, value) };
        let colon = memchr::memchr(b':', &content)?;
        let (user, password) = (&content[..colon], &content[colon + 1..]);
        let made = match password.is_empty() {
            true => [&self.token(Kind::Authorization, user)?, &b":"[..]].concat(),
            false => {
                let shown = self.leaf(user, None, depth.saturating_sub(1));
                let hidden = self.token(Kind::Password, password);
                if shown.is_none() && hidden.is_none() {
                    return None;
                }
                let (user, password) = (shown.unwrap_or(user.to_vec()), hidden.unwrap_or(password.to_vec()));
                [&user, &b":"[..], &password].concat()
            }
        };
        Some(engine.encode(made).into_bytes())
    }

    /// `name="value", ...`
    fn parameters(&mut self, text: &[u8], depth: usize) -> Edits {
        let mut edits = Edits::new();
        let mut start = 0;
        for part in text.split(|byte| matches!(byte, b',' | b' ')) {
            let begins = start;
            start += part.len() + 1;
            let Some(equals) = memchr::memchr(b'=', part) else { continue };
            let name = part[..equals].to_ascii_lowercase();
            let value = &part[equals + 1..];
            let quotes = usize::from(value.len() > 1 && value.starts_with(b"\"") && value.ends_with(b"\""));
            let value = &value[quotes..value.len() - quotes];
            let at = begins + equals + 1 + quotes..begins + equals + 1 + quotes + value.len();
            let with = match &name[..] {
                name if PARAMETERS.iter().any(|known| name == known.as_bytes()) => None,
                // A key's id, with what it is for.
                b"credential" => self.leaf(value, None, depth),
                _ => self.token(Kind::Authorization, value),
            };
            edits.extend(with.map(|with| Edit { at, with }));
        }
        edits
    }

    /// What a client sends of cookies (RFC 6265 section 4.2).
    pub(super) fn cookies(&mut self, value: &[u8]) -> Edits {
        let mut edits = Edits::new();
        let mut start = 0;
        for pair in value.split(|byte| *byte == b';') {
            let begins = start;
            start += pair.len() + 1;
            edits.extend(self.cookie(pair, begins));
        }
        edits
    }

    /// What a server sends of one cookie: attributes stay.
    pub(super) fn set_cookie(&mut self, value: &[u8]) -> Edits {
        let pair = value.split(|byte| *byte == b';').next().unwrap_or_default();
        self.cookie(pair, 0).into_iter().collect()
    }

    fn cookie(&mut self, pair: &[u8], start: usize) -> Option<Edit> {
        let equals = memchr::memchr(b'=', pair)?;
        let name = pair[..equals].trim_ascii();
        let value = pair[equals + 1..].trim_ascii();
        let inside = usize::from(value.len() > 1 && value.starts_with(b"\"") && value.ends_with(b"\""));
        let from =
            start + equals + 1 + (pair.len() - equals - 1 - pair[equals + 1..].trim_ascii_start().len()) + inside;
        let value = &value[inside..value.len() - inside];
        let rule = self.rules.cookie(name);
        if rule.is_none() && value.len() < COOKIE && !names::is_secret_cookie(name) {
            return None;
        }
        let plain = percent_decoded(value, false).unwrap_or(value.into());
        let with = self.secret(rule.unwrap_or(Kind::Cookie), &plain, 1)?;
        Some(Edit { at: from..from + value.len(), with })
    }

    /// Names and values between `&`: a query, or a form where `+` is a space.
    pub(super) fn fields(&mut self, text: &[u8], is_form: bool, depth: usize) -> Edits {
        let mut edits = Edits::new();
        let mut start = 0;
        for pair in text.split(|byte| *byte == b'&') {
            let begins = start;
            start += pair.len() + 1;
            let Some(equals) = memchr::memchr(b'=', pair) else {
                let with = self.leaf(pair, None, depth);
                edits.extend(with.map(|with| Edit { at: begins..begins + pair.len(), with }));
                continue;
            };
            let (written, value) = (&pair[..equals], &pair[equals + 1..]);
            let name = percent_decoded(written, true).unwrap_or(written.into());
            let known = self.known(&name);
            let with = applied(&name, &known).map(|made| as_written(&name, written, made));
            edits.extend(with.map(|with| Edit { at: begins..begins + equals, with }));
            let rule = if is_form { None } else { self.rules.query(&name) };
            let kind =
                rule.or_else(|| self.rules.field(&name)).or_else(|| names::secret(&name)).or_else(|| signature(&name));
            let plain = percent_decoded(value, true).unwrap_or(value.into());
            let Some(made) = self.leaf(&plain, kind, depth) else { continue };
            let at = begins + equals + 1;
            edits.push(Edit { at: at..at + value.len(), with: as_written(&plain, value, made) });
        }
        edits
    }

    /// The segments of a path, decoded.
    fn segments(&mut self, path: &[u8], depth: usize) -> Edits {
        let mut edits = Edits::new();
        let mut start = 0;
        for segment in path.split(|byte| *byte == b'/') {
            let at = start..start + segment.len();
            start = at.end + 1;
            let Some(plain) = percent_decoded(segment, false) else {
                let found = self.scan(segment, depth);
                edits.extend(found.into_iter().map(|edit| edit.moved(at.start)));
                continue;
            };
            let with = self.leaf(&plain, None, depth).map(|made| percent_encoded(&made));
            edits.extend(with.map(|with| Edit { at, with }));
        }
        edits
    }

    /// The target of a request: a password before the host, segments of the path, the query.
    pub(super) fn target(&mut self, target: &[u8], depth: usize) -> Edits {
        let (path, query) = match memchr::memchr(b'?', target) {
            Some(mark) => (&target[..mark], Some(mark + 1)),
            None => (target, None),
        };
        let mut edits = if path.contains(&b'%') { self.segments(path, depth) } else { self.scan(path, depth) };
        if let Some(from) = query {
            let found = self.fields(&target[from..], false, depth);
            edits.extend(found.into_iter().map(|edit| edit.moved(from)));
        }
        edits
    }
}

/// What signs a URL, so that whoever has it may do what it says.
fn signature(name: &[u8]) -> Option<Kind> {
    name.eq_ignore_ascii_case(b"signature").then_some(Kind::ApiKey)
}

/// What replaces a part of a query, encoded where that was, or where it has to be.
fn as_written(plain: &[u8], written: &[u8], made: Vec<u8>) -> Vec<u8> {
    let is_encoded = plain != written || made.iter().any(|byte| !is_plain(*byte));
    if is_encoded { percent_encoded(&made) } else { made }
}

/// What stands for itself in a query.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$'()*,;:@/?{}[]=".contains(&byte)
}
