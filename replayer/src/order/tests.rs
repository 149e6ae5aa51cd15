use std::time::Duration;

use proptest::prelude::*;
use regress_cassettes::diff::{RuleText, Rules, Schemas};
use regress_mockserver::mock::Bindings;
use regress_protocols::http1::Message;

use super::*;
use crate::{pending, review, testing};

/// A call as it was recorded: method, what it says, from when and how long.
type Call = (&'static str, u32, i64, Option<u64>);

fn cassette(calls: &[Call]) -> Cassette {
    let call = |(number, (method, says, at, took)): (usize, &Call)| {
        let request = Message::request(method, "/log", &[("Host", "audit")], says.to_string());
        let mut exchange =
            testing::exchange(number as u64 + 1, Some("audit"), "10.0.0.8:80", request, testing::json(200, "{}"));
        (exchange.at, exchange.took) = (*at, *took);
        exchange
    };
    Cassette { downstream: calls.iter().enumerate().map(call).collect(), ..testing::cassette() }
}

/// One write after the other, each saying what is given.
fn writes(says: &[u32]) -> Cassette {
    let call = |(place, says): (usize, &u32)| ("POST", *says, 100 * place as i64, Some(50));
    cassette(&says.iter().enumerate().map(call).collect::<Vec<_>>())
}

fn order(cassette: &Cassette, made: &[usize]) -> Vec<Made> {
    let rules = Rules::none();
    of(cassette, made, &EntryRules::of(&rules, cassette))
}

/// The numbers that moved, with what is told.
fn told(made: &[Made]) -> Vec<String> {
    let short = |side: &Option<String>| side.as_deref().and_then(|text| text.split(" (").next()).map(str::to_owned);
    let one = |made: &Made| {
        let moved = made.moved.as_ref()?;
        let noise = if moved.counts() { "" } else { " (noise)" };
        let (expected, actual) = (short(&moved.expected)?, short(&moved.actual)?);
        Some(format!("{}: {expected}, {actual}{noise}", made.number))
    };
    made.iter().filter_map(one).collect()
}

#[test]
fn as_few_as_can_be_have_moved() {
    let five = writes(&[0, 1, 2, 3, 4]);
    assert_eq!(told(&order(&five, &[0, 1, 2, 3, 4])), [""; 0]);
    assert_eq!(told(&order(&five, &[1, 2, 3, 4, 0])), ["0: before downstream/4, after downstream/4"]);
    assert_eq!(told(&order(&five, &[4, 0, 1, 2, 3])), ["4: after downstream/0, before downstream/0"]);
    assert_eq!(told(&order(&five, &[0, 2, 1, 3, 4])), ["2: after downstream/1, before downstream/1"]);
    assert_eq!(told(&order(&five, &[1, 0])), ["1: after downstream/0, before downstream/0"]);
    let moved = order(&five, &[1, 0]).remove(0).moved.unwrap();
    assert_eq!(moved.path, "order");
    assert_eq!(moved.expected.as_deref(), Some("after downstream/0 (audit POST /log)"));
}

#[test]
fn reads_have_no_order() {
    for method in ["GET", "HEAD", "OPTIONS", "SEARCH"] {
        let read = cassette(&[(method, 0, 0, Some(5)), ("POST", 1, 10, Some(5)), (method, 2, 20, Some(5))]);
        assert_eq!(order(&read, &[2, 1, 0]).len(), 1, "{method}");
    }
    let write = cassette(&[("PURGE", 0, 0, Some(5)), ("POST", 1, 10, Some(5))]);
    assert_eq!(told(&order(&write, &[1, 0])).len(), 1);
}

#[test]
fn what_ran_beside_another_call_has_no_order() {
    let swapped = |calls: [Call; 2]| told(&order(&cassette(&calls), &[1, 0])).len();
    assert_eq!(swapped([("POST", 0, 0, Some(9)), ("POST", 1, 10, Some(5))]), 1);
    assert_eq!(swapped([("POST", 0, 0, Some(10)), ("POST", 1, 10, Some(5))]), 0, "at the same moment");
    assert_eq!(swapped([("POST", 0, 0, None), ("POST", 1, 10, Some(5))]), 0, "nobody knows when it was given up");
    // Two go their own way, each reads and then writes: that one read took longer says nothing of who writes first.
    let side_by_side =
        [("GET", 0, 0, Some(10)), ("GET", 1, 0, Some(2)), ("POST", 2, 3, Some(2)), ("POST", 3, 11, Some(2))];
    assert_eq!(told(&order(&cassette(&side_by_side), &[0, 1, 3, 2])), [""; 0]);
    let mut late = writes(&[0, 1]);
    late.downstream[1].cause.as_mut().unwrap().after_response = true;
    assert_eq!(told(&order(&late, &[1, 0])), [""; 0], "what comes after the answer is made beside it");
}

#[test]
fn calls_that_say_the_same_have_no_order() {
    let same = writes(&[0, 1, 0, 0]);
    assert_eq!(told(&order(&same, &[3, 1, 2, 0])), [""; 0]);
    assert_eq!(told(&order(&same, &[1, 0, 2])), [""; 0], "the first is left out, or the last: nobody knows");
    assert_eq!(told(&order(&writes(&[0, 1]), &[1, 0, 1])), [""; 0], "one is made again");
    assert_eq!(
        told(&order(&same, &[0, 2, 3, 1])),
        ["1: before downstream/2, after downstream/3"].map(|_| { "1: before downstream/3, after downstream/3" })
    );
    let ignores = Rules::new(vec![RuleText {
        path: "request/body".to_owned(),
        effect: "ignore".to_owned(),
        ..RuleText::default()
    }]);
    let (rules, two) = (ignores.unwrap(), writes(&[0, 1]));
    assert_eq!(told(&of(&two, &[1, 0], &EntryRules::of(&rules, &two))), [""; 0]);
}

#[test]
fn what_a_rule_lets_pass_is_noise_and_moves_first() {
    let mut cassette = writes(&[0, 1, 2]);
    cassette.downstream[1].downstream = Some("stock".to_owned());
    let rule = |downstream: Option<&str>| RuleText {
        path: "request/order".to_owned(),
        effect: "unordered".to_owned(),
        downstream: downstream.map(str::to_owned),
        ..RuleText::default()
    };
    let under = |downstream: Option<&str>, made: &[usize]| {
        let rules = Rules::new(vec![rule(downstream)]).unwrap();
        told(&of(&cassette, made, &EntryRules::of(&rules, &cassette)))
    };
    assert_eq!(under(Some("stock"), &[1, 0, 2]), ["1: after downstream/0, before downstream/0 (noise)"]);
    assert_eq!(under(Some("stock"), &[0, 2, 1]), ["1: before downstream/2, after downstream/2 (noise)"]);
    assert_eq!(under(Some("stock"), &[0, 1, 2]), [""; 0]);
    assert_eq!(under(Some("stock"), &[2, 1, 0]).len(), 2, "of the other two one is still a finding");
    assert_eq!(under(Some("other"), &[1, 0, 2]), ["1: after downstream/0, before downstream/0"]);
    assert!(under(None, &[2, 1, 0]).iter().all(|one| one.ends_with(" (noise)")));
}

/// Whether two calls were under way at one time.
fn overlap(a: &Exchange, b: &Exchange) -> bool {
    a.at <= end(b) && b.at <= end(a)
}

fn any_calls() -> impl Strategy<Value = Vec<Call>> {
    let call = (
        prop::sample::select(vec!["GET", "POST", "POST", "PUT"]),
        0..6u32,
        0..60i64,
        prop::option::weighted(0.9, 0..6u64),
    );
    prop::collection::vec(call, 0..12).prop_map(|mut calls| {
        calls.sort_by_key(|call| call.2);
        calls
    })
}

/// Calls with numbers by which any order, and any part, of them can be made.
fn shuffled() -> impl Strategy<Value = (Vec<Call>, Vec<(u64, bool)>)> {
    (any_calls(), prop::collection::vec((any::<u64>(), prop::bool::weighted(0.8)), 12))
}

fn in_order_of(calls: &[Call], dice: &[(u64, bool)], key: impl Fn(&Call, u64) -> i128) -> Vec<usize> {
    let mut made: Vec<usize> = (0..calls.len()).filter(|number| dice[*number].1).collect();
    made.sort_by_key(|number| key(&calls[*number], dice[*number].0));
    made
}

proptest! {
    /// Each call may come at any moment at which it was under way: none of them has moved.
    #[test]
    fn what_the_recording_leaves_open_is_no_finding((calls, dice) in shuffled()) {
        let moment = |call: &Call, dice: u64| {
            let took = call.3.map_or(u64::from(u32::MAX), |took| took + 1);
            // Finer than a microsecond, so that nothing but the calls decides.
            i128::from(call.2) * 1_000_000 + i128::from(dice % (took * 1_000_000 - 1))
        };
        let made = in_order_of(&calls, &dice, moment);
        prop_assert_eq!(told(&order(&cassette(&calls), &made)), [""; 0]);
    }

    #[test]
    fn what_has_moved_was_recorded_on_the_other_side((calls, dice) in shuffled()) {
        let cassette = cassette(&calls);
        let made = in_order_of(&calls, &dice, |_, dice| i128::from(dice));
        let found = order(&cassette, &made);
        let alone = |number: usize| {
            let others = (0..calls.len()).filter(|other| *other != number);
            others.clone().all(|other| !overlap(&cassette.downstream[number], &cassette.downstream[other]))
        };
        for one in found.iter().filter(|one| one.moved.is_some()) {
            let moved = one.moved.as_ref().unwrap();
            let past: usize = moved.actual.as_ref().unwrap().split(['/', ' ']).nth(2).unwrap().parse().unwrap();
            let is_write = |number: usize| calls[number].0 != "GET" && calls[number].3.is_some();
            prop_assert!(is_write(one.number) && is_write(past) && alone(one.number) && alone(past));
            prop_assert_ne!((calls[one.number].0, calls[one.number].1), (calls[past].0, calls[past].1));
            prop_assert_eq!(moved.expected.as_ref().unwrap().starts_with("before"), calls[one.number].2 < calls[past].2);
            prop_assert_ne!(moved.expected.as_ref().unwrap().starts_with("before"), moved.actual.as_ref().unwrap().starts_with("before"));
        }
    }

    #[test]
    fn no_fewer_could_have_moved(places in Just((0..8usize).collect::<Vec<_>>()).prop_shuffle(), count in 0..=8usize) {
        let made = &places[..count];
        let found = order(&writes(&[0, 1, 2, 3, 4, 5, 6, 7]), made);
        let ascends = |subset: &u32| {
            let chosen = made.iter().enumerate().filter(|(place, _)| subset >> place & 1 == 1).map(|(_, number)| number);
            chosen.is_sorted()
        };
        let longest = (0..1u32 << count).filter(ascends).map(u32::count_ones).max().unwrap();
        prop_assert_eq!(told(&found).len(), count - longest as usize);
        prop_assert_eq!(found.iter().map(|made| made.number).collect::<Vec<_>>(), made);
    }

    /// Whatever was made in whatever order, accepted as a whole it is the same the next time.
    #[test]
    fn what_was_accepted_is_the_same_next_time((calls, dice) in shuffled()) {
        let original = cassette(&calls);
        let made = in_order_of(&calls, &dice, |_, dice| i128::from(dice));
        let journal: Vec<_> = made.iter().map(|number| testing::hit(&original, *number)).collect();
        let response = testing::created("12.50");
        let propose = |cassette: &Cassette, journal: &[regress_mockserver::mock::Call]| {
            let nothing = (Bindings::default(), Rules::none());
            pending::propose(cassette, &response, Duration::ZERO, journal, &nothing.0, &nothing.1)
        };
        let accepted = propose(&original, &journal);
        prop_assert!(accepted.downstream.is_sorted_by_key(|call| call.at));
        let number = |of: &usize| {
            let id = original.downstream[*of].connection.id;
            accepted.downstream.iter().position(|call| call.connection.id == id)
        };
        let again: Vec<usize> = made.iter().filter_map(number).collect();
        prop_assert_eq!(again.len(), made.len());
        prop_assert_eq!(told(&order(&accepted, &again)), [""; 0]);
        for a in &made {
            for b in &made {
                let [new_a, new_b] = [a, b].map(|of| &accepted.downstream[number(of).unwrap()]);
                prop_assert_eq!(overlap(&original.downstream[*a], &original.downstream[*b]), overlap(new_a, new_b));
            }
        }
        let journal: Vec<_> = again.iter().map(|number| testing::hit(&accepted, *number)).collect();
        prop_assert_eq!(propose(&accepted, &journal), accepted);
    }

    /// By path, in any parts: what is taken is gone, and all of them are the whole.
    #[test]
    fn what_was_accepted_path_by_path_is_the_whole((mut calls, dice) in shuffled(), pick in any::<u64>(), apart in any::<bool>()) {
        if apart {
            calls.iter_mut().zip(0..).for_each(|(call, place)| *call = (call.0, place, 100 * i64::from(place), Some(9)));
        }
        let original = cassette(&calls);
        let made = in_order_of(&calls, &dice, |_, dice| i128::from(dice));
        let journal: Vec<_> = made.iter().map(|number| testing::hit(&original, *number)).collect();
        let nothing = (Bindings::default(), Rules::none());
        let response = testing::created("12.50");
        let proposed = pending::propose(&original, &response, Duration::ZERO, &journal, &nothing.0, &nothing.1);
        let all: Vec<String> = review::changes(&original, &proposed, &Schemas::none()).into_iter().map(|change| change.path).collect();
        let taken = |path: &str| all.iter().position(|known| known == path).is_some_and(|place| pick >> place & 1 == 1);
        let part = review::take(&original, &proposed, &Schemas::none(), taken).unwrap();
        let (left, not_taken) = (review::changes(&part, &proposed, &Schemas::none()).len(), all.iter().filter(|path| !taken(path)).count());
        // Where a call is left out that others were made beside, these have an order then, and are put in it.
        prop_assert!(left == not_taken || !apart && left < not_taken, "{} of {}", left, not_taken);
        let whole = review::take(&original, &proposed, &Schemas::none(), |_| true).unwrap();
        prop_assert_eq!(review::changes(&whole, &proposed, &Schemas::none()).len(), 0);
    }
}
