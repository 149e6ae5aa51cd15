//! `regress server`.

use std::{
    io,
    os::{fd::AsFd, unix::net::UnixStream},
    path::PathBuf,
};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use nix::unistd::Group;
use regress_ebpf::Source;
use regress_recorder::server::{SOCKET, Server, Serving, Terms, Who, session};
use tokio::signal::unix::{SignalKind, signal};

use super::record::parse_size;
use crate::{
    output::{self, Exit, Failure},
    selection::parse_bytes,
};

/// Arguments of `regress server`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to listen
    #[arg(long, value_name = "SOCKET", default_value = SOCKET, env = "REGRESS_SERVER")]
    socket: PathBuf,
    /// Let this group connect as well, by name or number (default: root alone)
    #[arg(long, value_name = "GROUP", conflicts_with = "all_users")]
    group: Option<String>,
    /// Let every user connect. Each can have processes recorded that are their own, or their container's, and no others
    #[arg(long)]
    all_users: bool,
    /// How to capture: the best that this host has if not given
    #[arg(long, value_name = "SOURCE", value_parser = source())]
    via: Option<Source>,
    /// How many recordings at a time. A user other than root may have a quarter of them
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    max_agents: u16,
    /// Buffer of each recording: a power of two from 64K to 1G, which is also the largest that it may ask for (default: 1/64 of the
    /// memory, 16M to 256M)
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    buffer: Option<u32>,
    /// Hand each recording at most so many bytes a second, for example 50M. What comes faster waits in its buffer; what that does not
    /// hold is lost to the recording, which says so
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    max_rate: Option<u64>,
    /// Serve the one agent whose socket is the standard input
    #[arg(long, hide = true)]
    session: bool,
}

/// Serve until SIGINT or SIGTERM.
pub fn run(args: Args) -> Result<Exit, Failure> {
    if args.session {
        return serve_one(&args);
    }
    let source = match args.via {
        Some(source) => source,
        None => regress_ebpf::best_source().map_err(|error| {
            let hint = error.hint();
            Failure::explained(error, hint)
        })?,
    };
    let serving = Serving {
        who: who(&args)?,
        agents: usize::from(args.max_agents),
        session: arguments(&args, source),
        socket: args.socket,
    };
    let socket = serving.socket.clone();
    let server = Server::listen(serving).map_err(explained)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::from_error)?;
    runtime.block_on(async {
        let mut interrupts = signal(SignalKind::interrupt()).map_err(Failure::from_error)?;
        let mut terminations = signal(SignalKind::terminate()).map_err(Failure::from_error)?;
        let stopper = server.stopper();
        let served = tokio::task::spawn_blocking(move || server.run());
        output::say(format_args!("serving recorders at {} by eBPF, {source} source", socket.display()));
        tokio::select! {
            _ = interrupts.recv() => {}
            _ = terminations.recv() => {}
            ended = served => return ended.map_err(Failure::from_error)?.map_err(explained),
        }
        tokio::task::spawn_blocking(move || stopper.stop()).await.map_err(Failure::from_error)
    })?;
    // The thread that accepts may wait for ever.
    runtime.shutdown_background();
    Ok(Exit::Same)
}

/// The process of one agent.
fn serve_one(args: &Args) -> Result<Exit, Failure> {
    let socket = io::stdin().as_fd().try_clone_to_owned().map_err(Failure::from_error)?;
    let source = args
        .via
        .ok_or_else(|| Failure::new("a session is begun by the server").hint("start the server: `regress server`"))?;
    let terms = Terms { source, buffer_bytes: args.buffer, rate: args.max_rate };
    session(UnixStream::from(socket), &terms).map_err(explained)?;
    Ok(Exit::Same)
}

/// With which this program serves one agent.
fn arguments(args: &Args, source: Source) -> Vec<String> {
    let mut arguments = vec!["server".to_owned(), "--session".to_owned(), format!("--via={source}")];
    arguments.extend(args.buffer.map(|buffer| format!("--buffer={buffer}")));
    arguments.extend(args.max_rate.map(|rate| format!("--max-rate={rate}")));
    arguments
}

fn who(args: &Args) -> Result<Who, Failure> {
    let Some(name) = &args.group else { return Ok(if args.all_users { Who::All } else { Who::Root }) };
    if let Ok(number) = name.parse() {
        return Ok(Who::Group(number));
    }
    match Group::from_name(name).map_err(Failure::from_error)? {
        Some(group) => Ok(Who::Group(group.gid.as_raw())),
        None => Err(Failure::new(format_args!("there is no group {name}"))
            .hint("name one of /etc/group, or make it: `groupadd --system regress`")),
    }
}

fn explained(error: regress_recorder::Error) -> Failure {
    let hint = error.hint();
    Failure::explained(error, hint)
}

/// The name of a source.
fn source() -> impl TypedValueParser<Value = Source> {
    PossibleValuesParser::new(Source::ALL.map(Source::name)).try_map(|name| name.parse())
}
