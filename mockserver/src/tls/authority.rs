//! The certificate authority of one run.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SigningKey};
use tokio_rustls::TlsAcceptor;

use super::TrustFiles;
use crate::Error;

/// Leaves and acceptors that are kept; a service that asks for more names gets them made again.
const MAX_KEPT: usize = 1024;
/// Handshake record (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 0x16;

/// Signs a certificate for whatever name a service expects; its key never leaves this process.
pub struct Authority {
    minter: Arc<Minter>,
    pem: String,
    acceptors: Mutex<HashMap<(IpAddr, bool), TlsAcceptor>>,
}

struct Minter {
    issuer: Issuer<'static, KeyPair>,
    authority: CertificateDer<'static>,
    /// One key for all leaves: making a key is the dear part.
    key: KeyPair,
    signer: Arc<dyn SigningKey>,
    leaves: Mutex<HashMap<Vec<String>, Arc<CertifiedKey>>>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl fmt::Debug for Minter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Minter").finish_non_exhaustive()
    }
}

impl Authority {
    /// A new authority with a new key.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn new() -> Result<Self, Error> {
        let mut params = valid_for_any_clock(CertificateParams::new(Vec::new())?);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "regress replay authority");
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        let issuer_key = KeyPair::generate()?;
        let certificate = params.self_signed(&issuer_key)?;
        let key = KeyPair::generate()?;
        let signer = ring::sign::any_supported_type(&PrivateKeyDer::Pkcs8(key.serialize_der().into()))?;
        Ok(Self {
            pem: certificate.pem(),
            minter: Arc::new(Minter {
                authority: certificate.der().clone(),
                issuer: Issuer::new(params, issuer_key),
                key,
                signer,
                leaves: Mutex::default(),
            }),
            acceptors: Mutex::default(),
        })
    }

    /// Accepts TLS for `destination`: the leaf is for the name in the client's hello (SNI), else for the address, and for
    /// `localhost`, which is what Node.js expects of a server that it reached by address before it asked for TLS. HTTP/1.1
    /// is agreed on, or where `http2` says so and the client wants it, HTTP/2 (RFC 7301); PostgreSQL with its clients.
    ///
    /// # Panics
    /// Never: the protocol versions asked for are those of the cryptography provider.
    pub fn acceptor(&self, destination: SocketAddr, http2: bool) -> TlsAcceptor {
        let address = destination.ip().to_canonical();
        let mut acceptors = self.acceptors.lock().unwrap_or_else(PoisonError::into_inner);
        keep_bounded(&mut acceptors, (address, http2), || {
            let resolver = Resolver { minter: Arc::clone(&self.minter), address };
            let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
                .with_safe_default_protocol_versions()
                .expect("the ring provider has TLS 1.2 and 1.3")
                .with_no_client_auth()
                .with_cert_resolver(Arc::new(resolver));
            let first = http2.then(|| b"h2".to_vec());
            let others = [b"http/1.1".to_vec(), b"postgresql".to_vec()];
            config.alpn_protocols = first.into_iter().chain(others).collect();
            TlsAcceptor::from(Arc::new(config))
        })
    }

    /// Writes into `dir` the files that make a service trust this authority.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn trust_files(&self, dir: &Path) -> Result<TrustFiles, Error> {
        TrustFiles::write(dir, &self.pem, &self.minter.authority)
    }
}

/// Whether a connection that begins with this byte speaks TLS.
pub fn is_client_hello(first_byte: u8) -> bool {
    first_byte == HANDSHAKE
}

fn valid_for_any_clock(mut params: CertificateParams) -> CertificateParams {
    params.not_before = date_time_ymd(2000, 1, 1);
    params.not_after = date_time_ymd(2049, 12, 31);
    params
}

fn keep_bounded<K: Eq + std::hash::Hash, V: Clone>(kept: &mut HashMap<K, V>, key: K, make: impl FnOnce() -> V) -> V {
    if kept.len() >= MAX_KEPT && !kept.contains_key(&key) {
        kept.clear();
    }
    kept.entry(key).or_insert_with(make).clone()
}

#[derive(Debug)]
struct Resolver {
    minter: Arc<Minter>,
    address: IpAddr,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let names = match hello.server_name() {
            Some(name) => vec![name.to_ascii_lowercase()],
            None => vec![self.address.to_string(), "localhost".to_owned()],
        };
        self.minter.leaf(names).ok()
    }
}

impl Minter {
    fn leaf(&self, names: Vec<String>) -> Result<Arc<CertifiedKey>, rcgen::Error> {
        let mut leaves = self.leaves.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(leaf) = leaves.get(&names) {
            return Ok(Arc::clone(leaf));
        }
        let leaf = Arc::new(self.mint(&names)?);
        Ok(keep_bounded(&mut leaves, names, || leaf))
    }

    fn mint(&self, names: &[String]) -> Result<CertifiedKey, rcgen::Error> {
        let mut params = valid_for_any_clock(CertificateParams::new(names)?);
        let name = names.first().into_iter().flat_map(|name| name.chars()).take(64).collect::<String>();
        params.distinguished_name.push(DnType::CommonName, name);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&self.key, &self.issuer)?;
        let chain = vec![certificate.der().clone(), self.authority.clone()];
        Ok(CertifiedKey::new(chain, Arc::clone(&self.signer)))
    }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, RootCertStore};
    use tokio_rustls::TlsConnector;

    use super::*;

    /// The protocol agreed on by a client that trusts `authority` and expects `name`.
    async fn agreed(
        authority: &Authority,
        trusted: &Authority,
        name: &'static str,
    ) -> std::io::Result<Option<Vec<u8>>> {
        let mut roots = RootCertStore::empty();
        roots.add(trusted.minter.authority.clone()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.enable_sni = name != "localhost";
        let (here, there) = tokio::io::duplex(64 * 1024);
        let acceptor = authority.acceptor("203.0.113.9:443".parse().unwrap(), false);
        let connector = TlsConnector::from(Arc::new(config));
        let (client, _) =
            tokio::join!(connector.connect(ServerName::try_from(name).unwrap(), here), acceptor.accept(there));
        client.map(|client| client.get_ref().1.alpn_protocol().map(<[u8]>::to_vec))
    }

    #[tokio::test]
    async fn a_leaf_is_valid_for_the_name_asked_for_or_for_the_address() {
        let authority = Authority::new().unwrap();
        for name in ["api.example.com", "203.0.113.9", "Other.example", "localhost"] {
            assert_eq!(agreed(&authority, &authority, name).await.unwrap().unwrap(), b"http/1.1");
        }
        assert!(agreed(&authority, &Authority::new().unwrap(), "api.example.com").await.is_err());
        assert!(agreed(&authority, &authority, "203.0.113.10").await.is_err(), "another address");
    }

    #[test]
    fn the_files_hold_the_authority() {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::new().unwrap();
        let files = authority.trust_files(directory.path()).unwrap();
        assert!(std::fs::read_to_string(&files.bundle).unwrap().ends_with(&authority.pem));
        assert_eq!(std::fs::read_to_string(&files.authority).unwrap(), authority.pem);
        let store = std::fs::read(&files.java).unwrap();
        let der = &authority.minter.authority;
        assert!(
            store.starts_with(&[0xfe, 0xed, 0xfe, 0xed]) && store.windows(der.len()).any(|window| window == &**der)
        );
        assert!(authority.trust_files(&directory.path().join("missing")).unwrap_err().hint().is_some());
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut kept = HashMap::new();
        for key in 0..3000 {
            keep_bounded(&mut kept, key, || key);
        }
        assert!(kept.len() <= MAX_KEPT);
    }
}
