//! Answering a request as the server that was recorded.

use super::{Framing, Message, framing::Answering};

/// The bytes to send, and what to do then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Everything to send, in order.
    pub bytes: Vec<u8>,
    /// What to do after they were sent.
    pub then: Then,
}

/// What becomes of a connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Wait for the next request.
    KeepOpen,
    /// Close it.
    Close,
    /// It left HTTP: what follows is opaque.
    Tunnel,
}

/// The answer to `request` with a recorded response and the interim responses before it.
///
/// The bytes are the recorded ones, but for what the request at hand cannot be told: a HEAD request gets no body, and
/// an HTTP/1.0 client gets neither interim responses (RFC 9110 section 15.2) nor chunks (RFC 9112 section 6.1).
/// The connection is closed after a response that ends with it or was cut, when either side asked for that, and
/// after every answer to an HTTP/1.0 client.
pub fn answer(request: &Message, interim: &[Message], response: &Message) -> Answer {
    answer_after(request, interim, response, false)
}

/// Like [`answer`], where `100 Continue` was sent already if `continued`: one such interim response is left out.
pub fn answer_after(request: &Message, interim: &[Message], response: &Message, continued: bool) -> Answer {
    let old_client = request.version() < (1, 1);
    let mut bytes = Vec::with_capacity(512 + response.body.len());
    if !old_client {
        let sent = interim.iter().position(|message| continued && message.status() == 100);
        for (_, message) in interim.iter().enumerate().filter(|(index, _)| Some(*index) != sent) {
            bytes.extend_from_slice(&message.wire());
        }
    }
    let headless = request.method() == "HEAD" && response.has_whole_head();
    if headless {
        response.write_head(&mut bytes);
    } else if old_client && matches!(response.framing, Framing::Chunked { .. }) {
        unchunked(response).write_head(&mut bytes);
        bytes.extend_from_slice(&response.body);
    } else {
        response.write(&mut bytes);
    }
    Answer { bytes, then: then(request, response, old_client) }
}

fn then(request: &Message, response: &Message, old_client: bool) -> Then {
    if response.is_complete() && request.asks_to_switch() && Answering::to(request.method()).switches(response.status())
    {
        return Then::Tunnel;
    }
    let bodiless = request.method() == "HEAD" || matches!(response.status(), 100..=199 | 204 | 304);
    let promised = !bodiless && response.framing == Framing::Empty;
    let ends = old_client || !request.keeps_alive() || !response.keeps_alive();
    // A response recorded for HEAD announces a body that is not there.
    if ends || promised { Then::Close } else { Then::KeepOpen }
}

/// The response without its transfer coding, to be ended by closing the connection.
fn unchunked(response: &Message) -> Message {
    let mut plain = response.clone();
    plain.headers.retain(|line| {
        let name = line.text().split(|byte| *byte == b':').next().unwrap_or_default();
        !name.eq_ignore_ascii_case(b"transfer-encoding") && !name.eq_ignore_ascii_case(b"trailer")
    });
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::{Limits, Line, ResponseReader};

    fn get() -> Message {
        Message::request("GET", "/", &[], "")
    }

    fn read(method: &str, bytes: &[u8]) -> Message {
        let mut reader = ResponseReader::new(method, Limits::default());
        let mut messages = reader.feed(bytes).unwrap();
        messages.pop().or_else(|| reader.finish()).unwrap()
    }

    fn old(method: &str) -> Message {
        let mut request = Message::request(method, "/", &[("Connection", "keep-alive")], "");
        request.start = Line::new(format!("{method} / HTTP/1.0").into_bytes());
        request
    }

    #[test]
    fn the_recorded_bytes_on_an_open_connection() {
        let response = Message::response(200, "OK", &[("X", "y")], "body");
        let answer = answer(&get(), &[], &response);
        assert_eq!(answer, Answer { bytes: response.wire(), then: Then::KeepOpen });
    }

    #[test]
    fn interim_responses_come_first_and_a_sent_continue_is_dropped() {
        let go_on = Message::response(100, "Continue", &[], "");
        let hints = Message::response(103, "Early Hints", &[("Link", "x")], "");
        let response = Message::response(204, "No Content", &[], "");
        let interim = [go_on.clone(), hints.clone()];
        let all = answer(&get(), &interim, &response);
        assert_eq!(all.bytes, [go_on.wire(), hints.wire(), response.wire()].concat());
        let rest = answer_after(&get(), &interim, &response, true);
        assert_eq!(rest.bytes, [hints.wire(), response.wire()].concat());
        assert_eq!(rest.then, Then::KeepOpen);
    }

    #[test]
    fn connections_that_must_close() {
        let response = Message::response(200, "OK", &[], "x");
        let closing = Message::request("GET", "/", &[("Connection", "close")], "");
        assert_eq!(answer(&closing, &[], &response).then, Then::Close);
        assert_eq!(answer(&old("GET"), &[], &response).then, Then::Close);
        let until_close = read("GET", b"HTTP/1.1 200 OK\r\n\r\nbody");
        assert_eq!(answer(&get(), &[], &until_close), Answer { bytes: until_close.wire(), then: Then::Close });
        let cut = read("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbody");
        assert_eq!(answer(&get(), &[], &cut), Answer { bytes: cut.wire(), then: Then::Close });
        let closes = Message::response(200, "OK", &[("Connection", "close")], "x");
        assert_eq!(answer(&get(), &[], &closes).then, Then::Close);
    }

    #[test]
    fn head_gets_no_body() {
        let head = Message::request("HEAD", "/", &[], "");
        let response = Message::response(200, "OK", &[], "body");
        let answered = answer(&head, &[], &response);
        assert_eq!(answered.bytes, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n");
        assert_eq!(answered.then, Then::KeepOpen);
        let recorded = read("HEAD", &answered.bytes);
        assert_eq!(answer(&head, &[], &recorded), answered);
        assert_eq!(answer(&get(), &[], &recorded).then, Then::Close);
    }

    #[test]
    fn an_old_client_gets_no_chunks_and_no_interim_responses() {
        let response =
            read("GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nA: b\r\n\r\n2\r\nhi\r\n0\r\n\r\n");
        let interim = [Message::response(103, "Early Hints", &[], "")];
        let answered = answer(&old("GET"), &interim, &response);
        assert_eq!(answered.bytes, b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nhi");
        assert_eq!(answered.then, Then::Close);
    }

    #[test]
    fn switches_of_protocol_become_tunnels() {
        let connect = Message::request("CONNECT", "h:1", &[], "");
        let established = read("CONNECT", b"HTTP/1.1 200 OK\r\n\r\n");
        assert_eq!(answer(&connect, &[], &established).then, Then::Tunnel);
        let refused = Message::response(407, "No", &[], "x");
        assert_eq!(answer(&connect, &[], &refused).then, Then::KeepOpen);
        let upgrade = Message::request("GET", "/", &[("Upgrade", "x"), ("Connection", "Upgrade")], "");
        let switched = read("GET", b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n");
        assert_eq!(answer(&upgrade, &[], &switched).then, Then::Tunnel);
    }
}
