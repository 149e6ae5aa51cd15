//! What is said before TLS that is asked for within a connection.

use bytes::BytesMut;
use regress_ebpf::{Direction, Preamble, Role, Turn};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split},
    select,
};

use super::{
    relay::{PIECE, Passed},
    tap::Tap,
};

/// How a connection goes on, behind what has passed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// In the clear. The service and the other side have said this, which is to be passed on.
    Clear(BytesMut, BytesMut),
    /// By TLS, of which the service has said this already.
    Tls(BytesMut),
    /// Not at all.
    Broken,
}

/// Pass on what both sides say until it is certain whether TLS follows. That is little: who passes on what follows does both ways at once.
pub(super) async fn pass<S, O>(service: S, other: O, tap: &Tap) -> (Passed, Then)
where
    S: AsyncRead + AsyncWrite,
    O: AsyncRead + AsyncWrite,
{
    let ((mut from_service, mut to_service), (mut from_other, mut to_other)) = (split(service), split(other));
    let (mut preamble, mut passed) = (Preamble::default(), Passed::default());
    loop {
        let (mut sent, mut received) = (BytesMut::with_capacity(PIECE), BytesMut::with_capacity(PIECE));
        let (direction, read) = select! {
            read = from_service.read_buf(&mut sent) => (Direction::Sent, read),
            read = from_other.read_buf(&mut received) => (Direction::Received, read),
        };
        let said = if direction == Direction::Sent { &mut sent } else { &mut received };
        let turn = match read {
            // Who passes on what follows meets the end again.
            Ok(0) => Turn::Never,
            Ok(_) => preamble.feed(Role::Client, direction, said),
            Err(_) => return (passed, Then::Broken),
        };
        let hello = match turn {
            Turn::Behind([sent, received]) => Passed { sent, received }.behind(passed, direction, said),
            Turn::Open | Turn::Never => None,
        };
        if turn != Turn::Open && hello.is_none() {
            return (passed, Then::Clear(sent, received));
        }
        let bytes = said.split().freeze();
        tap.data(direction, *passed.of(direction), bytes.clone()).await;
        *passed.of(direction) += bytes.len() as u64;
        let written = match direction {
            Direction::Sent => to_other.write_all(&bytes).await,
            Direction::Received => to_service.write_all(&bytes).await,
        };
        match (written, hello) {
            (Err(_), _) => return (passed, Then::Broken),
            (Ok(()), Some(hello)) => return (passed, Then::Tls(hello)),
            (Ok(()), None) => {}
        }
    }
}

impl Passed {
    /// Where this is how much is said before TLS: cut what follows off the last piece, beside what `passed` before. `None` where somebody
    /// went on too early for anyone to stand in between.
    fn behind(self, passed: Passed, direction: Direction, bytes: &mut BytesMut) -> Option<BytesMut> {
        let (mut end, mut had) = (self, passed);
        let left = usize::try_from(end.of(direction).checked_sub(*had.of(direction))?).ok()?;
        *had.of(direction) = *end.of(direction);
        if had != self || left > bytes.len() || (direction == Direction::Received && left < bytes.len()) {
            return None;
        }
        Some(bytes.split_off(left))
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{DuplexStream, duplex},
        sync::mpsc,
    };

    use super::*;
    use crate::{proxy::tap::Taps, source::Item};

    const ASKS: &[u8] = &[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

    /// Both ends of a connection, what becomes of it, and what was told.
    struct Passing {
        service: DuplexStream,
        other: DuplexStream,
        passing: tokio::task::JoinHandle<(Passed, Then)>,
        told: mpsc::Receiver<Item>,
    }

    impl Passing {
        fn start() -> Passing {
            let (items, told) = mpsc::channel(100);
            let (service, service_end) = duplex(1000);
            let (other, other_end) = duplex(1000);
            let tap = Taps::new(items).tap();
            let passing = tokio::spawn(async move { pass(service_end, other_end, &tap).await });
            Passing { service, other, passing, told }
        }

        async fn service_says(&mut self, bytes: &[u8]) {
            self.service.write_all(bytes).await.unwrap();
        }

        async fn other_hears(&mut self, bytes: &[u8]) {
            let mut heard = vec![0; bytes.len()];
            self.other.read_exact(&mut heard).await.unwrap();
            assert_eq!(heard, bytes);
        }

        async fn end(self) -> (Passed, Then, usize) {
            let (passed, then) = self.passing.await.unwrap();
            let mut told = self.told;
            let mut items = 0;
            while told.recv().await.is_some() {
                items += 1;
            }
            (passed, then, items)
        }
    }

    #[tokio::test]
    async fn tls_follows_where_it_is_agreed_on() {
        let mut passing = Passing::start();
        passing.service_says(ASKS).await;
        passing.other_hears(ASKS).await;
        passing.other.write_all(b"S").await.unwrap();
        assert_eq!(passing.service.read_u8().await.unwrap(), b'S');
        let (passed, then, told) = passing.end().await;
        assert_eq!((passed, then, told), (Passed { sent: 8, received: 1 }, Then::Tls(BytesMut::new()), 2));
    }

    /// A client of MySQL begins TLS in the packet that asks for it.
    #[tokio::test]
    async fn what_is_behind_the_request_is_not_passed_on() {
        let greeting = [&[10, 0, 0, 0, 10][..], &[b'x'; 9]].concat();
        let asks = [&[32, 0, 0, 1, 0, 8][..], &[0; 30]].concat();
        let mut passing = Passing::start();
        passing.other.write_all(&greeting).await.unwrap();
        let mut greeted = vec![0; greeting.len()];
        passing.service.read_exact(&mut greeted).await.unwrap();
        passing.service_says(&[&asks[..], b"\x16\x03\x01"].concat()).await;
        passing.other_hears(&asks).await;
        let expected = (Passed { sent: 36, received: 14 }, Then::Tls(BytesMut::from(&b"\x16\x03\x01"[..])), 2);
        assert_eq!(passing.end().await, expected);
    }

    #[tokio::test]
    async fn without_a_request_all_is_left_to_pass_on() {
        for said in [&b"\0\0\0\x54\0\x03\0\0user"[..], b"*1\r\n$4\r\nPING\r\n"] {
            let mut passing = Passing::start();
            passing.service_says(said).await;
            let expected = (Passed::default(), Then::Clear(said.into(), BytesMut::new()), 0);
            assert_eq!(passing.end().await, expected);
        }
    }

    /// Nobody does so; what was passed on cannot be taken back.
    #[tokio::test]
    async fn who_does_not_wait_for_the_answer_is_left_alone() {
        let early = [ASKS, b"\x16\x03\x01"].concat();
        let mut passing = Passing::start();
        passing.service_says(&early).await;
        passing.other_hears(&early).await;
        passing.other.write_all(b"S").await.unwrap();
        let expected = (Passed { sent: 11, received: 0 }, Then::Clear(BytesMut::new(), b"S"[..].into()), 1);
        assert_eq!(passing.end().await, expected);
    }

    #[tokio::test]
    async fn an_end_is_met_again() {
        let mut passing = Passing::start();
        passing.service_says(&ASKS[..3]).await;
        passing.other_hears(&ASKS[..3]).await;
        passing.service.shutdown().await.unwrap();
        let expected = (Passed { sent: 3, received: 0 }, Then::Clear(BytesMut::new(), BytesMut::new()), 1);
        assert_eq!(passing.end().await, expected);
    }
}
