//! What a cassette holds, apart from how it is written.

use std::{collections::BTreeSet, fmt};

use bytes::Bytes;
use regress_protocols::{Request, Side, Value, http1::Message, http2::Reset, wire::Protocol};
use serde::{Deserialize, Serialize};

use crate::{Address, format};

/// Microseconds.
pub type Micros = u64;

/// The name of a cassette: unique in its store, ordered by the time the entry began, safe as a file name
/// (`[0-9A-Za-z.-]`, for example `20261122T101502.123456Z-0007`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CassetteId(pub String);

impl CassetteId {
    /// The number of the entry in its recording, which a recorder's ids end in.
    pub fn number(&self) -> Option<u64> {
        self.0.rsplit_once('-')?.1.parse().ok()
    }

    /// When the entry began, with which a recorder's ids begin.
    pub fn time(&self) -> Option<jiff::Timestamp> {
        let (time, _) = self.0.split_once("Z-")?;
        let time = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%S%.f", time).ok()?;
        Some(time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
    }
}

impl fmt::Display for CassetteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One recorded entry with everything it caused, or (with `entry` absent) the ambient exchanges of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cassette {
    /// Its id; `ambient` for the ambient cassette.
    pub id: CassetteId,
    /// How it was recorded.
    pub recorded: Recorded,
    /// Why the entry is non-deterministic: what was not as recorded when the recording was replayed at once against the
    /// build that was recorded. Empty = nothing, or nobody looked.
    pub nondeterministic: Vec<String>,
    /// Of which kinds secrets were replaced in it ([`crate::redact::Kind::word`]). Empty = there were none, or nobody looked.
    pub redacted: BTreeSet<String>,
    /// The entry; `None` in the ambient cassette.
    pub entry: Option<Exchange>,
    /// Downstream exchanges in the order in which their requests began.
    pub downstream: Vec<Exchange>,
    /// What is known to be missing from the cassette as a whole (not tied to one exchange).
    pub defects: Vec<Defect>,
}

/// How a cassette was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// When the entry began, RFC 3339 in UTC with microseconds.
    pub at: String,
    /// The service's name.
    pub service: String,
    /// The recorder, for example `regress 0.1.0`.
    pub by: String,
    /// Which capture source.
    pub via: Via,
    /// The host's kernel release.
    pub kernel: String,
}

/// The capture source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Via {
    /// Kernel tracepoints on socket operations.
    Socket,
    /// The kernel's functions for internet sockets.
    Inet,
    /// The entry and exit of system calls.
    Syscall,
    /// Regress stood in the data path.
    Proxy,
}

/// One request and its response, or how it ended, on one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// Logical name of the downstream (from Host, SNI or DNS; `host:port`, the port left out where it is the
    /// protocol's default). `None` on entries.
    pub downstream: Option<String>,
    /// The connection it travelled on.
    pub connection: Connection,
    /// When the first request byte moved, from the start of the entry (in the ambient cassette, of the recording).
    /// Negative when the exchange began before its entry was complete.
    pub at: i64,
    /// From the first request byte to the last response byte; `None` when there was no whole response.
    pub took: Option<Micros>,
    /// What was said.
    pub content: Content,
    /// How it ended.
    pub ended: Ended,
    /// Why it belongs to this cassette; `None` on entries and in the ambient cassette.
    pub cause: Option<Cause>,
    /// What is known to be missing or uncertain. Empty = complete.
    pub defects: Vec<Defect>,
}

/// A connection as the service had it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Connection {
    /// A small number, unique within a recording, in order of opening.
    pub id: u64,
    /// The service's address. `None` where it never got one (a refused connection, the client's end of a Unix connection).
    pub local: Option<Address>,
    /// The other side's address.
    pub peer: Address,
    /// Whether the content was read from inside TLS.
    pub tls: bool,
}

/// What was said in an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "almost every exchange is HTTP; a box would save nothing")]
pub enum Content {
    /// HTTP/1.0, HTTP/1.1 or HTTP/2: the start lines of its messages say which.
    Http1(HttpExchange),
    /// Another protocol that is read.
    Wire(WireExchange),
    /// Bytes of no recognised protocol, in turns.
    Opaque(Vec<Turn>),
    /// The connection was never established, so that nothing was said.
    Nothing,
}

/// An HTTP exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpExchange {
    /// The request.
    pub request: Message,
    /// Responses before the final one (1xx), in order.
    pub interim: Vec<Message>,
    /// The final response; `None` when the connection ended before one.
    pub response: Option<Message>,
    /// Arrival of the response's body in pieces: (microseconds since the response began, body bytes so far), only
    /// where it came in more than one piece. Empty otherwise.
    pub streamed: Vec<(Micros, u64)>,
    /// What followed a switch of protocols (101, or 2xx to CONNECT), in turns. Empty otherwise.
    pub upgraded: Vec<Turn>,
    /// What ended the stream before its time (HTTP/2 only).
    pub reset: Option<Reset>,
    /// Where the response began before the request was over (HTTP/2 only), the turns that the sides took: (bytes of the
    /// request's body so far, bytes of the response's body before more of the request came). Empty otherwise.
    pub interleaved: Vec<(u64, u64)>,
    /// The client closed its side of the connection while the response was under way (HTTP/1 only): it had enough, and what
    /// followed was the service's reaction to that, or on its way already.
    pub left: bool,
}

/// An exchange in a protocol other than HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireExchange {
    /// Which protocol.
    pub protocol: Protocol,
    /// The request; [`Value::Null`] where the server said something on its own.
    pub request: Value,
    /// The response; `None` where there is none, or the connection ended before it.
    pub response: Option<Value>,
}

/// Bytes of one side until the other spoke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Who spoke.
    pub from: Side,
    /// What was said.
    pub bytes: Bytes,
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ended {
    /// A whole response came.
    Ok,
    /// The connection was reset before the end.
    Reset,
    /// The connection was refused.
    Refused,
    /// Connecting or waiting timed out.
    Timeout,
    /// The connection was closed in good order before the end.
    Closed,
    /// The recording ended first.
    Unfinished,
}

/// Why an exchange belongs to an entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cause {
    /// The rule that said so.
    pub rule: Rule,
    /// How far it can be trusted.
    pub confidence: Confidence,
    /// The exchange began after the entry was answered.
    pub after_response: bool,
}

/// An owner rule (docs/ARCHITECTURE.md has them all).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// The unit's last read was of this entry, or of a response that belongs to it.
    LastRead,
    /// The connection was opened by a unit that worked for this entry, and this is its first request.
    Connect,
    /// The unit was born of one that worked for this entry, or is the task that answers it.
    Lineage,
    /// No other entry was open.
    Alone,
    /// An id in a header of the exchange was in one of this entry's request, and of no other's.
    PropagatedId,
    /// Values of the exchange are in what only this entry received.
    Values,
}

/// How far an owner can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Confidence {
    /// No other entry could have caused it by any rule.
    Certain,
    /// Only a rule that can be wrong says so: replays as if it were certain, and the report names it.
    Likely,
    /// The rules disagree or cannot tell: replays as inconclusive.
    Ambiguous,
}

/// Something that is missing from a cassette or uncertain in it. Any defect makes a replay inconclusive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Defect {
    /// Bytes that moved and were not seen.
    Gap {
        /// Whose bytes.
        from: Side,
        /// Offset in that side's stream on the connection.
        position: u64,
        /// How many.
        bytes: u64,
    },
    /// The exchange was already under way when the recording began.
    JoinedMidStream,
    /// The recording ended before the exchange did.
    Unfinished,
    /// The capture source lost events while this was recorded.
    LostEvents {
        /// How many.
        events: u64,
        /// Payload bytes lost, where known.
        bytes: u64,
    },
    /// Bytes that could not be read as the protocol of the connection.
    Garbage,
    /// An encrypted connection: its content could not be read.
    Encrypted,
    /// Owner unknown: one of several entries caused it.
    AmbiguousOwner,
}

impl CassetteId {
    /// The id of the ambient cassette.
    pub const AMBIENT: &'static str = "ambient";

    /// Whether it is safe as a file name: 1 to 128 of `[0-9A-Za-z.-]`, not starting with a dot.
    pub fn is_valid(&self) -> bool {
        let safe = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b'-';
        (1..=128).contains(&self.0.len()) && !self.0.starts_with('.') && self.0.bytes().all(safe)
    }
}

impl Cassette {
    /// A digest of all that it says: SHA-256, in lower-case hexadecimal, of its text in the present format.
    pub fn digest(&self) -> String {
        format::hash(format::encode(self).0.as_bytes())
    }

    /// Whether anything is known to be missing or uncertain: in the cassette itself, its entry, or any downstream
    /// exchange.
    pub fn has_defects(&self) -> bool {
        !self.defects.is_empty() || self.exchanges().any(Exchange::has_defects)
    }

    /// The entry, if there is one, and then the downstream exchanges.
    pub fn exchanges(&self) -> impl Iterator<Item = &Exchange> {
        self.entry.iter().chain(&self.downstream)
    }
}

impl HttpExchange {
    /// A request, its response if there was one, and nothing else.
    pub fn new(request: Message, response: Option<Message>) -> HttpExchange {
        HttpExchange {
            request,
            interim: Vec::new(),
            response,
            streamed: Vec::new(),
            upgraded: Vec::new(),
            reset: None,
            interleaved: Vec::new(),
            left: false,
        }
    }

    /// Whether it is HTTP/2.
    pub fn is_http2(&self) -> bool {
        self.response.iter().chain([&self.request]).any(Message::is_http2)
    }
}

impl Exchange {
    /// What was said, if it was HTTP.
    pub fn http(&self) -> Option<&HttpExchange> {
        match &self.content {
            Content::Http1(http) => Some(http),
            Content::Wire(_) | Content::Opaque(_) | Content::Nothing => None,
        }
    }

    /// What was said, if it was in another protocol that is read.
    pub fn wire(&self) -> Option<&WireExchange> {
        match &self.content {
            Content::Wire(wire) => Some(wire),
            Content::Http1(_) | Content::Opaque(_) | Content::Nothing => None,
        }
    }

    /// The request, in whatever protocol that is read.
    pub fn request(&self) -> Option<Request<'_>> {
        match &self.content {
            Content::Http1(http) => Some(Request::Http(&http.request)),
            Content::Wire(wire) => Some(Request::Wire(wire.protocol, &wire.request)),
            Content::Opaque(_) | Content::Nothing => None,
        }
    }

    /// What was said in turns, if it was of no recognised protocol, and all of it was seen by TCP from the beginning of the connection
    /// to its end: such a conversation can be played again.
    pub fn conversation(&self) -> Option<&[Turn]> {
        let is_whole =
            self.defects.is_empty() && self.ended != Ended::Unfinished && self.connection.peer.inet().is_some();
        match &self.content {
            Content::Opaque(turns) if is_whole && !turns.is_empty() => Some(turns),
            _ => None,
        }
    }

    /// Whether nothing was ever said on a connection that was established.
    pub fn is_silent(&self) -> bool {
        self.defects.is_empty() && matches!(&self.content, Content::Opaque(turns) if turns.is_empty())
    }

    /// The request, where there is one that could be made again: not where the server said something on its own.
    pub fn asked(&self) -> Option<Request<'_>> {
        self.request().filter(|request| !matches!(request, Request::Wire(_, Value::Null)))
    }

    /// Whether anything is known to be missing or uncertain, the owner included.
    pub fn has_defects(&self) -> bool {
        let ambiguous = self.cause.as_ref().is_some_and(|cause| cause.confidence == Confidence::Ambiguous);
        ambiguous || !self.defects.is_empty()
    }
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Defect::Gap { from, position, bytes } => {
                let side = match from {
                    Side::Client => "client",
                    Side::Server => "server",
                };
                write!(f, "{bytes} bytes from the {side} were not seen, from byte {position} of its stream on")
            }
            Defect::JoinedMidStream => f.write_str("already under way when the recording began"),
            Defect::Unfinished => f.write_str("not over when the recording ended"),
            Defect::LostEvents { events, bytes } => write!(f, "{events} events lost ({bytes} bytes)"),
            Defect::Garbage => f.write_str("bytes that are not of the connection's protocol"),
            Defect::Encrypted => f.write_str("encrypted: its content could not be read"),
            Defect::AmbiguousOwner => f.write_str("owner unknown: one of several entries caused it"),
        }
    }
}
