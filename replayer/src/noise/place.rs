//! Where a difference is, apart from the entry that it was seen in.

use std::fmt;

use regress_protocols::{Operation, http1::Message};

use crate::order;

/// A path in the responses or calls of entries.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The entries, by method and path: `POST /orders`, `GET /orders/*`.
    pub route: String,
    /// Of the calls: the downstream and the operation. `None` in the response.
    pub call: Option<Callee>,
    /// `response/...` or `request/...`, as reports print it.
    pub path: String,
}

/// What calls are meant.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Callee {
    /// The downstream's logical name.
    pub downstream: String,
    /// Method and path: `POST /reserve`, `GET /stock/*`.
    pub operation: String,
}

impl Place {
    /// A place in the response to the entry with this method and target.
    pub(super) fn response(entry: &str, path: &str) -> Place {
        Place { route: operation(entry), call: None, path: format!("response/{path}") }
    }

    /// A place in a call of that operation made for the entry.
    pub(super) fn request(entry: &str, downstream: &str, called: &str, path: &str) -> Place {
        let call = Callee { downstream: downstream.to_owned(), operation: called.to_owned() };
        Place { route: operation(entry), call: Some(call), path: format!("request/{path}") }
    }

    /// The same place in all entries and calls that are alike: what looks like an id in a path is `*`.
    pub(super) fn family(&self) -> Place {
        let call = self.call.as_ref().map(|call| Callee { operation: without_ids(&call.operation), ..call.clone() });
        Place { route: without_ids(&self.route), call, path: without_indices(&self.path) }
    }

    /// The place that covers all of `places`, which are of one family, and as little else as a `*` for each differing
    /// step allows.
    pub(super) fn covering<'a>(places: impl Iterator<Item = &'a Place> + Clone) -> Option<Place> {
        let first = places.clone().next()?;
        let call = first.call.as_ref().map(|call| Callee {
            downstream: call.downstream.clone(),
            operation: merged(places.clone().filter_map(|place| Some(place.call.as_ref()?.operation.as_str()))),
        });
        let route = merged(places.clone().map(|place| place.route.as_str()));
        Some(Place { route, call, path: merged(places.map(|place| place.path.as_str())) })
    }

    /// Whether it is the place of a call among the others of its entry.
    pub(super) fn is_order(&self) -> bool {
        self.call.is_some() && self.path == format!("request/{}", order::FIELD)
    }

    /// Whether the place is the whole body, the status or another part that no rule may cover unasked.
    pub(super) fn is_whole(&self) -> bool {
        let inside = self.path.split_once('/').map_or("", |(_, inside)| inside);
        matches!(inside, "status" | "method" | "body" | "...")
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.call {
            None => write!(f, "{}  {}", self.route, self.path),
            Some(call) => write!(f, "{}  {}  {}  {}", self.route, call.downstream, call.operation, self.path),
        }
    }
}

/// Method and path of a request line, as rules see them.
fn operation(line: &str) -> String {
    let (method, target) = line.split_once(' ').unwrap_or((line, ""));
    let Operation { method, path } = Operation::of(&Message::request(method, target, &[], ""));
    format!("{method} {path}")
}

/// The steps that all have in common, `*` where they differ. All have as many.
fn merged<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    let mut lines = lines.map(|line| line.split('/').collect::<Vec<_>>());
    let mut steps = lines.next().unwrap_or_default();
    for line in lines {
        for (step, other) in steps.iter_mut().zip(line) {
            if *step != other {
                *step = "*";
            }
        }
    }
    steps.join("/")
}

fn without_ids(line: &str) -> String {
    let step = |step| if is_id(step) { "*" } else { step };
    line.split('/').map(step).collect::<Vec<_>>().join("/")
}

/// Digits alone, a UUID, or eight hexadecimal digits and more with a decimal one among them.
fn is_id(step: &str) -> bool {
    let digits = step.bytes().filter(u8::is_ascii_digit).count();
    let hex = step.bytes().filter(u8::is_ascii_hexdigit).count();
    let is_uuid = step.len() == 36 && hex == 32 && step.bytes().filter(|b| *b == b'-').count() == 4;
    !step.is_empty() && (digits == step.len() || is_uuid || (hex == step.len() && hex >= 8 && digits > 0))
}

/// Lists whose items are told apart by their number: each means something else.
const NUMBERED: [&str; 3] = ["request/target/path/", "request/params/", "request/args/"];

/// The path with `*` for every index of an array.
fn without_indices(path: &str) -> String {
    let fixed = NUMBERED.into_iter().find(|list| path.starts_with(list));
    let fixed = fixed.map_or(0, |list| path[list.len()..].find('/').map_or(path.len(), |end| list.len() + end));
    let step = |step: &str| if is_index(step) { "*".to_owned() } else { step.to_owned() };
    format!("{}{}", &path[..fixed], path[fixed..].split('/').map(step).collect::<Vec<_>>().join("/"))
}

/// Whether a step of a path is an array's index (RFC 6901 section 4), or a member that looks like one.
pub(super) fn is_index(step: &str) -> bool {
    !step.is_empty() && step.bytes().all(|b| b.is_ascii_digit()) && (step == "0" || !step.starts_with('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_alike_is_of_one_family() {
        assert_eq!(Place::response("GET http://shop:80/orders/7?x", "status").route, "GET /orders/7");
        let seven = Place::response("GET /orders/7?full=1", "body/items/0/id");
        let nine = Place::response("GET /orders/9", "body/items/12/id");
        assert_eq!(seven.family(), nine.family());
        assert_eq!(seven.family().to_string(), "GET /orders/*  response/body/items/*/id");
        assert_ne!(seven.family(), Place::response("GET /orders/me", "body/items/0/id").family());
        let insert = |path| Place::request("POST /orders", "db", "INSERT orders", path).family().path;
        assert_eq!(insert("params/1"), "request/params/1", "another one is another column");
        assert_eq!(insert("params/1/lines/0/id"), "request/params/1/lines/*/id");
        assert_eq!(insert("target/path/2"), "request/target/path/2");
        assert_eq!(insert("body/0/params/1"), "request/body/*/params/*");
        let reserve = |id| Place::request("POST /orders", "stock", &format!("POST /reserve/{id}"), "header/x-id");
        assert_eq!(reserve("00ff00ff").family(), reserve("5f0c1a3e-8d0b-4b6e-9c55-0a1b2c3d4e5f").family());
    }

    #[test]
    fn a_covering_place_has_a_star_only_where_steps_differ() {
        let places = [Place::response("GET /orders/7", "body/0/id"), Place::response("GET /orders/9", "body/0/id")];
        assert_eq!(Place::covering(places.iter()).unwrap().to_string(), "GET /orders/*  response/body/0/id");
        assert_eq!(Place::covering(places[..1].iter()).as_ref(), Some(&places[0]));
        assert_eq!(Place::covering([].iter()), None);
    }

    #[test]
    fn status_and_whole_bodies_are_told_apart() {
        for (path, is_whole) in [
            ("status", true),
            ("body", true),
            ("...", true),
            ("body/", false),
            ("body/a", false),
            ("header/date", false),
        ] {
            assert_eq!(Place::response("GET /", path).is_whole(), is_whole, "{path}");
        }
    }
}
