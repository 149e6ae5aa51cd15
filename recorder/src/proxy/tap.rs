//! Events of the connections that pass through regress.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use regress_ebpf::{CloseCause, Direction, Event, EventKind, Loss, LossKind, Role, SocketId};
use tokio::sync::mpsc::Sender;

use crate::{clock, source::Item};

/// Makes taps.
#[derive(Clone)]
pub(super) struct Taps {
    items: Sender<Item>,
    next: Arc<AtomicU64>,
    /// How many taps there are.
    open: Arc<AtomicU64>,
}

/// How often the number of open taps is looked at.
const CLOSED_LOOK: Duration = Duration::from_millis(10);

impl Taps {
    pub(super) fn new(items: Sender<Item>) -> Taps {
        Taps { items, next: Arc::new(AtomicU64::new(1)), open: Arc::default() }
    }

    /// Wait until no connection is tapped any more.
    pub(super) async fn closed(&self) {
        while self.open.load(Ordering::Acquire) > 0 {
            tokio::time::sleep(CLOSED_LOOK).await;
        }
    }

    /// A resolver answered the service.
    pub(super) async fn told(&self, answer: Bytes) {
        if let Ok(at) = clock::monotonic() {
            let event = Event { at, unit: None, kind: EventKind::Name { bytes: answer } };
            let _ = self.items.send(Item::Event(event)).await;
        }
    }

    /// A tap for one connection.
    pub(super) fn tap(&self) -> Tap {
        let socket = SocketId(self.next.fetch_add(1, Ordering::Relaxed));
        self.open.fetch_add(1, Ordering::AcqRel);
        Tap { items: self.items.clone(), open: Arc::clone(&self.open), socket }
    }
}

/// The two addresses of a connection to a downstream.
#[derive(Clone, Copy)]
pub(super) struct Ends {
    pub service: SocketAddr,
    pub downstream: SocketAddr,
}

/// Tells what happens on one connection of the service. Every event is told before what it is about is passed on, so
/// that causes come before effects.
pub(super) struct Tap {
    items: Sender<Item>,
    open: Arc<AtomicU64>,
    socket: SocketId,
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Tap {
    async fn tell(&self, kind: EventKind) {
        // Without event time nothing can be told; a pipeline that has ended needs nothing more.
        if let Ok(at) = clock::monotonic() {
            let _ = self.items.send(Item::Event(Event { at, unit: None, kind })).await;
        }
    }

    /// What passes from here on comes from inside TLS.
    pub(super) async fn inside_tls(&self) {
        self.tell(EventKind::InsideTls { socket: self.socket }).await;
    }

    pub(super) async fn connecting(&self, peer: SocketAddr) {
        self.tell(EventKind::Connecting { socket: self.socket, peer }).await;
    }

    pub(super) async fn open(&self, role: Role, local: SocketAddr, peer: SocketAddr) {
        let (local, peer) = (canonical(local).into(), canonical(peer).into());
        self.tell(EventKind::Open { socket: self.socket, role, local, peer, joined: false }).await;
    }

    /// A connection of the service to a downstream is usable.
    pub(super) async fn opened(&self, ends: Ends) {
        self.connecting(ends.downstream).await;
        self.open(Role::Client, ends.service, ends.downstream).await;
    }

    /// Something was said on the connection that nobody will know.
    pub(super) async fn lost(&self) {
        self.tell(EventKind::Lost(Loss { kind: LossKind::Unreadable, events: 1, bytes: 0 })).await;
    }

    pub(super) async fn data(&self, direction: Direction, position: u64, bytes: Bytes) {
        self.tell(EventKind::Data { socket: self.socket, direction, position, bytes, missing: 0, other: None }).await;
    }

    pub(super) async fn finished(&self, direction: Direction) {
        self.tell(EventKind::Finished { socket: self.socket, direction }).await;
    }

    pub(super) async fn close(&self, cause: CloseCause) {
        self.tell(EventKind::Close { socket: self.socket, cause }).await;
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
