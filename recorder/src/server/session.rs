//! One agent, from its greeting to its end.

use std::{
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nix::sys::{
    prctl::set_pdeathsig,
    signal::{SigSet, Signal},
};
use regress_ebpf::{Options, Source};
use tokio::sync::mpsc;

use super::{access::Standing, pace::Pace, peer::Peer};
use crate::{
    Error, confine,
    followed::descendants,
    held::Held,
    source::{BATCHES, Item, Kernel},
    vitals::Vitals,
    wire::{
        EVENTS, FRAME, FromAgent, FromServer, Hello, Malformed, Receiver, Refusal, Sender, Target, Wanted, put_event,
    },
};

/// How long an agent has for its greeting and its wishes, and to take an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Of an event that is sent in a frame with others.
const PART: usize = FRAME / 4;
/// The buffer's fill is told where it has changed by so much.
const FILL_STEP: f32 = 0.01;

/// What an agent gets at most.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// By which hooks.
    pub source: Source,
    /// The buffer of a capture in bytes, and the largest that may be asked for; a part of the machine's memory if `None`.
    pub buffer_bytes: Option<u32>,
    /// Bytes a second.
    pub rate: Option<u64>,
}

/// Serve the agent at the other end of a socket, until it ends or says so, or this process gets SIGTERM. The process gives up what
/// privileges it does not need on the way, so that it is good for nothing else afterwards.
///
/// # Errors
/// What the agent has been told as well.
pub fn session(stream: UnixStream, terms: &Terms) -> Result<(), Error> {
    let lost = |source| Error::Agent { source };
    // Before any thread begins, so that all inherit it: who waits for it has it.
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.thread_block().map_err(|error| lost(error.into()))?;
    // What the server was told is told to this process, also where the server is killed.
    set_pdeathsig(Signal::SIGTERM).map_err(|error| lost(error.into()))?;
    // Nothing of the agent has been read yet.
    confine::capabilities().map_err(lost)?;
    for set in [UnixStream::set_read_timeout, UnixStream::set_write_timeout] {
        set(&stream, Some(PATIENCE)).map_err(lost)?;
    }
    let mut sender = Sender::new(stream.try_clone().map_err(lost)?);
    let (captured, receiver) = match begin(&stream, &mut sender, terms) {
        Ok(Some(begun)) => begun,
        Ok(None) => return Ok(()),
        Err(error) => {
            // It may be gone.
            let _ = sender.send(&FromServer::Refused(refusal(&error)));
            return Err(error);
        }
    };
    for set in [UnixStream::set_read_timeout, UnixStream::set_write_timeout] {
        set(&stream, None).map_err(lost)?;
    }
    match captured.serve(sender, receiver, signals, terms) {
        // The agent has ended without a word: so does its capture.
        Err(error) if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => Ok(()),
        served => served.map_err(lost),
    }
}

/// Tell an agent that there is no room for it.
pub(super) fn refuse_for_room(stream: UnixStream) {
    // Whoever does not read is not waited for.
    let _ = stream.set_write_timeout(Some(Duration::from_millis(100)));
    let mut sender = Sender::new(stream);
    let what = "the server has as many agents as it may have".to_owned();
    let hint = Some("end another recording, or start the server with a larger --max-agents".to_owned());
    let _ = sender.greet(&Hello::own());
    let _ = sender.send(&FromServer::Refused(Refusal { what, hint }));
}

fn refusal(error: &Error) -> Refusal {
    let mut what = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        what = format!("{what}: {error}");
        cause = error.source();
    }
    Refusal { what, hint: error.hint() }
}

/// A capture that has begun.
struct Captured {
    kernel: Kernel,
    items: mpsc::Receiver<Item>,
    vitals: Arc<Vitals>,
}

/// From the greeting to the first event; `None` where the agent wanted nothing but the greeting.
fn begin(stream: &UnixStream, sender: &mut Sender, terms: &Terms) -> Result<Option<(Captured, Receiver)>, Error> {
    let lost = |source| Error::Agent { source };
    let peer = Peer::of(stream).map_err(lost)?;
    sender.greet(&Hello::own()).map_err(lost)?;
    Hello::read(&mut &*stream).and_then(|hello| Ok(hello.check()?)).map_err(lost)?;
    let mut nonce = [0; 16];
    getrandom::fill(&mut nonce).map_err(|error| lost(io::Error::other(error)))?;
    sender.send(&FromServer::Welcome { nonce, source: terms.source }).map_err(lost)?;
    let mut receiver = Receiver::new(stream.try_clone().map_err(lost)?);
    let Some(start) = receiver.receive().map_err(lost)? else { return Ok(None) };
    let wanted = match start.message().map_err(|error| lost(error.into()))? {
        FromAgent::Start { nonce: said, wanted } if said == nonce => wanted,
        _ => return Err(lost(Malformed::NotDue.into())),
    };
    let agent = peer.standing(start.sender).map_err(lost)?;
    let own = Standing::of(std::process::id()).map_err(lost)?;
    let captured = capture(wanted, start.handles, terms, agent, own)?;
    confine::session().map_err(|source| Error::System { action: "give up privileges", source })?;
    sender.send(&FromServer::Started).map_err(lost)?;
    Ok(Some((captured, receiver)))
}

/// Captures what an agent wants, where it may have it.
fn capture(
    wanted: Wanted,
    handles: Vec<OwnedFd>,
    terms: &Terms,
    agent: Standing,
    own: Standing,
) -> Result<Captured, Error> {
    if agent.time_namespace != own.time_namespace {
        return Err(Error::OtherClock);
    }
    let processes = usize::from(wanted.target.processes());
    if processes == 0 || handles.len() != processes + usize::from(wanted.programs) {
        return Err(Error::Agent { source: Malformed::Frame.into() });
    }
    let mut handles = handles.into_iter();
    let held: Option<Vec<Held>> = handles.by_ref().take(processes).map(Held::of).collect();
    let held = held.ok_or(Error::Unseen)?;
    let programs: Vec<OwnedFd> = handles.collect();
    let may = move |pid: u32| match Standing::of(pid) {
        Ok(standing) => standing.may_be_captured(&agent, &own).map_err(|why| Error::NotYours { pid, why: why.words() }),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Err(Error::NoSuchProcess { pid }),
        Err(source) => Err(Error::Agent { source }),
    };
    let mut pids = Vec::new();
    for process in &held {
        may(process.pid)?;
        pids.push(process.pid);
    }
    if matches!(wanted.target, Target::WithChildren { .. }) {
        let children = descendants(pids.clone());
        pids.extend(children.into_iter().filter(|child| may(*child).is_ok()));
    }
    let options = Options {
        pids: pids.clone(),
        source: Some(terms.source),
        buffer_bytes: buffer(wanted.buffer_bytes, terms)?,
        inside_tls: wanted.inside_tls,
        programs: programs.iter().map(|file| PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))).collect(),
        without_gain: true,
        ..Options::default()
    };
    let (give, items) = mpsc::channel(BATCHES);
    let vitals = Arc::new(Vitals::default());
    let again = {
        let may = may.clone();
        move |pid: u32| may(pid).is_ok()
    };
    let kernel = Kernel::start(options, false, again, give, Arc::clone(&vitals))?;
    tracing::info!("capturing processes {pids:?}");
    // What a process executes between the look at it and the capture may have raised it; from now on that ends its capture.
    for pid in pids {
        match may(pid) {
            Ok(()) | Err(Error::NoSuchProcess { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Captured { kernel, items, vitals })
}

fn buffer(wanted: Option<u32>, terms: &Terms) -> Result<Option<u32>, Error> {
    let most = terms.buffer_bytes.unwrap_or_else(regress_ebpf::default_buffer_bytes);
    match wanted {
        Some(wanted) if wanted > most => Err(Error::BufferTooLarge { wanted, most }),
        wanted => Ok(wanted.or(terms.buffer_bytes)),
    }
}

impl Captured {
    fn serve(mut self, mut sender: Sender, receiver: Receiver, signals: SigSet, terms: &Terms) -> io::Result<()> {
        let stop = self.kernel.stopper();
        let is_ended_here = Arc::new(AtomicBool::new(false));
        {
            let (stop, is_ended_here) = (Arc::clone(&stop), Arc::clone(&is_ended_here));
            thread::Builder::new().name("signals".into()).spawn(move || {
                if signals.wait().is_ok() {
                    is_ended_here.store(true, Ordering::Release);
                    stop.store(true, Ordering::Release);
                }
            })?;
        }
        {
            let vitals = Arc::clone(&self.vitals);
            let stop = Arc::clone(&stop);
            thread::Builder::new().name("agent".into()).spawn(move || {
                obey(receiver, &vitals, &stop);
                stop.store(true, Ordering::Release);
            })?;
        }
        let pace = terms.rate.map(|rate| Pace::new(rate, Instant::now()));
        let mut teller = Teller { sender: &mut sender, pace, wait: thread::sleep, frame: Vec::new() };
        let (mut is_off, mut fill) = (false, 0.0_f32);
        while let Some(item) = self.items.blocking_recv() {
            if is_off && !matches!(item, Item::Paused(_)) {
                teller.sender.send(&FromServer::Resumed)?;
            }
            is_off = matches!(item, Item::Paused(_));
            teller.tell(item)?;
            let now = self.vitals.fill() as f32;
            if (now - fill).abs() >= FILL_STEP {
                fill = now;
                teller.sender.send(&FromServer::Fill(fill))?;
            }
        }
        let failed = self.kernel.finish().err().map(|error| refusal(&error));
        let ended = is_ended_here.load(Ordering::Acquire).then(|| Refusal {
            what: "the server was stopped".to_owned(),
            hint: Some("start the server, and record again".to_owned()),
        });
        sender.send(&FromServer::Ended { error: failed.or(ended) })
    }
}

/// Does what the agent says until it says or does no more.
fn obey(mut receiver: Receiver, vitals: &Vitals, stop: &AtomicBool) {
    while !stop.load(Ordering::Acquire) {
        let Ok(Some(received)) = receiver.receive() else { return };
        match received.message() {
            Ok(FromAgent::Pause) => vitals.set_paused(true),
            Ok(FromAgent::Resume) => vitals.set_paused(false),
            Ok(FromAgent::Stop | FromAgent::Start { .. }) | Err(_) => return,
        }
    }
}

/// Tells an agent what happened.
struct Teller<'a, W> {
    sender: &'a mut Sender,
    pace: Option<Pace>,
    wait: W,
    frame: Vec<u8>,
}

impl<W: FnMut(Duration)> Teller<'_, W> {
    fn tell(&mut self, item: Item) -> io::Result<()> {
        match item {
            Item::Event(event) => self.events(&[event]),
            Item::Events(events) => self.events(&events),
            Item::Idle(at) => self.sender.send(&FromServer::Idle { at }),
            Item::Paused(at) => self.sender.send(&FromServer::Paused { at }),
        }
    }

    fn events(&mut self, events: &[regress_ebpf::Event]) -> io::Result<()> {
        let mut count = 0;
        for event in events {
            self.frame = put_event(event, std::mem::take(&mut self.frame)).map_err(io::Error::other)?;
            count += 1;
            if self.frame.len() >= PART || count == EVENTS {
                self.flush()?;
                count = 0;
            }
        }
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.frame.is_empty() {
            return Ok(());
        }
        if let Some(pace) = &mut self.pace {
            // What comes meanwhile waits in the kernel's buffer; where that is full, it is lost and counted.
            (self.wait)(pace.wait(self.frame.len(), Instant::now()));
        }
        self.sender.send_events(&self.frame)?;
        self.frame.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use regress_ebpf::{Direction, Event, EventKind, SocketId};

    use super::*;
    use crate::wire::{Kind, events_of};

    fn data(length: usize) -> Event {
        let (socket, direction) = (SocketId(1), Direction::Sent);
        let bytes = Bytes::from(vec![7; length]);
        Event {
            at: 1,
            unit: None,
            kind: EventKind::Data { socket, direction, position: 0, bytes, missing: 0, other: None },
        }
    }

    /// Gives what is told, with its kinds, and how long was waited before each frame of events.
    fn told(pace: Option<Pace>, items: Vec<Item>) -> (Vec<(Kind, Vec<u8>)>, Vec<Duration>) {
        let (one, other) = UnixStream::pair().unwrap();
        let reader = thread::spawn(move || {
            let mut receiver = Receiver::new(other);
            std::iter::from_fn(|| receiver.receive().unwrap()).map(|frame| (frame.kind, frame.body)).collect()
        });
        let mut sender = Sender::new(one);
        let mut waits = Vec::new();
        let mut teller = Teller { sender: &mut sender, pace, wait: |time| waits.push(time), frame: Vec::new() };
        items.into_iter().for_each(|item| teller.tell(item).unwrap());
        drop(sender);
        (reader.join().unwrap(), waits)
    }

    #[test]
    fn many_events_are_told_in_frames_that_are_read() {
        let mut events: Vec<Event> = (0..40).map(|_| data(100 << 10)).collect();
        events.extend((0..3 * EVENTS).map(|_| Event { at: 2, unit: None, kind: EventKind::Gone }));
        let (told, waits) = told(None, vec![Item::Events(events.clone()), Item::Idle(9)]);
        assert!(waits.is_empty());
        let (last, frames) = told.split_last().unwrap();
        assert_eq!(last.0, Kind::Message);
        assert!(frames.len() > 6 && frames.iter().all(|(kind, body)| *kind == Kind::Events && body.len() <= FRAME));
        let heard: Vec<Event> = frames.iter().flat_map(|(_, body)| events_of(body).unwrap()).collect();
        assert!(heard == events);
    }

    #[test]
    fn what_is_paced_waits_before_it_is_told() {
        // So slow that the time that this takes does not count.
        let pace = Pace::new(1, Instant::now());
        let (told, waits) = told(Some(pace), vec![Item::Event(data(5_000)), Item::Idle(9), Item::Event(data(5_000))]);
        assert_eq!(told.len(), 3);
        let [first, second] = waits[..] else { panic!("{waits:?}") };
        assert!(first.as_secs() >= 4_900 && second.as_secs() >= 9_900, "{waits:?}");
    }

    #[test]
    fn a_buffer_is_as_large_as_the_server_says() {
        let terms = |buffer_bytes| Terms { source: Source::Socket, buffer_bytes, rate: None };
        assert_eq!(buffer(None, &terms(None)).unwrap(), None);
        assert_eq!(buffer(None, &terms(Some(1 << 20))).unwrap(), Some(1 << 20));
        assert_eq!(buffer(Some(1 << 16), &terms(Some(1 << 20))).unwrap(), Some(1 << 16));
        assert!(matches!(buffer(Some(1 << 21), &terms(Some(1 << 20))), Err(Error::BufferTooLarge { .. })));
        assert!(buffer(Some(1 << 30), &terms(None)).is_err(), "more than the server would take by itself");
    }
}
