//! Secrets in messages of HTTP. Whatever is replaced, a message stays one: lengths are what they say.

use bytes::Bytes;
use regress_protocols::http1::{Chunk, Framing, Line, Message};

use super::{
    bodies, coding,
    coding::Decoded,
    names,
    pass::{DEEPEST, Edit, Edits, Pass, applied},
    report::{Kind, Place},
    scan::field,
    turns,
};
use crate::model::HttpExchange;

/// Headers in which there are no secrets, and in which what is there may look like some.
const HARMLESS: &[&str] = &[
    "accept",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "etag",
    "expires",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "keep-alive",
    "last-modified",
    "sec-websocket-accept",
    "sec-websocket-key",
    "server",
    "traceparent",
    "transfer-encoding",
    "user-agent",
    "vary",
    "x-request-id",
    "content-md5",
    "digest",
    "x-hub-signature",
    "x-hub-signature-256",
    "idempotency-key",
];

/// Headers that are a link.
const LINKS: &[&str] = &["location", "content-location", "referer", "origin"];

/// Where bytes of a body are once something was replaced in it.
pub(super) enum Moved {
    Not,
    By(Edits),
    /// It was coded anew: about there.
    Scaled(u64, u64),
}

impl Moved {
    pub fn at(&self, old: u64) -> u64 {
        match self {
            Moved::Not => old,
            Moved::Scaled(before, after) => {
                let scaled = u128::from(old.min(*before)) * u128::from(*after) / u128::from((*before).max(1));
                scaled as u64
            }
            Moved::By(edits) => {
                let (mut new, mut end) = (0_u64, 0_u64);
                for Edit { at, with } in edits {
                    let (from, to) = (at.start as u64, at.end as u64);
                    if old <= from {
                        break;
                    }
                    new += from - end;
                    if old < to {
                        return new + (old - from).min(with.len() as u64);
                    }
                    new += with.len() as u64;
                    end = to;
                }
                new + (old - end)
            }
        }
    }
}

impl Pass<'_> {
    /// Replaces what has to be in an exchange. `false`: a body of it could not be read, and was replaced as a whole.
    pub(super) fn http(&mut self, http: &mut HttpExchange) -> bool {
        let (asked, mut readable) = self.message(&mut http.request);
        for interim in &mut http.interim {
            readable &= self.message(interim).1;
        }
        let mut answered = Moved::Not;
        if let Some(response) = &mut http.response {
            let (moved, is_readable) = self.message(response);
            (answered, readable) = (moved, readable & is_readable);
        }
        http.streamed.iter_mut().for_each(|(_, bytes)| *bytes = answered.at(*bytes));
        for (request, response) in &mut http.interleaved {
            (*request, *response) = (asked.at(*request), answered.at(*response));
        }
        if !http.upgraded.is_empty() {
            let is_web_socket = http.request.header_lists("upgrade", "websocket");
            turns::redact(self, &mut http.upgraded, is_web_socket);
        }
        readable
    }

    /// Replaces what has to be in a message: how its body moved, and whether it could be read.
    pub(super) fn message(&mut self, message: &mut Message) -> (Moved, bool) {
        self.place = Place::Target;
        self.start_line(message);
        self.place = Place::Header;
        message.headers.iter_mut().for_each(|line| self.line(line));
        if let Framing::Chunked { trailers, .. } = &mut message.framing {
            self.place = Place::Trailer;
            trailers.iter_mut().for_each(|line| self.line(line));
        }
        self.place = Place::Body;
        if let Some(truncated) = &mut message.truncated {
            let edits = self.scan(truncated, DEEPEST);
            if let Some(made) = applied(truncated, &edits) {
                *truncated = made.into();
            }
        }
        self.replace_body(message)
    }

    fn start_line(&mut self, message: &mut Message) {
        let text = message.start.text();
        let Some(space) = memchr::memchr(b' ', text).filter(|_| message.is_request()) else { return };
        let end = memchr::memrchr(b' ', text).filter(|end| *end > space).unwrap_or(text.len());
        let edits = self.target(&text[space + 1..end], DEEPEST);
        edit_line(&mut message.start, edits, space + 1);
    }

    fn line(&mut self, line: &mut Line) {
        let Some((name, at)) = field(line) else { return };
        let name = name.to_ascii_lowercase();
        let value = &line.text()[at.clone()];
        let whole = |with: Option<Vec<u8>>| -> Edits {
            with.map(|with| Edit { at: 0..value.len(), with }).into_iter().collect()
        };
        let edits = if let Some(kind) = self.rules.header(&name) {
            whole(self.secret(kind, value, DEEPEST))
        } else if name == b"cookie" {
            self.cookies(value)
        } else if name == b"set-cookie" {
            self.set_cookie(value)
        } else if HARMLESS.iter().any(|harmless| name == harmless.as_bytes()) {
            return;
        } else if let Some(kind) = names::secret(&name) {
            whole(self.secret(kind, value, DEEPEST))
        } else if LINKS.iter().any(|link| name == link.as_bytes()) {
            self.target(value, DEEPEST)
        } else {
            whole(self.leaf(value, None, DEEPEST))
        };
        edit_line(line, edits, at.start);
    }

    fn replace_body(&mut self, message: &mut Message) -> (Moved, bool) {
        if message.body.is_empty() {
            return (Moved::Not, true);
        }
        let content_type = bodies::lossy(message.header("content-type")).into_owned();
        let (body, moved) = match coding::decode(message) {
            Decoded::Plain => {
                let edits = self.body(&message.body, &content_type, DEEPEST);
                let Some(made) = applied(&message.body, &edits) else { return (Moved::Not, true) };
                (made, Moved::By(edits))
            }
            Decoded::Content(content, codings) => {
                let edits = self.body(&content, &content_type, DEEPEST);
                let Some(made) = applied(&content, &edits) else { return (Moved::Not, true) };
                let Some(coded) = coding::encode(&made, &codings) else { return (Moved::Not, self.blank(message)) };
                let moved = Moved::Scaled(message.body.len() as u64, coded.len() as u64);
                (coded, moved)
            }
            Decoded::Unreadable => return (Moved::Not, self.blank(message)),
        };
        let before = message.body.len();
        message.body = body.into();
        set_length(message, before, &moved);
        (moved, true)
    }

    /// Replaces a body as a whole by as many bytes; `true` where it was so already.
    fn blank(&mut self, message: &mut Message) -> bool {
        let blank: Vec<u8> = b"redacted ".iter().copied().cycle().take(message.body.len()).collect();
        if message.body == blank {
            return true;
        }
        self.replaced.count(Kind::Unreadable, self.place);
        message.body = blank.into();
        false
    }
}

/// Makes edits of what begins at `from` in a line, which keeps its end.
fn edit_line(line: &mut Line, edits: Edits, from: usize) {
    let edits: Edits = edits.into_iter().map(|edit| edit.moved(from)).collect();
    if let Some(made) = applied(&line.0, &edits) {
        line.0 = made.into();
    }
}

/// Has the head and the chunks of a message say how long its body is now.
fn set_length(message: &mut Message, before: usize, moved: &Moved) {
    let after = message.body.len();
    if before == after {
        return;
    }
    for line in &mut message.headers {
        let Some((name, at)) = field(line) else { continue };
        let said = &line.text()[at.clone()];
        if name.eq_ignore_ascii_case(b"content-length") && said == before.to_string().as_bytes() {
            edit_line(line, vec![Edit { at, with: after.to_string().into_bytes() }], 0);
        }
    }
    let is_http2 = message.is_http2();
    if let Framing::Chunked { chunks, .. } = &mut message.framing {
        resize(chunks, after as u64, is_http2, moved);
    }
}

/// Cuts the body where it was cut, as far as that is still within it.
fn resize(chunks: &mut Vec<Chunk>, length: u64, is_http2: bool, moved: &Moved) {
    let (mut old, mut new) = (0, 0);
    let last_with_data = chunks.iter().rposition(|chunk| chunk.size > 0);
    for (index, chunk) in chunks.iter_mut().enumerate().filter(|(_, chunk)| chunk.size > 0) {
        old += chunk.size;
        let end = if Some(index) == last_with_data { length } else { moved.at(old).clamp(new, length) };
        let size = end - new;
        if size != chunk.size {
            let line = chunk.line.text();
            let extension = line.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(line.len());
            let made = [format!("{size:x}").as_bytes(), &chunk.line.0[extension..]].concat();
            chunk.line = Line(Bytes::from(made));
        }
        (chunk.size, new) = (size, end);
    }
    // In HTTP/1 a chunk without data ends the body.
    if !is_http2 && let Some(last) = last_with_data {
        let mut index = 0;
        chunks.retain(|chunk| {
            index += 1;
            chunk.size > 0 || index - 1 > last
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_move_with_what_is_before_them() {
        let moved =
            Moved::By(vec![Edit { at: 2..4, with: b"12345".to_vec() }, Edit { at: 6..10, with: b"1".to_vec() }]);
        let at: Vec<u64> = (0..=12).map(|old| moved.at(old)).collect();
        assert_eq!(at, [0, 1, 2, 3, 7, 8, 9, 10, 10, 10, 10, 11, 12]);
        assert_eq!(Moved::Scaled(10, 20).at(5), 10);
        assert_eq!(Moved::Scaled(0, 20).at(0), 0);
    }

    #[test]
    fn chunks_keep_their_cuts_and_extensions() {
        let chunk = |line: &str, size| Chunk { line: Line::new(line.to_owned()), size };
        let mut chunks = vec![chunk("04;x=y", 4), chunk("2", 2), chunk("A", 10), chunk("0", 0)];
        let moved = Moved::By(vec![Edit { at: 3..8, with: b"!".to_vec() }]);
        resize(&mut chunks, 12, false, &moved);
        assert_eq!(chunks, [chunk("04;x=y", 4), chunk("8", 8), chunk("0", 0)]);
    }
}
