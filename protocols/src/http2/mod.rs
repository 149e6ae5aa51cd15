//! HTTP/2 (RFC 9113): the streams of a connection, told as the HTTP messages that they are.
//!
//! A message has the form of HTTP/1 ([`crate::http1::Message`]), so that whatever compares, matches or shows messages does
//! not ask for the version: the start line says `POST /pkg.Service/Method HTTP/2` or `HTTP/2 200`, `:authority` is the
//! line `host` (RFC 9113 section 8.3.1), the fields follow in their order. The body is the content of the DATA frames: one
//! frame that ends the stream is [`Framing::Length`](crate::http1::Framing), everything else is chunked, with a chunk for
//! each frame (the last may be empty) and the trailers.

mod detect;
mod frame;
mod hpack;
mod message;
mod pair;
#[cfg(test)]
mod properties;
mod typed;

pub use detect::{Detected, PREFACE, begins_frames, detect, detect_server};
pub use message::{request, response, with_body};
pub use pair::Pairer;
pub use typed::{fields, frames, lines, request_head, request_of, response_head, response_of};

use crate::Side;

/// What ended a stream before its time: RST_STREAM (RFC 9113 section 6.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reset {
    /// Who sent it.
    pub from: Side,
    /// Why: an error code (RFC 9113 section 7).
    pub code: u32,
}

impl Reset {
    /// After a whole response: the rest of the request is not needed (RFC 9113 section 8.1).
    pub const NO_ERROR: u32 = 0;
    /// The server did nothing with the request (RFC 9113 section 8.7).
    pub const REFUSED_STREAM: u32 = 7;
    /// The stream is not wanted any more.
    pub const CANCEL: u32 = 8;

    /// The name of the code as the standard has it; `None` for one that it does not have.
    pub fn name(self) -> Option<&'static str> {
        const NAMES: [&str; 14] = [
            "NO_ERROR",
            "PROTOCOL_ERROR",
            "INTERNAL_ERROR",
            "FLOW_CONTROL_ERROR",
            "SETTINGS_TIMEOUT",
            "STREAM_CLOSED",
            "FRAME_SIZE_ERROR",
            "REFUSED_STREAM",
            "CANCEL",
            "COMPRESSION_ERROR",
            "CONNECT_ERROR",
            "ENHANCE_YOUR_CALM",
            "INADEQUATE_SECURITY",
            "HTTP_1_1_REQUIRED",
        ];
        NAMES.get(usize::try_from(self.code).ok()?).copied()
    }
}
