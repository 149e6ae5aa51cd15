//! Many cassettes as tables.

use std::collections::BTreeMap;

use regress_cassettes::{Cassette, Confidence, Content, Defect, Exchange, route_slug, seal::Header};
use regress_protocols::Value;

use super::{
    Read,
    show::{plain, size},
};

/// The line of a cassette.
pub struct Row([String; 7]);

impl From<&Read> for Row {
    fn from(Read { cassette, size: bytes }: &Read) -> Row {
        Row([
            cassette.id.to_string(),
            route(cassette),
            cassette.entry.as_ref().map_or("-".to_owned(), status),
            cassette.downstream.len().to_string(),
            size(*bytes),
            defects(cassette).count().to_string(),
            cassette.nondeterministic.len().to_string(),
        ])
    }
}

/// Of a sealed cassette, to who cannot open it.
impl From<&Header> for Row {
    fn from(header: &Header) -> Row {
        let unknown = || "?".to_owned();
        let (id, route) = (plain(&header.id), plain(&header.route));
        Row([id, route, "sealed".to_owned(), unknown(), size(header.bytes), unknown(), unknown()])
    }
}

/// One line a cassette.
pub fn list(rows: impl IntoIterator<Item = Row>) -> String {
    let mut table = Table::new(["ID", "ROUTE", "STATUS", "CALLS", "SIZE", "DEFECTS", "VARIES"]);
    rows.into_iter().for_each(|Row(cells)| table.row(cells));
    table.text(&[3, 4, 5, 6])
}

/// Counts by route, by downstream and by defect.
pub fn stats(cassettes: &[Read]) -> String {
    let mut routes: BTreeMap<String, Route> = BTreeMap::new();
    let mut downstreams: BTreeMap<String, Downstream> = BTreeMap::new();
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    for Read { cassette, size: file } in cassettes {
        let route = routes.entry(route(cassette)).or_default();
        route.cassettes += 1;
        route.calls += cassette.downstream.len();
        route.incomplete += u64::from(cassette.has_defects());
        route.vary += u64::from(!cassette.nondeterministic.is_empty());
        route.bytes += file;
        for exchange in &cassette.downstream {
            let name = plain(exchange.downstream.as_deref().unwrap_or("-"));
            downstreams.entry(name).or_default().add(exchange);
        }
        for defect in defects(cassette) {
            *kinds.entry(kind(defect)).or_default() += 1;
        }
    }

    let mut table = Table::new(["ROUTE", "CASSETTES", "CALLS", "INCOMPLETE", "VARY", "SIZE"]);
    for (name, route) in &routes {
        let counts = [route.cassettes, route.calls as u64, route.incomplete, route.vary];
        let [cassettes, calls, incomplete, vary] = counts.map(|count| count.to_string());
        table.row([name.clone(), cassettes, calls, incomplete, vary, size(route.bytes)]);
    }
    let mut text = table.text(&[1, 2, 3, 4, 5]);

    if !downstreams.is_empty() {
        let mut table = Table::new(["DOWNSTREAM", "CERTAIN", "LIKELY", "AMBIGUOUS", "AMBIENT", "INCOMPLETE", "BYTES"]);
        for (name, it) in &downstreams {
            let [certain, likely, ambiguous, ambient, incomplete] =
                [it.certain, it.likely, it.ambiguous, it.ambient, it.incomplete].map(|count| count.to_string());
            table.row([name.clone(), certain, likely, ambiguous, ambient, incomplete, size(it.bytes)]);
        }
        text = text + "\n" + &table.text(&[1, 2, 3, 4, 5, 6]);
    }
    if !kinds.is_empty() {
        let mut table = Table::new(["DEFECT", "COUNT"]);
        for (kind, count) in &kinds {
            table.row([(*kind).to_owned(), count.to_string()]);
        }
        text = text + "\n" + &table.text(&[1]);
    }
    text
}

#[derive(Default)]
struct Route {
    cassettes: u64,
    calls: usize,
    incomplete: u64,
    vary: u64,
    bytes: u64,
}

#[derive(Default)]
struct Downstream {
    certain: u64,
    likely: u64,
    ambiguous: u64,
    ambient: u64,
    incomplete: u64,
    bytes: u64,
}

impl Downstream {
    fn add(&mut self, exchange: &Exchange) {
        *match exchange.cause.as_ref().map(|cause| cause.confidence) {
            Some(Confidence::Certain) => &mut self.certain,
            Some(Confidence::Likely) => &mut self.likely,
            Some(Confidence::Ambiguous) => &mut self.ambiguous,
            None => &mut self.ambient,
        } += 1;
        self.incomplete += u64::from(exchange.has_defects());
        self.bytes += bytes(exchange);
    }
}

fn route(cassette: &Cassette) -> String {
    cassette.entry.as_ref().map_or("-".to_owned(), route_slug)
}

/// The response's status, or how the exchange ended without one.
fn status(exchange: &Exchange) -> String {
    match exchange.http().and_then(|http| http.response.as_ref()) {
        Some(response) => response.status().to_string(),
        None => exchange.ended.to_string(),
    }
}

/// Bytes on the wire, or about as many where the wire is not kept.
fn bytes(exchange: &Exchange) -> u64 {
    let turns = |turns: &[regress_cassettes::Turn]| turns.iter().map(|turn| turn.bytes.len()).sum::<usize>();
    let bytes = match &exchange.content {
        Content::Http1(http) => {
            let messages = [&http.request].into_iter().chain(&http.interim).chain(&http.response);
            messages.map(|message| message.wire().len()).sum::<usize>() + turns(&http.upgraded)
        }
        Content::Wire(wire) => wire.request.weight() + wire.response.as_ref().map_or(0, Value::weight),
        Content::Opaque(said) => turns(said),
        Content::Nothing => 0,
    };
    bytes as u64
}

fn defects(cassette: &Cassette) -> impl Iterator<Item = &Defect> {
    cassette.defects.iter().chain(cassette.exchanges().flat_map(|exchange| &exchange.defects))
}

fn kind(defect: &Defect) -> &'static str {
    match defect {
        Defect::Gap { .. } => "bytes not seen",
        Defect::JoinedMidStream => "joined mid-stream",
        Defect::Unfinished => "unfinished",
        Defect::LostEvents { .. } => "lost events",
        Defect::Garbage => "garbage",
        Defect::Encrypted => "encrypted",
        Defect::AmbiguousOwner => "ambiguous owner",
    }
}

/// Columns that line up.
struct Table<const N: usize> {
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    fn new(titles: [&str; N]) -> Table<N> {
        Table { rows: vec![titles.map(str::to_owned)] }
    }

    fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells);
    }

    /// The text of the table; columns of numbers stand to the right.
    fn text(&self, right: &[usize]) -> String {
        let width = |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
        let widths: [usize; N] = std::array::from_fn(width);
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let width = widths[column];
                if right.contains(&column) {
                    line.push_str(&format!("{cell:>width$}  "));
                } else {
                    line.push_str(&format!("{cell:<width$}  "));
                }
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}
