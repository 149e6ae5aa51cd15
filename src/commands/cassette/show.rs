//! A cassette in words.

use std::fmt::Write;

use regress_cassettes::{
    Cassette, Content, Ended, Exchange, HttpExchange,
    diff::{self, Applied, Schemas},
    shown,
};
use regress_protocols::{Side, Value, http1::Message};

/// Everything about a cassette that fits a screen.
pub fn summary(cassette: &Cassette, schemas: &Schemas) -> String {
    let recorded = &cassette.recorded;
    let mut text = format!("{}\n", cassette.id);
    let told = format!(
        "{} at {} by {} via {}, kernel {}",
        recorded.service, recorded.at, recorded.by, recorded.via, recorded.kernel
    );
    line(&mut text, 1, format!("recorded  {}", plain(&told)));
    let label = if let Some(entry) = &cassette.entry {
        line(&mut text, 1, format!("entry     {}", described(entry, schemas)));
        defects(&mut text, entry);
        "calls"
    } else {
        "ambient"
    };
    if !cassette.downstream.is_empty() {
        line(&mut text, 1, format!("{label:<8}  {}", cassette.downstream.len()));
    }
    for (index, exchange) in cassette.downstream.iter().enumerate() {
        let name = plain(exchange.downstream.as_deref().unwrap_or("-"));
        line(&mut text, 2, format!("{}. {name}  {}", index + 1, described(exchange, schemas)));
        line(&mut text, 3, format!("   {}", origin(exchange)));
        defects(&mut text, exchange);
    }
    for reason in &cassette.nondeterministic {
        line(&mut text, 1, format!("varies    {}", plain(reason)));
    }
    for defect in &cassette.defects {
        line(&mut text, 1, format!("defect    {defect}"));
    }
    text
}

fn line(text: &mut String, depth: usize, content: String) {
    let _ = writeln!(text, "{:1$}{content}", "", depth * 2);
}

fn defects(text: &mut String, exchange: &Exchange) {
    for defect in &exchange.defects {
        line(text, 3, format!("   defect: {defect}"));
    }
}

/// Request and outcome of an exchange in one line.
fn described(exchange: &Exchange, schemas: &Schemas) -> String {
    let mut text = match &exchange.content {
        Content::Http1(http) => format!("{} -> {}", request_line(&http.request, schemas), outcome(http, schemas)),
        Content::Wire(wire) => {
            let request = match &wire.request {
                Value::Null => "said by the server alone".to_owned(),
                request => plain(&wire.protocol.line(request)),
            };
            match &wire.response {
                Some(response) => format!("{} {request} -> {}", wire.protocol.word(), excerpt(response)),
                None => format!("{} {request} -> no response", wire.protocol.word()),
            }
        }
        Content::Opaque(turns) => {
            let bytes = turns.iter().map(|turn| turn.bytes.len() as u64).sum();
            format!("{} of no known protocol in {} turns", size(bytes), turns.len())
        }
        Content::Nothing => "no connection".to_owned(),
    };
    if exchange.ended != Ended::Ok {
        let _ = write!(text, ", {}", exchange.ended);
    }
    if let Some(took) = exchange.took {
        let _ = write!(text, ", {}", duration(took));
    }
    text
}

/// The beginning of a value on one line.
fn excerpt(value: &Value) -> String {
    shortened(&shown(value).split_whitespace().collect::<Vec<_>>().join(" "))
}

fn shortened(line: &str) -> String {
    const LONGEST: usize = 80;
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}\u{2026}", plain(&line[..end])),
        None => plain(line),
    }
}

/// The messages of Protocol Buffers in a body.
fn messages(message: &Message, applied: &Applied) -> Option<String> {
    diff::decoded_messages(message, applied).map(|messages| shortened(&messages))
}

fn request_line(request: &Message, schemas: &Schemas) -> String {
    let body = match (messages(request, &schemas.of_request(request)), request.body.len()) {
        (_, 0) => String::new(),
        (Some(messages), _) => format!(" {messages}"),
        (None, bytes) => format!(" ({})", size(bytes as u64)),
    };
    format!("{} {}{body}", plain(request.method()), plain(&request.target()))
}

/// What a call of gRPC came to, by its trailers or (without any message) its header.
fn grpc_status(response: &Message) -> Option<String> {
    let named =
        |(name, value): (&[u8], &[u8])| (name == b"grpc-status").then(|| String::from_utf8_lossy(value).into_owned());
    response.trailers().chain(response.fields()).find_map(named)
}

fn outcome(http: &HttpExchange, schemas: &Schemas) -> String {
    let reset = http.reset.map(|reset| {
        let name = reset.name().map_or_else(|| reset.code.to_string(), str::to_owned);
        let whom = if reset.from == Side::Client { "client" } else { "server" };
        format!(", the {whom} reset the stream ({name})")
    });
    let Some(response) = &http.response else { return format!("no response{}", reset.unwrap_or_default()) };
    let mut text = format!("{} {}", response.status(), plain(&response.reason())).trim_end().to_owned();
    if let Some(status) = grpc_status(response) {
        let _ = write!(text, ", grpc-status {}", plain(&status));
    }
    let messages = messages(response, &schemas.of_response(&http.request));
    let _ = write!(text, ", {}", messages.unwrap_or_else(|| size(response.body.len() as u64)));
    if !response.is_complete() {
        text.push_str(" and then cut");
    }
    text.extend(reset);
    if !http.streamed.is_empty() {
        let _ = write!(text, " in {} pieces", http.streamed.len());
    }
    if !http.upgraded.is_empty() {
        let _ = write!(text, ", then {} turns of another protocol", http.upgraded.len());
    }
    text
}

/// When it began, on which connection, and why it belongs to the entry.
fn origin(exchange: &Exchange) -> String {
    let sign = if exchange.at < 0 { '-' } else { '+' };
    let connection = &exchange.connection;
    let mut text =
        format!("{sign}{}, connection {} to {}", duration(exchange.at.unsigned_abs()), connection.id, connection.peer);
    if connection.tls {
        text.push_str(" (TLS)");
    }
    if let Some(cause) = &exchange.cause {
        let _ = write!(text, ", owner by {}: {}", cause.rule, cause.confidence);
        if cause.after_response {
            text.push_str(", after the response");
        }
    }
    text
}

/// Recorded text without anything that a terminal would obey.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
}

/// Microseconds for a person.
fn duration(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100),
        _ => format!("{}.{} s", micros / 1_000_000, micros % 1_000_000 / 100_000),
    }
}

/// Bytes for a person.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut tenths = bytes.saturating_mul(10) / 1024;
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}
