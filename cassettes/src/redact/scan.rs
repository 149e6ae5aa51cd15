//! Secrets in a text of any kind, found by their form or by a name before them.

use std::{ops::Range, sync::LazyLock};

use aho_corasick::{AhoCorasick, AhoCorasickKind, Match, MatchKind};
use regress_protocols::http1::Line;

use super::{
    carried,
    forms::{self, CARD, CREDENTIALS},
    names,
    pass::{Base64, Edit, Edits, Pass, applied, in_order},
    report::Kind,
    token,
};
use crate::percent::percent_decoded;

/// What is looked at more closely once it stands somewhere.
#[derive(Clone, Copy, Debug)]
enum Hint {
    /// The beginning of a known credential.
    Credential(usize),
    /// What JSON objects begin with in base64, and so tokens.
    Jwt,
    /// The beginning of a key.
    Pem,
    /// What stands before an authority, in which there may be a password.
    Authority,
    /// The middle of a Telegram bot's token.
    Telegram,
    /// A scheme of credentials.
    Scheme(&'static str),
    /// A part of names of secrets.
    Stem,
}

struct Scanner {
    automaton: AhoCorasick,
    hints: Vec<Hint>,
}

static SCANNER: LazyLock<Scanner> = LazyLock::new(|| {
    let known = CREDENTIALS.iter().enumerate().map(|(index, one)| (one.prefix, Hint::Credential(index)));
    let forms = [
        ("eyJ", Hint::Jwt),
        ("-----BEGIN ", Hint::Pem),
        ("://", Hint::Authority),
        (":AA", Hint::Telegram),
        ("bearer ", Hint::Scheme("bearer ")),
        ("basic ", Hint::Scheme("basic ")),
        ("cookie:", Hint::Stem),
    ];
    let stems = names::STEMS.iter().map(|stem| (*stem, Hint::Stem));
    let (patterns, hints): (Vec<&str>, Vec<Hint>) = known.chain(forms).chain(stems).unzip();
    let automaton = AhoCorasick::builder()
        .match_kind(MatchKind::LeftmostLongest)
        .ascii_case_insensitive(true)
        .kind(Some(AhoCorasickKind::DFA))
        .build(patterns)
        .expect("the patterns are few and short");
    Scanner { automaton, hints }
});

/// Where something stands in a text that may be a secret or the name of one.
pub(super) fn hits(text: &[u8]) -> impl Iterator<Item = Match> {
    SCANNER.automaton.find_iter(text)
}

/// The fewest characters in a row that make a text of what stands among other bytes.
const SHORTEST_TEXT: usize = 16;

/// Whether a place is in a text: all of it is one, or enough characters stand in a row.
fn stands_in_text(bytes: &[u8], at: usize) -> bool {
    let is_character = |byte: &&u8| matches!(byte, b'\t' | b'\r' | b'\n' | b' '..=b'~');
    let before = bytes[..at].iter().rev().take(SHORTEST_TEXT).take_while(is_character).count();
    let behind = bytes[at..].iter().take(SHORTEST_TEXT).take_while(is_character).count();
    before + behind >= SHORTEST_TEXT.min(bytes.len())
}

/// What is part of a name.
fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

impl Pass<'_> {
    /// What has to be replaced in a text.
    pub(super) fn scan(&mut self, text: &[u8], depth: usize) -> Edits {
        let mut edits = Edits::new();
        let mut done = 0;
        for hit in hits(text) {
            if hit.start() < done {
                continue;
            }
            if let Some(edit) = self.at_hit(text, &hit, depth) {
                done = edit.at.end;
                edits.push(edit);
            }
        }
        self.cards(text, &mut edits);
        if self.redactor.email {
            self.emails(text, &mut edits);
        }
        edits.extend(self.known(text));
        for (kind, at) in self.rules.patterns(text) {
            let with = self.token(kind, &text[at.clone()]);
            edits.extend(with.map(|with| Edit { at, with }));
        }
        in_order(edits)
    }

    /// What of it is a secret by what was found elsewhere, and by nothing else: for names.
    pub(super) fn known(&mut self, text: &[u8]) -> Edits {
        let mut edits = Edits::new();
        for (kind, edit) in carried::edits(self.carried.as_deref(), text) {
            let secret = &text[edit.at.clone()];
            let with = self.replace(kind, secret, |key, fixed| match fixed {
                true => token::token_of_length(key, secret),
                false => edit.with,
            });
            edits.extend(with.map(|with| Edit { at: edit.at, with }));
        }
        in_order(edits)
    }

    fn at_hit(&mut self, text: &[u8], hit: &Match, depth: usize) -> Option<Edit> {
        let start = hit.start();
        // In bytes that are drawn, or compressed, anything of a few letters stands somewhere.
        if self.fixed && !stands_in_text(text, start) {
            return None;
        }
        let begins = |start: usize| start == 0 || !text[start - 1].is_ascii_alphanumeric();
        match SCANNER.hints[hit.pattern().as_usize()] {
            Hint::Credential(index) => {
                let length = begins(start).then(|| CREDENTIALS[index].read(&text[start..])).flatten();
                let Some(length) = length else { return self.named(text, hit.range(), depth) };
                let at = start..start + length;
                let with = self.token(Kind::ApiKey, &text[at.clone()])?;
                Some(Edit { at, with })
            }
            Hint::Jwt => {
                let length = begins(start).then(|| self.jwt_length(&text[start..])).flatten();
                if let Some(length) = length {
                    let with = self.jwt(&text[start..start + length], depth.checked_sub(1)?)?;
                    return Some(Edit { at: start..start + length, with });
                }
                self.base64_object(text, start, depth)
            }
            Hint::Pem => self.pem(text, start),
            Hint::Authority => self.authority(text, hit.end()),
            Hint::Telegram => {
                let digits = text[..start].iter().rev().take(12).take_while(|byte| byte.is_ascii_digit()).count();
                let rest = &text[start + 1..];
                let length = rest.iter().take(50).take_while(|byte| is_name(**byte) && **byte != b'.').count();
                if !(8..=10).contains(&digits) || length != 35 {
                    return None;
                }
                let at = start + 1..start + 1 + length;
                let with = self.token(Kind::ApiKey, &text[at.clone()])?;
                Some(Edit { at, with })
            }
            Hint::Scheme(scheme) if begins(start) => {
                let is_token = |byte: &u8| is_name(*byte) || matches!(byte, b'+' | b'/' | b'=' | b'~');
                let length = text[hit.end()..].iter().take_while(|byte| is_token(byte)).count();
                let at = hit.end()..hit.end() + length;
                let value = &text[at.clone()];
                let is_random = value.iter().any(u8::is_ascii_digit) || length >= 20;
                if length < 8 || !is_random {
                    return None;
                }
                let whole = [scheme.as_bytes(), value].concat();
                let with = self.credentials(&whole, depth)?.split_off(scheme.len());
                Some(Edit { at, with })
            }
            Hint::Scheme(_) => None,
            Hint::Stem => self.named(text, hit.range(), depth),
        }
    }

    /// How long the JSON Web Token is that a text begins with: three parts, or five where it is encrypted.
    pub(super) fn jwt_length(&self, text: &[u8]) -> Option<usize> {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let length = text.iter().position(|byte| !is_part(*byte) && *byte != b'.').unwrap_or(text.len());
        let parts = text[..length].split(|byte| *byte == b'.').count();
        let length = match parts {
            3 | 5 => length,
            // The end of a sentence.
            4 | 6 if text[length - 1] == b'.' => length - 1,
            _ => return None,
        };
        let header = text[..length].split(|byte| *byte == b'.').next()?;
        let header = Base64::of(header).decode(header).or_else(|| {
            // In base64 for URLs, which nothing has to show.
            Base64::of(&[header, b"-"].concat()).decode(header)
        })?;
        header.starts_with(b"{").then_some(length)
    }

    /// A token without what makes it one: its signature. What its claims say stays but for secrets.
    pub(super) fn jwt(&mut self, text: &[u8], depth: usize) -> Option<Vec<u8>> {
        let mut parts: Vec<Vec<u8>> = text.split(|byte| *byte == b'.').map(<[u8]>::to_vec).collect();
        let is_signed = parts.len() == 3;
        if is_signed {
            let engine = Base64::of(&[&parts[1], &b"-"[..]].concat());
            let content = Base64::of(&parts[1]).decode(&parts[1]).or_else(|| engine.decode(&parts[1]));
            if let Some(edits) = content.as_ref().and_then(|content| self.json(content, depth)) {
                let made = content.and_then(|content| applied(&content, &edits));
                parts[1] = made.map_or(parts[1].clone(), |made| web_base64(&made).into_bytes());
            }
        }
        let last = parts.last()?;
        if last.is_empty() || token::is_marked(last) || self.keeps(text) {
            let claims = parts.join(&b'.');
            return (claims != text).then_some(claims);
        }
        self.replace(Kind::Jwt, text, |key, _| {
            let mut stream = key.stream(text);
            let first = if is_signed { 2 } else { 1 };
            let last = parts.len() - 1;
            for (index, part) in parts.iter_mut().enumerate().skip(first) {
                *part = token::web_part(&mut stream, part.len(), index == last);
            }
            parts.join(&b'.')
        })
    }

    /// An object in base64 within a text.
    fn base64_object(&mut self, text: &[u8], start: usize, depth: usize) -> Option<Edit> {
        let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'=');
        let length = text[start..].iter().take_while(|byte| is_letter(byte)).count();
        let (at, depth) = (start..start + length, depth.checked_sub(1)?);
        let (content, engine) = super::pass::opened_base64(&text[at.clone()])?;
        let with = engine.encode(self.leaf(&content, None, depth)?).into_bytes();
        (!self.fixed || with.len() == length).then_some(Edit { at, with })
    }

    /// A private key (RFC 7468), to its end or that of the text.
    fn pem(&mut self, text: &[u8], start: usize) -> Option<Edit> {
        let rest = &text[start..];
        let label = memchr::memmem::find(&rest[11..], b"-----").map(|at| at + 11).filter(|at| *at < 80)?;
        memchr::memmem::find(&rest[..label], b"PRIVATE KEY")?;
        let body = start + label + 5;
        let end = memchr::memmem::find(&text[body..], b"-----END").map_or(text.len(), |at| body + at);
        let at = body..end;
        if token::is_pem_token(&text[at.clone()]) {
            return None;
        }
        let with =
            self.replace(Kind::PrivateKey, &text[at.clone()], |key, _| token::pem_body(key, &text[at.clone()]))?;
        Some(Edit { at, with })
    }

    /// The password in the authority of a URL, or a name that is long enough to be one.
    fn authority(&mut self, text: &[u8], start: usize) -> Option<Edit> {
        let ends = |byte: &u8| matches!(byte, b'/' | b'?' | b'#' | b'"' | b'\'' | b'<' | b'>' | b'\\') || *byte <= b' ';
        let rest = &text[start..];
        let rest = &rest[..rest.iter().position(ends).unwrap_or(rest.len())];
        let user = &rest[..rest.iter().rposition(|byte| *byte == b'@')?];
        let from = match user.iter().position(|byte| *byte == b':') {
            Some(colon) => colon + 1,
            None if user.len() >= 16 => 0,
            None => return None,
        };
        let password = &user[from..];
        if is_variable(password) {
            return None;
        }
        let secret = percent_decoded(password, false).unwrap_or(password.into());
        let with = self.token(Kind::Password, &secret)?;
        Some(Edit { at: start + from..start + user.len(), with })
    }

    /// The numbers of cards.
    fn cards(&mut self, text: &[u8], edits: &mut Edits) {
        let mut at = 0;
        while let Some(run) = digits(text, &mut at) {
            let mut from = run.start;
            while from < run.end {
                let groups = (from + CARD.0..=run.end.min(from + CARD.2)).rev().map(|end| from..end);
                let number = groups
                    .filter(|range| is_apart(text, range))
                    .find(|range| forms::card(&text[range.clone()]).is_some());
                let Some(range) = number else {
                    // The next group.
                    let rest = &text[from..run.end];
                    let end = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
                    from += end + rest[end..].iter().take_while(|byte| !byte.is_ascii_digit()).count();
                    continue;
                };
                from = range.end;
                let with = self.token(Kind::Card, &text[range.clone()]);
                edits.extend(with.map(|with| Edit { at: range, with }));
            }
        }
    }

    /// Addresses for mail (of RFC 5321 what is in use).
    fn emails(&mut self, text: &[u8], edits: &mut Edits) {
        let is_local = |byte: &u8| is_name(*byte) || *byte == b'+';
        let mut done = 0;
        for sign in memchr::memchr_iter(b'@', text) {
            let before = text[done..sign].iter().rev().take(64).take_while(|byte| is_local(byte)).count();
            let domain = text[sign + 1..].iter().take(255).take_while(|byte| is_name(**byte)).count();
            let domain = &text[sign + 1..sign + 1 + domain];
            let domain = domain.strip_suffix(b".").unwrap_or(domain);
            let at = sign - before..sign + 1 + domain.len();
            let address = &text[at.clone()];
            if before == 0 || !domain.contains(&b'.') || token::is_marked(address) || self.fixed {
                continue;
            }
            done = at.end;
            let with = self.replace(Kind::Email, address, |key, _| token::email(key, address));
            edits.extend(with.map(|with| Edit { at, with }));
        }
    }

    /// The value behind a name that has `stem` in it, where it is the name of a secret.
    fn named(&mut self, text: &[u8], stem: Range<usize>, depth: usize) -> Option<Edit> {
        let start = stem.start - text[..stem.start].iter().rev().take_while(|byte| is_name(**byte)).count();
        let end = stem.end.max(stem.start + text[stem.start..].iter().take_while(|byte| is_name(**byte)).count());
        let name = text[start..end].trim_ascii_end();
        let name = name.strip_suffix(b":").or(name.strip_suffix(b"=")).unwrap_or(name);
        let (start, end) = (start, start + name.len());
        if name.eq_ignore_ascii_case(b"identified") {
            return self.identified(text, end, depth);
        }
        if name.eq_ignore_ascii_case(b"cookie") || name.eq_ignore_ascii_case(b"set-cookie") {
            return self.cookie_line(text, end, name.len() > 6);
        }
        let kind = self.rules.field(name).or_else(|| names::secret(name))?;
        let at = value_behind(text, start, end, kind)?;
        let written = &text[at.clone()];
        let secret = unescaped(text, &at, written);
        let with = self.secret(kind, &secret, depth)?;
        Some(Edit { at, with })
    }

    /// `IDENTIFIED [WITH plugin] BY|AS 'password'`
    fn identified(&mut self, text: &[u8], from: usize, depth: usize) -> Option<Edit> {
        let rest = &text[from..text.len().min(from + 120)];
        let open = from + rest.iter().position(|byte| matches!(byte, b'\'' | b'"'))?;
        if text[from..open].contains(&b';') {
            return None;
        }
        let at = quoted(text, open)?;
        let secret = unescaped(text, &at, &text[at.clone()]);
        let with = self.secret(Kind::Password, &secret, depth)?;
        Some(Edit { at, with })
    }

    /// A line of a head within a text.
    fn cookie_line(&mut self, text: &[u8], from: usize, is_set: bool) -> Option<Edit> {
        let from = from + text[from..].strip_prefix(b":").map(|rest| 1 + spaces(rest))?;
        let ends = |byte: &u8| matches!(byte, b'\r' | b'\n' | b'"' | b'\\' | b'\'');
        let end = text[from..].iter().position(ends).map_or(text.len(), |at| from + at);
        let value = &text[from..end];
        let edits = if is_set { self.set_cookie(value) } else { self.cookies(value) };
        Some(Edit { at: from..end, with: applied(value, &edits)? })
    }
}

/// Digits, perhaps in groups, among which the number of a card may be; `at` is where the search goes on. Few bytes are looked at
/// where there are few digits.
fn digits(text: &[u8], at: &mut usize) -> Option<Range<usize>> {
    let is_part = |byte: u8| byte.is_ascii_digit() || matches!(byte, b' ' | b'-');
    while let Some(probe) = text.get(*at + CARD.0 - 1) {
        if !is_part(*probe) {
            *at += CARD.0;
            continue;
        }
        let probe = *at + CARD.0 - 1;
        let start = probe - text[*at..probe].iter().rev().take_while(|byte| is_part(**byte)).count();
        let end = probe + text[probe..].iter().take_while(|byte| is_part(**byte)).count();
        *at = end;
        let is_digit = |byte: &u8| byte.is_ascii_digit();
        let run = &text[start..end];
        if let (Some(first), Some(last)) = (run.iter().position(is_digit), run.iter().rposition(is_digit))
            && last - first + 1 >= CARD.0
        {
            return Some(start + first..start + last + 1);
        }
    }
    None
}

/// Whether digits stand for themselves: not in a word, nor behind a decimal point, nor in a longer number.
fn is_apart(text: &[u8], range: &Range<usize>) -> bool {
    let is_joined =
        |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.'));
    let after = match text.get(range.end) {
        Some(b'.') => text.get(range.end + 1),
        other => other,
    };
    !is_joined(range.start.checked_sub(1).and_then(|before| text.get(before))) && !is_joined(after)
}

/// How many spaces and tabs a text begins with.
fn spaces(text: &[u8]) -> usize {
    text.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count()
}

/// What stands in place of a value that is put in later.
fn is_variable(value: &[u8]) -> bool {
    let starts: [&[u8]; 6] = [b"${", b"{{", b"$(", b"%(", b"#{", b"<%"];
    let is_parameter = match value {
        [b'?'] | [b'%', b's'] => true,
        [b'$' | b':', rest @ ..] => {
            !rest.is_empty() && rest.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
        }
        _ => false,
    };
    is_parameter || starts.iter().any(|start| value.starts_with(start))
}

/// Where the value stands of the name at `start..end`.
fn value_behind(text: &[u8], start: usize, end: usize, kind: Kind) -> Option<Range<usize>> {
    let mut at = end;
    let rest = |at: usize| &text[at.min(text.len())..];
    if is_element(text, start) {
        let tag = at + memchr::memchr(b'>', &rest(at)[..rest(at).len().min(1000)])?;
        let from = match rest(tag + 1).strip_prefix(b"<![CDATA[") {
            Some(_) => tag + 10,
            None => tag + 1,
        };
        let close: &[u8] = if from > tag + 1 { b"]]>" } else { b"<" };
        let length = memchr::memmem::find(rest(from), close)?;
        let is_empty = rest(from)[..length].trim_ascii().is_empty() || text[tag - 1] == b'/';
        return (!is_empty).then_some(from..from + length);
    }
    let is_quoted = start > 0 && matches!(text[start - 1], b'"' | b'\'');
    while let Some(b'\\' | b'"' | b'\'' | b'`' | b']') = text.get(at) {
        at += 1;
    }
    if rest(at).get(..3).is_some_and(|three| three.eq_ignore_ascii_case(b"%5D")) {
        at += 3;
    }
    if is_quoted && text[..start - 1].ends_with(b"name=") {
        return attribute(text, at);
    }
    let gap = spaces(rest(at));
    let separators: [&[u8]; 5] = [b":=", b"=>", b"==", b"=", b":"];
    let separator = separators.into_iter().find(|separator| rest(at + gap).starts_with(separator));
    let Some(separator) = separator else {
        // `PASSWORD 'secret'`, `PASSWORD('secret')`
        let open = match rest(at + gap) {
            [b'\'', ..] if gap > 0 => at + gap,
            [b'(', b'\'', ..] => at + gap + 1,
            _ => return None,
        };
        return quoted(text, open);
    };
    at += gap + separator.len();
    let after = spaces(rest(at));
    at += after;
    match rest(at) {
        [b'"' | b'\'' | b'`', ..] => return quoted(text, at),
        [b'\\', b'"' | b'\'', ..] => return quoted(text, at + 1),
        [b'{' | b'[' | b'<' | b'>' | b'\r' | b'\n', ..] | [] => return None,
        _ => {}
    }
    let is_line = kind == Kind::Authorization;
    let is_list = separator == b":";
    let stops = |byte: &u8| match byte {
        b'\r' | b'\n' | b'"' => true,
        _ if is_line => false,
        b' ' | b'\t' | b'&' | b';' | b'\'' | b'<' | b'>' | b'\\' | b'`' => true,
        b',' | b'}' | b')' | b']' => is_list,
        _ => false,
    };
    let length = rest(at).iter().position(stops).unwrap_or(rest(at).len());
    let value = &rest(at)[..length];
    // `password: at least eight characters`
    let is_prose = is_list && !is_line && after > 0 && value.iter().all(u8::is_ascii_alphabetic) && {
        let behind = &rest(at)[length..];
        behind.starts_with(b" ") && behind[spaces(behind)..].first().is_some_and(u8::is_ascii_alphabetic)
    };
    (!value.is_empty() && !is_variable(value) && !is_prose).then_some(at..at + length)
}

/// Whether the name at a place is that of an XML element which begins there.
fn is_element(text: &[u8], start: usize) -> bool {
    match start.checked_sub(1).map(|before| text[before]) {
        Some(b'<') => true,
        Some(b':') => {
            let prefix = text[..start - 1].iter().rev().take(64).take_while(|byte| is_name(**byte)).count();
            prefix > 0 && text[..start - 1 - prefix].ends_with(b"<")
        }
        _ => false,
    }
}

/// `<input name="token" value="secret">`
fn attribute(text: &[u8], from: usize) -> Option<Range<usize>> {
    let rest = &text[from..text.len().min(from + 300)];
    let rest = &rest[..memchr::memchr(b'>', rest)?];
    let value = memchr::memmem::find(rest, b"value=")? + 6;
    matches!(rest.get(value), Some(b'"' | b'\'')).then(|| quoted(text, from + value)).flatten()
}

/// What stands between the quote at `open` and the next one like it.
fn quoted(text: &[u8], open: usize) -> Option<Range<usize>> {
    let quote = text[open];
    let escaped = open > 0 && text[open - 1] == b'\\';
    let mut at = open + 1;
    loop {
        match text.get(at)? {
            byte if *byte == quote && text.get(at + 1) == Some(&quote) && quote == b'\'' && at > open + 1 => at += 2,
            byte if *byte == quote => return (at > open + 1).then_some(open + 1..at),
            b'\\' if escaped => return (at > open + 1).then_some(open + 1..at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// The secret as it was before it was written between quotes, in a URL or in XML.
fn unescaped<'t>(text: &[u8], at: &Range<usize>, written: &'t [u8]) -> std::borrow::Cow<'t, [u8]> {
    use std::borrow::Cow;
    let quote = at.start.checked_sub(1).map(|before| text[before]);
    match quote {
        Some(b'"') if written.contains(&b'\\') => super::json::unescaped(written).map_or(written.into(), Cow::Owned),
        Some(b'\'') if written.contains(&b'\'') => {
            let one = String::from_utf8_lossy(written).replace("''", "'");
            Cow::Owned(one.into_bytes())
        }
        Some(b'>') if written.contains(&b'&') => {
            let text = String::from_utf8_lossy(written);
            let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&apos;", "'");
            Cow::Owned(text.replace("&#39;", "'").replace("&amp;", "&").into_bytes())
        }
        Some(b'=') => percent_decoded(written, false).unwrap_or(written.into()),
        _ => written.into(),
    }
}

fn web_base64(content: &[u8]) -> String {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    URL_SAFE_NO_PAD.encode(content)
}

/// The name and the value of a line of a head.
pub(super) fn field(line: &Line) -> Option<(&[u8], Range<usize>)> {
    let text = line.text();
    let colon = memchr::memchr(b':', text)?;
    let value = &text[colon + 1..];
    let start = colon + 1 + (value.len() - value.trim_ascii_start().len());
    Some((text[..colon].trim_ascii(), start..start.max(colon + 1 + value.trim_ascii_end().len())))
}
