//! The report for a browser: one file that loads nothing. `html/` has the page, its style and its script; the data is
//! JSON in a script element that is never run. A policy in the page lets no script, style or request in but its own.

use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{json, text};
use crate::{NotDriven, Report, Side, Sides, Verdict, groups::Group};

const PAGE: &str = include_str!("html/page.html");
const STYLE: &str = include_str!("html/style.css");
const SCRIPT: &str = include_str!("html/script.js");

/// What a page may hold, so that a browser still opens it.
#[derive(Clone, Copy, Debug)]
struct Room {
    /// The most entries that were the same.
    same: usize,
    /// The most other entries.
    others: usize,
    /// The most bytes of the details of entries, about.
    details: usize,
    /// The most causes.
    groups: usize,
}

const ROOM: Room = Room { same: 5_000, others: 20_000, details: 24 << 20, groups: 2_000 };

/// The report as one HTML page. It shows thousands of entries; what it leaves out beyond that, it says.
pub fn html(report: &Report) -> String {
    within(report, ROOM)
}

fn within(report: &Report, room: Room) -> String {
    let summary = report.summary();
    let verdict = report.verdict().word();
    let heading = format!("regress replay: <span class=\"tag {verdict}\">{verdict}</span>");
    let entries = if summary.total == 1 { "entry" } else { "entries" };
    let counts = format!(
        "{} {entries}: {} same, {} different, {} inconclusive",
        summary.total, summary.same, summary.different, summary.inconclusive
    );
    let slots = [
        ("SCRIPT-HASH", hash(SCRIPT)),
        ("STYLE-HASH", hash(STYLE)),
        ("TITLE", format!("{verdict}: regress replay of {} {entries}", summary.total)),
        ("STYLE", STYLE.to_owned()),
        ("HEADING", heading),
        ("SUMMARY", counts),
        ("DATA", in_script(&data(report, room))),
        ("SCRIPT", SCRIPT.to_owned()),
    ];
    let mut out = String::new();
    let mut rest = PAGE;
    // One pass, in the order of the page: what is put in is not looked at again.
    for (name, content) in slots {
        let (before, after) = rest.split_once(&format!("@@{name}@@")).expect("html/page.html has every slot, in order");
        out += before;
        out += &content;
        rest = after;
    }
    out + rest
}

/// What the script shows: the JSON report with the messages in it.
fn data(report: &Report, room: Room) -> Value {
    let mut whole = json::value(report);
    let groups = report.groups();
    let mut left_out = Vec::new();
    whole["groups"] = groups.iter().take(room.groups).map(cause).collect();
    if groups.len() > room.groups {
        left_out.push(format!("{} causes are left out of this page", groups.len() - room.groups));
    }
    let group_of = group_of(&groups);
    whole["not_driven"] = report.not_driven.iter().take(text::NOT_DRIVEN).map(not_driven).collect();

    let outcomes = std::mem::take(&mut whole["outcomes"]);
    let Value::Array(outcomes) = outcomes else { return whole };
    let (mut same, mut others, mut details, mut reduced) = (0, 0, 0, 0);
    let mut kept = Vec::new();
    for (number, (mut value, outcome)) in outcomes.into_iter().zip(&report.outcomes).enumerate() {
        let (count, most) = match outcome.verdict {
            Verdict::Same => (&mut same, room.same),
            Verdict::Different | Verdict::Inconclusive => (&mut others, room.others),
        };
        *count += 1;
        if *count > most {
            continue;
        }
        value["route"] = json!(super::route(&outcome.file));
        if let Some(sides) = &outcome.sides {
            value["sides"] = sides.iter().map(pair).collect();
        }
        if let Some(differences) = value["differences"].as_array_mut() {
            for difference in differences {
                let id = group_of.get(&(number, difference["path"].as_str().unwrap_or_default()));
                difference["group"] = json!(id);
            }
        }
        details += value.to_string().len();
        if details > room.details {
            reduced += 1;
            value = summed_up(value);
        }
        kept.push(value);
    }
    let beyond =
        [(same.saturating_sub(room.same), "that were the same"), (others.saturating_sub(room.others), "that were not")];
    left_out.extend(
        beyond
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, which)| format!("{count} entries {which} are left out of this page")),
    );
    if reduced > 0 {
        left_out.push(format!(
            "the details of {reduced} entries are left out of this page; the json report has their differences"
        ));
    }
    whole["outcomes"] = Value::Array(kept);
    whole["left_out"] = json!(left_out);
    whole
}

fn cause(group: &Group) -> Value {
    json!({
        "id": group.id, "severity": group.severity.word(), "follows": group.follows,
        "subject": group.subject(), "what": group.what(), "entries": group.entries(),
    })
}

fn not_driven(entry: &NotDriven) -> Value {
    json!({"cassette": entry.cassette.0, "route": super::route(&entry.file)})
}

/// The group of each difference, by entry and path.
fn group_of(groups: &[Group]) -> BTreeMap<(usize, &str), &str> {
    let places = groups.iter().flat_map(|group| group.places.iter().map(move |place| (group, place)));
    places.map(|(group, place)| ((place.entry, place.spot.path.as_str()), group.id.as_str())).collect()
}

fn pair(sides: &Sides) -> Value {
    let side = |side: &Side| json!({"head": side.head, "body": side.body, "left_out": side.left_out});
    json!({"path": sides.path, "expected": sides.expected.as_ref().map(side), "actual": sides.actual.as_ref().map(side)})
}

/// What the list shows of an entry.
fn summed_up(value: Value) -> Value {
    let kept = ["cassette", "file", "route", "entry", "verdict", "microseconds", "groups"];
    let mut short: Value = kept.iter().map(|key| ((*key).to_owned(), value[key].clone())).collect();
    short["reduced"] = json!(true);
    short
}

/// JSON in which nothing can end the script element, and nothing hides or reorders what stands beside it in an editor.
fn in_script(data: &Value) -> String {
    let text = data.to_string();
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let is_plain = c == ' ' || c.is_ascii_graphic() && !matches!(c, '<' | '>' | '&') || c.is_alphanumeric();
        if is_plain {
            out.push(c);
        } else {
            // Outside strings JSON has only plain characters here, so each of these is inside one.
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| out += &format!("\\u{unit:04x}"));
        }
    }
    out
}

/// How a policy names a script or a style by its content (CSP 3, section 2.3.1).
fn hash(content: &str) -> String {
    format!("sha256-{}", BASE64_STANDARD.encode(Sha256::digest(content)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Finding, report::samples};

    fn data_of(page: &str) -> Value {
        let (_, rest) = page.split_once(r#"<script type="application/json" id="data">"#).unwrap();
        serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
    }

    #[test]
    fn as_html() {
        let page = html(&samples::report());
        let (head, rest) = page.split_once("<style>").unwrap();
        let (_, rest) = rest.split_once("</style>").unwrap();
        let (body, _) = rest.split_once(r#"<script type="application/json""#).unwrap();
        insta::assert_snapshot!(format!("{head}<style>…</style>{body}\n{:#}", data_of(&page)));
    }

    #[test]
    fn what_comes_from_outside_stays_data() {
        let mut report = samples::report();
        let hostile = "</script><script>alert(1)</script><!-- \u{202e}\u{2028}\u{0}\u{1F600} @@SCRIPT@@ &amp;";
        report.outcomes[1].entry = hostile.to_owned();
        let page = html(&report);
        assert_eq!(page.matches("</script>").count(), 2);
        assert_eq!(page.matches("<!--").count(), 0);
        assert!(!page.contains(['\u{202e}', '\u{2028}', '\u{0}']));
        assert_eq!(data_of(&page)["outcomes"][1]["entry"], hostile);
    }

    #[test]
    fn what_is_left_out_is_said() {
        let report = samples::report();
        let all = data(&report, ROOM);
        assert_eq!(all["left_out"], json!([]));
        let room = Room { same: 0, others: 3, details: 3_900, groups: 2 };
        let some = data(&report, room);
        let kept = some["outcomes"].as_array().unwrap();
        assert_eq!((kept.len(), some["groups"].as_array().unwrap().len()), (3, 2));
        assert_eq!(kept.iter().filter(|one| one["reduced"] == json!(true)).count(), 2);
        insta::assert_snapshot!(format!("{:#}", some["left_out"]));
    }

    #[test]
    fn each_difference_knows_its_group() {
        let report = samples::report();
        let data = data(&report, ROOM);
        for (entry, outcome) in report.outcomes.iter().enumerate() {
            for (number, difference) in data["outcomes"][entry]["differences"].as_array().unwrap().iter().enumerate() {
                let Some(id) = difference["group"].as_str() else {
                    assert!(!difference["noise"].is_null());
                    continue;
                };
                let group = report.groups().into_iter().find(|group| group.id == id).unwrap();
                let spots: Vec<_> = outcome.findings.iter().flat_map(Finding::spots).collect();
                assert!(group.places.iter().any(|place| place.entry == entry && place.spot == spots[number]));
            }
        }
    }
}
