//! A server that speaks S3, and a bad line to it.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    process::Command,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use super::{
    authority::Authority,
    process::{Process, free_port, wait_for_port},
    require::tools,
};

/// The bucket that there is.
const BUCKET: &str = "tapes";

/// What happens to a connection, instead of nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is closed as soon as it was made.
    Closed,
    /// Its first request is answered with 503.
    Unavailable,
    /// Its first request is served, and the answer lost.
    AnswerLost,
    /// Of its first answer this many bytes come.
    CutOff(usize),
}

/// moto's server of S3, which its clients reach over a line of ours.
pub struct ObjectStore {
    _server: Process,
    line: Arc<Line>,
}

struct Line {
    port: u16,
    server: u16,
    /// For the connections that come next, the first one last.
    faults: Mutex<Vec<Fault>>,
}

impl ObjectStore {
    /// Start it, with one empty bucket.
    pub fn start() -> ObjectStore {
        let (server, port) = serve(&[]);
        let made = ureq::put(format!("http://127.0.0.1:{port}/{BUCKET}")).send_empty().expect("it answers");
        assert_eq!(made.status(), 200);
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback has free ports");
        let address = listener.local_addr().expect("a bound socket has an address");
        let line = Arc::new(Line { port: address.port(), server: port, faults: Mutex::default() });
        let kept = Arc::clone(&line);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let line = Arc::clone(&kept);
                thread::spawn(move || line.serve(client));
            }
        });
        ObjectStore { _server: server, line }
    }

    /// The same inside TLS, with a certificate of this authority and without a line of ours: the server, what to tell clients of it, and a URL
    /// there.
    pub fn inside_tls(authority: &Authority) -> (Process, Vec<(&'static str, String)>, String) {
        let file = |name| authority.file(name).display().to_string();
        let (server, port) = serve(&["-c", &file("server.pem"), "-k", &file("server.key")]);
        let endpoint = format!("https://127.0.0.1:{port}");
        let mut made = Command::new("curl");
        made.args(["--silent", "--fail", "--cacert", &file("authority.pem"), "-X", "PUT"]);
        Process::start(made.arg(format!("{endpoint}/{BUCKET}"))).finish().expect_code(0);
        let mut environment = environment(port);
        environment.retain(|(name, _)| !["AWS_ENDPOINT_URL", "AWS_ALLOW_HTTP"].contains(name));
        environment.push(("AWS_ENDPOINT_URL", endpoint));
        (server, environment, format!("s3://{BUCKET}/inside-tls"))
    }

    /// The URL of what is below a prefix.
    pub fn url(&self, prefix: &str) -> String {
        format!("s3://{BUCKET}/{prefix}")
    }

    /// Where it is and with which keys, as clients are told.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        environment(self.line.port)
    }

    /// What happens to the connections that come next, in this order; those after them are well.
    pub fn fail(&self, faults: &[Fault]) {
        *self.line.faults() = faults.iter().rev().copied().collect();
    }

    /// What has not happened yet.
    pub fn faults_left(&self) -> usize {
        self.line.faults().len()
    }
}

/// moto's server with these arguments, and its port.
fn serve(arguments: &[&str]) -> (Process, u16) {
    let port = free_port();
    let mut command = Command::new(tools().join("venv/bin/moto_server"));
    let server = Process::start(command.args(["-H", "127.0.0.1", "-p", &port.to_string()]).args(arguments));
    wait_for_port(port);
    (server, port)
}

/// The environment of a client of a server that is not there.
pub fn nobody() -> Vec<(&'static str, String)> {
    environment(free_port())
}

fn environment(port: u16) -> Vec<(&'static str, String)> {
    vec![
        ("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}")),
        ("AWS_ALLOW_HTTP", "true".to_owned()),
        ("AWS_REGION", "us-east-1".to_owned()),
        ("AWS_ACCESS_KEY_ID", "id-of-a-test".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "secret-of-a-test".to_owned()),
    ]
}

impl Line {
    fn faults(&self) -> std::sync::MutexGuard<'_, Vec<Fault>> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, mut client: TcpStream) {
        let fault = self.faults().pop();
        let Some(fault) = fault else {
            let Ok(server) = TcpStream::connect(("127.0.0.1", self.server)) else { return };
            return relay(client, server, usize::MAX);
        };
        match fault {
            Fault::Closed => {}
            Fault::Unavailable => {
                let _ = client.read(&mut [0; 64 << 10]);
                let answer = b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                let _ = client.write_all(answer);
            }
            Fault::AnswerLost | Fault::CutOff(_) => {
                let Ok(server) = TcpStream::connect(("127.0.0.1", self.server)) else { return };
                let bytes = if let Fault::CutOff(bytes) = fault { bytes } else { 0 };
                relay(client, server, bytes);
            }
        }
    }
}

/// Carries what both say, but no more than so many bytes of what the server does.
fn relay(client: TcpStream, server: TcpStream, most: usize) {
    let (mut asks, mut asked) = (client.try_clone().expect("a socket"), server.try_clone().expect("a socket"));
    let upwards = thread::spawn(move || {
        let _ = std::io::copy(&mut asks, &mut asked);
        let _ = asked.shutdown(Shutdown::Write);
    });
    let (mut answers, mut to) = (server, client);
    let mut left = most;
    let mut part = vec![0; 64 << 10];
    while let Ok(read @ 1..) = answers.read(&mut part) {
        let passed = read.min(left);
        left -= passed;
        if to.write_all(&part[..passed]).is_err() || left == 0 {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = answers.shutdown(Shutdown::Both);
    let _ = upwards.join();
}
