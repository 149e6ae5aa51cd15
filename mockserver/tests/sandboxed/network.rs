//! Where connections and datagrams go.

use std::net::SocketAddr;
use std::os::unix::net::UnixListener;

use regress_mockserver::intercept::{Attempt, Intercepted, Protocol};

use crate::harness::{Ran, Running, Test, block_on, inside, respond};

pub const TESTS: &[Test] = &[
    ("every_destination_lands_here_and_is_known", every_destination_lands_here_and_is_known),
    ("a_mark_comes_after_what_was_established_before", a_mark_comes_after_what_was_established_before),
    ("datagrams_are_seen_with_their_destination", datagrams_are_seen_with_their_destination),
    ("the_service_reaches_its_own_listeners", the_service_reaches_its_own_listeners),
    ("a_probe_is_refused_until_the_service_listens", a_probe_is_refused_until_the_service_listens),
    ("recorded_refusals_are_refused", recorded_refusals_are_refused),
    ("a_port_in_time_wait_is_taken_again", a_port_in_time_wait_is_taken_again),
    ("sockets_of_the_host_are_out_of_reach", sockets_of_the_host_are_out_of_reach),
];

async fn accept(running: &mut Running) -> (tokio::net::TcpStream, SocketAddr) {
    match running.next().await {
        Intercepted::Connection(arrival) => (arrival.stream, arrival.destination),
        other => panic!("{other:?}"),
    }
}

fn every_destination_lands_here_and_is_known() -> Ran {
    let addresses =
        ["93.184.216.34:80", "127.0.0.1:6379", "10.9.8.7:1", "[2001:db8::7]:443", "[::1]:5432", "1.2.3.4:4"];
    block_on(async {
        let mut running = Running::start(inside("connect", &addresses), &[]).await.unwrap();
        for address in addresses {
            let (stream, destination) = accept(&mut running).await;
            assert_eq!(destination, address.parse().unwrap());
            respond(stream, destination).await.unwrap();
        }
        let expected: String = addresses.map(|address| format!("{address}: played for {address}\n")).concat();
        assert_eq!(running.output().await, expected);
    });
    Ok(())
}

fn a_mark_comes_after_what_was_established_before() -> Ran {
    let addresses: Vec<String> = (1..=60)
        .flat_map(|port| [format!("10.9.8.7:{}", 1000 + port), format!("[2001:db8::7]:{}", 2000 + port)])
        .collect();
    let mut arguments = vec!["127.0.0.1:8080"];
    arguments.extend(addresses.iter().map(String::as_str));
    block_on(async {
        let mut running = Running::start(inside("hold", &arguments), &[]).await.unwrap();
        let _ready = accept(&mut running).await;
        let mut stream = running.sandbox.connect("127.0.0.1:8080".parse().unwrap()).await.unwrap();
        let mut told = [0; 4];
        tokio::io::AsyncReadExt::read_exact(&mut stream, &mut told).await.unwrap();
        assert_eq!(&told, b"held");
        let catch_up = running.interception.catch_up();
        let mut held = Vec::new();
        let mut wait = std::pin::pin!(catch_up.wait());
        loop {
            tokio::select! {
                biased;
                () = &mut wait => break,
                seen = running.seen.recv() => match seen.expect("the interception runs") {
                    Intercepted::Connection(arrival) => held.push(arrival),
                    Intercepted::Mark(mark) => drop(mark),
                    other => panic!("{other:?}"),
                },
            }
        }
        let mut destinations: Vec<String> = held.iter().map(|arrival| arrival.destination.to_string()).collect();
        let mut expected = addresses.clone();
        destinations.sort();
        expected.sort();
        assert_eq!(destinations, expected);
    });
    Ok(())
}

fn datagrams_are_seen_with_their_destination() -> Ran {
    let addresses = ["192.0.2.1:8125", "127.0.0.1:514", "[2001:db8::1]:8125", "[::1]:9"];
    block_on(async {
        let mut running = Running::start(inside("send", &addresses), &[]).await.unwrap();
        running.output().await;
        let mut seen = Vec::new();
        for _ in addresses {
            match running.next().await {
                Intercepted::Datagram(attempt) => seen.push(attempt),
                other => panic!("{other:?}"),
            }
        }
        for address in addresses {
            let destination: SocketAddr = address.parse().unwrap();
            let is_it = |attempt: &&Attempt| attempt.destination == destination;
            let attempt = seen.iter().find(is_it).unwrap_or_else(|| panic!("{address} in {seen:?}"));
            assert_eq!((attempt.protocol, attempt.length), (Protocol::Udp, 5));
        }
    });
    Ok(())
}

fn the_service_reaches_its_own_listeners() -> Ran {
    block_on(async {
        let mut running = Running::start(inside("own", &[]), &[]).await.unwrap();
        assert_eq!(running.output().await, "all of my own\n");
        assert!(running.seen.try_recv().is_err(), "nothing of it reaches us");
    });
    Ok(())
}

fn a_probe_is_refused_until_the_service_listens() -> Ran {
    for address in ["127.0.0.1:8080", "[::1]:8080", "10.0.0.5:8080"].map(|text| text.parse::<SocketAddr>().unwrap()) {
        block_on(async {
            let text = address.to_string();
            let spec = inside("serve", &[&text]);
            let (sandbox, _listeners) = regress_mockserver::sandbox::Sandbox::prepare(spec.clone()).await.unwrap();
            let refused = sandbox.connect(address).await.unwrap_err();
            assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
            assert_eq!(sandbox.listening().unwrap(), []);
            sandbox.stop().await;

            let mut running = Running::start(spec, &[]).await.unwrap();
            // It listens before it connects.
            drop(accept(&mut running).await);
            assert_eq!(running.sandbox.listening().unwrap(), [address]);
            let mut stream = running.sandbox.connect(address).await.unwrap();
            let mut answer = String::new();
            tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answer).await.unwrap();
            assert_eq!(answer, "the service itself");
            running.sandbox.stop().await;
        });
    }
    Ok(())
}

fn recorded_refusals_are_refused() -> Ran {
    let refused = ["10.0.0.1:5432", "[2001:db8::5]:5432", "127.0.0.1:6379"];
    let open = "10.0.0.1:5433";
    block_on(async {
        let mut spec = inside("connect", &[refused[0], refused[1], refused[2], open]);
        spec.refused = refused.map(|address| address.parse().unwrap()).into();
        // Enough to need more than one batch.
        spec.refused.extend((0..300).map(|port| SocketAddr::from(([10, 0, 0, 2], port))));
        let mut running = Running::start(spec, &[]).await.unwrap();
        let (stream, destination) = accept(&mut running).await;
        assert_eq!(destination, open.parse().unwrap());
        respond(stream, destination).await.unwrap();
        let output = running.output().await;
        for address in refused {
            assert!(output.contains(&format!("{address}: ConnectionRefused")), "{output}");
        }
    });
    Ok(())
}

fn a_port_in_time_wait_is_taken_again() -> Ran {
    let address = "127.0.0.1:6379";
    block_on(async {
        let mut running = Running::start(inside("reuse", &[address]), &[]).await.unwrap();
        for _ in 0..2 {
            let (stream, destination) = accept(&mut running).await;
            respond(stream, destination).await.unwrap();
        }
        // At once: a connection that meets the old socket first is tried again after a second.
        assert_eq!(running.output().await, format!("played for {address}\nplayed for {address}\nrepeated: 0\n"));
    });
    Ok(())
}

fn sockets_of_the_host_are_out_of_reach() -> Ran {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("database.sock");
    let _listener = UnixListener::bind(&path).unwrap();
    let path = path.to_str().unwrap();
    block_on(async {
        let mut running = Running::start(inside("unix", &[path]), &[]).await.unwrap();
        assert_eq!(running.output().await, format!("{path}: ConnectionRefused\n"));
        // Only root may write there, as a rule.
        if let Ok(directory) = tempfile::tempdir_in("/run") {
            let path = directory.path().join("engine.sock");
            let _listener = UnixListener::bind(&path).unwrap();
            let mut running = Running::start(inside("unix", &[path.to_str().unwrap()]), &[]).await.unwrap();
            assert_eq!(running.output().await, format!("{}: NotFound\n", path.display()));
        }
        let mut running = Running::start(inside("families", &[]), &[]).await.unwrap();
        let output = running.output().await;
        let refused = std::io::Error::from_raw_os_error(libc::EAFNOSUPPORT).kind();
        assert_eq!(output, format!("family 40: {refused}\nfamily 1: ok\nfamily 16: ok\n"));
    });
    Ok(())
}
