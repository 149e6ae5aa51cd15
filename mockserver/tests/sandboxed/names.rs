//! Names, as the C library of this machine asks for them.

use std::collections::BTreeSet;

use regress_mockserver::intercept::Intercepted;

use crate::harness::{Ran, Running, Test, block_on, inside};

pub const TESTS: &[Test] = &[
    ("names_are_answered_from_the_recording", names_are_answered_from_the_recording),
    ("names_are_answered_over_tcp_and_by_any_server", names_are_answered_over_tcp_and_by_any_server),
];

const NAMES: [(&str, &str); 3] =
    [("api.example.com", "93.184.216.34"), ("api.example.com", "2001:db8::7"), ("db", "10.0.0.7")];

fn names_are_answered_from_the_recording() -> Ran {
    block_on(async {
        let spec = inside("resolve", &["API.example.com", "db", "localhost", "nobody.example.com"]);
        let mut running = Running::start(spec, &NAMES).await.unwrap();
        let output = running.output().await;
        let expected = "API.example.com: 2001:db8::7 93.184.216.34\ndb: 10.0.0.7\n";
        assert!(output.starts_with(expected), "{output}");
        assert!(output.contains("localhost: 127.0.0.1") || output.contains("localhost: ::1"), "{output}");
        assert!(output.ends_with("nobody.example.com: unknown\n"), "{output}");
        let mut unknown = BTreeSet::new();
        while let Ok(Intercepted::Query(query)) = running.seen.try_recv() {
            if query.is_unknown() {
                unknown.insert(query.name);
            }
        }
        assert_eq!(unknown, BTreeSet::from(["nobody.example.com".to_owned()]));
    });
    Ok(())
}

fn names_are_answered_over_tcp_and_by_any_server() -> Ran {
    block_on(async {
        let mut over_tcp = inside("resolve", &["api.example.com"]);
        // glibc sends both questions over one connection.
        over_tcp.env.push(("RES_OPTIONS".into(), "use-vc".into()));
        let mut running = Running::start(over_tcp, &NAMES).await.unwrap();
        assert_eq!(running.output().await, "api.example.com: 2001:db8::7 93.184.216.34\n");

        let servers = ["8.8.8.8:53", "[2001:4860:4860::8888]:53", "127.0.0.53:53", "[::1]:53"];
        let mut running = Running::start(inside("ask", &servers), &NAMES).await.unwrap();
        assert_eq!(running.output().await, "[10, 0, 0, 7]\n".repeat(servers.len()));
    });
    Ok(())
}
