//! TLS below an entry. The service is in the sandbox and whoever listens there is it, so that its certificate may be anybody's;
//! no certificate of a client is there to be shown.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use regress_protocols::http1::Message;
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
        client::{
            ResolvesClientCert,
            danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        },
        crypto::ring,
        pki_types::{CertificateDer, ServerName, UnixTime},
        sign::CertifiedKey,
    },
};

use crate::judge::End;

/// A client of the service.
pub(super) struct Client {
    config: ClientConfig,
    asked: Arc<Asked>,
}

impl Client {
    /// A client that agrees on the HTTP that `request` is in (ALPN, RFC 7301).
    ///
    /// # Panics
    /// Never: the protocol versions asked for are those of the cryptography provider.
    pub(super) fn new(request: &Message) -> Client {
        let asked = Arc::new(Asked::default());
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the ring provider has TLS 1.2 and 1.3")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anyone))
            .with_client_cert_resolver(Arc::<Asked>::clone(&asked));
        config.alpn_protocols = vec![if request.is_http2() { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
        Client { config, asked }
    }

    /// Shakes hands over `stream`, for the host that the request names, else the address.
    pub(super) async fn connect<'s>(
        &self,
        stream: &'s mut TcpStream,
        request: &Message,
        at: SocketAddr,
    ) -> io::Result<TlsStream<&'s mut TcpStream>> {
        let host = request.header_text("host").unwrap_or_default();
        let name =
            host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(&*host, |(name, _)| name);
        let name = ServerName::try_from(name.trim_matches(['[', ']']).to_owned());
        let name = name.unwrap_or_else(|_| ServerName::from(at.ip()));
        TlsConnector::from(Arc::new(self.config.clone())).connect(name, stream).await
    }

    /// Whether the service asked for a certificate.
    pub(super) fn was_asked(&self) -> bool {
        self.asked.0.load(Ordering::Relaxed)
    }
}

/// What an error on a connection says of its end.
pub(super) fn end(error: &io::Error) -> End {
    match error.kind() {
        // So rustls tells whatever is wrong with TLS itself.
        io::ErrorKind::InvalidData => End::Tls,
        // Closed without saying so.
        io::ErrorKind::UnexpectedEof => End::Closed,
        _ => End::Reset,
    }
}

#[derive(Debug, Default)]
struct Asked(AtomicBool);

impl ResolvesClientCert for Asked {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.store(true, Ordering::Relaxed);
        None
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
