//! Messages as the types of the `http` crate, which crates that speak HTTP/2 take and give.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, request, response};

use super::message;
use crate::http1::{Framing, Line, Message};

/// The head of a request, without its body.
pub fn request_of(head: &request::Parts) -> Message {
    let authority = head.uri.authority().map(http::uri::Authority::as_str);
    let target = match (head.uri.path_and_query(), authority) {
        (Some(target), _) if head.method != Method::CONNECT => target.as_str(),
        (_, Some(authority)) => authority,
        _ => "/",
    };
    let mut request = message::request(head.method.as_str(), target, &[], "");
    request.headers.extend(authority.map(|authority| Line::new(format!("host: {authority}"))));
    request.headers.extend(lines(&head.headers));
    request
}

/// The head of a response, without its body.
pub fn response_of(head: &response::Parts) -> Message {
    let mut response = message::response(head.status.as_u16(), &[], "", &[]);
    response.headers = lines(&head.headers);
    response
}

/// The head of a request to send: the first `host` is its authority. `None` where it has no method or target that can be
/// sent.
pub fn request_head(request: &Message, scheme: &str) -> Option<Request<()>> {
    let authority = request.header_text("host").unwrap_or_default();
    let mut uri = Uri::builder();
    if !authority.is_empty() {
        uri = uri.authority(&*authority);
    }
    if request.method() != "CONNECT" {
        uri = uri.path_and_query(&*request.target());
        if !authority.is_empty() {
            uri = uri.scheme(scheme);
        }
    }
    let mut head = Request::builder().method(request.method()).uri(uri.build().ok()?).body(()).ok()?;
    let is_host = |line: &&Line| split(line).0.eq_ignore_ascii_case(b"host");
    let host = request.headers.iter().position(|line| is_host(&line));
    let others = request.headers.iter().enumerate().filter(|(index, _)| Some(*index) != host);
    *head.headers_mut() = fields(others.map(|(_, line)| line));
    Some(head)
}

/// The head of a response to send; `None` where it has no status.
pub fn response_head(response: &Message) -> Option<Response<()>> {
    let mut head = Response::builder().status(response.status()).body(()).ok()?;
    *head.headers_mut() = fields(&response.headers);
    Some(head)
}

/// Header or trailer lines as fields, but for what cannot be one.
pub fn fields<'a>(lines: impl IntoIterator<Item = &'a Line>) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for line in lines {
        let (name, value) = split(line);
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            fields.append(name, value);
        }
    }
    fields
}

/// Fields as lines; those of one name stand together.
pub fn lines(fields: &HeaderMap) -> Vec<Line> {
    fields.iter().map(|(name, value)| Line::new([name.as_str().as_bytes(), b": ", value.as_bytes()].concat())).collect()
}

/// The sizes of the DATA frames that a body came in, in bytes: together all of it.
pub fn frames(message: &Message) -> Vec<usize> {
    let mut rest = message.body.len();
    let Framing::Chunked { chunks, .. } = &message.framing else { return vec![rest] };
    let mut frames = Vec::with_capacity(chunks.len() + 1);
    for chunk in chunks {
        let size = usize::try_from(chunk.size).unwrap_or(usize::MAX).min(rest);
        rest -= size;
        frames.push(size);
    }
    // A frame that was cut is none of the chunks.
    frames.extend((rest > 0).then_some(rest));
    frames
}

fn split(line: &Line) -> (&[u8], &[u8]) {
    let text = line.text();
    let colon = text.iter().position(|byte| *byte == b':').unwrap_or(text.len());
    (&text[..colon], text.get(colon + 1..).unwrap_or_default().trim_ascii())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_request_survives() {
        let headers = [("host", "x:1"), ("te", "trailers"), ("a", "1"), ("a", "2")];
        let request = message::request("POST", "/a.B/C?d=e", &headers, "");
        let (head, ()) = request_head(&request, "http").unwrap().into_parts();
        assert_eq!(head.uri.to_string(), "http://x:1/a.B/C?d=e");
        assert_eq!(request_of(&head), request);
        let connect = message::request("CONNECT", "db:5432", &[("host", "db:5432")], "");
        assert_eq!(request_head(&connect, "http").unwrap().uri().to_string(), "db:5432");
        assert!(request_head(&message::request("GET", "a b", &[], ""), "http").is_none());
    }

    #[test]
    fn a_response_survives() {
        let response = message::response(204, &[("a", "b"), ("c", "d")], "", &[]);
        let (head, ()) = response_head(&response).unwrap().into_parts();
        assert_eq!(response_of(&head), response);
    }

    #[test]
    fn frames_hold_the_body() {
        let response = message::response(200, &[], "abc", &[]);
        assert_eq!(frames(&response), [3]);
        let cut = message::with_body(response, Bytes::from_static(b"abcde"), &[2, 0], None, false);
        assert_eq!(frames(&cut), [2, 0, 3]);
    }
}
