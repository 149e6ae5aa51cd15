//! The TLS library that is in a file, and where to probe it.

use object::ReadRef;

use crate::code::{Elf, ProbePoint};

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

/// SSL_read and SSL_write of both families (SSL_read(3ssl)); empty unless all that a connection needs is there.
pub(crate) fn openssl<'data>(elf: &Elf<'data, impl ReadRef<'data>>) -> Vec<ProbePoint> {
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
    probes.extend(free.and_then(|address| elf.probe("ssl_free", address)));
    for (program, address) in calls {
        let Some(address) = address else { continue };
        probes.extend(elf.probe("ssl_returned", address));
        probes.extend(elf.probe(program, address));
    }
    probes
}

#[cfg(test)]
#[allow(clippy::print_stdout, reason = "skipped tests say why")]
mod tests {
    use std::path::{Path, PathBuf};
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;
    use crate::code::{Inspected, inspect};

    /// What a file has, and what it says there itself.
    fn inspected(file: &Path) -> (Inspected, Vec<u8>) {
        let bytes = std::fs::read(file).expect("the file is there");
        (inspect(&bytes[..]), bytes)
    }

    /// Skips with the reason unless everything is required.
    fn skip(test: &str, reason: &str) {
        assert!(std::env::var_os("REGRESS_TEST_REQUIRE").is_none_or(|v| v != "all"), "{test} cannot run: {reason}");
        println!("skipped: {test}: {reason}");
    }

    fn libssl() -> Option<PathBuf> {
        ["/usr/lib/x86_64-linux-gnu/libssl.so.3", "/usr/lib64/libssl.so.3", "/usr/lib/libssl.so.3"]
            .into_iter()
            .map(PathBuf::from)
            .find(|file| file.exists())
    }

    /// A Go program that speaks TLS, built with these flags.
    fn go_program(name: &str, flags: &[&str], cgo: &str) -> Option<PathBuf> {
        let folder = std::env::temp_dir().join(format!("regress-go-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a temporary folder");
        let source = folder.join("main.go");
        let text = r#"package main
            import ("crypto/tls"; "fmt"; "os")
            func main() { c, err := tls.Dial("tcp", os.Args[1], nil); b := make([]byte, 9); fmt.Println(err)
              c.Write(b); c.Read(b); c.Close() }"#;
        std::fs::write(&source, text).expect("a temporary file");
        let mut build = Command::new("go");
        build.env("GO111MODULE", "off").env("GOTOOLCHAIN", "local").env("CGO_ENABLED", cgo).arg("build").args(flags);
        let built = build.arg("-o").arg(folder.join("program")).arg(&source).status();
        built.ok().filter(std::process::ExitStatus::success).map(|_| folder.join("program"))
    }

    #[test]
    fn libssl_is_probed_where_its_functions_are() {
        let Some(file) = libssl() else { return skip("libssl", "no libssl.so.3") };
        let (inspected, _) = inspected(&file);
        assert_eq!(inspected.library, Some(TlsLibrary::OpenSsl));
        let of = |program| inspected.probes.iter().filter(|probe| probe.program == program).count();
        assert_eq!(["ssl_read", "ssl_read_ex", "ssl_write", "ssl_write_ex", "ssl_free"].map(of), [1; 5]);
        assert_eq!((of("ssl_do_handshake"), of("ssl_returned")), (3, 7));
        // A call's end is watched before its beginning.
        for (at, probe) in inspected.probes.iter().enumerate() {
            if !["ssl_returned", "ssl_free"].contains(&probe.program) {
                assert_eq!(inspected.probes[at - 1].program, "ssl_returned");
                assert_eq!(inspected.probes[at - 1].offset, probe.offset);
            }
        }
    }

    #[test]
    fn go_is_probed_however_it_is_built() {
        let builds: [(&str, &[&str], &str); 5] = [
            ("plain", &[], "0"),
            ("stripped", &["-ldflags=-s -w"], "0"),
            ("pie", &["-buildmode=pie"], "0"),
            ("stripped-pie", &["-buildmode=pie", "-ldflags=-s -w"], "0"),
            ("cgo", &["-ldflags=-s -w"], "1"),
        ];
        for (name, flags, cgo) in builds {
            let Some(file) = go_program(name, flags, cgo) else { return skip(name, "go does not build this") };
            let (inspected, bytes) = inspected(&file);
            assert_eq!(inspected.library, Some(TlsLibrary::Go), "{name}");
            let goroutines = inspected.goroutines.as_ref().expect("a Go program of a known version");
            assert_eq!(goroutines.probes, [], "{name}: there is no net/http in it");
            let mut programs: Vec<_> = inspected.probes.iter().map(|probe| probe.program).collect();
            programs.dedup();
            programs.retain(|program| *program != "libraries_changed");
            assert_eq!(programs, ["go_read_returns", "go_close", "go_read", "go_write"], "{name}");
            for probe in &inspected.probes {
                let byte = bytes[usize::try_from(probe.offset).unwrap()];
                match probe.program {
                    "go_read_returns" => assert_eq!(byte, 0xc3, "{name}: RET"),
                    _ => assert_eq!(byte, 0x55, "{name}: PUSH RBP"),
                }
            }
            std::fs::remove_dir_all(file.parent().expect("in a folder")).expect("our own folder");
        }
    }

    #[test]
    fn what_is_no_program_has_nothing() {
        assert_eq!(inspect(&b""[..]), Inspected::default());
        assert_eq!(inspect(&b"#!/bin/sh\n"[..]), Inspected::default());
        assert_eq!(unreadable("libjvm.so", &b""[..]), Some(TlsLibrary::Java));
        assert_eq!(unreadable("libc.so.6", &b""[..]), None);
    }

    #[test]
    fn a_damaged_program_is_nothing_or_something_but_no_panic() {
        let programs = [libssl(), go_program("damaged", &["-ldflags=-s -w"], "0")];
        for file in programs.iter().flatten() {
            let (_, whole) = inspected(file);
            // Where the headers and tables are, every place counts; elsewhere a few do.
            let mut places: Vec<usize> = (0..512.min(whole.len())).step_by(7).collect();
            places.extend((0..whole.len()).step_by(whole.len() / 60 + 1));
            for place in places {
                let _ = inspect(&whole[..place]);
                let mut damaged = whole.clone();
                let end = (place + 8).min(damaged.len());
                damaged[place..end].fill(0xff);
                let _ = inspect(&damaged[..]);
            }
        }
        if let Some(file) = &programs[1] {
            std::fs::remove_dir_all(file.parent().expect("in a folder")).expect("our own folder");
        }
    }

    proptest! {
        #[test]
        fn garbage_is_no_program(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let magic = [&b"\x7fELF\x02\x01\x01"[..], &bytes].concat();
            let _ = inspect(&bytes[..]);
            let _ = inspect(&magic[..]);
        }
    }
}
