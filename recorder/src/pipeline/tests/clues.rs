//! Owners by what messages say: ids that are passed on, and values.

use super::*;

const X: &str = "X-Request-Id: request-1";
const Y: &str = "X-Request-Id: request-2";

fn request(path: &str, header: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: Stock:9001\r\n{header}\r\n\r\n")
}

impl Script {
    fn with_values() -> Script {
        Script::with(Scope { clues: Clues::new(false, &[], true), ..scope() })
    }

    /// A call with this header on a connection of its own.
    fn call_with(&mut self, thread: u32, socket: u64, path: &str, header: &str) -> &mut Self {
        self.connect(thread, socket, STOCK).send(thread, socket, &request(path, header));
        self.receive(thread, socket, OK).close(thread, socket, CloseCause::Closed)
    }

    /// Entries that came in over the first sockets, one with each header, and are open.
    fn entries(&mut self, headers: &[&str]) -> &mut Self {
        for (socket, header) in (1..).zip(headers) {
            self.accept(socket).receive(0, socket, &request(&format!("/entry/{socket}"), header));
        }
        self
    }

    /// Entries two at a time, which wait for calls that carry their ids: enough of them to believe ids. What comes of them is
    /// not looked at.
    fn believe_ids(&mut self) -> &mut Self {
        let out = std::mem::take(&mut self.out);
        let first = 1000 + self.at / MILLISECOND % 10_000;
        for socket in (first..).step_by(4).take(12) {
            let [one, other] = [socket, socket + 1].map(|socket| format!("X-Request-Id: proof-{socket}"));
            self.accept(socket).accept(socket + 1);
            self.receive(0, socket, &request("/one", &one)).receive(0, socket + 1, &request("/other", &other));
            self.call_with(0, socket + 2, "/proof", &other).call_with(0, socket + 3, "/proof", &one);
            self.send(0, socket, OK).send(0, socket + 1, OK);
        }
        self.wait(600);
        assert_eq!(self.owned().iter().filter(|owned| **owned == owns("/proof")).count(), 24);
        self.out = out;
        self
    }

    fn answer(&mut self, sockets: &[u64]) -> &mut Self {
        for socket in sockets {
            self.send(0, *socket, OK);
        }
        self.wait(600)
    }

    /// For each cassette in the order of entries: the calls it has, and whether it may lack others or not be certain.
    fn owned(&self) -> Vec<(Vec<String>, bool)> {
        let doubts = self.doubts();
        let mut cassettes = self.cassettes();
        cassettes.sort_by_key(|cassette| cassette.id.number());
        let is_uncertain = |cassette: &Cassette| cassette.has_defects() || doubts.contains(&cassette.id.0);
        cassettes.iter().map(|one| (one.downstream.iter().map(target).collect(), is_uncertain(one))).collect()
    }
}

fn owns(path: &str) -> (Vec<String>, bool) {
    (vec![path.to_owned()], false)
}

const NOTHING: (Vec<String>, bool) = (Vec::new(), false);
const UNKNOWN: (Vec<String>, bool) = (Vec::new(), true);

#[test]
fn an_id_that_one_entry_brought_tells_its_calls() {
    let mut script = Script::new();
    script.believe_ids().entries(&[X, Y]).call_with(0, 5, "/b", Y).call_with(0, 6, "/a", X).answer(&[1, 2]);
    assert_eq!(script.owned(), [owns("/a"), owns("/b")]);
    let calls: Vec<_> = script.cassettes().iter().map(|cassette| cause(&cassette.downstream[0])).collect();
    assert_eq!(calls, [(Rule::PropagatedId, Confidence::Certain, false); 2]);
}

#[test]
fn ids_are_believed_when_several_entries_waited_for_calls_with_theirs() {
    let mut script = Script::new();
    script.entries(&[X, Y]).call_with(0, 5, "/b", Y).call_with(0, 6, "/a", X).answer(&[1, 2]);
    assert!(script.cassettes().is_empty(), "they wait for that");
    script.stop();
    assert_eq!(script.owned(), [UNKNOWN, UNKNOWN]);
}

#[test]
fn headers_that_the_user_names_carry_ids_as_well() {
    let mut script = Script::new();
    script
        .believe_ids()
        .entries(&["x-order-key: order-17", Y])
        .call_with(0, 5, "/a", "X-Order-Key: order-17")
        .answer(&[1, 2]);
    assert_eq!(script.owned(), [owns("/a"), NOTHING]);
}

#[test]
fn without_ids_it_is_not_known() {
    let mut script = Script::with(Scope { clues: Clues::new(false, &[], false), ..scope() });
    script.entries(&[X, Y]).call_with(0, 5, "/a", X).answer(&[1, 2]);
    assert_eq!(script.owned(), [UNKNOWN, UNKNOWN]);
    let mut script = Script::new();
    script.entries(&[X, Y]).call_with(0, 5, "/a", "X-Request-Id: made-by-the-service-1").answer(&[1, 2]);
    assert_eq!(script.owned(), [UNKNOWN, UNKNOWN]);
}

#[test]
fn an_id_says_nothing_after_the_response() {
    let mut script = Script::new();
    script.believe_ids().entries(&[X, Y, ""]).send(0, 1, OK).call_with(0, 5, "/late", X).answer(&[2, 3]);
    assert_eq!(script.owned(), [UNKNOWN, UNKNOWN, UNKNOWN]);
}

#[test]
fn an_id_contradicts_that_the_only_entry_which_is_open_calls() {
    let mut script = Script::new();
    script.believe_ids().entries(&[X, Y]).send(0, 1, OK).call_with(0, 5, "/late", X).answer(&[2]);
    assert_eq!(script.owned(), [UNKNOWN, UNKNOWN]);
}

#[test]
fn what_goes_on_after_a_response_is_not_of_the_next_entry_by_being_alone() {
    let mut script = Script::new();
    script.believe_ids().entries(&[X]).send(0, 1, OK).call_with(0, 5, "/log/1", X).wait(600);
    // Of the same kind, and without an id.
    script.accept(2).receive(0, 2, &request("/entry/2", Y)).call(0, 6, "/log/2").answer(&[2]);
    assert_eq!(script.owned(), [UNKNOWN, UNKNOWN]);
}

#[test]
fn an_id_that_several_entries_bring_tells_nothing() {
    let mut script = Script::new();
    script.believe_ids().entries(&[X, Y, X]).call_with(0, 5, "/a", X).answer(&[1, 2, 3]);
    assert_eq!(script.owned(), [UNKNOWN, UNKNOWN, UNKNOWN]);
    // Nor does it when the first of them is long over.
    script.wait(40_000).accept(7).accept(8);
    script.receive(0, 7, &request("/again", X)).receive(0, 8, &request("/other", Y)).call_with(0, 9, "/a", X);
    script.send(0, 7, OK).send(0, 8, OK).wait(600);
    assert_eq!(script.owned()[3..], [UNKNOWN, UNKNOWN]);
}

#[test]
fn an_id_that_the_service_made_and_gets_back_is_no_entry_s() {
    let mut script = Script::new();
    script.believe_ids().entries(&[Y]).call_with(0, 5, "/job", X);
    // The downstream calls back before it answers, and the job goes on.
    script.accept(2).receive(0, 2, &request("/callback", X)).call_with(0, 6, "/job/step", X).answer(&[1, 2]);
    let calls: Vec<_> = script.owned().into_iter().flat_map(|(calls, _)| calls).collect();
    assert!(!calls.contains(&"/job/step".to_owned()), "{calls:?}");
}

#[test]
fn headers_that_point_to_different_entries_contradict_each_other() {
    let mut script = Script::new();
    let trace = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    script.believe_ids().entries(&[X, trace]).call_with(0, 5, "/a", &format!("{X}\r\n{trace}")).answer(&[1, 2]);
    assert_eq!(script.owned(), [UNKNOWN, UNKNOWN]);
}

#[test]
fn an_entry_that_is_still_being_read_may_bring_the_same_id() {
    let half = format!("POST /upload HTTP/1.1\r\nHost: x\r\n{X}\r\nContent-Length: 4\r\n\r\nab");
    let mut script = Script::new();
    script
        .believe_ids()
        .entries(&[X])
        .accept(2)
        .receive(0, 2, &half)
        .call_with(0, 5, "/a", X)
        .receive(0, 2, "cd")
        .answer(&[1, 2]);
    assert_eq!(script.owned(), [UNKNOWN, UNKNOWN]);

    let mut script = Script::new();
    script.believe_ids().entries(&[X]).accept(2).receive(0, 2, &half.replace(X, Y)).call_with(0, 5, "/a", X);
    assert!(script.cassettes().is_empty());
    script.receive(0, 2, "cd").answer(&[1, 2]);
    assert_eq!(script.owned(), [owns("/a"), NOTHING]);
}

#[test]
fn an_entry_that_cannot_be_read_may_bring_the_same_id() {
    let mut script = Script::new();
    script.believe_ids().entries(&[X, Y]).accept(3).receive(0, 3, "EHLO there\r\n");
    script.call_with(0, 5, "/a", X).answer(&[1, 2]);
    assert_eq!(script.owned(), [UNKNOWN, UNKNOWN]);
}

/// A process that has proved to keep entries to their threads: 5 and 6 have had many at a time, while 7 had nothing to do.
fn trusted() -> Script {
    let mut script = Script::new();
    script.accept(1).accept(2).accept(3).receive(7, 3, &get("/first")).send(7, 3, OK);
    for number in 0..30 {
        script.receive(5, 1, &get(&format!("/one/{number}"))).receive(6, 2, &get(&format!("/two/{number}")));
        script.call(5, 100 + number, "/call").call(6, 200 + number, "/call").send(5, 1, OK).send(6, 2, OK);
    }
    script.wait(600);
    let calls = script.cassettes().iter().map(|cassette| cassette.downstream.len()).sum::<usize>();
    assert!(calls == 60 && script.doubts().is_empty(), "{:?}", script.owned());
    script
}

#[test]
fn an_id_that_agrees_with_the_thread_changes_nothing() {
    let mut script = trusted();
    let before = script.cassettes().len();
    script.receive(5, 1, &request("/one", X)).receive(6, 2, &request("/two", Y));
    script.call_with(5, 900, "/a", X).send(5, 1, OK).send(6, 2, OK).wait(600);
    assert_eq!(script.owned()[before..], [owns("/a"), NOTHING]);
    let call = script.cassettes()[before..].iter().find_map(|one| one.downstream.first()).unwrap();
    assert_eq!(cause(call).0, Rule::LastRead);
    assert!(script.doubts().is_empty());
}

#[test]
fn an_id_that_contradicts_the_thread_takes_both_back() {
    let mut script = trusted();
    let before = script.cassettes().len();
    script.receive(5, 1, &request("/one", X)).receive(6, 2, &request("/two", Y));
    script.call_with(5, 900, "/a", Y).send(5, 1, OK).send(6, 2, OK).wait(600);
    assert_eq!(script.owned()[before..], [UNKNOWN, UNKNOWN]);
    assert!(script.doubts().len() > 20, "what was known by threads");
    // From then on neither tells.
    script.receive(5, 1, &request("/three", &X.replace('1', "3"))).receive(6, 2, &request("/four", ""));
    script.call(6, 901, "/a").call_with(6, 902, "/b", &X.replace('1', "3")).send(5, 1, OK).send(6, 2, OK).wait(600);
    script.stop();
    assert_eq!(script.owned()[before + 2..], [UNKNOWN, UNKNOWN]);
}

#[test]
fn an_id_that_outlives_its_entry_is_not_believed_any_more() {
    let mut script = Script::new();
    script.believe_ids().entries(&[X, Y]).call_with(0, 5, "/a", X).answer(&[1, 2]);
    assert_eq!(script.owned(), [owns("/a"), NOTHING]);
    // It was a default of the client that all calls use: the one above may have been the other entry's.
    script.call_with(0, 6, "/b", X).wait(1000);
    assert_eq!(script.owned().iter().map(|(_, is_uncertain)| *is_uncertain).collect::<Vec<_>>(), [true, true]);
    assert_eq!(script.ambient()[0].defects, [Defect::AmbiguousOwner]);
}

#[test]
fn an_entry_that_was_under_way_unseen_may_have_brought_the_same_id() {
    let mut script = Script::new();
    script.accept_on(9, SERVICE, true).entries(&[X, Y]).call_with(0, 5, "/a", X);
    script.send(0, 9, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").answer(&[1, 2]);
    assert!(script.owned().iter().any(|(_, is_uncertain)| *is_uncertain), "{:?}", script.owned());
}

#[test]
fn values_that_one_entry_received_make_it_likely() {
    let mut script = Script::with_values();
    script.entries(&["", ""]).call(0, 5, "/stock/2").call(0, 6, "/stock/1").answer(&[1, 2]);
    assert_eq!(script.owned(), [owns("/stock/1"), owns("/stock/2")]);
    for cassette in script.cassettes() {
        assert_eq!(cause(&cassette.downstream[0]), (Rule::Values, Confidence::Likely, false));
    }
    let mut script = Script::new();
    script.entries(&["", ""]).call(0, 5, "/stock/2").answer(&[1, 2]);
    assert_eq!(script.owned(), [UNKNOWN, UNKNOWN], "where it is asked for");
}

#[test]
fn values_that_several_entries_received_tell_nothing() {
    for path in ["/common/7", "/stock/1/2", "/other"] {
        let mut script = Script::with_values();
        script.accept(1).accept(2).receive(0, 1, &get("/7/1")).receive(0, 2, &get("/7/2"));
        script.call(0, 5, path).answer(&[1, 2]);
        assert_eq!(script.owned(), [UNKNOWN, UNKNOWN], "{path}");
    }
}

#[test]
fn values_of_responses_to_its_calls_are_an_entry_s() {
    let body = r#"{"session":"abc-17"}"#;
    let response = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let mut script = Script::with_values();
    script.entries(&["", ""]).connect(0, 5, STOCK).send(0, 5, &get("/login/2")).receive(0, 5, &response);
    script.close(0, 5, CloseCause::Closed).call(0, 6, "/cart?session=abc-17").answer(&[1, 2]);
    assert_eq!(script.owned(), [NOTHING, (vec!["/login/2".to_owned(), "/cart?session=abc-17".to_owned()], false)]);
}

#[test]
fn values_never_override_what_is_known() {
    let mut script = Script::with(Scope { clues: Clues::new(true, &[], true), ..scope() });
    script.believe_ids().entries(&[X, Y]).call_with(0, 5, "/stock/2", X).answer(&[1, 2]);
    assert_eq!(script.owned(), [owns("/stock/2"), NOTHING]);
}
