//! The decision about each entry.

use std::collections::HashMap;

use regress_cassettes::{Cassette, Exchange};

use super::{
    LeftOut, Policy, Reason,
    bucket::Bucket,
    examples::{Examples, Place},
    health::is_health_check,
    policy::Wanted,
    route::template,
    shape::Shape,
    size,
};
use crate::{assemble, correlate::EntrySet};

/// Routes that have a bucket of their own; all further ones share one.
const MOST_BUCKETS: usize = 2_000;

/// What is known of an entry before it is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// So many others were open when it began that it was over the bound.
    pub crowded: bool,
    /// It is kept whatever else is said.
    pub forced: bool,
}

/// Decides which entries are kept, and counts those that are not.
#[derive(Debug)]
pub(crate) struct Selector {
    policy: Policy,
    buckets: HashMap<String, Bucket>,
    all_others: Bucket,
    examples: Examples,
    left_out: LeftOut,
    /// Of 2^thinning entries one is kept.
    thinning: u8,
    in_flight: u32,
    /// There is no room for more cassettes.
    no_room: bool,
}

impl Selector {
    pub(crate) fn new(policy: Policy) -> Selector {
        Selector {
            policy,
            buckets: HashMap::new(),
            all_others: Bucket::default(),
            examples: Examples::default(),
            left_out: LeftOut::default(),
            thinning: 0,
            in_flight: 0,
            no_room: false,
        }
    }

    /// Whether there is no room for more cassettes from now on, not for those that are forced either.
    pub(crate) fn lacks_room(&mut self, no_room: bool) {
        self.no_room = no_room;
    }

    /// From now on keep one of 2^`thinning` entries, beside those that are forced.
    pub(crate) fn thin(&mut self, thinning: u8) {
        self.thinning = thinning.min(63);
    }

    /// What was left out so far.
    pub(crate) fn left_out(&self) -> &LeftOut {
        &self.left_out
    }

    /// An entry began. Each one that did is [`Selector::ended`] once.
    pub(crate) fn began(&mut self) -> Standing {
        let crowded = self.policy.max_in_flight.is_some_and(|most| self.in_flight >= most);
        self.in_flight += 1;
        Standing { crowded, forced: false }
    }

    /// An entry is not under way any more.
    pub(crate) fn ended(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// What the exchange of an entry alone tells, as soon as it is over: whether it is left out whatever it caused.
    pub(crate) fn answered(&mut self, entry: u64, exchange: &Exchange, standing: &mut Standing) -> Option<Reason> {
        if self.no_room {
            self.left_out.add(Reason::NoRoom);
            return Some(Reason::NoRoom);
        }
        let request = &exchange.http()?.request;
        standing.forced = request.header(&self.policy.force_header).is_some();
        if standing.forced {
            return None;
        }
        let reason = if !self.policy.keep_health_checks && is_health_check(request) {
            Reason::HealthCheck
        } else if self.policy.wanted(request.method(), &request.path()).never {
            Reason::Never
        } else if standing.crowded {
            Reason::InFlight
        } else if !is_drawn(entry, self.thinning) {
            Reason::BackOff
        } else {
            return None;
        };
        self.left_out.add(reason);
        Some(reason)
    }

    /// Larger bodies than are wanted are taken out of a cassette; gives how many and how many bytes.
    pub(crate) fn cut(&self, cassette: &mut Cassette) -> (u64, u64) {
        let most = cassette.entry.as_ref().and_then(|entry| self.wanted(entry).max_body);
        most.map_or((0, 0), |most| size::cut(cassette, most))
    }

    /// Whether the cassette of an entry is left out; one that is not is one more of its route and of its shape. `began` in event
    /// time.
    pub(crate) fn decide(&mut self, entry: u64, began: u64, cassette: &Cassette, forced: bool) -> Option<Reason> {
        let exchange = cassette.entry.as_ref()?;
        let wanted = self.wanted(exchange);
        if wanted.rate.is_none() && wanted.keep.is_none() {
            return None;
        }
        let route = template(exchange);
        let example = wanted.keep.map(|most| {
            let is_whole = !cassette.has_defects() && !assemble::is_uncertain(cassette);
            (if is_whole { Shape::of(cassette) } else { Shape::of_incomplete(cassette) }, most)
        });
        let place = example.map_or(Place::Free, |(shape, most)| self.examples.place(&route, shape, most));
        let reason = match place {
            Place::Taken => Some(Reason::Shape),
            Place::NoRoom => Some(Reason::ShapesFull),
            Place::Free => None,
        };
        let is_candidate = reason.is_none() || forced;
        let is_too_many = is_candidate && self.is_too_many(&route, wanted.rate, began, forced);
        let reason = reason.or(is_too_many.then_some(Reason::Rate));
        if let Some(reason) = reason.filter(|_| !forced) {
            self.left_out.add(reason);
            return Some(reason);
        }
        if let Some((shape, most)) = example {
            self.examples.add(&route, shape, most, entry);
        }
        None
    }

    /// Cassettes turned out to be uncertain: they are no examples any more.
    pub(crate) fn doubt(&mut self, entries: &EntrySet) {
        self.examples.doubt(entries);
    }

    fn is_too_many(&mut self, route: &str, rate: Option<super::Rate>, at: u64, forced: bool) -> bool {
        let Some(rate) = rate else { return false };
        let has_room = self.buckets.len() < MOST_BUCKETS || self.buckets.contains_key(route);
        let bucket = match has_room {
            true => self.buckets.entry(route.to_owned()).or_default(),
            false => &mut self.all_others,
        };
        if forced {
            bucket.force(rate, at);
            return false;
        }
        !bucket.take(rate, at)
    }

    fn wanted(&self, entry: &Exchange) -> Wanted {
        let request = entry.http().map(|http| &http.request);
        request.map(|request| self.policy.wanted(request.method(), &request.path())).unwrap_or_default()
    }
}

/// Whether an entry is among the one of 2^`thinning` that are kept: by a mix of its number, so that no traffic can be in
/// step with it.
fn is_drawn(entry: u64, thinning: u8) -> bool {
    // SplitMix64 (Steele, Lea, Flood 2014).
    let mut mixed = entry.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)) & ((1 << thinning) - 1) == 0
}

#[cfg(test)]
pub(super) mod tests {
    use regress_cassettes::{
        Address, CassetteId, Cause, Confidence, Connection, Content, Defect, Ended, HttpExchange, Recorded, Rule as By,
        Via,
    };
    use regress_protocols::http1::Message;

    use super::*;
    use crate::{correlate::EntryKey, select::Rule};

    const SECOND: u64 = 1_000_000_000;

    fn exchange(downstream: Option<&str>, request: Message, status: u16, response: &str) -> Exchange {
        let peer: Address = "127.0.0.1:9001".parse().unwrap();
        let headers = [("Content-Type", "application/json")];
        let response = Some(Message::response(status, "Said", &headers, response.to_owned()));
        Exchange {
            downstream: downstream.map(str::to_owned),
            connection: Connection { id: 1, local: None, peer, tls: false },
            at: 0,
            took: Some(5),
            content: Content::Http1(HttpExchange::new(request, response)),
            ended: Ended::Ok,
            cause: downstream.map(|_| Cause {
                rule: By::Alone,
                confidence: Confidence::Certain,
                after_response: false,
            }),
            defects: vec![],
        }
    }

    pub fn cassette(
        number: u64,
        target: &str,
        headers: &[(&str, &str)],
        status: u16,
        response: &str,
        calls: &[&str],
    ) -> Cassette {
        let recorded = Recorded {
            at: "2026-11-22T10:15:02.000000Z".into(),
            service: "shop".into(),
            by: "regress test".into(),
            via: Via::Socket,
            kernel: "6.18.0".into(),
        };
        let call = |target: &&str| exchange(Some("stock"), Message::request("GET", target, &[], ""), 200, r#"{"n":1}"#);
        Cassette {
            id: CassetteId(format!("20261122T101502.000000Z-{number:04}")),
            recorded,
            nondeterministic: Vec::new(),
            redacted: Default::default(),
            entry: Some(exchange(None, Message::request("GET", target, headers, ""), status, response)),
            downstream: calls.iter().map(call).collect(),
            defects: vec![],
        }
    }

    /// Plays entries one after the other, a tenth of a second apart, and gives what became of each.
    fn play(selector: &mut Selector, cassettes: impl IntoIterator<Item = Cassette>) -> Vec<Option<Reason>> {
        let decide = |(number, cassette): (u64, Cassette)| {
            let mut standing = selector.began();
            selector.ended();
            let early = selector.answered(number, cassette.entry.as_ref().unwrap(), &mut standing);
            early.or_else(|| selector.decide(number, number * SECOND / 10, &cassette, standing.forced))
        };
        (1..).zip(cassettes).map(decide).collect()
    }

    fn get(target: &str) -> Cassette {
        cassette(1, target, &[], 200, r#"{"id": 1}"#, &["/stock/1"])
    }

    fn forced(target: &str) -> Cassette {
        cassette(1, target, &[("X-Regress-Record", "1")], 200, r#"{"id": 1}"#, &["/stock/1"])
    }

    fn lossy(target: &str) -> Cassette {
        Cassette { defects: vec![Defect::LostEvents { events: 1, bytes: 1 }], ..get(target) }
    }

    #[test]
    fn by_default_everything_but_health_checks_is_kept() {
        let mut selector = Selector::new(Policy::default());
        let decided = play(&mut selector, [get("/a"), get("/healthz"), get("/a"), get("/a"), forced("/healthz")]);
        assert_eq!(decided, [None, Some(Reason::HealthCheck), None, None, None]);
        let mut selector = Selector::new(Policy { keep_health_checks: true, ..Policy::default() });
        assert_eq!(play(&mut selector, [get("/healthz")]), [None]);
    }

    #[test]
    fn a_rule_can_leave_a_route_out() {
        let never = Rule { route: "GET /admin/*".into(), never: true, ..Rule::default() };
        let mut selector = Selector::new(Policy { rules: vec![never], ..Policy::default() });
        let decided = play(&mut selector, [get("/admin/x"), get("/other"), forced("/admin/x")]);
        assert_eq!(decided, [Some(Reason::Never), None, None]);
    }

    #[test]
    fn so_many_examples_of_each_shape_and_forced_ones_besides() {
        let mut selector = Selector::new(Policy { keep: Some(2), ..Policy::default() });
        let script = [get("/1"), get("/2"), get("/3"), forced("/4"), get("/list"), get("/5")];
        let shape = Some(Reason::Shape);
        assert_eq!(play(&mut selector, script), [None, None, shape, None, None, shape]);
        assert_eq!(selector.left_out().get(Reason::Shape), 2);
        // A forced one is an example like any other.
        let mut selector = Selector::new(Policy { keep: Some(1), ..Policy::default() });
        assert_eq!(play(&mut selector, [forced("/1"), get("/2")]), [None, shape]);
    }

    #[test]
    fn what_lacks_something_never_takes_the_place_of_what_is_whole() {
        let mut selector = Selector::new(Policy { keep: Some(1), ..Policy::default() });
        let shape = Some(Reason::Shape);
        assert_eq!(play(&mut selector, [lossy("/1"), lossy("/2"), get("/3"), get("/4")]), [None, shape, None, shape]);
        // One that turns out uncertain later makes room.
        selector.doubt(&[EntryKey(3)].into_iter().collect());
        assert_eq!(play(&mut selector, [get("/5"), get("/6")]), [None, shape]);
    }

    #[test]
    fn each_route_has_its_share() {
        let mut selector = Selector::new(Policy { rate: "2/s".parse().ok(), ..Policy::default() });
        let script = (0..40).map(|number| if number % 2 == 0 { get("/a/1") } else { get("/b/1") });
        let decided = play(&mut selector, script);
        let kept = |odd: usize| decided.iter().skip(odd).step_by(2).filter(|reason| reason.is_none()).count();
        // Two at once, then two each second for four seconds, less the time of the first.
        assert_eq!((kept(0), kept(1)), (9, 9));
        assert_eq!(selector.left_out().get(Reason::Rate), 22);
    }

    #[test]
    fn what_is_no_new_example_takes_nothing_of_the_rate() {
        let policy = Policy { rate: "1/h".parse().ok(), keep: Some(1), ..Policy::default() };
        let mut selector = Selector::new(policy);
        selector.examples.add("GET /{id}", Shape::of(&get("/1")), 1, 99);
        let other = cassette(1, "/8", &[], 404, "{}", &[]);
        assert_eq!(
            play(&mut selector, [get("/1"), get("/1"), other]),
            [Some(Reason::Shape), Some(Reason::Shape), None]
        );
    }

    #[test]
    fn routes_beyond_the_bound_share_a_bucket() {
        let mut selector = Selector::new(Policy { rate: "1/h".parse().ok(), ..Policy::default() });
        for number in 0..2 * MOST_BUCKETS {
            selector.is_too_many(&format!("GET /{number}"), selector.policy.rate, 0, false);
        }
        assert_eq!(selector.buckets.len(), MOST_BUCKETS);
        assert!(selector.is_too_many("GET /new", selector.policy.rate, 0, false));
    }

    #[test]
    fn so_many_at_a_time() {
        let mut selector = Selector::new(Policy { max_in_flight: Some(2), ..Policy::default() });
        let mut standings: Vec<Standing> = (0..3).map(|_| selector.began()).collect();
        assert_eq!(standings.iter().map(|standing| standing.crowded).collect::<Vec<_>>(), [false, false, true]);
        let entry = |cassette: Cassette| cassette.entry.unwrap();
        assert_eq!(selector.answered(3, &entry(get("/3")), &mut standings[2]), Some(Reason::InFlight));
        assert_eq!(selector.answered(3, &entry(forced("/3")), &mut standings[2]), None);
        assert!(standings[2].forced);
        (0..3).for_each(|_| selector.ended());
        assert!(!selector.began().crowded);
    }

    #[test]
    fn without_room_nothing_is_kept_and_what_is_forced_neither() {
        let mut selector = Selector::new(Policy::default());
        selector.lacks_room(true);
        assert_eq!(play(&mut selector, [get("/a"), forced("/b")]), [Some(Reason::NoRoom); 2]);
        selector.lacks_room(false);
        assert_eq!(play(&mut selector, [get("/a"), forced("/b")]), [None; 2]);
        assert_eq!(selector.left_out().get(Reason::NoRoom), 2);
    }

    #[test]
    fn thinning_keeps_one_of_so_many_and_all_that_are_forced() {
        let mut selector = Selector::new(Policy::default());
        selector.thin(3);
        let decided = play(&mut selector, (0..8000).map(|_| get("/a")));
        let kept = decided.iter().filter(|reason| reason.is_none()).count();
        assert!((800..1200).contains(&kept), "{kept}");
        assert_eq!(selector.left_out().get(Reason::BackOff), 8000 - kept as u64);
        assert!(play(&mut selector, (0..100).map(|_| forced("/a"))).iter().all(Option::is_none));
        selector.thin(0);
        assert_eq!(play(&mut selector, [get("/a")]), [None]);
    }

    #[test]
    fn large_bodies_are_taken_out_and_missed() {
        let rule = Rule { route: "GET /big".into(), max_body: Some(3), ..Rule::default() };
        let selector = Selector::new(Policy { rules: vec![rule], ..Policy::default() });
        let mut cassette = get("/big");
        assert_eq!(selector.cut(&mut cassette), (2, 16));
        assert!(cassette.exchanges().all(Exchange::has_defects));
        let mut other = get("/small");
        assert_eq!(selector.cut(&mut other), (0, 0));
        assert_eq!(other, get("/small"));
    }
}
