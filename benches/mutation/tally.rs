//! The matrix, run and counted.

use std::collections::BTreeMap;

use crate::{
    harness::{Finished, Need, Report},
    matrix::{
        expected::Expected,
        mutants::{self, Score},
        nginx, shop, streams, verdaccio,
    },
    services::{Language, RecordedShop, Source, nginx::Nginx, ticker::Ticker, verdaccio::Verdaccio},
};

/// A service that the matrix has a table for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    Shop(Language),
    Streams(Language),
    Nginx,
    Verdaccio,
}

/// All of them.
pub const SERVICES: [Service; 8] = [
    Service::Shop(Language::Python),
    Service::Shop(Language::Node),
    Service::Shop(Language::Go),
    Service::Streams(Language::Python),
    Service::Streams(Language::Node),
    Service::Streams(Language::Go),
    Service::Nginx,
    Service::Verdaccio,
];

/// What replay said of the changes of one service, over all runs.
#[derive(Default)]
pub struct Tally {
    /// Replays of harmless changes and of the recorded build, and of them those that were not the same.
    pub harmless: usize,
    pub false_alarms: usize,
    /// Replays of regressions; of them those with the expected verdicts, and of these those at the right path.
    pub regressions: usize,
    pub caught: usize,
    pub placed: usize,
    /// What did not hold, and how often.
    pub wrong: BTreeMap<String, usize>,
}

impl Service {
    /// As tables name it.
    pub fn name(self) -> String {
        match self {
            Service::Shop(language) => format!("shop in {language:?}"),
            Service::Streams(language) => format!("streams in {language:?}"),
            Service::Nginx => "nginx before httpbin".to_owned(),
            Service::Verdaccio => "verdaccio".to_owned(),
        }
    }

    /// Why it cannot run here, if it cannot.
    pub fn absence(self) -> Option<String> {
        let needs = match self {
            Service::Shop(language) | Service::Streams(language) => vec![language.need(), Need::Sandbox],
            Service::Nginx => vec![Need::Nginx, Need::Httpbin, Need::Ebpf, Need::Sandbox],
            Service::Verdaccio => vec![Need::Node, Need::Verdaccio, Need::Ebpf, Need::Sandbox],
        };
        needs.into_iter().find_map(|need| need.check().err())
    }

    /// Record it, replay it with every change that is `asked` for, and count.
    pub fn run(self, asked: fn(Expected) -> bool, tally: &mut Tally) {
        match self {
            Service::Shop(language) => {
                let recorded = record(language);
                for row in shop::rows(language).filter(|row| asked(row.expected)) {
                    tally.note(row.name, row.expected, shop::EVERY, row.replay(&recorded));
                }
            }
            Service::Streams(language) => {
                let ticker = Ticker::record(language, source());
                for (change, expected) in streams::ROWS.iter().filter(|row| asked(row.1)) {
                    tally.note(change, *expected, streams::ENTRIES, ticker.replay(change));
                }
            }
            Service::Nginx => {
                let nginx = Nginx::record();
                for (name, server, expected) in nginx::ROWS.iter().filter(|row| asked(row.2)) {
                    tally.note(name, *expected, nginx::ENTRIES, nginx.service.replay(&nginx.build(server)));
                }
            }
            Service::Verdaccio => {
                let verdaccio = Verdaccio::record();
                for (name, settings, expected) in verdaccio::ROWS.iter().filter(|row| asked(row.2)) {
                    let said = verdaccio.service.replay(&verdaccio.build(*settings));
                    tally.note(name, *expected, verdaccio::ENTRIES, said);
                }
            }
        }
    }

    /// Record it and alter the recording: the calls, the responses. Only the shop.
    pub fn alter(self) -> Option<[Score; 2]> {
        let Service::Shop(language) = self else { return None };
        let recorded = record(language);
        Some([mutants::score(&recorded, mutants::of_calls), mutants::score(&recorded, mutants::of_response)])
    }
}

impl Tally {
    fn note(&mut self, name: &str, expected: Expected, entries: &[&str], said: (Finished, Option<Report>)) {
        let (finished, report) = said;
        let judged = expected.judge(entries, &finished, report.as_ref());
        let only_the_place = judged.as_ref().is_err_and(|wrong| wrong.only_the_place);
        if expected.is_regression() {
            self.regressions += 1;
            self.caught += usize::from(judged.is_ok() || only_the_place);
            self.placed += usize::from(judged.is_ok());
        } else {
            self.harmless += 1;
            self.false_alarms += usize::from(judged.is_err());
        }
        if let Err(wrong) = judged {
            let told = format!("{name}: {}\n{}{}", wrong.what, finished.stdout, finished.stderr);
            *self.wrong.entry(told).or_default() += 1;
        }
    }
}

/// By the kernel where that is possible.
pub fn record(language: Language) -> RecordedShop {
    RecordedShop::record(language, source())
}

fn source() -> Source {
    if Need::Ebpf.check().is_ok() { Source::Ebpf } else { Source::Proxy }
}
