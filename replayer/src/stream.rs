//! Whether events of a stream are held back. Pure.
//!
//! Where the chunks of a body were cut says nothing, and nothing here looks at the time of a replay. But whoever reads a
//! stream of events gets each when it happens, as long as the service sends it then. The recording says where it did: an
//! event had come whole, and the next one came noticeably later. A replay in which one chunk has both held the first
//! one back. So did one that says the length of the whole stream before it begins. What is not judged:
//!
//! - waits that calls may have been the reason of, unless the length is said: the mock answers at once, and what is then
//!   ready at once may be sent at once;
//! - frames of HTTP/2, which libraries join when the connection is slow, and bodies that end with the connection;
//! - streams with another number of events, where none can be set against another.

use regress_cassettes::{
    Cassette, Exchange, HttpExchange, Micros,
    diff::{Applied, Difference, Kind, Noise, event_ends},
};
use regress_protocols::http1::{Framing, Message};

use crate::report::seconds;

/// The field of a response as which it is told: `response/stream`.
pub(crate) const FIELD: &str = "stream";

/// How long after an event the next one came, in microseconds, for a reader to notice that it was not held back.
const NOTICED: Micros = 100_000;

/// The first event of the recorded response that is held back in this one; it may be noise.
pub(crate) fn held_back(cassette: &Cassette, actual: &Message, rules: &Applied) -> Option<Difference> {
    let entry = cassette.entry.as_ref().and_then(Exchange::http)?;
    let expected = entry.response.as_ref().filter(|response| response.is_complete() && actual.is_complete())?;
    if entry.streamed.is_empty() {
        return None;
    }
    let Ends { old, new } = Ends::of(expected, actual)?;
    let says_length = |message: &Message| message.header("content-length").is_some();
    let is_known = says_length(actual) && !says_length(expected);
    // Whatever the calls took, and though they had all been made in this one wait: `None` = as long as it may be.
    let calls: Option<Micros> = cassette.downstream.iter().map(|call| call.took).sum();
    let is_own = |wait: Micros| calls.is_some_and(|calls| wait.saturating_sub(calls) >= NOTICED);
    let is_held = |(event, wait): &(usize, Micros)| {
        let is_joined = || !actual.is_http2() && is_own(*wait) && has_next(actual, &new, *event) == Some(true);
        *wait >= NOTICED && has_next(expected, &old, *event) == Some(false) && (is_known || is_joined())
    };
    let (event, wait) = waits(entry, &old).find(is_held)?;
    let held = if is_known {
        "the length of the whole stream is said before it: nothing of it is sent until all of it is there"
    } else {
        "it is held back: one chunk has both"
    };
    Some(Difference {
        path: FIELD.to_owned(),
        kind: Kind::Changed,
        expected: Some(format!("event {event} is sent {} before the next one", seconds(u128::from(wait / 1000)))),
        actual: Some(held.to_owned()),
        noise: rules.of_stream().map(Noise::Rule),
    })
}

/// The last event that had come whole before each pause of the recorded response, and how long it was.
fn waits<'a>(entry: &'a HttpExchange, ends: &'a [usize]) -> impl Iterator<Item = (usize, Micros)> + 'a {
    entry.streamed.windows(2).filter_map(|pieces| {
        let whole = ends.partition_point(|end| *end as u64 <= pieces[0].1);
        let wait = pieces[1].0.saturating_sub(pieces[0].0);
        (1..ends.len()).contains(&whole).then(|| (whole - 1, wait))
    })
}

/// Whether the chunk in which an event ends has the whole next one as well; `None` where chunks do not say.
fn has_next(message: &Message, ends: &[usize], event: usize) -> Option<bool> {
    let Framing::Chunked { chunks, .. } = &message.framing else { return None };
    let mut chunk_ends = chunks.iter().scan(0, |at: &mut u64, chunk| {
        *at = at.saturating_add(chunk.size);
        Some(*at)
    });
    let end = chunk_ends.find(|end| *end >= ends[event] as u64)?;
    Some(end >= *ends.get(event + 1)? as u64)
}

/// Where the events of two streams with as many of them end.
#[derive(Debug)]
pub(crate) struct Ends {
    old: Vec<usize>,
    new: Vec<usize>,
}

impl Ends {
    /// `None` where one is no stream of events, or they have not as many.
    pub(crate) fn of(old: &Message, new: &Message) -> Option<Ends> {
        let ends = Ends { old: event_ends(old)?, new: event_ends(new)? };
        (ends.old.len() == ends.new.len()).then_some(ends)
    }

    /// Where in the new stream the last event ends that had come whole in the old one at a place; `None` = none had.
    pub(crate) fn carried(&self, at: u64) -> Option<u64> {
        let whole = self.old.partition_point(|end| *end as u64 <= at);
        Some(self.new[whole.checked_sub(1)?] as u64)
    }
}

/// When the pieces of the recorded response came, said of what takes its place: of a stream as far as they brought events
/// to their end. Nothing where the other body is of another length and no stream with as many events.
pub(crate) fn arrivals(entry: &HttpExchange, new: &Message) -> Vec<(Micros, u64)> {
    let Some(old) = &entry.response else { return Vec::new() };
    if old.body == new.body {
        return entry.streamed.clone();
    }
    let Some(ends) = Ends::of(old, new) else {
        return if old.body.len() == new.body.len() { entry.streamed.clone() } else { Vec::new() };
    };
    let mut pieces: Vec<(Micros, u64)> =
        entry.streamed.iter().filter_map(|(after, bytes)| Some((*after, ends.carried(*bytes)?))).collect();
    pieces.dedup_by_key(|(_, bytes)| *bytes);
    if let Some((_, bytes)) = pieces.last_mut() {
        *bytes = new.body.len() as u64;
    }
    if pieces.len() < 2 { Vec::new() } else { pieces }
}

#[cfg(test)]
mod tests {
    use regress_cassettes::{
        Content,
        diff::{RuleText, Rules, Schemas},
    };
    use regress_protocols::http1::{Limits, ResponseReader};

    use super::*;
    use crate::{
        judge::{Judgement, Observed, Seen, judge},
        outcome::{Finding, Verdict},
        pending::propose,
        review::{changes, take},
        testing::{cassette, hits},
    };

    const EVENTS: [&str; 3] = ["data: {\"n\":1}\n\n", "data: {\"n\":2}\n\n", ": ping\n\nid: 3\ndata: {\"n\":3}\n\n"];

    fn read(head: &str, body: &str) -> Message {
        let wire = format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{head}\r\n\r\n{body}");
        ResponseReader::new("GET", Limits::default()).feed(wire.as_bytes()).unwrap().remove(0)
    }

    fn chunked(chunks: &[&str]) -> Message {
        let chunks: String = chunks.iter().map(|chunk| format!("{:x}\r\n{chunk}\r\n", chunk.len())).collect();
        read("Transfer-Encoding: chunked", &format!("{chunks}0\r\n\r\n"))
    }

    fn with_length(body: &str) -> Message {
        read(&format!("Content-Length: {}", body.len()), body)
    }

    /// A stream of three events: the second one comes `wait` milliseconds after the first, the third at once.
    fn streamed(wait: u64) -> Cassette {
        let mut cassette = cassette();
        let Content::Http1(http) = &mut cassette.entry.as_mut().unwrap().content else { unreachable!() };
        http.response = Some(chunked(&EVENTS));
        let mut bytes = 0;
        http.streamed = [0, wait * 1000, wait * 1000 + 50]
            .into_iter()
            .zip(EVENTS)
            .map(|(after, event)| {
                bytes += event.len() as u64;
                (after, bytes)
            })
            .collect();
        cassette
    }

    fn judged(cassette: &Cassette, actual: &Message, rules: &Rules) -> Judgement {
        let (seen, journal) = (Seen::Response(actual.clone()), hits(cassette));
        let observed = Observed { seen: &seen, journal: &journal, bindings: &Default::default(), exited: None };
        judge(cassette, &observed, rules)
    }

    fn paths(cassette: &Cassette, actual: &Message) -> Vec<String> {
        judged(cassette, actual, &Rules::none()).findings.iter().flat_map(Finding::paths).collect()
    }

    #[test]
    fn an_event_that_is_held_back_until_the_next_one_is_a_difference() {
        let cassette = streamed(300);
        let whole = EVENTS.concat();
        let told = |actual: &Message| {
            let found = held_back(&cassette, actual, &Applied::none()).unwrap();
            (found.path, found.expected.unwrap(), found.actual.unwrap())
        };
        let first = "event 0 is sent 300 ms before the next one".to_owned();
        let both = "it is held back: one chunk has both".to_owned();
        assert_eq!(told(&chunked(&[&whole])), ("stream".to_owned(), first.clone(), both.clone()));
        assert_eq!(told(&chunked(&[&EVENTS[..2].concat(), EVENTS[2]])), ("stream".to_owned(), first.clone(), both));
        assert_eq!(told(&with_length(&whole)).1, first);
        assert!(told(&with_length(&whole)).2.starts_with("the length of the whole stream is said before it"));
        assert_eq!(paths(&cassette, &chunked(&[&whole])), ["response/stream"]);
        let changed = whole.replace("\"n\":3", "\"n\":4");
        assert_eq!(paths(&cassette, &chunked(&[&changed])), ["response/body/2/data/n", "response/stream"]);
    }

    #[test]
    fn where_chunks_are_cut_otherwise_says_nothing() {
        let cassette = streamed(300);
        let whole = EVENTS.concat();
        for chunks in [
            &EVENTS[..],
            // The first event in two pieces; the last two together, between which there was no wait.
            &["da", "ta: {\"n\":1}\n\n", &EVENTS[1..].concat()],
            &[EVENTS[0], &EVENTS[1..].concat()],
        ] {
            assert_eq!(paths(&cassette, &chunked(chunks)), Vec::<String>::new(), "{chunks:?}");
        }
        let until_close = {
            let mut reader = ResponseReader::new("GET", Limits::default());
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
            assert_eq!(reader.feed(format!("{head}{whole}").as_bytes()).unwrap(), []);
            reader.finish().unwrap()
        };
        assert_eq!(paths(&cassette, &until_close), Vec::<String>::new());
        assert_eq!(paths(&streamed(90), &with_length(&whole)), Vec::<String>::new(), "nobody waited");
        let fewer = chunked(&[&EVENTS[..2].concat()]);
        assert_eq!(paths(&cassette, &fewer), ["response/body/2"]);
    }

    #[test]
    fn a_wait_that_a_call_may_explain_is_judged_only_where_the_length_is_said() {
        let whole = EVENTS.concat();
        for took in [Some(250_000), None] {
            let mut cassette = streamed(300);
            cassette.downstream[1].took = took;
            assert_eq!(paths(&cassette, &chunked(&[&whole])), Vec::<String>::new(), "{took:?}");
            assert_eq!(paths(&cassette, &with_length(&whole)), ["response/stream"], "{took:?}");
        }
    }

    #[test]
    fn a_recording_in_one_chunk_expects_nothing() {
        let mut cassette = streamed(300);
        let Content::Http1(http) = &mut cassette.entry.as_mut().unwrap().content else { unreachable!() };
        // It was sent slowly, as its reader was slow.
        http.response = Some(chunked(&[&EVENTS.concat()]));
        assert_eq!(paths(&cassette, &with_length(&EVENTS.concat())), Vec::<String>::new());
    }

    #[test]
    fn a_rule_lets_it_pass() {
        let rule = RuleText { path: "response/stream".into(), effect: "ignore".into(), ..RuleText::default() };
        let rules = Rules::new(vec![rule]).unwrap();
        let judgement = judged(&streamed(300), &chunked(&[&EVENTS.concat()]), &rules);
        assert_eq!((judgement.verdict, judgement.findings.len()), (Verdict::Same, 0));
        let [Finding::Response(excused)] = &judgement.excused[..] else { panic!("{:?}", judgement.excused) };
        assert_eq!((excused.path.as_str(), excused.noise), ("stream", Some(Noise::Rule(0))));
    }

    #[test]
    fn it_is_accepted_by_itself_or_with_what_changed() {
        let original = streamed(300);
        let changed = EVENTS.concat().replace("\"n\":2", "\"n\":20");
        for actual in [chunked(&[&changed]), with_length(&changed)] {
            let took = std::time::Duration::ZERO;
            let journal = hits(&original);
            let proposed = propose(&original, &actual, took, &journal, &Default::default(), &Rules::none());
            let paths = |a: &Cassette, b: &Cassette| {
                changes(a, b, &Schemas::none()).into_iter().map(|c| c.path).collect::<Vec<_>>()
            };
            let all = ["response/body/1/data/n", "response/stream"];
            assert_eq!(paths(&original, &proposed), all);
            for (taken, left) in [(all[0], all[1]), (all[1], all[0])] {
                let accepted = take(&original, &proposed, &Schemas::none(), |path| path == taken).unwrap();
                assert_eq!(paths(&original, &accepted), [taken]);
                assert_eq!(paths(&accepted, &proposed), [left]);
            }
            let accepted = take(&original, &proposed, &Schemas::none(), |_| true).unwrap();
            assert_eq!(judged(&accepted, &actual, &Rules::none()).verdict, Verdict::Same);
        }
    }
}
