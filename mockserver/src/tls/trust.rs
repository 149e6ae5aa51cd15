//! The files that make a service trust the authority.

use std::fs;
use std::path::{Path, PathBuf};

use super::keystore;
use crate::Error;

/// Where systems keep all trusted certificates in one file, most common first.
pub const SYSTEM_BUNDLES: [&str; 7] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/pki/tls/cert.pem",
    "/usr/lib/ssl/cert.pem",
];

/// Certificates to trust, in the forms that runtimes read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustFiles {
    /// What the host trusts and the authority (PEM): the file in `SSL_CERT_FILE`, else the system's bundle, if any.
    pub bundle: PathBuf,
    /// The authority alone (PEM).
    pub authority: PathBuf,
    /// The authority alone (Java keystore, password `changeit`).
    pub java: PathBuf,
}

impl TrustFiles {
    pub(super) fn write(dir: &Path, pem: &str, der: &[u8]) -> Result<Self, Error> {
        let mut bundle = trusted_by_the_host();
        if !bundle.is_empty() && !bundle.ends_with(b"\n") {
            bundle.push(b'\n');
        }
        bundle.extend(pem.as_bytes());
        Ok(Self {
            bundle: write(dir, "bundle.pem", &bundle)?,
            authority: write(dir, "authority.pem", pem.as_bytes())?,
            java: write(dir, "cacerts.jks", &keystore::of_authority(der))?,
        })
    }
}

fn trusted_by_the_host() -> Vec<u8> {
    let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let system = SYSTEM_BUNDLES.iter().map(PathBuf::from);
    named.into_iter().chain(system).find_map(|path| fs::read(path).ok()).unwrap_or_default()
}

fn write(dir: &Path, name: &str, bytes: &[u8]) -> Result<PathBuf, Error> {
    let path = dir.join(name);
    match fs::write(&path, bytes) {
        Ok(()) => Ok(path),
        Err(source) => Err(Error::Write { path, source }),
    }
}
