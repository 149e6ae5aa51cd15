//! A connection in no recognised protocol, played: the client has to say what it said then, byte for byte.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{Ending, READ, early};
use crate::{
    mock::{PREFIX, Place, Shared},
    turns::Next,
};

/// Plays a conversation until it ends; `seen` was read already.
pub(super) async fn converse<S>(stream: &mut S, place: Place, shared: &Shared, seen: Vec<u8>) -> Ending
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut follower = shared.follower(place);
    let mut buffer = vec![0; READ];
    let mut heard = seen;
    let mut flight = None;
    loop {
        if !heard.is_empty() {
            flight.get_or_insert_with(|| shared.flight());
            follower.hear(&heard);
        }
        let (said, next) = follower.go_on();
        // A client that is gone shows when it is its turn.
        if stream.write_all(&said).await.is_ok() {
            drop(stream.flush().await);
        }
        match next {
            Next::Say(_) | Next::Hear => {}
            Next::Stray => return Ending::Close,
            Next::End(ended) => {
                drop(flight);
                let ending = early(ended);
                if ending == Ending::Reset {
                    return ending;
                }
                if ending == Ending::Close {
                    drop(stream.shutdown().await);
                }
                if let Ok(count @ 1..) = stream.read(&mut buffer[..PREFIX]).await {
                    follower.beyond(&buffer[..count]);
                }
                return Ending::Close;
            }
        }
        if !follower.is_amid() {
            flight = None;
        }
        match stream.read(&mut buffer).await {
            Ok(count @ 1..) => heard = buffer[..count].to_vec(),
            Ok(0) | Err(_) => {
                heard.clear();
                follower.finish();
            }
        }
    }
}

#[cfg(test)]
mod tests;
