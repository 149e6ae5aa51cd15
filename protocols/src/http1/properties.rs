//! What holds for all inputs.

use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*, sample::select};

use super::*;
use crate::{PairEnd, PairEvent, Paired, PairedContent, Problem, Side};

/// One message as bytes, with the body that is in it.
#[derive(Clone, Debug)]
struct Sample {
    wire: Vec<u8>,
    body: Vec<u8>,
}

fn line_end() -> impl Strategy<Value = &'static str> {
    prop_oneof![5 => Just("\r\n"), 1 => Just("\n")]
}

fn header() -> impl Strategy<Value = String> {
    (
        "X-[!#$%&'*+.^_`|~0-9A-Za-z-]{0,8}",
        ":[ \t]{0,2}",
        "[ -~\u{80}-\u{ff}]{0,20}",
        option::of("[ \t]+[ -~]{0,9}"),
        line_end(),
    )
        .prop_map(|(name, colon, value, folded, end)| {
            let folded = folded.map(|folded| format!("{end}{folded}")).unwrap_or_default();
            format!("{name}{colon}{value}{folded}{end}")
        })
}

/// Headers that frame a body, and the body as it stands on the wire and without its transfer coding.
fn body() -> impl Strategy<Value = (String, Vec<u8>, Vec<u8>)> {
    let length =
        vec(any::<u8>(), 0..60).prop_map(|body| (format!("Content-Length: {}\r\n", body.len()), body.clone(), body));
    let chunk = (vec(any::<u8>(), 1..20), "(;[a-z]{1,3}(=\"[ -!#-~]{0,5}\")?)?");
    let chunked = (vec(chunk, 0..5), vec(header(), 0..3), line_end()).prop_map(|(chunks, trailers, end)| {
        let mut wire = Vec::new();
        for (data, extension) in &chunks {
            wire.extend(format!("{:X}{extension}\r\n", data.len()).into_bytes());
            wire.extend(data);
            wire.extend(b"\r\n");
        }
        wire.extend(format!("0\r\n{}{end}", trailers.concat()).into_bytes());
        let body = chunks.into_iter().flat_map(|(data, _)| data).collect();
        ("Transfer-Encoding: chunked\r\n".to_owned(), wire, body)
    });
    prop_oneof![length, chunked]
}

fn message(start: impl Strategy<Value = String>, framed: bool) -> impl Strategy<Value = Sample> {
    let body = if framed {
        body().boxed()
    } else {
        prop_oneof![body(), Just((String::new(), Vec::new(), Vec::new()))].boxed()
    };
    (start, line_end(), vec(header(), 0..4), body, line_end()).prop_map(
        |(start, after_start, headers, (framing, coded, body), end)| {
            let head = format!("{start}{after_start}{}{framing}{end}", headers.concat());
            Sample { wire: [head.into_bytes(), coded].concat(), body }
        },
    )
}

/// The methods are none of those that frame a response in their own way.
fn request() -> impl Strategy<Value = Sample> {
    message("(\r\n|\n)?M[A-Z]{0,8} /[!-~]{0,12} HTTP/1\\.1", false)
}

fn response() -> impl Strategy<Value = Sample> {
    message("HTTP/1\\.1 (200|404|503)( [ -~]{0,9})?", true)
}

/// Bytes that get far into the readers before they go wrong, if they do.
fn almost_http() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        8 => select(vec![
            "GET / HTTP/1.1\r\n", "POST /p HTTP/1.1\r\n", "HEAD /h HTTP/1.0\n", "CONNECT h:1 HTTP/1.1\r\n",
            "HTTP/1.1 200 OK\r\n", "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 101 S\r\n", "HTTP/1.1 304\r\n",
            "Content-Length: 3\r\n", "Content-Length: 4\r\n", "Transfer-Encoding: chunked\r\n", " folded\r\n",
            "Connection: upgrade\r\nUpgrade: x\r\n", "\r\n", "\n", "\r", "abc", "3\r\nabc\r\n", "0\r\n\r\n", "0;x\r\n", "A: b\r\n",
        ]).prop_map(|text| text.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..9),
        1 => select(vec![&b"\x16\x03\x01\x00\x10"[..], b"\xff\xff", b"ffffffffffffffff\r\n", b"\0"]).prop_map(<[u8]>::to_vec),
    ];
    vec(part, 0..14).prop_map(|parts| parts.concat())
}

/// Cuts `bytes` at places made of `cuts`.
fn pieces<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

/// All messages of a request stream, the error that ended it, and what was cut at its end.
fn requests(pieces: &[&[u8]]) -> (Vec<Message>, Option<Fault>) {
    let mut reader = RequestReader::new(Limits::default());
    let mut messages = Vec::new();
    for piece in pieces {
        match reader.feed(piece) {
            Ok(more) => messages.extend(more),
            Err(error) => return (messages, Some(error.fault)),
        }
    }
    while !reader.remaining().is_empty() {
        match reader.feed(b"") {
            Ok(more) => messages.extend(more),
            Err(error) => return (messages, Some(error.fault)),
        }
    }
    match reader.finish() {
        Ok(cut) => messages.extend(cut),
        Err(error) => return (messages, Some(error.fault)),
    }
    (messages, None)
}

fn responses(method: &str, pieces: &[&[u8]]) -> (Vec<Message>, Option<Fault>, Vec<u8>) {
    let mut reader = ResponseReader::new(method, Limits::default());
    let mut messages = Vec::new();
    for piece in pieces {
        match reader.feed(piece) {
            Ok(more) => messages.extend(more),
            Err(error) => return (messages, Some(error.fault), Vec::new()),
        }
    }
    if let Err(error) = reader.feed(b"") {
        return (messages, Some(error.fault), Vec::new());
    }
    let after = reader.remaining().to_vec();
    messages.extend(reader.finish());
    (messages, None, after)
}

fn wire(messages: &[Message]) -> Vec<u8> {
    messages.iter().flat_map(Message::wire).collect()
}

/// What a script of both sides comes to, without marks and numbers of bytes.
fn paired(joined: bool, script: &[(Side, &[u8])]) -> Vec<(u64, PairedContent, PairEnd, Vec<Problem>)> {
    let mut pairer = Pairer::new(joined, Limits::default());
    for ((from, bytes), mark) in script.iter().zip(1..) {
        pairer.data(mark, *from, bytes);
    }
    pairer.stop(u64::MAX);
    done(&mut pairer).into_iter().map(|paired| (paired.number, paired.content, paired.end, paired.problems)).collect()
}

/// Takes all events, and checks that they tell one story: every exchange begins once and is done once.
fn done(pairer: &mut Pairer) -> Vec<Paired> {
    let (mut began, mut done) = (0, Vec::new());
    while let Some(event) = pairer.next() {
        match event {
            PairEvent::RequestBegan { number, .. } => {
                assert_eq!(number, began);
                began += 1;
            }
            PairEvent::RequestContinued { number, .. }
            | PairEvent::RequestComplete { number, .. }
            | PairEvent::ResponseBegan { number, .. }
            | PairEvent::ResponseComplete { number, .. } => assert!(number < began),
            PairEvent::Done(paired) => done.push(*paired),
        }
    }
    let mut numbers: Vec<u64> = done.iter().map(|paired| paired.number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..began).collect::<Vec<_>>());
    done
}

/// The bytes of one side that an exchange holds.
fn said(content: &PairedContent, side: Side) -> Vec<u8> {
    let of = |turns: &[(Side, Bytes)]| {
        turns.iter().filter(|(from, _)| *from == side).flat_map(|(_, bytes)| bytes.to_vec()).collect::<Vec<u8>>()
    };
    match content {
        PairedContent::Opaque(turns) => of(turns),
        PairedContent::Http1 { request, upgraded, .. } if side == Side::Client => {
            [request.wire(), of(upgraded)].concat()
        }
        PairedContent::Http1 { interim, response, upgraded, .. } => {
            [wire(interim), wire(response.as_slice()), of(upgraded)].concat()
        }
        PairedContent::Wire { .. } => Vec::new(),
    }
}

proptest! {
    #[test]
    fn requests_do_not_depend_on_how_they_are_cut(
        samples in vec(request(), 0..5), cuts in vec(any::<usize>(), 0..12),
    ) {
        let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.wire.clone()).collect();
        let (messages, fault) = requests(&pieces(&bytes, &cuts));
        prop_assert_eq!(fault, None);
        prop_assert_eq!(messages.len(), samples.len());
        for (message, sample) in messages.iter().zip(&samples) {
            prop_assert_eq!(&message.body, &sample.body);
            prop_assert_eq!(message.wire(), &sample.wire[..]);
            prop_assert!(message.is_request());
        }
        prop_assert_eq!(&messages, &requests(&[&bytes]).0);
    }

    #[test]
    fn responses_do_not_depend_on_how_they_are_cut(
        sample in response(), after in vec(any::<u8>(), 0..9), cuts in vec(any::<usize>(), 0..12),
    ) {
        let bytes = [&sample.wire[..], &after].concat();
        let (messages, fault, remaining) = responses("GET", &pieces(&bytes, &cuts));
        prop_assert_eq!(fault, None);
        prop_assert_eq!(messages.len(), 1);
        prop_assert_eq!(&messages[0].body, &sample.body);
        prop_assert_eq!(messages[0].wire(), sample.wire);
        prop_assert_eq!(remaining, after);
    }

    #[test]
    fn a_cut_message_is_still_all_its_bytes(sample in request(), answer in response(), cut in any::<usize>()) {
        let bytes = &sample.wire[..cut % sample.wire.len()];
        let (messages, fault) = requests(&[bytes]);
        prop_assert_eq!(fault, None);
        let empty_lines = bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n'));
        prop_assert_eq!(wire(&messages), if empty_lines { b"" } else { bytes });
        prop_assert!(messages.iter().all(|message| !message.is_complete()));

        let bytes = &answer.wire[..cut % answer.wire.len()];
        let (messages, fault, _) = responses("GET", &[bytes]);
        prop_assert_eq!(fault, None);
        prop_assert_eq!(wire(&messages), bytes);
    }

    #[test]
    fn any_bytes_are_read_or_refused_alike_however_cut(bytes in almost_http(), cuts in vec(any::<usize>(), 0..12)) {
        let cut = pieces(&bytes, &cuts);
        let (messages, fault) = requests(&cut);
        prop_assert!(bytes.starts_with(&wire(&messages)));
        prop_assert_eq!((messages, fault), requests(&[&bytes]));
        for method in ["GET", "HEAD", "CONNECT"] {
            let (messages, fault, after) = responses(method, &cut);
            prop_assert!(bytes.starts_with(&[wire(&messages), after.clone()].concat()));
            prop_assert_eq!((messages, fault, after), responses(method, &[&bytes]));
        }
        let mut reader = RequestReader::new(Limits::default());
        let _ = reader.feed(&bytes);
        prop_assert!(reader.buffered() <= bytes.len());
    }

    #[test]
    fn detection_ends_and_never_changes_its_mind(bytes in prop_oneof![almost_http(), vec(any::<u8>(), 0..40)]) {
        let whole = detect(&bytes);
        prop_assert!(whole != Detected::NeedMore || bytes.len() < 24);
        for length in 0..bytes.len() {
            let part = detect(&bytes[..length]);
            prop_assert!(part == Detected::NeedMore || part == whole);
        }
    }

    #[test]
    fn exchanges_do_not_depend_on_how_they_are_cut(
        exchanges in vec((request(), response()), 0..5), cuts in vec(any::<usize>(), 0..9), joined: bool,
    ) {
        let turns: Vec<(Side, &[u8])> = exchanges
            .iter()
            .flat_map(|(request, response)| [(Side::Client, &request.wire[..]), (Side::Server, &response.wire[..])])
            .collect();
        let whole = paired(false, &turns);
        prop_assert_eq!(whole.len(), exchanges.len());
        for ((_, content, end, problems), (request, response)) in whole.iter().zip(&exchanges) {
            let PairedContent::Http1 { request: asked, response: Some(answered), .. } = content else {
                panic!("not an exchange: {content:?}")
            };
            prop_assert_eq!(asked.wire(), &request.wire[..]);
            prop_assert_eq!(answered.wire(), &response.wire[..]);
            prop_assert_eq!((*end, &problems[..]), (PairEnd::Complete, &[][..]));
        }
        let cut: Vec<(Side, &[u8])> = turns
            .iter()
            .flat_map(|(side, bytes)| pieces(bytes, &cuts).into_iter().map(|piece| (*side, piece)))
            .collect();
        prop_assert_eq!(&paired(false, &cut), &whole);
        if exchanges.iter().all(|(request, _)| request.wire[0] == b'M') {
            prop_assert_eq!(&paired(joined, &cut), &whole);
        }
    }

    #[test]
    fn whatever_is_said_is_kept(
        script in vec((select(vec![Side::Client, Side::Server]), almost_http()), 0..6),
    ) {
        let script: Vec<(Side, &[u8])> = script.iter().map(|(side, bytes)| (*side, &bytes[..])).collect();
        let exchanges = paired(false, &script);
        for side in [Side::Client, Side::Server] {
            let given: Vec<u8> =
                script.iter().filter(|(from, _)| *from == side).flat_map(|(_, bytes)| bytes.to_vec()).collect();
            let kept: Vec<u8> = exchanges.iter().flat_map(|(_, content, ..)| said(content, side)).collect();
            prop_assert!(kept.len() <= given.len());
            let sound = exchanges.iter().all(|(.., problems)| problems.is_empty());
            if sound {
                let rest = given.strip_prefix(&kept[..]).expect("in order");
                prop_assert!(rest.iter().all(|byte| matches!(byte, b'\r' | b'\n')), "{rest:?}");
            }
        }
    }

    #[test]
    fn any_script_is_survived(
        script in vec((0..7_usize, almost_http(), 0..200_u64), 0..12), joined: bool, ending in 0..3,
        head in 1..300_usize, body in 0..300_u64,
    ) {
        let mut pairer = Pairer::new(joined, Limits { head, body });
        for ((what, bytes, lost), mark) in script.iter().zip(1..) {
            let side = if what % 2 == 0 { Side::Client } else { Side::Server };
            match what {
                0..4 => pairer.data(mark, side, bytes),
                4..6 => pairer.gap(mark, side, *lost),
                _ => pairer.finished(mark, side),
            }
        }
        match ending {
            0 => pairer.closed(99),
            1 => pairer.reset(99),
            _ => pairer.stop(99),
        }
        let given: usize = script.iter().map(|(_, bytes, _)| bytes.len()).sum();
        let kept: usize = done(&mut pairer)
            .iter()
            .map(|paired| said(&paired.content, Side::Client).len() + said(&paired.content, Side::Server).len())
            .sum();
        prop_assert!(kept <= given, "{kept} bytes kept of {given}");
    }
}

const CONVERSATION: [(Side, &str); 6] = [
    (
        Side::Client,
        "\r\nPOST /a?b=c HTTP/1.1\r\nHost: x\r\nA: b\r\n  c\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n",
    ),
    (Side::Server, "HTTP/1.1 100 Continue\r\n\r\n"),
    (Side::Client, "3;x=\"y\"\r\nabc\r\n0a\nabcdefghij\r\n00\r\nT: u\r\n\n"),
    (Side::Server, "HTTP/1.1 200 OK\nContent-Length: 5, 5\r\n\r\nhello"),
    (Side::Client, "GET /ws HTTP/1.1\r\nConnection: x, upgrade\r\nUpgrade: y\r\n\r\n"),
    (Side::Server, "HTTP/1.1 101\r\n\r\nframe"),
];

#[test]
fn a_conversation_cut_at_every_place() {
    let turns = CONVERSATION.map(|(side, text)| (side, text.as_bytes()));
    let whole = paired(false, &turns);
    assert_eq!(whole.len(), 2);
    assert!(whole.iter().all(|(.., problems)| problems.is_empty()));
    let kept: Vec<u8> = whole.iter().flat_map(|(_, content, ..)| said(content, Side::Client)).collect();
    assert_eq!(kept, [turns[0].1, turns[2].1, turns[4].1].concat());
    for (turn, (side, bytes)) in turns.iter().enumerate() {
        for place in 0..=bytes.len() {
            let mut cut = turns.to_vec();
            cut.splice(turn..=turn, [(*side, &bytes[..place]), (*side, &bytes[place..])]);
            assert_eq!(paired(false, &cut), whole, "turn {turn} cut at {place}");
        }
    }
    let single: Vec<(Side, &[u8])> =
        turns.iter().flat_map(|(side, bytes)| bytes.chunks(1).map(|byte| (*side, byte))).collect();
    assert_eq!(paired(false, &single), whole);
}

#[test]
fn a_conversation_that_stops_at_every_place_keeps_what_was_said() {
    let turns = CONVERSATION.map(|(side, text)| (side, text.as_bytes()));
    for (turn, (side, bytes)) in turns.iter().enumerate() {
        for place in 0..bytes.len() {
            let mut cut = turns[..turn].to_vec();
            cut.push((*side, &bytes[..place]));
            let exchanges = paired(false, &cut);
            for side in [Side::Client, Side::Server] {
                let given: Vec<u8> =
                    cut.iter().filter(|(from, _)| *from == side).flat_map(|(_, bytes)| bytes.to_vec()).collect();
                let kept: Vec<u8> = exchanges.iter().flat_map(|(_, content, ..)| said(content, side)).collect();
                assert_eq!(kept, given, "turn {turn} stopped at {place}");
            }
        }
    }
}

#[test]
fn bodies_of_64_mib() {
    const SIZE: usize = 64 << 20;
    let piece = vec![b'x'; 16 << 10];
    let mut reader = RequestReader::new(Limits::default());
    assert!(reader.feed(format!("PUT / HTTP/1.1\r\nContent-Length: {SIZE}\r\n\r\n").as_bytes()).unwrap().is_empty());
    let mut messages = Vec::new();
    for _ in 0..SIZE / piece.len() {
        messages.extend(reader.feed(&piece).unwrap());
    }
    assert_eq!(messages[0].body.len(), SIZE);

    let mut reader = ResponseReader::new("GET", Limits::default());
    reader.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    for _ in 0..SIZE / piece.len() {
        reader.feed(b"4000\r\n").unwrap();
        reader.feed(&piece).unwrap();
        reader.feed(b"\r\n").unwrap();
    }
    let messages = reader.feed(b"0\r\n\r\n").unwrap();
    assert_eq!(messages[0].body.len(), SIZE);
    assert_eq!(messages[0].wire().len(), 47 + SIZE + SIZE / piece.len() * 8 + 5);
}
