//! WireMock: a server for each downstream, with the stubs that its recorder writes by default; strictly, with headers, and
//! with bodies compared whole.

use std::{
    fs, io,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    Both, Matching, Server, StandIn,
    drive::Running,
    exchanges::{Recording, headers, text},
};
use crate::{harness::free_port, tools};

struct WireMock {
    /// Ended when it is dropped.
    _process: Running,
    port: u16,
}

pub fn start(recording: &Recording, matching: Matching, folder: &Path) -> io::Result<Box<dyn StandIn>> {
    let jar = jar().ok_or_else(|| io::Error::other("not installed: run benches/install.sh"))?;
    let server = |name: &str, address: SocketAddr| {
        let root = folder.join(name);
        fs::create_dir_all(root.join("mappings"))?;
        fs::write(root.join("mappings/recorded.json"), stubs(recording, address, matching).to_string())?;
        WireMock::start(&jar, &root)
    };
    let wiremock =
        Both { inventory: server("inventory", recording.inventory)?, pricing: server("pricing", recording.pricing)? };
    Ok(Box::new(wiremock))
}

fn jar() -> Option<PathBuf> {
    let files = fs::read_dir(tools::folder()?).ok()?.flatten().map(|file| file.path());
    let named = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("wiremock-"));
    files.filter(named).find(|path| path.extension().is_some_and(|extension| extension == "jar"))
}

/// As `POST /__admin/recordings/snapshot` would write them.
fn stubs(recording: &Recording, address: SocketAddr, matching: Matching) -> Value {
    let of_it = recording.calls.iter().filter(|call| call.to == address);
    let stubs = of_it.map(|call| {
        let mut request = json!({"method": call.request.method(), "url": call.request.target()});
        if !call.request.body.is_empty() {
            let lax = matching == Matching::Default;
            request["bodyPatterns"] =
                json!([{"equalToJson": text(&call.request), "ignoreArrayOrder": lax, "ignoreExtraElements": lax}]);
        }
        if matching == Matching::Strict {
            request["headers"] = headers(&call.request, |value| json!({"equalTo": value})).into();
        }
        let said = headers(&call.response, |value| json!(value));
        let response = json!({"status": call.response.status(), "headers": said, "body": text(&call.response)});
        json!({"request": request, "response": response})
    });
    json!({"mappings": stubs.collect::<Vec<_>>()})
}

impl WireMock {
    fn start(jar: &Path, root: &Path) -> io::Result<WireMock> {
        let port = free_port();
        let mut command = Command::new("java");
        command.arg("-jar").arg(jar).args(["--disable-banner", "--port", &port.to_string(), "--root-dir"]).arg(root);
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let server = WireMock { _process: Running(process), port };
        wait_for(port)?;
        Ok(server)
    }
}

impl Server for WireMock {
    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn forget(&self) -> io::Result<()> {
        ureq::delete(format!("{}/__admin/requests", self.url())).call().map_err(io::Error::other)?;
        Ok(())
    }

    fn refused(&self) -> io::Result<bool> {
        let answer = ureq::get(format!("{}/__admin/requests/unmatched", self.url())).call();
        let text = answer.and_then(|mut answer| answer.body_mut().read_to_string()).map_err(io::Error::other)?;
        let told: Value = serde_json::from_str(&text)?;
        Ok(told["requests"].as_array().is_none_or(|requests| !requests.is_empty()))
    }
}

/// Until somebody listens there.
pub fn wait_for(port: u16) -> io::Result<()> {
    let begun = Instant::now();
    while let Err(error) = TcpStream::connect(("127.0.0.1", port)) {
        if begun.elapsed() > Duration::from_secs(60) {
            return Err(error);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
