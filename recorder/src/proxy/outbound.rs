//! What the service opens goes on to where it was going.

use std::{
    io::{self, Cursor},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::BytesMut;
use regress_ebpf::CloseCause;
use regress_mockserver::{
    intercept::Arrival,
    tls::{Authority, is_client_hello},
};
use rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName, server::Acceptor};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::{
    database::DatabaseTls,
    preamble::{self, Then},
    relay::{Passed, relay},
    tap::{Ends, Tap, Taps},
};
use crate::Error;

/// The protocols' names in TLS (RFC 7301 section 6, RFC 9113 section 3.1).
const HTTP1: &[u8] = b"http/1.1";
const HTTP2: &[u8] = b"h2";
/// A ClientHello with post-quantum key shares and tickets has a few KiB.
const LONGEST_HELLO: usize = 64 * 1024;

/// Forwards connections of the service.
pub(super) struct Outbound {
    authority: Arc<Authority>,
    /// For HTTP/1.1 alone; for HTTP/2 alone; for both.
    connectors: [TlsConnector; 3],
    /// What reads TLS that is asked for within a connection; `None` = it is passed on as it is.
    database: Option<DatabaseTls>,
    /// Once is enough.
    told_of_database: AtomicBool,
    taps: Taps,
}

/// End a connection in disorder, as its other half ended.
pub(super) fn reset(stream: &TcpStream) {
    // A stream that is gone already needs no reset.
    let _ = stream.set_zero_linger();
}

impl Outbound {
    pub(super) fn new(authority: Arc<Authority>, database: bool, taps: Taps) -> Result<Outbound, Error> {
        let mut roots = RootCertStore::empty();
        let native = rustls_native_certs::load_native_certs();
        for error in native.errors {
            tracing::warn!(%error, "some certificates of this host could not be read");
        }
        roots.add_parsable_certificates(native.certs);
        let tls = |error| Error::Sandbox(Box::new(regress_mockserver::Error::Tls(error)));
        let database = if database { Some(DatabaseTls::new(Arc::clone(&authority), roots.clone())?) } else { None };
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(tls)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connectors = [&[HTTP1][..], &[HTTP2], &[HTTP2, HTTP1]].map(|protocols| {
            config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
            TlsConnector::from(Arc::new(config.clone()))
        });
        Ok(Outbound { authority, connectors, database, told_of_database: AtomicBool::new(false), taps })
    }

    /// Forward one connection until it ends.
    pub(super) async fn forward(&self, arrival: Arrival) {
        let Arrival { stream: mut service, destination, from } = arrival;
        let Some((mut real, destination)) = self.reach(destination).await else { return reset(&service) };
        let tap = self.taps.tap();
        let _ = (real.set_nodelay(true), service.set_nodelay(true));
        let encrypted = client_speaks_tls(&service, &real).await;
        let ends = Ends { service: from, downstream: destination };
        let cause = if encrypted {
            self.through_tls(&mut service, &mut real, ends, &tap).await
        } else {
            tap.opened(ends).await;
            self.in_the_clear(&mut service, &mut real, ends, &tap).await
        };
        if cause != CloseCause::Closed {
            reset(&service);
            reset(&real);
        }
        tap.close(cause).await;
    }

    /// Pass a connection on that does not begin with TLS.
    async fn in_the_clear(&self, service: &mut TcpStream, real: &mut TcpStream, ends: Ends, tap: &Tap) -> CloseCause {
        match preamble::pass(&mut *service, &mut *real, tap).await {
            (passed, Then::Clear(said, answered)) => {
                relay(behind(said, service), behind(answered, real), passed, tap).await
            }
            (passed, Then::Tls(begun)) => match &self.database {
                Some(database) => database.read(service, real, begun, ends, passed, tap).await,
                None => {
                    if !self.told_of_database.swap(true, Ordering::Relaxed) {
                        tracing::warn!(destination = %ends.downstream, "TLS with a database is passed on unread: --database-tls reads it");
                    }
                    relay(behind(begun, service), real, passed, tap).await
                }
            },
            (_, Then::Broken) => CloseCause::Reset,
        }
    }

    /// Connect to where the service was going; tells of a connection that was never established.
    ///
    /// The service's own connection is established by then. A service that asked for `localhost` and was refused at
    /// `::1` would have gone on to `127.0.0.1`, so that is done for it.
    async fn reach(&self, destination: SocketAddr) -> Option<(TcpStream, SocketAddr)> {
        let error = match TcpStream::connect(destination).await {
            Ok(real) => return Some((real, destination)),
            Err(error) => error,
        };
        let tap = self.taps.tap();
        tap.connecting(destination).await;
        tap.close(never(&error)).await;
        if destination.ip() != Ipv6Addr::LOCALHOST {
            return None;
        }
        let other = SocketAddr::from((Ipv4Addr::LOCALHOST, destination.port()));
        TcpStream::connect(other).await.ok().map(|real| (real, other))
    }

    /// Be the server for the service and the client for the downstream. Where that cannot work, the ciphertext is
    /// passed on as it is: the service goes on, and the exchange is known to be unreadable.
    async fn through_tls(&self, service: &mut TcpStream, real: &mut TcpStream, ends: Ends, tap: &Tap) -> CloseCause {
        let Ok((bytes, hello)) = read_hello(service, BytesMut::new()).await else { return CloseCause::Reset };
        let service = behind(bytes, service);
        let connected = match hello {
            Some(hello) => match hello.connector(&self.connectors) {
                Some(connector) => connector.connect(hello.name_at(ends.downstream), &mut *real).await,
                None => Err(io::Error::other("the service asks for a protocol other than HTTP")),
            },
            None => Err(io::Error::other("what the service begins with is no TLS")),
        };
        let connected = match connected {
            Ok(connected) => connected,
            Err(error) => {
                tracing::warn!(destination = %ends.downstream, %error, "this TLS connection is passed on unread");
                tap.opened(ends).await;
                return match TcpStream::connect(ends.downstream).await {
                    Ok(real) => relay(service, real, Passed::default(), tap).await,
                    Err(_) => CloseCause::Reset,
                };
            }
        };
        tap.opened(ends).await;
        tap.inside_tls().await;
        let http2 = connected.get_ref().1.alpn_protocol() == Some(HTTP2);
        match self.authority.acceptor(ends.downstream, http2).accept(service).await {
            Ok(accepted) => relay(accepted, connected, Passed::default(), tap).await,
            Err(error) => {
                tracing::warn!(destination = %ends.downstream, %error, "the service refuses a TLS connection through regress");
                tap.lost().await;
                CloseCause::Reset
            }
        }
    }
}

/// A connection of which this was read already.
pub(super) fn behind(read: BytesMut, stream: &mut TcpStream) -> impl AsyncRead + AsyncWrite + Unpin {
    let (rest, write) = stream.split();
    tokio::io::join(Cursor::new(read).chain(rest), write)
}

/// What matters of a TLS ClientHello.
pub(super) struct Hello {
    server_name: Option<String>,
    /// HTTP/1.1 is among what the client wants to speak, or it does not say.
    http1: bool,
    /// HTTP/2 is.
    http2: bool,
}

impl Hello {
    /// The one that asks for what the client wants.
    fn connector<'c>(&self, connectors: &'c [TlsConnector; 3]) -> Option<&'c TlsConnector> {
        match (self.http1, self.http2) {
            (true, false) => Some(&connectors[0]),
            (false, true) => Some(&connectors[1]),
            (true, true) => Some(&connectors[2]),
            (false, false) => None,
        }
    }

    pub(super) fn name_at(self, destination: SocketAddr) -> ServerName<'static> {
        match self.server_name.map(ServerName::try_from) {
            Some(Ok(name)) => name,
            Some(Err(_)) | None => ServerName::IpAddress(destination.ip().to_canonical().into()),
        }
    }
}

/// Read a ClientHello, of which these bytes have come: all its bytes, and what it says if it is one.
pub(super) async fn read_hello(service: &mut TcpStream, mut bytes: BytesMut) -> io::Result<(BytesMut, Option<Hello>)> {
    let mut acceptor = Acceptor::default();
    let mut known = 0;
    while bytes.len() < LONGEST_HELLO {
        if known == bytes.len() && service.read_buf(&mut bytes).await? == 0 {
            break;
        }
        let mut news = &bytes[known..];
        while !news.is_empty() {
            acceptor.read_tls(&mut news)?;
        }
        known = bytes.len();
        match acceptor.accept() {
            Ok(None) => {}
            Ok(Some(accepted)) => {
                let hello = accepted.client_hello();
                let http1 = hello.alpn().is_none_or(|mut offered| offered.any(|name| name == HTTP1));
                let http2 = hello.alpn().is_some_and(|mut offered| offered.any(|name| name == HTTP2));
                let server_name = hello.server_name().map(str::to_owned);
                return Ok((bytes, Some(Hello { server_name, http1, http2 })));
            }
            Err(_) => break,
        }
    }
    Ok((bytes, None))
}

/// Whether the service's first byte begins TLS; a downstream that speaks first does not.
async fn client_speaks_tls(service: &TcpStream, real: &TcpStream) -> bool {
    let mut first = [0];
    tokio::select! {
        biased;
        peeked = service.peek(&mut first) => matches!(peeked, Ok(1)) && is_client_hello(first[0]),
        _ = real.readable() => false,
    }
}

fn never(error: &io::Error) -> CloseCause {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => CloseCause::Refused,
        io::ErrorKind::ConnectionReset => CloseCause::Reset,
        _ => CloseCause::TimedOut,
    }
}
