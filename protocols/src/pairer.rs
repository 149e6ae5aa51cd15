//! Both directions of a connection become exchanges, in whatever protocol it turns out to speak.

use bytes::Bytes;

use crate::{
    Mark, Request, Side,
    http1::{self, Detected as Http},
    http2::{self, Detected as Http2},
    pair::PairEvent,
    wire::{self, Detected, Fifo, Opening, Protocol},
};
pub use http1::Limits;

/// How much a server may say before the preface of its client.
const MOST_HELD: usize = 64 << 10;
/// The longest message of a protocol other than HTTP.
const LONGEST_MESSAGE: usize = 64 << 20;

/// Turns what both sides of one connection said into exchanges. It never fails: what it cannot read becomes an
/// opaque exchange or a [`Problem`](crate::Problem) of one.
#[derive(Debug)]
pub struct Pairer {
    limits: Limits,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Too little was said to tell the protocol: who said what, when.
    Fresh(Vec<(Mark, Side, Bytes)>),
    /// It was joined, and speaks HTTP/1 or nothing that was recognised yet.
    Joined(Box<http1::Pairer>),
    /// It speaks HTTP/1, or nothing that is read.
    Http1(Box<http1::Pairer>),
    Http2(Box<http2::Pairer>, Drained),
    Wire(Protocol, Box<Fifo>, Drained),
}

/// What the pairer before has found out and nobody took.
type Drained = std::collections::VecDeque<PairEvent>;

/// What the first bytes of a connection are.
enum First {
    Http2,
    Wire(Protocol),
    /// HTTP/1 or nothing that is read.
    Other,
    NeedMore,
}

impl Pairer {
    /// A pairer for one connection. One that was `joined` begins at an unknown place of both streams and waits for
    /// the first bytes of the client that begin a request.
    pub fn new(joined: bool, limits: Limits) -> Pairer {
        let state =
            if joined { State::Joined(Box::new(http1::Pairer::new(true, limits))) } else { State::Fresh(Vec::new()) };
        Pairer { limits, state }
    }

    /// Bytes moved.
    pub fn data(&mut self, mark: Mark, from: Side, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if let State::Joined(http) = &mut self.state
            && from == Side::Client
            && http.is_seeking()
            && let Some(protocol) = Protocol::detect_joined(bytes)
        {
            // What was seen before was the rest of something.
            http.stop(mark);
            let drained = std::iter::from_fn(|| http.next()).collect();
            let fifo = Fifo::joined(protocol, http.next_number(), LONGEST_MESSAGE);
            self.state = State::Wire(protocol, Box::new(fifo), drained);
        }
        if let State::Joined(http) = &mut self.state
            && http.is_seeking()
            && http2::begins_frames(bytes)
        {
            http.stop(mark);
            let drained = std::iter::from_fn(|| http.next()).collect();
            self.state = State::Http2(Box::new(http2::Pairer::joined(http.next_number(), self.limits)), drained);
        }
        match &mut self.state {
            State::Fresh(said) => {
                said.push((mark, from, Bytes::copy_from_slice(bytes)));
                match first(said) {
                    First::NeedMore => {}
                    First::Http2 => {
                        self.settle_as(State::Http2(Box::new(http2::Pairer::new(self.limits)), Drained::new()))
                    }
                    First::Other => self.settle(None),
                    First::Wire(protocol) => self.settle(Some(protocol)),
                }
            }
            State::Joined(http) | State::Http1(http) => http.data(mark, from, bytes),
            State::Http2(http, _) => http.data(mark, from, bytes),
            State::Wire(_, fifo, _) => fifo.data(mark, from, bytes),
        }
    }

    /// The protocol is known: what was held back goes on.
    fn settle(&mut self, protocol: Option<Protocol>) {
        self.settle_as(match protocol {
            None if self.is_unasked_http2() => State::Http2(Box::new(http2::Pairer::new(self.limits)), Drained::new()),
            None => State::Http1(Box::new(http1::Pairer::new(false, self.limits))),
            Some(protocol) => State::Wire(protocol, Box::new(Fifo::new(protocol, 0, LONGEST_MESSAGE)), Drained::new()),
        });
    }

    /// Whether a server of HTTP/2 has said what it begins with, and the client nothing.
    fn is_unasked_http2(&self) -> bool {
        let State::Fresh(said) = &self.state else { return false };
        let server: Vec<u8> = said.iter().flat_map(|(_, _, bytes)| bytes).copied().take(wire::ENOUGH).collect();
        said.iter().all(|(_, from, _)| *from == Side::Server) && http2::detect_server(&server) == Http2::Http2
    }

    fn settle_as(&mut self, state: State) {
        let State::Fresh(said) = &mut self.state else { return };
        let said = std::mem::take(said);
        self.state = state;
        for (mark, from, bytes) in said {
            self.data(mark, from, &bytes);
        }
    }

    /// Bytes moved that nobody saw. What is under way ends here, unless the protocol tells where it goes on; then the next request is looked
    /// for.
    pub fn gap(&mut self, mark: Mark, from: Side, bytes: u64) {
        self.settle(None);
        match &mut self.state {
            State::Joined(http) | State::Http1(http) => http.gap(mark, from, bytes),
            State::Http2(http, _) => http.gap(mark, from, bytes),
            State::Wire(_, fifo, _) => fifo.gap(mark, from, bytes),
            State::Fresh(_) => {}
        }
    }

    /// One side will send no more; the other may go on.
    pub fn finished(&mut self, mark: Mark, from: Side) {
        self.settle(None);
        match &mut self.state {
            State::Joined(http) | State::Http1(http) => http.finished(mark, from),
            State::Http2(http, _) => http.finished(mark, from),
            State::Wire(_, fifo, _) => fifo.finished(mark, from),
            State::Fresh(_) => {}
        }
    }

    /// The connection is gone, in good order: a response that was to run until then is complete.
    pub fn closed(&mut self, mark: Mark) {
        self.settle(None);
        match &mut self.state {
            State::Joined(http) | State::Http1(http) => http.closed(mark),
            State::Http2(http, _) => http.closed(mark),
            State::Wire(_, fifo, _) => fifo.closed(mark),
            State::Fresh(_) => {}
        }
    }

    /// The connection was reset: a response that was to run until its end is cut, unless the server had finished.
    pub fn reset(&mut self, mark: Mark) {
        self.settle(None);
        match &mut self.state {
            State::Joined(http) | State::Http1(http) => http.reset(mark),
            State::Http2(http, _) => http.reset(mark),
            State::Wire(_, fifo, _) => fifo.reset(mark),
            State::Fresh(_) => {}
        }
    }

    /// The recording ends: what is open is given as unfinished.
    pub fn stop(&mut self, mark: Mark) {
        self.settle(None);
        match &mut self.state {
            State::Joined(http) | State::Http1(http) => http.stop(mark),
            State::Http2(http, _) => http.stop(mark),
            State::Wire(_, fifo, _) => fifo.stop(mark),
            State::Fresh(_) => {}
        }
    }

    /// The next thing found out, in order.
    #[allow(clippy::should_implement_trait, reason = "more events may follow after None")]
    pub fn next(&mut self) -> Option<PairEvent> {
        match &mut self.state {
            State::Fresh(_) => None,
            State::Joined(http) | State::Http1(http) => http.next(),
            State::Http2(http, drained) => drained.pop_front().or_else(|| http.next()),
            State::Wire(_, fifo, drained) => drained.pop_front().or_else(|| fifo.next()),
        }
    }

    /// The request of an exchange, from when it is complete until the exchange is done.
    pub fn request(&self, number: u64) -> Option<Request<'_>> {
        match &self.state {
            State::Fresh(_) => None,
            State::Joined(http) | State::Http1(http) => http.request(number).map(Request::Http),
            State::Http2(http, _) => http.request(number).map(Request::Http),
            State::Wire(protocol, fifo, _) => fifo.request(number).map(|request| Request::Wire(*protocol, request)),
        }
    }

    /// Whether it is known to speak a protocol other than HTTP that is read.
    pub fn says_values(&self) -> bool {
        matches!(self.state, State::Wire(..))
    }

    /// Whether what is said is cut into exchanges: `None` while that is not known. It may become false later.
    pub fn is_read(&self) -> Option<bool> {
        match &self.state {
            State::Fresh(_) => None,
            State::Joined(http) if http.is_seeking() => None,
            State::Joined(http) | State::Http1(http) => Some(http.is_read()),
            State::Http2(http, _) => Some(http.is_read()),
            State::Wire(_, fifo, _) => Some(fifo.is_read()),
        }
    }

    /// Whether an exchange of a multiplexed connection was under way before anything was seen of it.
    pub fn is_unseen(&self, number: u64) -> bool {
        matches!(&self.state, State::Http2(http, _) if http.is_unseen(number))
    }

    /// Whether several exchanges may be under way at once, written by whoever writes for all of them.
    pub fn is_multiplexed(&self) -> bool {
        matches!(self.state, State::Http2(..))
    }
}

/// Tells the protocol by what was said first.
fn first(said: &[(Mark, Side, Bytes)]) -> First {
    let of = |side: Side| -> Vec<u8> {
        said.iter()
            .filter(|(_, from, _)| *from == side)
            .flat_map(|(_, _, bytes)| bytes)
            .copied()
            .take(wire::ENOUGH)
            .collect()
    };
    let server_first = said.first().is_some_and(|(_, from, _)| *from == Side::Server);
    let (client, server) = (of(Side::Client), if server_first { of(Side::Server) } else { Vec::new() });
    let http2 = match http2::detect(&client) {
        Http2::NeedMore if server_first => http2::detect_server(&server),
        // What a client of HTTP/1 may say as well is looked at below.
        Http2::NeedMore if http1::detect(&client) == Http::NeedMore => Http2::Other,
        detected => detected,
    };
    match http2 {
        Http2::Http2 if http2::detect(&client) == Http2::Http2 => return First::Http2,
        Http2::Other => {}
        // A server that goes on without the client's preface speaks something else.
        Http2::Http2 | Http2::NeedMore if said.iter().map(|(_, _, bytes)| bytes.len()).sum::<usize>() < MOST_HELD => {
            return First::NeedMore;
        }
        Http2::Http2 | Http2::NeedMore => {}
    }
    let http = if server_first { Http::Other } else { http1::detect(&client) };
    if matches!(http, Http::Http1 | Http::Tls) {
        return First::Other;
    }
    let wire = Protocol::detect(Opening { client: if server_first { &[] } else { &client }, server: &server });
    match wire {
        Some((protocol, Detected::Yes)) => First::Wire(protocol),
        // The other side speaks although the first has not said enough to be understood.
        _ if said.iter().any(|(_, from, _)| (*from == Side::Server) != server_first) => First::Other,
        Some((_, Detected::NeedMore)) => First::NeedMore,
        _ if http == Http::NeedMore => First::NeedMore,
        Some((_, Detected::No)) | None => First::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pair::PairedContent;

    const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";
    /// GET / without authority, by the fixed table of HPACK alone, on stream 1; and 200 to it.
    const GET: &[u8] = b"\0\0\x03\x01\x05\0\0\0\x01\x82\x84\x86";
    const OK: &[u8] = b"\0\0\x01\x01\x05\0\0\0\x01\x88";

    fn found(pairer: &mut Pairer) -> Vec<PairedContent> {
        let content = |event| if let PairEvent::Done(paired) = event { Some(paired.content) } else { None };
        std::iter::from_fn(|| pairer.next()).filter_map(content).collect()
    }

    fn is_http2(content: &PairedContent) -> bool {
        matches!(content, PairedContent::Http1 { request, response: Some(_), .. } if request.is_http2())
    }

    #[test]
    fn http2_is_told_whoever_speaks_first() {
        for server_first in [false, true] {
            let mut pairer = Pairer::new(false, Limits::default());
            let mut say = |from, bytes: &[u8]| bytes.chunks(5).for_each(|piece| pairer.data(1, from, piece));
            if server_first {
                say(Side::Server, SETTINGS);
            }
            say(Side::Client, http2::PREFACE);
            say(Side::Client, &[SETTINGS, GET].concat());
            say(Side::Server, OK);
            assert!(pairer.is_multiplexed());
            let found = found(&mut pairer);
            assert!(matches!(&found[..], [only] if is_http2(only)), "{found:?}");
        }
    }

    #[test]
    fn a_server_of_http2_that_nobody_asks_has_no_exchange() {
        let mut pairer = Pairer::new(false, Limits::default());
        pairer.data(1, Side::Server, SETTINGS);
        pairer.closed(2);
        assert_eq!(found(&mut pairer), []);
    }

    #[test]
    fn a_server_that_only_seems_to_begin_http2_is_opaque() {
        let mut pairer = Pairer::new(false, Limits::default());
        pairer.data(1, Side::Server, SETTINGS);
        pairer.data(2, Side::Client, b"something else entirely");
        pairer.closed(3);
        assert!(matches!(&found(&mut pairer)[..], [PairedContent::Opaque(turns)] if turns.len() == 2));
    }

    #[test]
    fn http2_that_was_joined_is_told_by_its_frames() {
        let mut pairer = Pairer::new(true, Limits::default());
        pairer.data(1, Side::Server, b"the rest of something");
        pairer.data(2, Side::Client, GET);
        assert_eq!(pairer.is_read(), Some(true));
        pairer.data(3, Side::Server, OK);
        let found = found(&mut pairer);
        assert!(matches!(&found[..], [PairedContent::Opaque(_), new] if is_http2(new)), "{found:?}");
    }
}
