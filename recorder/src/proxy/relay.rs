//! Both ways of one connection, passed on and told.

use std::io;

use bytes::BytesMut;
use regress_ebpf::{CloseCause, Direction};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};

use super::tap::Tap;

/// How many bytes are passed on at once.
const PIECE: usize = 64 * 1024;

/// The connection ended in disorder.
struct Broken;

/// Pass bytes between the service and the other side until both have finished. After anything but
/// [`CloseCause::Closed`] the caller resets both connections.
pub(super) async fn relay<S, O>(service: S, other: O, tap: &Tap) -> CloseCause
where
    S: AsyncRead + AsyncWrite,
    O: AsyncRead + AsyncWrite,
{
    let (from_service, to_service) = split(service);
    let (from_other, to_other) = split(other);
    let sent = pass(from_service, to_other, Direction::Sent, tap);
    let received = pass(from_other, to_service, Direction::Received, tap);
    match tokio::try_join!(sent, received) {
        Ok(_) => CloseCause::Closed,
        Err(Broken) => CloseCause::Reset,
    }
}

/// One way: every piece is told before it is passed on.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    direction: Direction,
    tap: &Tap,
) -> Result<(), Broken> {
    let mut position = 0;
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(PIECE);
        match from.read_buf(&mut buffer).await {
            Ok(0) => break,
            Ok(_) => {}
            // A peer that ends TLS without saying so is not uncommon.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(_) => return Err(Broken),
        }
        let bytes = buffer.split().freeze();
        tap.data(direction, position, bytes.clone()).await;
        position += bytes.len() as u64;
        to.write_all(&bytes).await.map_err(|_| Broken)?;
        to.flush().await.map_err(|_| Broken)?;
    }
    tap.finished(direction).await;
    // The other side may be gone entirely.
    let _ = to.shutdown().await;
    Ok(())
}
