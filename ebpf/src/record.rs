//! Decodes what the programs write into the ring. The layout is `struct record` and its kin in `bpf/regress.h`; both
//! files change together.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::{Bytes, BytesMut};

use crate::address::UnixAddress;
use crate::event::{CloseCause, Direction, Event, EventKind, Role, SocketId, Strand, Unit};
use crate::tls::{ObjectId, Plaintext};
use crate::unix::UnixSocket;

/// What a goroutine has to do with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It has its next request written to this socket, by whichever other one.
    NextRequest(SocketId),
    /// What it sends next on this socket begins a request, one of several there, which its parent waits for.
    OwnStream(SocketId),
    /// It waits for one.
    Itself,
}

/// A record that is an event, or becomes one once the role is known.
#[derive(Debug, PartialEq)]
pub(crate) enum Record {
    Event(Event),
    /// Bytes moved in a system call that was made within a call on a TLS object.
    Within {
        event: Event,
        object: ObjectId,
    },
    /// Plaintext of a TLS object.
    Plaintext(Plaintext),
    /// A call on a TLS object that brought none.
    TlsCall {
        unit: Option<Unit>,
        object: ObjectId,
        socket: Option<SocketId>,
        writes: bool,
    },
    /// A TLS object is no more; so much plaintext was sent and received through it.
    TlsFreed {
        at: u64,
        object: ObjectId,
        positions: [u64; 2],
    },
    /// A goroutine has to do with a request.
    Claimed {
        at: u64,
        unit: Unit,
        /// Who started it.
        parent: Option<Unit>,
        claim: Claim,
    },
    /// A task is woken by whoever has read from this socket what it waits for.
    Returned {
        at: u64,
        unit: Unit,
        socket: SocketId,
        connected: bool,
    },
    /// A process may have mapped new code. Held, it waits until that was looked into.
    Mapped {
        process: u32,
        held: bool,
    },
    /// A connection is used for the first time. Without a role it was established before the programs were there; joined,
    /// it was used before its process was followed.
    Open {
        at: u64,
        unit: Option<Unit>,
        socket: SocketId,
        role: Option<Role>,
        local: SocketAddr,
        peer: SocketAddr,
        joined: bool,
    },
    /// A Unix connection is used for the first time since the programs are there.
    OpenUnix {
        at: u64,
        unit: Option<Unit>,
        id: SocketId,
        socket: UnixSocket,
        role: Role,
        local: UnixAddress,
        peer: UnixAddress,
    },
}

/// The longest name of a Unix socket: `sun_path` in unix(7).
const UNIX_NAME: usize = 108;

/// Where the payload of records goes: events share its memory, so that an event costs no allocation.
pub(crate) struct Payload(BytesMut);

impl Payload {
    /// How much is allocated at once. It is given back when the last event that refers to it is gone.
    const BLOCK: usize = 256 << 10;

    pub(crate) fn new() -> Payload {
        Payload(BytesMut::new())
    }

    fn keep(&mut self, bytes: &[u8]) -> Bytes {
        if self.0.capacity() < bytes.len() {
            // Not `reserve`, which would copy nothing here but may grow the block to double its size.
            self.0 = BytesMut::with_capacity(Payload::BLOCK.max(bytes.len()));
        }
        self.0.extend_from_slice(bytes);
        self.0.split().freeze()
    }
}

/// `None` for what the programs never write.
pub(crate) fn decode(record: &[u8], payload: &mut Payload) -> Option<Record> {
    let mut fields = Fields(record);
    let at = fields.u64()?;
    let socket = SocketId(fields.u64()?);
    let [process, thread] = [fields.u32()?, fields.u32()?];
    let [kind, detail, joined, _] = fields.take()?;
    let length = usize::try_from(fields.u32()?).ok()?;
    let unit = Unit { process, strand: strand(fields.u64()?).unwrap_or(Strand::Thread(thread)) };
    let unit = Some(unit).filter(|unit| unit.process != 0);
    let kind = match kind {
        1 => {
            let (_, peer) = fields.addresses()?;
            EventKind::Connecting { socket, peer }
        }
        2 if fields.is_unix()? => return fields.unix_open(at, unit, socket, role(detail)??, payload),
        2 => {
            let (local, peer) = fields.addresses()?;
            return Some(Record::Open { at, unit, socket, role: role(detail)?, local, peer, joined: joined != 0 });
        }
        3 => {
            let position = fields.u64()?;
            let missing = fields.u64()?;
            let other = fields.position()?;
            let within = fields.u64()?;
            let direction = direction(detail)?;
            let bytes = payload.keep(fields.0.get(..length)?);
            let kind = EventKind::Data { socket, direction, position, bytes, missing, other };
            if within != 0 {
                return Some(Record::Within { event: Event { at, unit, kind }, object: ObjectId(within) });
            }
            kind
        }
        4 => EventKind::Finished { socket, direction: direction(detail)? },
        5 => EventKind::Close { socket, cause: cause(detail)? },
        // Threads are born and end, whatever they ran last.
        6 => {
            let unit = Some(Unit::thread(process, thread));
            let kind = EventKind::Born { child: Unit::thread(fields.u32()?, fields.u32()?) };
            return Some(Record::Event(Event { at, unit, kind }));
        }
        7 => {
            let unit = Some(Unit::thread(process, thread));
            return Some(Record::Event(Event { at, unit, kind: EventKind::Gone }));
        }
        8 => {
            let [_position, _missing, _other, _within] = [fields.u64()?, fields.u64()?, fields.u64()?, fields.u64()?];
            EventKind::Name { bytes: payload.keep(fields.0.get(..length)?) }
        }
        9..=11 => {
            let object = ObjectId(fields.u64()?);
            let [position, missing, left, requested] = [fields.u64()?, fields.u64()?, fields.u64()?, fields.u64()?];
            let socket = Some(socket).filter(|socket| socket.0 != 0);
            return Some(match kind {
                9 => Record::Plaintext(Plaintext {
                    at,
                    unit,
                    object,
                    socket,
                    direction: direction(detail)?,
                    position,
                    bytes: payload.keep(fields.0.get(..length)?),
                    missing,
                    left,
                    requested,
                }),
                10 => Record::TlsCall { unit, object, socket, writes: detail == 0 },
                _ => Record::TlsFreed { at, object, positions: [position, missing] },
            });
        }
        12 => return unit.map(|unit| Record::Mapped { process: unit.process, held: detail != 0 }),
        13 => {
            let parent = Some(fields.u64()?).filter(|&parent| parent != 0);
            let parent = parent.map(|parent| Unit { process, strand: Strand::Goroutine(parent) });
            let claim = match detail {
                0 => Claim::NextRequest(socket),
                1 => Claim::OwnStream(socket),
                2 => Claim::Itself,
                _ => return None,
            };
            return unit.map(|unit| Record::Claimed { at, unit, parent, claim });
        }
        15 => {
            let unit = unit.filter(|unit| unit.is_of_tokio())?;
            return Some(Record::Returned { at, unit, socket, connected: detail != 0 });
        }
        14 => EventKind::Born { child: Unit { process, strand: strand(fields.u64()?)? } },
        _ => return None,
    };
    Some(Record::Event(Event { at, unit, kind }))
}

/// What a thread runs, by its number (`bpf/strand.h`).
fn strand(number: u64) -> Option<Strand> {
    const CONTEXT: u64 = 1 << 63;
    const JOB: u64 = 1 << 62;
    const TASK: u64 = 1 << 60;
    let plain = number & !(CONTEXT | JOB);
    match number & (CONTEXT | JOB) {
        0 if number == 0 => None,
        0 if number & TASK != 0 => Some(Strand::Task(number & !TASK)),
        0 => Some(Strand::Goroutine(number)),
        CONTEXT => Some(Strand::Context(plain)),
        JOB => Some(Strand::Job(plain)),
        _ => None,
    }
}

fn direction(value: u8) -> Option<Direction> {
    match value {
        0 => Some(Direction::Sent),
        1 => Some(Direction::Received),
        _ => None,
    }
}

fn role(value: u8) -> Option<Option<Role>> {
    match value {
        0 => Some(None),
        1 => Some(Some(Role::Server)),
        2 => Some(Some(Role::Client)),
        _ => None,
    }
}

fn cause(value: u8) -> Option<CloseCause> {
    match value {
        1 => Some(CloseCause::Closed),
        2 => Some(CloseCause::Reset),
        3 => Some(CloseCause::Refused),
        4 => Some(CloseCause::TimedOut),
        _ => None,
    }
}

/// The rest of a record, read front to back.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_ne_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_ne_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_ne_bytes)
    }

    /// A position that may be unknown (`UNKNOWN_POSITION`).
    fn position(&mut self) -> Option<Option<u64>> {
        self.u64().map(|position| Some(position).filter(|&position| position != u64::MAX))
    }

    /// Whether the family that comes next is that of Unix sockets.
    fn is_unix(&self) -> Option<bool> {
        let (family, _) = self.0.split_first_chunk()?;
        Some(i32::from(u16::from_ne_bytes(*family)) == libc::AF_UNIX)
    }

    fn unix_open(
        &mut self,
        at: u64,
        unit: Option<Unit>,
        id: SocketId,
        role: Role,
        payload: &mut Payload,
    ) -> Option<Record> {
        let [_family, local_length, peer_length, _padding] = [self.u16()?, self.u16()?, self.u16()?, self.u16()?];
        let [address, inode, peer_inode] = [self.u64()?, self.u64()?, self.u64()?];
        let mut end = |length, inode| {
            let field = self.take::<UNIX_NAME>()?;
            let name = field.get(..usize::from(length))?;
            // A path ends in a zero byte that is not part of it.
            let name = if name.starts_with(&[0]) { name } else { name.split(|&byte| byte == 0).next()? };
            Some(UnixAddress { name: payload.keep(name), inode })
        };
        let local = end(local_length, inode)?;
        let peer = end(peer_length, peer_inode)?;
        Some(Record::OpenUnix { at, unit, id, socket: UnixSocket { address, inode }, role, local, peer })
    }

    fn addresses(&mut self) -> Option<(SocketAddr, SocketAddr)> {
        let family = self.u16()?;
        let local_port = self.u16()?;
        let peer_port = self.u16()?;
        let _padding = self.u16()?;
        let local = address(family, self.take()?)?;
        let peer = address(family, self.take()?)?;
        Some((SocketAddr::new(local, local_port), SocketAddr::new(peer, peer_port)))
    }
}

fn address(family: u16, bytes: [u8; 16]) -> Option<IpAddr> {
    match i32::from(family) {
        libc::AF_INET => bytes.first_chunk::<4>().map(|&v4| IpAddr::V4(Ipv4Addr::from(v4))),
        libc::AF_INET6 => Some(IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(record: &[u8]) -> Option<Record> {
        super::decode(record, &mut Payload::new())
    }

    fn head(kind: u8, detail: u8, length: u32) -> Vec<u8> {
        let mut record = Vec::new();
        record.extend(7u64.to_ne_bytes());
        record.extend(9u64.to_ne_bytes());
        record.extend(100u32.to_ne_bytes());
        record.extend(101u32.to_ne_bytes());
        record.extend([kind, detail, 0, 0]);
        record.extend(length.to_ne_bytes());
        record.extend(0u64.to_ne_bytes());
        record
    }

    fn data(bytes: &[u8], missing: u64) -> Vec<u8> {
        let mut record = head(3, 1, u32::try_from(bytes.len()).unwrap());
        record.extend(5u64.to_ne_bytes());
        record.extend(missing.to_ne_bytes());
        record.extend(u64::MAX.to_ne_bytes());
        record.extend(0u64.to_ne_bytes());
        record.extend(bytes);
        record
    }

    fn open(family: u16, local: [u8; 16], peer: [u8; 16]) -> Vec<u8> {
        let mut record = head(2, 1, 0);
        for field in [family, 80, 4000, 0] {
            record.extend(field.to_ne_bytes());
        }
        record.extend(local);
        record.extend(peer);
        record
    }

    #[test]
    fn data_keeps_position_bytes_and_missing() {
        let Some(Record::Event(event)) = decode(&data(b"abc", 4)) else { panic!("no event") };
        assert_eq!(event.at, 7);
        assert_eq!(event.unit, Some(Unit::thread(100, 101)));
        assert_eq!(
            event.kind,
            EventKind::Data {
                socket: SocketId(9),
                direction: Direction::Received,
                position: 5,
                bytes: Bytes::from_static(b"abc"),
                missing: 4,
                other: None,
            }
        );
    }

    #[test]
    fn a_goroutine_is_the_unit_where_there_is_one() {
        let mut claimed = head(13, 0, 0);
        claimed[32..40].copy_from_slice(&77u64.to_ne_bytes());
        claimed.extend(5u64.to_ne_bytes());
        let [unit, parent] = [77, 5].map(|number| Unit { process: 100, strand: Strand::Goroutine(number) });
        let expected = Record::Claimed { at: 7, unit, parent: Some(parent), claim: Claim::NextRequest(SocketId(9)) };
        assert_eq!(decode(&claimed), Some(expected));
        let mut gone = claimed.clone();
        gone[24] = 7;
        let Some(Record::Event(event)) = decode(&gone) else { panic!("no event") };
        assert_eq!(event.unit, Some(Unit::thread(100, 101)));
    }

    #[test]
    fn a_context_is_born_of_what_ran() {
        let born = |parent: u64, child: u64| {
            let mut born = head(14, 0, 0);
            born[32..40].copy_from_slice(&parent.to_ne_bytes());
            born.extend(child.to_ne_bytes());
            decode(&born)
        };
        let context = |number| Unit { process: 100, strand: Strand::Context(number) };
        for (parent, unit) in [(0, Unit::thread(100, 101)), (1 << 63 | 3, context(3))] {
            let kind = EventKind::Born { child: context(4) };
            assert_eq!(born(parent, 1 << 63 | 4), Some(Record::Event(Event { at: 7, unit: Some(unit), kind })));
        }
        let kind = EventKind::Born { child: Unit { process: 100, strand: Strand::Job(5) } };
        let expected = Record::Event(Event { at: 7, unit: Some(context(3)), kind });
        assert_eq!(born(1 << 63 | 3, 1 << 62 | 5), Some(expected));
        let kind = EventKind::Born { child: Unit { process: 100, strand: Strand::Task(6) } };
        let expected = Record::Event(Event { at: 7, unit: Some(Unit { process: 100, strand: Strand::Task(5) }), kind });
        assert_eq!(born(1 << 60 | 5, 1 << 60 | 6), Some(expected));
        assert_eq!([0, 3 << 62].map(|child| born(0, child)), [None, None]);
    }

    #[test]
    fn a_response_returns_to_a_task() {
        let mut returned = head(15, 0, 0);
        returned[32..40].copy_from_slice(&(1u64 << 60 | 7).to_ne_bytes());
        let unit = Unit { process: 100, strand: Strand::Task(7) };
        assert_eq!(decode(&returned), Some(Record::Returned { at: 7, unit, socket: SocketId(9), connected: false }));
    }

    #[test]
    fn payloads_share_memory_and_stay_apart() {
        let mut payload = Payload::new();
        let sizes = (0..2000).map(|n| n * 37 % 3000).chain([Payload::BLOCK + 1, 0, 5]);
        let kept: Vec<(Vec<u8>, Bytes)> = sizes
            .map(|size| {
                let bytes: Vec<u8> = (0..size).map(|n| (n + size) as u8).collect();
                let kept = payload.keep(&bytes);
                (bytes, kept)
            })
            .collect();
        assert!(kept.iter().all(|(bytes, kept)| bytes == kept));
        let follows = |pair: &[(Vec<u8>, Bytes)]| pair[0].1.as_ptr_range().end == pair[1].1.as_ptr();
        let together = kept.windows(2).filter(|pair| follows(pair)).count();
        assert!(together > kept.len() * 9 / 10, "{together}");
    }

    #[test]
    fn mapped_addresses_are_version_4() {
        let mapped = Ipv4Addr::new(127, 0, 0, 1).to_ipv6_mapped().octets();
        let Some(Record::Open { local, peer, role, .. }) = decode(&open(10, mapped, Ipv6Addr::LOCALHOST.octets()))
        else {
            panic!("no open")
        };
        assert_eq!(local, "127.0.0.1:80".parse().unwrap());
        assert_eq!(peer, "[::1]:4000".parse().unwrap());
        assert_eq!(role, Some(Role::Server));
    }

    fn open_unix(local: &[u8], peer: &[u8]) -> Vec<u8> {
        let mut record = head(2, 2, 0);
        for field in [1, local.len(), peer.len(), 0] {
            record.extend(u16::try_from(field).unwrap().to_ne_bytes());
        }
        for field in [0xffff_8880_0000_1000u64, 11, 12] {
            record.extend(field.to_ne_bytes());
        }
        for name in [local, peer] {
            let mut field = [b'x'; UNIX_NAME];
            field[..name.len()].copy_from_slice(name);
            record.extend(field);
        }
        record
    }

    #[test]
    fn names_of_unix_sockets() {
        for (recorded, name) in
            [(&b"/run/a\0"[..], &b"/run/a"[..]), (b"\0a\0b", b"\0a\0b"), (b"", b""), (&[b'n'; 108], &[b'n'; 108])]
        {
            let Some(Record::OpenUnix { id, socket, role, local, peer, .. }) = decode(&open_unix(b"", recorded)) else {
                panic!("no open")
            };
            assert_eq!((id, role), (SocketId(9), Role::Client));
            assert_eq!(socket, UnixSocket { address: 0xffff_8880_0000_1000, inode: 11 });
            assert_eq!(local, UnixAddress { name: Bytes::new(), inode: 11 });
            assert_eq!(peer, UnixAddress { name: Bytes::copy_from_slice(name), inode: 12 });
        }
        let mut too_long = open_unix(b"", b"");
        too_long[42] = 109;
        assert_eq!(decode(&too_long), None);
    }

    #[test]
    fn a_cut_record_is_nothing() {
        for whole in
            [data(b"abcdef", 0), open_unix(b"", b"/run/a\0"), open(2, [1; 16], [2; 16]), head(4, 0, 0), head(5, 1, 0)]
        {
            assert!(decode(&whole).is_some());
            for length in 0..whole.len() {
                assert_eq!(decode(&whole[..length]), None, "cut to {length} of {}", whole.len());
            }
        }
    }

    #[test]
    fn unknown_values_are_nothing() {
        for record in
            [head(0, 0, 0), head(15, 0, 0), head(4, 2, 0), head(5, 0, 0), head(5, 5, 0), open(1, [0; 16], [0; 16])]
        {
            assert_eq!(decode(&record), None);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_not_but_never_panic(record in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&record);
        }

        #[test]
        fn a_length_beyond_the_record_is_nothing(kept in 0usize..64, more in 1u32..u32::MAX - 64) {
            let mut record = data(&vec![1; kept], 0);
            let claimed = u32::try_from(kept).unwrap() + more;
            record[28..32].copy_from_slice(&claimed.to_ne_bytes());
            prop_assert_eq!(decode(&record), None);
        }
    }
}
