//! The accept loop: turns what arrives at a sandbox's listeners into values.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg};
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::dns::{self, Names, Query};
use crate::sandbox::{DNS_PORT, Listeners};

/// Pause after a connection that could not be accepted.
const RETRY: Duration = Duration::from_millis(5);

/// One connection that the service opened.
#[derive(Debug)]
pub struct Arrival {
    /// The connection; its peer is the service.
    pub stream: TcpStream,
    /// Where the service connected to.
    pub destination: SocketAddr,
    /// The service's own address.
    pub from: SocketAddr,
}

/// A protocol below HTTP, of an attempt that cannot be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// User datagrams to any port but 53.
    Udp,
}

/// Something that the service sent and nobody plays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Where it was sent to.
    pub destination: SocketAddr,
    /// The service's own address.
    pub from: SocketAddr,
    /// How.
    pub protocol: Protocol,
    /// Its length in bytes.
    pub length: usize,
}

/// What the service did, in the order in which it was seen. The accept loop sends it to whoever plays the downstreams.
#[derive(Debug)]
pub enum Intercepted {
    /// A TCP connection to any port but 53.
    Connection(Arrival),
    /// A DNS question, which is answered already.
    Query(Query),
    /// A datagram, which is dropped.
    Datagram(Attempt),
    /// Everything that came before it was seen. Whoever takes it drops it, which is an answer ([`CatchUp::wait`]).
    Mark(oneshot::Sender<()>),
}

impl From<Query> for Intercepted {
    fn from(query: Query) -> Self {
        Self::Query(query)
    }
}

/// The running accept loop; dropping it ends it and closes the listeners.
#[derive(Debug)]
pub struct Interception {
    _tasks: JoinSet<io::Result<()>>,
    catch_up: CatchUp,
}

impl Interception {
    /// By which one can wait for what was seen.
    pub fn catch_up(&self) -> CatchUp {
        self.catch_up.clone()
    }
}

/// Asks every accept loop how far it is.
#[derive(Clone, Debug, Default)]
pub struct CatchUp(Vec<UnboundedSender<oneshot::Sender<()>>>);

impl CatchUp {
    /// Waits until every TCP connection that was established by now was taken by whoever takes what is seen.
    pub async fn wait(&self) {
        let mut answers = Vec::new();
        for accepts in &self.0 {
            let (mark, answer) = oneshot::channel();
            if accepts.send(mark).is_ok() {
                answers.push(answer);
            }
        }
        for answer in answers {
            // A mark is never sent back, only dropped; also by a loop that has ended.
            let _ = answer.await;
        }
    }
}

/// Accepts on `listeners` and answers DNS from `names`; must be called in a Tokio runtime.
///
/// # Errors
/// When the runtime cannot take the sockets.
pub fn spawn(listeners: Listeners, names: Names) -> io::Result<(Interception, UnboundedReceiver<Intercepted>)> {
    let (seen, sees) = unbounded_channel();
    let mut tasks = JoinSet::new();
    let mut catch_up = CatchUp::default();
    for listener in listeners.tcp {
        let (asks, asked) = unbounded_channel();
        catch_up.0.push(asks);
        let queue = listener.try_clone()?;
        tasks.spawn(accept(TcpListener::from_std(listener)?, queue, names.clone(), seen.clone(), asked));
    }
    for socket in listeners.dns {
        tasks.spawn(dns::serve_udp(socket, names.clone(), seen.clone()));
    }
    for socket in listeners.datagrams {
        tasks.spawn(drop_datagrams(UdpSocket::from_std(socket)?, seen.clone()));
    }
    Ok((Interception { _tasks: tasks, catch_up }, sees))
}

/// Accepts on `listener`, of which `queue` is another handle.
async fn accept(
    listener: TcpListener,
    queue: std::net::TcpListener,
    names: Names,
    seen: UnboundedSender<Intercepted>,
    mut asked: UnboundedReceiver<oneshot::Sender<()>>,
) -> io::Result<()> {
    let mut resolvers = JoinSet::new();
    loop {
        while resolvers.try_join_next().is_some() {}
        let mut accepted = Vec::new();
        let mut mark = None;
        tokio::select! {
            one = listener.accept() => match one {
                Ok(one) => accepted.push(one),
                // The connection was given up, or descriptors ran out for a while: the next one may do.
                Err(_) => tokio::time::sleep(RETRY).await,
            },
            Some(asked) = asked.recv() => {
                // The runtime may not have heard yet of what waits in the queue.
                while let Ok((stream, from)) = queue.accept() {
                    stream.set_nonblocking(true)?;
                    accepted.push((TcpStream::from_std(stream)?, from));
                }
                mark = Some(Intercepted::Mark(asked));
            }
        }
        for (stream, from) in accepted {
            let Ok(destination) = stream.local_addr() else { continue };
            if destination.port() == DNS_PORT {
                resolvers.spawn(dns::serve_stream(stream, names.clone(), seen.clone()));
            } else if seen.send(Intercepted::Connection(Arrival { stream, destination, from })).is_err() {
                return Ok(());
            }
        }
        if mark.is_some_and(|mark| seen.send(mark).is_err()) {
            return Ok(());
        }
    }
}

async fn drop_datagrams(socket: UdpSocket, seen: UnboundedSender<Intercepted>) -> io::Result<()> {
    while !seen.is_closed() {
        if let Ok(Some(attempt)) = socket.async_io(Interest::READABLE, || datagram(&socket)).await {
            let _ = seen.send(Intercepted::Datagram(attempt));
        }
    }
    Ok(())
}

/// Takes one datagram; the kernel names its destination in `IP_ORIGDSTADDR`.
fn datagram(socket: &UdpSocket) -> io::Result<Option<Attempt>> {
    // Only the length is of interest.
    let mut byte = [0];
    let mut control = nix::cmsg_space!(libc::sockaddr_in6);
    let mut parts = [IoSliceMut::new(&mut byte)];
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC;
    let message = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags)?;
    let destination = message.cmsgs()?.find_map(|part| match part {
        ControlMessageOwned::Ipv4OrigDstAddr(address) => Some(v4(&address)),
        ControlMessageOwned::Ipv6OrigDstAddr(address) => Some(v6(&address)),
        _ => None,
    });
    let from = message.address.and_then(|from| {
        let v4 = from.as_sockaddr_in().map(|address| SocketAddr::from(std::net::SocketAddrV4::from(*address)));
        v4.or_else(|| from.as_sockaddr_in6().map(|address| SocketAddr::from(std::net::SocketAddrV6::from(*address))))
    });
    let length = message.bytes;
    Ok(destination.zip(from).map(|(destination, from)| Attempt { destination, from, protocol: Protocol::Udp, length }))
}

fn v4(address: &libc::sockaddr_in) -> SocketAddr {
    let ip = IpAddr::from(address.sin_addr.s_addr.to_ne_bytes());
    SocketAddr::new(ip, u16::from_be(address.sin_port))
}

fn v6(address: &libc::sockaddr_in6) -> SocketAddr {
    SocketAddr::new(IpAddr::from(address.sin6_addr.s6_addr), u16::from_be(address.sin6_port))
}
