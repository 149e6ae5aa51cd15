//! Both ways of one connection, passed on and told.

use std::io;

use bytes::BytesMut;
use regress_ebpf::{CloseCause, Direction};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};

use super::tap::Tap;

/// How many bytes are passed on at once.
pub(super) const PIECE: usize = 64 * 1024;

/// The connection ended in disorder.
struct Broken;

/// How many bytes of a connection have passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Passed {
    /// The service sent.
    pub sent: u64,
    /// It received.
    pub received: u64,
}

impl Passed {
    pub(super) fn of(&mut self, direction: Direction) -> &mut u64 {
        match direction {
            Direction::Sent => &mut self.sent,
            Direction::Received => &mut self.received,
        }
    }
}

/// Pass bytes between the service and the other side until both have finished. After anything but
/// [`CloseCause::Closed`] the caller resets both connections.
pub(super) async fn relay<S, O>(service: S, other: O, passed: Passed, tap: &Tap) -> CloseCause
where
    S: AsyncRead + AsyncWrite,
    O: AsyncRead + AsyncWrite,
{
    let (from_service, to_service) = split(service);
    let (from_other, to_other) = split(other);
    let sent = pass(from_service, to_other, Direction::Sent, passed.sent, tap);
    let received = pass(from_other, to_service, Direction::Received, passed.received, tap);
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
    mut position: u64,
    tap: &Tap,
) -> Result<(), Broken> {
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

#[cfg(test)]
mod tests {
    use regress_ebpf::EventKind;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, duplex},
        sync::mpsc,
    };

    use super::*;
    use crate::{proxy::tap::Taps, source::Item};

    /// Both sides write more than any buffer holds before they read: neither way may wait for the other.
    #[tokio::test]
    async fn both_ways_pass_at_once_and_are_told_in_full() {
        const MUCH: usize = 300_000;
        let (items, mut told) = mpsc::channel(1000);
        let (service, service_end) = duplex(1000);
        let (other, other_end) = duplex(1000);
        let tap = Taps::new(items).tap();
        let relaying = tokio::spawn(async move { relay(service_end, other_end, Passed::default(), &tap).await });
        let side = |end, byte| async move {
            let (mut read, mut write) = split(end);
            let mut got = Vec::new();
            let wrote = async {
                write.write_all(&vec![byte; MUCH]).await.unwrap();
                write.shutdown().await.unwrap();
            };
            tokio::join!(wrote, async { read.read_to_end(&mut got).await.unwrap() });
            got
        };
        let (at_service, at_other) = tokio::join!(side(service, b's'), side(other, b'o'));
        assert_eq!(relaying.await.unwrap(), CloseCause::Closed);
        assert_eq!((at_service, at_other), (vec![b'o'; MUCH], vec![b's'; MUCH]));
        let (mut bytes, mut ends) = ([0u64; 2], 0);
        while let Some(Item::Event(event)) = told.recv().await {
            match event.kind {
                EventKind::Data { direction, position, bytes: piece, .. } => {
                    assert_eq!(position, bytes[direction as usize]);
                    assert!(piece.iter().all(|b| *b == if direction == Direction::Sent { b's' } else { b'o' }));
                    bytes[direction as usize] += piece.len() as u64;
                }
                EventKind::Finished { .. } => ends += 1,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((bytes, ends), ([MUCH as u64; 2], 2));
    }
}
