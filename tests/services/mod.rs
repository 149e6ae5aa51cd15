//! The shop as a service under test in several languages, with its two downstreams, and services made by others.

mod change;
pub mod ledger;
pub mod nginx;
mod recorded;
mod third_party;
pub mod ticker;
pub mod verdaccio;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    sync::{LazyLock, Mutex, OnceLock, PoisonError},
};

pub use change::{Change, Edit};
pub use recorded::{PATIENT, RecordedShop, Source, Waits};
pub use third_party::ThirdParty;

use crate::harness::{Answer, Client, Downstream, Need, Process, Reply, free_port, tools};

/// A language the shop is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Threads and a shared pool of connections.
    Python,
    /// An event loop and threads that it gives work to: enough of the shop for the load of `capture.rs`.
    PythonAsync,
    /// One event loop.
    Node,
    /// The same, which says itself what it works for.
    NodeHooked,
    /// Goroutines.
    Go,
    /// Tasks of tokio, in an optimised and stripped program: enough of the shop for the load of `capture.rs`.
    Tokio,
    /// Threads of several pools: enough of the shop for the load of `capture.rs`.
    Java,
}

impl Language {
    /// What the host must have to run it.
    pub fn need(self) -> Need {
        match self {
            Language::Python | Language::PythonAsync => Need::Python,
            Language::Node | Language::NodeHooked => Need::Node,
            Language::Go => Need::Go,
            Language::Tokio => Need::Cargo,
            Language::Java => Need::Java,
        }
    }

    /// The command that runs the shop.
    pub fn command(self) -> Vec<String> {
        match self {
            Language::Python => vec![python(), source("shop.py")],
            Language::PythonAsync => vec![python(), source("shop_async.py")],
            Language::Node => vec!["node".into(), source("shop.mjs")],
            Language::NodeHooked => {
                let hook = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/hook/node.cjs");
                vec!["node".into(), "--require".into(), hook.display().to_string(), source("shop.mjs")]
            }
            Language::Go => vec![go_program("shop")],
            Language::Tokio => vec![tokio_shop()],
            Language::Java => vec!["java".into(), source("Shop.java")],
        }
    }
}

/// A file beside this one.
pub fn source(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services").join(name).display().to_string()
}

/// The interpreter itself: what `python3` names may be a script that looks for it.
pub fn python() -> String {
    static FOUND: LazyLock<String> = LazyLock::new(|| {
        let asked = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output();
        let answer = asked.expect("the test required python3").stdout;
        String::from_utf8_lossy(&answer).trim().to_owned()
    });
    FOUND.clone()
}

/// A program in Go that is a file beside this one, built once a test run; Go's own cache makes that quick.
pub fn go_program(name: &'static str) -> String {
    static BUILT: LazyLock<Mutex<BTreeMap<&'static str, PathBuf>>> = LazyLock::new(Mutex::default);
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let program = built.entry(name).or_insert_with(|| {
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-go"));
        let mut build = Command::new("go");
        build.env("CGO_ENABLED", "0").env("GO111MODULE", "off").env("GOTOOLCHAIN", "local");
        build.args(["build", "-o"]).arg(&program).arg(source(&format!("{name}.go")));
        Process::start(&mut build).finish().expect_code(0);
        program
    });
    program.display().to_string()
}

/// The shop on tokio, which `tests/install.sh` builds; else built once out of the packages that the tests themselves are built of.
fn tokio_shop() -> String {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let installed = tools().join("shop-tokio");
        let own = || Path::new(env!("CARGO_TARGET_TMPDIR")).join("shop-tokio");
        let target = if installed.exists() { installed } else { own() };
        let mut build = Command::new("cargo");
        build.args(["build", "--release", "--offline", "--quiet", "--manifest-path"]);
        build.arg(source("shop-tokio/Cargo.toml")).arg("--target-dir").arg(&target);
        Process::start(&mut build).finish().expect_code(0);
        target.join("release/shop-tokio")
    });
    built.display().to_string()
}

/// The downstreams of one shop and the port it listens on.
pub struct Shop {
    /// The language it is written in.
    pub language: Language,
    /// The port it listens on.
    pub port: u16,
    /// Stock, reservations, settings.
    pub inventory: Downstream,
    /// Prices.
    pub pricing: Downstream,
}

impl Shop {
    /// Start the downstreams.
    pub fn new(language: Language) -> Shop {
        let inventory = Downstream::start(inventory);
        let pricing = Downstream::start(pricing);
        Shop { language, port: free_port(), inventory, pricing }
    }

    /// The environment in which the shop, with this change, finds its downstreams.
    pub fn environment(&self, change: impl Into<Change>) -> Vec<(&'static str, String)> {
        vec![
            ("PORT", self.port.to_string()),
            ("INVENTORY_URL", self.inventory.url()),
            ("PRICING_URL", self.pricing.url()),
            change.into().variable(),
        ]
    }

    /// Run it, unchanged, until it listens.
    pub fn run(&self) -> Process {
        let command = self.language.command();
        let process = Process::start(Command::new(&command[0]).args(&command[1..]).envs(self.environment("none")));
        process.wait_for_line(LISTENS);
        process
    }
}

/// The line on standard error with which a shop says that it listens.
pub const LISTENS: &str = "shop listens";

fn inventory(method: &str, target: &str, body: &[u8]) -> Answer {
    match (method, target) {
        ("GET", "/config") => json(r#"{"currency":"EUR","discount":5}"#.into()),
        ("GET", _) if target.starts_with("/lines?") => json(RECEIPT.into()),
        ("PUT", _) if target.starts_with("/orders/") => json(r#"{"ok":true}"#.into()),
        ("DELETE", _) if target.starts_with("/holds/") => Answer(200, "text/plain", String::new()),
        ("GET", "/levels") => Answer(200, "text/plain", "north 12\nsouth 7\n".into()),
        ("POST", "/reserve") => {
            let asked: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
            json(format!(r#"{{"reserved": true, "order": {}}}"#, asked["id"]))
        }
        ("GET", _) if target.starts_with("/stock/") => {
            let sku = &target["/stock/".len()..];
            json(format!(r#"{{"sku":"{sku}","available":{},"warehouse":"north"}}"#, number(sku) % 40 + 3))
        }
        _ => Answer(404, "text/plain", "no such path\n".into()),
    }
}

/// What the inventory knows of an order: a value of each kind that JSON libraries and people treat in their own way.
const RECEIPT: &str = concat!(
    r#"{"serial":9007199254740993,"issued":"2026-03-29T01:30:00+01:00","customer":"Zoë Müller","#,
    r#""motto":"salt & <pepper>","paid":true,"note":null,"coupons":[],"balance":0,"weight":1.50,"share":0.1,"#,
    r#""from":"north","to":"south","#,
    r#""lines":[{"sku":"tea-1","quantity":2},{"sku":"rice-2","quantity":1},{"sku":"salt-3","quantity":5}]}"#,
);

fn pricing(method: &str, target: &str, body: &[u8]) -> Answer {
    match (method, target) {
        ("POST", "/quote") => {
            let asked: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
            let sku = asked["sku"].as_str().unwrap_or_default();
            // 35 cents: with a discount of 5 % a total of 3 always has a fraction above one half.
            let cents = 1035 + 100 * (number(sku) % 50);
            json(format!(r#"{{"sku":"{sku}","unit_cents":{cents},"exact":{cents}.10}}"#))
        }
        ("GET", "/rates?on=2026-03-29") => json(r#"{"EUR":1,"USD":1.25}"#.into()),
        ("POST", "/authorize") => json(r#"{"authorized":true}"#.into()),
        ("POST", "/fail") => Answer(500, "text/plain", "pricing is down\n".into()),
        _ => Answer(404, "text/plain", "no such path\n".into()),
    }
}

fn json(text: String) -> Answer {
    Answer(200, "application/json", text)
}

/// The number at the end of a name.
fn number(name: &str) -> u64 {
    name.rsplit('-').next().and_then(|digits| digits.parse().ok()).unwrap_or_default()
}

/// One request of each kind that the shop knows, in this order, and two of the first.
pub fn tour(port: u16) -> Vec<Reply> {
    let client = Client::new(port);
    let replies = vec![
        client.get("/health"),
        client.get("/orders/7"),
        client.post("/orders", r#"{"id":"8","sku":"sku-8","quantity":3}"#),
        client.get("/report"),
        client.get("/broken"),
        client.get("/orders/9"),
        client.get("/receipts/7"),
        client.post("/payments", r#"{"order":"7","amount":4944,"currency":"EUR"}"#),
        client.get("/pages/7"),
    ];
    let statuses: Vec<u16> = replies.iter().map(|reply| reply.status).collect();
    assert_eq!(statuses, [200, 200, 201, 200, 502, 200, 200, 303, 200], "the shop works: {replies:?}");
    replies
}

#[test]
fn the_shop_works_in_every_language() {
    for language in [Language::Python, Language::Node, Language::Go] {
        if !crate::harness::require(&format!("services::{language:?}"), &[language.need()]) {
            continue;
        }
        let shop = Shop::new(language);
        let process = shop.run();
        let replies = tour(shop.port);
        assert_eq!(replies[1].response, r#"{"id":"7","sku":"sku-7","available":10,"total":4944,"currency":"EUR"}"#);
        assert_eq!(
            shop.inventory.take_served().len() + shop.pricing.take_served().len(),
            1 + 2 + 2 + 1 + 1 + 2 + 2 + 3 + 1
        );
        process.stop();
    }
}
