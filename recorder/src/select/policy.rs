//! What is wanted of a recording.

use regress_cassettes::glob;

use super::Rate;

/// How many examples of a shape are kept where only `keep` without a number says so.
const EXAMPLES: u32 = 5;

/// What is wanted of a recording. By default everything but health checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// For single routes; the first that fits an entry is its rule.
    pub rules: Vec<Rule>,
    /// How many entries of each route, where its rule says nothing else.
    pub rate: Option<Rate>,
    /// How many examples of each shape, where the rule of its route says nothing else.
    pub keep: Option<u32>,
    /// Larger bodies, in bytes, are left out of cassettes, where the rule of the route says nothing else.
    pub max_body: Option<u64>,
    /// Entries that begin while so many are open are left out.
    pub max_in_flight: Option<u32>,
    /// Entries that have this header are kept whatever else is said.
    pub force_header: String,
    /// Whether health checks are kept.
    pub keep_health_checks: bool,
}

/// What is wanted of the entries of some routes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Which entries: a pattern for method and path, `POST /orders*` ([`regress_cassettes::glob`]).
    pub route: String,
    /// None of them.
    pub never: bool,
    /// How many entries of each route.
    pub rate: Option<Rate>,
    /// How many examples of each shape.
    pub keep: Option<u32>,
    /// Larger bodies, in bytes, are left out of cassettes.
    pub max_body: Option<u64>,
}

/// What holds for one entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub never: bool,
    pub rate: Option<Rate>,
    pub keep: Option<u32>,
    pub max_body: Option<u64>,
}

impl Policy {
    /// The header that forces an entry to be kept, unless another one is named.
    pub const FORCE_HEADER: &'static str = "x-regress-record";

    /// How many examples of a shape are kept where no number is given.
    pub const EXAMPLES: u32 = EXAMPLES;

    /// What holds for an entry of this method and path.
    pub(super) fn wanted(&self, method: &str, path: &str) -> Wanted {
        let route = format!("{method} {path}");
        let rule = self.rules.iter().find(|rule| glob(&rule.route, &route));
        Wanted {
            never: rule.is_some_and(|rule| rule.never),
            rate: rule.and_then(|rule| rule.rate).or(self.rate),
            keep: rule.and_then(|rule| rule.keep).or(self.keep),
            max_body: rule.and_then(|rule| rule.max_body).or(self.max_body),
        }
    }
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            rules: Vec::new(),
            rate: None,
            keep: None,
            max_body: None,
            max_in_flight: None,
            force_header: Policy::FORCE_HEADER.to_owned(),
            keep_health_checks: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_fits_goes_before_what_holds_for_all() {
        let rule = |route: &str, keep| Rule { route: route.to_owned(), keep: Some(keep), ..Rule::default() };
        let never = Rule { route: "* /admin/*".to_owned(), never: true, ..Rule::default() };
        let rules = vec![rule("POST /orders*", 1), rule("* /orders*", 2), never];
        let rate = "1/s".parse().ok();
        let policy = Policy { rules, rate, keep: Some(9), ..Policy::default() };
        let keep = |method, path| policy.wanted(method, path).keep;
        assert_eq!(keep("POST", "/orders/7"), Some(1));
        assert_eq!(keep("GET", "/orders/7"), Some(2));
        assert_eq!(keep("GET", "/other"), Some(9));
        assert!(policy.wanted("GET", "/admin/x").never && !policy.wanted("GET", "/x").never);
        assert_eq!(policy.wanted("GET", "/orders").rate, rate, "the rule says nothing of it");
    }
}
