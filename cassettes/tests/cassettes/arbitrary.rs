//! Strategies that put anything at all in every place of a cassette.

use std::{
    io::Write,
    net::{IpAddr, SocketAddr, SocketAddrV6},
};

use bytes::Bytes;
use flate2::{
    Compression,
    write::{DeflateEncoder, GzEncoder, ZlibEncoder},
};
use proptest::{collection::vec, option, prelude::*, sample::select};
use regress_cassettes::{
    Address, Cassette, CassetteId, Cause, Confidence, Connection, Content, Defect, Ended, Exchange, HttpExchange,
    Recorded, Rule, Turn, Via, WireExchange,
};
use regress_protocols::{
    Side, Value,
    http1::{Chunk, Framing, Line, Message},
    http2::Reset,
    wire::Protocol,
};

fn raw() -> BoxedStrategy<Bytes> {
    prop_oneof![
        vec(any::<u8>(), 0..40).prop_map(Bytes::from),
        any::<String>().prop_map(Bytes::from),
        "([a-z :{}\\[\\]\",\\\\]|\n|\r\n){0,40}".prop_map(Bytes::from),
    ]
    .boxed()
}

fn space() -> impl Strategy<Value = &'static str> {
    select(vec!["", "", "", " ", "  ", "\n", "\r\n", "\t", "\n  ", " \n\n "])
}

fn json_string() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[^\"\\\\\\x00-\\x1f]",
        select(vec!["\\\"", "\\\\", "\\/", "\\b", "\\f", "\\n", "\\r", "\\t", "\\ud800", "\\udc00", "\\u0000"])
            .prop_map(str::to_owned),
        "\\\\u[0-9a-fA-F]{4}",
    ];
    vec(piece, 0..6).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

fn json_scalar() -> impl Strategy<Value = String> {
    prop_oneof![
        "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,30})?([eE][+-]?[0-9]{1,6})?",
        json_string(),
        select(vec!["true", "false", "null"]).prop_map(str::to_owned),
    ]
}

/// JSON text with any whitespace anywhere, duplicate keys, any escapes, any numbers.
fn odd_json() -> BoxedStrategy<String> {
    let value = json_scalar().prop_recursive(5, 40, 5, |inner| {
        let item =
            (space(), inner, space()).prop_map(|(before, value, after)| format!("{before}{value}{after}")).boxed();
        let key = prop_oneof![json_string(), Just("\"twice\"".to_owned())];
        let member = (space(), key, space(), item.clone())
            .prop_map(|(before, key, after, value)| format!("{before}{key}{after}:{value}"));
        prop_oneof![
            vec(item, 1..5).prop_map(|items| format!("[{}]", items.join(","))),
            vec(member, 1..5).prop_map(|members| format!("{{{}}}", members.join(","))),
            space().prop_map(|space| format!("[{space}]")),
            space().prop_map(|space| format!("{{{space}}}")),
        ]
    });
    (space(), value, space()).prop_map(|(before, value, after)| format!("{before}{value}{after}")).boxed()
}

/// JSON text spaced as programs space it.
pub fn usual_json() -> BoxedStrategy<String> {
    let indents = select(vec![" ", "  ", "   ", "    ", "        ", "\t", "         ", " \t"]);
    let newline = select(vec!["", "\n", "\n\n"]);
    (odd_json(), indents, 0..3, newline)
        .prop_map(|(text, indent, style, newline)| {
            // Lone surrogates and numbers of thousands of digits are beyond the writer used here.
            let Ok(value) = serde_json::from_str::<serde_json::Value>(&text) else { return text };
            let text = match style {
                0 => value.to_string(),
                1 => serde_json::to_string_pretty(&value).unwrap(),
                _ => {
                    let formatter = serde_json::ser::PrettyFormatter::with_indent(indent.as_bytes());
                    let mut out = Vec::new();
                    serde::Serialize::serialize(
                        &value,
                        &mut serde_json::Serializer::with_formatter(&mut out, formatter),
                    )
                    .unwrap();
                    String::from_utf8(out).unwrap()
                }
            };
            text + newline
        })
        .boxed()
}

fn deep_json() -> impl Strategy<Value = String> {
    (select(vec![1_usize, 100, 111, 112, 113, 127, 128, 129, 2000]), any::<bool>()).prop_map(|(depth, object)| {
        let (open, close) = if object { ("{\"a\":", "}") } else { ("[", "]") };
        format!("{}0{}", open.repeat(depth), close.repeat(depth))
    })
}

pub fn payload() -> BoxedStrategy<Bytes> {
    prop_oneof![
        4 => raw(),
        4 => odd_json().prop_map(Bytes::from),
        2 => usual_json().prop_map(Bytes::from),
        1 => deep_json().prop_map(Bytes::from),
        1 => vec(any::<u8>(), 50..200).prop_map(Bytes::from),
        1 => (any::<u8>(), 65_535_usize..65_540).prop_map(|(byte, size)| vec![byte; size].into()),
    ]
    .boxed()
}

fn line() -> BoxedStrategy<Line> {
    raw().prop_map(Line).boxed()
}

fn chunk() -> impl Strategy<Value = Chunk> {
    let written = (any::<u32>(), select(vec!["", ";x=1", " ", "\n", "\r"])).prop_map(|(size, more)| {
        [format!("{size:x}{more}"), format!("{size:X}{more}"), format!("00{size:x}{more}")]
            .map(|line| Chunk { line: Line(line.into()), size: size.into() })
    });
    prop_oneof![
        (written, 0..3_usize).prop_map(|(lines, index)| lines[index].clone()),
        (line(), any::<u64>()).prop_map(|(line, size)| Chunk { line, size }),
    ]
}

fn framing() -> BoxedStrategy<Framing> {
    prop_oneof![
        Just(Framing::Empty),
        Just(Framing::Length),
        Just(Framing::Close),
        (vec(chunk(), 0..5), vec(line(), 0..3), line()).prop_map(|(chunks, trailers, end)| Framing::Chunked {
            chunks,
            trailers,
            end
        }),
    ]
    .boxed()
}

fn any_message() -> BoxedStrategy<Message> {
    let head = (raw(), line(), vec(line(), 0..4), line());
    (head, payload(), framing(), option::of(raw()))
        .prop_map(|((lead, start, headers, end), body, framing, truncated)| Message {
            lead,
            start,
            headers,
            end,
            body,
            framing,
            truncated,
        })
        .boxed()
}

fn compressed_message() -> impl Strategy<Value = Message> {
    let codings = select(vec!["gzip", "x-gzip", "GZIP", "deflate", "br", "gzip, gzip"]);
    (payload(), codings, 0..3, any::<bool>()).prop_map(|(plain, coding, wrapper, cut)| {
        let level = Compression::fast();
        let mut body = match wrapper {
            0 => {
                let mut encoder = GzEncoder::new(Vec::new(), level);
                encoder.write_all(&plain).unwrap();
                encoder.finish().unwrap()
            }
            1 => {
                let mut encoder = ZlibEncoder::new(Vec::new(), level);
                encoder.write_all(&plain).unwrap();
                encoder.finish().unwrap()
            }
            _ => {
                let mut encoder = DeflateEncoder::new(Vec::new(), level);
                encoder.write_all(&plain).unwrap();
                encoder.finish().unwrap()
            }
        };
        if cut {
            body.truncate(body.len() / 2);
        }
        Message::response(200, "OK", &[("Content-Encoding", coding)], body)
    })
}

pub fn message() -> BoxedStrategy<Message> {
    prop_oneof![3 => any_message(), 1 => compressed_message()].boxed()
}

fn side() -> impl Strategy<Value = Side> {
    select(vec![Side::Client, Side::Server])
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    vec((side(), payload()).prop_map(|(from, bytes)| Turn { from, bytes }), 0..3)
}

fn address() -> impl Strategy<Value = Address> {
    let plain = (any::<IpAddr>(), any::<u16>()).prop_map(SocketAddr::from);
    let scoped = (any::<std::net::Ipv6Addr>(), any::<u16>(), any::<u32>())
        .prop_map(|(ip, port, scope)| SocketAddr::from(SocketAddrV6::new(ip, port, 0, scope)));
    let unix = vec(any::<u8>(), 0..108).prop_map(|name| Address::Unix(name.into()));
    prop_oneof![plain.prop_map(Address::from), scoped.prop_map(Address::from), unix]
}

fn connection() -> BoxedStrategy<Connection> {
    (any::<u64>(), option::of(address()), address(), any::<bool>())
        .prop_map(|(id, local, peer, tls)| Connection { id, local, peer, tls })
        .boxed()
}

fn content() -> BoxedStrategy<Content> {
    let streamed = vec((any::<u64>(), any::<u64>()), 0..4);
    let reset = option::of((side(), any::<u32>()).prop_map(|(from, code)| Reset { from, code }));
    let http = (
        message(),
        vec(message(), 0..2),
        option::of(message()),
        streamed.clone(),
        turns(),
        reset,
        streamed,
        any::<bool>(),
    )
        .prop_map(|(request, interim, response, streamed, upgraded, reset, interleaved, left)| {
            Content::Http1(HttpExchange { request, interim, response, streamed, upgraded, reset, interleaved, left })
        });
    let wire = (value(), option::of(value()))
        .prop_map(|(request, response)| Content::Wire(WireExchange { protocol: Protocol::Redis, request, response }));
    prop_oneof![4 => http, 2 => wire, 1 => turns().prop_map(Content::Opaque), 1 => Just(Content::Nothing)].boxed()
}

fn value() -> BoxedStrategy<Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::number),
        any::<String>().prop_map(Value::Text),
        payload().prop_map(|bytes| Value::data(&bytes)),
    ];
    leaf.prop_recursive(4, 16, 4, |inner| {
        let member = (select(vec!["command", "args", "null", "size", "base64"]), inner.clone());
        let is_value = |members: &Vec<(&str, Value)>| members.iter().map(|(name, _)| *name).ne(["base64"]);
        prop_oneof![
            vec(inner, 0..4).prop_map(Value::List),
            vec(member, 0..4)
                .prop_map(|mut members| {
                    members.sort_by_key(|(name, _)| *name);
                    members.dedup_by_key(|(name, _)| *name);
                    members
                })
                .prop_filter("the form of bytes", is_value)
                .prop_map(|members| Value::Map(
                    members.into_iter().map(|(name, value)| (name.into(), value)).collect()
                )),
        ]
    })
    .boxed()
}

fn cause() -> impl Strategy<Value = Cause> {
    let rule =
        select(vec![Rule::LastRead, Rule::Connect, Rule::Lineage, Rule::Alone, Rule::PropagatedId, Rule::Values]);
    (rule, select(vec![Confidence::Certain, Confidence::Likely, Confidence::Ambiguous]), any::<bool>())
        .prop_map(|(rule, confidence, after_response)| Cause { rule, confidence, after_response })
}

fn defects() -> impl Strategy<Value = Vec<Defect>> {
    let numbers = (side(), any::<u64>(), any::<u64>());
    let defect = prop_oneof![
        numbers.prop_map(|(from, position, bytes)| Defect::Gap { from, position, bytes }),
        (any::<u64>(), any::<u64>()).prop_map(|(events, bytes)| Defect::LostEvents { events, bytes }),
        select(vec![
            Defect::JoinedMidStream,
            Defect::Unfinished,
            Defect::Garbage,
            Defect::Encrypted,
            Defect::AmbiguousOwner,
        ]),
    ];
    vec(defect, 0..3)
}

fn exchange() -> BoxedStrategy<Exchange> {
    let ended = select(vec![Ended::Ok, Ended::Reset, Ended::Refused, Ended::Timeout, Ended::Closed, Ended::Unfinished]);
    let times = (any::<i64>(), option::of(any::<u64>()));
    (option::of(any::<String>()), connection(), times, content(), ended, option::of(cause()), defects())
        .prop_map(|(downstream, connection, (at, took), content, ended, cause, defects)| Exchange {
            downstream,
            connection,
            at,
            took,
            content,
            ended,
            cause,
            defects,
        })
        .boxed()
}

fn recorded() -> BoxedStrategy<Recorded> {
    let times = select(vec!["2026-11-22T10:15:02.123456Z", "1970-01-01T00:00:00Z", "2026-11-22T10:15:02+01:00"]);
    (times, any::<String>(), any::<String>(), select(vec![Via::Socket, Via::Proxy]), any::<String>())
        .prop_map(|(at, service, by, via, kernel)| Recorded { at: at.to_owned(), service, by, via, kernel })
        .boxed()
}

pub fn cassette() -> impl Strategy<Value = Cassette> {
    let reasons = vec(any::<String>(), 0..3);
    let kinds = vec(any::<String>(), 0..2);
    let head = ("[0-9A-Za-z-][0-9A-Za-z.-]{0,127}", recorded(), reasons, kinds);
    (head, option::of(exchange()), vec(exchange(), 0..3), defects()).prop_map(
        |((id, recorded, reasons, kinds), entry, downstream, defects)| {
            // The ambient cassette has none.
            let nondeterministic = if entry.is_some() { reasons } else { vec![] };
            let id = if entry.is_some() { id } else { CassetteId::AMBIENT.to_owned() };
            let redacted = kinds.into_iter().collect();
            Cassette { id: CassetteId(id), recorded, nondeterministic, redacted, entry, downstream, defects }
        },
    )
}
