//! Other tools stand in for the downstreams, from the same recording, while the changed shop runs. A change counts as
//! noticed when the tool refuses a call, or when an answer of the shop differs from the recorded one; the comparison of
//! answers, which they do not have, is ours.

mod drive;
mod exchanges;
mod hoverfly;
mod mitmproxy;
mod vcrpy;
mod wiremock;

use std::{io, path::Path};

use drive::Shop;
use exchanges::Recording;

use crate::{
    matrix::shop::{self, Row},
    services::{Change, Language},
    tally,
};

/// What each tool noticed.
pub struct Comparison {
    /// The tools, ours first.
    pub tools: Vec<String>,
    /// The changes, and which tool noticed each.
    pub rows: Vec<(&'static Row, Vec<bool>)>,
}

/// How strictly a tool matches calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matching {
    /// As it does when nobody says otherwise.
    Default,
    /// By headers and bodies as well, as far as it can.
    Strict,
}

/// A tool that stands in for the downstreams.
trait StandIn {
    /// Begin anew, everything recorded unused, and say how the shop runs with it.
    fn begin(&mut self) -> io::Result<Shop>;

    /// Whether it refused a call since.
    fn refused(&mut self) -> io::Result<bool>;
}

/// A tool's server in the place of one downstream.
trait Server {
    fn url(&self) -> String;

    /// Forget what it was asked.
    fn forget(&self) -> io::Result<()>;

    /// Whether it refused a call since.
    fn refused(&self) -> io::Result<bool>;
}

/// One for each downstream.
struct Both<S> {
    inventory: S,
    pricing: S,
}

impl<S: Server> StandIn for Both<S> {
    fn begin(&mut self) -> io::Result<Shop> {
        self.inventory.forget()?;
        self.pricing.forget()?;
        let command = Language::Python.command();
        Ok(Shop { command, inventory: self.inventory.url(), pricing: self.pricing.url() })
    }

    fn refused(&mut self) -> io::Result<bool> {
        Ok(self.inventory.refused()? || self.pricing.refused()?)
    }
}

type Start = fn(&Recording, Matching, &Path) -> io::Result<Box<dyn StandIn>>;

const TOOLS: [(&str, Start); 4] = [
    ("WireMock", wiremock::start),
    ("mitmproxy", mitmproxy::start),
    ("Hoverfly", hoverfly::start),
    ("vcrpy", vcrpy::start),
];

/// Let every tool that is installed judge every change of the shop in Python.
pub fn compare(absent: &mut Vec<(String, String)>) -> Option<Comparison> {
    if let Some(reason) = tally::Service::Shop(Language::Python).absence() {
        absent.push(("other tools".to_owned(), reason));
        return None;
    }
    let recorded = tally::record(Language::Python);
    let recording = Recording::of(&recorded);
    let rows: Vec<&'static Row> = shop::rows(Language::Python).collect();
    let mut comparison = Comparison { tools: Vec::new(), rows: rows.iter().map(|row| (*row, Vec::new())).collect() };
    let mut add = |tool: &str, noticed: Vec<bool>| {
        comparison.tools.push(tool.to_owned());
        comparison.rows.iter_mut().zip(noticed).for_each(|((_, all), one)| all.push(one));
    };
    add("regress", rows.iter().map(|row| row.replay(&recorded).0.code != 0).collect());

    let judge_with = |start: Start, matching| {
        let folder = tempfile::tempdir()?;
        judge(&mut *start(&recording, matching, folder.path())?, &rows, &recording)
    };
    std::thread::scope(|scope| {
        let both = |start| move || [Matching::Default, Matching::Strict].map(|matching| judge_with(start, matching));
        let judging = TOOLS.map(|(tool, start)| (tool, scope.spawn(both(start))));
        for (tool, judging) in judging {
            let [default, strict] = judging.join().expect("what goes wrong is told");
            for (name, judged) in [(tool.to_owned(), default), (format!("{tool} strict"), strict)] {
                match judged {
                    Ok(noticed) => add(&name, noticed),
                    Err(error) => absent.push((name, error.to_string())),
                }
            }
        }
    });
    Some(comparison)
}

/// Which of the changes a tool notices.
fn judge(tool: &mut dyn StandIn, rows: &[&Row], recording: &Recording) -> io::Result<Vec<bool>> {
    let mut noticed = |change: Change| -> io::Result<bool> {
        let shop = tool.begin()?;
        Ok(shop.differs(change, recording)? || tool.refused()?)
    };
    if noticed("none".into())? {
        return Err(io::Error::other("the recorded build does not work with it"));
    }
    rows.iter().map(|row| noticed(row.change)).collect()
}
