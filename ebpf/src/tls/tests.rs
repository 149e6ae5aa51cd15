//! The binder against scripts of what the kernel side would tell.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use proptest::prelude::*;

use crate::event::{CloseCause, Direction, Event, EventKind, Loss, LossKind, Role, SocketId, Unit};

use super::bind::{Binder, Seen};
use super::{ObjectId, Plaintext};

/// How a library reaches its socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// It makes the system calls (a BIO on a descriptor).
    Descriptor,
    /// Its user does, around it (a BIO in memory).
    Memory,
    /// Go: it names its socket, and writes are told before they are sent.
    Go,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Tls12,
    Tls13,
}

/// What is said before TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    Tls,
    Postgres,
    Mysql,
}

impl Start {
    /// Whether the client said it, and what.
    fn said(self) -> Vec<(bool, Vec<u8>)> {
        match self {
            Start::Tls => Vec::new(),
            Start::Postgres => vec![(true, b"\0\0\0\x08\x04\xd2\x16\x2f".to_vec()), (false, b"S".to_vec())],
            Start::Mysql => {
                let greeting = [&[74, 0, 0, 0, 10][..], &[b'x'; 73]].concat();
                vec![(false, greeting), (true, [&[32, 0, 0, 1, 0, 8][..], &[0; 30]].concat())]
            }
        }
    }
}

/// One connection of a service, and the script of what is seen of it.
struct Line {
    socket: SocketId,
    object: ObjectId,
    role: Role,
    unit: Unit,
    style: Style,
    version: Version,
    /// What passes on the socket, each way.
    ciphertext: [Vec<u8>; 2],
    /// What is to be told instead.
    plaintext: [Vec<u8>; 2],
    /// How much of both is in the clear.
    clear: [usize; 2],
    /// What cannot be told apart in time: other connections of the thread come before or after, not in between.
    turns: Vec<Vec<Seen>>,
    /// What was said, for people.
    said: Vec<(Direction, usize, usize)>,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Line { socket, role, unit, style, version, said, .. } = self;
        write!(f, "{} {role:?} {:?} {style:?} {version:?} {said:?}", socket.0, unit.strand)
    }
}

const PROCESS: u32 = 100;

impl Line {
    fn new(number: u64, role: Role, thread: u32, style: Style, version: Version) -> Line {
        Line::begun(Start::Tls, number, role, thread, style, version)
    }

    fn begun(start: Start, number: u64, role: Role, thread: u32, style: Style, version: Version) -> Line {
        let mut line = Line {
            socket: SocketId(number),
            object: ObjectId(1000 + number),
            role,
            unit: Unit::thread(PROCESS, thread),
            style,
            version,
            ciphertext: Default::default(),
            plaintext: Default::default(),
            clear: [0; 2],
            turns: Vec::new(),
            said: Vec::new(),
        };
        let address = |port: u16| std::net::SocketAddr::from(([127, 0, 0, 1], port)).into();
        let port = 1000 + u16::try_from(number).unwrap();
        let kind =
            EventKind::Open { socket: line.socket, role, local: address(port), peer: address(443), joined: false };
        let open = line.seen(kind, None);
        line.turns.push(vec![open]);
        for (from_client, bytes) in start.said() {
            let direction = line.way(from_client);
            let seen = line.moved(direction, bytes.clone());
            let seen = match seen {
                Seen::Event { event, .. } => Seen::Event { event, within: None },
                other => other,
            };
            line.plaintext[direction as usize].extend(bytes);
            line.turns.push(vec![seen]);
        }
        line.clear = line.plaintext.each_ref().map(Vec::len);
        line.handshake();
        line
    }

    fn seen(&self, kind: EventKind, within: Option<ObjectId>) -> Seen {
        Seen::Event { event: Event { at: 0, unit: Some(self.unit), kind }, within }
    }

    fn way(&self, from_client: bool) -> Direction {
        if from_client == (self.role == Role::Client) { Direction::Sent } else { Direction::Received }
    }

    /// How much plaintext has passed through the object.
    fn inside(&self, direction: Direction) -> u64 {
        (self.plaintext[direction as usize].len() - self.clear[direction as usize]) as u64
    }

    /// Bytes on the socket.
    fn moved(&mut self, direction: Direction, bytes: Vec<u8>) -> Seen {
        let stream = &mut self.ciphertext[direction as usize];
        let position = stream.len() as u64;
        stream.extend_from_slice(&bytes);
        let within = (self.style == Style::Descriptor).then_some(self.object);
        let kind = EventKind::Data {
            socket: self.socket,
            direction,
            position,
            bytes: Bytes::from(bytes),
            missing: 0,
            other: None,
        };
        self.seen(kind, within)
    }

    /// A call that brought no plaintext; a library on a descriptor is not asked about them.
    fn called(&self) -> Option<Seen> {
        let socket = (self.style == Style::Go).then_some(self.socket);
        (self.style != Style::Descriptor).then_some(Seen::Call {
            unit: Some(self.unit),
            object: self.object,
            socket,
            writes: false,
        })
    }

    fn handshake(&mut self) {
        let [to_server, to_client] = [self.way(true), self.way(false)];
        let hello = self.moved(to_server, record(22, &[1; 300]));
        let mut answer = record(22, &server_hello(self.version));
        let finished = match self.version {
            Version::Tls13 => {
                // EncryptedExtensions, Certificate, CertificateVerify, Finished.
                for length in [10, 900, 264, 36] {
                    answer.extend(record(23, &vec![7; length + 17]));
                }
                record(23, &[7; 36 + 17])
            }
            Version::Tls12 => {
                answer.extend(record(22, &[7; 1200]));
                [record(20, &[1]), record(22, &[7; 40])].concat()
            }
        };
        let answer = self.moved(to_client, answer);
        let finished = self.moved(to_server, finished);
        let steps = [Some(hello), self.called(), Some(answer), self.called(), Some(finished), self.called()];
        self.turns.extend(steps.chunks(2).map(|turn| turn.iter().flatten().cloned().collect()));
        if self.version == Version::Tls13 {
            let tickets = [record(23, &[7; 255 + 17]), record(23, &[7; 255 + 17])].concat();
            let tickets = self.moved(to_client, tickets);
            self.turns.push(vec![tickets].into_iter().chain(self.called()).collect());
        }
    }

    fn protected(&self, content: usize) -> Vec<u8> {
        let overhead = if self.version == Version::Tls13 { 17 } else { 24 };
        record(23, &vec![9; content + overhead])
    }

    /// The service writes or reads one message, in records of at most `most` bytes.
    fn says(&mut self, direction: Direction, length: usize, most: usize) {
        self.said.push((direction, length, most));
        let content: Vec<u8> = (0..length).map(|i| (self.socket.0 as usize * 31 + i * 7) as u8).collect();
        let at = self.inside(direction);
        self.plaintext[direction as usize].extend_from_slice(&content);
        let pieces: Vec<Bytes> = content.chunks(most).map(Bytes::copy_from_slice).collect();
        let socket = (self.style == Style::Go).then_some(self.socket);
        let (unit, object) = (self.unit, self.object);
        let told = |position: usize, bytes: &Bytes, left: usize, requested: usize| {
            Seen::Plaintext(Plaintext {
                at: 0,
                unit: Some(unit),
                object,
                socket,
                direction,
                position: at + position as u64,
                bytes: bytes.clone(),
                missing: 0,
                left: left as u64,
                requested: requested as u64,
            })
        };
        let mut turn = Vec::new();
        match direction {
            Direction::Sent => {
                let told = vec![told(0, &Bytes::from(content), 0, length)];
                let records: Vec<u8> = pieces.iter().flat_map(|piece| self.protected(piece.len())).collect();
                let sent = vec![self.moved(direction, records)];
                turn.extend(if self.style == Style::Descriptor { [sent, told] } else { [told, sent] }.concat());
            }
            Direction::Received => {
                let mut position = 0;
                for piece in &pieces {
                    let told = told(position, piece, 0, 16384);
                    position += piece.len();
                    let record = self.protected(piece.len());
                    turn.push(self.moved(direction, record));
                    turn.push(told);
                }
            }
        }
        self.turns.push(turn);
    }

    fn close(&mut self) {
        let positions = [Direction::Sent, Direction::Received].map(|direction| self.inside(direction));
        let freed = Seen::Freed { at: 0, object: self.object, positions };
        let close = self.seen(EventKind::Close { socket: self.socket, cause: CloseCause::Closed }, None);
        self.turns.push(vec![freed, close]);
    }
}

fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [&[kind, 3, 3], &length[..], body].concat()
}

fn server_hello(version: Version) -> Vec<u8> {
    let mut hello = vec![2, 0, 0, 0, 3, 3];
    hello.extend([5; 32]);
    hello.push(0);
    match version {
        Version::Tls13 => hello.extend([0x13, 0x01, 0, 0, 6, 0, 43, 0, 2, 3, 4]),
        Version::Tls12 => hello.extend([0xc0, 0x2f, 0]),
    }
    hello
}

/// What was told of one socket.
#[derive(Default)]
struct Told {
    inside: bool,
    streams: [BTreeMap<u64, Vec<u8>>; 2],
    missing: u64,
    finished: [bool; 2],
    closed: bool,
}

struct Outcome {
    sockets: HashMap<SocketId, Told>,
    lost: Vec<Loss>,
}

/// Gives all of it to a binder, in this order, a microsecond apart.
fn play(seen: impl IntoIterator<Item = Seen>) -> Outcome {
    play_since(0, seen)
}

/// The same, where calls have been seen since a time only.
fn play_since(since: u64, seen: impl IntoIterator<Item = Seen>) -> Outcome {
    let mut binder = Binder::default();
    binder.readable(PROCESS, since);
    let mut outcome = Outcome { sockets: HashMap::new(), lost: Vec::new() };
    let mut now = 1;
    for mut seen in seen {
        now += 1000;
        match &mut seen {
            Seen::Event { event, .. } => event.at = now,
            Seen::Plaintext(plaintext) => plaintext.at = now,
            Seen::Freed { at, .. } => *at = now,
            Seen::Call { .. } => {}
        }
        binder.take(seen);
        outcome.told(&mut binder);
    }
    binder.advance(now + 10_000_000_000);
    outcome.told(&mut binder);
    binder.stop(now + 10_000_000_000);
    outcome.told(&mut binder);
    outcome
}

impl Outcome {
    fn told(&mut self, binder: &mut Binder) {
        while let Some(event) = binder.next() {
            match event.kind {
                EventKind::InsideTls { socket } => {
                    let told = self.sockets.entry(socket).or_default();
                    assert!(!told.inside, "said twice");
                    told.inside = true;
                }
                EventKind::Data { socket, direction, position, bytes, missing, .. } => {
                    let told = self.sockets.entry(socket).or_default();
                    assert!(!told.closed && !told.finished[direction as usize], "data behind the end");
                    told.missing += missing;
                    told.streams[direction as usize].insert(position, bytes.to_vec());
                }
                EventKind::Finished { socket, direction } => {
                    self.sockets.entry(socket).or_default().finished[direction as usize] = true;
                }
                EventKind::Close { socket, .. } => self.sockets.entry(socket).or_default().closed = true,
                EventKind::Lost(loss) => self.lost.push(loss),
                _ => {}
            }
        }
    }

    /// What was told of the connection is its plaintext or its ciphertext, each byte in its place; returns whether it is all of
    /// its plaintext.
    #[track_caller]
    fn judge(&self, line: &Line) -> bool {
        let told = &self.sockets[&line.socket];
        let truth = if told.inside { &line.plaintext } else { &line.ciphertext };
        for (stream, truth) in told.streams.iter().zip(truth) {
            for (position, bytes) in stream {
                let position = usize::try_from(*position).unwrap();
                assert_eq!(Some(&bytes[..]), truth.get(position..position + bytes.len()), "wrong bytes at {position}");
            }
        }
        let whole = told.streams.iter().zip(truth).all(|(stream, truth)| stream.values().flatten().eq(truth));
        assert!(whole || told.missing > 0 || !self.lost.is_empty(), "a loss in silence");
        told.inside && whole
    }
}

const STYLES: [Style; 3] = [Style::Descriptor, Style::Memory, Style::Go];
const VERSIONS: [Version; 2] = [Version::Tls12, Version::Tls13];
const STARTS: [Start; 3] = [Start::Tls, Start::Postgres, Start::Mysql];

#[test]
fn plaintext_takes_the_place_of_ciphertext() {
    for style in STYLES {
        for version in VERSIONS {
            for role in [Role::Server, Role::Client] {
                for start in STARTS {
                    let mut line = Line::begun(start, 1, role, 1, style, version);
                    let [asks, answers] = [line.way(true), line.way(false)];
                    for length in [120, 36, 40_000, 2] {
                        line.says(asks, length, 16384);
                        line.says(answers, length * 2, 1200);
                    }
                    line.close();
                    let outcome = play(line.turns.iter().flatten().cloned());
                    assert!(outcome.judge(&line), "{start:?} {style:?} {version:?} {role:?}");
                    assert_eq!(outcome.lost, [], "{start:?} {style:?} {version:?} {role:?}");
                    assert_eq!(outcome.sockets[&line.socket].missing, 0);
                }
            }
        }
    }
}

/// A client that does not wait, and whose request and hello are seen as one.
#[test]
fn tls_may_begin_in_the_middle_of_what_is_seen() {
    let mut line = Line::begun(Start::Mysql, 1, Role::Client, 1, Style::Descriptor, Version::Tls13);
    line.says(Direction::Sent, 100, 16384);
    line.close();
    let mut seen: Vec<Seen> = line.turns.iter().flatten().cloned().collect();
    let Seen::Event { event: Event { kind: EventKind::Data { bytes: hello, .. }, .. }, within } = seen.remove(3) else {
        panic!("the hello")
    };
    let Seen::Event { event: Event { kind: EventKind::Data { bytes, .. }, .. }, within: first } = &mut seen[2] else {
        panic!("the request")
    };
    (*bytes, *first) = ([&bytes[..], &hello].concat().into(), within);
    let outcome = play(seen);
    assert!(outcome.judge(&line));
    assert_eq!(outcome.lost, []);
}

#[test]
fn what_no_library_was_asked_for_stays_encrypted() {
    for (version, start) in VERSIONS.into_iter().flat_map(|version| STARTS.map(|start| (version, start))) {
        let mut line = Line::begun(start, 1, Role::Client, 1, Style::Memory, version);
        line.says(Direction::Sent, 100, 16384);
        line.says(Direction::Received, 100, 16384);
        line.close();
        let seen = line.turns.iter().flatten().filter(|seen| matches!(seen, Seen::Event { .. })).cloned();
        let outcome = play(seen);
        outcome.judge(&line);
        let told = &outcome.sockets[&line.socket];
        assert!(!told.inside && told.closed);
        assert_eq!(told.streams[0].values().flatten().count(), line.ciphertext[0].len());
        assert_eq!(told.streams[1].values().flatten().count(), line.ciphertext[1].len());
        assert_eq!(outcome.lost, []);
    }
}

#[test]
fn plaintext_that_contradicts_the_records_is_not_told() {
    for style in STYLES {
        let mut line = Line::new(1, Role::Client, 1, style, Version::Tls13);
        line.says(Direction::Sent, 100, 16384);
        line.close();
        let seen = line.turns.iter().flatten().cloned().map(|seen| match seen {
            Seen::Plaintext(mut plaintext) => {
                plaintext.bytes = Bytes::from(vec![1; 101]);
                plaintext.requested = 101;
                Seen::Plaintext(plaintext)
            }
            other => other,
        });
        let outcome = play(seen);
        outcome.judge(&line);
        assert!(!outcome.sockets[&line.socket].inside, "{style:?}");
        let bytes: u64 = outcome.lost.iter().map(|loss| loss.bytes).sum();
        assert_eq!(bytes, 101, "{style:?}: {:?}", outcome.lost);
    }
}

#[test]
fn a_call_that_nobody_saw_is_a_gap() {
    let mut line = Line::new(1, Role::Server, 1, Style::Descriptor, Version::Tls13);
    for _ in 0..3 {
        line.says(Direction::Received, 500, 16384);
        line.says(Direction::Sent, 700, 16384);
    }
    line.close();
    let calls = line.turns.iter().flatten().filter(|seen| matches!(seen, Seen::Plaintext(_))).count();
    for missing in 0..calls {
        let mut at = 0;
        let seen = line.turns.iter().flatten().filter(|seen| {
            let plaintext = matches!(seen, Seen::Plaintext(_));
            at += usize::from(plaintext);
            !(plaintext && at == missing + 1)
        });
        let outcome = play(seen.cloned());
        assert!(!outcome.judge(&line));
        let told = &outcome.sockets[&line.socket];
        assert!(told.inside && told.missing >= 500, "call {missing}: {} missing", told.missing);
    }
}

#[test]
fn a_request_from_before_anybody_listened_is_a_gap() {
    let mut line = Line::new(1, Role::Client, 1, Style::Descriptor, Version::Tls13);
    line.says(Direction::Sent, 500, 16384);
    line.says(Direction::Received, 700, 16384);
    line.close();
    let mut seen: Vec<Seen> = line.turns.iter().flatten().cloned().collect();
    let first = seen.iter().position(|seen| matches!(seen, Seen::Plaintext(_))).unwrap();
    seen.remove(first);
    let outcome = play_since(10_000_000, seen);
    let told = &outcome.sockets[&line.socket];
    assert!(told.inside);
    assert_eq!(told.missing, 500);
    assert_eq!(told.streams[Direction::Received as usize].values().flatten().count(), 700);
}

/// HTTP/2: the server says its settings before it reads what the client sent along with the end of the handshake.
#[test]
fn a_server_may_speak_before_it_reads() {
    for style in [Style::Memory, Style::Go] {
        let mut line = Line::new(1, Role::Server, 1, style, Version::Tls13);
        line.says(Direction::Received, 82, 16384);
        line.says(Direction::Sent, 15, 16384);
        let [.., asked, said] = &mut line.turns[..] else { panic!("many turns") };
        let read = asked.pop().expect("the client's bytes and their reading");
        said.push(read);
        line.says(Direction::Received, 58, 16384);
        line.close();
        let outcome = play(line.turns.iter().flatten().cloned());
        assert!(outcome.judge(&line), "{style:?}: {:?}", outcome.lost);
    }
}

#[test]
fn two_candidates_are_not_guessed() {
    // One thread writes to two objects before it sends anything, and both messages have the same length.
    let mut lines = [1, 2].map(|number| Line::new(number, Role::Client, 1, Style::Memory, Version::Tls13));
    for line in &mut lines {
        // The evidence of the handshake is taken away.
        line.turns.iter_mut().for_each(|turn| turn.retain(|seen| !matches!(seen, Seen::Call { .. })));
        line.says(Direction::Sent, 100, 16384);
    }
    let opened = lines.iter().flat_map(|line| line.turns[..line.turns.len() - 1].iter().flatten());
    let [first, second] = &lines;
    let [written, sent] = [0, 1].map(|step| [first, second].map(|line| line.turns.last().unwrap()[step].clone()));
    let outcome = play(opened.cloned().chain(written).chain(sent.into_iter().rev()));
    for line in &lines {
        outcome.judge(line);
        assert!(!outcome.sockets[&line.socket].inside);
    }
    assert_eq!(outcome.lost.iter().map(|loss| loss.events).sum::<u64>(), 2);
    assert!(outcome.lost.iter().all(|loss| loss.kind == LossKind::UnknownConnection));
}

/// Node: what the server answers is taken by a write, which ends the handshake, and a proof comes when nothing waits for it.
#[test]
fn a_write_may_end_the_handshake() {
    let mut line = Line::new(1, Role::Client, 1, Style::Memory, Version::Tls13);
    line.says(Direction::Sent, 100, 16384);
    line.says(Direction::Received, 300, 16384);
    line.close();
    let [open, hello, answer, finished, tickets, request, response, close] = &line.turns[..] else {
        panic!("eight turns")
    };
    let written = vec![answer[0].clone(), request[0].clone(), finished[0].clone(), request[1].clone()];
    let turns = [open, hello, &written, tickets, response, close];
    let outcome = play(turns.into_iter().flatten().cloned());
    assert!(outcome.judge(&line));
    assert_eq!(outcome.lost, []);
}

/// Node: whoever is told of the end of the handshake writes, and that is sent within the call that ended it.
#[test]
fn what_is_sent_within_a_call_may_have_been_written_before() {
    let mut line = Line::new(1, Role::Client, 1, Style::Memory, Version::Tls13);
    for length in [100, 50, 70] {
        line.says(Direction::Sent, length, 16384);
        line.says(Direction::Received, 300, 16384);
    }
    line.close();
    let within = |seen: &Seen| match seen.clone() {
        Seen::Event { event, .. } => Seen::Event { event, within: Some(line.object) },
        other => other,
    };
    let [open, hello, answer, finished, tickets, request, rest @ ..] = &line.turns[..] else { panic!("many turns") };
    let nested = vec![answer[0].clone(), request[0].clone(), within(&finished[0]), within(&request[1])];
    let turns = [open, hello, &nested, tickets].into_iter().chain(rest);
    let outcome = play(turns.flatten().cloned());
    assert!(outcome.judge(&line));
    assert_eq!(outcome.lost, []);
}

#[test]
fn plain_connections_pass_at_once() {
    let mut binder = Binder::default();
    binder.readable(PROCESS, 0);
    let line = Line::new(1, Role::Server, 1, Style::Descriptor, Version::Tls13);
    binder.take(line.turns[0][0].clone());
    let data = |bytes: &'static [u8]| {
        let bytes = Bytes::from_static(bytes);
        let kind = EventKind::Data {
            socket: line.socket,
            direction: Direction::Received,
            position: 0,
            bytes,
            missing: 0,
            other: None,
        };
        line.seen(kind, None)
    };
    assert!(binder.next().is_some());
    binder.take(data(b"G"));
    assert!(binder.next().is_some());
    binder.take(data(&[22, 3, 1, 0, 5]));
    assert!(binder.next().is_some(), "what began as something else is not TLS");
}

#[test]
fn a_write_that_never_returned_is_a_gap_before_the_end() {
    for version in VERSIONS {
        let mut line = Line::new(1, Role::Server, 1, Style::Descriptor, version);
        line.says(Direction::Received, 100, 16384);
        line.says(Direction::Sent, 200, 16384);
        line.says(Direction::Sent, 3970, 16384);
        let returned = line.turns.last_mut().and_then(Vec::pop);
        assert!(matches!(returned, Some(Seen::Plaintext(_))), "{version:?}");
        let finished = line.seen(EventKind::Finished { socket: line.socket, direction: Direction::Sent }, None);
        let close = line.seen(EventKind::Close { socket: line.socket, cause: CloseCause::Closed }, None);
        line.turns.push(vec![finished, close]);
        let outcome = play(line.turns.iter().flatten().cloned());
        assert!(!outcome.judge(&line), "{version:?}");
        let told = &outcome.sockets[&line.socket];
        assert_eq!((told.inside, told.missing, told.closed), (true, 3970, true), "{version:?}");
    }
}

#[test]
fn the_end_of_sending_comes_behind_what_was_sent() {
    let line = Line::new(1, Role::Server, 1, Style::Descriptor, Version::Tls13);
    let direction = Direction::Sent;
    let lost =
        EventKind::Data { socket: line.socket, direction, position: 0, bytes: Bytes::new(), missing: 9, other: None };
    let finished = EventKind::Finished { socket: line.socket, direction };
    let closed = EventKind::Close { socket: line.socket, cause: CloseCause::Closed };
    let mut binder = Binder::default();
    binder.readable(PROCESS, 0);
    binder.take(line.turns[0][0].clone());
    assert!(binder.next().is_some());
    for kind in [&lost, &finished, &closed] {
        binder.take(line.seen(kind.clone(), None));
    }
    let told: Vec<_> = std::iter::from_fn(|| binder.next()).map(|event| event.kind).collect();
    assert_eq!(told, [lost, finished, closed]);
}

fn line(number: u64, threads: u32) -> impl Strategy<Value = Line> {
    let lengths = prop::sample::select(vec![1usize, 2, 5, 36, 100, 255, 16384, 20000]);
    let messages = prop::collection::vec((any::<bool>(), lengths, prop::sample::select(vec![100usize, 16384])), 0..6);
    let style = prop::sample::select(STYLES.to_vec());
    let version = prop::sample::select(VERSIONS.to_vec());
    let role = prop::sample::select(vec![Role::Server, Role::Client]);
    let start = prop::sample::select(STARTS.to_vec());
    (start, style, version, role, messages, 1..=threads).prop_map(
        move |(start, style, version, role, messages, thread)| {
            let mut line = Line::begun(start, number, role, thread, style, version);
            for (sent, length, most) in messages {
                line.says(if sent { Direction::Sent } else { Direction::Received }, length, most);
            }
            line.close();
            line
        },
    )
}

/// Merges the turns of all connections: `order` says whose is next.
fn merged(lines: &[Line], order: &[prop::sample::Index]) -> Vec<Seen> {
    let mut left: Vec<_> = lines.iter().map(|line| line.turns.iter().peekable()).collect();
    let mut all = Vec::new();
    for index in order.iter().cycle() {
        left.retain_mut(|turns| turns.peek().is_some());
        if left.is_empty() {
            break;
        }
        let chosen = index.index(left.len());
        all.extend(left[chosen].next().into_iter().flatten().cloned());
    }
    all
}

proptest! {
    #[test]
    fn interleaved_connections_are_never_mixed_up(
        lines in (line(1, 2), line(2, 2), line(3, 2), line(4, 2)).prop_map(|(a, b, c, d)| vec![a, b, c, d]),
        order in prop::collection::vec(any::<prop::sample::Index>(), 8..40),
    ) {
        let outcome = play(merged(&lines, &order));
        for line in &lines {
            let whole = outcome.judge(line);
            // Where the evidence is strong, everything is known.
            prop_assert!(whole || line.style == Style::Memory || line.plaintext.iter().all(Vec::is_empty), "{:?}", line.style);
        }
    }

    #[test]
    fn what_was_lost_never_makes_other_bytes_wrong(
        lines in (line(1, 1), line(2, 1), line(3, 2)).prop_map(|(a, b, c)| vec![a, b, c]),
        order in prop::collection::vec(any::<prop::sample::Index>(), 8..40),
        dropped in prop::collection::vec(any::<prop::sample::Index>(), 1..6),
    ) {
        let mut seen = merged(&lines, &order);
        for index in dropped {
            let at = index.index(seen.len());
            // Opening and closing are not refused before payload is.
            let small = matches!(&seen[at], Seen::Event { event, .. } if !matches!(event.kind, EventKind::Data { .. }));
            if !small {
                seen.remove(at);
            }
        }
        let outcome = play(seen);
        for line in &lines {
            let told = &outcome.sockets[&line.socket];
            let truth = if told.inside { &line.plaintext } else { &line.ciphertext };
            for (stream, truth) in told.streams.iter().zip(truth) {
                for bytes in stream.values().filter(|bytes| bytes.len() > 8) {
                    // Its own bytes at least; places may be off by what nobody saw.
                    prop_assert!(truth.windows(bytes.len()).any(|window| window == &bytes[..]));
                }
            }
        }
    }
}
