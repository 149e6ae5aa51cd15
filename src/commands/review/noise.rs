//! Accepting as noise: the rules that let a cause pass.

use std::path::Path;

use regress_cassettes::diff::RuleText;
use regress_replayer::{
    groups::{Group, operation},
    noise_rule::{self, NoRule},
    report::shown,
    review::Proposal,
};

use crate::{
    config::rules_file,
    output::{self, Failure},
};

/// Why a rule is there, for whoever reads the settings.
const WHY: &str = "accepted as noise in a review";

/// The rules that let a group of what waits pass.
pub(super) fn rules(proposals: &[Proposal], group: &Group) -> Result<Vec<RuleText>, NoRule> {
    let routes = group.entry_numbers().map(|entry| operation(&proposals[entry].entry()));
    noise_rule::rules(group, routes, WHY)
}

/// The rules for several groups.
pub(super) fn rules_of(proposals: &[Proposal], groups: &[&Group]) -> Result<Vec<RuleText>, Failure> {
    let mut all = Vec::new();
    for group in groups {
        all.extend(rules(proposals, group).map_err(|why| {
            Failure::new(format_args!("{} cannot be noise: {why}", shown(&group.subject())))
                .hint("accept or reject it, or write a rule by hand: docs/configuration.md")
        })?);
    }
    Ok(all)
}

/// Add rules to the settings, and say so.
pub(super) fn allow(file: &Path, rules: &[RuleText]) -> Result<(), Failure> {
    if !rules.is_empty() {
        let added = rules_file::append(file, rules)?;
        let word = if added == 1 { "rule" } else { "rules" };
        output::say(format_args!("{added} {word} added to {}", file.display()));
    }
    Ok(())
}
