//! Whether a TLS library is in a file, and where to probe it.

use object::ReadRef;

use super::elf::Elf;
use super::golang;

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
    /// OpenSSL, BoringSSL or what has their functions, or crypto/tls of Go: what is said through it can be read.
    pub(crate) has_tls: bool,
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
        inspected.has_tls = true;
        inspected.probes.extend(go);
    }
    let openssl = openssl(&elf);
    if !openssl.is_empty() {
        inspected.has_tls = true;
        inspected.probes.extend(openssl);
    }
    inspected
}

fn point<'data>(elf: &Elf<'data, impl ReadRef<'data>>, program: &'static str, address: u64) -> Option<ProbePoint> {
    Some(ProbePoint { program, offset: elf.code_offset(address)? })
}

/// SSL_read and SSL_write of both families (SSL_read(3ssl)); empty unless all that a connection needs is there.
fn openssl<'data>(elf: &Elf<'data, impl ReadRef<'data>>) -> Vec<ProbePoint> {
    let [read, read_ex, write, write_ex, handshake, free] =
        elf.functions(["SSL_read", "SSL_read_ex", "SSL_write", "SSL_write_ex", "SSL_do_handshake", "SSL_free"]);
    if read.is_none() || write.is_none() {
        return Vec::new();
    }
    let calls = [
        ("ssl_read", read),
        ("ssl_read_ex", read_ex),
        ("ssl_do_handshake", handshake),
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
