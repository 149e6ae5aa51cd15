//! On which line of a cassette's file the thing is that a path names. Pure.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// The line (from 1) of what `path` (`response/body/total`, `downstream/0/request/header/accept`) names in the text of
/// a cassette, or of the nearest thing above it that is there. `None` where the text is no JSON.
pub(super) fn line(cassette: &str, path: &str) -> Option<usize> {
    let mut here: &RawValue = serde_json::from_str(cassette).ok()?;
    for step in steps(path) {
        let next = match &step {
            Step::Member(name) => member(here, name),
            Step::Header(name) => header(here, name),
        };
        let Some(next) = next else { break };
        here = next;
    }
    let offset = (here.get().as_ptr() as usize).checked_sub(cassette.as_ptr() as usize)?;
    Some(cassette.get(..offset)?.matches('\n').count() + 1)
}

/// One step down in a cassette.
enum Step {
    /// A member of an object, or an element of an array.
    Member(String),
    /// The header of this name, in lower case.
    Header(String),
}

/// The way from the top of a cassette to what a path names (`cassettes/FORMAT.md`).
fn steps(path: &str) -> Vec<Step> {
    let member = |name: &str| Step::Member(name.to_owned());
    let mut segments = path.split('/');
    let mut steps = match segments.next() {
        Some("response") => vec![member("entry"), member("response")],
        Some("downstream") => {
            let mut steps = vec![member("downstream")];
            steps.extend(segments.by_ref().take(2).map(member));
            steps
        }
        _ => vec![member("entry")],
    };
    match segments.next() {
        Some("status" | "method" | "target") => steps.push(member("start")),
        Some(list @ ("header" | "trailer")) => {
            steps.push(member(&format!("{list}s")));
            steps.extend(segments.next().map(|name| Step::Header(name.to_owned())));
        }
        Some("body") => {
            steps.extend([member("body"), member("json")]);
            // JSON Pointer, RFC 6901 section 4.
            steps.extend(segments.map(|name| Step::Member(name.replace("~1", "/").replace("~0", "~"))));
        }
        _ => {}
    }
    steps
}

fn member<'t>(of: &'t RawValue, name: &str) -> Option<&'t RawValue> {
    if of.get().starts_with('[') {
        let elements: Vec<&RawValue> = serde_json::from_str(of.get()).ok()?;
        return elements.get(name.parse::<usize>().ok()?).copied();
    }
    let members: BTreeMap<String, &RawValue> = serde_json::from_str(of.get()).ok()?;
    members.get(name).copied()
}

fn header<'t>(lines: &'t RawValue, name: &str) -> Option<&'t RawValue> {
    let lines: Vec<&RawValue> = serde_json::from_str(lines.get()).ok()?;
    lines.into_iter().find(|line| {
        let text: Option<String> = serde_json::from_str(line.get()).ok();
        text.is_some_and(|text| text.split(':').next().is_some_and(|found| found.trim().eq_ignore_ascii_case(name)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::cassette;

    fn named(path: &str) -> String {
        let text = regress_cassettes::render(&cassette());
        let line = line(&text, path).unwrap();
        text.lines().nth(line - 1).unwrap().trim().to_owned()
    }

    #[test]
    fn a_path_leads_to_its_line() {
        assert_eq!(named("response/body/total"), r#""total": 12.50"#);
        assert_eq!(named("response/status"), r#""start": "HTTP/1.1 201 Created","#);
        assert_eq!(named("response/header/content-type"), r#""Content-Type: application/json","#);
        assert_eq!(named("downstream/0/request/body/qty"), r#""qty": 2"#);
        assert_eq!(named("downstream/1/request/target"), r#""start": "GET /sku/1 HTTP/1.1","#);
    }

    #[test]
    fn what_is_not_there_leads_to_what_is_above_it() {
        assert_eq!(named("response/body/items/0"), r#""json": {"#);
        assert_eq!(named("response/header/x"), r#""headers": ["#);
        assert_eq!(named("downstream/7"), r#""downstream": ["#);
        assert_eq!(named("process"), r#""entry": {"#);
        assert_eq!(line("no cassette", "response"), None);
        assert_eq!(line("", ""), None);
    }
}
