//! The table of the shop: its changes, the same in every language, and what replay must say of each.

use super::expected::{Expected, added, anyhow, changed, moved, novel, omitted, removed, retyped};
use crate::{
    harness::{Finished, Report},
    services::{Change, Edit, Language, PATIENT, RecordedShop, Waits},
};

/// A change of the shop and what it must lead to.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// What names it.
    pub name: &'static str,
    /// What the new build does differently.
    pub change: Change,
    /// What replay must say.
    pub expected: Expected,
    /// How long replay waits for this build.
    waits: Waits,
    /// Languages whose libraries decide this themselves.
    never_in: &'static [Language],
}

/// The rows that a shop in this language has.
pub fn rows(language: Language) -> impl Iterator<Item = &'static Row> {
    let tables = [HARMLESS, IN_CODE, IN_ANSWERS, IN_CALLS];
    tables.into_iter().flatten().filter(move |row| !row.never_in.contains(&language))
}

impl Row {
    /// Replay with this change, and say what is wrong with the result.
    pub fn hold(&self, recorded: &RecordedShop) -> Result<(), String> {
        let (finished, report) = self.replay(recorded);
        self.expected.hold(self.name, EVERY, &finished, report.as_ref())
    }

    /// Replay with this change.
    pub fn replay(&self, recorded: &RecordedShop) -> (Finished, Option<Report>) {
        recorded.replay(self.change, self.waits, &["--no-pending", "--report", "text=-"])
    }
}

/// The entries of the tour, sorted.
pub const EVERY: &[&str] = &[
    "GET /broken",
    "GET /health",
    "GET /orders/7",
    "GET /orders/9",
    "GET /pages/7",
    "GET /receipts/7",
    "GET /report",
    "POST /orders",
    "POST /payments",
];
const BROKEN: &[&str] = &["GET /broken"];
const ORDERS: &[&str] = &["GET /orders/7", "GET /orders/9"];
const NEW_ORDER: &[&str] = &["POST /orders"];
const ANY_ORDER: &[&str] = &["GET /orders/7", "GET /orders/9", "POST /orders"];
const RECEIPT: &[&str] = &["GET /receipts/7"];
const PAGE: &[&str] = &["GET /pages/7"];
const RECEIPT_AND_PAGE: &[&str] = &["GET /pages/7", "GET /receipts/7"];
const PAYMENT: &[&str] = &["POST /payments"];
const REPORT: &[&str] = &["GET /report"];

/// What nobody should hear of.
#[rustfmt::skip]
const HARMLESS: &[Row] = &[
    same("none"),
    same("key-order"),
    same("whitespace"),
    same("log-line"),
    same("header-case"),
    same("connection-per-call"),
    same("connection-closed"),
    same("spare-connections"),
    same("growing-pool"),
    same("reads-swapped"),
    same("chunked"),
    same("two-writes"),
    same("headers-reordered").never_in(GO),
    same("reason-phrase").never_in(GO),
    same("http-1.0").never_in(&[Language::Node, Language::Go]),
    answer("json-escape", "GET /receipts/", "body", "Zoë Müller", r"Zo\u00eb M\u00FCller", Expected::Same),
    answer("json-escaped-slash", "GET /receipts/", "body", "<pepper>", r"\u003cpepper\u003E", Expected::Same),
    answer("volatile-header", "GET /receipts/", "header", "", "Keep-Alive: timeout=5", Expected::Same).never_in(NODE),
    call("call-json-escape", "POST /authorize", "body", "EUR", r"\u0045UR", Expected::Same),
    call("call-query-order", "GET /lines", "target", "page=1&size=3", "size=3&page=1", Expected::Same),
    call("call-trace-header", "", "header", "", "Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", Expected::Same),
    call("call-client-version", "", "header", "", "User-Agent: shop/2", Expected::Same),
];

/// What is changed in the source of the shop.
#[rustfmt::skip]
const IN_CODE: &[Row] = &[
    code("value", changed(ORDERS, "response/body/currency")),
    code("type", retyped(ORDERS, "response/body/available")),
    code("missing-field", removed(ORDERS, "response/body/currency")),
    code("rounding", changed(ANY_ORDER, "response/body/total")),
    code("status", changed(NEW_ORDER, "response/status")),
    code("header-dropped", removed(EVERY, "response/header/cache-control")),
    code("swallowed-error", changed(BROKEN, "response/status")),
    code("changed-argument", changed(ANY_ORDER, "downstream/*/request/body/quantity")),
    code("omitted-call", omitted(NEW_ORDER)),
    code("extra-call", novel(ORDERS)),
    code("wrong-downstream", novel(ANY_ORDER)),
    code("wrong-path", novel(ORDERS)),
    code("latin-1", changed(RECEIPT_AND_PAGE, "response/body")),
    code("gzip", added(EVERY, "response/header/content-encoding")),
    code("stale-cache", omitted(PAGE)),
    code("read-dropped", omitted(RECEIPT)),
    code("n-plus-one", novel(RECEIPT)),
    code("connects-elsewhere", novel(RECEIPT)),
    code("leaked-elsewhere", novel(RECEIPT)),
    code("leaked-connection", novel(RECEIPT)),
    code("double-submit", novel(PAYMENT)),
    code("write-dropped", omitted(PAYMENT)),
    code("writes-reordered", moved(PAYMENT, "downstream/*/request/order")),
    code("retry-added", novel(BROKEN)),
    code("crash", Expected::NoAnswer(REPORT)),
    code("hang", Expected::NoAnswer(REPORT)).waits(Waits { entry: 3.0, ..PATIENT }),
    code("exits-early", Expected::CouldNotTell),
    code("never-listens", Expected::CouldNotTell).waits(Waits { ready: 2.0, ..PATIENT }),
];

/// What is changed in what the shop answers.
#[rustfmt::skip]
const IN_ANSWERS: &[Row] = &[
    receipt("boolean-as-string", r#""paid":true"#, r#""paid":"true""#, retyped(RECEIPT, "response/body/receipt/paid")),
    receipt("boolean-flipped", r#""paid":true"#, r#""paid":false"#, changed(RECEIPT, "response/body/receipt/paid")),
    receipt("boolean-as-number", r#""paid":true"#, r#""paid":1"#, retyped(RECEIPT, "response/body/receipt/paid")),
    receipt("number-as-string", r#""quantity":5"#, r#""quantity":"5""#, retyped(RECEIPT, "response/body/receipt/lines/2/quantity")),
    receipt("string-as-number", r#""id":"7""#, r#""id":7"#, retyped(RECEIPT, "response/body/id")),
    receipt("null-left-out", r#""note":null,"#, "", removed(RECEIPT, "response/body/receipt/note")),
    receipt("null-as-empty-string", r#""note":null"#, r#""note":"""#, retyped(RECEIPT, "response/body/receipt/note")),
    receipt("value-as-null", r#""customer":"Zoë Müller""#, r#""customer":null"#, retyped(RECEIPT, "response/body/receipt/customer")),
    receipt("extra-field", r#""note":null"#, r#""note":null,"password":"hunter2""#, added(RECEIPT, "response/body/receipt/password")),
    receipt("renamed-field", r#""customer""#, r#""client""#, removed(RECEIPT, "response/body/receipt/customer")),
    receipt("field-twice", r#""paid":true"#, r#""paid":true,"paid":false"#, added(RECEIPT, "response/body/receipt/paid")),
    receipt("empty-array-as-null", r#""coupons":[]"#, r#""coupons":null"#, retyped(RECEIPT, "response/body/receipt/coupons")),
    receipt("empty-array-as-object", r#""coupons":[]"#, r#""coupons":{}"#, retyped(RECEIPT, "response/body/receipt/coupons")),
    receipt("empty-array-left-out", r#""coupons":[],"#, "", removed(RECEIPT, "response/body/receipt/coupons")),
    receipt("negative-zero", r#""balance":0,"#, r#""balance":-0,"#, changed(RECEIPT, "response/body/receipt/balance")),
    receipt("float-format", r#""weight":1.50"#, r#""weight":1.5"#, changed(RECEIPT, "response/body/receipt/weight")),
    receipt("float-exponent", r#""weight":1.50"#, r#""weight":15e-1"#, changed(RECEIPT, "response/body/receipt/weight")),
    receipt("float-noise", r#""share":0.1"#, r#""share":0.10000000000000001"#, changed(RECEIPT, "response/body/receipt/share")),
    receipt("integer-as-float", r#""quantity":5"#, r#""quantity":5.0"#, changed(RECEIPT, "response/body/receipt/lines/2/quantity")),
    receipt("big-integer", "9007199254740993", "9007199254740992", changed(RECEIPT, "response/body/receipt/serial")),
    receipt("off-by-one", r#""quantity":5"#, r#""quantity":4"#, changed(RECEIPT, "response/body/receipt/lines/2/quantity")),
    receipt("time-zone", "2026-03-29T01:30:00+01:00", "2026-03-29T00:30:00Z", changed(RECEIPT, "response/body/receipt/issued")),
    receipt("time-zone-dropped", "00+01:00", "00", changed(RECEIPT, "response/body/receipt/issued")),
    receipt("summer-time", "+01:00", "+02:00", changed(RECEIPT, "response/body/receipt/issued")),
    receipt("time-precision", "30:00+01:00", "30:00.000+01:00", changed(RECEIPT, "response/body/receipt/issued")),
    receipt("case", r#""from":"north""#, r#""from":"North""#, changed(RECEIPT, "response/body/receipt/from")),
    receipt("padded", r#""to":"south""#, r#""to":"south ""#, changed(RECEIPT, "response/body/receipt/to")),
    receipt("swapped-fields", r#""from":"north","to":"south""#, r#""from":"south","to":"north""#, changed(RECEIPT, "response/body/receipt/from")),
    receipt("wrong-currency", r#"{"EUR":1"#, r#"{"CHF":1"#, removed(RECEIPT, "response/body/rates/EUR")),
    receipt("unicode-normalisation", "Zoë", "Zoe\u{308}", changed(RECEIPT, "response/body/receipt/customer")),
    receipt("encoded-twice", "Zoë", "ZoÃ«", changed(RECEIPT, "response/body/receipt/customer")),
    receipt("question-mark", "Zoë", "Zo?", changed(RECEIPT, "response/body/receipt/customer")),
    receipt("html-escaping", "salt & <pepper>", "salt &amp; &lt;pepper&gt;", changed(RECEIPT, "response/body/receipt/motto")),
    receipt("invisible-character", "north", "nor\u{200b}th", changed(RECEIPT, "response/body/receipt/from")),
    receipt("sorted-differently", r#"{"sku":"tea-1","quantity":2},{"sku":"rice-2","quantity":1}"#, r#"{"sku":"rice-2","quantity":1},{"sku":"tea-1","quantity":2}"#, anyhow(RECEIPT, "response/body/receipt/lines")),
    receipt("truncated-list", r#",{"sku":"salt-3","quantity":5}"#, "", removed(RECEIPT, "response/body/receipt/lines/2")),
    receipt("duplicated-item", r#"{"sku":"salt-3","quantity":5}"#, r#"{"sku":"salt-3","quantity":5},{"sku":"salt-3","quantity":5}"#, added(RECEIPT, "response/body/receipt/lines/3")),
    receipt("empty-list", r#"[{"sku":"tea-1","quantity":2},{"sku":"rice-2","quantity":1},{"sku":"salt-3","quantity":5}]"#, "[]", removed(RECEIPT, "response/body/receipt/lines")),
    receipt("one-level-deeper", r#""rates":{"EUR":1,"USD":1.25}"#, r#""rates":{"of":{"EUR":1,"USD":1.25}}"#, added(RECEIPT, "response/body/rates/of")),
    receipt("json-cut-short", "1.25}}", "1.25}", anyhow(RECEIPT, "response/body")),
    receipt("empty-body", "", "", anyhow(RECEIPT, "response/body")),
    receipt("byte-order-mark", r#"{"id""#, "\u{feff}{\"id\"", anyhow(RECEIPT, "response/body")),
    answer("charset-said", "GET /receipts/", "header/content-type", "application/json", "application/json; charset=utf-8", changed(RECEIPT, "response/header/content-type")),
    answer("media-type", "GET /receipts/", "header/content-type", "application/json", "text/html", changed(RECEIPT, "response/header/content-type")),
    answer("etag", "GET /receipts/", "header/etag", "r7", "r8", changed(RECEIPT, "response/header/etag")),
    answer("weak-etag", "GET /receipts/", "header/etag", "\"r7\"", "W/\"r7\"", changed(RECEIPT, "response/header/etag")),
    answer("vary-dropped", "GET /receipts/", "header/vary", "", "", removed(RECEIPT, "response/header/vary")),
    answer("header-added", "GET /receipts/", "header", "", "X-Debug: 1", added(RECEIPT, "response/header/x-debug")),
    answer("cache-control", "GET /receipts/", "header/cache-control", "no-store", "private, max-age=60", changed(RECEIPT, "response/header/cache-control")),
    answer("status-class", "GET /receipts/", "status", "200", "500", changed(RECEIPT, "response/status")),
    answer("status-in-class", "GET /receipts/", "status", "200", "203", changed(RECEIPT, "response/status")),
    answer("redirect-kind", "POST /payments", "status", "303", "302", changed(PAYMENT, "response/status")),
    answer("location", "POST /payments", "header/location", "/receipts/7", "/receipts/8", changed(PAYMENT, "response/header/location")),
    answer("location-absolute", "POST /payments", "header/location", "/receipts/7", "http://shop.example/receipts/7", changed(PAYMENT, "response/header/location")),
    answer("location-dropped", "POST /payments", "header/location", "", "", removed(PAYMENT, "response/header/location")),
    answer("cookie-value", "POST /payments", "header/set-cookie", "paid=7", "paid=8", changed(PAYMENT, "response/header/set-cookie")),
    answer("cookie-flag", "POST /payments", "header/set-cookie", "; HttpOnly", "", removed(PAYMENT, "response/header/set-cookie/paid/httponly")),
    answer("cookie-same-site", "POST /payments", "header/set-cookie", "SameSite=Lax", "SameSite=None", changed(PAYMENT, "response/header/set-cookie")),
    answer("cookie-dropped", "POST /payments", "header/set-cookie", "", "", removed(PAYMENT, "response/header/set-cookie")),
    answer("error-message", "GET /broken", "body", "downstream answered 500", "something went wrong", changed(BROKEN, "response/body/error")),
    answer("error-status", "GET /broken", "status", "502", "503", changed(BROKEN, "response/status")),
    answer("stack-trace", "GET /broken", "body", "}", r#","trace":"shop:210"}"#, added(BROKEN, "response/body/trace")),
    answer("text-value", "GET /report", "body", "south 7", "south 8", changed(REPORT, "response/body")),
    answer("line-endings", "GET /report", "body", "\n", "\r\n", changed(REPORT, "response/body")),
    answer("trailing-newline", "GET /health", "body", "ok\n", "ok", changed(&["GET /health"], "response/body")),
    answer("page-charset", "GET /pages/", "header/content-type", "utf-8", "iso-8859-1", changed(PAGE, "response/header/content-type")),
    answer("page-unescaped", "GET /pages/", "body", "&lt;pepper&gt;", "<pepper>", changed(PAGE, "response/body")),
    answer("page-text", "GET /pages/", "body", "Receipt", "Invoice", changed(PAGE, "response/body")),
];

/// What is changed in what the shop asks of others.
#[rustfmt::skip]
const IN_CALLS: &[Row] = &[
    call("call-value", "POST /authorize", "body", "4944", "49440", changed(PAYMENT, "downstream/*/request/body/amount")),
    call("call-type", "POST /authorize", "body", ":4944", r#":"4944""#, retyped(PAYMENT, "downstream/*/request/body/amount")),
    call("call-float", "POST /authorize", "body", "4944", "4944.0", changed(PAYMENT, "downstream/*/request/body/amount")),
    call("call-missing-field", "POST /authorize", "body", r#","currency":"EUR""#, "", removed(PAYMENT, "downstream/*/request/body/currency")),
    call("call-extra-field", "POST /authorize", "body", r#","currency""#, r#","test":true,"currency""#, added(PAYMENT, "downstream/*/request/body/test")),
    call("call-null", "POST /authorize", "body", r#""EUR""#, "null", retyped(PAYMENT, "downstream/*/request/body/currency")),
    call("call-empty-body", "POST /authorize", "body", "", "", anyhow(PAYMENT, "downstream/*/request/body")),
    call("call-page", "GET /lines", "target", "page=1", "page=2", changed(RECEIPT_AND_PAGE, "downstream/*/request/target")),
    call("call-query-dropped", "GET /lines", "target", "&size=3", "", removed(RECEIPT_AND_PAGE, "downstream/*/request/target/query/size")),
    call("call-query-added", "GET /lines", "target", "size=3", "size=3&sort=sku", added(RECEIPT_AND_PAGE, "downstream/*/request/target/query/sort")),
    call("call-query-escape", "GET /rates", "target", "on=2026-03-29", "on=2026%2D03%2D29", changed(RECEIPT, "downstream/*/request/target")),
    call("call-path", "PUT /orders/7", "target", "/orders/7", "/orders/8", novel(PAYMENT)),
    call("call-path-slash", "GET /rates", "target", "/rates", "/rates/", novel(RECEIPT)),
    call("call-path-case", "GET /rates", "target", "/rates", "/Rates", novel(RECEIPT)),
    call("call-method", "PUT /orders", "method", "PUT", "PATCH", novel(PAYMENT)),
    call("call-method-unsafe", "GET /rates", "method", "GET", "DELETE", novel(RECEIPT)),
    call("call-idempotency-key", "POST /authorize", "header/idempotency-key", "pay-7", "pay-8", changed(PAYMENT, "downstream/*/request/header/idempotency-key")),
    call("call-header-dropped", "POST /authorize", "header/idempotency-key", "", "", removed(PAYMENT, "downstream/*/request/header/idempotency-key")),
    call("call-header-added", "GET /rates", "header", "", "X-Tenant: b", added(RECEIPT, "downstream/*/request/header/x-tenant")),
    call("call-header-value", "GET /rates", "header/x-order", "7", "8", changed(RECEIPT, "downstream/*/request/header/x-order")),
    call("call-accept", "GET /rates", "header/accept", "application/json", "*/*", changed(RECEIPT, "downstream/*/request/header/accept")),
    call("call-content-type", "PUT /orders", "header/content-type", "application/json", "text/plain", changed(PAYMENT, "downstream/*/request/header/content-type")),
    call("call-credentials", "GET /stock/", "header", "", "Authorization: Bearer x", added(ORDERS, "downstream/*/request/header/authorization")),
];

const GO: &[Language] = &[Language::Go];
const NODE: &[Language] = &[Language::Node];

const fn code(name: &'static str, expected: Expected) -> Row {
    Row { name, change: Change::Named(name), expected, waits: PATIENT, never_in: &[] }
}

const fn same(name: &'static str) -> Row {
    code(name, Expected::Same)
}

const fn edit(name: &'static str, edit: Edit, expected: Expected) -> Row {
    Row { change: Change::Edit(edit), ..code(name, expected) }
}

const fn answer(
    name: &'static str,
    operation: &'static str,
    part: &'static str,
    from: &'static str,
    to: &'static str,
    expected: Expected,
) -> Row {
    edit(name, Edit { at: "answer", operation, part, from, to }, expected)
}

const fn call(
    name: &'static str,
    operation: &'static str,
    part: &'static str,
    from: &'static str,
    to: &'static str,
    expected: Expected,
) -> Row {
    edit(name, Edit { at: "call", operation, part, from, to }, expected)
}

/// In the body of the receipt.
const fn receipt(name: &'static str, from: &'static str, to: &'static str, expected: Expected) -> Row {
    answer(name, "GET /receipts/", "body", from, to, expected)
}

impl Row {
    const fn waits(self, waits: Waits) -> Row {
        Row { waits, ..self }
    }

    const fn never_in(self, never_in: &'static [Language]) -> Row {
        Row { never_in, ..self }
    }
}
