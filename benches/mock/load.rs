//! Who asks: some connections, kept open, one request at a time on each.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Command, ExitCode, Stdio},
    thread,
};

const CONNECTIONS: usize = 16;

/// `load ADDRESS REQUESTS RECORDED`
pub fn run(arguments: &[String]) -> ExitCode {
    let [address, requests, recorded] = arguments else { return ExitCode::from(2) };
    let (Ok(address), Ok(requests), Ok(recorded)) = (address.parse(), requests.parse(), recorded.parse()) else {
        return ExitCode::from(2);
    };
    match ask(address, requests, recorded) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {address}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The command of this program that asks.
pub fn command(address: SocketAddr, requests: usize, recorded: usize) -> Vec<String> {
    let program = std::env::current_exe().expect("the system says which program this is");
    let program = program.to_string_lossy().into_owned();
    vec![program, "load".to_owned(), address.to_string(), requests.to_string(), recorded.to_string()]
}

/// Asks in a process of its own.
pub fn from_outside(address: SocketAddr, requests: usize, recorded: usize) -> Result<(), String> {
    let command = command(address, requests, recorded);
    let output = Command::new(&command[0]).args(&command[1..]).stdin(Stdio::null()).output();
    let output = output.map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}

fn ask(address: SocketAddr, requests: usize, recorded: usize) -> io::Result<()> {
    let each = requests.div_ceil(CONNECTIONS);
    let threads: Vec<_> = (0..CONNECTIONS)
        .map(|number| thread::spawn(move || connection(address, number * each..(number + 1) * each, recorded)))
        .collect();
    threads.into_iter().try_for_each(|thread| thread.join().expect("a connection does not panic"))
}

fn connection(address: SocketAddr, numbers: std::ops::Range<usize>, recorded: usize) -> io::Result<()> {
    let mut stream = BufReader::new(TcpStream::connect(address)?);
    stream.get_ref().set_nodelay(true)?;
    let mut line = String::new();
    let mut body = Vec::new();
    for number in numbers {
        // So that neighbours are not asked for one after the other.
        let item = number.wrapping_mul(7919) % recorded;
        stream.get_mut().write_all(request(item).as_bytes())?;
        let (mut length, mut is_chunked) = (0, false);
        line.clear();
        stream.read_line(&mut line)?;
        if !line.starts_with("HTTP/1.1 200") {
            return Err(io::Error::other(format!("item {item}: {}", line.trim())));
        }
        loop {
            line.clear();
            stream.read_line(&mut line)?;
            match line.trim_end().split_once(':') {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.trim().parse().map_err(io::Error::other)?;
                }
                Some((name, value)) if name.eq_ignore_ascii_case("transfer-encoding") => {
                    is_chunked = value.trim().eq_ignore_ascii_case("chunked");
                }
                Some(_) => {}
                None => break,
            }
        }
        loop {
            if is_chunked {
                line.clear();
                stream.read_line(&mut line)?;
                length = usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
            }
            body.resize(length, 0);
            stream.read_exact(&mut body)?;
            if is_chunked {
                // The end of the chunk's line, or the empty line after the last one.
                line.clear();
                stream.read_line(&mut line)?;
            }
            if !is_chunked || length == 0 {
                break;
            }
        }
    }
    Ok(())
}

/// What is asked for one item.
pub fn request(item: usize) -> String {
    format!(
        "GET /items/{item}?currency=EUR HTTP/1.1\r\nHost: prices:8080\r\nAccept: application/json\r\nUser-Agent: load/1\r\n\r\n"
    )
}
