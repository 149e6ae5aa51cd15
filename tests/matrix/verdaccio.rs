//! The table of a registry that mirrors another: its settings changed.

use super::expected::{Expected, Place, changed, omitted};
use crate::services::verdaccio::{PLAIN, Settings};

/// The entries, sorted.
pub const ENTRIES: &[&str] = &["GET /absent", "GET /tiny", "GET /tiny", "GET /tiny/-/tiny-1.0.0.tgz"];

const TINY: &[&str] = &["GET /tiny", "GET /tiny"];
/// The first is asked for again within the time that it may be kept.
const TINY_AGAIN: &[&str] = &["GET /tiny"];

/// Of a package whose manifest it could not get, verdaccio does not look for the tarball in the usual place.
const CALLS_HAVE_MORE: Expected =
    Expected::Different(ENTRIES, Place { kinds: &["added", "omitted"], path: "downstream" });
const CALLS_SAY_OTHERWISE: Expected =
    Expected::Different(ENTRIES, Place { kinds: &["changed", "omitted"], path: "downstream" });

/// What names it, its settings, what replay must say.
#[rustfmt::skip]
pub const ROWS: &[(&str, Settings, Expected)] = &[
    ("none", PLAIN, Expected::Same),
    ("log-lines", other("server_id: mirror\nlog: {type: stdout, format: pretty, level: trace}\n"), Expected::Same),
    ("limits", other("server_id: mirror\nmax_body_size: 20mb\nkeepAliveTimeout: 5\n"), Expected::Same),
    ("patience", uplink(", maxage: 0, timeout: 40s, max_fails: 7"), Expected::Same),
    ("connection-per-call", uplink(", maxage: 0, agent_options: {keepAlive: false}"), Expected::Same),

    ("call-header-added", uplink(", maxage: 0, headers: {X-Team: \"7\"}"), CALLS_HAVE_MORE),
    ("call-server-id", other("server_id: other\n"), CALLS_SAY_OTHERWISE),
    ("call-credentials", uplink(", maxage: 0, auth: {type: bearer, token: secret}"), CALLS_HAVE_MORE),
    ("kept-for-too-long", uplink(", maxage: 10m"), omitted(TINY_AGAIN)),
    ("never-asks", packages("access: $all"), omitted(ENTRIES)),
    ("refused", packages("access: $authenticated, proxy: up"), changed(ENTRIES, "response/status")),
    ("prefix", other("server_id: mirror\nurl_prefix: /npm/\n"), changed(TINY, "response/body/versions/1.0.0/dist/tarball")),
];

const fn uplink(uplink: &'static str) -> Settings {
    Settings { uplink, ..PLAIN }
}

const fn packages(packages: &'static str) -> Settings {
    Settings { packages, ..PLAIN }
}

const fn other(other: &'static str) -> Settings {
    Settings { other, ..PLAIN }
}
