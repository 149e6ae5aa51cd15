//! Secrets in every place of a message: none stays, equal ones stay equal, and messages stay messages.

mod places;
mod secrets;
mod stays;

use std::collections::BTreeSet;

use proptest::prelude::*;
use regress_cassettes::{
    Cassette, Content, Defect, Store, Turn,
    redact::{Key, Kind, Policy, Redacted, Redactor, RuleText, Rules},
    render,
};
use regress_protocols::{Side, http1::Message};

use super::{arbitrary, call, entry, http, order};
use places::{PLACES, Where};
use secrets::{NAMED, SECRETS};

fn redactor() -> Redactor {
    Redactor::new(Key::of(b"a key of these tests").unwrap(), Policy::default())
}

fn with(policy: Policy) -> Redactor {
    Redactor::new(Key::of(b"a key of these tests").unwrap(), policy)
}

fn rules(text: &str) -> Policy {
    #[derive(serde::Deserialize)]
    struct File {
        rules: Vec<RuleText>,
    }
    let file: File = toml::from_str(text).unwrap();
    Policy { rules: Rules::new(file.rules).unwrap(), ..Policy::default() }
}

/// A cassette with these exchanges, the first of them its entry.
fn of(mut contents: Vec<Content>) -> Cassette {
    let entry = entry(contents.remove(0));
    Cassette { entry: Some(entry), downstream: contents.into_iter().map(call).collect(), ..order() }
}

/// What is written of a cassette: its file and those of its bodies.
fn written(cassette: &Redacted<Cassette>) -> String {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::create(folder.path()).unwrap().sync_later();
    store.write(cassette).unwrap();
    let files = walkdir::WalkDir::new(folder.path())
        .into_iter()
        .map(Result::unwrap)
        .filter(|found| found.file_type().is_file());
    files.map(|file| String::from_utf8_lossy(&std::fs::read(file.path()).unwrap()).into_owned()).collect()
}

/// Looks that messages read back from their bytes.
fn assert_whole(cassette: &Cassette, told: &str) {
    for http in cassette.exchanges().filter_map(|exchange| exchange.http()) {
        for message in [Some(&http.request), http.response.as_ref()].into_iter().flatten() {
            if let Some(length) = message.header_text("content-length") {
                assert_eq!(length, message.body.len().to_string(), "{told}");
            }
            if message.header("content-type") == Some(b"application/json")
                && message.header("content-encoding").is_none()
            {
                let body = serde_json::from_slice::<serde_json::Value>(&message.body);
                assert!(body.is_ok() || message.body.is_empty(), "{told}: {}", message.body.escape_ascii());
            }
        }
    }
}

#[test]
fn secrets_of_known_forms_stay_nowhere() {
    assert!(SECRETS.len() >= 30);
    for (name, secret, telling) in SECRETS {
        let mut tokens = BTreeSet::new();
        for Where { name: place, put, reveal } in PLACES {
            let told = format!("{name} in {place}");
            let before = of(vec![put(secret)]);
            assert!(reveal(&before).contains(telling), "{told} is not where it is looked for: {}", reveal(&before));
            let redacted = redactor().cassette(before);
            let after = reveal(&redacted);
            assert!(!after.contains(telling), "{told} stays: {after}");
            assert!(!written(&redacted).contains(telling), "{told} is written");
            assert!(!redacted.redacted.is_empty() && redacted.replaced().total() > 0, "{told}");
            assert_whole(&redacted, &told);
            let again = redactor().cassette(Cassette::clone(&redacted));
            assert_eq!(*again, *redacted, "{told} is redacted twice");
            let other = Redactor::new(Key::drawn().unwrap(), Policy::default()).cassette(Cassette::clone(&redacted));
            assert_eq!(*other, *redacted, "{told} is redacted again by another key");
            // What keeps its length may be another token, and so may all of a cookie.
            if !place.contains("cookie") && !place.contains("no protocol") {
                tokens.extend(token_in(&after));
            }
        }
        assert!(tokens.len() <= 1, "{name} is {tokens:?}");
    }
}

/// The first token in a text, from its mark on.
fn token_in(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let at = lower.find("redacted").or_else(|| lower.find("ca55e77e"))?;
    Some(text[at..].chars().take_while(char::is_ascii_alphanumeric).collect())
}

#[test]
fn a_secret_known_by_its_place_stays_nowhere_else() {
    for (name, secret, source) in NAMED {
        for Where { name: place, put, reveal } in PLACES {
            let told = format!("{name} in {place}");
            let before = of(vec![source(secret), put(secret)]);
            let second = |cassette: &Cassette| {
                reveal(&Cassette { entry: cassette.downstream.first().cloned(), ..cassette.clone() })
            };
            assert!(second(&before).contains(secret), "{told} is not where it is looked for: {}", second(&before));
            let redacted = redactor().cassette(before);
            let after = second(&redacted);
            assert!(!after.contains(secret), "{told} stays: {after}");
            assert!(!written(&redacted).contains(secret), "{told} is written");
            assert_whole(&redacted, &told);
            assert_eq!(*redactor().cassette(Cassette::clone(&redacted)), *redacted, "{told} is redacted twice");
        }
    }
}

#[test]
fn a_secret_known_by_its_place_stays_in_no_name() {
    let secret = "xK7qT2vPz9LmR4wB8nYc";
    let authorization = format!("Bearer {secret}");
    let part = |head: &str| format!("--x\r\n{head}\r\n\r\n1\r\n--x--\r\n");
    let bodies = [
        ("application/x-www-form-urlencoded", format!("a=1&{secret}=2")),
        ("application/x-www-form-urlencoded", format!("of%20{secret}=2")),
        ("application/json", format!(r#"{{"by token": {{"{secret}": 1}}}}"#)),
        ("application/json", format!(r#"{{"of\u0020{secret}": 1}}"#)),
        ("multipart/form-data; boundary=x", part(&format!(r#"Content-Disposition: form-data; name="{secret}""#))),
        ("multipart/form-data; boundary=x", format!("{secret}\r\n{}", part("Content-Type: text/plain"))),
        ("multipart/form-data; boundary=x", format!("--x\r\n{secret}")),
    ];
    for (content_type, body) in bodies {
        let headers = [("Authorization", authorization.as_str()), ("Content-Type", content_type)];
        let request = Message::request("POST", &format!("/?{secret}=1"), &headers, body.clone());
        let redacted =
            redactor().cassette(of(vec![Content::Http1(http(request, Message::response(204, "", &[], "")))]));
        assert!(!written(&redacted).contains(secret), "{body}");
        assert_whole(&redacted, &body);
        assert_eq!(*redactor().cassette(Cassette::clone(&redacted)), *redacted, "{body} is redacted twice");
    }
}

#[test]
fn one_secret_is_one_token_wherever_it_stands() {
    let password = "c0rrect-horse&battery";
    let login = Message::request(
        "POST",
        "/login?hint=c0rrect-horse%26battery",
        &[("Content-Type", "application/json")],
        format!(r#"{{"password":"{password}"}}"#),
    );
    let basic = Message::request("GET", "/me", &[("Authorization", "Basic YW5uOmMwcnJlY3QtaG9yc2UmYmF0dGVyeQ==")], "");
    let answer = || Message::response(200, "OK", &[("Content-Type", "text/plain")], format!("welcome {password}"));
    let contents = vec![Content::Http1(http(login, answer())), Content::Http1(http(basic, answer()))];
    let redacted = redactor().cassette(of(contents));
    let text = render(&redacted);
    let token = token_in(&text[text.find("hint=").unwrap()..]).unwrap();
    assert_eq!(text.matches(&token).count(), 4, "{text}");
    use base64::Engine;
    let engine = base64::engine::general_purpose::STANDARD;
    let basic = format!("Basic {}", engine.encode(format!("ann:{token}")));
    assert!(text.contains(&basic), "{text}");
}

#[test]
fn what_a_rule_names_is_replaced_and_what_it_keeps_is_not() {
    let request = Message::request(
        "POST",
        "/orders?tenant=blue-42",
        &[("X-Tenant", "green-17"), ("Authorization", "Bearer tok_of_the_test"), ("Cookie", "theme=dark")],
        r#"{"user":{"ssid":"red-99","tags":["a","b"]},"note":"order no. ABC-1234"}"#,
    );
    let cassette = of(vec![Content::Http1(http(request.clone(), Message::response(200, "OK", &[], "")))]);
    let policy = rules(
        "
        [[rules]]
        query = 'tenant'
        [[rules]]
        header = 'x-tenant'
        route = 'POST /orders*'
        [[rules]]
        pointer = '/user/ssid'
        [[rules]]
        pointer = '/user/tags/1'
        [[rules]]
        pattern = 'order no. ([A-Z]+-[0-9]+)'
        [[rules]]
        cookie = 'theme'
        [[rules]]
        header = 'authorization'
        keep = true
        ",
    );
    let redacted = with(policy).cassette(cassette.clone());
    let text = render(&redacted);
    for secret in ["blue-42", "green-17", "red-99", "ABC-1234", "dark", "\"b\""] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
    assert!(
        text.contains("Bearer tok_of_the_test") && text.contains("order no. REDACTED") && text.contains("\"a\""),
        "{text}"
    );
    assert_eq!(redacted.redacted.iter().collect::<Vec<_>>(), ["rule"]);
    let keep = Policy { keep: vec!["tok_*".to_owned()], ..Policy::default() };
    assert_eq!(*with(keep).cassette(cassette.clone()), cassette);
    let elsewhere = rules("[[rules]]\nheader = 'x-tenant'\nroute = 'GET /orders*'");
    assert!(render(&with(elsewhere).cassette(cassette)).contains("green-17"));
}

#[test]
fn addresses_for_mail_are_secrets_where_somebody_says_so() {
    let request = Message::request(
        "POST",
        "/users",
        &[],
        r#"{"mail":"Ann.Smith+shop@mail.example.org","text":"to <bob@example.net>."}"#,
    );
    let cassette = of(vec![Content::Http1(http(request, Message::response(200, "OK", &[], "")))]);
    assert_eq!(*redactor().cassette(cassette.clone()), cassette);
    let redacted = with(Policy { email: true, ..Policy::default() }).cassette(cassette);
    let text = render(&redacted);
    assert!(
        !text.contains("example.org") && !text.contains("bob@") && text.matches("@example.com").count() == 2,
        "{text}"
    );
}

#[test]
fn the_count_tells_kinds_and_places() {
    let request = Message::request(
        "GET",
        "/a?api_key=abcdefgh12",
        &[("Authorization", "Bearer abcdefgh123"), ("Cookie", "sid=abc12345; b=c")],
        "",
    );
    let redacted = redactor().cassette(of(vec![Content::Http1(http(request, Message::response(200, "OK", &[], "")))]));
    let rows: Vec<_> = redacted.replaced().rows().map(|(kind, place, count)| (kind, place.word(), count)).collect();
    assert_eq!(rows, [(Kind::Authorization, "header", 1), (Kind::Cookie, "header", 1), (Kind::ApiKey, "target", 1)]);
    assert_eq!(redacted.redacted.iter().collect::<Vec<_>>(), ["api-key", "authorization", "cookie"]);
}

#[test]
fn a_body_that_cannot_be_read_is_replaced_as_a_whole() {
    let coded = b"\xff\xfe hunter2-secret".to_vec();
    let response = Message::response(200, "OK", &[("Content-Encoding", "lzma")], coded);
    let redacted = redactor().cassette(of(vec![Content::Http1(http(Message::request("GET", "/", &[], ""), response))]));
    assert!(!written(&redacted).contains("hunter2"));
    assert_eq!(redacted.entry.as_ref().unwrap().defects, [Defect::Encrypted]);
    assert_eq!(*redactor().cassette(Cassette::clone(&redacted)), *redacted);
}

#[test]
fn bytes_of_no_protocol_keep_their_length() {
    let said = b"\x00\x20AUTH password=hunter2-secret;\xff\x00".to_vec();
    let turns = |bytes: &[u8]| Content::Opaque(vec![Turn { from: Side::Client, bytes: bytes.to_vec().into() }]);
    let redacted = redactor().cassette(of(vec![turns(&said)]));
    let Content::Opaque(after) = &redacted.entry.as_ref().unwrap().content else { panic!("it is opaque") };
    assert_eq!(after[0].bytes.len(), said.len());
    assert!(!after[0].bytes.windows(7).any(|part| part == b"hunter2"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_cassette_is_redacted_once(cassette in arbitrary::cassette()) {
        let once = redactor().cassette(cassette);
        let twice = redactor().cassette(Cassette::clone(&once));
        prop_assert_eq!(&*twice, &*once);
    }

    #[test]
    fn any_text_around_a_secret_lets_none_stay(before in "[ -~\\n]{0,40}", after in "[ -~\\n]{0,40}", number in 0..SECRETS.len()) {
        let (_, secret, telling) = SECRETS[number];
        let body = serde_json::json!({ "before": before, "a": format!("{before} {secret} {after}"), "after": after }).to_string();
        let request = Message::request("POST", "/", &[("Content-Type", "application/json")], body);
        let redacted = redactor().cassette(of(vec![Content::Http1(http(request, Message::response(200, "OK", &[], "")))]));
        let body = &redacted.entry.as_ref().unwrap().http().unwrap().request.body;
        let value: serde_json::Value = serde_json::from_slice(body).unwrap();
        prop_assert!(!value["a"].as_str().unwrap().contains(telling), "{}", value);
        let twice = redactor().cassette(Cassette::clone(&redacted));
        prop_assert_eq!(&*twice, &*redacted);
    }

    #[test]
    fn any_bytes_are_taken(body in prop::collection::vec(any::<u8>(), 0..300), content_type in prop::sample::select(vec![
        "application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=a", "application/grpc", "application/xml", "text/plain",
    ])) {
        let message = Message::request("POST", "/", &[("Content-Type", content_type)], body);
        let once = redactor().cassette(of(vec![Content::Http1(http(message, Message::response(200, "OK", &[], "")))]));
        let twice = redactor().cassette(Cassette::clone(&once));
        prop_assert_eq!(&*twice, &*once);
    }
}
