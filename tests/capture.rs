use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    sync::Barrier,
};

use regress_cassettes::{Cassette, Confidence, Exchange};

use crate::{
    harness::{
        Client, Corpus, Finished, Need, Process, Recording, Replay, Reply, free_port, http, open_to_all, php_fpm,
        regress, require,
    },
    services::{LISTENS, Language, Shop, source},
};

const CLIENTS: u32 = 10;
const REQUESTS: u32 = 20;

#[test]
fn python_loses_nothing_and_knows_every_owner() {
    let Some(owners) = record_under_load("capture::python", Language::Python) else { return };
    assert_eq!(owners, Owners { right: owners.right, wrong: 0, unknown: 0 });
}

#[test]
fn asyncio_loses_nothing_and_knows_every_owner() {
    let Some(owners) = record_under_load("capture::asyncio", Language::PythonAsync) else { return };
    assert_eq!(owners, Owners { right: owners.right, wrong: 0, unknown: 0 });
}

#[test]
fn node_loses_nothing_and_has_no_wrong_owner() {
    let Some(owners) = record_under_load("capture::node", Language::Node) else { return };
    assert_eq!(owners.wrong, 0, "{owners:?}");
}

#[test]
fn node_with_a_hook_loses_nothing_and_knows_every_owner() {
    let Some(owners) = record_under_load("capture::node_hooked", Language::NodeHooked) else { return };
    assert_eq!(owners, Owners { right: owners.right, wrong: 0, unknown: 0 });
}

/// It is running, and is given the hook for as long as it is recorded.
#[test]
fn java_with_a_hook_loses_nothing_and_knows_every_owner() {
    let Some(owners) = record_with("capture::java_hooked", Language::Java, &["--hook", "java"]) else { return };
    assert_eq!(owners, Owners { right: owners.right, wrong: 0, unknown: 0 });
}

#[test]
fn a_command_is_given_its_hook() {
    for (language, hook) in [(Language::Node, "node"), (Language::Java, "java")] {
        if !require(&format!("capture::hook_{hook}"), &[language.need(), Need::Ebpf]) {
            continue;
        }
        let shop = Shop::new(language);
        let out = tempfile::tempdir().expect("there is a temporary folder");
        let arguments = ["--via", "ebpf", "--hook", hook, "--"].map(String::from);
        let environment = shop.environment("none");
        let recording = Recording::start(out.path(), arguments.into_iter().chain(shop.language.command()), environment);
        recording.wait_for_service(LISTENS, shop.port);
        let clients: Vec<Client> = (0..CLIENTS).map(|_| Client::new(shop.port)).collect();
        let asked = drive(&clients, REQUESTS, ask);
        let owners = compare(recording.stop(), out.path(), &shop, asked);
        assert_eq!(owners, Owners { right: owners.right, wrong: 0, unknown: 0 }, "{hook}");
    }
}

/// An event loop without a runtime to ask, and of several processes, of which the one that is named does nothing.
#[test]
fn nginx_loses_nothing_and_knows_every_owner() {
    if !require("capture::nginx", &[Need::Nginx, Need::Ebpf]) {
        return;
    }
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let shop = Shop::new(Language::Node);
    let inventory = format!("proxy_pass {};", shop.inventory.url());
    let settings = nginx(shop.port, &inventory, folder.path());
    let process = Process::start(Command::new("nginx").args(["-e", "stderr", "-c"]).arg(settings));
    process.wait_for_line("start worker process ");
    let clients: Vec<Client> = (0..CLIENTS).map(|_| Client::new(shop.port)).collect();
    let stock = |client: &Client, order: u32| client.get(&format!("/stock/sku-{order}"));
    drive(&clients, 1, stock);
    shop.inventory.take_served();

    let out = folder.path().join("cassettes");
    let recording = Recording::start(&out, ["--pid", &process.id().to_string(), "--via", "ebpf"], []);
    let mut asked = drive(&clients, 100, stock);
    let finished = recording.stop();
    process.stop();

    let corpus = Corpus::read(&out);
    asked.sort();
    assert_eq!(corpus.losses(), Vec::<&_>::new(), "{}", finished.stderr);
    assert_same(&corpus.replies(), &asked);
    assert_same(&corpus.served(), &shop.inventory.take_served());
    for cassette in &corpus.cassettes {
        let entry = cassette.entry.as_ref().expect("not the ambient cassette");
        let [call] = &cassette.downstream[..] else { panic!("{cassette:#?}\n{}", finished.stderr) };
        assert_eq!(http(entry).request.target(), http(call).request.target());
        assert_eq!(confidence(call), Confidence::Certain);
    }
    finished.expect_code(0);
}

/// Two services that are recorded as one: what the second calls is of the entry that the first passes on.
#[test]
fn a_shop_behind_nginx_loses_nothing_and_knows_every_owner() {
    if !require("capture::behind_nginx", &[Need::Nginx, Need::Python, Need::Ebpf]) {
        return;
    }
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let shop = Shop::new(Language::Python);
    let process = shop.run();
    let (port, behind) = (free_port(), format!("proxy_pass http://127.0.0.1:{};", shop.port));
    let front =
        Process::start(Command::new("nginx").args(["-e", "stderr", "-c"]).arg(nginx(port, &behind, folder.path())));
    front.wait_for_line("start worker process ");
    let clients: Vec<Client> = (0..CLIENTS).map(|_| Client::new(port)).collect();
    drive(&clients, 1, ask);
    shop.inventory.take_served();
    shop.pricing.take_served();

    let out = folder.path().join("cassettes");
    let pids = [front.id(), process.id()].map(|pid| pid.to_string());
    let arguments = ["--pid", &pids[0], "--pid", &pids[1], "--via", "ebpf", "--owner-log"];
    let recording = Recording::start(&out, arguments, []);
    let asked = drive(&clients, REQUESTS, ask);
    let finished = recording.stop();
    front.stop();
    process.stop();
    let owners = compare(finished, &out, &shop, asked);
    assert_eq!(owners, Owners { right: owners.right, wrong: 0, unknown: 0 });
    // The same is decided again from what was kept.
    let again = Process::start(regress().args(["cassette", "recorrelate", "--dry-run"]).arg(&out)).finish();
    again.expect_code(0);
    assert!(again.stdout.starts_with(&format!("entries      {:>8}\n", CLIENTS * REQUESTS)), "{}", again.stdout);
}

/// nginx passes everything on to PHP, which asks the inventory.
#[test]
fn php_behind_nginx_knows_every_owner_and_replays() {
    if !require("capture::php_fpm", &[Need::Nginx, Need::PhpFpm, Need::Ebpf, Need::Sandbox]) {
        return;
    }
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    open_to_all(folder.path());
    let shop = Shop::new(Language::Node);
    let command = php_behind_nginx(&shop, folder.path());
    let environment = |change: &str| vec![("INVENTORY_URL", shop.inventory.url()), ("SHOP_CHANGE", change.to_owned())];
    let process = Process::start(Command::new(&command[0]).args(&command[1..]).envs(environment("none")));
    process.wait_for_line("start worker process ");
    let clients: Vec<Client> = (0..CLIENTS).map(|_| Client::new(shop.port)).collect();
    let order = |client: &Client, order: u32| client.get(&format!("/orders/{order}"));

    let record = |name: &str, clients: &[Client]| {
        let out = folder.path().join(name);
        let recording = Recording::start(&out, ["--pid", &process.id().to_string(), "--via", "ebpf"], []);
        let asked = drive(clients, REQUESTS, order);
        let owners = compare(recording.stop(), &out, &shop, asked);
        assert_eq!(owners, Owners { right: owners.right, wrong: 0, unknown: 0 });
        out
    };
    record("many", &clients);
    let cassettes = record("one", &clients[..1]);
    process.stop();

    let settings = folder.path().join("regress.toml");
    std::fs::write(&settings, format!("[service]\nports = [{}]\n[replay]\nsettle = 0.1\n", shop.port))
        .expect("the folder can be written");
    for (change, code) in [("none", 0), ("argument", 1)] {
        let replay = Replay {
            cassettes: &cassettes,
            settings: &settings,
            command: &command,
            environment: environment(change),
            arguments: &["--no-pending"],
        };
        replay.run().0.expect_code(code);
    }
}

/// A command that starts both, as one tree of processes.
fn php_behind_nginx(shop: &Shop, folder: &Path) -> Vec<String> {
    const START: &str = r#"
        rm -f "$3"
        "$0" --nodaemonize --fpm-config "$1" & php=$!
        until [ -S "$3" ]; do sleep 0.01; done
        nginx -e stderr -c "$2" & nginx=$!
        trap "kill $nginx $php" TERM
        wait
        wait"#;
    let socket = folder.join("fpm.sock");
    // No line may begin with a blank.
    let pool = format!(
        "[global]\nerror_log = /dev/stderr\n[www]\nuser = nobody\ngroup = nogroup\nlisten = {socket}\n\
         listen.mode = 0666\npm = static\npm.max_children = 4\nclear_env = no\n",
        socket = socket.display()
    );
    let settings = folder.join("fpm.conf");
    std::fs::write(&settings, pool).expect("the folder can be written");
    let script = folder.join("shop.php");
    std::fs::copy(source("shop.php"), &script).expect("the folder can be written");
    let to_php = format!(
        "fastcgi_pass unix:{socket}; fastcgi_param SCRIPT_FILENAME {script}; \
         fastcgi_param REQUEST_METHOD $request_method; fastcgi_param REQUEST_URI $request_uri;",
        socket = socket.display(),
        script = script.display()
    );
    let front = nginx(shop.port, &to_php, folder);
    let program = php_fpm().expect("it was required");
    let paths = [program, settings, front, socket].map(|path| path.display().to_string());
    ["sh", "-c", START].map(str::to_owned).into_iter().chain(paths).collect()
}

/// Settings that pass everything on.
fn nginx(port: u16, location: &str, folder: &Path) -> PathBuf {
    let settings = folder.join("nginx.conf");
    let text = format!(
        "daemon off;\nuser nobody nogroup;\npid {folder}/nginx.pid;\nerror_log stderr notice;\nevents {{}}\nhttp {{\n  \
         access_log off;\n  client_body_temp_path {folder}/body;\n  proxy_temp_path {folder}/proxy;\n  \
         fastcgi_temp_path {folder}/fastcgi;\n  uwsgi_temp_path {folder}/uwsgi;\n  scgi_temp_path {folder}/scgi;\n  \
         server {{\n    listen 127.0.0.1:{port};\n    location / {{ {location} }}\n  }}\n}}\n",
        folder = folder.display(),
    );
    std::fs::write(&settings, text).expect("the folder can be written");
    settings
}

#[test]
fn go_loses_nothing_and_knows_every_owner() {
    let Some(owners) = record_under_load("capture::go", Language::Go) else { return };
    assert_eq!(owners, Owners { right: owners.right, wrong: 0, unknown: 0 });
}

#[test]
fn tokio_loses_nothing_and_knows_every_owner() {
    let Some(owners) = record_under_load("capture::tokio", Language::Tokio) else { return };
    assert_eq!(owners.wrong, 0, "{owners:?}");
    // A connection that is made under load is not known for its first call.
    assert!(owners.unknown * 20 <= owners.right, "{owners:?}");
}

/// Downstream exchanges by whether their cassette is the one of the entry that caused them.
#[derive(Debug, Default, PartialEq, Eq)]
struct Owners {
    right: u32,
    wrong: u32,
    unknown: u32,
}

/// Attach to a shop that already has connections on both sides, drive it, and compare what was recorded with what
/// the clients and the downstreams saw.
fn record_under_load(test: &str, language: Language) -> Option<Owners> {
    record_with(test, language, &[])
}

/// The same, with more arguments for the recording.
fn record_with(test: &str, language: Language, arguments: &[&str]) -> Option<Owners> {
    if !require(test, &[language.need(), Need::Ebpf]) {
        return None;
    }
    let shop = Shop::new(language);
    let process = shop.run();
    let clients: Vec<Client> = (0..CLIENTS).map(|_| Client::new(shop.port)).collect();
    drive(&clients, 1, ask);
    shop.inventory.take_served();
    shop.pricing.take_served();

    let out = tempfile::tempdir().expect("there is a temporary folder");
    let pid = process.id().to_string();
    let arguments = ["--pid", &pid, "--via", "ebpf"].into_iter().chain(arguments.iter().copied());
    let recording = Recording::start(out.path(), arguments, []);
    let asked = drive(&clients, REQUESTS, ask);
    let finished = recording.stop();
    process.stop();
    Some(compare(finished, out.path(), &shop, asked))
}

/// What was recorded with what the clients and the downstreams saw.
fn compare(finished: Finished, out: &Path, shop: &Shop, mut asked: Vec<Reply>) -> Owners {
    let corpus = Corpus::read(out);
    asked.sort();
    let mut served = shop.inventory.take_served();
    served.extend(shop.pricing.take_served());
    served.sort();
    assert_eq!(corpus.losses(), Vec::<&_>::new(), "{}", finished.stderr);
    assert_same(&corpus.replies(), &asked);
    assert_same(&corpus.served(), &served);

    let owners = judge_owners(&corpus);
    // Only an owner that cannot be told may keep a complete recording from being a good one.
    finished.expect_code(if owners.unknown > 0 { 2 } else { 0 });
    owners
}

/// Every client makes its requests one after the other, all clients at once.
fn drive(clients: &[Client], requests: u32, ask: impl Fn(&Client, u32) -> Reply + Sync) -> Vec<Reply> {
    let start = Barrier::new(clients.len());
    std::thread::scope(|scope| {
        let working: Vec<_> = (1000..)
            .step_by(1000)
            .zip(clients)
            .map(|(first_order, client)| {
                let (start, ask) = (&start, &ask);
                scope.spawn(move || {
                    start.wait();
                    (first_order..first_order + requests).map(|order| ask(client, order)).collect::<Vec<_>>()
                })
            })
            .collect();
        working.into_iter().flat_map(|client| client.join().expect("every client is answered")).collect()
    })
}

fn ask(client: &Client, order: u32) -> Reply {
    match order % 8 {
        0 => client.get("/health"),
        1 => client.get("/report"),
        2 | 3 => client.post("/orders", &format!(r#"{{"id":"{order}","sku":"sku-{order}","quantity":2}}"#)),
        _ => client.get(&format!("/orders/{order}")),
    }
}

/// Equal, or a failure that names what is missing and what is too much instead of printing both.
#[track_caller]
fn assert_same<T: Ord + std::fmt::Debug>(recorded: &[T], truth: &[T]) {
    let mut counts: BTreeMap<&T, i32> = BTreeMap::new();
    truth.iter().for_each(|item| *counts.entry(item).or_default() += 1);
    recorded.iter().for_each(|item| *counts.entry(item).or_default() -= 1);
    let missing: Vec<_> = counts.iter().filter(|(_, count)| **count > 0).collect();
    let invented: Vec<_> = counts.iter().filter(|(_, count)| **count < 0).collect();
    assert!(missing.is_empty() && invented.is_empty(), "missing: {missing:#?}\ninvented: {invented:#?}");
}

/// The truth about owners is the order that an entry names, which every call made for it repeats in `x-order`.
/// No rule of the recorder looks at it.
fn judge_owners(corpus: &Corpus) -> Owners {
    let mut owners = Owners::default();
    for cassette in &corpus.cassettes {
        let order = order_of(cassette);
        for exchange in &cassette.downstream {
            let repeated = http(exchange).request.header_text("x-order").map(|order| order.into_owned());
            match confidence(exchange) {
                Confidence::Likely | Confidence::Ambiguous => owners.unknown += 1,
                Confidence::Certain if repeated == order => owners.right += 1,
                Confidence::Certain => owners.wrong += 1,
            }
        }
    }
    // Every exchange of this load has an owner, but for what the shop asks when it starts; one that was given to no entry
    // is unknown.
    let stray = corpus.ambient.iter().filter(|exchange| http(exchange).request.target() != "/config");
    owners.unknown += u32::try_from(stray.count()).expect("a small number");
    owners
}

fn confidence(exchange: &Exchange) -> Confidence {
    exchange.cause.as_ref().map_or(Confidence::Ambiguous, |cause| cause.confidence)
}

/// The order that an entry is about; `None` for the routes without one.
fn order_of(cassette: &Cassette) -> Option<String> {
    let request = &http(cassette.entry.as_ref().expect("not the ambient cassette")).request;
    if let Some(order) = request.target().strip_prefix("/orders/") {
        return Some(order.to_owned());
    }
    let body: serde_json::Value = serde_json::from_slice(&request.body).ok()?;
    body["id"].as_str().map(str::to_owned)
}
