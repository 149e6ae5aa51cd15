use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    process::Command,
    thread::JoinHandle,
};

use regress_cassettes::{Content, Ended, Exchange};

use crate::{
    harness::{Corpus, Need, Process, Recording, Replay, free_port, http, require},
    services::{python, source},
};

/// Who says what on a connection, in turns.
enum Turn {
    /// The side that opened the connection says this.
    Client(&'static str),
    /// The side that accepted it says this.
    Server(&'static str),
    /// The side that accepted it says this, followed by so many `x`.
    ServerAndFill(&'static str, usize),
    /// The side that opened the connection says this, followed by so many `x`.
    ClientAndFill(&'static str, usize),
    /// The side that accepted it closes it.
    Close,
}

use Turn::{Client, ClientAndFill, Close, Server, ServerAndFill};

/// One entry connection, and the connection the service opens meanwhile.
struct Case {
    name: &'static str,
    entry: &'static [Turn],
    call: Option<&'static [Turn]>,
}

const BIG: usize = 64 << 20;

/// What can be recorded and played again, byte for byte.
const REPLAYABLE: &[Case] = &[
    Case {
        name: "chunked-request",
        entry: &[
            Client("POST /edge-chunked-request. HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n"),
            Client("5;note=\"one\"\r\nhello\r\n006\r\n world\r\n0\r\nX-Sum: 11\r\n\r\n"),
            Server("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        ],
        call: None,
    },
    Case {
        name: "chunked",
        entry: &[
            Client("GET /edge-chunked. HTTP/1.1\r\nHost: shop\r\n\r\n"),
            Server("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\none\r\n"),
            Server("5;a=b\r\nhello\r\n0\r\nX-Sum: 8\r\nX-More:  2 \r\n\r\n"),
        ],
        call: Some(&[
            Client("POST /numbers HTTP/1.1\r\nHost: numbers\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"),
            Server(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nA\r\n0123456789\r\n0\r\nX-Trailer: end\r\n\r\n",
            ),
        ]),
    },
    Case {
        name: "head",
        entry: &[
            Client("HEAD /edge-head. HTTP/1.1\r\nHost: shop\r\n\r\n"),
            Server("HTTP/1.1 200 OK\r\nContent-Length: 512\r\n\r\n"),
        ],
        call: Some(&[
            Client("HEAD /size HTTP/1.1\r\nHost: files\r\n\r\n"),
            Server("HTTP/1.1 200 OK\r\nContent-Length: 512\r\n\r\n"),
        ]),
    },
    Case {
        name: "no-content",
        entry: &[
            Client("DELETE /edge-no-content. HTTP/1.1\r\nHost: shop\r\n\r\n"),
            Server("HTTP/1.1 204 No Content\r\n\r\n"),
        ],
        call: Some(&[
            Client("DELETE /thing HTTP/1.1\r\nHost: things\r\n\r\n"),
            Server("HTTP/1.1 204 No Content\r\n\r\n"),
        ]),
    },
    Case {
        name: "not-modified",
        entry: &[
            Client("GET /edge-not-modified. HTTP/1.1\r\nHost: shop\r\nIf-None-Match: \"7\"\r\n\r\n"),
            Server("HTTP/1.1 304 Not Modified\r\nETag: \"7\"\r\nContent-Length: 99\r\n\r\n"),
        ],
        call: Some(&[
            Client("GET /thing HTTP/1.1\r\nHost: things\r\nIf-None-Match: \"7\"\r\n\r\n"),
            Server("HTTP/1.1 304 Not Modified\r\nETag: \"7\"\r\nContent-Length: 99\r\n\r\n"),
        ]),
    },
    Case {
        name: "nothing-in-it",
        entry: &[
            Client("POST /edge-nothing-in-it. HTTP/1.1\r\nHost: shop\r\nContent-Length: 0\r\n\r\n"),
            Server("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ],
        call: Some(&[
            Client("POST /nothing HTTP/1.1\r\nHost: things\r\nContent-Length: 0\r\n\r\n"),
            Server("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ]),
    },
    Case {
        name: "until-close",
        entry: &[
            Client("GET /edge-until-close. HTTP/1.0\r\nHost: shop\r\n\r\n"),
            Server("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nas long as it takes"),
            Close,
        ],
        call: Some(&[
            Client("GET /stream HTTP/1.1\r\nHost: things\r\nConnection: close\r\n\r\n"),
            Server("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nas long as it takes"),
            Close,
        ]),
    },
    Case {
        name: "expect",
        entry: &[
            Client("PUT /edge-expect. HTTP/1.1\r\nHost: shop\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"),
            Server("HTTP/1.1 100 Continue\r\n\r\n"),
            Client("body"),
            Server("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"),
        ],
        call: Some(&[
            Client("PUT /thing HTTP/1.1\r\nHost: things\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"),
            Server("HTTP/1.1 100 Continue\r\n\r\n"),
            Client("body"),
            Server("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"),
        ]),
    },
    Case {
        name: "odd-headers",
        entry: &[
            Client("GET /edge-odd-headers.?q=%zz&q HTTP/1.1\r\nhOST:shop\r\nX-Empty:\r\nX-A: 1\r\nx-a:\t2 \r\n\r\n"),
            Server(
                "HTTP/1.1 200 \r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\nX-Bytes: caf\u{e9}\r\nContent-Length: 3\r\n\r\n\u{ff}\u{0}\u{fe}",
            ),
        ],
        call: Some(&[
            Client("GET /odd HTTP/1.1\r\nHost: things\r\nX-A: 1\r\nX-A: 2\r\nX-Bytes: caf\u{e9}\r\n\r\n"),
            Server("HTTP/1.1 299 Odd Enough\r\nX-B:\r\nContent-Length: 2\r\nX-b: 2\r\n\r\n{}"),
        ]),
    },
    Case {
        name: "big-answer",
        entry: &[
            Client("GET /edge-big-answer. HTTP/1.1\r\nHost: shop\r\n\r\n"),
            Server("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        ],
        call: Some(&[
            Client("GET /big HTTP/1.1\r\nHost: files\r\n\r\n"),
            ServerAndFill("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 67108864\r\n\r\n", BIG),
        ]),
    },
    Case {
        name: "large-request",
        entry: &[
            ClientAndFill(
                "POST /edge-large-request. HTTP/1.1\r\nHost: shop\r\nContent-Length: 1000000\r\n\r\n",
                1_000_000,
            ),
            ServerAndFill("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", 1_000_000),
        ],
        call: None,
    },
];

/// What can be recorded, and of which replay can say nothing.
const RECORDED_ONLY: &[Case] = &[
    Case {
        name: "pipelined",
        entry: &[
            Client(
                "GET /edge-pipelined.1 HTTP/1.1\r\nHost: shop\r\n\r\nGET /edge-pipelined.2 HTTP/1.1\r\nHost: shop\r\n\r\n",
            ),
            Server("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none"),
            Server("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntwo"),
        ],
        call: None,
    },
    Case {
        name: "upgrade",
        entry: &[
            Client("GET /edge-upgrade. HTTP/1.1\r\nHost: shop\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"),
            Server("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"),
            Client("\u{0}ping"),
            Server("\u{0}pong"),
        ],
        call: None,
    },
    Case {
        name: "garbage",
        entry: &[Client("\u{1}\u{2}\u{3} edge-garbage. \u{ff}\r\n"), Server("\u{4}what?\r\n")],
        call: Some(&[Client("\u{1}\u{2}\u{3} hello\r\n"), Server("\u{0}\u{0}\u{0}\u{1}")]),
    },
    Case {
        name: "cut-short",
        entry: &[
            Client("GET /edge-cut-short. HTTP/1.1\r\nHost: shop\r\n\r\n"),
            Server("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n123"),
            Close,
        ],
        call: None,
    },
];

#[test]
fn what_http_allows_is_recorded_byte_for_byte_and_replays_the_same() {
    if !require("edges::replayable", &[Need::Python, Need::Ebpf, Need::Sandbox]) {
        return;
    }
    let recorded = record(REPLAYABLE);
    let corpus = Corpus::read(&recorded.folder.path().join("cassettes"));
    assert_eq!(corpus.losses(), Vec::<&_>::new(), "{}", recorded.stderr);
    assert_eq!(recorded.code, 0, "{}", recorded.stderr);
    assert_eq!(corpus.cassettes.len(), REPLAYABLE.len());
    assert_eq!(corpus.ambient, []);
    for (cassette, case) in corpus.cassettes.iter().zip(REPLAYABLE) {
        let entry = cassette.entry.as_ref().expect("a cassette with an entry");
        same_bytes(case.name, entry, case.entry);
        let calls = usize::from(case.call.is_some());
        assert_eq!(cassette.downstream.len(), calls, "{}", case.name);
        for exchange in &cassette.downstream {
            same_bytes(case.name, exchange, case.call.expect("the case calls"));
        }
    }

    let (finished, _) = Replay {
        cassettes: &recorded.folder.path().join("cassettes"),
        settings: &recorded.settings(),
        command: &[python(), source("edges.py")],
        environment: recorded.environment.clone(),
        arguments: &[],
    }
    .run();
    finished.expect_code(0);
}

#[test]
fn what_is_odd_is_recorded_for_what_it_is() {
    if !require("edges::odd", &[Need::Python, Need::Ebpf]) {
        return;
    }
    let recorded = record(RECORDED_ONLY);
    let corpus = Corpus::read(&recorded.folder.path().join("cassettes"));
    let entry_of = |words: &str| -> Vec<&Exchange> {
        let entries = corpus.cassettes.iter().filter_map(|cassette| cassette.entry.as_ref());
        entries.filter(|entry| said_by_client(entry).contains(words)).collect()
    };

    let pipelined = entry_of("edge-pipelined");
    let bodies: Vec<_> = pipelined.iter().map(|entry| http(entry).response.as_ref().map(|r| r.body.clone())).collect();
    assert_eq!(bodies, [Some("one".into()), Some("two".into())]);

    let upgrade = entry_of("edge-upgrade");
    let turns: Vec<_> = http(upgrade[0]).upgraded.iter().map(|turn| turn.bytes.clone()).collect();
    assert_eq!(turns, ["\0ping", "\0pong"]);

    // What is not HTTP cannot be driven: it makes no cassette and is counted. The call made meanwhile is kept.
    assert_eq!(entry_of("edge-garbage"), Vec::<&Exchange>::new());
    assert!(recorded.stderr.contains("not HTTP"), "{}", recorded.stderr);
    assert_eq!(recorded.code, 2, "{}", recorded.stderr);
    let [call] = &corpus.ambient[..] else { panic!("one call is nobody's: {:?}", corpus.ambient) };
    let Content::Opaque(turns) = &call.content else { panic!("not opaque: {call:?}") };
    let turns: Vec<_> = turns.iter().map(|turn| turn.bytes.to_vec()).collect();
    assert_eq!(turns, [b"\x01\x02\x03 hello\r\n".to_vec(), b"\0\0\0\x01".to_vec()]);

    let cut = entry_of("edge-cut-short");
    let response = http(cut[0]).response.as_ref().expect("a part of a response came");
    assert!(!response.is_complete());
    assert_eq!(response.body, "123");
    assert_eq!(cut[0].ended, Ended::Closed);
}

#[test]
fn the_service_plays_its_script() {
    if !require("edges::script", &[Need::Python]) {
        return;
    }
    let stage = Stage::set(&[REPLAYABLE, RECORDED_ONLY]);
    let service = Process::start(Command::new(python()).arg(source("edges.py")).envs(stage.environment.clone()));
    service.wait_for_line(LISTENS);
    stage.play();
    service.stop();
}

const LISTENS: &str = "edges listens";

/// The script, the downstream that plays its part, and where the service finds both.
struct Stage {
    cases: Vec<&'static Case>,
    folder: tempfile::TempDir,
    environment: Vec<(&'static str, String)>,
    port: u16,
    downstream: JoinHandle<()>,
}

struct Recorded {
    folder: tempfile::TempDir,
    environment: Vec<(&'static str, String)>,
    port: u16,
    code: i32,
    stderr: String,
}

impl Recorded {
    fn settings(&self) -> std::path::PathBuf {
        let path = self.folder.path().join("regress.toml");
        std::fs::write(&path, format!("[service]\nname = \"edges\"\nports = [{}]\n", self.port)).expect("writable");
        path
    }
}

/// Record the service while it plays these cases, one after the other.
fn record(cases: &'static [Case]) -> Recorded {
    let stage = Stage::set(&[cases]);
    let (port, environment) = (stage.port, stage.environment.clone());
    let mut arguments = vec!["--via".to_owned(), "ebpf".into(), "--port".into(), port.to_string(), "--".into()];
    arguments.extend([python(), source("edges.py")]);
    let recording = Recording::start(&stage.folder.path().join("cassettes"), arguments, environment.clone());
    recording.wait_for_service(LISTENS, port);
    let folder = stage.play();
    let finished = recording.stop();
    Recorded { folder, environment, port, code: finished.code, stderr: finished.stderr }
}

impl Stage {
    fn set(cases: &[&'static [Case]]) -> Stage {
        let cases: Vec<&Case> = cases.iter().copied().flatten().collect();
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        let script = folder.path().join("script.json");
        std::fs::write(&script, script_of(&cases)).expect("the temporary folder can be written");
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let port = free_port();
        let environment = vec![
            ("PORT", port.to_string()),
            ("DOWNSTREAM_PORT", listener.local_addr().expect("bound").port().to_string()),
            ("SCRIPT", script.display().to_string()),
        ];
        let calls: Vec<_> = cases.iter().filter_map(|case| Some((case.name, case.call?))).collect();
        let downstream = std::thread::spawn(move || {
            for (name, turns) in calls {
                let (stream, _) = listener.accept().expect("the service calls");
                play(name, stream, turns, false);
            }
        });
        Stage { cases, folder, environment, port, downstream }
    }

    /// Be the client of every case, one after the other.
    fn play(self) -> tempfile::TempDir {
        for case in self.cases {
            let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("the service listens");
            play(case.name, stream, case.entry, true);
        }
        self.downstream.join().expect("the downstream heard what the script says");
        self.folder
    }
}

/// Take part in a connection as its client or its server.
fn play(name: &str, mut stream: TcpStream, turns: &[Turn], as_client: bool) {
    for turn in turns {
        if let Close = turn {
            if as_client {
                stream.read_to_end(&mut Vec::new()).unwrap_or_else(|error| panic!("{name}: {error}"));
            }
            return;
        }
        let (by_client, bytes) = turn.said();
        if by_client == as_client {
            stream.write_all(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        } else {
            let mut heard = vec![0; bytes.len()];
            stream.read_exact(&mut heard).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(heard == bytes, "{name}: heard something else than the script says");
        }
    }
    if as_client {
        stream.shutdown(Shutdown::Write).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    // The other side closes when it has seen the end.
    let _ = stream.read_to_end(&mut Vec::new());
}

impl Turn {
    /// Whether the client says it, and the bytes.
    fn said(&self) -> (bool, Vec<u8>) {
        let (by_client, text, fill) = match self {
            Client(text) => (true, text, 0),
            ClientAndFill(text, fill) => (true, text, *fill),
            Server(text) => (false, text, 0),
            ServerAndFill(text, fill) => (false, text, *fill),
            Close => return (false, Vec::new()),
        };
        let mut bytes = latin1(text);
        bytes.resize(bytes.len() + fill, b'x');
        (by_client, bytes)
    }
}

/// The bytes that stand for these characters, one each.
fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).expect("scripts hold bytes")).collect()
}

fn script_of(cases: &[&Case]) -> String {
    let turns = |turns: &[Turn]| -> Vec<serde_json::Value> {
        let one = |turn: &Turn| match turn {
            Client(text) => serde_json::json!(["client", text, 0]),
            ClientAndFill(text, fill) => serde_json::json!(["client", text, fill]),
            Server(text) => serde_json::json!(["server", text, 0]),
            ServerAndFill(text, fill) => serde_json::json!(["server", text, fill]),
            Close => serde_json::json!(["close"]),
        };
        turns.iter().map(one).collect()
    };
    let scripts = cases.iter().map(|case| {
        let script = serde_json::json!({ "entry": turns(case.entry), "call": case.call.map(turns) });
        (case.name.to_owned(), script)
    });
    serde_json::Value::Object(scripts.collect()).to_string()
}

/// The messages of the exchange, written back, are what each side said.
#[track_caller]
fn same_bytes(name: &str, exchange: &Exchange, turns: &[Turn]) {
    let said = |by_client: bool| -> Vec<u8> {
        let turns = turns.iter().map(Turn::said).filter(|(client, _)| *client == by_client);
        turns.flat_map(|(_, bytes)| bytes).collect()
    };
    let http = http(exchange);
    assert!(http.request.wire() == said(true), "{name}: another request: {:?}", http.request.headers);
    let mut answered: Vec<u8> = http.interim.iter().flat_map(|message| message.wire()).collect();
    answered.extend(http.response.as_ref().map(|message| message.wire()).unwrap_or_default());
    assert!(answered == said(false), "{name}: another response: {:?}", http.response.as_ref().map(|r| &r.headers));
    assert_eq!(exchange.ended, Ended::Ok, "{name}");
}

fn said_by_client(exchange: &Exchange) -> String {
    let bytes = match &exchange.content {
        Content::Http1(http) => http.request.wire(),
        Content::Opaque(turns) => turns.first().map(|turn| turn.bytes.to_vec()).unwrap_or_default(),
        Content::Wire(_) | Content::Nothing => Vec::new(),
    };
    String::from_utf8_lossy(&bytes).into_owned()
}
