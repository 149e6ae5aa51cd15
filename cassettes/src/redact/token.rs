//! What stands in place of a secret: as long, of the same form, and known by itself to be no secret.
//!
//! That a text is a token is told by a mark in it, without the key, so that what was redacted is not redacted again, by
//! whomever. Of a text the mark is its beginning `redacted`, of hexadecimal digits and UUIDs the end `ca55e77e`, of other
//! digits the beginning `90909`, of a card the zeros behind its issuer.

use super::{
    forms::{self, Credential},
    key::{Key, Stream},
};

const MARK: &[u8] = b"redacted";
const UPPER_MARK: &[u8] = b"REDACTED";
const HEX_MARK: &[u8] = b"ca55e77e";
const DIGIT_MARK: &[u8] = b"90909";

/// The shortest token of a text, which hides how long a short secret is; and the longest.
const TEXT: (usize, usize) = (16, 4096);
/// The fewest digits of a number that stands for a number.
const DIGITS: usize = 9;
/// The fewest hexadecimal digits that are told from a word.
const HEX: usize = 16;
/// As many zeros stand behind the issuer of a card.
const ZEROS: usize = 5;

const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const UPPER: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const LOWER: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
const HEX_DIGITS: &[u8] = b"0123456789abcdef";
const DECIMALS: &[u8] = b"0123456789";

/// What a secret looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// A UUID.
    Uuid,
    /// The number of a card, perhaps in groups; how many digits its issuer has.
    Card(usize),
    /// Digits.
    Digits,
    /// Hexadecimal digits; whether in upper case.
    Hex(bool),
    /// A text whose beginning, so long, says what it is.
    Text(usize),
}

fn form(secret: &[u8]) -> Form {
    if is_uuid(secret) {
        return Form::Uuid;
    }
    if let Some(issuer) = forms::card(secret) {
        return Form::Card(issuer);
    }
    if secret.iter().all(u8::is_ascii_digit) && !secret.is_empty() {
        return Form::Digits;
    }
    let is_hex = |is: fn(&u8) -> bool| secret.iter().all(|byte| byte.is_ascii_digit() || is(byte));
    if secret.len() >= HEX {
        if is_hex(|byte| matches!(byte, b'a'..=b'f')) {
            return Form::Hex(false);
        }
        if is_hex(|byte| matches!(byte, b'A'..=b'F')) {
            return Form::Hex(true);
        }
    }
    let known = forms::prefix_of(secret).map_or(0, |credential: &Credential| credential.prefix.len());
    Form::Text(known)
}

fn is_uuid(text: &[u8]) -> bool {
    let fits = |(index, byte): (usize, &u8)| match index {
        8 | 13 | 18 | 23 => *byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    text.len() == 36 && text.iter().enumerate().all(fits)
}

/// Whether a text is a token already.
pub(super) fn is_token(text: &[u8]) -> bool {
    match form(text) {
        Form::Uuid | Form::Hex(_) => {
            text.len() >= HEX && text[text.len() - HEX_MARK.len()..].eq_ignore_ascii_case(HEX_MARK)
        }
        Form::Card(issuer) => {
            let digits = || text.iter().filter(|byte| byte.is_ascii_digit());
            digits().skip(issuer).take(ZEROS).all(|digit| *digit == b'0')
        }
        Form::Digits => text.len() >= DIGITS && text.starts_with(DIGIT_MARK),
        Form::Text(known) => {
            let rest = &text[known..];
            is_marked(rest) && (rest.len() >= TEXT.0 || known > 0) && {
                let letters = rest.trim_ascii_end();
                letters.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'=')
            }
        }
    }
}

/// Whether a text begins with the mark of texts.
pub(super) fn is_marked(text: &[u8]) -> bool {
    text.starts_with(MARK) || text.starts_with(UPPER_MARK)
}

/// The token that stands for a secret.
pub(super) fn token(key: &Key, secret: &[u8]) -> Vec<u8> {
    let form = form(secret);
    let significant: Vec<u8> = match form {
        Form::Card(_) => secret.iter().copied().filter(u8::is_ascii_digit).collect(),
        _ => secret.to_vec(),
    };
    let mut stream = key.stream(&significant);
    match form {
        Form::Uuid => uuid(&mut stream, secret),
        Form::Card(issuer) => card(&mut stream, secret, issuer),
        Form::Digits => digits(&mut stream, secret.len().max(DIGITS)),
        Form::Hex(upper) => hex(&mut stream, secret.len().min(TEXT.1), upper),
        Form::Text(known) => {
            let (prefix, rest) = secret.split_at(known);
            let shortest = if known > 0 { MARK.len() + 4 } else { TEXT.0 };
            [prefix, &text(&mut stream, rest, rest.len().clamp(shortest, TEXT.1))].concat()
        }
    }
}

/// A token exactly as long as the secret, for where lengths are written down nearby. Where it is too short for a token, all secrets of
/// the length have the same.
pub(super) fn token_of_length(key: &Key, secret: &[u8]) -> Vec<u8> {
    let made = token(key, secret);
    if made.len() == secret.len() {
        return made;
    }
    if secret.len() >= TEXT.0 {
        return text(&mut key.stream(secret), secret, secret.len());
    }
    MARK.iter().copied().cycle().take(secret.len()).collect()
}

/// Whether a text may be a token of a length that was given.
pub(super) fn is_token_of_length(text: &[u8]) -> bool {
    is_token(text) || (text.len() < TEXT.0 && text.iter().zip(MARK.iter().cycle()).all(|(is, wanted)| is == wanted))
}

fn text(stream: &mut Stream, like: &[u8], length: usize) -> Vec<u8> {
    let has = |is: fn(&u8) -> bool| like.iter().any(is);
    let (mark, alphabet) = match (has(u8::is_ascii_uppercase), has(u8::is_ascii_lowercase)) {
        (true, false) => (UPPER_MARK, UPPER),
        (true, true) => (MARK, LETTERS),
        (false, _) => (MARK, LOWER),
    };
    let padding = like.iter().rev().take(2).take_while(|byte| **byte == b'=').count();
    let mut token: Vec<u8> = mark.iter().copied().chain(stream.letters(alphabet, length - mark.len())).collect();
    // What is base64 stays base64: before padding there are bits that have to be zero.
    let (end, from) = (token.len(), token.len() - padding);
    token[from..end].fill(b'=');
    if padding > 0 {
        token[from - 1] = b'A';
    }
    token
}

fn hex(stream: &mut Stream, length: usize, upper: bool) -> Vec<u8> {
    let mut token: Vec<u8> = stream.letters(HEX_DIGITS, length - HEX_MARK.len()).collect();
    token.extend_from_slice(HEX_MARK);
    if upper {
        token.make_ascii_uppercase();
    }
    token
}

fn digits(stream: &mut Stream, length: usize) -> Vec<u8> {
    DIGIT_MARK.iter().copied().chain(stream.letters(DECIMALS, length - DIGIT_MARK.len())).collect()
}

/// Version and variant stay, so that whoever reads it takes it for what it was.
fn uuid(stream: &mut Stream, secret: &[u8]) -> Vec<u8> {
    let mut token = secret.to_vec();
    for (index, byte) in token.iter_mut().enumerate() {
        match index {
            8 | 13 | 14 | 18 | 19 | 23 => {}
            28.. => *byte = HEX_MARK[index - 28],
            _ => *byte = stream.letter(HEX_DIGITS),
        }
    }
    if secret.iter().any(u8::is_ascii_uppercase) {
        token.make_ascii_uppercase();
    }
    token
}

/// The issuer stays, as do groups; the last digit is the checksum.
fn card(stream: &mut Stream, secret: &[u8], issuer: usize) -> Vec<u8> {
    let mut token = secret.to_vec();
    let places: Vec<usize> = (0..secret.len()).filter(|at| secret[*at].is_ascii_digit()).collect();
    for (number, at) in places.iter().enumerate().skip(issuer) {
        token[*at] = if number < issuer + ZEROS { b'0' } else { stream.letter(DECIMALS) };
    }
    if let Some(last) = places.last() {
        let right = (b'0'..=b'9').find(|digit| {
            token[*last] = *digit;
            forms::has_checksum(&token)
        });
        token[*last] = right.expect("one digit of ten makes the sum a multiple of ten");
    }
    token
}

/// Signed or encrypted parts of a JSON Web Token.
pub(super) fn web_part(stream: &mut Stream, length: usize, marked: bool) -> Vec<u8> {
    let mark = if marked && length >= TEXT.0 { MARK } else { b"" };
    let mut part: Vec<u8> = mark.iter().copied().chain(stream.letters(LETTERS, length - mark.len())).collect();
    if let (Some(last), true) = (part.last_mut(), !length.is_multiple_of(4)) {
        *last = b'A';
    }
    part
}

/// The body of a private key: what is base64 is replaced, line breaks and whatever else stands there stay.
pub(super) fn pem_body(key: &Key, body: &[u8]) -> Vec<u8> {
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    let significant: Vec<u8> = significant(body);
    let mut mark = MARK.iter();
    let mut stream = key.stream(&significant);
    let mut token = Vec::with_capacity(body.len());
    let mut escaped = false;
    for byte in body {
        let is_escape = escaped;
        escaped = *byte == b'\\' && !is_escape;
        token.push(match is_base64(byte) && !is_escape {
            true => mark.next().copied().unwrap_or_else(|| stream.letter(LETTERS)),
            false => *byte,
        });
    }
    token
}

/// Whether the body of a private key was replaced.
pub(super) fn is_pem_token(body: &[u8]) -> bool {
    significant(body).starts_with(MARK)
}

/// What is base64 in the body of a private key, whose line breaks may be escaped.
fn significant(body: &[u8]) -> Vec<u8> {
    let mut escaped = false;
    let is_kept = |byte: &&u8| {
        let is_escape = escaped;
        escaped = **byte == b'\\' && !is_escape;
        !is_escape && (byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
    };
    body.iter().filter(is_kept).copied().collect()
}

/// An address for mail.
pub(super) fn email(key: &Key, address: &[u8]) -> Vec<u8> {
    let mut stream = key.stream(&address.to_ascii_lowercase());
    let local = MARK.iter().copied().chain(stream.letters(LOWER, 8));
    local.chain(b"@example.com".iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRETS: &[&str] = &[
        "hunter2",
        "a",
        "1234",
        "123456789012",
        "correct horse battery staple",
        "ghp_0123456789abcdefghijABCDEFGHIJ012345",
        "AKIAIOSFODNN7EXAMPLE",
        "9f8b6c1e-5d0a-4c3b-8e2f-0123456789ab",
        "9F8B6C1E-5D0A-4C3B-8E2F-0123456789AB",
        "d41d8cd98f00b204e9800998ecf8427e",
        "D41D8CD98F00B204E9800998ECF8427E",
        "4111 1111 1111 1111",
        "378282246310005",
        "2223003122003222",
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
        "p\u{e4}ssw\u{f6}rd",
    ];

    fn key() -> Key {
        Key::of(b"a key of this test").unwrap()
    }

    #[test]
    fn a_token_is_one_and_no_secret_is() {
        for secret in SECRETS.iter().map(|secret| secret.as_bytes()) {
            let made = token(&key(), secret);
            assert!(!is_token(secret), "{}", secret.escape_ascii());
            assert!(is_token(&made), "{}", made.escape_ascii());
            assert_eq!(made, token(&key(), secret));
            assert_ne!(made, token(&Key::drawn().unwrap(), secret), "{}", made.escape_ascii());
            let fixed = token_of_length(&key(), secret);
            assert_eq!(fixed.len(), secret.len());
            assert!(is_token_of_length(&fixed) && !is_token_of_length(secret), "{}", fixed.escape_ascii());
        }
    }

    #[test]
    fn a_token_keeps_the_form() {
        let made = |secret: &str| String::from_utf8(token(&key(), secret.as_bytes())).unwrap();
        for secret in SECRETS.iter().filter(|secret| secret.len() >= 16 && secret.is_ascii()) {
            assert_eq!(made(secret).len(), secret.len(), "{secret}");
        }
        assert_eq!((made("hunter2").len(), made("a").len(), made("1234").len()), (16, 16, 9));
        assert!(made("1234").bytes().all(|byte| byte.is_ascii_digit()));
        assert!(made("AKIAIOSFODNN7EXAMPLE").starts_with("AKIAREDACTED"));
        assert!(made("ghp_0123456789abcdefghijABCDEFGHIJ012345").starts_with("ghp_redacted"));
        let card = made("4111 1111 1111 1111");
        assert!(card.starts_with("4000 00") && forms::card(card.as_bytes()) == Some(1), "{card}");
        assert_eq!(card.replace(' ', ""), made("4111111111111111"));
        assert!(made("9f8b6c1e-5d0a-4c3b-8e2f-0123456789ab").contains("-4"));
        use base64::Engine;
        let padded = made(SECRETS[15]);
        assert!(base64::engine::general_purpose::STANDARD.decode(padded).is_ok());
    }

    #[test]
    fn bodies_of_private_keys_keep_their_lines() {
        let body = b"\nMIIEpAIBAAKCAQEA\\nrest/of+it==\n";
        let made = pem_body(&key(), body);
        assert_eq!(made.len(), body.len());
        assert!(is_pem_token(&made) && !is_pem_token(body));
        assert!(made.starts_with(b"\nredacted") && made.ends_with(b"==\n"));
        assert_eq!(made.windows(2).filter(|two| two == b"\\n").count(), 1);
    }
}
