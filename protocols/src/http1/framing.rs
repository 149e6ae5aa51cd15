//! Where a body ends (RFC 9112 section 6.3).

use super::{error::Fault, grammar, message::Message};

/// How the end of a body will be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    Empty,
    Length(u64),
    Chunked,
    Close,
}

/// What of the request matters to the framing of its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) enum Answering {
    Head,
    Connect,
    #[default]
    Other,
}

impl Answering {
    pub fn to(method: &str) -> Answering {
        match method {
            "HEAD" => Answering::Head,
            "CONNECT" => Answering::Connect,
            _ => Answering::Other,
        }
    }

    /// Whether a response of that status ends HTTP on the connection.
    pub fn switches(self, status: u16) -> bool {
        status == 101 || (self == Answering::Connect && (200..300).contains(&status))
    }
}

/// The framing of a message by its head; `answering` is `None` for requests.
pub(super) fn of(head: &Message, answering: Option<Answering>) -> Result<Body, Fault> {
    if let Some(answering) = answering {
        let status = head.status();
        let bodiless = matches!(status, 100..=199 | 204 | 304) || answering == Answering::Head;
        if bodiless || answering.switches(status) {
            return Ok(Body::Empty);
        }
    }
    let response = answering.is_some();
    let has_length = head.header("content-length").is_some();
    if head.header("transfer-encoding").is_some() {
        if has_length && !response {
            return Err(Fault::AmbiguousLength);
        }
        return by_transfer_coding(head, response);
    }
    match content_length(head)? {
        Some(length) => Ok(Body::Length(length)),
        None if response => Ok(Body::Close),
        None => Ok(Body::Empty),
    }
}

/// Chunked must be the last coding and there only once; any other last coding runs until the connection closes,
/// which only a response can do.
fn by_transfer_coding(head: &Message, response: bool) -> Result<Body, Fault> {
    let folded = head.header_values("transfer-encoding").any(|value| value.contains(&b'\n'));
    let codings: Vec<&[u8]> = head.header_values("transfer-encoding").flat_map(grammar::list).collect();
    let is_chunked = |coding: &&[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let times = codings.iter().copied().filter(|coding| is_chunked(coding)).count();
    if folded || codings.is_empty() || times > 1 || head.version() < (1, 1) {
        return Err(Fault::TransferEncoding);
    }
    match codings.last() {
        Some(last) if is_chunked(last) => Ok(Body::Chunked),
        _ if response => Ok(Body::Close),
        _ => Err(Fault::TransferEncoding),
    }
}

/// The one value that all `Content-Length` members agree on.
fn content_length(head: &Message) -> Result<Option<u64>, Fault> {
    let mut agreed = None;
    for value in head.header_values("content-length") {
        for member in value.split(|byte| *byte == b',') {
            let length = grammar::decimal(member.trim_ascii()).ok_or(Fault::ContentLength)?;
            if agreed.is_some_and(|agreed| agreed != length) {
                return Err(Fault::ContentLength);
            }
            agreed = Some(length);
        }
        if value.contains(&b'\n') {
            return Err(Fault::ContentLength);
        }
    }
    Ok(agreed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(headers: &[(&str, &str)]) -> Result<Body, Fault> {
        of(&Message::request("POST", "/", headers, ""), None)
    }

    fn response(status: u16, headers: &[(&str, &str)], answering: Answering) -> Result<Body, Fault> {
        let mut message = Message::response(204, "", headers, "");
        message.start = super::super::Line::new(format!("HTTP/1.1 {status} x").into_bytes());
        of(&message, Some(answering))
    }

    const CHUNKED: (&str, &str) = ("Transfer-Encoding", "gzip, Chunked");
    const FIVE: (&str, &str) = ("content-length", "5");

    #[test]
    fn requests() {
        assert_eq!(request(&[]), Ok(Body::Empty));
        assert_eq!(request(&[FIVE]), Ok(Body::Length(5)));
        assert_eq!(request(&[FIVE, ("Content-Length", "5, 5")]), Ok(Body::Length(5)));
        assert_eq!(request(&[CHUNKED]), Ok(Body::Chunked));
        assert_eq!(request(&[FIVE, ("Content-Length", "6")]), Err(Fault::ContentLength));
        for bad in ["+5", "", "5,", "5 5", "0x5", "5, 6", "18446744073709551616", "5\r\n 5"] {
            assert_eq!(request(&[("Content-Length", bad)]), Err(Fault::ContentLength), "{bad:?}");
        }
        assert_eq!(request(&[CHUNKED, FIVE]), Err(Fault::AmbiguousLength));
        for bad in ["", "identity", "chunked, gzip", "chunked, chunked", "xchunked", "chunked;a=b", "gzip,\r\n chunked"]
        {
            assert_eq!(request(&[("Transfer-Encoding", bad)]), Err(Fault::TransferEncoding), "{bad:?}");
        }
        let mut old = Message::request("POST", "/", &[CHUNKED], "");
        old.start = super::super::Line::new("POST / HTTP/1.0");
        assert_eq!(of(&old, None), Err(Fault::TransferEncoding));
    }

    #[test]
    fn responses() {
        let other = Answering::Other;
        assert_eq!(response(200, &[], other), Ok(Body::Close));
        assert_eq!(response(200, &[FIVE], other), Ok(Body::Length(5)));
        assert_eq!(response(200, &[FIVE, CHUNKED], other), Ok(Body::Chunked));
        assert_eq!(response(200, &[("Transfer-Encoding", "gzip")], other), Ok(Body::Close));
        for status in [100, 101, 199, 204, 304] {
            assert_eq!(response(status, &[FIVE], other), Ok(Body::Empty));
        }
        assert_eq!(response(200, &[CHUNKED], Answering::Head), Ok(Body::Empty));
        assert_eq!(response(200, &[FIVE], Answering::Connect), Ok(Body::Empty));
        assert_eq!(response(407, &[FIVE], Answering::Connect), Ok(Body::Length(5)));
    }
}
