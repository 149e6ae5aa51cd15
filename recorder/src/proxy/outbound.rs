//! What the service opens goes on to where it was going.

use std::{io, net::SocketAddr, sync::Arc};

use regress_ebpf::{CloseCause, Role};
use regress_mockserver::{
    intercept::Arrival,
    tls::{Authority, is_client_hello},
};
use rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{
    relay::relay,
    tap::{Tap, Taps},
};
use crate::Error;

/// Forwards connections of the service.
pub(super) struct Outbound {
    authority: Arc<Authority>,
    connector: TlsConnector,
    taps: Taps,
}

/// End a connection in disorder, as its other half ended.
pub(super) fn reset(stream: &TcpStream) {
    // A stream that is gone already needs no reset.
    let _ = stream.set_zero_linger();
}

impl Outbound {
    pub(super) fn new(authority: Arc<Authority>, taps: Taps) -> Result<Outbound, Error> {
        let mut roots = RootCertStore::empty();
        let native = rustls_native_certs::load_native_certs();
        for error in native.errors {
            tracing::warn!(%error, "some certificates of this host could not be read");
        }
        roots.add_parsable_certificates(native.certs);
        let tls = |error| Error::Sandbox(Box::new(regress_mockserver::Error::Tls(error)));
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(tls)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Outbound { authority, connector: TlsConnector::from(Arc::new(config)), taps })
    }

    /// Forward one connection until it ends.
    pub(super) async fn forward(&self, arrival: Arrival) {
        let Arrival { stream: mut service, destination, from } = arrival;
        let tap = self.taps.tap();
        let mut real = match TcpStream::connect(destination).await {
            Ok(real) => real,
            Err(error) => {
                tap.connecting(destination).await;
                tap.close(never(&error)).await;
                return reset(&service);
            }
        };
        let _ = (real.set_nodelay(true), service.set_nodelay(true));
        let encrypted = client_speaks_tls(&service, &real).await;
        if encrypted {
            tap.inside_tls().await;
        }
        tap.connecting(destination).await;
        tap.open(Role::Client, from, destination).await;
        let cause = if encrypted {
            self.inside_tls(&mut service, &mut real, destination, &tap).await
        } else {
            relay(&mut service, &mut real, &tap).await
        };
        if cause != CloseCause::Closed {
            reset(&service);
            reset(&real);
        }
        tap.close(cause).await;
    }

    /// Be the server for the service and the client for the downstream.
    async fn inside_tls(
        &self,
        service: &mut TcpStream,
        real: &mut TcpStream,
        destination: SocketAddr,
        tap: &Tap,
    ) -> CloseCause {
        let accepted = match self.authority.acceptor(destination).accept(service).await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%destination, %error, "the service did not accept a TLS connection through regress");
                return CloseCause::Reset;
            }
        };
        let asked = accepted.get_ref().1.server_name().map(str::to_owned);
        let name = match asked.map(ServerName::try_from) {
            Some(Ok(name)) => name,
            Some(Err(_)) | None => ServerName::IpAddress(destination.ip().to_canonical().into()),
        };
        match self.connector.connect(name, real).await {
            Ok(connected) => relay(accepted, connected, tap).await,
            Err(error) => {
                tracing::warn!(%destination, %error, "the downstream did not accept a TLS connection from regress");
                CloseCause::Reset
            }
        }
    }
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
