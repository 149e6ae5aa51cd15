//! One cause, many places: differences of all entries that say the same are told once, the worst first. Pure.
//!
//! Two differences are in one group when all of this is the same:
//!
//! - the path, with the indices of arrays and the numbers of calls left open (`response/body/items/*/price`);
//! - the call's downstream and operation, without the query and with what looks like an id left open (`GET /sku/*`);
//! - the kind of difference, and for it: both types where the type changed, both values of a status, how a process or a
//!   response ended. Where a value changed, both values, as long as at most [`MOST_PAIRS`] pairs of values are seen at
//!   that path, each about twice or more often; else the values vary with the entry, and the change is one;
//! - whether it only follows from a call that nobody could answer.

use std::collections::{BTreeMap, BTreeSet};

use regress_cassettes::is_id;
use sha2::{Digest, Sha256};

use crate::{
    Finding, Report, order,
    spot::{Called, Spot, SpotKind},
};

/// How many pairs of values at one path are taken for so many causes.
pub const MOST_PAIRS: usize = 3;

/// How bad a difference is, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// The process ended, or the response did not come, or ended otherwise.
    Ended,
    /// Another status.
    Status,
    /// A call that was not made, that nobody recorded, or that was made in another order.
    Call,
    /// A field that is missing, is new or has another type.
    Shape,
    /// Another value.
    Value,
    /// A header or a trailer.
    Header,
}

impl Severity {
    /// The word used in reports.
    pub fn word(self) -> &'static str {
        match self {
            Severity::Ended => "ended",
            Severity::Status => "status",
            Severity::Call => "call",
            Severity::Shape => "shape",
            Severity::Value => "value",
            Severity::Header => "header",
        }
    }
}

/// Differences that are told once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Eight hexadecimal digits that depend on what is told alone, not on where or how often.
    pub id: String,
    /// How bad it is.
    pub severity: Severity,
    /// It was only seen where a call could not be answered, and was gone when the call most like it was answered.
    pub follows: bool,
    /// The path, with `*` for indices of arrays and numbers of calls.
    pub path: String,
    /// In which way it differs.
    pub kind: SpotKind,
    /// The call, with `*` for ids.
    pub call: Option<Called>,
    /// What was recorded, where that is the same at every place.
    pub expected: Option<String>,
    /// What came instead, where that is the same at every place.
    pub actual: Option<String>,
    /// What the kind of difference is about where values vary: `number → string`. Empty otherwise.
    detail: String,
    /// Every difference, in the order of the entries.
    pub places: Vec<Place>,
}

/// Where one of the differences of a group is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The entry: its index among those that were grouped.
    pub entry: usize,
    /// Its place among the differences of that entry.
    pub number: usize,
    /// The difference.
    pub spot: Spot,
}

impl Report {
    /// All differences of all entries, grouped, the worst group first. [`Place::entry`] is the index of the outcome.
    pub fn groups(&self) -> Vec<Group> {
        group(self.outcomes.iter().enumerate().flat_map(|(entry, outcome)| {
            let left: Option<BTreeSet<String>> =
                outcome.if_answered.as_ref().map(|left| left.iter().flat_map(Finding::paths).collect());
            let spots = outcome.findings.iter().flat_map(Finding::spots);
            spots.enumerate().map(move |(number, spot)| {
                let follows = left.as_ref().is_some_and(|left| !is_of_a_call(&spot) && !left.contains(&spot.path));
                (Place { entry, number, spot }, follows)
            })
        }))
    }
}

/// A call that was not made as recorded may be what other differences follow from; it follows from nothing.
fn is_of_a_call(spot: &Spot) -> bool {
    spot.call.is_some()
}

/// Group differences, each with whether it only follows from a call that could not be answered. Groups come in this
/// order: causes before what follows from them, then by severity, then those with more entries first, then by path and call.
pub fn group(places: impl IntoIterator<Item = (Place, bool)>) -> Vec<Group> {
    let mut alike: BTreeMap<Likeness, Vec<Place>> = BTreeMap::new();
    for (place, follows) in places {
        alike.entry(Likeness::of(&place.spot, follows)).or_default().push(place);
    }
    let mut groups: Vec<Group> = alike.into_iter().flat_map(|(likeness, places)| split(likeness, places)).collect();
    groups.sort_by_cached_key(|group| {
        let entries = std::cmp::Reverse(group.entries());
        (group.follows, group.severity, entries, group.path.clone(), group.call.clone(), group.id.clone())
    });
    groups
}

/// What differences of one group share, values apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Likeness {
    follows: bool,
    severity: Severity,
    path: String,
    kind: SpotKind,
    call: Option<Called>,
    /// What the kind of difference is about.
    detail: String,
}

impl Likeness {
    fn of(spot: &Spot, follows: bool) -> Likeness {
        let severity = severity(spot);
        let or_nothing = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
        let detail = match (spot.kind, severity) {
            (SpotKind::Exited, _) => or_nothing(&spot.actual),
            (_, Severity::Ended | Severity::Status) => {
                format!("{} → {}", or_nothing(&spot.expected), or_nothing(&spot.actual))
            }
            (SpotKind::Type, _) => format!("{} → {}", json_type(&spot.expected), json_type(&spot.actual)),
            _ => String::new(),
        };
        let call = spot
            .call
            .as_ref()
            .map(|call| Called { downstream: call.downstream.clone(), request: operation(&call.request) });
        Likeness { follows, severity, path: general(&spot.path), kind: spot.kind, call, detail }
    }

    /// The parts in a form that no part can counterfeit.
    fn id(&self, values: &[&Option<String>]) -> String {
        let mut hash = Sha256::new();
        let mut part = |text: &str| {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        };
        part(if self.follows { "follows" } else { "causes" });
        part(&self.path);
        part(self.kind.word());
        part(&self.detail);
        for text in self.call.iter().flat_map(|call| [&call.downstream, &call.request]) {
            part(text);
        }
        for value in values {
            part(value.as_deref().unwrap_or_default());
        }
        hash.finalize()[..4].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// One group, or one for each pair of values where a value changed and few pairs are seen.
fn split(likeness: Likeness, places: Vec<Place>) -> Vec<Group> {
    let values = |place: &Place| (place.spot.expected.clone(), place.spot.actual.clone());
    let pairs: BTreeSet<_> = places.iter().map(values).collect();
    let few = (2..=MOST_PAIRS).contains(&pairs.len()) && 2 * pairs.len() <= places.len();
    if likeness.kind != SpotKind::Changed || !few {
        let id = likeness.id(&[]);
        return vec![Group::new(likeness, id, places)];
    }
    let mut by_pair: BTreeMap<_, Vec<Place>> = BTreeMap::new();
    for place in places {
        by_pair.entry(values(&place)).or_default().push(place);
    }
    by_pair
        .into_iter()
        .map(|((expected, actual), places)| {
            let id = likeness.id(&[&expected, &actual]);
            Group::new(likeness.clone(), id, places)
        })
        .collect()
}

impl Group {
    fn new(likeness: Likeness, id: String, places: Vec<Place>) -> Group {
        let shared = |value: fn(&Spot) -> &Option<String>| {
            let first = value(&places.first()?.spot);
            places.iter().all(|place| value(&place.spot) == first).then(|| first.clone()).flatten()
        };
        let (expected, actual) = (shared(|spot| &spot.expected), shared(|spot| &spot.actual));
        let Likeness { follows, severity, path, kind, call, detail } = likeness;
        Group { id, severity, follows, path, kind, call, expected, actual, detail, places }
    }

    /// How many entries it is seen in.
    pub fn entries(&self) -> usize {
        self.places.chunk_by(|a, b| a.entry == b.entry).count()
    }

    /// The entries it is seen in, each once, in order.
    pub fn entry_numbers(&self) -> impl Iterator<Item = usize> + '_ {
        self.places.chunk_by(|a, b| a.entry == b.entry).map(|places| places[0].entry)
    }

    /// What differs: the path, and the call where it is one of a call.
    pub fn subject(&self) -> String {
        match &self.call {
            Some(call) => format!("{} of {}  {}", self.path, call.downstream, call.request),
            None => self.path.clone(),
        }
    }

    /// What is wrong with it, in words: `is now a string, was a number`.
    pub fn what(&self) -> String {
        let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
        match self.kind {
            SpotKind::Changed if self.severity == Severity::Ended => {
                format!("{}, where {} was recorded", value(&self.actual), value(&self.expected))
            }
            SpotKind::Exited => format!("the service {}", value(&self.actual)),
            SpotKind::Omitted => "the call is not made any more".to_owned(),
            SpotKind::Novel => "the call is new: nobody recorded it".to_owned(),
            SpotKind::Added => "is new".to_owned(),
            SpotKind::Removed => "is missing".to_owned(),
            SpotKind::Type => {
                let (from, to) = self.detail.split_once(" → ").unwrap_or_default();
                format!("is now {}, was {}", with_article(to), with_article(from))
            }
            SpotKind::Moved if self.severity == Severity::Call => "the call is made in another order".to_owned(),
            SpotKind::Moved => "is at another place, or in another order".to_owned(),
            SpotKind::Changed => match (&self.expected, &self.actual) {
                (None, None) => "has another value".to_owned(),
                (Some(expected), None) => format!("was {expected}, has other values"),
                (None, Some(actual)) => format!("is now {actual}"),
                (Some(expected), Some(actual)) => format!("is now {actual}, was {expected}"),
            },
        }
    }
}

fn severity(spot: &Spot) -> Severity {
    match spot.kind {
        SpotKind::Exited => return Severity::Ended,
        SpotKind::Omitted | SpotKind::Novel => return Severity::Call,
        _ => {}
    }
    let field = match spot.path.split_once('/') {
        Some(("response", field)) => field,
        Some(("downstream", rest)) => rest.splitn(3, '/').nth(2).unwrap_or_default(),
        _ => return Severity::Ended,
    };
    match field.split('/').next() {
        Some("status") => Severity::Status,
        Some("end") => Severity::Ended,
        Some(order::FIELD) if spot.call.is_some() => Severity::Call,
        Some("header" | "trailer") => Severity::Header,
        _ if matches!(spot.kind, SpotKind::Changed | SpotKind::Moved) => Severity::Value,
        _ => Severity::Shape,
    }
}

/// The path with `*` for each index of an array, and for the number of a call.
fn general(path: &str) -> String {
    let (head, body) = match path.split_once("/body/") {
        Some((head, body)) => (head, Some(body)),
        None => (path, None),
    };
    let open = |segment: &str| {
        let is_index = !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_digit());
        if is_index { "*".to_owned() } else { segment.to_owned() }
    };
    let head = match head.strip_prefix("downstream/") {
        Some(rest) => {
            let (number, field) = rest.split_once('/').map_or((rest, ""), |(number, field)| (number, field));
            let slash = if field.is_empty() { "" } else { "/" };
            format!("downstream/{}{slash}{field}", open(number))
        }
        None => head.to_owned(),
    };
    match body {
        Some(body) => format!("{head}/body/{}", body.split('/').map(open).collect::<Vec<_>>().join("/")),
        None => head,
    }
}

/// Method and path of a request line, with `*` for what looks like an id.
pub fn operation(request: &str) -> String {
    let Some((method, target)) = request.split_once(' ').filter(|(_, target)| target.starts_with('/')) else {
        return request.to_owned();
    };
    let path = target.split('?').next().unwrap_or_default();
    let open = |segment| if is_id(segment) && !str::is_empty(segment) { "*" } else { segment };
    format!("{method} {}", path.split('/').map(open).collect::<Vec<_>>().join("/"))
}

/// The type of a JSON value, told by how its text begins.
fn json_type(value: &Option<String>) -> &'static str {
    match value.as_deref().and_then(|text| text.bytes().next()) {
        None => "nothing",
        Some(b'"') => "string",
        Some(b'{') => "object",
        Some(b'[') => "array",
        Some(b't' | b'f') => "boolean",
        Some(b'n') => "null",
        Some(_) => "number",
    }
}

fn with_article(json_type: &str) -> String {
    match json_type {
        "null" | "nothing" => json_type.to_owned(),
        "array" | "object" => format!("an {json_type}"),
        other => format!("a {other}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn changed(path: &str, expected: &str, actual: &str) -> Spot {
        Spot {
            path: path.to_owned(),
            kind: SpotKind::Changed,
            expected: Some(expected.to_owned()),
            actual: Some(actual.to_owned()),
            call: None,
        }
    }

    fn grouped(spots: impl IntoIterator<Item = (usize, Spot)>) -> Vec<Group> {
        group(spots.into_iter().map(|(entry, spot)| (Place { entry, number: 0, spot }, false)))
    }

    fn told(groups: &[Group]) -> Vec<String> {
        groups.iter().map(|group| format!("{} {} {}", group.entries(), group.subject(), group.what())).collect()
    }

    #[test]
    fn a_type_that_changed_is_one_cause_whatever_the_values() {
        let one = |entry: usize| {
            let value = format!("{entry}.50");
            let spot = changed(&format!("response/body/items/{entry}/price"), &value, &format!("\"{value}\""));
            (entry, Spot { kind: SpotKind::Type, ..spot })
        };
        let groups = grouped((0..37).map(one));
        assert_eq!(told(&groups), ["37 response/body/items/*/price is now a string, was a number"]);
        assert_eq!((&groups[0].expected, &groups[0].actual), (&None, &None));
    }

    #[test]
    fn few_pairs_of_values_are_told_apart_and_many_are_not() {
        let few = grouped((0..6).map(|entry| (entry, changed("response/body/state", "1", &(entry % 2).to_string()))));
        assert_eq!(told(&few), ["3 response/body/state is now 0, was 1", "3 response/body/state is now 1, was 1"]);
        let many = grouped((0..6).map(|entry| (entry, changed("response/body/state", "1", &entry.to_string()))));
        assert_eq!(told(&many), ["6 response/body/state was 1, has other values"]);
    }

    #[test]
    fn calls_are_told_by_downstream_and_operation() {
        let call =
            |downstream: &str, request: &str| Some(Called { downstream: downstream.into(), request: request.into() });
        let omitted = |number: usize, call: Option<Called>| Spot {
            path: format!("downstream/{number}"),
            kind: SpotKind::Omitted,
            expected: None,
            actual: None,
            call,
        };
        let groups = grouped([
            (0, omitted(0, call("prices", "GET /sku/17?currency=EUR"))),
            (1, omitted(3, call("prices", "GET /sku/18"))),
            (1, omitted(4, call("stock", "GET /sku/18"))),
        ]);
        assert_eq!(
            told(&groups),
            [
                "2 downstream/* of prices  GET /sku/* the call is not made any more",
                "1 downstream/* of stock  GET /sku/* the call is not made any more"
            ]
        );
    }

    #[test]
    fn the_worst_is_first_and_what_follows_is_last() {
        let kind = |kind, path: &str| Spot { kind, ..changed(path, "1", "2") };
        let spots = [
            kind(SpotKind::Changed, "response/header/etag"),
            kind(SpotKind::Changed, "response/body/total"),
            kind(SpotKind::Removed, "downstream/0/request/body/qty"),
            kind(SpotKind::Novel, "downstream/7"),
            kind(SpotKind::Changed, "response/status"),
            kind(SpotKind::Exited, "process"),
        ];
        let places =
            spots.iter().map(|spot| (Place { entry: 0, number: 0, spot: spot.clone() }, spot.path == "process"));
        let order: Vec<String> = group(places).into_iter().map(|group| group.path).collect();
        assert_eq!(
            order,
            [
                "response/status",
                "downstream/*",
                "downstream/*/request/body/qty",
                "response/body/total",
                "response/header/etag",
                "process"
            ]
        );
    }

    #[test]
    fn numbers_in_a_body_are_open_and_names_are_not() {
        let of = |path: &str| general(path);
        assert_eq!(of("response/body/a/0/b/12"), "response/body/a/*/b/*");
        assert_eq!(of("downstream/12/request/body/7/x"), "downstream/*/request/body/*/x");
        assert_eq!(of("downstream/12"), "downstream/*");
        assert_eq!(of("response/header/1"), "response/header/1");
        assert_eq!(of("response/body"), "response/body");
    }

    fn spots() -> impl Strategy<Value = Vec<(usize, Spot, bool)>> {
        let path = prop::sample::select(vec![
            "process",
            "response",
            "response/status",
            "response/body",
            "response/body/items/0/price",
            "response/body/items/1/price",
            "response/...",
            "response/header/x",
            "downstream/0",
            "downstream/9/request/body/qty",
        ]);
        let kind = prop::sample::select(vec![
            SpotKind::Exited,
            SpotKind::Omitted,
            SpotKind::Novel,
            SpotKind::Type,
            SpotKind::Removed,
            SpotKind::Added,
            SpotKind::Changed,
        ]);
        let value = prop::option::of("[a-c1\"]{1,2}");
        let call = prop::option::of(("[ab]", prop::sample::select(vec!["GET /1", "GET /2?x", "DNS", "", "PUT"])));
        let spot = (path, kind, value.clone(), value, call).prop_map(|(path, kind, expected, actual, call)| Spot {
            path: path.to_owned(),
            kind,
            expected,
            actual,
            call: call.map(|(downstream, request)| Called { downstream, request: request.to_owned() }),
        });
        prop::collection::vec((0..6usize, spot, any::<bool>()), 0..60).prop_map(|mut all| {
            all.sort_by_key(|(entry, ..)| *entry);
            all
        })
    }

    proptest! {
        #[test]
        fn every_difference_is_in_exactly_one_group(all in spots()) {
            let groups = group(all.iter().cloned().map(|(entry, spot, follows)| (Place { entry, number: 0, spot }, follows)));
            let mut back: Vec<(usize, String)> = groups
                .iter()
                .flat_map(|group| group.places.iter().map(|place| (place.entry, format!("{:?}{}", place.spot, group.follows))))
                .collect();
            let mut given: Vec<(usize, String)> =
                all.iter().map(|(entry, spot, follows)| (*entry, format!("{spot:?}{follows}"))).collect();
            back.sort();
            given.sort();
            prop_assert_eq!(back, given);
            let ids: BTreeSet<&str> = groups.iter().map(|group| group.id.as_str()).collect();
            prop_assert_eq!(ids.len(), groups.len());
        }

        #[test]
        fn a_group_holds_what_is_alike_in_the_order_of_entries(all in spots()) {
            let groups = group(all.into_iter().map(|(entry, spot, follows)| (Place { entry, number: 0, spot }, follows)));
            for one in &groups {
                prop_assert!(!one.places.is_empty());
                prop_assert!(one.places.iter().all(|place| general(&place.spot.path) == one.path));
                prop_assert!(one.places.iter().all(|place| place.spot.kind == one.kind));
                prop_assert!(one.places.is_sorted_by_key(|place| place.entry));
                prop_assert!(!one.what().is_empty() && !one.subject().is_empty());
            }
            let order = |group: &Group| (group.follows, group.severity, std::cmp::Reverse(group.entries()));
            prop_assert!(groups.is_sorted_by_key(order));
        }
    }
}
