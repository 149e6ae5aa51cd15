use super::*;

fn name(name: &str) -> Call {
    Call {
        scope: Scope::Ambient,
        destination: "10.0.0.1:53".parse().unwrap(),
        downstream: name.to_owned(),
        tls: false,
        what: Attempted::Name(name.to_owned()),
        matched: Match::Miss { reason: MissReason::UnknownDestination, nearest: Vec::new() },
        answered: None,
    }
}

#[test]
fn a_full_journal_counts_what_it_does_not_keep() {
    let mut journal = Journal::default();
    for number in 0..25_000 {
        journal.note(name(&number.to_string()));
    }
    let calls = journal.take();
    assert_eq!(calls.len(), 20_001);
    assert_eq!(calls[19_999].what, Attempted::Name("19999".to_owned()));
    assert_eq!(calls[20_000].what, Attempted::Unkept(5_000));
    assert!(matches!(calls[20_000].matched, Match::Miss { reason: MissReason::NotKept, .. }));
    journal.note(name("again"));
    assert_eq!(journal.take(), [name("again")]);
    assert_eq!(journal.take(), []);
}

#[test]
fn the_journal_is_bounded_in_bytes_too() {
    let mut journal = Journal::default();
    let large = "x".repeat(200 << 20);
    for _ in 0..4 {
        journal.note(name(&large));
    }
    let calls = journal.take();
    assert_eq!(calls.len(), 3);
    assert_eq!(calls[2].what, Attempted::Unkept(2));
}

#[test]
fn what_a_miss_is_told_counts_too() {
    let long = "x".repeat(100 << 20);
    let difference = |value: Option<String>| Difference {
        path: "body".to_owned(),
        kind: regress_cassettes::diff::Kind::Removed,
        expected: value,
        actual: None,
        noise: None,
    };
    let mut journal = Journal::default();
    for _ in 0..7 {
        let near = NearMiss {
            cassette: CassetteId("a".to_owned()),
            exchange: 0,
            differences: vec![difference(Some(long.clone())), difference(None)],
        };
        let matched = Match::Miss { reason: MissReason::DifferentRequest, nearest: vec![near] };
        journal.note(Call { matched, ..name("a") });
    }
    let calls = journal.take();
    assert_eq!(calls.len(), 6);
    assert_eq!(calls[5].what, Attempted::Unkept(2));
}
