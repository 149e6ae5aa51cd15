//! `regress demo`: the whole tour on a built-in sample shop.

mod shop;

use std::{
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::json;

use self::shop::{Build, Downstreams, Shop};
use crate::output::{Exit, Failure, say};

/// Arguments of `regress demo`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Capture source: auto takes eBPF where this host allows it, else the proxy
    #[arg(long, default_value = "auto", value_parser = ["auto", "ebpf", "proxy"])]
    via: String,
    /// Keep the cassettes in this folder instead of a temporary one
    #[arg(long, value_name = "DIR")]
    keep: Option<std::path::PathBuf>,
}

/// Arguments of the hidden command that runs the sample shop itself.
#[derive(Debug, clap::Args)]
pub struct ShopArgs {
    #[arg(long)]
    port: u16,
    #[arg(long)]
    build: Build,
    #[arg(long)]
    inventory: SocketAddr,
    #[arg(long)]
    pricing: SocketAddr,
}

/// Run the sample shop until it is killed.
pub fn run_shop(args: ShopArgs) -> Result<Exit, Failure> {
    let listener = TcpListener::bind(("127.0.0.1", args.port))
        .map_err(|error| Failure::new(format_args!("the sample shop cannot listen on port {}: {error}", args.port)))?;
    let shop = Shop::new(args.build, Downstreams { inventory: args.inventory, pricing: args.pricing });
    shop::serve(listener, move |method, path, body| shop.handle(method, path, body));
    Ok(Exit::Same)
}

/// Run the tour.
pub fn run(args: Args) -> Result<Exit, Failure> {
    let temporary = tempfile::tempdir().map_err(Failure::from_error)?;
    let cassettes = args.keep.clone().unwrap_or_else(|| temporary.path().join("cassettes"));
    let tour = Tour::start(&cassettes)?;

    say("regress demo: a shop with two downstreams, inventory and pricing.\n");
    say("1. Record. Build v1 of the shop serves a few customers; regress writes down each request, its response");
    say("   and every call that the shop made because of it. The shop is not changed and knows nothing of it.\n");
    tour.record(&args.via)?;

    say("\n2. Replay the same build. It starts in a sealed sandbox: no network, inventory and pricing are played");
    say(
        "   from the cassettes, the recorded requests are sent again. Nothing has changed, so the verdict must be same.\n",
    );
    tour.expect(Build::V1, 0)?;

    say("\n3. Replay the release candidate v2. Someone \"cleaned up\" two things: totals are rounded, and new orders");
    say(
        "   ask for a price without saying the currency. No test was written for either; the verdict must be different:",
    );
    say("   a changed response, and a changed call to pricing.\n");
    tour.expect(Build::V2, 1)?;

    say("\nThat is the whole job. With a service of your own:");
    say("   regress record -o cassettes -- ./my-service       (or --pid of one that is running)");
    say("   regress replay cassettes -- ./my-new-build        exit code 0 same, 1 different, 2 could not tell");
    say("   regress review cassettes                          accept what is meant, reject what is not");
    if let Some(kept) = &args.keep {
        say(format_args!("The cassettes of this tour are in {}.", kept.display()));
    }
    Ok(Exit::Same)
}

/// The running downstreams and what is needed to start the rest.
struct Tour<'a> {
    cassettes: &'a Path,
    regress: std::path::PathBuf,
    shop_port: u16,
    downstreams: Downstreams,
}

impl Tour<'_> {
    fn start(cassettes: &Path) -> Result<Tour<'_>, Failure> {
        let listen = || TcpListener::bind("127.0.0.1:0").map_err(Failure::from_error);
        let address = |listener: &TcpListener| listener.local_addr().map_err(Failure::from_error);
        let (inventory, pricing) = (listen()?, listen()?);
        let downstreams = Downstreams { inventory: address(&inventory)?, pricing: address(&pricing)? };
        thread::spawn(move || shop::serve(inventory, shop::inventory));
        thread::spawn(move || shop::serve(pricing, shop::pricing));
        let shop_port = address(&listen()?)?.port();
        let regress = std::env::current_exe().map_err(Failure::from_error)?;
        Ok(Tour { cassettes, regress, shop_port, downstreams })
    }

    /// The command line that runs one build of the shop.
    fn shop_command(&self, build: Build) -> Vec<String> {
        let build = if build == Build::V1 { "v1" } else { "v2" };
        let words = ["sample-shop", "--build", build, "--port", &self.shop_port.to_string()].map(str::to_owned);
        let downstreams = ["--inventory".into(), self.downstreams.inventory.to_string()]
            .into_iter()
            .chain(["--pricing".into(), self.downstreams.pricing.to_string()]);
        [self.regress.display().to_string()].into_iter().chain(words).chain(downstreams).collect()
    }

    fn record(&self, via: &str) -> Result<(), Failure> {
        let mut record = Command::new(&self.regress)
            .args(["record", "--service", "shop", "--via", via, "--port", &self.shop_port.to_string(), "-o"])
            .arg(self.cassettes)
            .arg("--")
            .args(self.shop_command(Build::V1))
            .stderr(Stdio::piped())
            .spawn()
            .map_err(Failure::from_error)?;
        let result = self.shop_with_customers(&mut record);
        if result.is_err() {
            let _ = record.kill();
        }
        let status = record.wait().map_err(Failure::from_error)?;
        result?;
        if !status.success() {
            return Err(Failure::new(format_args!("recording ended with {status}"))
                .hint("regress doctor tells what this host allows"));
        }
        Ok(())
    }

    /// Send the customers' requests to a shop that is being recorded, then end the recording.
    fn shop_with_customers(&self, record: &mut Child) -> Result<(), Failure> {
        let mut lines = BufReader::new(record.stderr.take().expect("stderr is piped")).lines();
        loop {
            let line = lines.next().ok_or_else(|| {
                Failure::new("recording did not start").hint("regress doctor tells what this host allows")
            })?;
            let line = line.map_err(Failure::from_error)?;
            say(format_args!("   {line}"));
            if line.starts_with("recording") {
                break;
            }
        }
        self.visit()?;
        kill(Pid::from_raw(record.id() as i32), Signal::SIGINT).map_err(Failure::from_error)?;
        for line in lines.map_while(Result::ok) {
            say(format_args!("   {line}"));
        }
        Ok(())
    }

    /// What the customers do.
    fn visit(&self) -> Result<(), Failure> {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
        let url = |path: &str| format!("http://127.0.0.1:{}{path}", self.shop_port);
        self.wait_until_open()?;
        for path in ["/orders/7", "/orders/8", "/orders/404"] {
            agent.get(url(path)).call().map_err(Failure::from_error)?;
        }
        let order = json!({"sku": "tea-green", "quantity": 5}).to_string();
        agent
            .post(url("/orders"))
            .header("content-type", "application/json")
            .send(order)
            .map_err(Failure::from_error)?;
        Ok(())
    }

    fn wait_until_open(&self) -> Result<(), Failure> {
        const TRIES: u32 = 2_000;
        const PAUSE: std::time::Duration = std::time::Duration::from_millis(5);
        for _ in 0..TRIES {
            if std::net::TcpStream::connect(("127.0.0.1", self.shop_port)).is_ok() {
                return Ok(());
            }
            thread::sleep(PAUSE);
        }
        Err(Failure::new("the sample shop does not accept connections"))
    }

    /// Replay a build and insist on the exit code.
    fn expect(&self, build: Build, code: i32) -> Result<(), Failure> {
        let status = Command::new(&self.regress)
            .arg("replay")
            .arg(self.cassettes)
            .arg("--")
            .args(self.shop_command(build))
            .status()
            .map_err(Failure::from_error)?;
        if status.code() == Some(code) {
            say(format_args!("   -> exit code {code}, as it should be"));
            return Ok(());
        }
        Err(Failure::new(format_args!("replay should have ended with exit code {code}, but: {status}"))
            .hint("regress doctor tells what this host allows"))
    }
}
