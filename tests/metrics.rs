use std::time::{Duration, Instant};

use crate::{
    harness::{Client, Need, Process, Recording, free_port, regress, require},
    services::{LISTENS, Language, Shop},
};

/// How long a number may take to be what was driven.
const PATIENCE: Duration = Duration::from_secs(60);

/// While it is recorded, the shop is asked, and so are the metrics.
#[test]
fn metrics_say_what_was_driven() {
    if !require("metrics::driven", &[Need::Python, Need::Sandbox]) {
        return;
    }
    let shop = Shop::new(Language::Python);
    let out = tempfile::tempdir().expect("there is a temporary folder");
    let (metrics, ports) = (free_port(), shop.port.to_string());
    let mut arguments = vec!["--via".to_owned(), "proxy".into(), "--port".into(), ports];
    arguments.extend(["--metrics".into(), metrics.to_string(), "--".into()]);
    arguments.extend(shop.language.command());
    let mut environment = shop.environment("none");
    environment.push(("REGRESS_KEEP_HEALTH_CHECKS", "false".into()));
    let recording = Recording::start(out.path(), arguments, environment);
    recording.wait_for_line(&format!("metrics at http://127.0.0.1:{metrics}/metrics"));
    recording.wait_for_service(LISTENS, shop.port);
    let client = Client::new(shop.port);
    for order in 1..=5 {
        assert_eq!(client.get(&format!("/orders/{order}")).status, 200);
    }
    assert_eq!(client.get("/broken").status, 502);
    (0..3).for_each(|_| drop(client.get("/health")));

    let scraper = Client::new(metrics);
    let scrape = || String::from_utf8(scraper.get("/metrics").response.into()).expect("metrics are text");
    // An entry is recorded once nothing more can come of it.
    let begun = Instant::now();
    while number(&scrape(), "regress_recorded_entries_total") != Some(6.0) {
        assert!(begun.elapsed() < PATIENCE, "{}", scrape());
        std::thread::yield_now();
    }
    let text = scrape();
    let inventory = shop.inventory.url().replace("http://", "");
    let inventory = format!(r#"regress_downstream_requests_total{{downstream="{inventory}"}}"#);
    for (name, expected) in [
        (r#"regress_entry_requests_total{route="GET /orders/{id}"}"#, 5.0),
        (r#"regress_entry_errors_total{route="GET /orders/{id}"}"#, 0.0),
        (r#"regress_entry_duration_seconds_count{route="GET /orders/{id}"}"#, 5.0),
        (r#"regress_entry_requests_total{route="GET /broken"}"#, 1.0),
        (r#"regress_entry_errors_total{route="GET /broken"}"#, 1.0),
        (r#"regress_entry_requests_total{route="GET /health"}"#, 3.0),
        (r#"regress_left_out_entries_total{reason="health-check"}"#, 3.0),
        (r#"regress_lost_total{kind="gap"}"#, 0.0),
        (r#"regress_breaker{state="closed"}"#, 1.0),
        // One for each order, and the settings that the shop asks for when it starts.
        (&inventory, 6.0),
    ] {
        assert_eq!(number(&text, name), Some(expected), "{name}\n{text}");
    }
    assert!(number(&text, "regress_resident_bytes") > Some(1e6), "{text}");
    assert!(number(&text, "regress_processor_seconds_total") > Some(0.0), "{text}");
    assert_eq!(scraper.get("/").status, 404);
    recording.stop().expect_code(0);
}

#[test]
fn an_address_that_is_taken_is_refused() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let address = taken.local_addr().expect("bound").to_string();
    let out = tempfile::tempdir().expect("there is a temporary folder");
    let record = |address: &str| {
        let mut command = regress();
        command.args(["record", "--via", "proxy", "--metrics", address, "-o"]).arg(out.path());
        Process::start(command.args(["--", "true"])).finish()
    };
    for (address, words) in [(&*address, "cannot listen on"), ("localhost", "metrics are told at a port")] {
        let finished = record(address);
        finished.expect_code(2);
        assert!(finished.stderr.contains("error:") && finished.stderr.contains(words), "{}", finished.stderr);
    }
}

/// The value of a metric, as a line says it.
fn number(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    line.parse().ok()
}
