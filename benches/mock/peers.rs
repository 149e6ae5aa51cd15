//! Other programs that play downstreams, told the same exchanges.

use std::{
    fmt::Write,
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    cpu::{self, Spender},
    load,
    served::body,
    tools,
};

/// How long one may take until it answers.
const READY: Duration = Duration::from_secs(120);

const WARM_UP: usize = 500;

pub struct Peer {
    pub name: &'static str,
    /// The most recorded exchanges that it is tried with: beyond, a round takes minutes.
    pub most: usize,
    /// How many requests it is asked, of those that ours is.
    share: f64,
    start: fn(&Path, u16, usize) -> Result<Command, String>,
}

pub const PEERS: [Peer; 3] = [
    Peer { name: "wiremock", most: 10_000, share: 0.1, start: wiremock },
    Peer { name: "mountebank", most: 10_000, share: 0.02, start: mountebank },
    Peer { name: "mitmproxy", most: 10_000, share: 0.02, start: mitmproxy },
];

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        for pid in cpu::with_descendants(self.0.id()) {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid as i32), nix::sys::signal::Signal::SIGKILL);
        }
        let _ = self.0.wait();
    }
}

impl Peer {
    /// Requests a CPU-second.
    pub fn measure(&self, recorded: usize, requests: usize) -> Result<f64, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let address = free_address().map_err(|error| error.to_string())?;
        let mut command = (self.start)(folder.path(), address.port(), recorded)?;
        let log = fs::File::create(folder.path().join("log")).map_err(|error| error.to_string())?;
        let errors = log.try_clone().map_err(|error| error.to_string())?;
        let child = command.stdin(Stdio::null()).stdout(log).stderr(errors).current_dir(folder.path()).spawn();
        let mut running = Running(child.map_err(|error| format!("{command:?}: {error}"))?);
        let deadline = Instant::now() + READY;
        loop {
            let accepts = TcpStream::connect(address).is_ok();
            match if accepts { load::from_outside(address, 1, 1) } else { Err("it does not listen".to_owned()) } {
                Ok(()) => break,
                Err(why) if Instant::now() > deadline || running.0.try_wait().is_ok_and(|ended| ended.is_some()) => {
                    let log = fs::read_to_string(folder.path().join("log")).unwrap_or_default();
                    return Err(format!("{why}: {}", log.lines().last().unwrap_or_default()));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
        }
        load::from_outside(address, WARM_UP, recorded)?;
        let requests = ((requests as f64 * self.share) as usize).max(WARM_UP);
        let family = || cpu::with_descendants(running.0.id()).into_iter().map(Spender::Process).collect::<Vec<_>>();
        let before = cpu::used(&family());
        load::from_outside(address, requests, recorded)?;
        let used = cpu::used(&family()) - before;
        Ok(requests as f64 * 1e9 / used as f64)
    }
}

/// Nobody listens there now.
fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

fn installed(name: &str) -> Result<PathBuf, String> {
    let path = tools::folder().map(|folder| folder.join(name)).filter(|path| path.exists());
    path.ok_or_else(|| "not installed: benches/install.sh does it".to_owned())
}

fn write(path: PathBuf, text: String) -> Result<PathBuf, String> {
    fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}

fn wiremock(folder: &Path, port: u16, recorded: usize) -> Result<Command, String> {
    let jar = tools::folder().and_then(|folder| {
        let mut files = fs::read_dir(folder).ok()?.filter_map(Result::ok).map(|file| file.path());
        files.find(|path| {
            path.extension().is_some_and(|end| end == "jar") && path.to_string_lossy().contains("wiremock")
        })
    });
    let jar = jar.ok_or("not installed: benches/install.sh does it")?;
    fs::create_dir(folder.join("mappings")).map_err(|error| error.to_string())?;
    let mapping = |item: usize| {
        json!({
            "request": {
                "method": "GET",
                "url": format!("/items/{item}?currency=EUR"),
                "headers": {"Accept": {"equalTo": "application/json"}},
            },
            "response": {"status": 200, "headers": {"Content-Type": "application/json"}, "body": body(item)},
        })
    };
    let mappings: Vec<Value> = (0..recorded).map(mapping).collect();
    write(folder.join("mappings/all.json"), json!({ "mappings": mappings }).to_string())?;
    let mut command = Command::new("java");
    command.arg("-jar").arg(jar).args(["--no-request-journal", "--disable-banner", "--port", &port.to_string()]);
    command.arg("--root-dir").arg(folder);
    Ok(command)
}

fn mountebank(folder: &Path, port: u16, recorded: usize) -> Result<Command, String> {
    let program = installed("npm/node_modules/.bin/mb")?;
    let stub = |item: usize| {
        json!({
            "predicates": [{"equals": {
                "method": "GET", "path": format!("/items/{item}"), "query": {"currency": "EUR"},
                "headers": {"Accept": "application/json"},
            }}],
            "responses": [{"is": {"statusCode": 200, "headers": {"Content-Type": "application/json", "Connection": "keep-alive"}, "body": body(item)}}],
        })
    };
    let stubs: Vec<Value> = (0..recorded).map(stub).collect();
    let imposters = json!({"imposters": [{"port": port, "protocol": "http", "stubs": stubs}]});
    let file = write(folder.join("imposters.json"), imposters.to_string())?;
    let own = free_address().map_err(|error| error.to_string())?.port();
    let mut command = Command::new(program);
    command.args(["start", "--nologfile", "--loglevel", "error", "--port", &own.to_string(), "--configfile"]).arg(file);
    Ok(command)
}

fn mitmproxy(folder: &Path, port: u16, recorded: usize) -> Result<Command, String> {
    let program = installed("venv/bin/mitmdump")?;
    let python = installed("venv/bin/python")?;
    let mut script = String::from(
        "import sys\nfrom mitmproxy import http, connection, io\nfrom mitmproxy.test import tflow\nout = io.FlowWriter(open('flows', 'wb'))\n",
    );
    let _ = write!(
        script,
        "for item in range({recorded}):\n    \
         request = http.Request.make('GET', f'http://prices:8080/items/{{item}}?currency=EUR', '', {{'Host': 'prices:8080', 'Accept': 'application/json'}})\n    \
         body = '{{\"item\":%d,\"price\":\"19.90\",\"text\":\"%s\"}}' % (item, 'x' * 980)\n    \
         response = http.Response.make(200, body, {{'Content-Type': 'application/json'}})\n    \
         out.add(tflow.tflow(req=request, resp=response))\n"
    );
    let script = write(folder.join("flows.py"), script)?;
    let made = Command::new(python).arg(script).current_dir(folder).output().map_err(|error| error.to_string())?;
    if !made.status.success() {
        return Err(String::from_utf8_lossy(&made.stderr).lines().last().unwrap_or_default().to_owned());
    }
    let mut command = Command::new(program);
    command.args(["--quiet", "--listen-host", "127.0.0.1", "--listen-port", &port.to_string()]);
    command.args(["--mode", "reverse:http://prices:8080", "--server-replay", "flows"]);
    command.args(["--set", "server_replay_reuse=true", "--set", "server_replay_extra=kill"]);
    command.args(["--set", "connection_strategy=lazy", "--set", "confdir=."]);
    Ok(command)
}
