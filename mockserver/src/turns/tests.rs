use proptest::prelude::*;
use regress_cassettes::{Content, Exchange};

use super::*;
use crate::samples::{cassette, exchange, turn};

const PEER: &str = "10.0.0.9:7000";

/// `>` is what the client says, `<` what the server says, one a line.
fn conversation(script: &str) -> Exchange {
    ended(script, Ended::Ok)
}

fn ended(script: &str, ended: Ended) -> Exchange {
    let side = |line: &str| if line.starts_with('>') { Side::Client } else { Side::Server };
    let turns = script.split(' ').map(|line| Turn { from: side(line), bytes: line[1..].to_owned().into() });
    exchange(PEER, false, Content::Opaque(turns.collect()), ended)
}

fn of(whose: HitScope, again: bool, scripts: &[&str]) -> Vec<Candidate> {
    let exchanges: Vec<_> = scripts.iter().map(|script| conversation(script)).collect();
    let cassette = cassette(if whose == HitScope::Entry { "entry" } else { "ambient" }, exchanges);
    (0..scripts.len()).map(|number| Candidate::new(Arc::clone(&cassette), number, whose, again)).collect()
}

fn following(scripts: &[&str]) -> Following {
    Following::new(of(HitScope::Entry, false, scripts))
}

/// What is done after the client said this.
fn after(following: &mut Following, said: &str) -> Next {
    following.hear(said.as_bytes());
    following.next(|_| true)
}

fn say(said: &str) -> Next {
    Next::Say(said.as_bytes().to_vec())
}

fn told(near: Option<&NearMiss>) -> (usize, String, Option<String>, Option<String>) {
    let near = near.expect("something was near");
    let [difference] = &near.differences[..] else { panic!("{near:?}") };
    (near.exchange, difference.path.clone(), difference.expected.clone(), difference.actual.clone())
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn each_turn_of_the_server_follows_the_whole_turn_of_the_client() {
    let mut following = following(&[">GET <one >MORE <two"]);
    assert_eq!(following.next(|_| true), Next::Hear);
    assert_eq!(after(&mut following, "GE"), Next::Hear);
    assert_eq!(after(&mut following, "T"), say("one"));
    assert_eq!(following.next(|_| true), Next::Hear);
    assert_eq!(after(&mut following, "MORE"), say("two"));
    assert_eq!(following.next(|_| true), Next::End(Ended::Ok));
    assert_eq!(following.settled(|_| true).map(|one| one.number), Some(0));
}

#[test]
fn a_client_that_does_not_wait_is_told_all() {
    let mut following = following(&[">GET <one >MORE <two"]);
    assert_eq!(after(&mut following, "GETMO"), say("one"));
    assert_eq!(after(&mut following, "RE"), say("two"));
    let mut following = self::following(&[">GET <one >MORE <two"]);
    assert_eq!(after(&mut following, "GETMORE"), say("onetwo"));
    assert_eq!(following.next(|_| true), Next::End(Ended::Ok));
}

#[test]
fn conversations_are_told_apart_by_what_the_client_says() {
    let scripts = [">A <x >1 <one", ">A <x >2 <two", ">B <y"];
    let mut following = following(&scripts);
    assert_eq!(after(&mut following, "A"), say("x"));
    assert_eq!(following.settled(|_| true).map(|one| one.number), None);
    assert_eq!(after(&mut following, "2"), say("two"));
    assert_eq!(following.next(|_| true), Next::End(Ended::Ok));
    assert_eq!(following.settled(|_| true).map(|one| one.number), Some(1));
}

#[test]
fn one_that_is_the_beginning_of_another_waits_for_what_tells() {
    let scripts = [">GET1 <one", ">GET12 <twelve"];
    let mut following = following(&scripts);
    assert_eq!(after(&mut following, "GET1"), Next::Hear);
    assert_eq!(after(&mut following, "2"), say("twelve"));
    let mut following = self::following(&scripts);
    assert_eq!(after(&mut following, "GET1"), Next::Hear);
    following.finish();
    assert_eq!(following.next(|_| true), say("one"));
    // The end of one, and more of another.
    let mut following = self::following(&[">A <x", ">A <x >B <y"]);
    assert_eq!(after(&mut following, "A"), say("x"));
    assert_eq!(following.next(|_| true), Next::Hear);
    assert_eq!(after(&mut following, "B"), say("y"));
    assert_eq!(following.next(|_| true), Next::End(Ended::Ok));
    assert_eq!(following.settled(|_| true).map(|one| one.number), Some(1));
}

#[test]
fn what_nothing_tells_apart_is_played_in_recorded_order() {
    let scripts = [">STATUS <pending >BYE", ">STATUS <pending >BYE", ">STATUS <done >BYE"];
    let mut played = Vec::new();
    for _ in 0..3 {
        let mut following = following(&scripts);
        let free = |candidate: &Candidate| !played.contains(&candidate.number);
        following.hear(b"STATUS");
        let Next::Say(said) = following.next(free) else { panic!() };
        following.hear(b"BYE");
        assert_eq!(following.next(free), Next::End(Ended::Ok));
        let number = following.settled(free).unwrap().number;
        played.push(number);
        assert_eq!(said, [&b"pending"[..], b"pending", b"done"][number]);
    }
    assert_eq!(played, [0, 1, 2]);
    let mut following = following(&scripts);
    following.hear(b"STATUS");
    assert_eq!(following.next(|candidate| !played.contains(&candidate.number)), Next::Stray);
    assert!(following.is_exhausted() && following.nearest().is_none());
}

#[test]
fn a_server_that_speaks_first_greets() {
    let mut following = following(&["<hello >A <x", "<hello >B <y", "<welcome >A <z", ">A <w"]);
    assert_eq!(following.next(|_| true), say("hello"));
    assert_eq!(following.next(|_| true), Next::Hear);
    assert_eq!(after(&mut following, "B"), say("y"));
    let mut following = self::following(&[">A <w", "<hello >A <x"]);
    assert_eq!(following.next(|_| true), Next::Hear);
    assert_eq!(after(&mut following, "A"), say("w"));
}

#[test]
fn the_entry_comes_before_what_no_entry_caused_and_what_is_new_before_what_was_played() {
    let scripts = [">A <x"];
    let mut all = of(HitScope::Ambient, false, &scripts);
    all.extend(of(HitScope::Entry, true, &scripts));
    all.extend(of(HitScope::Entry, false, &scripts));
    let mut following = Following::new(all);
    assert_eq!(after(&mut following, "A"), say("x"));
    assert_eq!(following.next(|_| true), Next::End(Ended::Ok));
    let settled = following.settled(|_| true).unwrap();
    assert_eq!((settled.whose, settled.again), (HitScope::Entry, false));
    // Where the entry has nothing that fits, the ambient ones are left.
    let mut all = of(HitScope::Entry, false, &[">AB <y"]);
    all.extend(of(HitScope::Ambient, false, &scripts));
    let mut following = Following::new(all);
    assert_eq!(after(&mut following, "A"), Next::Hear);
    following.finish();
    assert_eq!(following.next(|_| true), say("x"));
}

#[test]
fn a_miss_names_the_nearest_and_the_first_byte_that_differs() {
    let mut following = following(&[">LOGIN <ok >GET1\n <one", ">QUIT <bye"]);
    assert_eq!(after(&mut following, "LOGIN"), say("ok"));
    assert_eq!(after(&mut following, "GET2\n"), Next::Stray);
    let expected = (0, "turns/2".to_owned(), text("from byte 3: 1\\n"), text("from byte 3: 2\\n"));
    assert_eq!(told(following.nearest()), expected);

    let mut following = self::following(&[">LOGIN <ok >GET1"]);
    following.hear(b"LOGINGE");
    following.finish();
    assert_eq!(following.next(|_| true), Next::Stray);
    assert_eq!(told(following.nearest()), (0, "turns/2".to_owned(), text("from byte 2: T1"), None));

    let mut following = self::following(&[">A <x"]);
    assert_eq!(after(&mut following, "Amore"), Next::Stray);
    assert_eq!(told(following.nearest()), (0, "turns/2".to_owned(), None, text("from byte 0: more")));
    let long = difference(0, 7, &[0; 100], b"\xff");
    assert!(long.expected.unwrap().ends_with("\\x00 (100 bytes)"));
    assert_eq!(long.actual.as_deref(), Some("from byte 7: \\xff"));
}

#[test]
fn how_it_ended_is_played_as_well() {
    let cassette = cassette("entry", vec![ended(">A <x", Ended::Reset), ended(">A <x", Ended::Ok)]);
    let both = (0..2).map(|number| Candidate::new(Arc::clone(&cassette), number, HitScope::Entry, false)).collect();
    let mut following = Following::new(both);
    assert_eq!(after(&mut following, "A"), say("x"));
    assert_eq!(following.next(|_| true), Next::End(Ended::Reset));
}

#[test]
fn a_conversation_is_whole_or_none() {
    assert!(conversation(">A <x").conversation().is_some());
    assert!(ended(">A <x", Ended::Unfinished).conversation().is_none());
    let mut lossy = conversation(">A <x");
    lossy.defects.push(regress_cassettes::Defect::Encrypted);
    assert!(lossy.conversation().is_none());
    assert!(exchange(PEER, false, Content::Opaque(Vec::new()), Ended::Ok).conversation().is_none());
    assert!(
        exchange(PEER, false, Content::Opaque(vec![turn(Side::Client, b"A")]), Ended::Closed).conversation().is_some()
    );
}

proptest! {
    /// However the client's bytes are cut, one that says what was recorded is told all that was, and no more than that.
    #[test]
    fn how_bytes_are_cut_does_not_matter(
        turns in prop::collection::vec("[ab]{1,3}", 1..6),
        others in prop::collection::vec(prop::collection::vec("[ab]{1,3}", 1..6), 0..4),
        piece in 1usize..4,
    ) {
        let script = |turns: &[String]| {
            let line = |(at, text): (usize, &String)| format!("{}{text}", if at % 2 == 0 { '>' } else { '<' });
            turns.iter().enumerate().map(line).collect::<Vec<_>>().join(" ")
        };
        let mut scripts: Vec<String> = vec![script(&turns)];
        scripts.extend(others.iter().map(|turns| script(turns)));
        let scripts: Vec<&str> = scripts.iter().map(String::as_str).collect();
        let part = |from: usize| turns.iter().skip(from).step_by(2).cloned().collect::<String>();
        let (client, server) = (part(0), part(1));
        let mut following = following(&scripts);
        let mut heard = String::new();
        let mut said = client.as_bytes().chunks(piece);
        loop {
            match following.next(|_| true) {
                Next::Say(bytes) => heard.push_str(std::str::from_utf8(&bytes).unwrap()),
                Next::Hear => match said.next() {
                    Some(bytes) => following.hear(bytes),
                    None => following.finish(),
                },
                Next::End(_) | Next::Stray => break,
            }
            prop_assert!(heard.len() <= 100);
        }
        // Another conversation that begins alike may have been taken for it, and was told then.
        let alike = others.iter().any(|other| other.first().zip(turns.first()).is_some_and(|(a, b)| a.starts_with(b.as_str()) || b.starts_with(a.as_str())));
        prop_assert!(alike || heard == server, "{} is not {}", heard, server);
    }
}
