//! Rules of `regress.toml`: what else is a secret, and what is none.

use std::ops::Range;

use regex::bytes::Regex;
use serde::Deserialize;

use super::report::Kind;
use crate::glob;

/// A rule as written. One of its selectors says where the secret stands.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RuleText {
    /// A header or trailer of this name.
    pub header: Option<String>,
    /// A cookie of this name.
    pub cookie: Option<String>,
    /// A parameter of this name in the query of a target.
    pub query: Option<String>,
    /// A member, form field, part, column or name of this name, wherever it stands in a message.
    pub field: Option<String>,
    /// A place in a JSON body: a JSON Pointer (RFC 6901) in which `*` is any one step.
    pub pointer: Option<String>,
    /// A place in a value of another protocol: `request/args/1`, in which `*` is any one step.
    pub value: Option<String>,
    /// A regular expression; of its first group, if it has one, else all that it matches.
    pub pattern: Option<String>,
    /// Only in exchanges with downstreams of this name.
    pub downstream: Option<String>,
    /// Only in entries of this method and path, and in what they caused.
    pub route: Option<String>,
    /// Whether it is none: it stays.
    pub keep: bool,
    /// Why.
    pub why: Option<String>,
}

/// Why a rule says nothing sensible, and how it is put right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("redaction rule {number}: {what}")]
pub struct RuleError {
    number: usize,
    what: String,
    hint: &'static str,
}

impl RuleError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        self.hint
    }
}

/// The rules of a project.
#[derive(Clone, Debug, Default)]
pub struct Rules(Vec<Rule>);

#[derive(Clone, Debug)]
struct Rule {
    selector: Selector,
    downstream: Option<String>,
    route: Option<String>,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Selector {
    Header(String),
    Cookie(String),
    Query(String),
    Field(String),
    Pointer(Vec<String>),
    Value(Vec<String>),
    Pattern(Regex),
}

impl Rules {
    /// The rules as read from a file.
    ///
    /// # Errors
    /// The first one that says nothing sensible.
    pub fn new(texts: Vec<RuleText>) -> Result<Rules, RuleError> {
        let rule = |(index, text): (usize, RuleText)| {
            Rule::new(text).map_err(|(what, hint)| RuleError { number: index + 1, what, hint })
        };
        texts.into_iter().enumerate().map(rule).collect::<Result<_, _>>().map(Rules)
    }

    /// Whether any says that something stays.
    pub(super) fn keep_anything(&self) -> bool {
        self.0.iter().any(|rule| rule.kind == Kind::Kept)
    }

    /// Those that are for an exchange of an entry with that route (method and path).
    pub(super) fn of(&self, route: Option<&str>, downstream: Option<&str>) -> Applied<'_> {
        let is_for = |pattern: &Option<String>, text: Option<&str>| {
            pattern.as_ref().is_none_or(|pattern| text.is_some_and(|text| glob(pattern, text)))
        };
        let rules = self.0.iter().filter(|rule| is_for(&rule.route, route) && is_for(&rule.downstream, downstream));
        Applied(rules.collect())
    }
}

impl Rule {
    fn new(text: RuleText) -> Result<Rule, (String, &'static str)> {
        let selectors = [
            text.header.map(Selector::Header),
            text.cookie.map(Selector::Cookie),
            text.query.map(Selector::Query),
            text.field.map(Selector::Field),
            text.pointer.map(|path| pointer(&path)).transpose()?,
            text.value.map(|path| value(&path)).transpose()?,
            text.pattern.map(|pattern| expression(&pattern)).transpose()?,
        ];
        let mut selectors = selectors.into_iter().flatten();
        let (Some(selector), None) = (selectors.next(), selectors.next()) else {
            return Err((
                "it has not exactly one selector".to_owned(),
                "give one of header, cookie, query, field, pointer, value, pattern (docs/redaction.md)",
            ));
        };
        if let Selector::Header(name) | Selector::Cookie(name) | Selector::Query(name) | Selector::Field(name) =
            &selector
            && name.is_empty()
        {
            return Err(("its name is empty".to_owned(), "a selector is the name behind which the secret stands"));
        }
        let kind = if text.keep { Kind::Kept } else { Kind::Rule };
        Ok(Rule { selector, downstream: text.downstream, route: text.route, kind })
    }
}

fn pointer(path: &str) -> Result<Selector, (String, &'static str)> {
    let Some(steps) = path.strip_prefix('/') else {
        return Err((format!("{path:?} is no JSON Pointer"), "begin it with a slash: /user/password"));
    };
    Ok(Selector::Pointer(steps.split('/').map(|step| step.replace("~1", "/").replace("~0", "~")).collect()))
}

fn value(path: &str) -> Result<Selector, (String, &'static str)> {
    let steps: Vec<String> = path.split('/').map(str::to_owned).collect();
    if !matches!(&*steps[0], "request" | "response") || steps.len() < 2 {
        return Err((
            format!("{path:?} is no place in a request or a response"),
            "begin it with request/ or response/: request/args/1 (docs/protocols.md says what is where)",
        ));
    }
    Ok(Selector::Value(steps))
}

fn expression(pattern: &str) -> Result<Selector, (String, &'static str)> {
    let no_text =
        "give an expression that matches the secret and nothing else; docs.rs/regex says how they are written";
    match Regex::new(pattern) {
        Ok(expression) if expression.is_match(b"") => Err((format!("{pattern:?} matches nothing at all"), no_text)),
        Ok(expression) => Ok(Selector::Pattern(expression)),
        Err(error) => Err((format!("{pattern:?} is no regular expression: {error}"), no_text)),
    }
}

/// The rules that are for one exchange.
#[derive(Clone, Debug, Default)]
pub(super) struct Applied<'r>(Vec<&'r Rule>);

impl<'r> Applied<'r> {
    fn find(&self, is: impl Fn(&'r Selector) -> bool) -> Option<Kind> {
        self.0.iter().find(|rule| is(&rule.selector)).map(|rule| rule.kind)
    }

    pub fn header(&self, name: &[u8]) -> Option<Kind> {
        self.find(
            |selector| matches!(selector, Selector::Header(wanted) if name.eq_ignore_ascii_case(wanted.as_bytes())),
        )
    }

    pub fn cookie(&self, name: &[u8]) -> Option<Kind> {
        self.find(|selector| matches!(selector, Selector::Cookie(wanted) if name == wanted.as_bytes()))
    }

    pub fn query(&self, name: &[u8]) -> Option<Kind> {
        self.find(|selector| matches!(selector, Selector::Query(wanted) if name == wanted.as_bytes()))
    }

    pub fn field(&self, name: &[u8]) -> Option<Kind> {
        self.find(
            |selector| matches!(selector, Selector::Field(wanted) if name.eq_ignore_ascii_case(wanted.as_bytes())),
        )
    }

    pub fn has_fields(&self) -> bool {
        self.0.iter().any(|rule| matches!(rule.selector, Selector::Field(_)))
    }

    pub fn value(&self, path: &[String]) -> Option<Kind> {
        self.find(
            |selector| matches!(selector, Selector::Value(steps) if is_at(steps, path.iter().map(String::as_bytes))),
        )
    }

    pub fn has_values(&self) -> bool {
        self.0.iter().any(|rule| matches!(rule.selector, Selector::Value(_)))
    }

    pub fn has_patterns(&self) -> bool {
        self.0.iter().any(|rule| matches!(rule.selector, Selector::Pattern(_)))
    }

    /// What expressions match, with the kind that it is then.
    pub fn patterns(&self, text: &[u8]) -> Vec<(Kind, Range<usize>)> {
        let mut found = Vec::new();
        for rule in &self.0 {
            let Selector::Pattern(expression) = &rule.selector else { continue };
            for captures in expression.captures_iter(text) {
                let secret = captures.get(1).or(captures.get(0)).map(|found| found.range());
                found.extend(secret.filter(|range| !range.is_empty()).map(|range| (rule.kind, range)));
            }
        }
        found
    }

    /// Who follows where in a JSON text one is, if any rule asks.
    pub fn pointer(&self) -> Option<Pointer<'r>> {
        let rules: Vec<(&[String], Kind)> = self
            .0
            .iter()
            .filter_map(|rule| match &rule.selector {
                Selector::Pointer(steps) => Some((&steps[..], rule.kind)),
                _ => None,
            })
            .collect();
        (!rules.is_empty()).then(|| Pointer { rules, levels: Vec::new() })
    }
}

fn is_at<'p>(pattern: &[String], path: impl ExactSizeIterator<Item = &'p [u8]>) -> bool {
    pattern.len() == path.len()
        && pattern.iter().zip(path).all(|(wanted, step)| wanted == "*" || wanted.as_bytes() == step)
}

/// Where in a JSON text one is.
pub(super) struct Pointer<'r> {
    rules: Vec<(&'r [String], Kind)>,
    levels: Vec<Level>,
}

struct Level {
    step: Vec<u8>,
    /// In an array, the number of the item.
    index: Option<u64>,
}

impl Pointer<'_> {
    /// Goes on by a character outside of strings.
    pub fn step(&mut self, byte: u8) {
        match byte {
            b'{' => self.levels.push(Level { step: Vec::new(), index: None }),
            b'[' => self.levels.push(Level { step: b"0".to_vec(), index: Some(0) }),
            b'}' | b']' => drop(self.levels.pop()),
            b',' => {
                if let Some(Level { step, index: Some(index) }) = self.levels.last_mut() {
                    *index += 1;
                    *step = index.to_string().into_bytes();
                }
            }
            _ => {}
        }
    }

    /// Goes on to a member.
    pub fn key(&mut self, name: &[u8]) {
        if let Some(level) = self.levels.last_mut() {
            level.step = name.to_vec();
        }
    }

    /// What a rule says of the value here.
    pub fn here(&self) -> Option<Kind> {
        let path = || self.levels.iter().map(|level| &level.step[..]);
        self.rules.iter().find(|(steps, _)| is_at(steps, path())).map(|(_, kind)| *kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> Result<Rules, RuleError> {
        Rules::new(vec![toml::from_str(text).unwrap()])
    }

    #[test]
    fn a_rule_that_says_nothing_sensible_is_refused_with_a_hint() {
        for (text, what) in [
            ("", "redaction rule 1: it has not exactly one selector"),
            ("header = 'a'\nfield = 'b'", "redaction rule 1: it has not exactly one selector"),
            ("header = ''", "redaction rule 1: its name is empty"),
            ("pointer = 'a/b'", "redaction rule 1: \"a/b\" is no JSON Pointer"),
            ("value = 'args/1'", "redaction rule 1: \"args/1\" is no place in a request or a response"),
            ("pattern = 'a*'", "redaction rule 1: \"a*\" matches nothing at all"),
        ] {
            let error = rule(text).unwrap_err();
            assert_eq!(error.to_string(), what);
            assert!(!error.hint().is_empty());
        }
        assert!(rule("pattern = '('").unwrap_err().to_string().contains("is no regular expression"));
        assert!(toml::from_str::<RuleText>("path = 'x'").is_err());
    }

    #[test]
    fn rules_are_for_exchanges() {
        let rules = rule("header = 'X-Tenant'\ndownstream = 'bill*'\nroute = 'POST /orders*'").unwrap();
        let says = |route, downstream| rules.of(route, downstream).header(b"x-tenant");
        assert_eq!(says(Some("POST /orders/1"), Some("billing")), Some(Kind::Rule));
        assert_eq!(says(Some("POST /orders/1"), Some("stock")), None);
        assert_eq!(says(Some("POST /orders/1"), None), None);
        assert_eq!(says(None, Some("billing")), None);
    }
}
