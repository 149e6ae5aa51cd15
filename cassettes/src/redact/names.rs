//! Names behind which secrets stand: of headers, cookies, members, columns, fields.

use super::report::Kind;

/// Longer names are looked at from their end.
const LONGEST: usize = 64;

/// What names of secrets have in them, in lower case: a name without any of these needs no second look.
pub(super) const STEMS: &[&str] = &[
    "pass",
    "pwd",
    "secret",
    "token",
    "key",
    "auth",
    "credential",
    "sess",
    "sid",
    "csrf",
    "xsrf",
    "jwt",
    "otp",
    "cvv",
    "cvc",
    "cv2",
    "pin",
    "ssn",
    "identified",
    "signature",
    "sig=",
];

/// Last words by which a name is about a secret and not of it: `token_type`, `password_hint`.
const ABOUT: &[&str] = &[
    "type",
    "types",
    "count",
    "counts",
    "limit",
    "length",
    "len",
    "size",
    "expires",
    "expiry",
    "expiration",
    "exp",
    "url",
    "uri",
    "endpoint",
    "name",
    "names",
    "hint",
    "policy",
    "format",
    "field",
    "fields",
    "label",
    "required",
    "enabled",
    "disabled",
    "method",
    "algorithm",
    "alg",
    "ttl",
    "at",
    "in",
    "on",
    "version",
    "strength",
    "reset",
    "status",
    "state",
    "index",
    "valid",
    "changed",
    "updated",
    "created",
    "age",
    "description",
    "placeholder",
    "help",
    "error",
    "errors",
    "link",
    "file",
    "path",
    "ref",
];

/// Words that make a token one that anybody may see: of a page, or of a text.
const HARMLESS: &[&str] = &[
    "page",
    "next",
    "prev",
    "previous",
    "continuation",
    "sync",
    "cursor",
    "max",
    "min",
    "total",
    "prompt",
    "completion",
    "input",
    "output",
    "usage",
    "num",
    "cached",
    "reasoning",
];

/// How names of secrets end, words written together.
const ENDS: &[(&str, Kind)] = &[
    ("password", Kind::Password),
    ("passwords", Kind::Password),
    ("passwd", Kind::Password),
    ("passphrase", Kind::Password),
    ("passcode", Kind::Password),
    ("userpass", Kind::Password),
    ("dbpass", Kind::Password),
    ("apikey", Kind::ApiKey),
    ("apikeys", Kind::ApiKey),
    ("secretkey", Kind::ApiKey),
    ("secretaccesskey", Kind::ApiKey),
    ("accesskey", Kind::ApiKey),
    ("authkey", Kind::ApiKey),
    ("appkey", Kind::ApiKey),
    ("accountkey", Kind::ApiKey),
    ("masterkey", Kind::ApiKey),
    ("functionskey", Kind::ApiKey),
    ("servicekey", Kind::ApiKey),
    ("sharedkey", Kind::ApiKey),
    ("licensekey", Kind::ApiKey),
    ("subscriptionkey", Kind::ApiKey),
    ("encryptionkey", Kind::ApiKey),
    ("signingkey", Kind::ApiKey),
    ("sessionkey", Kind::ApiKey),
    ("privatekey", Kind::PrivateKey),
    ("sharedaccesssignature", Kind::ApiKey),
    ("amzsignature", Kind::ApiKey),
    ("googsignature", Kind::ApiKey),
    ("sessionid", Kind::Token),
    ("sessid", Kind::Token),
    ("authorization", Kind::Authorization),
];

/// Names that are one word.
const WHOLE: &[(&str, Kind)] = &[
    ("auth", Kind::Token),
    ("xauth", Kind::Token),
    ("pass", Kind::Password),
    ("sid", Kind::Token),
    ("sig", Kind::ApiKey),
    ("bearer", Kind::Token),
    ("requirepass", Kind::Password),
    ("masterauth", Kind::Password),
];

/// What kind of secret stands behind a name, in whatever case and however its words are joined; `None` behind others.
pub(super) fn secret(name: &[u8]) -> Option<Kind> {
    let mut words = [0; LONGEST];
    let words = words_of(name, &mut words);
    let (first, last) = (words.split(|byte| *byte == b'_').next()?, words.rsplit(|byte| *byte == b'_').next()?);
    let mut joined = [0; LONGEST];
    let mut length = 0;
    for byte in words.iter().filter(|byte| **byte != b'_') {
        joined[length] = *byte;
        length += 1;
    }
    let joined = &joined[..length];
    let whole = WHOLE.iter().find(|(name, _)| joined == name.as_bytes());
    let ends = || ENDS.iter().find(|(end, _)| joined.ends_with(end.as_bytes()));
    if let Some((_, kind)) = whole.or_else(ends) {
        return Some(*kind);
    }
    if ABOUT.iter().any(|about| last == about.as_bytes()) || matches!(first, b"has" | b"is" | b"needs" | b"requires") {
        return None;
    }
    let has = |wanted: &[u8]| words.split(|byte| *byte == b'_').any(|word| word == wanted);
    for word in words.split(|byte| *byte == b'_') {
        match word {
            b"password" | b"passwd" | b"pwd" | b"passphrase" | b"passcode" | b"pin" | b"otp" | b"cvv" | b"cvv2"
            | b"cvc" | b"cvc2" | b"cv2" | b"ssn" => return Some(Kind::Password),
            b"csrf" | b"xsrf" | b"csrfmiddlewaretoken" | b"jwt" => return Some(Kind::Token),
            b"secret" | b"secrets" => return Some(Kind::Secret),
            _ => {}
        }
    }
    match last {
        b"pass" => Some(Kind::Password),
        b"token" | b"tokens" if HARMLESS.iter().any(|word| has(word.as_bytes())) => None,
        b"credential" | b"credentials" => Some(Kind::Secret),
        // `accesstoken`, `authtoken`
        _ if last.ends_with(b"token") || last == b"tokens" => Some(Kind::Token),
        _ if last.ends_with(b"secret") => Some(Kind::Secret),
        _ => None,
    }
}

/// What is behind the name of a cookie; unlike elsewhere, an identity (`sid`, `session`) is one to log in with.
pub(super) fn is_secret_cookie(name: &[u8]) -> bool {
    let has = |wanted: &[u8]| name.windows(wanted.len()).any(|part| part.eq_ignore_ascii_case(wanted));
    let parts: [&[u8]; 8] = [b"sess", b"sid", b"auth", b"token", b"jwt", b"remember", b"login", b"user"];
    secret(name).is_some() || parts.into_iter().any(has)
}

/// The words of a name in lower case with `_` between them.
fn words_of<'b>(name: &[u8], buffer: &'b mut [u8; LONGEST]) -> &'b [u8] {
    let name = &name[name.len().saturating_sub(LONGEST / 2)..];
    let mut length = 0;
    for (index, byte) in name.iter().enumerate() {
        let before = index.checked_sub(1).map(|before| name[before]);
        let begins = byte.is_ascii_uppercase() && before.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let ends = byte.is_ascii_uppercase()
            && before.is_some_and(|b| b.is_ascii_uppercase())
            && name.get(index + 1).is_some_and(u8::is_ascii_lowercase);
        if (begins || ends) && length > 0 && buffer[length - 1] != b'_' {
            buffer[length] = b'_';
            length += 1;
        }
        if byte.is_ascii_alphanumeric() {
            buffer[length] = byte.to_ascii_lowercase();
            length += 1;
        } else if length > 0 && buffer[length - 1] != b'_' {
            buffer[length] = b'_';
            length += 1;
        }
    }
    if length > 0 && buffer[length - 1] == b'_' {
        length -= 1;
    }
    &buffer[..length]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets() {
        for (name, kind) in [
            ("password", Kind::Password),
            ("userPassword", Kind::Password),
            ("user[password]", Kind::Password),
            ("new_password_confirmation", Kind::Password),
            ("DB_PASS", Kind::Password),
            ("PGPASSWORD", Kind::Password),
            ("pwd", Kind::Password),
            ("pin", Kind::Password),
            ("cvv2", Kind::Password),
            ("X-Api-Key", Kind::ApiKey),
            ("APIKey", Kind::ApiKey),
            ("Ocp-Apim-Subscription-Key", Kind::ApiKey),
            ("AWSSecretAccessKey", Kind::ApiKey),
            ("X-Amz-Signature", Kind::ApiKey),
            ("access_token", Kind::Token),
            ("accesstoken", Kind::Token),
            ("X-Auth-Token", Kind::Token),
            ("csrfmiddlewaretoken", Kind::Token),
            ("_csrf", Kind::Token),
            ("id_token_hint_jwt", Kind::Token),
            ("client_secret", Kind::Secret),
            ("clientSecretValue", Kind::Secret),
            ("credentials", Kind::Secret),
            ("Proxy-Authorization", Kind::Authorization),
            ("privateKey", Kind::PrivateKey),
            ("JSESSIONID", Kind::Token),
        ] {
            assert_eq!(secret(name.as_bytes()), Some(kind), "{name}");
        }
    }

    #[test]
    fn names_of_what_anybody_may_see() {
        for name in [
            "",
            "_",
            "name",
            "key",
            "keys",
            "primary_key",
            "key_id",
            "author",
            "authored_by",
            "authority",
            "token_type",
            "next_page_token",
            "nextPageToken",
            "max_tokens",
            "total_tokens",
            "completion_tokens",
            "token_count",
            "shipping",
            "pinned",
            "spinner",
            "passenger",
            "compass",
            "password_hint",
            "password_changed_at",
            "has_secret",
            "secretary",
            "etag",
            "idempotency-key",
            "Sec-WebSocket-Key",
            "surrogate-key",
            "side",
            "inside",
            "session",
            "bypass_cache",
            "monkey",
            "signature_algorithm",
            "expires_at",
            "tokenizer",
            "keyboard",
        ] {
            assert_eq!(secret(name.as_bytes()), None, "{name}");
        }
    }
}
