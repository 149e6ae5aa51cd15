//! What is left out by choice, and what a pause cuts off.

use super::*;
use crate::select::{LeftOut, Policy, Reason};

fn selecting(policy: Policy) -> Script {
    Script::with(Scope { select: policy, ..scope() })
}

#[test]
fn calls_go_with_the_entry_that_is_left_out() {
    let mut script = selecting(Policy { keep: Some(1), ..Policy::default() });
    for (socket, path) in [(1, "/orders/1"), (3, "/orders/2"), (5, "/healthz")] {
        script
            .accept(socket)
            .receive(7, socket, &get(path))
            .call(7, socket + 1, "/stock")
            .send(7, socket, OK)
            .wait(600);
    }
    assert_eq!(target(script.cassette().entry.as_ref().unwrap()), "/orders/1");
    assert_eq!(script.ambient().len(), 0, "{:#?}", script.out);
    let left_out = LeftOut::from_iter([(Reason::HealthCheck, 1), (Reason::Shape, 1)]);
    assert_eq!(script.pipeline.left_out(), &left_out);
    assert_eq!(script.pipeline.waiting, 0);
}

#[test]
fn what_is_left_out_does_not_count_for_the_wanted_number() {
    let mut script = Script::with(Scope { max_entries: Some(1), ..scope() });
    script.accept(1).receive(7, 1, &get("/healthz")).send(7, 1, OK).wait(600);
    assert!(!script.pipeline.is_full());
    script.receive(7, 1, &get("/orders")).send(7, 1, OK).wait(600);
    assert!(script.pipeline.is_full());
    assert_eq!(target(script.cassette().entry.as_ref().unwrap()), "/orders");
}

#[test]
fn so_many_are_in_flight_until_they_are_answered() {
    let mut script = selecting(Policy { max_in_flight: Some(1), ..Policy::default() });
    script.accept(1).receive(7, 1, &get("/one")).accept(2).receive(8, 2, &get("/two"));
    script.send(8, 2, OK).send(7, 1, OK).receive(8, 2, &get("/three")).send(8, 2, OK).wait(600);
    let targets: Vec<String> = script.cassettes().iter().map(|c| target(c.entry.as_ref().unwrap())).collect();
    assert_eq!(targets, ["/one", "/three"]);
    assert_eq!(script.pipeline.left_out().get(Reason::InFlight), 1);
}

#[test]
fn a_large_body_is_missing_and_counted() {
    let mut script = selecting(Policy { max_body: Some(1), ..Policy::default() });
    script.accept(1).receive(7, 1, &get("/big")).send(7, 1, OK).wait(600);
    let entry = script.cassette().entry.as_ref().unwrap();
    assert!(matches!(entry.defects[..], [Defect::Gap { bytes: 2, .. }]), "{entry:?}");
    let tally = Tally { events: 1, bytes: 2, connections: 0, cassettes: 1 };
    assert_eq!(script.pipeline.ledger().get(Lack::BodyCap), tally);
    assert!(!script.pipeline.ledger().has_losses(), "it was not wanted");
}

/// What is under way says so, nothing of before is taken for something of after, and what comes after is whole.
#[test]
fn a_pause_cuts_off_and_hides_nothing() {
    let mut script = Script::new();
    script.accept(1).receive(7, 1, &get("/before")).send(7, 1, OK).wait(600);
    script.accept(2).receive(8, 2, &get("/cut")).connect(8, 3, STOCK).send(8, 3, &get("/stock"));
    let at = script.at;
    script.pipeline.pause(at);
    script.collect();
    // What a capture of before would still tell is nothing to it.
    script.receive(8, 3, OK).send(8, 2, OK);
    script.accept(4).receive(8, 4, &get("/after")).call(8, 5, "/stock").send(8, 4, OK).wait(600);
    let [before, cut, after] = &script.cassettes()[..] else { panic!("{:#?}", script.out) };
    assert!(!before.has_defects() && !after.has_defects(), "{before:#?} {after:#?}");
    assert!(cut.defects.iter().any(|defect| matches!(defect, Defect::LostEvents { .. })), "{cut:#?}");
    assert_eq!(cut.downstream.len(), 1);
    assert_eq!((after.downstream.len(), script.ambient().len()), (1, 0));
    let tally = Tally { events: 1, bytes: 0, connections: 0, cassettes: 1 };
    assert_eq!(script.pipeline.ledger().get(Lack::Paused), tally);
}
