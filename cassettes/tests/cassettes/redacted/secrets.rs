//! Secrets, made up for these tests. Those of well-known forms are put together here, so that no scanner of repositories takes this
//! file for a leak.

use regress_cassettes::Content;
use regress_protocols::{Value, http1::Message, wire::Protocol};

use super::{http, places::value};

/// Name, secret, and a part of it that must not stay anywhere.
pub const SECRETS: &[(&str, &str, &str)] = &[
    ("aws access key", concat!("AKIA", "QWERTYUIOPASDFGH"), "QWERTYUIOPASDFGH"),
    ("aws session key", concat!("ASIA", "QWERTYUIOPASDFGH"), "QWERTYUIOPASDFGH"),
    ("github token", concat!("ghp", "_Ab1Cd2Ef3Gh4Ij5Kl6Mn7Op8Qr9St0Uv1Wx2Yz"), "Ab1Cd2Ef3Gh4"),
    ("github fine-grained token", concat!("github", "_pat_11ABCDEFG0abcdefghij_KLMNOP"), "11ABCDEFG0"),
    ("gitlab token", concat!("glpat", "-Ab1Cd2Ef3Gh4Ij5Kl6Mn"), "Ab1Cd2Ef3"),
    ("slack bot token", concat!("xoxb", "-123456789012-Ab1Cd2Ef3Gh4"), "Ab1Cd2Ef3"),
    ("slack user token", concat!("xoxp", "-123456789012-Ab1Cd2Ef3Gh4"), "Ab1Cd2Ef3"),
    (
        "slack hook",
        concat!("https://hooks.slack.com", "/services/T0AB1CD2E/B0AB1CD2E/Ab1Cd2Ef3Gh4Ij5Kl6Mn7"),
        "Ab1Cd2Ef3",
    ),
    ("stripe key", concat!("sk", "_live_51Ab1Cd2Ef3Gh4Ij5Kl6"), "51Ab1Cd2"),
    ("stripe restricted key", concat!("rk", "_live_51Ab1Cd2Ef3Gh4Ij5Kl6"), "51Ab1Cd2"),
    ("google api key", concat!("AIza", "SyAb1Cd2Ef3Gh4Ij5Kl6Mn7Op8Qr9St0Uv1"), "SyAb1Cd2"),
    ("google client secret", concat!("GOCSPX", "-Ab1Cd2Ef3Gh4Ij5Kl6Mn7Op8Qr9S"), "Ab1Cd2Ef3"),
    ("google access token", concat!("ya29", ".a0Ab1Cd2Ef3Gh4Ij5Kl6Mn7"), "a0Ab1Cd2"),
    ("openai key", concat!("sk", "-proj-Ab1Cd2Ef3Gh4Ij5Kl6Mn7"), "Ab1Cd2Ef3"),
    ("anthropic key", concat!("sk", "-ant-api03-Ab1Cd2Ef3Gh4Ij5Kl6Mn7"), "Ab1Cd2Ef3"),
    ("npm token", concat!("npm", "_Ab1Cd2Ef3Gh4Ij5Kl6Mn7Op8Qr9St0Uv1Wx2"), "Ab1Cd2Ef3"),
    ("pypi token", concat!("pypi", "-AgEIcHlwaS5vcmcCJAb1Cd2Ef3Gh4Ij5Kl6Mn7Op8Qr9St0Uv1Wx2Yz3Ab"), "Ab1Cd2Ef3"),
    ("sendgrid key", concat!("SG", ".Ab1Cd2Ef3Gh4Ij5Kl6Mn7O.Ab1Cd2Ef3Gh4Ij5Kl6Mn7Op8Qr9St0Uv1Wx2Yz3Ab4"), "Ab1Cd2Ef3"),
    ("mailgun key", concat!("key", "-0123456789abcdef0123456789abcdef"), "0123456789abcdef"),
    ("shopify token", concat!("shpat", "_0123456789abcdef0123456789abcdef"), "0123456789abcdef"),
    (
        "digitalocean token",
        concat!("dop_v1", "_0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"),
        "0123456789abcdef",
    ),
    ("vault token", concat!("hvs", ".Ab1Cd2Ef3Gh4Ij5Kl6Mn7Op8Qr"), "Ab1Cd2Ef3"),
    ("databricks token", concat!("dapi", "0123456789abcdef0123456789abcdef"), "0123456789abcdef"),
    ("square token", concat!("sq0atp", "-Ab1Cd2Ef3Gh4Ij5Kl6Mn7O"), "Ab1Cd2Ef3"),
    ("linear key", concat!("lin_api", "_Ab1Cd2Ef3Gh4Ij5Kl6Mn7Op8Qr9St0Uv1Wx2Yz34"), "Ab1Cd2Ef3"),
    ("hugging face token", concat!("hf", "_Ab1Cd2Ef3Gh4Ij5Kl6Mn7Op8Qr9St0Uv1W"), "Ab1Cd2Ef3"),
    ("docker token", concat!("dckr_pat", "_Ab1Cd2Ef3Gh4Ij5Kl6Mn7Op8Qr9S"), "Ab1Cd2Ef3"),
    ("grafana token", concat!("glsa", "_Ab1Cd2Ef3Gh4Ij5Kl6Mn7Op8Qr9St0Uv_1a2b3c4d"), "Ab1Cd2Ef3"),
    (
        "postman key",
        concat!("PMAK", "-0123456789abcdef01234567-0123456789abcdef0123456789abcdef01"),
        "0123456789abcdef",
    ),
    ("telegram bot", concat!("123456789", ":AAAb1Cd2Ef3Gh4Ij5Kl6Mn7Op8Qr9St0Uv1"), "Ab1Cd2Ef3"),
    (
        "json web token",
        concat!(
            "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9",
            ".eyJzdWIiOiI0MiIsImV4cCI6MTc2NDM2MjQ5OX0.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c"
        ),
        "SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c",
    ),
    (
        "encrypted json web token",
        concat!(
            "eyJhbGciOiJkaXIiLCJlbmMiOiJBMTI4R0NNIn0",
            "..Ab1Cd2Ef3Gh4Ij5K.SflKxwRJSMeKKF2QT4fwpMeJ.Ab1Cd2Ef3Gh4Ij5Kl6Mn7O"
        ),
        "SflKxwRJSMeKKF2QT4fwpMeJ",
    ),
    (
        "private key",
        concat!(
            "-----BEGIN RSA",
            " PRIVATE KEY-----\nMIIEpAIBAAKCAQEAAb1Cd2Ef3Gh4Ij5Kl6Mn7\nOp8Qr9St0Uv1Wx2Yz3==\n-----END RSA PRIVATE KEY-----"
        ),
        "AAb1Cd2Ef3",
    ),
    (
        "private key of ssh",
        concat!(
            "-----BEGIN OPENSSH",
            " PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABAb1Cd2Ef3Gh4\n-----END OPENSSH PRIVATE KEY-----"
        ),
        "Ab1Cd2Ef3",
    ),
    ("visa", "4111111111111111", "4111111111111111"),
    ("mastercard in groups", "5555-5555-5555-4444", "5555-5555-4444"),
    ("american express", "378282246310005", "378282246310005"),
    ("password in an address", "postgres://shop:h0rse-battery@db/shop", "h0rse-battery"),
    ("user token in an address", concat!("https://", "Ab1Cd2Ef3Gh4Ij5Kl6@git.example.org/a.git"), "Ab1Cd2Ef3"),
];

/// A name, a secret, and where it is known by its place.
type Named = (&'static str, &'static str, fn(&str) -> Content);

/// Secrets that look like nothing.
pub const NAMED: &[Named] = &[
    ("password", "h0rse-battery", |secret| {
        post("/login", &[("Content-Type", "application/json")], format!(r#"{{"user":"ann","password":"{secret}"}}"#))
    }),
    ("password with signs", "h0r'se&bat tery", |secret| {
        post("/login", &[("Content-Type", "application/json")], format!(r#"{{"password":"{secret}"}}"#))
    }),
    ("form", "h0rse-battery", |secret| {
        post(
            "/login",
            &[("Content-Type", "application/x-www-form-urlencoded")],
            format!("user%5Bname%5D=ann&user%5Bpassword%5D={secret}"),
        )
    }),
    ("bearer", "0paque.token-of~ours", |secret| {
        post("/", &[("Authorization", &format!("Bearer {secret}"))], String::new())
    }),
    ("api key", "0paque-key-of-ours", |secret| post("/", &[("X-Api-Key", secret)], String::new())),
    ("cookie", "s%3A0paque.session".split_at(4).1, |secret| {
        post("/", &[("Cookie", &format!("theme=dark; connect.sid={secret}"))], String::new())
    }),
    ("set-cookie", "0paque-session-id", |secret| {
        let response =
            Message::response(200, "OK", &[("Set-Cookie", &format!("session={secret}; HttpOnly; Path=/"))], "");
        Content::Http1(http(Message::request("GET", "/", &[], ""), response))
    }),
    ("query", "0paque-key-of-ours", |secret| post(&format!("/?access_token={secret}"), &[], String::new())),
    ("hexadecimal", "0123456789abcdef0123456789abcdef", |secret| post("/", &[("X-Auth-Token", secret)], String::new())),
    ("uuid", "9f8b6c1e-5d0a-4c3b-8e2f-0123456789ab", |secret| post("/", &[("X-Auth-Token", secret)], String::new())),
    ("sql literal", "h0rse-battery", |secret| {
        value(Protocol::Postgres, Value::map([("query", Value::text(format!("ALTER USER ann PASSWORD '{secret}'")))]))
    }),
    ("sql identified", "h0rse-battery", |secret| {
        value(
            Protocol::Mysql,
            Value::map([("sql", Value::text(format!("CREATE USER 'ann'@'%' IDENTIFIED BY '{secret}'")))]),
        )
    }),
    ("sql column", "h0rse-battery", |secret| {
        value(
            Protocol::Postgres,
            Value::map([(
                "query",
                Value::text(format!("INSERT INTO users (name, password) VALUES ('ann', crypt('{secret}', 'x'))")),
            )]),
        )
    }),
    ("sql parameter", "h0rse-battery", |secret| {
        let params = Value::List(vec![Value::text("ann"), Value::text(secret)]);
        value(
            Protocol::Postgres,
            Value::map([
                ("query", Value::text("SELECT id FROM users WHERE name = $1 AND password = $2")),
                ("params", params),
            ]),
        )
    }),
    ("redis field", "h0rse-battery", |secret| {
        let args = ["user:1", "name", "ann", "password", secret].map(Value::text).to_vec();
        value(Protocol::Redis, Value::map([("command", Value::text("HSET")), ("args", Value::List(args))]))
    }),
];

fn post(target: &str, headers: &[(&str, &str)], body: String) -> Content {
    Content::Http1(http(Message::request("POST", target, headers, body), Message::response(204, "No Content", &[], "")))
}
