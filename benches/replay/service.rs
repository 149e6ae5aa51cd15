//! The trivial service, and its downstream where nobody plays it: one thread, one connection a request.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::ExitCode,
};

use regress_protocols::http1::{Limits, Message, RequestReader, ResponseReader};

use crate::corpus;

/// `serve PORT DOWNSTREAM CALLS`: prints the port once it listens, then answers until it is killed.
pub fn run(arguments: &[String]) -> ExitCode {
    let [port, downstream, calls] = arguments else { return ExitCode::from(2) };
    let (Ok(port), Ok(downstream), Ok(calls)) = (port.parse::<u16>(), downstream.parse(), calls.parse()) else {
        return ExitCode::from(2);
    };
    let served = TcpListener::bind(("0.0.0.0", port)).and_then(|listener| {
        println!("{}", listener.local_addr()?.port());
        serve(&listener, |item| (0..calls).try_for_each(|call| ask(downstream, &corpus::call(item, call)).map(drop)))
    });
    eprintln!("{served:?}");
    ExitCode::FAILURE
}

/// Answers every request about an item after `work` for it was done.
pub fn serve(listener: &TcpListener, work: impl Fn(&str) -> io::Result<()>) -> io::Result<()> {
    loop {
        let (mut stream, _) = listener.accept()?;
        let mut reader = RequestReader::new(Limits::default());
        let request = receive(&mut stream, |bytes| reader.feed(bytes).ok()?.pop())?;
        let path = request.path();
        let item = path.split('/').nth(2).unwrap_or_default();
        work(item)?;
        stream.write_all(&corpus::answer(item).wire())?;
    }
}

/// Sends a request over a new connection and gives the answer.
pub fn ask(to: SocketAddr, request: &Message) -> io::Result<Message> {
    let mut stream = TcpStream::connect(to)?;
    stream.write_all(&request.wire())?;
    let mut reader = ResponseReader::new(request.method(), Limits::default());
    receive(&mut stream, |bytes| reader.feed(bytes).ok()?.pop())
}

fn receive(stream: &mut TcpStream, mut feed: impl FnMut(&[u8]) -> Option<Message>) -> io::Result<Message> {
    let mut buffer = [0; 16 * 1024];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                if let Some(message) = feed(&buffer[..count]) {
                    return Ok(message);
                }
            }
        }
    }
}
