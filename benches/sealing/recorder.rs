//! The whole recorder, in a process of its own, while a service is asked.

use std::{
    io::{self, BufRead, BufReader, Read},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::PathBuf,
    process::{Child, ChildStdout, Command, ExitCode, Stdio},
    time::Duration,
};

use regress_recorder::{Progress, Stop, Target};

use crate::{Case, events, memory, service, spent};

/// The first argument of this process.
pub const ROLE: &str = "record";

/// How many connections the service has.
const CONNECTIONS: usize = 4;

/// `FOLDER RECIPIENTS PORT PID`: record until stdin ends. Says when it watches, then the CPU time in nanoseconds from there to the end,
/// and how many entries there were.
pub fn main(mut arguments: impl Iterator<Item = String>) -> ExitCode {
    let mut next = || arguments.next().unwrap_or_default();
    let folder = PathBuf::from(next());
    let (Ok(recipients), Ok(port), Ok(pid)) = (next().parse(), next().parse(), next().parse()) else {
        return ExitCode::from(2);
    };
    let settings = events::settings(folder, recipients, port, Target::Pids(vec![pid]));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let before = std::cell::Cell::new(Duration::ZERO);
    let tell = |progress: Progress<'_>| {
        if let Progress::Watching(_) = progress {
            before.set(spent());
            println!("watching");
        }
    };
    let stop = async {
        let ended = tokio::task::spawn_blocking(|| io::stdin().read_to_end(&mut Vec::new())).await;
        drop(ended);
        Stop::Interrupt
    };
    match runtime.block_on(regress_recorder::record(settings, tell, stop)) {
        // An answer may be seen after the request that followed it on another connection, so that an owner is unknown now and then.
        Ok(summary) if !summary.ledger.has_losses() => {
            println!("{} {}", (spent() - before.get()).as_nanos(), summary.entries);
            ExitCode::SUCCESS
        }
        Ok(summary) => {
            println!("something was lost: {summary:?}");
            ExitCode::FAILURE
        }
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Record so many entries of a service, and give the CPU time that the recorder took.
///
/// # Errors
/// In words, where a part of it does not work.
pub fn record(case: &Case, is_sealed: bool, entries: u64) -> Result<Duration, String> {
    let words = |error: io::Error| error.to_string();
    let folder = memory::folder().map_err(words)?;
    let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let downstream = SocketAddr::from((Ipv4Addr::LOCALHOST, service::serve(case.body, 0, nowhere).map_err(words)?));
    let of_service = [service::ROLE.to_owned(), case.body.to_string(), case.calls.to_string(), downstream.to_string()];
    let mut service = Part::start(&of_service)?;
    let port: u16 = service.says()?.parse().map_err(|_| "the service does not say its port".to_owned())?;
    let recipients = if is_sealed { case.recipients } else { 0 };
    let out = folder.path().join("cassettes").display().to_string();
    let of_recorder =
        [ROLE.to_owned(), out, recipients.to_string(), port.to_string(), service.process.id().to_string()];
    let mut recorder = Part::start(&of_recorder)?;
    match recorder.says()?.as_str() {
        "watching" => {}
        error => return Err(error.to_owned()),
    }
    let mut answer = vec![0; events::response(case.body).len()];
    let connect = |_| TcpStream::connect((Ipv4Addr::LOCALHOST, port));
    let mut connections: Vec<TcpStream> = (0..CONNECTIONS).map(connect).collect::<Result<_, _>>().map_err(words)?;
    for (_, number) in (0..entries).zip((0..CONNECTIONS).cycle()) {
        service::ask(&mut connections[number], &mut answer).map_err(words)?;
    }
    drop(recorder.process.stdin.take());
    let said = recorder.says()?;
    match said.split_once(' ').map(|(spent, recorded)| (spent.parse(), recorded.parse::<u64>())) {
        Some((Ok(spent), Ok(recorded))) if recorded == entries => Ok(Duration::from_nanos(spent)),
        _ => Err(said),
    }
}

/// Another process of this program.
struct Part {
    process: Child,
    output: BufReader<ChildStdout>,
}

impl Part {
    fn start(arguments: &[String]) -> Result<Part, String> {
        let own = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut command = Command::new(own);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().map_err(|error| error.to_string())?;
        let output = BufReader::new(process.stdout.take().expect("piped"));
        Ok(Part { process, output })
    }

    /// The next line.
    fn says(&mut self) -> Result<String, String> {
        let mut line = String::new();
        self.output.read_line(&mut line).map_err(|error| error.to_string())?;
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
