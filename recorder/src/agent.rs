//! A recording that a server captures for.

use std::{
    fs::File,
    io,
    net::Shutdown,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::{fs::OpenOptionsExt, net::UnixStream},
    },
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use regress_ebpf::Source;
use tokio::sync::mpsc::Sender as Items;

use crate::{
    Error,
    held::Held,
    source::Item,
    vitals::Vitals,
    wire::{FromAgent, FromServer, Hello, Kind, Malformed, Received, Receiver, Sender, Target, Wanted, events_of},
};

/// How long a server has for its greeting, and to begin: it looks into programs.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a server may say nothing: it speaks many times a second while it captures.
const SILENCE: Duration = Duration::from_secs(30);
/// How often it is looked whether the recording is to pause or end.
const LOOK_UP: u16 = 50;

/// A server that has greeted.
#[derive(Debug)]
pub struct Connected {
    path: PathBuf,
    stream: UnixStream,
    sender: Sender,
    receiver: Receiver,
    nonce: [u8; 16],
    source: Source,
}

impl Connected {
    /// Reach the server at a socket.
    ///
    /// # Errors
    /// When there is none, it lets this user not connect, or it is of another version.
    pub fn to(path: &Path) -> Result<Connected, Error> {
        let unreachable = |source| Error::NoServer { path: path.to_path_buf(), source };
        let stream = UnixStream::connect(path).map_err(unreachable)?;
        let lost = |source| Error::ServerGone { path: path.to_path_buf(), source };
        stream.set_read_timeout(Some(PATIENCE)).map_err(lost)?;
        let mut sender = Sender::new(stream.try_clone().map_err(lost)?);
        // Who has no room for us, or is no server, may end before it is greeted: what it said says more than that.
        let _ = sender.greet(&Hello::own());
        Hello::read(&mut &stream).and_then(|hello| Ok(hello.check()?)).map_err(lost)?;
        let mut receiver = Receiver::new(stream.try_clone().map_err(lost)?);
        match answer(&mut receiver, path)? {
            FromServer::Welcome { nonce, source } => {
                Ok(Connected { path: path.to_path_buf(), stream, sender, receiver, nonce, source })
            }
            _ => Err(lost(Malformed::NotDue.into())),
        }
    }

    /// By which hooks it captures.
    #[must_use]
    pub fn source(&self) -> Source {
        self.source
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Have these processes captured. `with_children`: also the children that they have. `programs`: what they are about to run.
    pub(crate) fn start(
        mut self,
        pids: &[u32],
        with_children: bool,
        programs: &[PathBuf],
        (inside_tls, buffer_bytes): (bool, Option<u32>),
        items: Items<Item>,
        vitals: Arc<Vitals>,
    ) -> Result<Agent, Error> {
        let lost = |source| Error::ServerGone { path: self.path.clone(), source };
        let hold = |pid: &u32| Held::open(*pid).map_err(|_| Error::NoSuchProcess { pid: *pid });
        let held = pids.iter().map(hold).collect::<Result<Vec<_>, _>>()?;
        // What cannot be read is found by the server while it starts.
        let programs: Vec<File> = programs.iter().filter_map(|program| readable(program).ok()).collect();
        let handles: Vec<BorrowedFd<'_>> =
            held.iter().map(|process| process.handle().as_fd()).chain(programs.iter().map(AsFd::as_fd)).collect();
        let count = |number: usize| u8::try_from(number).map_err(|_| Error::TooManyProcesses);
        let processes = count(held.len())?;
        let target = if with_children { Target::WithChildren { processes } } else { Target::Alone { processes } };
        let wanted = Wanted { target, programs: count(programs.len())?, buffer_bytes, inside_tls };
        let start = FromAgent::Start { nonce: self.nonce, wanted };
        // It answers why not, also where it does not read all of this.
        let sent = self.sender.send_with(&start, &handles);
        match answer(&mut self.receiver, &self.path) {
            Ok(FromServer::Started) => sent.map_err(lost)?,
            Ok(_) => return Err(lost(Malformed::NotDue.into())),
            Err(error) => return Err(error),
        }
        self.stream.set_read_timeout(Some(SILENCE)).map_err(lost)?;
        let stop = Arc::new(AtomicBool::new(false));
        let path = self.path.clone();
        let follower = Follower { server: self, items, vitals, stop: Arc::clone(&stop) };
        let thread = std::thread::Builder::new()
            .name("capture".into())
            .spawn(move || follower.run())
            .map_err(|source| Error::System { action: "start a thread", source })?;
        Ok(Agent { path, stop, thread: Some(thread) })
    }
}

fn answer(receiver: &mut Receiver, path: &Path) -> Result<FromServer, Error> {
    let lost = |source| Error::ServerGone { path: path.to_path_buf(), source };
    let received = receiver.receive().map_err(lost)?.ok_or_else(|| lost(io::ErrorKind::UnexpectedEof.into()))?;
    match received.message().map_err(|error| lost(error.into()))? {
        FromServer::Refused(refusal) => Err(Error::Refused { what: refusal.what, hint: refusal.hint }),
        message => Ok(message),
    }
}

/// A file that is no pipe and no device.
fn readable(program: &Path) -> io::Result<File> {
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(program)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

/// What a server captures, handed out on a thread of its own; dropping it ends that.
pub(crate) struct Agent {
    path: PathBuf,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<io::Result<Option<Error>>>>,
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

impl Agent {
    /// End the capture once what is buffered has been handed out.
    pub(crate) fn finish(mut self) -> Result<(), Error> {
        self.stop.store(true, Ordering::Release);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(Ok(None))) | None => Ok(()),
            Some(Ok(Ok(Some(error)))) => Err(error),
            Some(Ok(Err(source))) => Err(Error::ServerGone { path: std::mem::take(&mut self.path), source }),
            Some(Err(panic)) => std::panic::resume_unwind(panic),
        }
    }
}

/// Reads what the server says.
struct Follower {
    server: Connected,
    items: Items<Item>,
    vitals: Arc<Vitals>,
    stop: Arc<AtomicBool>,
}

/// What comes of a frame.
enum Next {
    Hand(Item),
    Nothing,
    End(Option<Error>),
}

impl Follower {
    /// Until the server has said everything. The error is what the server says is wrong.
    fn run(mut self) -> io::Result<Option<Error>> {
        let (mut paused, mut stopping) = (false, false);
        let mut heard = Instant::now();
        loop {
            if !stopping && self.stop.load(Ordering::Acquire) {
                stopping = true;
                self.server.sender.send(&FromAgent::Stop)?;
            }
            if !stopping && self.vitals.is_paused() != paused {
                paused = !paused;
                self.server.sender.send(if paused { &FromAgent::Pause } else { &FromAgent::Resume })?;
            }
            if !self.is_spoken()? {
                // While nothing is captured there is nothing to say.
                if !self.vitals.is_off() && heard.elapsed() > SILENCE {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                continue;
            }
            heard = Instant::now();
            let received = self.server.receiver.receive()?.ok_or(io::ErrorKind::UnexpectedEof)?;
            let item = match self.take(&received)? {
                Next::Hand(item) => item,
                Next::Nothing => continue,
                Next::End(error) => return Ok(error),
            };
            if self.items.blocking_send(item).is_err() {
                // The pipeline has ended, and says why itself.
                let _ = self.server.stream.shutdown(Shutdown::Both);
                return Ok(None);
            }
        }
    }

    fn take(&self, received: &Received) -> io::Result<Next> {
        if received.kind == Kind::Events {
            return Ok(Next::Hand(Item::Events(events_of(&received.body)?)));
        }
        Ok(match received.message()? {
            FromServer::Idle { at } => Next::Hand(Item::Idle(at)),
            FromServer::Fill(fill) => {
                self.vitals.set_fill(f64::from(fill).clamp(0.0, 1.0));
                Next::Nothing
            }
            FromServer::Paused { at } => {
                tracing::warn!("back-off: the capture is off");
                self.vitals.set_off(true);
                Next::Hand(Item::Paused(at))
            }
            FromServer::Resumed => {
                tracing::warn!("back-off: the capture is on again");
                self.vitals.set_off(false);
                Next::Nothing
            }
            FromServer::Ended { error } => {
                Next::End(error.map(|refusal| Error::Refused { what: refusal.what, hint: refusal.hint }))
            }
            FromServer::Welcome { .. } | FromServer::Refused(_) | FromServer::Started => {
                return Err(Malformed::NotDue.into());
            }
        })
    }

    /// Whether the server says something, soon.
    fn is_spoken(&self) -> io::Result<bool> {
        let mut polled = [PollFd::new(self.server.stream.as_fd(), PollFlags::POLLIN)];
        match poll(&mut polled, PollTimeout::from(LOOK_UP)) {
            Ok(ready) => Ok(ready > 0),
            Err(nix::errno::Errno::EINTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}
