//! mitmproxy: its server replay, behind reverse proxies of both downstreams. What was not recorded is refused. By default
//! it goes by method, URL and body; strictly, by the headers that the shop sends as well.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use super::{
    Matching, StandIn,
    drive::Shop,
    exchanges::{Recording, document},
    wiremock::wait_for,
};
use crate::{harness::free_port, services::Language, tools};

/// What was not recorded is refused, and nothing is changed.
const OPTIONS: &[&str] = &["connection_strategy=lazy", "server_replay_extra=kill", "server_replay_refresh=false"];

/// Headers to go by; each is named.
const HEADERS: &[&str] = &[
    "server_replay_use_headers=accept",
    "server_replay_use_headers=content-type",
    "server_replay_use_headers=x-order",
    "server_replay_use_headers=idempotency-key",
];

struct Mitmproxy {
    program: PathBuf,
    flows: PathBuf,
    matching: Matching,
    /// Upstream and port.
    inventory: (String, u16),
    pricing: (String, u16),
    process: Option<Child>,
}

pub fn start(recording: &Recording, matching: Matching, folder: &Path) -> io::Result<Box<dyn StandIn>> {
    let absent = || io::Error::other("not installed: run benches/install.sh");
    let venv = tools::folder().map(|folder| folder.join("venv/bin")).ok_or_else(absent)?;
    let program = venv.join("mitmdump");
    if !program.exists() {
        return Err(absent());
    }
    let (calls, flows) = (folder.join("calls.json"), folder.join("flows"));
    fs::write(&calls, document(recording).to_string())?;
    let mut convert = Command::new(venv.join("python"));
    let converted = convert.args(["-c", include_str!("flows.py")]).args([&calls, &flows]).output()?;
    if !converted.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&converted.stderr).into_owned()));
    }
    let (inventory, pricing) = (recording.inventory.to_string(), recording.pricing.to_string());
    Ok(Box::new(Mitmproxy {
        program,
        flows,
        matching,
        inventory: (inventory, free_port()),
        pricing: (pricing, free_port()),
        process: None,
    }))
}

impl StandIn for Mitmproxy {
    /// It forgets what it replayed only when it starts.
    fn begin(&mut self) -> io::Result<Shop> {
        self.end();
        let mut command = Command::new(&self.program);
        for (upstream, port) in [&self.inventory, &self.pricing] {
            command.args(["--mode", &format!("reverse:http://{upstream}@127.0.0.1:{port}")]);
        }
        command.arg("--server-replay").arg(&self.flows);
        for option in OPTIONS.iter().chain(if self.matching == Matching::Strict { HEADERS } else { &[] }) {
            command.args(["--set", option]);
        }
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        self.process = Some(process);
        wait_for(self.inventory.1)?;
        wait_for(self.pricing.1)?;
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        Ok(Shop { command: Language::Python.command(), inventory: url(self.inventory.1), pricing: url(self.pricing.1) })
    }

    /// Whom it refuses gets no answer, which shows in the shop's.
    fn refused(&mut self) -> io::Result<bool> {
        Ok(false)
    }
}

impl Mitmproxy {
    fn end(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Drop for Mitmproxy {
    fn drop(&mut self) {
        self.end();
    }
}
