//! A certificate authority that nobody but a test trusts, as companies have one.

use std::{path::PathBuf, sync::Arc};

use rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// An authority and the certificate of a server that is called `localhost` or `127.0.0.1`.
pub struct Authority {
    folder: tempfile::TempDir,
    acceptor: TlsAcceptor,
}

impl Authority {
    /// Make both.
    pub fn new() -> Authority {
        let key = rcgen::KeyPair::generate().expect("the system is random");
        let mut authority = rcgen::CertificateParams::new(Vec::new()).expect("no names are valid names");
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        authority.distinguished_name.push(rcgen::DnType::CommonName, "authority of the tests");
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        let write =
            |name: &str, pem: String| std::fs::write(folder.path().join(name), pem).expect("a folder of our own");
        write("authority.pem", authority.self_signed(&key).expect("a new certificate").pem());
        let issuer = rcgen::Issuer::new(authority, key);
        let leaf_key = rcgen::KeyPair::generate().expect("the system is random");
        let leaf =
            rcgen::CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).expect("valid names");
        let leaf = leaf.signed_by(&leaf_key, &issuer).expect("a new certificate");
        write("server.pem", leaf.pem());
        write("server.key", leaf_key.serialize_pem());
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider knows TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], PrivateKeyDer::Pkcs8(leaf_key.serialize_der().into()))
            .expect("the key is the certificate's");
        Authority { folder, acceptor: TlsAcceptor::from(Arc::new(config)) }
    }

    /// What a downstream needs to speak TLS.
    pub fn acceptor(&self) -> TlsAcceptor {
        self.acceptor.clone()
    }

    /// A file: `authority.pem`, `server.pem`, `server.key`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}
