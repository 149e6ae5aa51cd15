//! TLS that clients of databases ask for within a connection, ended here and begun anew.

use std::sync::Arc;

use bytes::BytesMut;
use regress_ebpf::CloseCause;
use regress_mockserver::tls::Authority;
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{
    outbound::{behind, read_hello},
    relay::{Passed, relay},
    tap::{Ends, Tap},
};
use crate::Error;

/// Is the server for clients of databases, and a client for their servers.
///
/// Most of these clients look at no certificate, and most servers have none that this host trusts. So the certificate that is shown to a
/// client is as good as the server's: where this host trusts that, the service trusts ours; else ours is of an authority that nobody knows,
/// and a client that looks at it refuses it, as it would have refused the server's.
pub(super) struct DatabaseTls {
    trusted: Arc<Authority>,
    unknown: Authority,
    connector: TlsConnector,
    /// What tells whether this host trusts a server; `None` where it trusts nobody.
    trust: Option<Arc<WebPkiServerVerifier>>,
}

impl DatabaseTls {
    /// With the authority that the service trusts, and those that this host trusts.
    pub(super) fn new(trusted: Arc<Authority>, roots: RootCertStore) -> Result<DatabaseTls, Error> {
        let provider = Arc::new(ring::default_provider());
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::Sandbox(Box::new(regress_mockserver::Error::Tls(error))))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(LookedAtLater(Arc::clone(&provider))))
            .with_no_client_auth();
        let unknown = Authority::new().map_err(|error| Error::Sandbox(Box::new(error)))?;
        let trust = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().ok();
        Ok(DatabaseTls { trusted, unknown, connector: TlsConnector::from(Arc::new(config)), trust })
    }

    /// Read a connection on which TLS begins behind what has `passed`, of which the service has said this already.
    pub(super) async fn read(
        &self,
        service: &mut TcpStream,
        real: &mut TcpStream,
        begun: BytesMut,
        ends: Ends,
        passed: Passed,
        tap: &Tap,
    ) -> CloseCause {
        let Ok((bytes, hello)) = read_hello(service, begun).await else { return CloseCause::Reset };
        let service = behind(bytes, service);
        let Some(hello) = hello else {
            tracing::warn!(destination = %ends.downstream, "what follows on a request for TLS is none: it is passed on as it is");
            return relay(service, real, passed, tap).await;
        };
        tap.inside_tls().await;
        let name = hello.name_at(ends.downstream);
        let connected = match self.connector.connect(name.clone(), &mut *real).await {
            Ok(connected) => connected,
            Err(error) => {
                tracing::warn!(destination = %ends.downstream, %error, "the database refuses TLS through regress: record without --database-tls");
                tap.lost().await;
                return CloseCause::Reset;
            }
        };
        let certificates = connected.get_ref().1.peer_certificates().unwrap_or_default();
        let authority = if self.trusts(certificates, &name) { &*self.trusted } else { &self.unknown };
        match authority.acceptor(ends.downstream, false).accept(service).await {
            Ok(accepted) => relay(accepted, connected, passed, tap).await,
            Err(error) => {
                tracing::warn!(destination = %ends.downstream, %error, "the service refuses TLS with a database through regress: record without --database-tls");
                tap.lost().await;
                CloseCause::Reset
            }
        }
    }

    fn trusts(&self, certificates: &[CertificateDer<'_>], name: &ServerName<'_>) -> bool {
        let (Some(trust), [certificate, chain @ ..]) = (&self.trust, certificates) else { return false };
        trust.verify_server_cert(certificate, chain, name, &[], UnixTime::now()).is_ok()
    }
}

/// Takes any certificate, whose owner has to prove that it is his.
#[derive(Debug)]
struct LookedAtLater(Arc<CryptoProvider>);

impl ServerCertVerifier for LookedAtLater {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
