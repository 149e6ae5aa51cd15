//! The pairer, driven by scripts: one line for each exchange it reports.

use super::*;
use Play::*;

/// What happens on a connection; its place in the script, counted from 1, is its mark.
#[derive(Clone)]
enum Play<'a> {
    C(&'a str),
    S(&'a str),
    GapC(u64),
    GapS(u64),
    FinC,
    FinS,
    Close,
    Reset,
    Stop,
}

fn events(joined: bool, limits: Limits, script: &[Play]) -> Vec<PairEvent> {
    let mut pairer = Pairer::new(joined, limits);
    for (play, mark) in script.iter().zip(1..) {
        match play {
            C(bytes) => pairer.data(mark, Side::Client, bytes.as_bytes()),
            S(bytes) => pairer.data(mark, Side::Server, bytes.as_bytes()),
            GapC(bytes) => pairer.gap(mark, Side::Client, *bytes),
            GapS(bytes) => pairer.gap(mark, Side::Server, *bytes),
            FinC => pairer.finished(mark, Side::Client),
            FinS => pairer.finished(mark, Side::Server),
            Close => pairer.closed(mark),
            Reset => pairer.reset(mark),
            Stop => pairer.stop(mark),
        }
    }
    std::iter::from_fn(|| pairer.next()).collect()
}

fn done(events: Vec<PairEvent>) -> Vec<Paired> {
    events
        .into_iter()
        .filter_map(|event| if let PairEvent::Done(paired) = event { Some(*paired) } else { None })
        .collect()
}

fn fresh(script: &[Play]) -> Vec<String> {
    done(events(false, Limits::default(), script)).iter().map(line).collect()
}

fn joined(script: &[Play]) -> Vec<String> {
    done(events(true, Limits::default(), script)).iter().map(line).collect()
}

/// `number request -> responses end problems`, a `~` behind what is cut, a `!` behind what the client left.
fn line(paired: &Paired) -> String {
    let turns = |turns: &[(Side, Bytes)]| {
        let turn = |(side, bytes): &(Side, Bytes)| {
            format!(
                " {}:{}",
                if *side == Side::Client { 'c' } else { 's' },
                String::from_utf8_lossy(bytes).escape_debug()
            )
        };
        turns.iter().map(turn).collect::<String>()
    };
    let message = |message: &Message| {
        let start = String::from_utf8_lossy(message.start.text());
        let start = start.replace(" HTTP/1.1", "").replace("HTTP/1.1 ", "");
        let body = String::from_utf8_lossy(&message.body);
        let cut = message.truncated.as_ref().map(|bytes| format!("~{}", String::from_utf8_lossy(bytes).escape_debug()));
        format!("{start}[{body}]{}", cut.unwrap_or_default())
    };
    let what = match &paired.content {
        PairedContent::Opaque(bytes) => format!("opaque{}", turns(bytes)),
        PairedContent::Http1 { request, interim, response, upgraded, left, .. } => {
            let responses: Vec<_> = interim.iter().chain(response).map(message).collect();
            let left = if *left { "!" } else { "" };
            format!("{} -> {}{left}{}", message(request), responses.join(" "), turns(upgraded))
        }
        PairedContent::Wire { protocol, .. } => format!("{protocol:?}"),
    };
    let problems = paired.problems.iter().map(|problem| match problem {
        Problem::Gap { from, position, bytes } => format!(" Gap({from:?} {position}+{bytes})"),
        problem => format!(" {problem:?}"),
    });
    format!("{} {what} {:?}{}", paired.number, paired.end, problems.collect::<String>())
}

const GET_A: &str = "GET /a HTTP/1.1\r\n\r\n";
const GET_B: &str = "GET /b HTTP/1.1\r\n\r\n";
const GET_C: &str = "GET /c HTTP/1.1\r\n\r\n";
const POST: &str = "POST /p HTTP/1.1\r\nContent-Length: 4\r\n\r\n";
const OK_1: &str = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1";
const OK_2: &str = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2";
const OK_4: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n";
const UPGRADE: &str = "GET /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";

#[test]
fn keep_alive() {
    assert_eq!(
        fresh(&[C(GET_A), S(OK_1), C(GET_B), S(OK_2), Close]),
        ["0 GET /a[] -> 200 OK[1] Complete", "1 GET /b[] -> 200 OK[2] Complete"]
    );
}

#[test]
fn events_carry_the_marks_of_first_and_last_bytes() {
    let script = [C("PO"), C(&POST[2..]), C("bo"), C("dy"), S("HT"), S(&OK_4[2..]), S("ab"), S("cd"), Close];
    let events = events(false, Limits::default(), &script);
    assert_eq!(
        events[..4],
        [
            PairEvent::RequestBegan { number: 0, mark: 1, setup: false },
            PairEvent::RequestComplete { number: 0, mark: 4 },
            PairEvent::ResponseBegan { number: 0, mark: 5 },
            PairEvent::ResponseComplete { number: 0, mark: 8 },
        ]
    );
    let [paired] = &done(events)[..] else { panic!("one exchange") };
    assert_eq!((paired.request_began, paired.request_complete), (1, Some(4)));
    assert_eq!((paired.response_began, paired.response_complete), (Some(5), Some(8)));
    assert_eq!(paired.arrivals, [(7, 2), (8, 4)]);
}

#[test]
fn a_request_can_be_asked_for_while_its_exchange_is_under_way() {
    let mut pairer = Pairer::new(false, Limits::default());
    let target = |pairer: &Pairer, number| pairer.request(number).map(|request| request.target().into_owned());
    pairer.data(1, Side::Client, &GET_A.as_bytes()[..9]);
    assert_eq!(target(&pairer, 0), None);
    pairer.data(2, Side::Client, &GET_A.as_bytes()[9..]);
    pairer.data(3, Side::Client, GET_B.as_bytes());
    assert_eq!([0, 1, 2].map(|number| target(&pairer, number)), [Some("/a".into()), Some("/b".into()), None]);
    pairer.data(4, Side::Server, OK_1.as_bytes());
    assert_eq!([0, 1].map(|number| target(&pairer, number)), [None, Some("/b".into())]);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let both = format!("{GET_A}{GET_B}");
    let answers = format!("{OK_1}{OK_2}");
    let expected = ["0 GET /a[] -> 200 OK[1] Complete", "1 GET /b[] -> 200 OK[2] Complete"];
    assert_eq!(fresh(&[C(&both), S(&answers), Stop]), expected);
    assert_eq!(fresh(&[C(GET_A), C(GET_B), S(OK_1), S(OK_2), Stop]), expected);
}

#[test]
fn a_pipeline_that_is_cut_reports_every_request() {
    assert_eq!(
        fresh(&[C(GET_A), C(GET_B), C("GET /c"), S(OK_1), FinS, Close]),
        ["0 GET /a[] -> 200 OK[1] Complete", "1 GET /b[] ->  ClosedEarly", "2 []~GET /c ->  ClosedEarly"]
    );
}

#[test]
fn head_no_content_and_not_modified_have_no_body() {
    let head = "HEAD /h HTTP/1.1\r\n\r\n";
    let long = "HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n";
    assert_eq!(
        fresh(&[
            C(head),
            S(long),
            C(GET_A),
            S("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"),
            C(GET_B),
            S("HTTP/1.1 204 No Content\r\n\r\n"),
            Stop
        ]),
        [
            "0 HEAD /h[] -> 200 OK[] Complete",
            "1 GET /a[] -> 304 Not Modified[] Complete",
            "2 GET /b[] -> 204 No Content[] Complete"
        ]
    );
}

#[test]
fn continue_comes_between_head_and_body() {
    let script = [C(POST), S("HTTP/1.1 100 Continue\r\n\r\n"), C("body"), S(OK_1), Stop];
    assert_eq!(fresh(&script), ["0 POST /p[body] -> 100 Continue[] 200 OK[1] Complete"]);
    let events = events(false, Limits::default(), &script);
    assert_eq!(events[2], PairEvent::ResponseBegan { number: 0, mark: 4 });
}

#[test]
fn an_early_answer_waits_for_the_end_of_its_request() {
    let refused = "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(fresh(&[C(POST), S(refused), C("body"), Close]), ["0 POST /p[body] -> 413 Too Large[] Complete"]);
    assert_eq!(fresh(&[C(POST), C("b"), S(refused), Close]), ["0 POST /p[b]~ -> 413 Too Large[] Complete"]);
}

#[test]
fn an_upgrade_makes_everything_after_it_opaque_turns() {
    let switch = format!("{SWITCH}hello");
    assert_eq!(
        fresh(&[C(UPGRADE), S(&switch), C("a"), C("b"), S("c"), Close]),
        ["0 GET /ws[] -> 101 Switching Protocols[] s:hello c:ab s:c Complete"]
    );
    assert_eq!(
        fresh(&[C("CONNECT h:1 HTTP/1.1\r\n\r\n"), C("early"), S("HTTP/1.1 200 OK\r\n\r\n"), GapC(3), S("x"), Stop]),
        ["0 CONNECT h:1[] -> 200 OK[] c:early s:x Unfinished Gap(Client 29+3)"]
    );
}

#[test]
fn what_is_said_behind_an_unanswered_upgrade_is_kept() {
    assert_eq!(
        fresh(&[C(GET_A), C(UPGRADE), C("early"), S(OK_1), Close]),
        ["0 GET /a[] -> 200 OK[1] Complete", "1 GET /ws[] ->  c:early ClosedEarly"]
    );
}

#[test]
fn bytes_after_the_end_of_their_side_make_a_new_request() {
    assert_eq!(
        fresh(&[C("GET /a HT"), FinC, C("bad\r\n"), Close]),
        ["0 []~GET /a HT ->  ClosedEarly", "1 []~bad\\r\\n ->  ClosedEarly Garbage"]
    );
}

#[test]
fn a_refused_upgrade_goes_on_as_http() {
    let more = format!("{UPGRADE}{UPGRADE}{GET_A}");
    assert_eq!(
        fresh(&[C(&more), C(GET_B), S(OK_1), S(OK_2), S(OK_1), S(OK_2), Stop]),
        [
            "0 GET /ws[] -> 200 OK[1] Complete",
            "1 GET /ws[] -> 200 OK[2] Complete",
            "2 GET /a[] -> 200 OK[1] Complete",
            "3 GET /b[] -> 200 OK[2] Complete"
        ]
    );
}

#[test]
fn a_switch_nobody_asked_for_is_garbage() {
    assert_eq!(
        fresh(&[C(GET_A), S(SWITCH), C("x"), Close]),
        ["0 GET /a[] -> 101 Switching Protocols[] Complete Garbage", "1 opaque c:x Complete Garbage"]
    );
}

#[test]
fn a_body_without_length_ends_with_the_server() {
    let endless = "HTTP/1.1 200 OK\r\n\r\nab";
    assert_eq!(fresh(&[C(GET_A), S(endless), S("cd"), FinS]), ["0 GET /a[] -> 200 OK[abcd] Complete"]);
    assert_eq!(fresh(&[C(GET_A), S(endless), Close]), ["0 GET /a[] -> 200 OK[ab] Complete"]);
    assert_eq!(fresh(&[C(GET_A), S(endless), Reset]), ["0 GET /a[] -> 200 OK[ab]~ ClosedEarly"]);
    assert_eq!(fresh(&[C(GET_A), S(endless), Stop]), ["0 GET /a[] -> 200 OK[ab]~ Unfinished"]);
}

#[test]
fn connections_that_end_early() {
    assert_eq!(fresh(&[C(GET_A), Close]), ["0 GET /a[] ->  ClosedEarly"]);
    assert_eq!(fresh(&[C(GET_A), FinC, S(OK_1), Close]), ["0 GET /a[] -> 200 OK[1] Complete"]);
    assert_eq!(fresh(&[C(POST), C("bo"), FinC, Close]), ["0 POST /p[bo]~ ->  ClosedEarly"]);
    assert_eq!(fresh(&[C(GET_A), S(OK_4), S("ab"), FinS, Stop]), ["0 GET /a[] -> 200 OK[ab]~ ClosedEarly"]);
    assert_eq!(fresh(&[C(GET_A), S("HTTP/1.1 2"), Reset]), ["0 GET /a[] -> []~HTTP/1.1 2 ClosedEarly"]);
    assert_eq!(fresh(&[C(GET_A), S(OK_4), Stop]), ["0 GET /a[] -> 200 OK[]~ Unfinished"]);
    assert_eq!(fresh(&[C("GET /a HT"), Stop]), ["0 []~GET /a HT ->  Unfinished"]);
}

#[test]
fn a_client_leaves_while_its_response_is_under_way() {
    let left = [C(GET_A), S(OK_4), S("ab"), FinC, S("cd"), Close];
    assert_eq!(fresh(&left), ["0 GET /a[] -> 200 OK[abcd]! Complete"]);
    assert_eq!(fresh(&[&left[..4], &[Reset]].concat()), ["0 GET /a[] -> 200 OK[ab]~! ClosedEarly"]);
    // It sends no more before the response begins, or once it has all of it.
    assert_eq!(fresh(&[C(GET_A), FinC, S(OK_4), S("abcd"), Close]), ["0 GET /a[] -> 200 OK[abcd] Complete"]);
    assert_eq!(fresh(&[C(GET_A), S(OK_1), FinC, Close]), ["0 GET /a[] -> 200 OK[1] Complete"]);
    // Of pipelined requests the one that is being answered.
    let first = "0 GET /a[] -> 200 OK[abcd]! Complete";
    let pipelined = [C(GET_A), C(GET_B), S(OK_4), FinC, S("abcd"), S(OK_2), Close];
    assert_eq!(fresh(&pipelined), [first, "1 GET /b[] -> 200 OK[2] Complete"]);
}

#[test]
fn nothing_comes_of_nothing() {
    assert_eq!(fresh(&[Close]), [""; 0]);
    assert_eq!(joined(&[Close]), [""; 0]);
    assert_eq!(fresh(&[C(""), S(""), GapC(0), FinC, FinS, Close, C(GET_A), Close]), [""; 0]);
    assert_eq!(fresh(&[C(GET_A), S(OK_1), C("\r\n"), Close]), ["0 GET /a[] -> 200 OK[1] Complete"]);
}

#[test]
fn other_protocols_are_one_opaque_exchange() {
    assert_eq!(
        fresh(&[C("PI"), C("NG\r\n"), S("+PONG\r\n"), C("QUIT\r\n"), Close]),
        ["0 opaque c:PING\\r\\n s:+PONG\\r\\n c:QUIT\\r\\n Complete"]
    );
    assert_eq!(
        fresh(&[S("220 mail ready\r\n"), C("EHLO x\r\n"), Stop]),
        ["0 opaque s:220 mail ready\\r\\n c:EHLO x\\r\\n Unfinished"]
    );
    assert_eq!(fresh(&[C("G"), S("?"), Close]), ["0 opaque c:G s:? Complete"]);
    assert_eq!(fresh(&[S(OK_1), C(GET_A), Reset])[0].split(' ').next_back(), Some("ClosedEarly"));
    assert_eq!(
        fresh(&[C("OPTIONS * RTSP"), C("/1.0\r\nCSeq: 1\r\n"), S("RTSP/1.0 200 OK\r\n"), Close]),
        ["0 opaque c:OPTIONS * RTSP/1.0\\r\\nCSeq: 1\\r\\n s:RTSP/1.0 200 OK\\r\\n Complete"]
    );
    assert_eq!(
        fresh(&[C("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), S("\0"), Stop]),
        ["0 opaque c:PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n s:\\0 Unfinished"]
    );
}

#[test]
fn an_opaque_exchange_has_marks_too() {
    let exchanges = done(events(false, Limits::default(), &[C("P"), C("ING\r\n"), S("+"), S("PONG\r\n"), Close]));
    let paired = &exchanges[0];
    assert_eq!((paired.request_began, paired.request_complete), (1, None));
    assert_eq!((paired.response_began, paired.response_complete), (Some(3), Some(4)));
}

#[test]
fn ciphertext_is_marked_and_not_all_kept() {
    let mut pairer = Pairer::new(false, Limits::default());
    pairer.data(1, Side::Client, b"\x16\x03\x01\x02\0");
    pairer.data(2, Side::Server, &[0x16; 100_000]);
    pairer.data(3, Side::Client, &[0x17; 100_000]);
    pairer.closed(4);
    let exchanges = done(std::iter::from_fn(|| pairer.next()).collect());
    let [paired] = &exchanges[..] else { panic!("one exchange") };
    let PairedContent::Opaque(turns) = &paired.content else { panic!("opaque") };
    let kept: usize = turns.iter().map(|(_, bytes)| bytes.len()).sum();
    assert!(kept <= 64 << 10);
    let dropped =
        paired.problems.iter().map(|problem| if let Problem::Gap { bytes, .. } = problem { *bytes } else { 0 });
    assert_eq!(kept as u64 + dropped.sum::<u64>(), 200_005);
    assert!(paired.problems.contains(&Problem::Encrypted));
}

#[test]
fn a_bad_request_is_kept_whole_and_may_be_answered() {
    let bad = "GET /x HTTP/1.1\r\nno colon\r\nA: b\r\n\r\n";
    let error = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(
        fresh(&[C(GET_A), S(OK_1), C(bad), C("more"), S(error), Close]),
        [
            "0 GET /a[] -> 200 OK[1] Complete",
            "1 GET /x[]~no colon\\r\\nA: b\\r\\n\\r\\nmore -> 400 Bad Request[] Complete Garbage"
        ]
    );
    let smuggled = "POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(fresh(&[C(smuggled), Close]), ["0 POST /[]~\\r\\n0\\r\\n\\r\\n ->  ClosedEarly Garbage"]);
}

#[test]
fn a_bad_response_is_kept_whole() {
    assert_eq!(
        fresh(&[C(GET_A), S("HTTP/1.1 200 OK\r\nbad\r\n"), S("rest"), C(GET_B), Close]),
        ["0 GET /a[] -> 200 OK[]~bad\\r\\nrest ClosedEarly Garbage", "1 GET /b[] ->  ClosedEarly Garbage"]
    );
}

#[test]
fn a_response_nobody_asked_for_is_garbage() {
    let timeout = "HTTP/1.1 408 T\r\n\r\n";
    assert_eq!(
        fresh(&[C(GET_A), S(OK_1), S(timeout), FinS, Close]),
        ["0 GET /a[] -> 200 OK[1] Complete", "1 opaque s:HTTP/1.1 408 T\\r\\n\\r\\n Complete Garbage"]
    );
}

#[test]
fn a_gap_inside_a_body_of_known_length_leaves_a_hole() {
    assert_eq!(
        fresh(&[C(POST), C("b"), GapC(2), C("y"), S(OK_4), GapS(4), C(GET_A), S(OK_1), Stop]),
        ["0 POST /p[b]~ -> 200 OK[]~ Complete Gap(Client 40+2) Gap(Server 38+4)", "1 GET /a[] -> 200 OK[1] Complete"]
    );
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab";
    assert_eq!(
        fresh(&[C(GET_A), S(chunked), GapS(3), S("\r\n1\r\nx\r\n0\r\n\r\n"), C(GET_B), S(OK_1), Stop]),
        ["0 GET /a[] -> 200 OK[ab]~ Complete Gap(Server 52+3)", "1 GET /b[] -> 200 OK[1] Complete"]
    );
    let endless = "HTTP/1.1 200 OK\r\n\r\nab";
    assert_eq!(
        fresh(&[C(GET_A), S(endless), GapS(3), S("c"), FinS]),
        ["0 GET /a[] -> 200 OK[ab]~ Complete Gap(Server 21+3)"]
    );
}

#[test]
fn a_lost_response_costs_its_exchange_only() {
    // The response is seen to be missing only when the server speaks again.
    assert_eq!(
        fresh(&[C(GET_A), C(GET_B), GapS(50), S(OK_2), C(GET_C), S(OK_1), Stop]),
        [
            "0 GET /a[] ->  Unfinished Gap(Server 0+50)",
            "1 GET /b[] -> 200 OK[2] Complete Gap(Server 0+50)",
            "2 GET /c[] -> 200 OK[1] Complete"
        ]
    );
    // Its beginning is missing, or its end.
    assert_eq!(
        fresh(&[C(GET_A), GapS(50), S("rest"), C(GET_B), S(OK_1), C(GET_C), S(OK_2), Stop]),
        [
            "0 GET /a[] ->  Unfinished Gap(Server 0+50)",
            "1 GET /b[] -> 200 OK[1] Complete Gap(Server 0+50)",
            "2 GET /c[] -> 200 OK[2] Complete"
        ]
    );
    assert_eq!(
        fresh(&[C(GET_A), S("HTTP/1.1 200 OK\r\nCont"), GapS(30), S("rest"), C(GET_B), S(OK_1), Stop]),
        ["0 GET /a[] -> 200 OK[]~Cont Unfinished Gap(Server 21+30)", "1 GET /b[] -> 200 OK[1] Complete"]
    );
}

#[test]
fn a_lost_request_is_shown_by_what_is_left_of_it() {
    assert_eq!(
        fresh(&[C(GET_A), S(OK_1), GapC(30), S(OK_2), C(GET_B), S(OK_1), Stop]),
        [
            "0 GET /a[] -> 200 OK[1] Complete",
            "1 opaque s:HTTP/1.1 200 OK\\r\\nContent-Length: 1\\r\\n\\r\\n2 Unfinished Gap(Client 19+30)",
            "2 GET /b[] -> 200 OK[1] Complete"
        ]
    );
    assert_eq!(
        fresh(&[C("GET /a HTTP/1.1\r\nA:"), GapC(9), C("b\r\n\r\n"), S(OK_1), C(GET_B), S(OK_2), Stop]),
        ["0 GET /a[]~A: ->  Unfinished Gap(Client 19+9)", "1 GET /b[] -> 200 OK[2] Complete"]
    );
    assert_eq!(fresh(&[GapC(5), Close]), ["0 opaque Unfinished Gap(Client 0+5)"]);
}

#[test]
fn a_run_of_lost_bytes_on_both_sides() {
    assert_eq!(
        fresh(&[C(GET_A), GapC(38), C(GET_B), GapS(120), S(OK_1), C(GET_C), S(OK_2), Stop]),
        [
            "0 GET /a[] ->  Unfinished Gap(Client 19+38)",
            "1 GET /b[] -> 200 OK[1] Complete Gap(Server 0+120)",
            "2 GET /c[] -> 200 OK[2] Complete"
        ]
    );
}

#[test]
fn a_run_of_lost_bytes_that_does_not_end_between_messages() {
    assert_eq!(
        fresh(&[C(GET_A), GapC(30), C("rest\r\n\r\n"), GapS(50), C(GET_B), S(OK_1), Stop]),
        ["0 GET /a[] ->  Unfinished Gap(Client 19+30)", "1 GET /b[] -> 200 OK[1] Complete"]
    );
}

#[test]
fn arrivals_are_those_of_body_bytes() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let script =
        [C(GET_A), S(chunked), S("3\r\nab"), S("c"), S("\r\n1\r\nd\r\n2\r\nef\r\n"), S("0\r\n"), S("\r\n"), Stop];
    assert_eq!(done(events(false, Limits::default(), &script))[0].arrivals, [(3, 2), (4, 3), (5, 6)]);
}

#[test]
fn after_a_loss_in_a_pipeline_nothing_is_guessed() {
    // The first response comes without a gap, so that it cannot answer the request behind the lost ones.
    let lines = fresh(&[C(GET_A), GapC(19), C(GET_C), S(OK_1), S(OK_2), S(OK_1), Close]);
    assert_eq!(lines[0], "0 GET /a[] ->  Unfinished Gap(Client 19+19)");
    assert_eq!(lines[1], "1 GET /c[] ->  Unfinished Gap(Client 19+19)");
    assert!(lines[2].starts_with("2 opaque s:"), "{}", lines[2]);
    // The client is known to pipeline.
    let lines = fresh(&[C(GET_A), C(GET_B), S(OK_1), C(GET_C), GapS(38), S(OK_2), Close]);
    assert_eq!(lines[1], "1 GET /b[] ->  Unfinished Gap(Server 39+38)");
    assert_eq!(lines[2], "2 GET /c[] ->  Unfinished Gap(Server 39+38)");
    assert!(lines[3].starts_with("3 opaque s:"), "{}", lines[3]);
}

#[test]
fn joined_between_exchanges() {
    assert_eq!(
        joined(&[C("GE"), C("T /a HTTP/1.1\r\n"), C("\r\n"), S(OK_1), Stop]),
        ["0 GET /a[] -> 200 OK[1] Complete"]
    );
}

#[test]
fn joined_in_the_middle_of_a_request_body() {
    assert_eq!(
        joined(&[C("some /body HTTP\r\n"), C("GETaway"), S(OK_1), C(GET_A), S(OK_2), Stop]),
        [
            "0 opaque c:some /body HTTP\\r\\nGETaway s:HTTP/1.1 200 OK\\r\\nContent-Length: 1\\r\\n\\r\\n1 Unfinished JoinedMidStream",
            "1 GET /a[] -> 200 OK[2] Complete"
        ]
    );
}

#[test]
fn joined_in_the_middle_of_a_response_body() {
    assert_eq!(
        joined(&[S("tail of a body"), C(GET_A), S(OK_1), Stop]),
        ["0 opaque s:tail of a body Unfinished JoinedMidStream", "1 GET /a[] -> 200 OK[1] Complete"]
    );
    // The client already sends the next request.
    assert_eq!(
        joined(&[C(GET_A), S("tail of a body"), S(OK_1), C(GET_B), S(OK_2), Stop]),
        ["0 GET /a[] -> 200 OK[1] Complete JoinedMidStream", "1 GET /b[] -> 200 OK[2] Complete"]
    );
}

#[test]
fn joined_without_ever_finding_a_request() {
    assert_eq!(
        joined(&[C("GET /half a line"), S("x"), Close]),
        ["0 opaque c:GET /half a line s:x Unfinished JoinedMidStream"]
    );
    assert_eq!(
        joined(&[C("\x17\x03\x03\0\x01x"), Close])[0].split(' ').skip(3).collect::<Vec<_>>(),
        ["Unfinished", "JoinedMidStream", "Encrypted"]
    );
}

#[test]
fn a_body_beyond_the_limit_is_counted_and_the_connection_goes_on() {
    let limits = Limits { head: 1000, body: 2 };
    let lines: Vec<_> =
        done(events(false, limits, &[C(POST), C("bo"), C("dy"), S(OK_1), C(GET_A), S(OK_4), S("abcd"), Stop]))
            .iter()
            .map(line)
            .collect();
    assert_eq!(lines, ["0 POST /p[bo]~ -> 200 OK[1] Complete TooLarge", "1 GET /a[] -> 200 OK[ab]~ Complete TooLarge"]);
}

#[test]
fn a_head_beyond_the_limit_ends_what_can_be_read() {
    let limits = Limits { head: 40, body: 1000 };
    let long = format!("GET /b HTTP/1.1\r\nA: {}\r\n\r\n", "x".repeat(40));
    let exchanges = done(events(false, limits, &[C(GET_A), C(&long), Close]));
    assert_eq!(exchanges[1].problems, [Problem::TooLarge]);
    let PairedContent::Http1 { request, .. } = &exchanges[1].content else { panic!("a request") };
    assert_eq!(request.wire(), long.as_bytes());
}

#[test]
fn a_conversation_without_end_is_kept_up_to_a_bound_and_counted_beyond_it() {
    let mut pairer = Pairer::new(false, Limits::default());
    pairer.data(1, Side::Client, b"PING\r\n");
    let piece = vec![b'x'; 1 << 20];
    (0..40).for_each(|_| pairer.data(2, Side::Server, &piece));
    pairer.closed(3);
    let paired = std::iter::from_fn(|| pairer.next()).find_map(|event| match event {
        PairEvent::Done(paired) => Some(paired),
        _ => None,
    });
    let Paired { content: PairedContent::Opaque(turns), problems, .. } = *paired.expect("an exchange") else {
        panic!()
    };
    let kept = turns.iter().filter(|(side, _)| *side == Side::Server).map(|(_, bytes)| bytes.len() as u64).sum::<u64>();
    assert!((15 << 20..=16 << 20).contains(&kept), "{kept}");
    assert_eq!(problems, [Problem::Gap { from: Side::Server, position: kept, bytes: (40 << 20) - kept }]);
}

#[test]
fn gaps_that_follow_each_other_are_one() {
    let unseen = [C("PING\r\n"), GapS(2), GapC(5), GapS(3), GapS(4), GapC(1), S("x"), GapS(7), Close];
    let gaps = "Gap(Server 0+9) Gap(Client 6+6) Gap(Server 10+7)";
    assert_eq!(fresh(&unseen), [format!("0 opaque c:PING\\r\\n s:x Complete {gaps}")]);
}

#[test]
fn a_pipeline_beyond_the_limit_becomes_opaque() {
    let flood = GET_A.repeat(1025);
    let exchanges = done(events(false, Limits::default(), &[C(&flood), Close]));
    assert_eq!(exchanges.len(), 1025);
    assert_eq!(line(&exchanges[1024]), "1024 opaque c:GET /a HTTP/1.1\\r\\n\\r\\n Complete TooLarge");
}
