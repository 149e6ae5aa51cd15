//! Reading one direction of a connection: requests, or the response to one request.

use bytes::{Bytes, BytesMut};

use super::{
    assemble::{Assembler, Excess, Kind, Step},
    error::ParseError,
    framing::Answering,
    message::{Framing, Message},
};

/// How large a message may get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a head, of a trailer section, and of one chunk line.
    pub head: usize,
    /// Bytes of a body. Every chunk counts its line and 64 bytes more.
    pub body: u64,
}

impl Default for Limits {
    /// 256 KiB of head, 1 GiB of body.
    fn default() -> Self {
        Limits { head: 256 << 10, body: 1 << 30 }
    }
}

/// Reads the requests of one connection.
///
/// After a request that asks to leave HTTP ([`Message::asks_to_switch`]) the bytes behind it wait in
/// [`RequestReader::remaining`], as only the response tells what they are. The next `feed` (it may be empty) reads
/// them as requests.
#[derive(Debug)]
pub struct RequestReader {
    assembler: Assembler,
    waiting: BytesMut,
    continues: Continue,
    failed: Option<ParseError>,
}

/// Where the request in the making stands with `Expect: 100-continue`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Continue {
    No,
    Wanted,
    Told,
}

impl RequestReader {
    /// A reader at the first byte of a connection.
    pub fn new(limits: Limits) -> RequestReader {
        RequestReader {
            assembler: Assembler::new(Kind::Request, limits, Excess::Refuse),
            waiting: BytesMut::new(),
            continues: Continue::No,
            failed: None,
        }
    }

    /// Reads more bytes and gives the requests that they complete.
    ///
    /// # Errors
    /// Bytes that are not HTTP/1, or not in one meaning only. Requests before them are given first; the error then
    /// comes with the next call, and with every later one.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Message>, ParseError> {
        if self.waiting.is_empty() {
            return self.read(bytes);
        }
        self.waiting.extend_from_slice(bytes);
        let waiting = self.waiting.split();
        self.read(&waiting)
    }

    fn read(&mut self, mut bytes: &[u8]) -> Result<Vec<Message>, ParseError> {
        let mut messages = Vec::new();
        if let Some(error) = self.failed {
            return Err(error);
        }
        loop {
            match self.assembler.step(&mut bytes) {
                Ok(Some(Step::Began)) => self.continues = Continue::No,
                Ok(Some(Step::Head)) if self.assembler.head().expects_continue() => self.continues = Continue::Wanted,
                Ok(Some(Step::Head)) => {}
                Ok(Some(Step::Complete(message))) => {
                    self.continues = Continue::No;
                    let switch = message.asks_to_switch();
                    messages.push(message);
                    if switch {
                        self.waiting.extend_from_slice(bytes);
                        return Ok(messages);
                    }
                }
                Ok(None) => return Ok(messages),
                Err(error) => {
                    self.failed = Some(error);
                    return if messages.is_empty() { Err(error) } else { Ok(messages) };
                }
            }
        }
    }

    /// True once for a request whose head asks for `100 Continue` and whose body is not whole yet.
    pub fn wants_continue(&mut self) -> bool {
        let wanted = self.continues == Continue::Wanted;
        if wanted {
            self.continues = Continue::Told;
        }
        wanted
    }

    /// Bytes behind a request that asks to leave HTTP.
    pub fn remaining(&self) -> &[u8] {
        &self.waiting
    }

    /// Bytes held for a request that is not whole yet.
    pub fn buffered(&self) -> usize {
        self.assembler.held() + self.waiting.len()
    }

    /// The client will send no more: the request that was cut by that, truncated.
    ///
    /// # Errors
    /// The one that [`RequestReader::feed`] had.
    pub fn finish(mut self) -> Result<Option<Message>, ParseError> {
        self.failed.map_or_else(|| Ok(self.assembler.end()), Err)
    }
}

/// Reads the response to one request, with the interim responses before it.
#[derive(Debug)]
pub struct ResponseReader {
    assembler: Assembler,
    done: bool,
    after: BytesMut,
}

impl ResponseReader {
    /// A reader for the response to a request with that method.
    pub fn new(method: &str, limits: Limits) -> ResponseReader {
        let mut assembler = Assembler::new(Kind::Response, limits, Excess::Refuse);
        assembler.answers(Answering::to(method));
        ResponseReader { assembler, done: false, after: BytesMut::new() }
    }

    /// Reads more bytes and gives the responses that they complete: interim ones (1xx but 101), then the final one.
    ///
    /// # Errors
    /// Bytes that are not HTTP/1, or not in one meaning only. Responses before them are given first; the error then
    /// comes with the next call, and with every later one.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<Vec<Message>, ParseError> {
        let mut messages = Vec::new();
        while !self.done {
            match self.assembler.step(&mut bytes) {
                Ok(Some(Step::Complete(message))) => {
                    self.done = !is_interim(&message);
                    messages.push(message);
                }
                Ok(Some(_)) => {}
                Ok(None) => return Ok(messages),
                Err(error) if messages.is_empty() => return Err(error),
                Err(_) => return Ok(messages),
            }
        }
        self.after.extend_from_slice(bytes);
        Ok(messages)
    }

    /// Whether the final response is whole.
    pub fn done(&self) -> bool {
        self.done
    }

    /// Whether a response without a length is being read: it ends with the connection.
    pub fn runs_until_close(&self) -> bool {
        self.assembler.has_begun() && self.assembler.head().framing == Framing::Close
    }

    /// The response in the making, without its body, and its body so far; `None` before its head is whole, and where it has
    /// no body.
    pub fn so_far(&self) -> Option<(&Message, &[u8])> {
        let has_body = self.assembler.has_begun() && self.assembler.head().framing != Framing::Empty;
        has_body.then(|| (self.assembler.head(), self.assembler.body()))
    }

    /// Bytes behind the final response.
    pub fn remaining(&self) -> &[u8] {
        &self.after
    }

    /// Takes the bytes behind the final response.
    pub fn into_remaining(self) -> Bytes {
        self.after.freeze()
    }

    /// The server will send no more: the response that was in the making, complete if it was to run until now,
    /// else truncated.
    pub fn finish(mut self) -> Option<Message> {
        self.assembler.end()
    }
}

/// Whether another response follows to the same request (RFC 9110 section 15.2).
pub(super) fn is_interim(response: &Message) -> bool {
    matches!(response.status(), 100 | 102..=199)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::Fault;

    fn requests(bytes: &[u8]) -> Vec<Message> {
        RequestReader::new(Limits::default()).feed(bytes).unwrap()
    }

    #[test]
    fn requests_come_out_as_they_went_in() {
        let wire = b"\r\nGET /a HTTP/1.1\r\nHost: x\r\n\r\nPOST /b HTTP/1.1\nContent-Length: 3\n\nabc\
            POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nT: v\r\n\r\n";
        let messages = requests(wire);
        assert_eq!(messages.iter().flat_map(Message::wire).collect::<Vec<_>>(), wire);
        assert_eq!(messages.iter().map(Message::target).collect::<Vec<_>>(), ["/a", "/b", "/c"]);
        assert_eq!(messages.iter().map(|message| &message.body[..]).collect::<Vec<_>>(), [&b""[..], b"abc", b"abc"]);
    }

    #[test]
    fn a_response_after_an_interim_one() {
        let mut reader = ResponseReader::new("GET", Limits::default());
        let messages =
            reader.feed(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokmore").unwrap();
        assert_eq!(messages.iter().map(Message::status).collect::<Vec<_>>(), [103, 200]);
        assert!(reader.done());
        assert_eq!(reader.remaining(), b"more");
    }

    #[test]
    fn a_response_is_seen_as_it_comes() {
        let mut reader = ResponseReader::new("GET", Limits::default());
        reader.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n").unwrap();
        assert!(reader.so_far().is_none());
        reader.feed(b"\r\n2\r\nab\r\n3\r\nc").unwrap();
        assert_eq!(reader.so_far().map(|(head, body)| (head.status(), body)), Some((200, &b"abc"[..])));
    }

    fn refusal(bytes: &[u8]) -> Option<Fault> {
        RequestReader::new(Limits { head: 100, body: 200 }).feed(bytes).err().map(|error| error.fault)
    }

    #[test]
    fn what_readers_could_take_in_two_ways_is_refused() {
        let post = |rest: &str| refusal(format!("POST / HTTP/1.1\r\n{rest}").as_bytes());
        let chunked = |rest: &str| post(&format!("Transfer-Encoding: chunked\r\n\r\n{rest}"));
        assert_eq!(refusal(b"GET /\r\n"), Some(Fault::RequestLine));
        assert_eq!(refusal(b"\rGET / HTTP/1.1\r\n"), Some(Fault::ControlCharacter));
        assert_eq!(post("A: b\rC: d\r\n"), Some(Fault::ControlCharacter));
        assert_eq!(post("A: b\0\r\n"), Some(Fault::ControlCharacter));
        assert_eq!(post(" A: b\r\n"), Some(Fault::Field));
        assert_eq!(post("A : b\r\n"), Some(Fault::Field));
        assert_eq!(post("Content-Length: 1\r\nContent-Length: 2\r\n\r\n"), Some(Fault::ContentLength));
        assert_eq!(post("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"), Some(Fault::AmbiguousLength));
        assert_eq!(post("Transfer-Encoding: gzip\r\n\r\n"), Some(Fault::TransferEncoding));
        assert_eq!(chunked("x\r\n"), Some(Fault::Chunk));
        assert_eq!(chunked("1;a\nb\r\n"), Some(Fault::Chunk));
        assert_eq!(chunked("1\r\nab\r\n"), Some(Fault::Chunk));
        assert_eq!(chunked("1\r\na\n0\r\n\r\n"), Some(Fault::Chunk));
        assert_eq!(chunked("0\r\n A: b\r\n"), Some(Fault::Field));
        assert_eq!(chunked("1\na\r\n0\n\n"), None);
    }

    #[test]
    fn limits_hold_for_every_part() {
        let post = |rest: String| refusal(format!("POST / HTTP/1.1\r\n{rest}").as_bytes());
        let chunked = |rest: String| post(format!("Transfer-Encoding: chunked\r\n\r\n{rest}"));
        assert_eq!(refusal("\r\n".repeat(60).as_bytes()), Some(Fault::HeadTooLarge));
        assert_eq!(post(format!("A: {}", "b".repeat(100))), Some(Fault::HeadTooLarge));
        assert_eq!(post("A: b\r\n".repeat(20)), Some(Fault::HeadTooLarge));
        assert_eq!(post("Content-Length: 201\r\n\r\n".to_owned()), Some(Fault::BodyTooLarge));
        assert_eq!(post(format!("Content-Length: 200\r\n\r\n{}", "b".repeat(200))), None);
        assert_eq!(chunked(format!("96\r\n{}", "b".repeat(150))), Some(Fault::BodyTooLarge));
        assert_eq!(chunked("1\r\na\r\n".repeat(4)), Some(Fault::BodyTooLarge));
        assert_eq!(chunked(format!("1;{}", "b".repeat(100))), Some(Fault::HeadTooLarge));
        assert_eq!(chunked(format!("0\r\n{}", "A: b\r\n".repeat(20))), Some(Fault::HeadTooLarge));
    }

    #[test]
    fn requests_before_the_bad_one_are_given_first() {
        let mut reader = RequestReader::new(Limits::default());
        assert_eq!(reader.feed(b"GET / HTTP/1.1\r\n\r\nbad line\r\n").unwrap().len(), 1);
        let error = reader.feed(b"").unwrap_err();
        assert_eq!(error, ParseError { offset: 28, fault: Fault::RequestLine });
        assert_eq!(error.to_string(), "not an HTTP/1 request line (before byte 28 of the stream)");
        assert_eq!(reader.feed(b"GET / HTTP/1.1\r\n\r\n"), Err(error));
        assert_eq!(reader.finish(), Err(error));
    }

    #[test]
    fn continue_is_wanted_once_and_only_while_the_body_is_out() {
        let head = b"PUT / HTTP/1.1\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n";
        let mut reader = RequestReader::new(Limits::default());
        reader.feed(&head[..30]).unwrap();
        assert!(!reader.wants_continue());
        reader.feed(&head[30..]).unwrap();
        assert!(reader.wants_continue());
        assert!(!reader.wants_continue());
        assert_eq!(reader.feed(b"ab").unwrap().len(), 1);
        reader.feed(&[&head[..], b"ab"].concat()).unwrap();
        assert!(!reader.wants_continue());
        reader.feed(b"GET / HTTP/1.1\r\nExpect: 100-continue\r\n\r\n").unwrap();
        assert!(!reader.wants_continue());
        reader.feed(b"PUT / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n").unwrap();
        assert!(!reader.wants_continue());
    }

    #[test]
    fn bytes_behind_a_request_to_switch_wait() {
        let mut reader = RequestReader::new(Limits::default());
        assert_eq!(reader.feed(b"CONNECT h:1 HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n").unwrap().len(), 1);
        assert_eq!(reader.remaining(), b"GET / HTTP/1.1\r\n");
        assert_eq!(reader.feed(b"\r\n").unwrap()[0].method(), "GET");
        assert_eq!(reader.remaining(), b"");
    }

    #[test]
    fn what_is_held_is_counted() {
        let mut reader = RequestReader::new(Limits::default());
        assert_eq!(reader.buffered(), 0);
        reader.feed(b"GET / HTTP/1.1\r\nA").unwrap();
        assert_eq!(reader.buffered(), 17);
        reader.feed(b": b\r\n\r\n").unwrap();
        assert_eq!(reader.buffered(), 0);
    }

    #[test]
    fn the_end_of_a_connection_completes_or_cuts() {
        let finish = |bytes: &[u8]| {
            let mut reader = ResponseReader::new("GET", Limits::default());
            assert!(reader.feed(bytes).unwrap().is_empty());
            reader.finish()
        };
        assert_eq!(finish(b""), None);
        let whole = finish(b"HTTP/1.0 200 OK\r\n\r\nbody").unwrap();
        assert_eq!((&whole.body[..], whole.is_complete(), whole.framing), (&b"body"[..], true, Framing::Close));
        for bytes in [
            &b"HT"[..],
            b"HTTP/1.1 200 OK\r\nA: b\r\nC",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\na",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nA: b\r\nC",
        ] {
            let cut = finish(bytes).unwrap();
            assert!(!cut.is_complete());
            assert_eq!(cut.wire(), bytes);
        }
    }

    #[test]
    fn a_folded_field_is_one_line() {
        let messages = requests(b"GET / HTTP/1.1\r\nA: b\r\n\t c\r\nD: e\r\n\r\n");
        assert_eq!(messages[0].headers.len(), 2);
        assert_eq!(messages[0].header_text("a").unwrap(), "b c");
    }

    #[test]
    fn composed_messages_read_back_as_they_are() {
        let composed = [
            Message::request("GET", "/", &[("Host", "x")], ""),
            Message::request("POST", "/", &[], "abc"),
            Message::request("POST", "/", &[("Transfer-Encoding", "chunked")], "abc"),
            Message::request("POST", "/", &[("transfer-encoding", "chunked")], ""),
        ];
        for message in composed {
            assert_eq!(requests(&message.wire()), [message]);
        }
        for message in [
            Message::response(200, "OK", &[], "abc"),
            Message::response(200, "OK", &[], ""),
            Message::response(204, "No Content", &[], "dropped"),
            Message::response(200, "OK", &[("Transfer-Encoding", "chunked")], "abc"),
        ] {
            let mut reader = ResponseReader::new("GET", Limits::default());
            assert_eq!(reader.feed(&message.wire()).unwrap(), [message]);
        }
    }
}
