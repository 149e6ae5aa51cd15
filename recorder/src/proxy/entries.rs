//! Entries come in through listeners on the host, one for each address on which the service listens inside.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr, TcpListener as StdListener},
    sync::Arc,
    time::Duration,
};

use regress_ebpf::{CloseCause, Role};
use regress_mockserver::sandbox::Sandbox;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::{
    Shared,
    outbound::reset,
    reachable,
    relay::{Passed, relay},
    tap::Taps,
};
use crate::Error;

/// Descriptors that have run out do not come back at once.
const AFTER_A_FAILED_ACCEPT: Duration = Duration::from_millis(10);

/// The listeners and their connections; dropping this ends them.
pub(super) struct Entries {
    /// Ports that are wanted; empty: all.
    ports: Vec<u16>,
    sandbox: Shared,
    taps: Taps,
    /// By the address inside.
    listeners: HashMap<SocketAddr, JoinSet<()>>,
}

/// A port that is wanted must be free on the host before the service starts.
pub(super) fn check_free(ports: &[u16]) -> Result<(), Error> {
    ports.iter().try_for_each(|port| {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, *port));
        StdListener::bind(address).map(drop).map_err(|source| Error::PortInUse { address, source })
    })
}

impl Entries {
    pub(super) fn new(ports: Vec<u16>, sandbox: Shared, taps: Taps) -> Entries {
        Entries { ports, sandbox, taps, listeners: HashMap::new() }
    }

    /// Open a listener for what the service has begun to listen on; gives the addresses.
    pub(super) async fn look(&mut self) -> Result<Vec<SocketAddr>, Error> {
        let mut opened = Vec::new();
        let Some(listening) = self.sandbox.read().await.as_ref().map(Sandbox::listening) else { return Ok(opened) };
        let listening =
            listening.map_err(|source| Error::System { action: "see what the service listens on", source })?;
        for inside in listening {
            let wanted = self.ports.is_empty() || self.ports.contains(&inside.port());
            if !wanted || self.listeners.contains_key(&inside) {
                continue;
            }
            let listener = match TcpListener::bind(inside).await {
                Ok(listener) => listener,
                // The IPv6 wildcard takes IPv4 connections as well: one listener is enough.
                Err(_) if self.listeners.keys().any(|other| other.port() == inside.port()) => continue,
                Err(source) => return Err(Error::PortInUse { address: inside, source }),
            };
            let mut tasks = JoinSet::new();
            tasks.spawn(accept(listener, inside, Arc::clone(&self.sandbox), self.taps.clone()));
            self.listeners.insert(inside, tasks);
            opened.push(inside);
        }
        Ok(opened)
    }
}

async fn accept(listener: TcpListener, inside: SocketAddr, sandbox: Shared, taps: Taps) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((client, peer)) => {
                connections.spawn(forward(client, peer, inside, Arc::clone(&sandbox), taps.clone()));
            }
            // The client gave up, or descriptors ran out for a while: the next one may do.
            Err(_) => tokio::time::sleep(AFTER_A_FAILED_ACCEPT).await,
        }
    }
}

async fn forward(mut client: TcpStream, peer: SocketAddr, inside: SocketAddr, sandbox: Shared, taps: Taps) {
    let connected = match &*sandbox.read().await {
        Some(sandbox) => sandbox.connect(reachable(inside)).await,
        None => return reset(&client),
    };
    let (Ok(mut service), Ok(local)) = (connected, client.local_addr()) else { return reset(&client) };
    // The service must see small writes when its client makes them.
    let _ = (client.set_nodelay(true), service.set_nodelay(true));
    let tap = taps.tap();
    tap.open(Role::Server, local, peer).await;
    let cause = relay(&mut service, &mut client, Passed::default(), &tap).await;
    if cause != CloseCause::Closed {
        reset(&client);
        reset(&service);
    }
    tap.close(cause).await;
}
