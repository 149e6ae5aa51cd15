//! Recording from the data path: the service runs in a sandbox, its entries come in through listeners on the host, and
//! what it opens is intercepted and forwarded to where it was going.
//!
//! The events are those of the kernel source, except that the threads behind them are not known.

mod database;
mod entries;
mod outbound;
mod preamble;
mod relay;
mod tap;

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use regress_mockserver::{
    dns::{Forward, Names, Outcome},
    intercept::{self, Intercepted},
    sandbox::{Sandbox, Spec},
    tls::Authority,
};
use tokio::{
    sync::{RwLock, mpsc},
    task::JoinSet,
};

use crate::{Error, Progress, Settings, Started, Stop, Target, clock, record::Ends, source::Item};
use outbound::Outbound;
use tap::Taps;

/// How often the sandbox is asked what listens in it.
const LOOK: Duration = Duration::from_millis(50);
/// How long connections have to end after their service did.
const LAST_BYTES: Duration = Duration::from_millis(500);

/// The variable that says whether libpq binds the proof of a password to the certificate of the server, which it does by itself.
const CHANNEL_BINDING: &str = "PGCHANNELBINDING";

/// The sandbox, until it is stopped.
type Shared = Arc<RwLock<Option<Sandbox>>>;

/// Run the service until it ends or `ends` says so; gives how it ended by itself.
pub(crate) async fn run<F: Future<Output = Stop>>(
    settings: &Settings,
    items: mpsc::Sender<Item>,
    started: &Started,
    tell: impl Fn(Progress<'_>),
    mut ends: Ends<'_, F>,
) -> Result<Option<String>, Error> {
    let Target::Command { command, env, cwd } = &settings.target else { return Err(Error::ProxyNeedsCommand) };
    let failed = |error| Error::Sandbox(Box::new(error));
    entries::check_free(&settings.ports)?;
    let authority = Arc::new(Authority::new().map_err(failed)?);
    let files = tempfile::Builder::new()
        .prefix("regress-")
        .tempdir()
        .map_err(|source| Error::System { action: "make a temporary folder", source })?;
    let trust = authority.trust_files(files.path()).map_err(failed)?;
    let mut env = env.clone();
    if settings.database_tls && std::env::var_os(CHANNEL_BINDING).is_none() {
        // Before what is set for the service, which goes first.
        env.insert(0, (CHANNEL_BINDING.into(), "disable".into()));
    }
    let spec = Spec {
        command: command.clone(),
        env,
        cwd: cwd.clone(),
        trust: Some(trust),
        resolve: true,
        keep_search: true,
        helper: settings.helper.clone(),
        ..Spec::default()
    };
    let (mut sandbox, listeners) = Sandbox::prepare(spec).await.map_err(failed)?;
    let names = Names::Forward(Arc::new(Forward::from_host()));
    let (interception, mut arrivals) = intercept::spawn(listeners, names)
        .map_err(|source| Error::System { action: "listen in the sandbox", source })?;
    sandbox.start().await.map_err(failed)?;
    tell(Progress::Watching(started));

    let taps = Taps::new(items.clone());
    let outbound = Arc::new(Outbound::new(authority, settings.database_tls, taps.clone())?);
    let sandbox: Shared = Arc::new(RwLock::new(Some(sandbox)));
    let mut entries = entries::Entries::new(settings.ports.clone(), Arc::clone(&sandbox), taps.clone());
    let mut tasks = JoinSet::new();
    let mut look = tokio::time::interval(LOOK);
    let mut end = std::pin::pin!(ends.wait());
    let exit = loop {
        tokio::select! {
            _ = &mut end => break None,
            Some(seen) = arrivals.recv() => take(seen, &outbound, &taps, &mut tasks).await,
            _ = look.tick() => {
                // Before looking: whatever happened until then has been handed out.
                let now = clock::monotonic()?;
                while tasks.try_join_next().is_some() {}
                let status = sandbox.write().await.as_mut().and_then(Sandbox::try_exited);
                if let Some(status) = status {
                    break Some(format!("the service ended: {status}"));
                }
                for address in entries.look().await? {
                    tell(Progress::Accepting(address));
                }
                if items.send(Item::Idle(now)).await.is_err() {
                    break None;
                }
            }
        }
    };
    // What the service opened before the end was told is of the recording.
    let catch_up = interception.catch_up();
    let mut caught_up = std::pin::pin!(catch_up.wait());
    loop {
        tokio::select! {
            () = &mut caught_up => break,
            Some(seen) = arrivals.recv() => take(seen, &outbound, &taps, &mut tasks).await,
        }
    }
    // The connections that are open end with the service, and so do their events.
    let sandbox = sandbox.write().await.take();
    if let Some(sandbox) = sandbox {
        sandbox.stop().await;
    }
    let _ = tokio::time::timeout(LAST_BYTES, taps.closed()).await;
    Ok(exit)
}

/// Pass on what can be.
async fn take(seen: Intercepted, outbound: &Arc<Outbound>, taps: &Taps, tasks: &mut JoinSet<()>) {
    match seen {
        Intercepted::Connection(arrival) => {
            let outbound = Arc::clone(outbound);
            tasks.spawn(async move { outbound.forward(arrival).await });
        }
        Intercepted::Mark(_) => {}
        // A name of a file of the host is none that others resolve.
        Intercepted::Query(query) if query.outcome == Outcome::OfFile => {}
        Intercepted::Query(query) => taps.told(query.told).await,
        Intercepted::Datagram(attempt) => {
            tracing::warn!(destination = %attempt.destination, "a datagram was dropped: UDP is not forwarded");
        }
    }
}

/// An address of the service inside the sandbox, as one can connect to it.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => std::net::Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => std::net::Ipv6Addr::LOCALHOST.into(),
        _ => address.ip(),
    };
    SocketAddr::new(ip, address.port())
}
