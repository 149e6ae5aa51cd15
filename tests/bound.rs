use crate::{
    harness::{Need, require},
    services::ledger::{Build, Ledger},
};

const BUILDS: &[Build] = &[
    ("none", &[]),
    ("other-id", &[("downstream", "downstream/1/request/body/of")]),
    ("one-key", &[("downstream", "downstream/0/request/body/key")]),
    ("lasts-longer", &[("downstream", "downstream/0/request/body/expires")]),
    ("amount", &[("downstream", "downstream/0/request/body/amount")]),
    ("wrong-answer", &[("response", "response/body/booking")]),
];

#[test]
fn what_a_service_makes_anew_is_the_same_and_what_it_confuses_is_not() {
    if !require("bound::ledger", &[Need::Python, Need::Sandbox]) {
        return;
    }
    // Three bookings, two of them alike.
    let ledger = Ledger::record("/bookings", &[100, 9900, 100]);
    ledger.hold(BUILDS);
    ledger.replay("none", &["--no-pending", "--max-rung", "exact"], 1);

    // Every entry has the tenant, which is therefore no value that was made for one of them.
    let report = ledger.replay("other-tenant", &["--no-pending"], 1);
    let different = report.outcomes.iter().filter(|outcome| outcome.verdict == "different");
    assert!(different.count() >= report.outcomes.len() - 1, "{report:?}");

    ledger.replay("amount", &["--update"], 1);
    let same = ledger.replay("amount", &["--no-pending"], 0).summary.same;
    assert_eq!(same, 3, "what was accepted is no value of one run");
    ledger.replay("none", &["--no-pending"], 1);
}
