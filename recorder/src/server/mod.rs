//! The server: the one part that needs privileges, for any number of agents that have none.
//!
//! It listens on a Unix socket. Each agent is served by a process of its own, so that nothing of one is near another: that
//! process is this program again, with the agent's socket as its standard input.

mod access;
mod pace;
mod peer;
mod session;

use std::{
    collections::HashMap,
    fs::{self, Permissions},
    io,
    os::{
        fd::OwnedFd,
        unix::{
            fs::{FileTypeExt, PermissionsExt, chown},
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use nix::{
    sys::{
        signal::{Signal, kill},
        socket::{getsockopt, sockopt},
    },
    unistd::Pid,
};

pub use session::{Terms, session};

use crate::Error;

/// Where a server listens, and agents look for it, unless told otherwise.
pub const SOCKET: &str = "/run/regress/regress.sock";

/// Of the agents, a user other than root may have so many.
const SHARE: usize = 4;

/// How long agents have to take what was captured for them when the server ends.
const GRACE: Duration = Duration::from_secs(20);

/// How often it is looked whether what is waited for has come.
const LOOK_UP: Duration = Duration::from_millis(20);

/// How to serve.
#[derive(Clone, Debug)]
pub struct Serving {
    /// Where to listen.
    pub socket: PathBuf,
    /// Who may connect. What they may have captured is another question.
    pub who: Who,
    /// How many agents at a time.
    pub agents: usize,
    /// The arguments with which this program becomes the [`session`] of one agent.
    pub session: Vec<String>,
}

/// Who may connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Root.
    Root,
    /// Root and this group.
    Group(u32),
    /// All users.
    All,
}

/// A server that listens.
#[derive(Debug)]
pub struct Server {
    serving: Serving,
    listener: UnixListener,
    sessions: Arc<Sessions>,
}

/// The processes that serve agents, and for whom, by process id.
#[derive(Debug, Default)]
struct Sessions(Mutex<HashMap<u32, u32>>);

impl Sessions {
    fn all(&self) -> MutexGuard<'_, HashMap<u32, u32>> {
        // Nothing that is done under the lock leaves it half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether one more may be served.
    fn have_room(&self, user: u32, agents: usize) -> bool {
        let all = self.all();
        let own = all.values().filter(|other| **other == user).count();
        all.len() < agents && (user == 0 || own < agents.div_ceil(SHARE))
    }
}

impl Server {
    /// Begin to listen.
    ///
    /// # Errors
    /// When another server listens there, or the socket cannot be made.
    pub fn listen(serving: Serving) -> Result<Server, Error> {
        let failed = |source| Error::Listen { path: serving.socket.clone(), source };
        if let Some(folder) = serving.socket.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        make_room(&serving.socket).map_err(failed)?;
        let listener = bind(&serving.socket).map_err(failed)?;
        open_to(&serving.socket, serving.who).map_err(failed)?;
        Ok(Server { serving, listener, sessions: Arc::default() })
    }

    /// Serve until this fails; [`Stopper`] ends it.
    ///
    /// # Errors
    /// When the socket no longer takes anybody.
    pub fn run(self) -> Result<(), Error> {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => self.admit(stream),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The agent has gone again, or this process has no more descriptors for now.
                Err(error) if is_passing(&error) => std::thread::sleep(LOOK_UP),
                Err(source) => return Err(Error::Listen { path: self.serving.socket, source }),
            }
        }
    }

    /// What ends it.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper { sessions: Arc::clone(&self.sessions), socket: self.serving.socket.clone() }
    }

    fn admit(&self, stream: UnixStream) {
        let Ok(who) = getsockopt(&stream, sockopt::PeerCredentials) else { return };
        let (user, pid) = (who.uid(), who.pid());
        if !self.sessions.have_room(user, self.serving.agents) {
            tracing::warn!("agent {pid} of user {user} is refused: there are as many as there may be");
            session::refuse_for_room(stream);
            return;
        }
        match self.serve(stream) {
            Ok(child) => {
                let session = child.id();
                tracing::info!("agent {pid} of user {user} is served by process {session}");
                self.sessions.all().insert(session, user);
                self.reap(child);
            }
            Err(error) => tracing::error!("agent {pid} of user {user} cannot be served: {error}"),
        }
    }

    fn serve(&self, stream: UnixStream) -> io::Result<Child> {
        Command::new("/proc/self/exe")
            .args(&self.serving.session)
            .stdin(Stdio::from(OwnedFd::from(stream)))
            .stdout(Stdio::null())
            .spawn()
    }

    /// Waits for the end of a session, on a thread of its own.
    fn reap(&self, mut child: Child) {
        let sessions = Arc::clone(&self.sessions);
        let session = child.id();
        let wait = move || {
            let ended = child.wait();
            sessions.all().remove(&session);
            match ended {
                Ok(status) if status.success() => tracing::info!("process {session} has served its agent"),
                Ok(status) => tracing::warn!("process {session}, which served an agent, ended: {status}"),
                Err(error) => tracing::warn!("process {session}, which served an agent: {error}"),
            }
        };
        if std::thread::Builder::new().name("session".into()).spawn(wait).is_err() {
            // It ends with its agent, and stays in the table until the server ends.
            tracing::warn!("process {session} is not waited for: there is no thread for it");
        }
    }
}

/// Ends a server.
#[derive(Debug)]
pub struct Stopper {
    sessions: Arc<Sessions>,
    socket: PathBuf,
}

impl Stopper {
    /// Nobody is taken any more, and whoever is served is told that this ends, when everything that was captured is told. An agent
    /// that does not listen is waited for no longer than [`GRACE`].
    pub fn stop(self) {
        let _ = fs::remove_file(&self.socket);
        self.signal(Signal::SIGTERM);
        let begun = Instant::now();
        while !self.sessions.all().is_empty() {
            if begun.elapsed() > GRACE {
                self.signal(Signal::SIGKILL);
                return;
            }
            std::thread::sleep(LOOK_UP);
        }
    }

    fn signal(&self, signal: Signal) {
        for session in self.sessions.all().keys() {
            if let Ok(pid) = i32::try_from(*session) {
                let _ = kill(Pid::from_raw(pid), signal);
            }
        }
    }
}

/// Removes what a server that was killed has left.
fn make_room(socket: &Path) -> io::Result<()> {
    match fs::symlink_metadata(socket) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(found) if !found.file_type().is_socket() => Err(io::ErrorKind::AlreadyExists.into()),
        Ok(_) => match UnixStream::connect(socket) {
            Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(socket),
            Err(error) => Err(error),
        },
    }
}

/// A socket that nobody else may connect to yet.
fn bind(socket: &Path) -> io::Result<UnixListener> {
    let before = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o177));
    let bound = UnixListener::bind(socket);
    nix::sys::stat::umask(before);
    bound
}

fn open_to(socket: &Path, who: Who) -> io::Result<()> {
    let mode = match who {
        Who::Root => 0o600,
        Who::Group(group) => {
            chown(socket, None, Some(group))?;
            0o660
        }
        Who::All => 0o666,
    };
    fs::set_permissions(socket, Permissions::from_mode(mode))
}

fn is_passing(error: &io::Error) -> bool {
    let passing = [libc::ECONNABORTED, libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];
    error.raw_os_error().is_some_and(|code| passing.contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serving(socket: PathBuf) -> Serving {
        Serving { socket, who: Who::Root, agents: 4, session: Vec::new() }
    }

    #[test]
    fn a_socket_is_taken_over_from_the_dead_alone() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("below/regress.sock");
        let first = Server::listen(serving(socket.clone())).unwrap();
        assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
        let error = Server::listen(serving(socket.clone())).unwrap_err();
        assert!(
            matches!(&error, Error::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse),
            "{error:?}"
        );
        drop(first);
        Server::listen(Serving { who: Who::All, ..serving(socket.clone()) }).unwrap();
        assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o666);
        fs::remove_file(&socket).unwrap();
        fs::write(&socket, "mine").unwrap();
        assert!(Server::listen(serving(socket.clone())).is_err());
        assert_eq!(fs::read(&socket).unwrap(), b"mine");
    }

    #[test]
    fn no_user_takes_all_the_room() {
        let sessions = Sessions::default();
        assert!(sessions.have_room(1000, 4));
        sessions.all().insert(1, 1000);
        assert!(!sessions.have_room(1000, 4), "a quarter");
        assert!(sessions.have_room(1000, 5), "a quarter, rounded up");
        assert!(sessions.have_room(1001, 4));
        (2..=4).for_each(|session| assert_eq!(sessions.all().insert(session, 0), None));
        assert!(!sessions.have_room(0, 4));
    }
}
