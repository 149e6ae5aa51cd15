//! The service that is recorded, in a process of its own, and whom it calls.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::ExitCode,
    thread,
};

use bytes::Bytes;

use crate::events::{REQUEST, response};

/// The first argument of this process.
pub const ROLE: &str = "serve";

/// `SIZE CALLS DOWNSTREAM`: answer every request, after so many calls of the downstream. Prints its port, and ends with its
/// stdin.
pub fn main(mut arguments: impl Iterator<Item = String>) -> ExitCode {
    let mut next = || arguments.next().unwrap_or_default();
    let (Ok(size), Ok(calls), Ok(downstream)) = (next().parse(), next().parse(), next().parse()) else {
        return ExitCode::from(2);
    };
    let port = match serve(size, calls, downstream) {
        Ok(port) => port,
        Err(error) => {
            println!("{error}");
            return ExitCode::FAILURE;
        }
    };
    println!("{port}");
    // Whoever started it has ended, or will not ask any more.
    let _ = io::copy(&mut io::stdin(), &mut io::sink());
    ExitCode::SUCCESS
}

/// Answers on a port of its own from now on, a thread for each connection. Without calls it can be a downstream.
pub fn serve(size: usize, calls: u64, downstream: SocketAddr) -> io::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let answer = response(size);
    thread::spawn(move || {
        for connection in listener.incoming().map_while(Result::ok) {
            let answer = answer.clone();
            thread::spawn(move || converse(connection, &answer, calls, downstream));
        }
    });
    Ok(port)
}

fn converse(mut connection: TcpStream, answer: &Bytes, calls: u64, downstream: SocketAddr) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let mut called = (calls > 0).then(|| TcpStream::connect(downstream)).transpose()?;
    let mut room = vec![0; answer.len()];
    loop {
        connection.read_exact(&mut room[..REQUEST.len()])?;
        for _ in 0..calls {
            if let Some(called) = &mut called {
                ask(called, &mut room)?;
            }
        }
        connection.write_all(answer)?;
    }
}

/// Asks, and reads an answer of this length.
pub fn ask(connection: &mut TcpStream, answer: &mut [u8]) -> io::Result<()> {
    connection.write_all(REQUEST)?;
    connection.read_exact(answer)
}
