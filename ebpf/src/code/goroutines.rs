//! Where Go programs keep what tells goroutines apart, and where their HTTP clients hand a request from one to another.

use object::ReadRef;

use super::{Elf, ProbePoint, golang};

/// What a Go program has for us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Goroutines {
    pub(crate) fields: GoroutineFields,
    /// Probes of `bpf/tls.h`.
    pub(crate) probes: Vec<ProbePoint>,
}

/// Where in `runtime.g` numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct GoroutineFields {
    /// Its own (`goid`).
    pub(crate) number_at: u32,
    /// That of the goroutine that started it (`parentGoid`).
    pub(crate) parent_at: u32,
}

/// What begins the section `.go.buildinfo` (debug/buildinfo); flags and, since Go 1.18, the version follow at fixed places.
const BUILD_INFO: &[u8] = b"\xff Go buildinf:";
const FLAGS_AT: usize = 15;
const VERSION_INSIDE: u8 = 2;
const VERSION_AT: usize = 32;

/// What is called to have a request made, and by whom it is written: HTTP/2 of net/http, where that is since Go 1.27, and by itself.
/// Who waits is probed first, so that who has started it is known when something is written for it.
const CLIENTS: [(&str, &str); 7] = [
    ("go_round_trip", "net/http.(*persistConn).roundTrip"),
    ("go_stream_waits", "net/http.(*http2ClientConn).roundTrip"),
    ("go_stream_waits", "net/http/internal/http2.(*ClientConn).roundTrip"),
    ("go_stream_waits", "golang.org/x/net/http2.(*ClientConn).roundTrip"),
    ("go_stream_writes", "net/http.(*http2clientStream).encodeAndWriteHeaders"),
    ("go_stream_writes", "net/http/internal/http2.(*clientStream).encodeAndWriteHeaders"),
    ("go_stream_writes", "golang.org/x/net/http2.(*clientStream).encodeAndWriteHeaders"),
];

/// `None` for what is no Go program of a version whose structures are known, or keeps the current goroutine where a library
/// would.
pub(crate) fn of_program<'data>(elf: &Elf<'data, impl ReadRef<'data>>) -> Option<Goroutines> {
    let (_, build_info) = elf.section(".go.buildinfo")?;
    let fields = fields(minor_version(build_info)?)?;
    // Threads have nothing else of their own, so that it is right below what their FS register points to. Where C has no
    // part in the program, the file does not mention it.
    if elf.thread_local_size().is_some_and(|size| size != 8) {
        return None;
    }
    let offsets = golang::entries(elf, CLIENTS.map(|(_, name)| name));
    let of = |((program, _), offset): ((_, &str), Option<u64>)| Some(ProbePoint { program, offset: offset? });
    let probes = CLIENTS.into_iter().zip(offsets).filter_map(of).collect();
    Some(Goroutines { fields, probes })
}

/// From the programs' debug information, of 1.21.13, 1.22.10, 1.23.9, 1.24.11, 1.25.5, 1.26.6 and 1.27.3.
fn fields(minor: u32) -> Option<GoroutineFields> {
    let (number_at, parent_at) = match minor {
        21 | 22 | 25 => (152, 272),
        23 | 24 => (160, 280),
        26 | 27 => (152, 280),
        _ => return None,
    };
    Some(GoroutineFields { number_at, parent_at })
}

/// The 26 of `go1.26.6`.
fn minor_version(build_info: &[u8]) -> Option<u32> {
    if !build_info.starts_with(BUILD_INFO) || build_info.get(FLAGS_AT)? & VERSION_INSIDE == 0 {
        return None;
    }
    // Its length comes first, as a varint; no version is longer than one byte of it says.
    let length = usize::from(*build_info.get(VERSION_AT)?);
    let version = build_info.get(VERSION_AT + 1..)?.get(..length)?;
    let minor = std::str::from_utf8(version).ok()?.strip_prefix("go1.")?;
    let digits = minor.find(|c: char| !c.is_ascii_digit()).unwrap_or(minor.len());
    minor[..digits].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_the_build_information() {
        let of = |version: &str, flags: u8| {
            let mut info = BUILD_INFO.to_vec();
            info.extend([8, flags]);
            info.resize(VERSION_AT, 0);
            info.push(u8::try_from(version.len()).unwrap());
            info.extend(version.as_bytes());
            info
        };
        assert_eq!(minor_version(&of("go1.26.6", 2)), Some(26));
        assert_eq!(minor_version(&of("go1.27", 2)), Some(27));
        assert_eq!(minor_version(&of("go1.24rc1 X:nocoverageredesign", 2)), Some(24));
        for damaged in [of("go1.26.6", 0), of("devel", 2), of("go1.", 2), of("go2.0", 2), Vec::new()] {
            assert_eq!(minor_version(&damaged), None);
        }
        let whole = of("go1.26.6", 2);
        assert!((0..whole.len()).all(|length| minor_version(&whole[..length]).is_none()));
    }

    #[test]
    fn other_versions_are_not_guessed() {
        let of = |number_at, parent_at| Some(GoroutineFields { number_at, parent_at });
        assert_eq!([20, 21, 23, 27, 28].map(fields), [None, of(152, 272), of(160, 280), of(152, 280), None]);
    }
}
