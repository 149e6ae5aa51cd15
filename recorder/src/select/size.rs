//! Bodies that are left out because they are larger than wanted.

use bytes::Bytes;
use regress_cassettes::{Cassette, Content, Defect, Exchange};
use regress_protocols::{
    Side,
    http1::{Framing, Message},
};

/// Take out the bodies of HTTP messages that are larger than this, and say so in their exchanges; gives how many bodies and
/// bytes that are. A part of a body would serve nobody: it is no JSON any more, and where it ends there may be half a
/// secret, which nobody recognises.
pub(super) fn cut(cassette: &mut Cassette, most: u64) -> (u64, u64) {
    let exchanges = cassette.entry.iter_mut().chain(&mut cassette.downstream);
    exchanges.map(|exchange| cut_exchange(exchange, most)).fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1))
}

fn cut_exchange(exchange: &mut Exchange, most: u64) -> (u64, u64) {
    let Content::Http1(http) = &mut exchange.content else { return (0, 0) };
    let messages = [(Side::Client, Some(&mut http.request)), (Side::Server, http.response.as_mut())];
    let mut all = (0, 0);
    for (from, message) in messages {
        let Some(bytes) = message.and_then(|message| take_body(message, most)) else { continue };
        all = (all.0 + 1, all.1 + bytes);
        exchange.defects.push(Defect::Gap { from, position: 0, bytes });
    }
    if all.0 > 0 {
        // They count bytes of bodies.
        http.streamed.clear();
        http.interleaved.clear();
    }
    all
}

/// Take a body out that is too large; gives how many bytes it had.
fn take_body(message: &mut Message, most: u64) -> Option<u64> {
    let bytes = message.body.len() as u64;
    if bytes <= most {
        return None;
    }
    message.body = Bytes::new();
    if let Framing::Chunked { chunks, trailers, .. } = &mut message.framing {
        chunks.clear();
        trailers.clear();
        message.truncated = Some(Bytes::new());
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use regress_protocols::http1::{Chunk, Line};

    use super::*;

    #[test]
    fn a_body_goes_as_a_whole_where_it_is_too_large() {
        let mut message = Message::response(200, "OK", &[("Content-Length", "6")], "abcdef");
        assert_eq!(take_body(&mut message, 6), None);
        assert_eq!(&message.body[..], b"abcdef");
        assert_eq!(take_body(&mut message, 5), Some(6));
        assert!(message.body.is_empty());
    }

    #[test]
    fn its_chunks_go_with_it() {
        let mut message = Message::response(200, "OK", &[("Transfer-Encoding", "chunked")], "abc");
        let chunk = |size: u64| Chunk { line: Line::new(format!("{size:x}")), size };
        let (chunks, trailers) = (vec![chunk(3), chunk(0)], vec![Line::new("x: y")]);
        message.framing = Framing::Chunked { chunks, trailers, end: Line::default() };
        assert_eq!(take_body(&mut message, 2), Some(3));
        let Framing::Chunked { chunks, trailers, .. } = &message.framing else { panic!("{message:?}") };
        assert!(chunks.is_empty() && trailers.is_empty() && !message.is_complete());
    }
}
