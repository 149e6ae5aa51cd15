//! The rules of `regress.toml` where an entry is judged, and how often they were of use.

use regress_cassettes::{
    Cassette, Exchange,
    diff::{Applied, Difference, Lens, Noise, Rule, Rules},
};
use regress_protocols::Request;

use crate::{CallChange, CallFinding, Finding, Outcome, judge};

/// The rules as they are for one entry.
#[derive(Clone, Debug)]
pub(crate) struct EntryRules<'a> {
    rules: &'a Rules,
    route: Option<String>,
}

impl<'a> EntryRules<'a> {
    /// The rules for the entry of a cassette.
    pub(crate) fn of(rules: &'a Rules, cassette: &Cassette) -> EntryRules<'a> {
        let entry = cassette.entry.as_ref().and_then(Exchange::request);
        EntryRules { rules, route: entry.map(|request| request.operation().to_string()) }
    }

    /// How its response is looked at.
    pub(crate) fn response(&self) -> Lens<'static> {
        let rules = self.route.as_deref().map(|route| self.rules.for_response(route));
        Lens::of(rules.unwrap_or_default())
    }

    /// How the answer of a downstream to that request is looked at.
    pub(crate) fn answer<'r>(&self, request: impl Into<Request<'r>>) -> Lens<'static> {
        Lens::of(self.rules.schemas().of_response(request))
    }

    /// What is known of a request, whatever the rules say.
    pub(crate) fn schema<'r>(&self, request: impl Into<Request<'r>>) -> Applied {
        self.rules.schemas().of_request(request)
    }

    /// How a call to the downstream of that name is looked at.
    pub(crate) fn call<'r>(&self, downstream: &str, request: impl Into<Request<'r>>) -> Lens<'static> {
        let request = request.into();
        Lens::of(match self.rules.is_empty() {
            true => self.rules.schemas().of_request(request),
            false => self.rules.for_request(self.route.as_deref(), downstream, &request.operation().to_string()),
        })
    }
}

/// What a rule was good for in a replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleUse {
    /// The rule in one line.
    pub rule: String,
    /// Its path.
    pub path: String,
    /// What it lets pass: `ignore`, `tolerance`, ...
    pub effect: String,
    /// Why, where it says so.
    pub why: Option<String>,
    /// How many differences it let pass.
    pub fired: usize,
    /// How many responses and recorded calls of the entries that were replayed it is for.
    pub selected: usize,
}

impl RuleUse {
    /// Whether it was good for nothing.
    pub fn is_stale(&self) -> bool {
        self.fired == 0
    }
}

/// The rules that are for the response and for the recorded calls of an entry, one after the other.
pub(crate) fn selected(rules: &Rules, cassette: &Cassette) -> Vec<usize> {
    if rules.is_empty() {
        return Vec::new();
    }
    let entry = EntryRules::of(rules, cassette);
    let calls = cassette.downstream.iter().filter_map(|call| Some((call, call.http()?)));
    let calls = calls.map(|(call, http)| entry.call(&judge::downstream(call), &http.request));
    std::iter::once(entry.response()).chain(calls).flat_map(|lens| lens.rules.indexes().to_vec()).collect()
}

/// What each rule was good for, over the entries that were driven, each with what [`selected`] says of it.
pub(crate) fn uses<'a>(rules: &Rules, played: impl Iterator<Item = (&'a [usize], &'a Outcome)>) -> Vec<RuleUse> {
    let one = |rule: &Rule| RuleUse {
        rule: rule.to_string(),
        path: rule.text().path.clone(),
        effect: rule.text().effect.clone(),
        why: rule.text().why.clone(),
        fired: 0,
        selected: 0,
    };
    let mut uses: Vec<RuleUse> = rules.iter().map(one).collect();
    if uses.is_empty() {
        return uses;
    }
    for (selected, outcome) in played.filter(|(_, outcome)| outcome.took.is_some()) {
        selected.iter().for_each(|rule| uses[*rule].selected += 1);
        for difference in outcome.findings.iter().chain(&outcome.excused).flat_map(differences) {
            if let Some(Noise::Rule(rule)) = difference.noise {
                uses[rule].fired += 1;
            }
        }
    }
    uses
}

fn differences(finding: &Finding) -> &[Difference] {
    match finding {
        Finding::Response(difference) => std::slice::from_ref(difference),
        Finding::Call(CallFinding { change: CallChange::Changed(differences), .. }) => differences,
        Finding::Call(_) | Finding::Ended { .. } | Finding::Exited(_) => &[],
    }
}
