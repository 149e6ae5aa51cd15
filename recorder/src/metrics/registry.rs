//! The metrics themselves.

use std::{
    collections::HashSet,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use super::own;
use crate::{
    Lack, Ledger,
    pipeline::Seen,
    select::{Breaker, LeftOut, Reason},
    vitals::Vitals,
};

/// Routes, and downstreams, that are told apart; all further ones are counted under [`OTHER`].
const MOST_NAMES: usize = 100;
/// Longer names are cut.
const LONGEST_NAME: usize = 120;
const OTHER: &str = "other";

/// From a millisecond to half a minute, in seconds.
const BUCKETS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

type Label = [(&'static str, String); 1];
type Counters = Family<Label, Counter>;
type Gauges = Family<Label, Gauge>;
type Seconds = Counter<f64, AtomicU64>;

/// What a recording sees, and what it costs. Labels are routes without ids, names of downstreams and words of our own; nothing
/// that was said is among them.
pub(crate) struct Metrics {
    registry: Registry,
    entries: Red,
    downstreams: Red,
    recorded: Counter,
    lost: Counters,
    lost_bytes: Counters,
    left_out: Counters,
    fill: Gauge<f64, AtomicU64>,
    thinning: Gauge,
    breaker: Gauges,
    opened: Counter,
    processor: Seconds,
    resident: Gauge,
    vitals: Arc<Vitals>,
}

/// Requests, errors and durations by one label.
struct Red {
    label: &'static str,
    known: Mutex<HashSet<String>>,
    requests: Counters,
    errors: Counters,
    durations: Family<Label, Histogram>,
}

impl Red {
    fn register(registry: &mut Registry, prefix: &str, label: &'static str, what: &str) -> Red {
        let red = Red {
            label,
            known: Mutex::default(),
            requests: Family::default(),
            errors: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
        };
        registry.register(format!("{prefix}_requests"), format!("{what} that are over"), red.requests.clone());
        let errors = format!("{what} that failed: by a status of 500 or more, or without a whole answer");
        registry.register(format!("{prefix}_errors"), errors, red.errors.clone());
        let durations = "From the first byte of the request to the last of the response";
        registry.register(format!("{prefix}_duration_seconds"), durations, red.durations.clone());
        red
    }

    fn count(&self, name: &str, seen: &Seen) {
        let label = [(self.label, self.bounded(name))];
        self.requests.get_or_create(&label).inc();
        // Those without errors are there as well, as zero.
        self.errors.get_or_create(&label).inc_by(u64::from(seen.failed));
        if let Some(took) = seen.took {
            self.durations.get_or_create(&label).observe(took as f64 / 1e6);
        }
    }

    /// The name, or that it is one too many.
    fn bounded(&self, name: &str) -> String {
        let name: String = name.chars().take(LONGEST_NAME).collect();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(&name) {
            return name;
        }
        if known.len() >= MOST_NAMES {
            return OTHER.to_owned();
        }
        known.insert(name.clone());
        name
    }
}

impl Metrics {
    pub(crate) fn new(vitals: Arc<Vitals>) -> Metrics {
        let mut registry = Registry::with_prefix("regress");
        let entries = Red::register(&mut registry, "entry", "route", "Entries");
        let downstreams = Red::register(&mut registry, "downstream", "downstream", "Calls to downstreams");
        let metrics = Metrics {
            entries,
            downstreams,
            recorded: Counter::default(),
            lost: Family::default(),
            lost_bytes: Family::default(),
            left_out: Family::default(),
            fill: Gauge::default(),
            thinning: Gauge::default(),
            breaker: Family::default(),
            opened: Counter::default(),
            processor: Counter::default(),
            resident: Gauge::default(),
            registry: Registry::default(),
            vitals,
        };
        registry.register("recorded_entries", "Entries that became cassettes", metrics.recorded.clone());
        registry.register("lost", "What is missing, by kind, in times", metrics.lost.clone());
        registry.register("lost_bytes", "What is missing, by kind, in bytes where known", metrics.lost_bytes.clone());
        registry.register("left_out_entries", "Entries left out by choice, by reason", metrics.left_out.clone());
        registry.register("buffer_fill_ratio", "Of the kernel's buffer what waits for regress", metrics.fill.clone());
        registry.register("thinning", "While the host is loaded one of 2^n entries is kept", metrics.thinning.clone());
        registry.register("breaker", "1 for the state that the breaker is in", metrics.breaker.clone());
        registry.register("breaker_opened", "How many times the breaker opened", metrics.opened.clone());
        registry.register("processor_seconds", "Processor time of regress itself", metrics.processor.clone());
        registry.register("resident_bytes", "Memory of regress itself", metrics.resident.clone());
        Metrics { registry, ..metrics }
    }

    /// An exchange is over.
    pub(crate) fn saw(&self, seen: &Seen) {
        match &seen.downstream {
            Some(name) => self.downstreams.count(name, seen),
            None => self.entries.count(&seen.route, seen),
        }
    }

    /// How far the recording is.
    pub(crate) fn publish(&self, ledger: &Ledger, left_out: &LeftOut, recorded: u64) {
        set(&self.recorded, recorded);
        for lack in Lack::ALL {
            let label = [("kind", lack.word().to_owned())];
            set(&self.lost.get_or_create(&label), ledger.get(lack).events);
            set(&self.lost_bytes.get_or_create(&label), ledger.get(lack).bytes);
        }
        for reason in Reason::ALL {
            set(&self.left_out.get_or_create(&[("reason", reason.word().to_owned())]), left_out.get(reason));
        }
    }

    /// All of them, in the text format of OpenMetrics.
    pub(crate) fn text(&self) -> Result<String, fmt::Error> {
        let (processor, resident) = own::costs();
        self.processor.inner().store(processor.to_bits(), Ordering::Relaxed);
        self.resident.set(i64::try_from(resident).unwrap_or(i64::MAX));
        self.fill.set(self.vitals.fill());
        self.thinning.set(self.vitals.thinning().into());
        let (breaker, opened) = {
            let told = self.vitals.told();
            (told.breaker, told.summary.opened)
        };
        set(&self.opened, opened);
        for state in [Breaker::Closed, Breaker::Open, Breaker::HalfOpen] {
            let label = [("state", state.word().to_owned())];
            self.breaker.get_or_create(&label).set(i64::from(state == breaker));
        }
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// What is counted elsewhere, and never less than before.
fn set(counter: &Counter, value: u64) {
    counter.inner().store(value, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(route: &str, failed: bool) -> Seen {
        Seen { downstream: None, route: route.to_owned(), failed, took: Some(20_000) }
    }

    #[test]
    fn what_was_seen_is_told() {
        let metrics = Metrics::new(Arc::default());
        metrics.saw(&entry("GET /orders/{id}", false));
        metrics.saw(&entry("GET /orders/{id}", true));
        metrics.saw(&Seen { downstream: Some("stock".into()), route: "GET /".into(), failed: false, took: None });
        let mut ledger = Ledger::default();
        ledger.add(Lack::Gap, 2, 30);
        metrics.publish(&ledger, &LeftOut::from_iter([(Reason::Shape, 7)]), 5);
        let text = metrics.text().unwrap();
        for line in [
            r#"regress_entry_requests_total{route="GET /orders/{id}"} 2"#,
            r#"regress_entry_errors_total{route="GET /orders/{id}"} 1"#,
            r#"regress_entry_duration_seconds_bucket{le="0.025",route="GET /orders/{id}"} 2"#,
            r#"regress_downstream_requests_total{downstream="stock"} 1"#,
            r#"regress_downstream_errors_total{downstream="stock"} 0"#,
            "regress_recorded_entries_total 5",
            r#"regress_lost_total{kind="gap"} 2"#,
            r#"regress_lost_bytes_total{kind="gap"} 30"#,
            r#"regress_left_out_entries_total{reason="shape"} 7"#,
            r#"regress_breaker{state="closed"} 1"#,
            "regress_buffer_fill_ratio 0.0",
            "# EOF",
        ] {
            assert!(text.lines().any(|said| said == line), "{line}\n{text}");
        }
    }

    #[test]
    fn names_are_bounded() {
        let metrics = Metrics::new(Arc::default());
        (0..5 * MOST_NAMES).for_each(|number| metrics.saw(&entry(&format!("GET /{number}"), false)));
        let text = metrics.text().unwrap();
        let routes = text.lines().filter(|line| line.starts_with("regress_entry_requests_total{")).count();
        assert_eq!(routes, MOST_NAMES + 1);
        let other = format!(r#"regress_entry_requests_total{{route="other"}} {}"#, 4 * MOST_NAMES);
        assert!(text.lines().any(|line| line == other), "{text}");
    }
}
