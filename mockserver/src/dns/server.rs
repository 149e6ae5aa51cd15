//! Serving DNS on sockets of a sandbox, over UDP and TCP.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::UdpSocket as StdUdpSocket;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::mpsc::UnboundedSender;

use super::{Names, Query};

const MAX_DATAGRAM: usize = 4096;

/// The address that a query was sent to, from which its answer has to come.
#[derive(Debug, Clone, Copy)]
enum AskedAt {
    V4(libc::in_addr),
    V6(libc::in6_pktinfo),
}

struct Datagram {
    bytes: Vec<u8>,
    from: SockaddrStorage,
    at: AskedAt,
}

/// Answers queries on a socket with `IP_PKTINFO` until the runtime ends or the observer is gone.
pub(crate) async fn serve_udp<O: From<Query> + Send + 'static>(
    socket: StdUdpSocket,
    names: Names,
    observer: UnboundedSender<O>,
) -> io::Result<()> {
    let socket = Arc::new(UdpSocket::from_std(socket)?);
    while !observer.is_closed() {
        // An answer to a service that has closed its socket may come back as an error; the next query is not affected.
        let Ok(Some(datagram)) = socket.async_io(Interest::READABLE, || receive(&socket)).await else { continue };
        let (socket, names, observer) = (Arc::clone(&socket), names.clone(), observer.clone());
        tokio::spawn(async move {
            if let Some((reply, query)) = names.answer(&datagram.bytes, true).await {
                // The observer first: whoever acts on the answer finds the query in its journal.
                let _ = observer.send(query.into());
                let _ = answer(&socket, &reply, &datagram);
            }
        });
    }
    Ok(())
}

fn receive(socket: &UdpSocket) -> io::Result<Option<Datagram>> {
    let mut bytes = [0; MAX_DATAGRAM];
    let mut control = nix::cmsg_space!(libc::in6_pktinfo);
    let (length, from, at) = {
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let message =
            recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::MSG_DONTWAIT)?;
        let at = message.cmsgs()?.find_map(|part| match part {
            ControlMessageOwned::Ipv4PacketInfo(info) => Some(AskedAt::V4(info.ipi_addr)),
            ControlMessageOwned::Ipv6PacketInfo(info) => Some(AskedAt::V6(info)),
            _ => None,
        });
        (message.bytes, message.address, at)
    };
    Ok(from.zip(at).map(|(from, at)| Datagram { bytes: bytes[..length].to_vec(), from, at }))
}

fn answer(socket: &UdpSocket, reply: &[u8], datagram: &Datagram) -> io::Result<()> {
    let send = |source: ControlMessage<'_>| {
        sendmsg(socket.as_raw_fd(), &[IoSlice::new(reply)], &[source], MsgFlags::empty(), Some(&datagram.from))
    };
    match datagram.at {
        AskedAt::V4(asked) => send(ControlMessage::Ipv4PacketInfo(&libc::in_pktinfo {
            ipi_ifindex: 0,
            ipi_spec_dst: asked,
            ipi_addr: libc::in_addr { s_addr: 0 },
        })),
        AskedAt::V6(info) => send(ControlMessage::Ipv6PacketInfo(&info)),
    }?;
    Ok(())
}

/// Answers every query of one connection (RFC 7766: a resolver may send several).
pub(crate) async fn serve_stream<O: From<Query>>(
    mut stream: TcpStream,
    names: Names,
    observer: UnboundedSender<O>,
) -> io::Result<()> {
    loop {
        let length = match stream.read_u16().await {
            Ok(length) => usize::from(length),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut bytes = vec![0; length];
        stream.read_exact(&mut bytes).await?;
        let Some((reply, query)) = names.answer(&bytes, false).await else { return Ok(()) };
        let _ = observer.send(query.into());
        let mut framed = (reply.len() as u16).to_be_bytes().to_vec();
        framed.extend(reply);
        stream.write_all(&framed).await?;
    }
}
