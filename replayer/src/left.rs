//! Streams of events that their client left before they ended, as whoever closes a page does. Pure.
//!
//! Such a response was cut where its client had enough, or where the service broke off: a recording does not always tell
//! which. A service that notices in time may also have ended it in good order, where the recording says that the client was
//! gone by then. In all cases as many events as it has are expected again, and what follows them is nobody's concern: the
//! replay leaves then.

use regress_cassettes::{
    Ended, Exchange,
    diff::{event_ends, event_ends_in},
};
use regress_protocols::http1::{Framing, Message, ResponseReader};

/// How many whole events of its stream the client of an entry had when its connection ended; `None` where the response ended
/// by itself, is no stream, or had none.
pub(crate) fn events(entry: &Exchange) -> Option<usize> {
    let http = entry.http()?;
    let response = http.response.as_ref()?;
    let is_over = match entry.ended {
        Ended::Ok => http.left,
        Ended::Closed | Ended::Reset => !response.is_complete(),
        Ended::Refused | Ended::Timeout | Ended::Unfinished => false,
    };
    let is_left = is_over && !response.is_http2() && matches!(response.framing, Framing::Chunked { .. });
    Some(event_ends(response).filter(|_| is_left)?.len()).filter(|events| *events > 0)
}

/// A response as if it had ended after so many events; all of it where it has fewer.
pub(crate) fn up_to(response: &Message, events: usize) -> Message {
    let ends = event_ends(response).unwrap_or_default();
    let end = events.checked_sub(1).and_then(|last| ends.get(last)).copied().unwrap_or(response.body.len());
    Message { body: response.body.slice(..end), truncated: None, ..response.clone() }
}

/// Watches for the last event that is waited for.
#[derive(Debug)]
pub(crate) struct Watch {
    events: usize,
    /// Where in the body the last event that was seen ends.
    at: usize,
}

impl Watch {
    /// For so many events.
    pub(crate) fn new(events: usize) -> Watch {
        Watch { events, at: 0 }
    }

    /// Whether all of them have come.
    pub(crate) fn is_over(&mut self, reader: &ResponseReader) -> bool {
        let Some((head, body)) = reader.so_far() else { return false };
        let ends = event_ends_in(head, body.get(self.at..).unwrap_or_default()).unwrap_or_default();
        self.at += ends.last().copied().unwrap_or_default();
        self.events = self.events.saturating_sub(ends.len());
        self.events == 0
    }
}

#[cfg(test)]
mod tests {
    use regress_cassettes::{Cassette, Content, diff::Rules};
    use regress_protocols::http1::Limits;

    use super::*;
    use crate::{
        judge::{End, Observed, Seen, judge},
        outcome::Finding,
        testing::{cassette, hits},
    };

    /// A stream that is cut behind this body.
    fn part(body: &str) -> Message {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked";
        let wire = format!("{head}\r\n\r\n{:x}\r\n{body}\r\n", body.len());
        let mut reader = ResponseReader::new("GET", Limits::default());
        assert_eq!(reader.feed(wire.as_bytes()).unwrap(), []);
        reader.finish().unwrap()
    }

    fn whole(body: &str) -> Message {
        Message::response(200, "OK", &[("Content-Type", "text/event-stream")], body.to_owned())
    }

    /// Its client left it in the middle of the third event.
    fn recorded() -> Cassette {
        let mut cassette = cassette();
        let entry = cassette.entry.as_mut().unwrap();
        entry.ended = Ended::Closed;
        let Content::Http1(http) = &mut entry.content else { unreachable!() };
        http.response = Some(part("data: 1\n\ndata: 2\n\ndata: "));
        cassette
    }

    fn paths(seen: Seen) -> Vec<String> {
        let (cassette, journal) = (recorded(), hits(&recorded()));
        let observed = Observed { seen: &seen, journal: &journal, bindings: &Default::default(), exited: None };
        judge(&cassette, &observed, &Rules::none()).findings.iter().flat_map(Finding::paths).collect()
    }

    #[test]
    fn as_many_events_as_were_recorded_are_compared() {
        assert_eq!(recorded().entry.as_ref().and_then(events), Some(2));
        let left = |body| paths(Seen::Nothing { end: End::Left, part: Some(part(body)) });
        assert_eq!(left("data: 1\n\ndata: 2\n\n"), Vec::<String>::new());
        assert_eq!(left("data: 1\n\ndata: 2\n\ndata: 3\n\ndata: 4"), Vec::<String>::new());
        assert_eq!(left("data: 1\n\ndata: x\n\ndata: 3\n\n"), ["response/body/1/data"]);
        assert_eq!(paths(Seen::Response(whole("data: 1\n\ndata: 2\n\ndata: 3\n\n"))), Vec::<String>::new());
        assert_eq!(paths(Seen::Response(whole("data: 1\n\n"))), ["response/body/1"]);
        let hung = Seen::Nothing { end: End::Hung(3000), part: Some(part("data: 1\n\n")) };
        assert_eq!(paths(hung), ["response"]);
    }

    #[test]
    fn what_ended_by_itself_or_is_no_stream_was_not_left() {
        let left = |response: Message, ended, left| {
            let mut cassette = recorded();
            let entry = cassette.entry.as_mut().unwrap();
            entry.ended = ended;
            let Content::Http1(http) = &mut entry.content else { unreachable!() };
            (http.response, http.left) = (Some(response), left);
            events(entry)
        };
        let of = |response, ended| left(response, ended, false);
        assert_eq!(of(part("data: 1\n\n"), Ended::Reset), Some(1));
        assert_eq!(of(part("data: 1\n\n"), Ended::Timeout), None);
        assert_eq!(of(part("data: 1\n"), Ended::Closed), None, "it had none");
        // With its end.
        let mut whole = part("data: 1\n\ndata: 2\n\n");
        whole.truncated = None;
        assert!(whole.is_complete());
        assert_eq!(of(whole.clone(), Ended::Ok), None);
        assert_eq!(left(whole.clone(), Ended::Ok, true), Some(2));
        assert_eq!(left(whole.clone(), Ended::Unfinished, true), None);
        whole.framing = Framing::Length;
        assert_eq!(left(whole, Ended::Ok, true), None);
    }
}
