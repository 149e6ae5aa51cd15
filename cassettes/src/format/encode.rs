//! From a cassette to its text.

use regress_protocols::http1::{Chunk, Framing, Line, Message};

use super::{
    coding,
    json::{self, Document},
    payload::{self, BodyFiles},
    value,
    words::Word,
    writer::{self, Object},
};
use crate::model::{Cassette, Cause, Connection, Content, Defect, Exchange, HttpExchange, Turn};

/// The text of a cassette and the body files that it refers to.
pub fn encode(cassette: &Cassette) -> (String, BodyFiles) {
    let mut files = BodyFiles::new();
    let mut out = String::new();
    Object::write(&mut out, |object| write_cassette(object, cassette, &mut files));
    let document = Document::parse(&out, usize::MAX).expect("what was just written is JSON");
    (json::pretty(&document), files)
}

fn write_cassette(object: &mut Object<'_>, cassette: &Cassette, files: &mut BodyFiles) {
    object.string("regress", &version(lowest(cassette)));
    object.string("id", &cassette.id.0);
    object.object("recorded", |object| {
        object.string("at", &cassette.recorded.at);
        object.string("service", &cassette.recorded.service);
        object.string("by", &cassette.recorded.by);
        object.string("via", cassette.recorded.via.word());
        object.string("kernel", &cassette.recorded.kernel);
    });
    if !cassette.nondeterministic.is_empty() {
        object.list("nondeterministic", &cassette.nondeterministic, |out, reason| writer::string(out, reason));
    }
    if !cassette.redacted.is_empty() {
        object.list("redacted", &cassette.redacted, |out, kind| writer::string(out, kind));
    }
    if let Some(entry) = &cassette.entry {
        object.object("entry", |object| write_exchange(object, entry, files));
    }
    object.list("downstream", &cassette.downstream, |out, exchange| {
        Object::write(out, |object| write_exchange(object, exchange, files));
    });
    object.list("defects", &cassette.defects, write_defect);
}

/// A format version as cassettes have it.
pub fn version((major, minor): (u16, u16)) -> String {
    format!("{major}.{minor}")
}

/// The lowest format version that has everything that the cassette has, so that a cassette without anything new stays
/// the file that it was.
pub fn lowest(cassette: &Cassette) -> (u16, u16) {
    let is_left = |exchange: &Exchange| exchange.http().is_some_and(|http| http.left);
    let has_more = |exchange: &Exchange| {
        let has_more = |http: &HttpExchange| http.is_http2() || http.reset.is_some() || !http.interleaved.is_empty();
        exchange.wire().is_some() || exchange.http().is_some_and(has_more)
    };
    if cassette.exchanges().any(is_left) {
        (1, 4)
    } else if !cassette.redacted.is_empty() {
        (1, 3)
    } else if cassette.exchanges().any(has_more) {
        (1, 2)
    } else if !cassette.nondeterministic.is_empty() {
        (1, 1)
    } else {
        (1, 0)
    }
}

fn write_exchange(object: &mut Object<'_>, exchange: &Exchange, files: &mut BodyFiles) {
    if let Some(name) = &exchange.downstream {
        object.string("downstream", name);
    }
    object.object("connection", |object| write_connection(object, &exchange.connection));
    object.number("at_us", exchange.at);
    if let Some(took) = exchange.took {
        object.number("took_us", took);
    }
    match &exchange.content {
        Content::Http1(http) => {
            object.string("protocol", if http.is_http2() { "http2" } else { "http1" });
            write_http(object, http, files);
        }
        Content::Wire(wire) => {
            object.string("protocol", wire.protocol.word());
            value::write(object.field("request"), &wire.request, files);
            if let Some(response) = &wire.response {
                value::write(object.field("response"), response, files);
            }
        }
        Content::Opaque(turns) => {
            object.string("protocol", "opaque");
            object.list("turns", turns, |out, turn| write_turn(out, turn, files));
        }
        Content::Nothing => object.string("protocol", "none"),
    }
    object.string("ended", exchange.ended.word());
    if let Some(cause) = &exchange.cause {
        object.object("cause", |object| write_cause(object, cause));
    }
    object.list("defects", &exchange.defects, write_defect);
}

fn write_connection(object: &mut Object<'_>, connection: &Connection) {
    object.number("id", connection.id);
    if let Some(local) = &connection.local {
        object.string("local", &local.to_string());
    }
    object.string("peer", &connection.peer.to_string());
    object.flag("tls", connection.tls);
}

fn write_cause(object: &mut Object<'_>, cause: &Cause) {
    object.string("rule", cause.rule.word());
    object.string("confidence", cause.confidence.word());
    object.flag("after_response", cause.after_response);
}

fn write_http(object: &mut Object<'_>, http: &HttpExchange, files: &mut BodyFiles) {
    object.object("request", |object| write_message(object, &http.request, files));
    if !http.interim.is_empty() {
        object.list("interim", &http.interim, |out, message| {
            Object::write(out, |object| write_message(object, message, files));
        });
    }
    if let Some(response) = &http.response {
        object.object("response", |object| write_message(object, response, files));
    }
    if !http.streamed.is_empty() {
        object.list("streamed", &http.streamed, |out, (after, bytes)| {
            writer::list(out, [*after, *bytes], writer::number);
        });
    }
    if !http.upgraded.is_empty() {
        object.list("upgraded", &http.upgraded, |out, turn| write_turn(out, turn, files));
    }
    if !http.interleaved.is_empty() {
        object.list("interleaved", &http.interleaved, |out, (asked, said)| {
            writer::list(out, [*asked, *said], writer::number);
        });
    }
    if let Some(reset) = http.reset {
        object.object("reset", |object| {
            object.string("from", reset.from.word());
            object.number("code", reset.code);
        });
    }
    object.flag("left", http.left);
}

fn write_turn(out: &mut String, turn: &Turn, files: &mut BodyFiles) {
    Object::write(out, |object| {
        object.string("from", turn.from.word());
        payload::write(object, &turn.bytes, files);
    });
}

fn write_message(object: &mut Object<'_>, message: &Message, files: &mut BodyFiles) {
    if !message.lead.is_empty() {
        payload::write_piece(object.field("lead"), &message.lead);
    }
    payload::write_piece(object.field("start"), &message.start.0);
    object.list("headers", &message.headers, write_line);
    if !message.end.0.is_empty() {
        write_line(object.field("end"), &message.end);
    }
    match &message.framing {
        Framing::Empty if message.body.is_empty() => {}
        Framing::Empty => object.string("framing", "empty"),
        Framing::Length if !message.body.is_empty() => {}
        Framing::Length => object.string("framing", "length"),
        Framing::Close => object.string("framing", "close"),
        Framing::Chunked { chunks, trailers, end } => object.object("framing", |object| {
            object.object("chunked", |object| {
                object.list("chunks", chunks, write_chunk);
                if !trailers.is_empty() {
                    object.list("trailers", trailers, write_line);
                }
                if !end.0.is_empty() {
                    write_line(object.field("end"), end);
                }
            });
        }),
    }
    if !message.body.is_empty() {
        object.object("body", |object| {
            payload::write(object, &message.body, files);
            if let Some(view) = coding::decoded_view(message) {
                object.object("decoded", |object| payload::write(object, &view, files));
            }
        });
    }
    if let Some(rest) = &message.truncated {
        payload::write_piece(object.field("truncated"), rest);
    }
}

fn write_line(out: &mut String, line: &Line) {
    payload::write_piece(out, &line.0);
}

/// The size alone where the size line is just that in lower-case hex; else the line, and the size beside it where
/// the line does not say it.
fn write_chunk(out: &mut String, chunk: &Chunk) {
    let line = std::str::from_utf8(&chunk.line.0).ok();
    match line {
        Some(line) if line == format!("{:x}", chunk.size) => writer::number(out, chunk.size),
        Some(line) if size_in(line) == Some(chunk.size) => writer::string(out, line),
        _ => Object::write(out, |object| {
            write_line(object.field("line"), &chunk.line);
            object.number("size", chunk.size);
        }),
    }
}

/// The size that a chunk's size line begins with.
pub fn size_in(line: &str) -> Option<u64> {
    let digits = line.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(line.len());
    u64::from_str_radix(&line[..digits], 16).ok()
}

fn write_defect(out: &mut String, defect: &Defect) {
    let word = match defect {
        Defect::Gap { from, position, bytes } => {
            return Object::write(out, |object| {
                object.object("gap", |object| {
                    object.string("from", from.word());
                    object.number("position", *position);
                    object.number("bytes", *bytes);
                });
            });
        }
        Defect::LostEvents { events, bytes } => {
            return Object::write(out, |object| {
                object.object("lost-events", |object| {
                    object.number("events", *events);
                    object.number("bytes", *bytes);
                });
            });
        }
        Defect::JoinedMidStream => "joined-mid-stream",
        Defect::Unfinished => "unfinished",
        Defect::Garbage => "garbage",
        Defect::Encrypted => "encrypted",
        Defect::AmbiguousOwner => "ambiguous-owner",
    };
    writer::string(out, word);
}
