//! The TLS library that is in a file, and where to probe it.

use object::ReadRef;

use super::elf::Elf;
use super::golang;

/// A TLS library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum TlsLibrary {
    /// OpenSSL, BoringSSL or what has their functions, by itself or within a program that exports them.
    OpenSsl,
    /// crypto/tls of Go, within a program.
    Go,
    /// GnuTLS.
    GnuTls,
    /// Network Security Services.
    Nss,
    /// The Java virtual machine, which has a library of its own.
    Java,
    /// rustls, within a program.
    Rustls,
}

impl TlsLibrary {
    /// Whether what services say through it can be read.
    #[must_use]
    pub fn is_readable(self) -> bool {
        match self {
            TlsLibrary::OpenSsl | TlsLibrary::Go => true,
            TlsLibrary::GnuTls | TlsLibrary::Nss | TlsLibrary::Java | TlsLibrary::Rustls => false,
        }
    }

    /// Its name, as people know it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            TlsLibrary::OpenSsl => "OpenSSL",
            TlsLibrary::Go => "Go crypto/tls",
            TlsLibrary::GnuTls => "GnuTLS",
            TlsLibrary::Nss => "NSS",
            TlsLibrary::Java => "Java",
            TlsLibrary::Rustls => "rustls",
        }
    }
}

/// A program of `bpf/tls.h` and the place in the file where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProbePoint {
    pub(crate) program: &'static str,
    pub(crate) offset: u64,
}

/// The programs that probe points name.
pub(crate) const PROBES: [&str; 12] = [
    "go_read_returns",
    "go_close",
    "go_read",
    "go_write",
    "libraries_changed",
    "ssl_free",
    "ssl_returned",
    "ssl_read",
    "ssl_read_ex",
    "ssl_do_handshake",
    "ssl_write",
    "ssl_write_ex",
];

/// What a file has for us.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Inspected {
    pub(crate) library: Option<TlsLibrary>,
    /// In the order in which they have to be attached: what sees a call end before what sees it begin, reads before
    /// writes, so that nothing is seen half.
    pub(crate) probes: Vec<ProbePoint>,
}

/// Looks into a file; anything that is no ELF file for x86-64 has nothing.
pub(crate) fn inspect<'data>(data: impl ReadRef<'data>) -> Inspected {
    let Some(elf) = Elf::parse(data) else { return Inspected::default() };
    let mut inspected = Inspected::default();
    if let [Some(address)] = elf.functions(["_dl_debug_state"]) {
        inspected.probes.extend(point(&elf, "libraries_changed", address));
    }
    let go = golang::crypto_tls(&elf);
    if !go.is_empty() {
        inspected.library = Some(TlsLibrary::Go);
        inspected.probes.extend(go);
    }
    let openssl = openssl(&elf);
    if !openssl.is_empty() {
        inspected.library = Some(TlsLibrary::OpenSsl);
        inspected.probes.extend(openssl);
    }
    inspected
}

/// The library that is in a file and cannot be read, by the file's name or, for rustls, by the source
/// files that its messages name.
pub(crate) fn unreadable<'data>(name: &str, data: impl ReadRef<'data>) -> Option<TlsLibrary> {
    const BY_NAME: [(&str, TlsLibrary); 4] = [
        ("libgnutls.so", TlsLibrary::GnuTls),
        ("libssl3.so", TlsLibrary::Nss),
        ("libnspr4.so", TlsLibrary::Nss),
        ("libjvm.so", TlsLibrary::Java),
    ];
    let known = BY_NAME.iter().find(|(start, _)| name.starts_with(start)).map(|(_, library)| *library);
    known.or_else(|| Elf::parse(data)?.mentions("/rustls-0.").then_some(TlsLibrary::Rustls))
}

fn point<'data>(elf: &Elf<'data, impl ReadRef<'data>>, program: &'static str, address: u64) -> Option<ProbePoint> {
    Some(ProbePoint { program, offset: elf.code_offset(address)? })
}

/// SSL_read and SSL_write of both families (SSL_read(3ssl)); empty unless all that a connection needs is there.
fn openssl<'data>(elf: &Elf<'data, impl ReadRef<'data>>) -> Vec<ProbePoint> {
    let [read, read_ex, write, write_ex, handshake, connect, accept, free] = elf.functions([
        "SSL_read",
        "SSL_read_ex",
        "SSL_write",
        "SSL_write_ex",
        "SSL_do_handshake",
        "SSL_connect",
        "SSL_accept",
        "SSL_free",
    ]);
    if read.is_none() || write.is_none() {
        return Vec::new();
    }
    let calls = [
        ("ssl_read", read),
        ("ssl_read_ex", read_ex),
        ("ssl_do_handshake", handshake),
        ("ssl_do_handshake", connect),
        ("ssl_do_handshake", accept),
        ("ssl_write", write),
        ("ssl_write_ex", write_ex),
    ];
    let mut probes = Vec::new();
    probes.extend(free.and_then(|address| point(elf, "ssl_free", address)));
    for (program, address) in calls {
        let Some(address) = address else { continue };
        probes.extend(point(elf, "ssl_returned", address));
        probes.extend(point(elf, program, address));
    }
    probes
}
