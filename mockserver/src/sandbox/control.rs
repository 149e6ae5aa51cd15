//! A sandbox from outside: build, start, reach, watch, stop.

use std::io::{self, PipeReader, Read};
use std::net::{Shutdown, SocketAddr, TcpStream as StdTcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command as Process, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use super::helper::ARGUMENT;
use super::output::{self, Output};
use super::sockets::Listeners;
use super::spec::Spec;
use super::wire::{Command, Failure, Instructions, Reply, Status, Step, receive, send};
use super::{CAPTURE_PORT, listening};
use crate::Error;

/// How long a service has between SIGTERM and the end of its pid namespace.
const GRACE: Duration = Duration::from_secs(1);

/// A sealed place with one service in it; everything in it dies when this value is dropped.
#[derive(Debug)]
pub struct Sandbox {
    helper: Arc<Helper>,
    status: watch::Receiver<Option<Status>>,
    output: Option<Output>,
    program: std::ffi::OsString,
    /// Entry sockets that were not used yet, IPv4 and IPv6: to ask for one takes longer than to connect it.
    sockets: [Mutex<Vec<OwnedFd>>; 2],
}

impl Sandbox {
    /// Builds the namespaces and opens the listeners; the command does not run yet.
    ///
    /// # Errors
    /// [`Error::CommandNotFound`] and its like before anything is built; [`Error::Sandbox`] names the step that the host
    /// refused, and its hint says what to do.
    pub async fn prepare(spec: Spec) -> Result<(Self, Listeners), Error> {
        let keep_output = spec.keep_output;
        let Built { helper, listeners, status, output, program } = blocking(move || Built::new(&spec)).await?;
        let output = output.filter(|_| keep_output).map(Output::keep).transpose().map_err(talk)?;
        let (tell, told) = watch::channel(None);
        std::thread::Builder::new().name("sandbox status".into()).spawn(move || follow(status, &tell)).map_err(talk)?;
        let sandbox = Self { helper: Arc::new(helper), status: told, output, program, sockets: Default::default() };
        Ok((sandbox, listeners))
    }

    /// Runs the command; returns once its program is running. A second call changes nothing.
    ///
    /// # Errors
    /// [`Error::Program`] when the kernel cannot run it.
    pub async fn start(&mut self) -> Result<(), Error> {
        self.ask(Command::Start).await?;
        match self.status_that(|_| true).await {
            Some(Status::Failed(failure)) if failure.step == Step::Program => {
                Err(Error::Program { program: self.program.clone(), source: failure.source() })
            }
            Some(Status::Failed(failure)) => Err(failure.into()),
            Some(Status::Running | Status::Ended(_)) => Ok(()),
            None => Err(talk(io::ErrorKind::UnexpectedEof.into())),
        }
    }

    /// Connects to what listens inside, never to the playing side: refused until the service listens.
    ///
    /// # Errors
    /// As `connect(2)`; `ConnectionRefused` when nothing listens there.
    pub async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let v6 = address.is_ipv6();
        let unused = || self.sockets[usize::from(v6)].lock().unwrap_or_else(PoisonError::into_inner);
        let socket = unused().pop();
        let socket = match socket {
            Some(socket) => socket,
            None => {
                let mut sockets = self.ask(Command::Sockets { v6 }).await.map_err(io::Error::other)?;
                let socket = sockets.pop().ok_or(io::ErrorKind::UnexpectedEof)?;
                unused().extend(sockets);
                socket
            }
        };
        TcpSocket::from_std_stream(StdTcpStream::from(socket)).connect(address).await
    }

    /// The TCP addresses on which processes inside listen, sorted; our own listeners are left out.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn listening(&self) -> io::Result<Vec<SocketAddr>> {
        let mut all = listening::listening(self.helper.pid)?;
        all.retain(|address| address.port() != CAPTURE_PORT);
        Ok(all)
    }

    /// Waits until the service's first process has ended.
    ///
    /// A sandbox that was killed as a whole is reported as ended by SIGKILL.
    pub async fn exited(&mut self) -> ExitStatus {
        match self.status_that(|status| matches!(status, Status::Ended(_) | Status::Failed(_))).await {
            Some(Status::Ended(raw)) => ExitStatus::from_raw(raw),
            _ => ExitStatus::from_raw(libc::SIGKILL),
        }
    }

    /// How the service's first process ended, if it has.
    pub fn try_exited(&mut self) -> Option<ExitStatus> {
        let gone = self.status.has_changed().is_err();
        match &*self.status.borrow() {
            Some(Status::Ended(raw)) => Some(ExitStatus::from_raw(*raw)),
            _ if gone => Some(ExitStatus::from_raw(libc::SIGKILL)),
            _ => None,
        }
    }

    /// The last 64 KiB that the service wrote to its standard output and error; empty without `keep_output`.
    pub fn last_output(&self) -> String {
        self.output.as_ref().map(Output::last).unwrap_or_default()
    }

    /// Ends the service: SIGTERM, one second of grace, then the end of its pid namespace.
    pub async fn stop(mut self) {
        // A helper that does not answer is killed below like any other.
        if self.ask(Command::Terminate).await.is_ok() && self.status.borrow().is_some() {
            let _ = tokio::time::timeout(GRACE, self.exited()).await;
        }
        let helper = Arc::clone(&self.helper);
        drop(self);
        // Reaping may take a few milliseconds; its failure leaves nothing to do.
        let _ = spawn_blocking(move || drop(helper)).await;
    }

    async fn ask(&self, command: Command) -> Result<Vec<OwnedFd>, Error> {
        let helper = Arc::clone(&self.helper);
        blocking(move || helper.ask(command)).await
    }

    /// The first status, from the latest on, that is `wanted`; `None` when the sandbox is gone.
    async fn status_that(&mut self, wanted: impl Fn(&Status) -> bool) -> Option<Status> {
        let status = self.status.wait_for(|status| status.as_ref().is_some_and(&wanted)).await;
        status.ok().and_then(|status| status.clone())
    }
}

/// Builds a sandbox as a replay would, and takes it down.
///
/// # Errors
/// [`Error::Sandbox`] with the step that this host refuses; its hint says what to do.
pub fn probe() -> Result<(), Error> {
    let spec = Spec { command: vec!["/proc/self/exe".into()], resolve: true, keep_output: true, ..Spec::default() };
    Built::new(&spec).map(drop)
}

/// A sandbox whose service does not run yet.
struct Built {
    helper: Helper,
    listeners: Listeners,
    status: PipeReader,
    output: Option<PipeReader>,
    program: std::ffi::OsString,
}

impl Built {
    fn new(spec: &Spec) -> Result<Self, Error> {
        // The files are bound and copied once the helper has answered.
        let (instructions, _files) = spec.instructions()?;
        let (status, status_writer) = io::pipe().map_err(talk)?;
        let (output, stderr) = if spec.keep_output {
            let (reader, writer) = output::pipe().map_err(talk)?;
            (Some(reader), Stdio::from(writer))
        } else {
            (None, Stdio::inherit())
        };
        let helper = Helper::spawn(spec, status_writer.into(), stderr)?;
        let sockets = helper.instruct(&instructions)?;
        let listeners = Listeners::from_sockets(sockets).ok_or_else(|| talk(io::ErrorKind::InvalidData.into()))?;
        let program = instructions.command[0].clone();
        Ok(Self { helper, listeners, status, output, program })
    }
}

/// The helper process; the sandbox ends with it.
#[derive(Debug)]
struct Helper {
    pid: u32,
    control: Mutex<UnixStream>,
    process: Mutex<Child>,
}

impl Helper {
    fn spawn(spec: &Spec, status: OwnedFd, stderr: Stdio) -> Result<Self, Error> {
        let (control, theirs) = UnixStream::pair().map_err(talk)?;
        let process = Process::new(&spec.helper)
            .arg(ARGUMENT)
            .stdin(OwnedFd::from(theirs))
            .stdout(status)
            .stderr(stderr)
            .spawn()
            .map_err(|source| Error::Helper { path: spec.helper.clone(), source })?;
        Ok(Self { pid: process.id(), control: Mutex::new(control), process: Mutex::new(process) })
    }

    fn instruct(&self, instructions: &Instructions) -> Result<Vec<OwnedFd>, Error> {
        let control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        send(&control, instructions, &[]).map_err(talk)?;
        answer(&control)
    }

    fn ask(&self, command: Command) -> Result<Vec<OwnedFd>, Error> {
        let control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        io::Write::write_all(&mut &*control, &[command.byte()]).map_err(talk)?;
        answer(&control)
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let control = self.control.get_mut().unwrap_or_else(PoisonError::into_inner);
        // The helper ends the pid namespace and then itself. If it is gone already, both calls fail, and so did that.
        let _ = control.shutdown(Shutdown::Both);
        let _ = self.process.get_mut().unwrap_or_else(PoisonError::into_inner).wait();
    }
}

fn answer(control: &UnixStream) -> Result<Vec<OwnedFd>, Error> {
    let (reply, sockets) = receive::<Reply>(control).map_err(talk)?;
    reply.map_err(Error::from)?;
    Ok(sockets)
}

/// Publishes what the status pipe says until its end.
fn follow(mut status: PipeReader, tell: &watch::Sender<Option<Status>>) {
    let mut length = [0; 4];
    while status.read_exact(&mut length).is_ok() {
        let mut body = vec![0; u32::from_ne_bytes(length) as usize];
        let Ok(()) = status.read_exact(&mut body) else { return };
        let Ok(record) = serde_json::from_slice(&body) else { return };
        tell.send_replace(Some(record));
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    spawn_blocking(work).await.map_err(|error| talk(io::Error::other(error)))?
}

fn talk(source: io::Error) -> Error {
    Error::Sandbox { step: Step::Talk, source }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::Sandbox { source: failure.source(), step: failure.step }
    }
}
