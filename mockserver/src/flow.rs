//! Content of HTTP/2, sent under flow control (RFC 9113 section 5.2).

use std::future::poll_fn;

use bytes::Bytes;
use h2::SendStream;

/// Sends content as the other side has room for it, and ends the stream with it if it `ends`. `None` where the stream is over.
pub async fn send(stream: &mut SendStream<Bytes>, mut content: Bytes, ends: bool) -> Option<()> {
    while !content.is_empty() {
        stream.reserve_capacity(content.len());
        let room = poll_fn(|context| stream.poll_capacity(context)).await?.ok()?;
        let piece = content.split_to(room.min(content.len()));
        let is_last = content.is_empty();
        stream.send_data(piece, ends && is_last).ok()?;
        if is_last {
            return Some(());
        }
    }
    stream.send_data(content, ends).ok()
}
