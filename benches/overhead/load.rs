//! A closed loop of HTTP requests: each connection sends the next one when it has the answer.

use std::{
    io::{Error, ErrorKind, Read, Result, Write},
    net::{SocketAddr, TcpStream},
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::cpu;

/// What to send.
#[derive(Clone, Debug)]
pub struct Shape {
    pub path: &'static str,
    pub connections: usize,
    /// Response bytes a second that all connections together do not exceed.
    pub limit: Option<u64>,
}

#[derive(Debug, Default)]
struct Progress {
    stop: AtomicBool,
    requests: AtomicU64,
    bytes: AtomicU64,
}

/// A running load, on one thread with a CPU.
pub struct Load {
    progress: Arc<Progress>,
    thread: JoinHandle<Result<()>>,
}

impl Load {
    pub fn start(address: SocketAddr, shape: &Shape, cpu: usize) -> Result<Load> {
        let request = format!("GET {} HTTP/1.1\r\nHost: service\r\nUser-Agent: overhead\r\n\r\n", shape.path);
        let connections = (0..shape.connections)
            .map(|_| Connection::open(address, request.as_bytes()))
            .collect::<Result<Vec<_>>>()?;
        let progress = Arc::new(Progress::default());
        let (shared, limit) = (Arc::clone(&progress), shape.limit);
        let thread = std::thread::spawn(move || {
            cpu::pin(cpu);
            drive(connections, limit, &shared)
        });
        Ok(Load { progress, thread })
    }

    /// Requests that were answered, and bytes of their answers.
    pub fn so_far(&self) -> (u64, u64) {
        (self.progress.requests.load(Ordering::Relaxed), self.progress.bytes.load(Ordering::Relaxed))
    }

    /// Waits for the answers that are owed, and closes the connections.
    pub fn finish(self) -> Result<()> {
        self.progress.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the load does not panic")
    }
}

struct Connection {
    stream: TcpStream,
    request: Vec<u8>,
    /// Of the first answer, until its length is known; all have the same.
    head: Vec<u8>,
    length: Option<usize>,
    received: usize,
    waits: bool,
}

impl Connection {
    fn open(address: SocketAddr, request: &[u8]) -> Result<Connection> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Connection { stream, request: request.to_vec(), head: Vec::new(), length: None, received: 0, waits: false })
    }

    fn send(&mut self) -> Result<()> {
        self.received = 0;
        self.waits = true;
        // A request is far smaller than an empty socket's buffer.
        self.stream.write_all(&self.request)
    }

    /// Reads what is there; whether that completed the answer, and how many bytes it was.
    fn receive(&mut self, buffer: &mut [u8]) -> Result<(bool, usize)> {
        let read = match self.stream.read(buffer) {
            Ok(0) => return Err(Error::new(ErrorKind::UnexpectedEof, "the service closed a connection")),
            Ok(read) => read,
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok((false, 0)),
            Err(e) => return Err(e),
        };
        let bytes = &buffer[..read];
        if self.received == 0 && !bytes.starts_with(b"HTTP/1.1 200") {
            return Err(Error::other(format!(
                "not a good answer: {}",
                String::from_utf8_lossy(&bytes[..read.min(80)])
            )));
        }
        if self.length.is_none() {
            self.head.extend_from_slice(bytes);
            self.length = answer_length(&self.head)?;
        }
        self.received += read;
        match self.length {
            Some(length) if self.received > length => Err(Error::other("an answer of another length than the first")),
            length => {
                let complete = length == Some(self.received);
                self.waits &= !complete;
                Ok((complete, read))
            }
        }
    }
}

/// Bytes of the whole answer; `None` until its headers are there.
fn answer_length(answer: &[u8]) -> Result<Option<usize>> {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length = length.and_then(|value| value.trim().parse::<usize>().ok());
    length.map(|length| Some(end + 4 + length)).ok_or_else(|| Error::other("an answer without Content-Length"))
}

fn drive(mut connections: Vec<Connection>, limit: Option<u64>, progress: &Progress) -> Result<()> {
    let begun = Instant::now();
    let mut buffer = vec![0; 256 << 10];
    for connection in &mut connections {
        connection.send()?;
    }
    loop {
        let stop = progress.stop.load(Ordering::Relaxed);
        let mut waiting: Vec<&mut Connection> = connections.iter_mut().filter(|c| c.waits).collect();
        if waiting.is_empty() {
            return Ok(());
        }
        let mut polled: Vec<PollFd> =
            waiting.iter().map(|c| PollFd::new(c.stream.as_fd(), PollFlags::POLLIN)).collect();
        poll(&mut polled, PollTimeout::from(1000u16))?;
        let ready: Vec<bool> = polled.iter().map(|p| p.any().unwrap_or(false)).collect();
        for (connection, _) in waiting.iter_mut().zip(ready).filter(|(_, ready)| *ready) {
            let (complete, bytes) = connection.receive(&mut buffer)?;
            let received = progress.bytes.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
            if !complete {
                continue;
            }
            progress.requests.fetch_add(1, Ordering::Relaxed);
            if let Some(limit) = limit {
                let due = Duration::from_secs_f64(received as f64 / limit as f64);
                std::thread::sleep(due.saturating_sub(begun.elapsed()));
            }
            if !stop {
                connection.send()?;
            }
        }
    }
}
