//! Arrays whose items come in another order.

use std::collections::{BTreeMap, BTreeSet};

use regress_cassettes::diff::{Difference, Kind};

use super::{
    gather::{Gathered, Series, Spot},
    place::{Place, is_index},
};

/// Members by which items may be told apart, best first.
const KEYS: [&str; 6] = ["id", "uuid", "key", "sku", "code", "name"];

/// The differing items of an array in one run: by index, and in them by path, what was expected and what came.
type Rows<'a> = BTreeMap<&'a str, BTreeMap<&'a str, &'a Difference>>;

/// Everything seen in one message of one entry.
type Message = BTreeMap<Spot, Series>;

/// An array whose items come in another order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reordered {
    /// The member that tells the items apart, if one does.
    pub key: Option<String>,
    /// Items differ in more than their place: in what can be seen only once their order is no matter.
    pub hides: bool,
}

/// Take the differences that come of another order out of what was gathered, and put one of the whole array in their
/// place.
pub(super) fn take_reordered(gathered: &mut Gathered) -> BTreeMap<Spot, Reordered> {
    let mut messages: BTreeMap<_, Message> = BTreeMap::new();
    for (spot, series) in std::mem::take(&mut gathered.spots) {
        messages.entry((spot.cassette.clone(), spot.call)).or_default().insert(spot, series);
    }
    let mut arrays = BTreeMap::new();
    for message in messages.into_values() {
        gathered.spots.extend(without_reordered(message, &mut arrays));
    }
    arrays
}

fn without_reordered(mut message: Message, arrays: &mut BTreeMap<Spot, Reordered>) -> Message {
    let paths: BTreeSet<Spot> = message.keys().flat_map(arrays_around).collect();
    // The outermost first: a path comes before those that it begins.
    for array in paths {
        let path = array.place.path.clone();
        let inner: Vec<Spot> =
            message.keys().filter(|spot| inside(&path, &spot.place.path).is_some()).cloned().collect();
        let taken: Message = inner.iter().filter_map(|spot| message.remove_entry(spot)).collect();
        let runs: BTreeSet<usize> = taken.values().flat_map(|series| series.seen.keys().copied()).collect();
        let rows: BTreeMap<usize, Rows> = runs.into_iter().map(|run| (run, rows_in(&path, &taken, run))).collect();
        let Some((reordered, seen)) = reordered(&path, &rows) else {
            message.extend(taken);
            continue;
        };
        let of = taken.values().map(|series| series.of).max().unwrap_or_default();
        arrays.insert(array.clone(), reordered);
        message.insert(array, Series { seen, of });
    }
    message
}

/// How an array is reordered, and in which runs; `None` where it is not.
fn reordered(path: &str, rows: &BTreeMap<usize, Rows>) -> Option<(Reordered, BTreeMap<usize, Difference>)> {
    if !rows.is_empty() && rows.values().all(is_reordered) {
        let key = KEYS.into_iter().find(|name| rows.values().all(|rows| is_key(name, rows))).map(str::to_owned);
        let seen = rows.iter().map(|(run, rows)| (*run, whole(path, rows, |_| true))).collect();
        return Some((Reordered { key, hides: false }, seen));
    }
    // Or it may be told by one member alone, of items that differ in others as well.
    let key = KEYS.into_iter().find(|name| {
        let mut moves = rows.values().filter_map(|rows| is_permuted(name, rows)).peekable();
        moves.peek().is_some() && moves.all(|is_permuted| is_permuted)
    })?;
    let permuted = rows.iter().filter(|(_, rows)| is_permuted(key, rows) == Some(true));
    let seen = permuted.map(|(run, rows)| (*run, whole(path, rows, |below| below == key))).collect();
    Some((Reordered { key: Some(key.to_owned()), hides: true }, seen))
}

/// Whether a member has the same values in another order, none of them twice; `None` where it differs in no item.
fn is_permuted(name: &str, rows: &Rows) -> Option<bool> {
    let members: Vec<&Difference> = rows.values().filter_map(|row| row.get(name).copied()).collect();
    let side = |side: fn(&Difference) -> Option<&str>| members.iter().map(|it| side(it)).collect::<BTreeSet<_>>();
    let expected = side(|difference| difference.expected.as_deref());
    let is_each_once = expected.len() == members.len() && !expected.contains(&None);
    (!members.is_empty()).then(|| is_each_once && expected == side(|difference| difference.actual.as_deref()))
}

/// The arrays that the path of a spot leads through.
fn arrays_around(spot: &Spot) -> Vec<Spot> {
    let path = &spot.place.path;
    let slashes = path.match_indices('/').map(|(at, _)| at);
    let is_array = |at: &usize| path[at + 1..].split('/').next().is_some_and(is_index);
    let array = |at| Place { path: path[..at].to_owned(), ..spot.place.clone() };
    slashes.filter(is_array).map(|at| Spot { place: array(at), repeat: 0, ..spot.clone() }).collect()
}

/// The index and the path below it, of a path inside an array.
fn inside<'p>(array: &str, path: &'p str) -> Option<(&'p str, &'p str)> {
    let rest = path.strip_prefix(array)?.strip_prefix('/')?;
    let (index, below) = rest.split_once('/').unwrap_or((rest, ""));
    is_index(index).then_some((index, below))
}

fn rows_in<'a>(array: &str, spots: &'a Message, run: usize) -> Rows<'a> {
    let mut rows = Rows::new();
    for (spot, series) in spots {
        if let (Some((index, below)), Some(difference)) = (inside(array, &spot.place.path), series.seen.get(&run)) {
            rows.entry(index).or_default().insert(below, difference);
        }
    }
    rows
}

/// Whether the items that differ are the same ones in another order. Items of which only a part differs are compared by
/// the parts; all must differ in the same ones, or it cannot be told.
fn is_reordered(rows: &Rows) -> bool {
    let mut differences = rows.values().flat_map(|row| row.iter());
    if differences.all(|(below, difference)| below.is_empty() && difference.kind == Kind::Moved) {
        return !rows.is_empty();
    }
    let mut parts = rows.values().map(|row| row.keys().collect::<Vec<_>>());
    let first = parts.next();
    if rows.len() < 2 || parts.any(|other| Some(other) != first) {
        return false;
    }
    let items = |side: fn(&Difference) -> Option<&str>| {
        let item = |row: &BTreeMap<&str, &'_ Difference>| -> Vec<Option<String>> {
            row.values().map(|difference| side(difference).map(str::to_owned)).collect()
        };
        // An item that is only there on one side is no item of the other.
        let mut items: Vec<_> = rows.values().map(item).filter(|item| item.iter().any(Option::is_some)).collect();
        items.sort();
        items
    };
    let whole = rows.values().flat_map(|row| row.values()).all(|difference| !is_shortened(difference));
    whole && items(|difference| difference.expected.as_deref()) == items(|difference| difference.actual.as_deref())
}

fn is_shortened(difference: &Difference) -> bool {
    [&difference.expected, &difference.actual].into_iter().flatten().any(|shown| shown.ends_with(" bytes)"))
}

/// Whether a member tells items apart: it is in every item that differs, no value twice.
fn is_key(name: &str, rows: &Rows) -> bool {
    let values: Option<Vec<String>> = rows.values().map(|row| member(row, name)).collect();
    values.is_some_and(|values| values.iter().collect::<BTreeSet<_>>().len() == values.len())
}

/// A member of an item, as it was recorded; of one that was not, as it came.
fn member(row: &BTreeMap<&str, &Difference>, name: &str) -> Option<String> {
    let side = |difference: &&Difference| {
        let shown = difference.expected.as_deref().or(difference.actual.as_deref())?;
        Some(item(difference.kind, shown).to_owned())
    };
    if let Some(difference) = row.get(name) {
        return side(difference);
    }
    let whole: serde_json::Value = serde_json::from_str(&side(row.get("")?)?).ok()?;
    whole.get(name).filter(|value| value.is_string() || value.is_number()).map(ToString::to_string)
}

/// A value as it is shown, without the place that one which moved is shown with.
fn item(kind: Kind, shown: &str) -> &str {
    match shown.split_once(": ") {
        Some((_, value)) if kind == Kind::Moved => value,
        _ => shown,
    }
}

/// The differing items in one line, as they were expected and as they came: what of them `is_told`.
fn whole(path: &str, rows: &Rows, is_told: impl Fn(&str) -> bool) -> Difference {
    let told = || rows.values().flat_map(|row| row.iter()).filter(|(below, _)| is_told(below));
    let line = |side: fn(&Difference) -> Option<&str>| {
        let items: Vec<&str> = told().filter_map(|(_, difference)| side(difference)).collect();
        format!("[{}]", items.join(", "))
    };
    Difference {
        path: path.to_owned(),
        kind: Kind::Changed,
        expected: Some(line(|difference| difference.expected.as_deref())),
        actual: Some(line(|difference| difference.actual.as_deref())),
        noise: None,
    }
}
