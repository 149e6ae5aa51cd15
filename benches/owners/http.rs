//! The downstream, and the clients of the service: as little HTTP, and Redis, as it takes.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

/// Answers each request (HTTP/1.1 or HTTP/2 without TLS; in Redis each `GET`) with the end of its path, after half a millisecond to nine and a half, and counts them.
/// Its threads end with the process.
pub struct Downstream {
    pub address: SocketAddr,
    served: Arc<AtomicU64>,
}

impl Downstream {
    pub fn start() -> io::Result<Downstream> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let served = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&served);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let count = Arc::clone(&count);
                // Whoever hangs up ends it.
                thread::spawn(move || drop(answer(stream, &count)));
            }
        });
        Ok(Downstream { address, served })
    }

    pub fn served(&self) -> u64 {
        self.served.load(Ordering::SeqCst)
    }
}

fn answer(stream: TcpStream, served: &AtomicU64) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut first = [0];
    stream.peek(&mut first)?;
    // Of "PRI * HTTP/2.0"; who speaks HTTP/1.1 asks by GET.
    if first == *b"P" {
        return answer_streams(stream, served);
    }
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    if reader.fill_buf()?.first() == Some(&b'*') {
        return answer_commands(reader, writer, served);
    }
    while let Some(request) = head(&mut reader)? {
        take_a_while(served);
        let path = request.first_line.split(' ').nth(1).unwrap_or_default();
        let id = path.rsplit('/').next().unwrap_or_default();
        writer.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{id}", id.len()).as_bytes())?;
        if request.closes {
            break;
        }
    }
    Ok(())
}

fn take_a_while(served: &AtomicU64) {
    thread::sleep(a_while(served));
}

fn a_while(served: &AtomicU64) -> Duration {
    let number = served.fetch_add(1, Ordering::SeqCst);
    Duration::from_micros(500 + number * 7919 % 9000)
}

#[tokio::main(flavor = "current_thread")]
async fn answer_streams(stream: TcpStream, served: &AtomicU64) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    let stream = tokio::net::TcpStream::from_std(stream)?;
    let mut connection = h2::server::handshake(stream).await.map_err(io::Error::other)?;
    while let Some(accepted) = connection.accept().await {
        let (request, mut respond) = accepted.map_err(io::Error::other)?;
        let while_away = a_while(served);
        tokio::spawn(async move {
            tokio::time::sleep(while_away).await;
            let id = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
            // Whoever has gone away gets nothing.
            if let Ok(mut body) = respond.send_response(http::Response::default(), false) {
                let _ = body.send_data(id.into(), true);
            }
        });
    }
    Ok(())
}

fn answer_commands(mut reader: BufReader<TcpStream>, mut writer: TcpStream, served: &AtomicU64) -> io::Result<()> {
    while let Some(count) = number(&mut reader, '*')? {
        let mut words = Vec::new();
        for _ in 0..count {
            let length = number(&mut reader, '$')?.ok_or(io::ErrorKind::UnexpectedEof)?;
            let mut word = vec![0; length as usize + 2];
            reader.read_exact(&mut word)?;
            words.push(String::from_utf8_lossy(&word).trim_end().to_owned());
        }
        match &words[..] {
            [command, path] if command.eq_ignore_ascii_case("GET") => {
                take_a_while(served);
                let id = path.rsplit('/').next().unwrap_or_default();
                writer.write_all(format!("${}\r\n{id}\r\n", id.len()).as_bytes())?;
            }
            _ => writer.write_all(b"+OK\r\n")?,
        }
    }
    Ok(())
}

/// A line with a number behind that character; `None` at the end of the stream.
fn number(reader: &mut impl BufRead, kind: char) -> io::Result<Option<u64>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let number = line.trim_end().strip_prefix(kind).and_then(|number| number.parse().ok());
    number.map(Some).ok_or_else(|| io::Error::other(format!("{line:?} is no command")))
}

/// A connection to a server that answers a path with its end; another one where the server ends it.
pub struct Client {
    address: SocketAddr,
    stream: BufReader<TcpStream>,
    /// Its requests have an id in a header.
    has_ids: bool,
    is_over: bool,
}

impl Client {
    pub fn connect(address: SocketAddr, has_ids: bool) -> io::Result<Client> {
        Ok(Client { address, stream: open(address)?, has_ids, is_over: false })
    }

    /// Asks for `/KIND/ID` and checks that the answer is that id.
    pub fn ask(&mut self, path: &str) -> io::Result<()> {
        if self.is_over {
            self.stream = open(self.address)?;
        }
        let id = path.rsplit('/').next().unwrap_or_default();
        let (name, value) = id_header(path);
        let header = if self.has_ids { format!("{name}: {value}\r\n") } else { String::new() };
        let request = format!("GET {path} HTTP/1.1\r\nHost: service\r\n{header}\r\n");
        // At once: PHP's own server understands no part of it.
        self.stream.get_mut().write_all(request.as_bytes())?;
        let response = head(&mut self.stream)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut body = String::new();
        // Node answers what it does not know the length of in chunks; ours are short enough to be one.
        if let Some(length) = response.length {
            (&mut self.stream).take(length).read_to_string(&mut body)?;
        } else {
            let mut line = String::new();
            self.stream.read_line(&mut line)?;
            let size = u64::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
            (&mut self.stream).take(size).read_to_string(&mut body)?;
            let mut rest = [0; 7];
            self.stream.read_exact(&mut rest)?;
        }
        self.is_over = response.closes;
        if body == id { Ok(()) } else { Err(io::Error::other(format!("{id} was answered by {body:?}"))) }
    }
}

/// What carries the number at the end of a path in a header.
pub fn id_header(path: &str) -> (&'static str, String) {
    ("X-Request-Id", format!("request-{}", path.rsplit('/').next().unwrap_or_default()))
}

fn open(address: SocketAddr) -> io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    Ok(BufReader::new(stream))
}

struct Head {
    first_line: String,
    /// Its Content-Length.
    length: Option<u64>,
    /// The connection ends with this exchange.
    closes: bool,
}

/// Reads a head; `None` at the end of the stream.
fn head(reader: &mut impl BufRead) -> io::Result<Option<Head>> {
    let mut first_line = String::new();
    if reader.read_line(&mut first_line)? == 0 {
        return Ok(None);
    }
    let (mut length, mut closes) = (None, false);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if line == "\r\n" {
            return Ok(Some(Head { first_line, length, closes }));
        }
        let Some((name, value)) = line.split_once(':') else { continue };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok();
        }
        closes |= name.eq_ignore_ascii_case("connection") && value.trim().eq_ignore_ascii_case("close");
    }
}
