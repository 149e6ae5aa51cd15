//! The service that tells prices as a stream of events, recorded once.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
};

use super::{Language, Source, ThirdParty, go_program, python, source};
use crate::harness::{Client, Corpus, Finished, Recording, Report, free_port};

/// What its standard error says once it listens.
const LISTENS: &str = "ticker listens";

/// A ticker and its recording.
pub struct Ticker {
    service: ThirdParty,
    language: Language,
}

impl Ticker {
    /// Record a stream of events and one of values.
    pub fn record(language: Language, via: Source) -> Ticker {
        let ticker = Ticker { service: ThirdParty::new(free_port(), LISTENS), language };
        let cassettes = ticker.service.path("cassettes");
        let mut arguments: Vec<String> = ["--via", via.name(), "--port"].map(str::to_owned).into();
        arguments.extend([ticker.service.port.to_string(), "--".to_owned()]);
        arguments.extend(ticker.build("none"));
        let recording = Recording::start(&cassettes, arguments, []);
        recording.wait_for_service(LISTENS, ticker.service.port);
        let client = Client::new(ticker.service.port);
        let mut asked = vec![client.get("/prices"), client.get("/log")];
        leave_after_two_events(ticker.service.port);
        recording.stop().expect_code(0);
        asked.sort();
        let mut recorded = Corpus::read(&cassettes).replies();
        recorded.retain(|reply| reply.target != "/endless");
        assert_eq!(recorded, asked);
        ticker
    }

    /// Replay the recording against the build with a change.
    pub fn replay(&self, change: &str) -> (Finished, Option<Report>) {
        self.service.replay(&self.build(change))
    }

    fn build(&self, change: &str) -> Vec<String> {
        let mut command = match self.language {
            Language::Python => vec![python(), source("ticker.py")],
            Language::Node => vec!["node".to_owned(), source("ticker.mjs")],
            Language::Go => vec![go_program("ticker")],
            other => unreachable!("there is no ticker in {other:?}"),
        };
        command.extend([self.service.port.to_string(), change.to_owned()]);
        command
    }
}

/// A client of the endless stream that has enough of it.
fn leave_after_two_events(port: u16) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the ticker listens");
    stream.write_all(b"GET /endless HTTP/1.1\r\nHost: ticker\r\n\r\n").expect("the ticker reads");
    let mut lines = BufReader::new(stream).lines().map(|line| line.expect("the ticker writes"));
    assert!(lines.any(|line| line == "data: 2"), "the stream ended");
}
