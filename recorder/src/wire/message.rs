//! What is said in frames.

use regress_ebpf::{Event, Source};
use serde::{Deserialize, Serialize};

use super::Malformed;

/// The version of everything below and of [`Event`]: raised with each change of what goes over the wire.
pub const PROTOCOL: u16 = 1;

/// The most events of a frame: the shortest take three bytes of it, and forty times that in memory.
pub const EVENTS: usize = 16 << 10;

/// What an agent says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromAgent {
    /// Begin. The first, and once.
    Start {
        /// As the server gave it: whoever sends this was there when the server looked at who it is.
        nonce: [u8; 16],
        /// What to capture.
        wanted: Wanted,
    },
    /// Capture nothing until told otherwise.
    Pause,
    /// Capture again.
    Resume,
    /// End.
    Stop,
}

/// What an agent wants to have captured. With it come handles of the processes, then of the programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Which processes.
    pub target: Target,
    /// How many of the handles that come with the message are of programs that the processes are about to run.
    pub programs: u8,
    /// Size of the event buffer in bytes; as the server likes if `None`.
    pub buffer_bytes: Option<u32>,
    /// Whether to read what is said inside TLS.
    pub inside_tls: bool,
}

/// Which processes: their handles (`pidfd_open(2)`) come with the message, so that the kernel says which they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// These, the children that they have, and those that they will have.
    WithChildren {
        /// How many.
        processes: u8,
    },
    /// These, and the children that they will have.
    Alone {
        /// How many.
        processes: u8,
    },
}

impl Target {
    /// How many handles of processes there are.
    #[must_use]
    pub const fn processes(self) -> u8 {
        match self {
            Target::WithChildren { processes } | Target::Alone { processes } => processes,
        }
    }
}

/// What a server says, apart from events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum FromServer {
    /// Speak.
    Welcome {
        /// To be said again by the agent.
        nonce: [u8; 16],
        /// By which hooks it captures.
        source: Source,
    },
    /// No. Nothing comes after it.
    Refused(Refusal),
    /// The capture has begun.
    Started,
    /// Nothing happened until this monotonic time.
    Idle {
        /// In nanoseconds.
        at: u64,
    },
    /// How much of the kernel's buffer waits, from 0 to 1.
    Fill(f32),
    /// Nothing is captured from this monotonic time on; what comes next is from a new capture.
    Paused {
        /// In nanoseconds.
        at: u64,
    },
    /// Something is captured again.
    Resumed,
    /// That was all. Nothing comes after it.
    Ended {
        /// Why, where the agent did not ask for it.
        error: Option<Refusal>,
    },
}

/// Why not, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Append an event to a frame of events.
///
/// # Errors
/// When memory runs out, in words of the encoder.
pub fn put_event(event: &Event, frame: Vec<u8>) -> Result<Vec<u8>, postcard::Error> {
    postcard::to_extend(event, frame)
}

/// The events of a frame.
///
/// # Errors
/// [`Malformed::Frame`] where it holds anything else.
pub fn events_of(mut frame: &[u8]) -> Result<Vec<Event>, Malformed> {
    let mut events = Vec::new();
    while !frame.is_empty() {
        if events.len() == EVENTS {
            return Err(Malformed::Frame);
        }
        let (event, rest) = postcard::take_from_bytes(frame).map_err(|_| Malformed::Frame)?;
        events.push(event);
        frame = rest;
    }
    Ok(events)
}

#[cfg(test)]
mod tests {
    use std::{fmt::Write, net::SocketAddr};

    use bytes::Bytes;
    use proptest::prelude::*;
    use regress_ebpf::{
        Address, CloseCause, Direction, EventKind, Loss, LossKind, Role, SocketId, Strand, Unit, UnixAddress,
    };

    use super::*;

    fn every_event() -> Vec<Event> {
        let socket = SocketId(300);
        let (local, peer): (SocketAddr, SocketAddr) = ("10.0.0.1:80".parse().unwrap(), "[::1]:4000".parse().unwrap());
        let unix = Address::Unix(UnixAddress { name: Bytes::from_static(b"/run/x"), inode: 7 });
        let open = |local, peer| EventKind::Open { socket, role: Role::Server, local, peer, joined: true };
        let unit = |strand| Some(Unit { process: 5, strand });
        let bytes = Bytes::from_static(b"GET /");
        let direction = Direction::Received;
        let kinds = vec![
            (unit(Strand::Thread(6)), EventKind::Connecting { socket, peer }),
            (unit(Strand::Goroutine(6)), open(local.into(), peer.into())),
            (unit(Strand::Context(6)), open(unix.clone(), unix)),
            (unit(Strand::Task(6)), EventKind::InsideTls { socket }),
            (
                unit(Strand::Job(6)),
                EventKind::Data { socket, direction, position: 9, bytes: bytes.clone(), missing: 1, other: Some(3) },
            ),
            (None, EventKind::Finished { socket, direction: Direction::Sent }),
            (None, EventKind::Close { socket, cause: CloseCause::TimedOut }),
            (None, EventKind::Serves { one_by_one: true }),
            (None, EventKind::Born { child: Unit::thread(8, 9) }),
            (None, EventKind::Gone),
            (None, EventKind::Returned { socket, connected: false }),
            (None, EventKind::Streams { socket }),
            (None, EventKind::Name { bytes }),
            (None, EventKind::Lost(Loss { kind: LossKind::Privileged, events: 1, bytes: 2 })),
        ];
        kinds.into_iter().map(|(unit, kind)| Event { at: 1000, unit, kind }).collect()
    }

    fn every_message() -> (Vec<FromAgent>, Vec<FromServer>) {
        let wanted = Wanted {
            target: Target::WithChildren { processes: 2 },
            programs: 1,
            buffer_bytes: Some(1 << 20),
            inside_tls: true,
        };
        let alone = Wanted { target: Target::Alone { processes: 1 }, buffer_bytes: None, ..wanted.clone() };
        let nonce = [1; 16];
        let refusal = Refusal { what: "no".into(), hint: Some("go".into()) };
        let agent = vec![
            FromAgent::Start { nonce, wanted },
            FromAgent::Start { nonce, wanted: alone },
            FromAgent::Pause,
            FromAgent::Resume,
            FromAgent::Stop,
        ];
        let server = vec![
            FromServer::Welcome { nonce, source: Source::Socket },
            FromServer::Refused(refusal.clone()),
            FromServer::Started,
            FromServer::Idle { at: 1000 },
            FromServer::Fill(0.5),
            FromServer::Paused { at: 1000 },
            FromServer::Resumed,
            FromServer::Ended { error: Some(refusal) },
        ];
        (agent, server)
    }

    /// Where this fails, the form of what goes over the wire is another: raise [`PROTOCOL`], then accept it.
    #[test]
    fn the_form_of_version_1() {
        let mut text = format!("version {PROTOCOL}\n");
        let mut line = |bytes: Vec<u8>| {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            writeln!(text, "{hex}").unwrap();
        };
        let (agent, server) = every_message();
        agent.iter().for_each(|message| line(postcard::to_stdvec(message).unwrap()));
        server.iter().for_each(|message| line(postcard::to_stdvec(message).unwrap()));
        every_event().iter().for_each(|event| line(put_event(event, Vec::new()).unwrap()));
        insta::assert_snapshot!(text);
    }

    #[test]
    fn what_is_said_is_understood() {
        let (agent, server) = every_message();
        for message in agent {
            let said = postcard::to_stdvec(&message).unwrap();
            assert_eq!(postcard::from_bytes::<FromAgent>(&said).unwrap(), message);
        }
        for message in server {
            let said = postcard::to_stdvec(&message).unwrap();
            assert_eq!(postcard::from_bytes::<FromServer>(&said).unwrap(), message);
        }
        let events = every_event();
        let frame = events.iter().try_fold(Vec::new(), |frame, event| put_event(event, frame)).unwrap();
        assert_eq!(events_of(&frame).unwrap(), events);
        assert!(matches!(events_of(&frame[..frame.len() - 1]), Err(Malformed::Frame)));
    }

    proptest! {
        /// What is read takes no more memory than a multiple of what was said, whatever lengths are said.
        #[test]
        fn no_bytes_are_trusted(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(events) = events_of(&bytes) {
                prop_assert!(events.len() <= bytes.len());
            }
            let _ = postcard::from_bytes::<FromAgent>(&bytes);
            let _ = postcard::from_bytes::<FromServer>(&bytes);
        }
    }
}
