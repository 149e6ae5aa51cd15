//! From text to the cassette that it holds.

use bytes::Bytes;
use regress_protocols::{
    Side,
    http1::{Chunk, Framing, Line, Message},
    http2::Reset,
    wire::Protocol,
};

use super::{
    Flaw, coding,
    encode::size_in,
    fields::Fields,
    json::{Document, Fault, Kind, Node},
    payload::{self, ReadBody},
    value,
    words::Word,
};
use crate::{
    Address, FORMAT,
    model::{
        Cassette, CassetteId, Cause, Confidence, Connection, Content, Defect, Ended, Exchange, HttpExchange, Recorded,
        Rule, Turn, Via, WireExchange,
    },
};

/// How deep a cassette may be nested.
const DEPTH: usize = 128;

/// The room that is made for a message's head, in bytes.
const HEAD: usize = 512;

/// A cassette and what was found beside it.
pub struct Decoded {
    pub cassette: Cassette,
    /// The format that it was written in.
    pub format: (u16, u16),
    /// Fields that this format does not have.
    pub unknown: Vec<Fault>,
    /// Decoded views that do not say what the raw body says.
    pub false_views: Vec<Fault>,
}

/// Read a cassette. Unknown fields and false views are reported, not refused; body files come from `read_body`.
pub fn decode(text: &str, read_body: &mut ReadBody<'_>) -> Result<Decoded, Flaw> {
    let document = Document::parse(text, DEPTH).map_err(Flaw::Syntax)?;
    let mut fields = Fields::of(document.root())?;
    let format = read_format(&mut fields)?;
    if format.0 > FORMAT.0 {
        return Err(Flaw::Newer(format));
    }
    let mut reader = Reader { read_body, unknown: Vec::new(), false_views: Vec::new() };
    let cassette = reader.cassette(fields)?;
    Ok(Decoded { cassette, format, unknown: reader.unknown, false_views: reader.false_views })
}

fn read_format(fields: &mut Fields<'_>) -> Result<(u16, u16), Fault> {
    let Some(node) = fields.optional("regress") else {
        return Err(fields.fault("no format version (the field `regress`): this is not a cassette"));
    };
    let text = node.string()?;
    let number = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten();
    match text.split_once('.').and_then(|(major, minor)| Some((number(major)?, number(minor)?))) {
        Some(format) if format.0 > 0 => Ok(format),
        _ => Err(node.fault("not a format version: expected MAJOR.MINOR")),
    }
}

/// Read a number that is not negative.
pub fn unsigned(node: Node<'_>) -> Result<u64, Fault> {
    number(node)
}

fn number<T: std::str::FromStr>(node: Node<'_>) -> Result<T, Fault> {
    match node.token_text().parse() {
        Ok(number) if node.kind() == Kind::Number => Ok(number),
        _ => Err(node.fault("expected a whole number that fits its field")),
    }
}

fn flag(node: Option<Node<'_>>) -> Result<bool, Fault> {
    match node.map(|node| (node, node.token_text())) {
        None | Some((_, "false")) => Ok(false),
        Some((_, "true")) => Ok(true),
        Some((node, _)) => Err(node.fault("expected true or false")),
    }
}

/// A list of two numbers.
fn pair(node: Node<'_>, what: &str) -> Result<(u64, u64), Flaw> {
    match node.items()?.as_slice() {
        [first, second] => Ok((number(*first)?, number(*second)?)),
        _ => Err(node.fault(format!("expected two numbers: {what}")).into()),
    }
}

fn address(node: Node<'_>) -> Result<Address, Fault> {
    node.string()?.parse().map_err(|_| node.fault("not an address: expected IP:PORT or unix:NAME"))
}

/// The one field of an object such as `{"gap": {..}}`.
fn tagged(node: Node<'_>) -> Result<(String, Node<'_>), Fault> {
    match node.members()?.as_slice() {
        [(key, value)] => Ok((key.string()?, *value)),
        _ => Err(node.fault("expected an object with one field")),
    }
}

struct Reader<'r, 'f> {
    read_body: &'r mut ReadBody<'f>,
    unknown: Vec<Fault>,
    false_views: Vec<Fault>,
}

impl Reader<'_, '_> {
    fn cassette(&mut self, mut fields: Fields<'_>) -> Result<Cassette, Flaw> {
        let id = fields.required("id")?;
        let id = match CassetteId(id.string()?) {
            valid if valid.is_valid() => valid,
            _ => return Err(id.fault("not an id: 1 to 128 of [0-9A-Za-z.-], not starting with a dot").into()),
        };
        let recorded = self.recorded(fields.required("recorded")?)?;
        let nondeterministic = self.optional_list(fields.optional("nondeterministic"), |_, node| Ok(node.string()?))?;
        let redacted = self.optional_list(fields.optional("redacted"), |_, node| Ok(node.string()?))?;
        let redacted = redacted.into_iter().collect();
        let entry = fields.optional("entry").map(|entry| self.exchange(entry)).transpose()?;
        let downstream = self.each(fields.required("downstream")?, Self::exchange)?;
        let defects = self.each(fields.required("defects")?, Self::defect)?;
        fields.finish(&mut self.unknown);
        Ok(Cassette { id, recorded, nondeterministic, redacted, entry, downstream, defects })
    }

    fn each<T>(
        &mut self,
        list: Node<'_>,
        mut read: impl FnMut(&mut Self, Node<'_>) -> Result<T, Flaw>,
    ) -> Result<Vec<T>, Flaw> {
        list.items()?.into_iter().map(|item| read(self, item)).collect()
    }

    fn optional_list<T>(
        &mut self,
        list: Option<Node<'_>>,
        read: impl FnMut(&mut Self, Node<'_>) -> Result<T, Flaw>,
    ) -> Result<Vec<T>, Flaw> {
        list.map_or(Ok(Vec::new()), |list| self.each(list, read))
    }

    fn recorded(&mut self, node: Node<'_>) -> Result<Recorded, Flaw> {
        let mut fields = Fields::of(node)?;
        let at = fields.required("at")?;
        let recorded = Recorded {
            at: at.string()?,
            service: fields.required("service")?.string()?,
            by: fields.required("by")?.string()?,
            via: Via::read(fields.required("via")?)?,
            kernel: fields.required("kernel")?.string()?,
        };
        if recorded.at.parse::<jiff::Timestamp>().is_err() {
            return Err(at.fault("not a time: expected RFC 3339").into());
        }
        fields.finish(&mut self.unknown);
        Ok(recorded)
    }

    fn exchange(&mut self, node: Node<'_>) -> Result<Exchange, Flaw> {
        let mut fields = Fields::of(node)?;
        let protocol = fields.required("protocol")?;
        let content = match protocol.text()?.as_ref() {
            version @ ("http1" | "http2") => {
                let http = self.http(&mut fields)?;
                if http.is_http2() != (version == "http2") {
                    return Err(protocol.fault("the start lines are of another version of HTTP").into());
                }
                Content::Http1(http)
            }
            "opaque" => Content::Opaque(self.each(fields.required("turns")?, Self::turn)?),
            "none" => Content::Nothing,
            word => match Protocol::of_word(word) {
                Some(protocol) => Content::Wire(self.wire(protocol, &mut fields)?),
                None => return Err(protocol.fault("a protocol that this format does not have").into()),
            },
        };
        let exchange = Exchange {
            downstream: fields.optional("downstream").map(|name| name.string()).transpose()?,
            connection: self.connection(fields.required("connection")?)?,
            at: number(fields.required("at_us")?)?,
            took: fields.optional("took_us").map(number).transpose()?,
            content,
            ended: Ended::read(fields.required("ended")?)?,
            cause: fields.optional("cause").map(|cause| self.cause(cause)).transpose()?,
            defects: self.each(fields.required("defects")?, Self::defect)?,
        };
        fields.finish(&mut self.unknown);
        Ok(exchange)
    }

    fn connection(&mut self, node: Node<'_>) -> Result<Connection, Flaw> {
        let mut fields = Fields::of(node)?;
        let connection = Connection {
            id: number(fields.required("id")?)?,
            local: fields.optional("local").map(address).transpose()?,
            peer: address(fields.required("peer")?)?,
            tls: flag(fields.optional("tls"))?,
        };
        fields.finish(&mut self.unknown);
        Ok(connection)
    }

    fn cause(&mut self, node: Node<'_>) -> Result<Cause, Flaw> {
        let mut fields = Fields::of(node)?;
        let cause = Cause {
            rule: Rule::read(fields.required("rule")?)?,
            confidence: Confidence::read(fields.required("confidence")?)?,
            after_response: flag(fields.optional("after_response"))?,
        };
        fields.finish(&mut self.unknown);
        Ok(cause)
    }

    fn http(&mut self, fields: &mut Fields<'_>) -> Result<HttpExchange, Flaw> {
        Ok(HttpExchange {
            request: self.message(fields.required("request")?)?,
            interim: self.optional_list(fields.optional("interim"), Self::message)?,
            response: fields.optional("response").map(|response| self.message(response)).transpose()?,
            streamed: self.optional_list(fields.optional("streamed"), |_, node| pair(node, "microseconds, bytes"))?,
            upgraded: self.optional_list(fields.optional("upgraded"), Self::turn)?,
            interleaved: self.optional_list(fields.optional("interleaved"), |_, node| {
                pair(node, "bytes of the request, bytes of the response")
            })?,
            reset: fields.optional("reset").map(|reset| self.reset(reset)).transpose()?,
            left: flag(fields.optional("left"))?,
        })
    }

    fn reset(&mut self, node: Node<'_>) -> Result<Reset, Flaw> {
        let mut fields = Fields::of(node)?;
        let reset = Reset { from: Side::read(fields.required("from")?)?, code: number(fields.required("code")?)? };
        fields.finish(&mut self.unknown);
        Ok(reset)
    }

    fn wire(&mut self, protocol: Protocol, fields: &mut Fields<'_>) -> Result<WireExchange, Flaw> {
        let request = value::read(fields.required("request")?, self.read_body)?;
        let response = fields.optional("response").map(|response| value::read(response, self.read_body)).transpose()?;
        Ok(WireExchange { protocol, request, response })
    }

    fn turn(&mut self, node: Node<'_>) -> Result<Turn, Flaw> {
        let mut fields = Fields::of(node)?;
        let turn =
            Turn { from: Side::read(fields.required("from")?)?, bytes: payload::read(&mut fields, self.read_body)? };
        fields.finish(&mut self.unknown);
        Ok(turn)
    }

    fn message(&mut self, node: Node<'_>) -> Result<Message, Flaw> {
        let mut fields = Fields::of(node)?;
        let lead = self.optional_piece(fields.optional("lead"))?.unwrap_or_default();
        let (start, headers) = self.head(fields.required("start")?, fields.required("headers")?)?;
        let mut message = Message {
            lead,
            start,
            headers,
            end: Line(self.optional_piece(fields.optional("end"))?.unwrap_or_default()),
            body: Bytes::new(),
            framing: Framing::Empty,
            truncated: self.optional_piece(fields.optional("truncated"))?,
        };
        if let Some(body) = fields.optional("body") {
            self.body(body, &mut message)?;
        }
        message.framing = match fields.optional("framing") {
            Some(framing) => self.framing(framing)?,
            None if message.body.is_empty() => Framing::Empty,
            None => Framing::Length,
        };
        fields.finish(&mut self.unknown);
        Ok(message)
    }

    /// The lines of a head, all cut from one buffer.
    fn head(&mut self, start: Node<'_>, headers: Node<'_>) -> Result<(Line, Vec<Line>), Flaw> {
        let mut bytes = Vec::with_capacity(HEAD);
        payload::read_piece(start, &mut bytes, &mut self.unknown)?;
        let headers = headers.items()?;
        let mut ends = Vec::with_capacity(headers.len());
        let first = bytes.len();
        for header in headers {
            payload::read_piece(header, &mut bytes, &mut self.unknown)?;
            ends.push(bytes.len());
        }
        let bytes = Bytes::from(bytes);
        let mut begin = first;
        let lines = ends.into_iter().map(|end| Line(bytes.slice(std::mem::replace(&mut begin, end)..end)));
        Ok((Line(bytes.slice(..first)), lines.collect()))
    }

    fn body(&mut self, node: Node<'_>, message: &mut Message) -> Result<(), Flaw> {
        let mut fields = Fields::of(node)?;
        message.body = payload::read(&mut fields, self.read_body)?;
        if let Some(decoded) = fields.optional("decoded") {
            let mut view_fields = Fields::of(decoded)?;
            let view = payload::read(&mut view_fields, self.read_body)?;
            view_fields.finish(&mut self.unknown);
            if coding::decoded_view(message) != Some(view) {
                self.false_views.push(decoded.fault("the decoded view does not say what the body says"));
            }
        }
        fields.finish(&mut self.unknown);
        Ok(())
    }

    fn framing(&mut self, node: Node<'_>) -> Result<Framing, Flaw> {
        if node.kind() == Kind::ObjectOpen {
            return match tagged(node)? {
                (tag, chunked) if tag == "chunked" => self.chunked(chunked),
                _ => Err(node.fault("expected `chunked`").into()),
            };
        }
        match node.text()?.as_ref() {
            "empty" => Ok(Framing::Empty),
            "length" => Ok(Framing::Length),
            "close" => Ok(Framing::Close),
            _ => Err(node.fault("expected one of `empty`, `length`, `close`, or {\"chunked\": ..}").into()),
        }
    }

    fn chunked(&mut self, node: Node<'_>) -> Result<Framing, Flaw> {
        let mut fields = Fields::of(node)?;
        let chunks = self.each(fields.required("chunks")?, Self::chunk)?;
        let trailers = self.optional_list(fields.optional("trailers"), Self::line)?;
        let end = Line(self.optional_piece(fields.optional("end"))?.unwrap_or_default());
        fields.finish(&mut self.unknown);
        Ok(Framing::Chunked { chunks, trailers, end })
    }

    fn chunk(&mut self, node: Node<'_>) -> Result<Chunk, Flaw> {
        match node.kind() {
            Kind::Number => {
                let size = unsigned(node)?;
                Ok(Chunk { line: Line(format!("{size:x}").into()), size })
            }
            Kind::String => {
                let line = node.string()?;
                let size = size_in(&line).ok_or_else(|| node.fault("a size line that does not begin with a size"))?;
                Ok(Chunk { line: Line(line.into()), size })
            }
            _ => {
                let mut fields = Fields::of(node)?;
                let line = self.line(fields.required("line")?)?;
                let size = unsigned(fields.required("size")?)?;
                fields.finish(&mut self.unknown);
                Ok(Chunk { line, size })
            }
        }
    }

    fn line(&mut self, node: Node<'_>) -> Result<Line, Flaw> {
        self.piece(node).map(Line)
    }

    fn optional_piece(&mut self, node: Option<Node<'_>>) -> Result<Option<Bytes>, Flaw> {
        node.map(|node| self.piece(node)).transpose()
    }

    fn piece(&mut self, node: Node<'_>) -> Result<Bytes, Flaw> {
        let mut bytes = Vec::new();
        payload::read_piece(node, &mut bytes, &mut self.unknown)?;
        Ok(bytes.into())
    }

    fn defect(&mut self, node: Node<'_>) -> Result<Defect, Flaw> {
        if node.kind() == Kind::String {
            return Ok(match node.text()?.as_ref() {
                "joined-mid-stream" => Defect::JoinedMidStream,
                "unfinished" => Defect::Unfinished,
                "garbage" => Defect::Garbage,
                "encrypted" => Defect::Encrypted,
                "ambiguous-owner" => Defect::AmbiguousOwner,
                _ => return Err(node.fault("a defect that this format does not have").into()),
            });
        }
        let (tag, inner) = tagged(node)?;
        let mut fields = Fields::of(inner)?;
        let defect = match tag.as_str() {
            "gap" => Defect::Gap {
                from: Side::read(fields.required("from")?)?,
                position: unsigned(fields.required("position")?)?,
                bytes: unsigned(fields.required("bytes")?)?,
            },
            "lost-events" => Defect::LostEvents {
                events: unsigned(fields.required("events")?)?,
                bytes: unsigned(fields.required("bytes")?)?,
            },
            _ => return Err(node.fault("a defect that this format does not have").into()),
        };
        fields.finish(&mut self.unknown);
        Ok(defect)
    }
}
