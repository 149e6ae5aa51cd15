//! The new build in its sandbox, with the mock as everything it can reach.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::ExitStatus,
    sync::Arc,
    time::Duration,
};

use regress_cassettes::{Cassette, CassetteId};
use regress_mockserver::{
    library::Library,
    mock::{Bindings, Call, Mock, Mode, Policy},
    sandbox::{Sandbox, Spec},
    tls::{Authority, TrustFiles},
};
use regress_protocols::http1::Message;
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use crate::Error;

/// How often a port that does not accept yet is tried again.
const POLL: Duration = Duration::from_millis(5);

/// How long a process whose connection broke gets to be seen as dead.
const DYING: Duration = Duration::from_millis(500);

/// What every sandbox of a replay is made of.
pub(crate) struct Launch {
    pub command: Vec<OsString>,
    pub env: Vec<(OsString, OsString)>,
    pub cwd: Option<PathBuf>,
    pub helper: PathBuf,
    pub library: Arc<Library>,
    pub policy: Policy,
    pub authority: Arc<Authority>,
    pub trust: TrustFiles,
}

/// A running service.
pub(crate) struct Target {
    sandbox: Sandbox,
    mock: Mock,
    open: BTreeSet<SocketAddr>,
}

/// Why an entry's port cannot be connected to.
pub(crate) enum Unready {
    /// The process ended; how.
    Died(String),
    /// It runs, and did not listen in time; where it listens instead.
    Deaf(Vec<SocketAddr>),
    /// It listened before and now refuses.
    Refuses,
}

impl Target {
    /// Start the service in a fresh sandbox; the mock serves the ambient exchanges until an entry is entered.
    pub(crate) async fn start(launch: &Launch, mode: Mode) -> Result<Target, Error> {
        let spec = Spec {
            command: launch.command.clone(),
            env: launch.env.clone(),
            cwd: launch.cwd.clone(),
            trust: Some(launch.trust.clone()),
            played: true,
            resolve: true,
            keep_search: false,
            refused: launch.library.refused(),
            keep_output: true,
            helper: launch.helper.clone(),
        };
        let (mut sandbox, listeners) = Sandbox::prepare(spec).await?;
        let mock = Mock::new(Arc::clone(&launch.library), mode, launch.policy);
        mock.serve(listeners, Arc::clone(&launch.authority)).await?;
        sandbox.start().await?;
        Ok(Target { sandbox, mock, open: BTreeSet::new() })
    }

    /// A connection to the port that an entry was recorded on, as soon as the service accepts it. A port that
    /// accepted before is not waited for again.
    pub(crate) async fn connect(&mut self, recorded: SocketAddr, at_most: Duration) -> Result<TcpStream, Unready> {
        let deadline = Instant::now() + at_most;
        loop {
            if let Some(how) = self.exit() {
                return Err(Unready::Died(how));
            }
            for address in self.candidates(recorded) {
                match self.sandbox.connect(address).await {
                    Ok(stream) => {
                        self.open.insert(address);
                        return Ok(stream);
                    }
                    Err(error) => tracing::trace!(%address, %error, "not yet"),
                }
            }
            let was_open = self.open.iter().any(|open| open.port() == recorded.port());
            if was_open {
                return Err(self.dying().await.map_or(Unready::Refuses, Unready::Died));
            }
            if Instant::now() >= deadline {
                return Err(Unready::Deaf(self.listening()));
            }
            tokio::select! {
                _ = self.sandbox.exited() => {}
                () = sleep(POLL) => {}
            }
        }
    }

    /// Where a port may be listened on: the recorded address is the host's own, which the sandbox need not have.
    fn candidates(&self, recorded: SocketAddr) -> Vec<SocketAddr> {
        let port = recorded.port();
        if let Some(open) = self.open.iter().find(|open| open.port() == port) {
            return vec![*open];
        }
        let mut addresses = Vec::new();
        if recorded.ip().is_loopback() {
            addresses.push(recorded);
        }
        addresses.extend(
            [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)].map(|ip| SocketAddr::new(ip, port)),
        );
        let bound = self.listening().into_iter().filter(|at| at.port() == port && !at.ip().is_unspecified());
        addresses.extend(bound);
        let mut seen = BTreeSet::new();
        addresses.retain(|address| seen.insert(*address));
        addresses
    }

    /// From now on calls belong to this entry.
    pub(crate) fn enter(&self, cassette: &Arc<Cassette>) {
        self.mock.enter(Arc::clone(cassette));
    }

    /// The calls since this was last asked.
    pub(crate) fn take_journal(&self) -> Vec<Call> {
        self.mock.take_journal()
    }

    /// A response to an entry without secrets, unless they are bound.
    pub(crate) fn redacted(&self, response: &Message, bindings: &Bindings) -> Message {
        self.mock.beside().message(response, None, |value| bindings.is_bound(value)).into_owned()
    }

    /// Whether a connection to an address that no recording knows is open in silence, of which that was not told.
    pub(crate) fn is_silent(&self) -> bool {
        self.mock.is_silent()
    }

    /// Tell those connections.
    pub(crate) fn tell_silent(&self) -> Vec<Call> {
        self.mock.tell_silent()
    }

    /// Connections to known addresses that the entry opened which is entered, and that are open unused.
    pub(crate) fn left_open(&self) -> Vec<Call> {
        self.mock.left_open()
    }

    /// What the service made anew in the entry that is entered, and before any.
    pub(crate) fn bindings(&self) -> Bindings {
        self.mock.bindings()
    }

    /// Wait for recorded calls of an entry that were not made yet, until all were, the time is up or the process ended.
    pub(crate) async fn settle(&mut self, id: &CassetteId, at_most: Duration) {
        tokio::select! {
            () = self.mock.wait_quiet(id, at_most) => {}
            _ = self.sandbox.exited() => {}
        }
        self.mock.catch_up().await;
    }

    /// How the process ended, if it did.
    pub(crate) fn exit(&mut self) -> Option<String> {
        self.sandbox.try_exited().map(ended)
    }

    /// How the process ended, if it does so within the moment that a dying process takes.
    pub(crate) async fn dying(&mut self) -> Option<String> {
        timeout(DYING, self.sandbox.exited()).await.ok().map(ended)
    }

    /// The end of what the service printed.
    pub(crate) fn last_output(&self) -> Option<String> {
        let output = self.sandbox.last_output();
        let output = String::from_utf8_lossy(&self.mock.beside().bytes(output.as_bytes())).into_owned();
        Some(output).filter(|output| !output.trim().is_empty())
    }

    fn listening(&self) -> Vec<SocketAddr> {
        self.sandbox.listening().unwrap_or_else(|error: io::Error| {
            tracing::debug!(%error, "the service's listening sockets are not known");
            Vec::new()
        })
    }

    /// Stop the service and take its sandbox down.
    pub(crate) async fn stop(self) {
        self.mock.leave();
        self.sandbox.stop().await;
    }
}

/// How a process ended, to follow "the service".
fn ended(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with status {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => status.to_string(),
    }
}
