//! The table of a service that answers with streams: of events, and of JSON values.

use super::expected::{Expected, added, changed, moved, removed};

/// The entries, sorted.
pub const ENTRIES: &[&str] = &["GET /endless", "GET /log", "GET /prices"];

/// Its client leaves it after two events or a little more.
const ENDLESS: &[&str] = &["GET /endless"];
const LOG: &[&str] = &["GET /log"];
const PRICES: &[&str] = &["GET /prices"];

/// The name of the change, what replay must say.
#[rustfmt::skip]
pub const ROWS: &[(&str, Expected)] = &[
    ("none", Expected::Same),
    ("comments", Expected::Same),
    ("line-ends", Expected::Same),
    ("no-space", Expected::Same),
    ("json-spaces", Expected::Same),
    ("in-two-chunks", Expected::Same),
    ("empty-lines", Expected::Same),

    ("events-swapped", moved(PRICES, "response/body")),
    ("event-lost", removed(PRICES, "response/body/1")),
    ("event-added", added(PRICES, "response/body/2")),
    ("event-value", changed(PRICES, "response/body/2/data/price")),
    ("event-name", changed(PRICES, "response/body/2/event")),
    ("event-id", changed(PRICES, "response/body/2/id")),
    ("retry", added(PRICES, "response/body/0/retry")),
    ("held-back", changed(PRICES, "response/stream")),
    ("length-said", changed(PRICES, "response/stream")),
    ("tick-value", changed(ENDLESS, "response/body/1/data")),
    ("record-value", changed(LOG, "response/body/1/level")),
    ("record-lost", removed(LOG, "response/body/1")),
];
