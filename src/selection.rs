//! Which entries a recording keeps: flags and settings.

use regress_recorder::select::{Policy, Rate, Rule};
use serde::Deserialize;

use crate::output::Failure;

/// `[[select]]` in `regress.toml`: what is wanted of the entries of some routes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Select {
    /// Which entries, by method and path.
    route: String,
    /// None of them.
    #[serde(default)]
    never: bool,
    /// How many entries of each route, as `10/s`.
    rate: Option<String>,
    /// How many examples of each shape.
    keep: Option<u32>,
    /// Larger bodies are left out.
    max_body: Option<String>,
}

/// Of `[record]` in `regress.toml`, what holds for all routes.
#[derive(Clone, Debug, Default)]
pub struct ForAll<'a> {
    /// `sample`
    pub sample: Option<&'a str>,
    /// `distinct`
    pub distinct: Option<u32>,
    /// `max_body`
    pub max_body: Option<&'a str>,
    /// `max_in_flight`
    pub max_in_flight: Option<u32>,
    /// `force_header`
    pub force_header: Option<&'a str>,
    /// `keep_health_checks`
    pub keep_health_checks: bool,
}

/// Flags of `regress record`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct SelectionArgs {
    /// Keep so many entries of each route (method and path without ids), for example 10/s, 5/m or 100/h
    #[arg(long, value_name = "RATE", value_parser = parse_rate, env = "REGRESS_SAMPLE")]
    sample: Option<Rate>,
    /// Keep N examples of each shape of entry (5 where no number is given): same route, status, names and kinds in what was
    /// said, and calls of the same shapes
    #[arg(
        long,
        value_name = "N",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "5",
        value_parser = clap::value_parser!(u32).range(1..=10_000),
        env = "REGRESS_DISTINCT"
    )]
    distinct: Option<u32>,
    /// Leave out bodies that are larger, for example 256K: cassettes say what they lack, and replay as inconclusive
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes, env = "REGRESS_MAX_BODY")]
    max_body: Option<u64>,
    /// Leave out entries that begin while N are open
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), env = "REGRESS_MAX_IN_FLIGHT")]
    max_in_flight: Option<u32>,
    /// Entries with this header are kept whatever else is said (default: x-regress-record)
    #[arg(long, value_name = "NAME", value_parser = parse_header, env = "REGRESS_FORCE_HEADER")]
    force_header: Option<String>,
    /// Keep health checks as well, which are left out by default (docs/selection.md lists what they are)
    #[arg(long, env = "REGRESS_KEEP_HEALTH_CHECKS")]
    keep_health_checks: bool,
}

impl SelectionArgs {
    /// What is wanted, by flags before settings.
    ///
    /// # Errors
    /// When a setting says nothing sensible.
    pub fn policy(&self, all: &ForAll<'_>, select: &[Select]) -> Result<Policy, Failure> {
        let rules = select.iter().enumerate().map(|(at, rule)| rule.rule(at + 1)).collect::<Result<_, _>>()?;
        let of_record = |key: &str, what: String| wrong(format_args!("[record] {key}"), &what);
        let sample = all.sample.map(parse_rate).transpose().map_err(|what| of_record("sample", what))?;
        let max_body = all.max_body.map(parse_bytes).transpose().map_err(|what| of_record("max_body", what))?;
        let header = all.force_header.map(parse_header).transpose().map_err(|what| of_record("force_header", what))?;
        if all.distinct == Some(0) {
            return Err(of_record("distinct", "of each shape at least one example is kept".to_owned()));
        }
        if all.max_in_flight == Some(0) {
            return Err(of_record("max_in_flight", "at least one entry must be followed".to_owned()));
        }
        Ok(Policy {
            rules,
            rate: self.sample.or(sample),
            keep: self.distinct.or(all.distinct),
            max_body: self.max_body.or(max_body),
            max_in_flight: self.max_in_flight.or(all.max_in_flight),
            force_header: self.force_header.clone().or(header).unwrap_or_else(|| Policy::FORCE_HEADER.to_owned()),
            keep_health_checks: self.keep_health_checks || all.keep_health_checks,
        })
    }
}

impl Select {
    /// The rule that is the `number`th in the file.
    fn rule(&self, number: usize) -> Result<Rule, Failure> {
        let refused = |key: &str, what: &str| wrong(format_args!("[[select]] {number}, {key}"), what);
        if !self.route.contains(' ') {
            return Err(refused("route", "a route is a method and a path, each may be a pattern: `* /admin/*`"));
        }
        let says_more = self.rate.is_some() || self.keep.is_some() || self.max_body.is_some();
        if self.never && says_more {
            return Err(refused("never", "nothing else can be wanted of entries that are never kept"));
        }
        if !self.never && !says_more {
            return Err(refused("route", "the rule says nothing: give never, rate, keep or max_body"));
        }
        if self.keep == Some(0) {
            return Err(refused("keep", "of each shape at least one example is kept; `never = true` keeps none"));
        }
        Ok(Rule {
            route: self.route.clone(),
            never: self.never,
            rate: self.rate.as_deref().map(parse_rate).transpose().map_err(|what| refused("rate", &what))?,
            keep: self.keep,
            max_body: self
                .max_body
                .as_deref()
                .map(parse_bytes)
                .transpose()
                .map_err(|what| refused("max_body", &what))?,
        })
    }
}

fn wrong(place: impl std::fmt::Display, what: &str) -> Failure {
    Failure::new(format_args!("{place}: {what}")).hint("docs/selection.md says what it is")
}

fn parse_rate(text: &str) -> Result<Rate, String> {
    text.parse().map_err(str::to_owned)
}

/// A number of bytes, or one with `K`, `M` or `G` (of 1024).
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    const WRONG: &str = "a size is a number of bytes, or a number with K, M or G";
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim_end_matches("iB").to_ascii_uppercase().as_str() {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        _ => return Err(WRONG.to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| WRONG.to_owned())?;
    number.checked_mul(1 << shift).ok_or_else(|| WRONG.to_owned())
}

/// The name of a header.
pub fn parse_header(text: &str) -> Result<String, String> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_token) {
        Ok(text.to_owned())
    } else {
        Err("a header is named by letters, digits and dashes".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Policy, Failure> {
        #[derive(Deserialize)]
        struct File {
            select: Vec<Select>,
        }
        let file: File = toml::from_str(text).expect("the keys are known");
        SelectionArgs::default().policy(&ForAll::default(), &file.select)
    }

    #[test]
    fn rules_are_read() {
        let text = "[[select]]\nroute = \"GET /prices*\"\nrate = \"10/s\"\nkeep = 3\nmax_body = \"2K\"\n\
                    [[select]]\nroute = \"* /admin/*\"\nnever = true\n";
        let policy = read(text).map_err(|failure| format!("{failure:?}")).unwrap();
        assert_eq!(policy.rules[0].rate, "10/s".parse().ok());
        assert_eq!((policy.rules[0].keep, policy.rules[0].max_body), (Some(3), Some(2048)));
        assert!(policy.rules[1].never);
    }

    #[test]
    fn rules_that_say_nothing_sensible_are_refused() {
        for rule in [
            "route = \"GET /\"",
            "route = \"/prices\"\nkeep = 1",
            "route = \"GET /\"\nkeep = 0",
            "route = \"GET /\"\nrate = \"often\"",
            "route = \"GET /\"\nmax_body = \"2 K\"",
            "route = \"GET /\"\nnever = true\nkeep = 1",
        ] {
            assert!(read(&format!("[[select]]\n{rule}\n")).is_err(), "{rule}");
        }
    }

    #[test]
    fn flags_go_before_settings() {
        let args = SelectionArgs { distinct: Some(2), ..SelectionArgs::default() };
        let all = ForAll { distinct: Some(9), max_body: Some("1K"), sample: Some("1/s"), ..ForAll::default() };
        let policy = args.policy(&all, &[]).map_err(|failure| format!("{failure:?}")).unwrap();
        assert_eq!((policy.keep, policy.max_body, policy.rate), (Some(2), Some(1024), "1/s".parse().ok()));
        assert!(args.policy(&ForAll { distinct: Some(0), ..ForAll::default() }, &[]).is_err());
    }

    #[test]
    fn headers() {
        assert_eq!(parse_header("X-Order_Key"), Ok("X-Order_Key".to_owned()));
        for wrong in ["", "x y", "x:", "é"] {
            assert!(parse_header(wrong).is_err(), "{wrong}");
        }
    }
}
