//! A Java keystore with one trusted certificate (`sun.security.provider.JavaKeyStore`, format version 2).
//!
//! The old format on purpose: Java opens `cacerts` without a password, which an encrypted PKCS#12 store does not allow.

use sha1::{Digest, Sha1};

const MAGIC: u32 = 0xfeed_feed;
const VERSION: u32 = 2;
const TRUSTED_CERTIFICATE: u32 = 2;
const PASSWORD: &str = "changeit";
/// Milliseconds since 1970: 2000-01-01.
const CREATED: u64 = 946_684_800_000;

pub(super) fn of_authority(der: &[u8]) -> Vec<u8> {
    let mut store = Vec::with_capacity(der.len() + 80);
    store.extend(MAGIC.to_be_bytes());
    store.extend(VERSION.to_be_bytes());
    store.extend(1u32.to_be_bytes());
    store.extend(TRUSTED_CERTIFICATE.to_be_bytes());
    text(&mut store, "regress");
    store.extend(CREATED.to_be_bytes());
    text(&mut store, "X.509");
    store.extend((der.len() as u32).to_be_bytes());
    store.extend(der);
    let digest = digest(&store);
    store.extend(digest);
    store
}

/// `DataOutput.writeUTF` of plain ASCII.
fn text(store: &mut Vec<u8>, text: &str) {
    store.extend((text.len() as u16).to_be_bytes());
    store.extend(text.as_bytes());
}

/// Salted as `JavaKeyStore.getPreKeyedHash` does.
fn digest(body: &[u8]) -> [u8; 20] {
    let mut hash = Sha1::new();
    for unit in PASSWORD.encode_utf16() {
        hash.update(unit.to_be_bytes());
    }
    hash.update(b"Mighty Aphrodite");
    hash.update(body);
    hash.finalize().into()
}
