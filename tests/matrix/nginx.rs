//! The table of nginx in front of httpbin: its settings changed.

use super::expected::{Expected, added, anyhow, changed, novel, omitted, removed};

/// The entries, sorted.
pub const ENTRIES: &[&str] = &[
    "GET /cookies/set?paid=7",
    "GET /get?page=2",
    "GET /gzip",
    "GET /html",
    "GET /json",
    "GET /status/418",
    "POST /post",
];

const COOKIES: &[&str] = &["GET /cookies/set?paid=7"];
const GET: &[&str] = &["GET /get?page=2"];
const GZIP: &[&str] = &["GET /gzip"];
const HTML: &[&str] = &["GET /html"];
const JSON: &[&str] = &["GET /json"];
const TEAPOT: &[&str] = &["GET /status/418"];
const POST: &[&str] = &["POST /post"];

/// What names it, what is in the `server` block, what replay must say.
#[rustfmt::skip]
pub const ROWS: &[(&str, &str, Expected)] = &[
    ("none", "location / { proxy_pass UPSTREAM; }", Expected::Same),
    ("unbuffered", "location / { proxy_pass UPSTREAM; proxy_buffering off; proxy_request_buffering off; }", Expected::Same),
    ("connection-closed", "keepalive_timeout 0; location / { proxy_pass UPSTREAM; }", Expected::Same),
    ("http-1.1", r#"location / { proxy_pass UPSTREAM; proxy_http_version 1.1; proxy_set_header Connection ""; }"#, Expected::Same),
    ("log-lines", "access_log /dev/stderr; location / { proxy_pass UPSTREAM; }", Expected::Same),
    ("client-version", "location / { proxy_pass UPSTREAM; proxy_set_header User-Agent new/2; }", Expected::Same),
    ("other-block", "location / { proxy_pass UPSTREAM; } location = /json { proxy_pass UPSTREAM; }", Expected::Same),

    ("header-added", "location / { proxy_pass UPSTREAM; add_header X-Served-By edge always; }", added(ENTRIES, "response/header/x-served-by")),
    ("header-dropped", "location / { proxy_pass UPSTREAM; proxy_hide_header Access-Control-Allow-Origin; }", removed(ENTRIES, "response/header/access-control-allow-origin")),
    ("server-name", "server_tokens off; location / { proxy_pass UPSTREAM; }", changed(ENTRIES, "response/header/server")),
    ("cache-control", "location / { proxy_pass UPSTREAM; } location = /json { proxy_pass UPSTREAM; expires 1h; }", added(JSON, "response/header/cache-control")),
    ("media-type", "location / { proxy_pass UPSTREAM; } location = /json { proxy_pass UPSTREAM; proxy_hide_header Content-Type; add_header Content-Type text/json; }", changed(JSON, "response/header/content-type")),
    ("status", "location / { proxy_pass UPSTREAM; } location = /json { proxy_pass UPSTREAM; limit_except POST { deny all; } }", changed(JSON, "response/status")),
    ("call-omitted", "location / { proxy_pass UPSTREAM; } location = /json { return 204; }", omitted(JSON)),
    ("swallowed-error", "location / { proxy_pass UPSTREAM; proxy_intercept_errors on; error_page 418 =200 /fine; } location = /fine { return 200 fine; }", changed(TEAPOT, "response/status")),
    ("error-page", "location / { proxy_pass UPSTREAM; proxy_intercept_errors on; error_page 418 /tea; } location = /tea { return 418 tea; }", changed(TEAPOT, "response/body")),
    ("redirect", "location / { proxy_pass UPSTREAM; proxy_redirect / /app/; }", changed(COOKIES, "response/header/location")),
    ("cookie-path", "location / { proxy_pass UPSTREAM; proxy_cookie_path / /app; }", changed(COOKIES, "response/header/set-cookie")),
    ("cookie-flags", "location / { proxy_pass UPSTREAM; proxy_cookie_flags paid secure httponly; }", added(COOKIES, "response/header/set-cookie/paid/httponly")),
    ("cookie-dropped", "location / { proxy_pass UPSTREAM; proxy_hide_header Set-Cookie; }", removed(COOKIES, "response/header/set-cookie")),
    ("text", "location / { proxy_pass UPSTREAM; sub_filter Moby Toby; }", anyhow(HTML, "response/body")),
    ("decompressed", "location / { proxy_pass UPSTREAM; gunzip on; }", removed(GZIP, "response/header/content-encoding")),
    ("compressed-as-asked", "location / { proxy_pass UPSTREAM; gzip on; gzip_types application/json; gzip_proxied any; gzip_min_length 1; }", added(JSON, "response/header/content-encoding")),
    ("call-header-added", "location / { proxy_pass UPSTREAM; proxy_set_header X-Shard 7; }", added(ENTRIES, "downstream/*/request/header/x-shard")),
    ("call-headers-dropped", "location / { proxy_pass UPSTREAM; proxy_pass_request_headers off; }", removed(ENTRIES, "downstream/*/request/header/accept")),
    ("call-media-type", "location / { proxy_pass UPSTREAM; proxy_set_header Content-Type text/plain; } ", anyhow(ENTRIES, "downstream/*/request/header/content-type")),
    ("call-query", "location / { proxy_pass UPSTREAM; } location = /get { set $args page=3; proxy_pass UPSTREAM; }", changed(GET, "downstream/*/request/target")),
    ("call-query-dropped", r#"location / { proxy_pass UPSTREAM; } location = /get { set $args ""; proxy_pass UPSTREAM; }"#, removed(GET, "downstream/*/request/target/query")),
    ("call-body-dropped", r#"location / { proxy_pass UPSTREAM; proxy_pass_request_body off; proxy_set_header Content-Length ""; }"#, removed(POST, "downstream/*/request/body")),
    ("call-body-replaced", r#"location / { proxy_pass UPSTREAM; } location = /post { proxy_pass UPSTREAM; proxy_set_body '{"name":"rice"}'; }"#, changed(POST, "downstream/*/request/body/name")),
    ("call-path", "location / { proxy_pass UPSTREAM; } location = /json { proxy_pass UPSTREAM/html; }", novel(JSON)),
    ("call-method", "location / { proxy_pass UPSTREAM; } location = /post { proxy_pass UPSTREAM; proxy_method PUT; }", novel(POST)),
    ("wrong-downstream", "location / { proxy_pass UPSTREAM; } location = /json { proxy_pass http://127.0.0.1:9; }", novel(JSON)),
    ("wrong-host", "location / { proxy_pass UPSTREAM; } location = /json { proxy_pass UPSTREAM; proxy_set_header Host other; }", novel(JSON)),
    ("extra-call", "location / { proxy_pass UPSTREAM; } location = /json { proxy_pass UPSTREAM; mirror /copy; } location /copy { internal; proxy_pass UPSTREAM/post; }", novel(JSON)),
    ("asks-before", "location / { proxy_pass UPSTREAM; } location = /json { auth_request /may; proxy_pass UPSTREAM; } location = /may { internal; proxy_pass UPSTREAM/headers; }", novel(JSON)),
];
