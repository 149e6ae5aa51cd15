use serde_json::Value;

use crate::{
    harness::{Need, require},
    services::ledger::{Build, Ledger},
};

const BUILDS: &[Build] = &[
    ("none", &[]),
    ("other-paid", &[("downstream", "downstream/1/request/body/order")]),
    ("other-told", &[("response", "response/body/number")]),
    ("amount", &[("downstream", "downstream/0/request/body/amount"), ("response", "response/body/amount")]),
];

#[test]
fn a_number_that_is_drawn_anew_is_learned_and_asserted() {
    if !require("drawn::ledger", &[Need::Python, Need::Sandbox]) {
        return;
    }
    let ledger = Ledger::record("/orders", &[100, 9900]);
    ledger.replay("none", &["--no-pending"], 1);

    let learned = ledger.learn();
    let mut rules: Vec<_> = learned["proposals"].as_array().expect("a list").iter().map(rule).collect();
    rules.sort_unstable();
    let order = |operation| (operation, "request/body/order", "generated");
    assert_eq!(rules, [("", "response/body/number", "generated"), order("POST /pay"), order("POST /reserve")]);

    ledger.hold(BUILDS);
    ledger.replay("none", &["--no-pending", "--max-rung", "noise"], 1);

    // What is accepted beside the number leaves it as it was recorded.
    ledger.replay("amount", &["--update"], 1);
    assert_eq!(ledger.replay("amount", &["--no-pending"], 0).summary.same, 2);
    ledger.replay("none", &["--no-pending"], 1);
}

/// Operation, path and `as` of a proposal.
fn rule(proposal: &Value) -> (&str, &str, &str) {
    let text = |name: &str| proposal["rule"][name].as_str().unwrap_or_default();
    (text("operation"), text("path"), text("as"))
}
