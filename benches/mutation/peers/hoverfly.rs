//! Hoverfly: a server for each downstream, with the pairs that its capture mode writes by default (bodies in JSON compared as
//! JSON, no headers); strictly, with headers, and with bodies compared whole.

use std::{
    fs, io,
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::{Map, Value, json};

use super::{
    Both, Matching, Server, StandIn,
    drive::Running,
    exchanges::{Call, Recording, headers, text},
    wiremock::wait_for,
};
use crate::{harness::free_port, tools};

struct Hoverfly {
    /// Ended when it is dropped.
    _process: Running,
    port: u16,
    admin: u16,
}

pub fn start(recording: &Recording, matching: Matching, folder: &Path) -> io::Result<Box<dyn StandIn>> {
    let program = tools::folder().map(|tools| tools.join("hoverfly")).filter(|program| program.exists());
    let program = program.ok_or_else(|| io::Error::other("not installed: run benches/install.sh"))?;
    let server = |name: &str, address: SocketAddr| {
        let file = folder.join(name).with_extension("json");
        fs::write(&file, simulation(recording, address, matching).to_string())?;
        Hoverfly::start(&program, &file, folder)
    };
    Ok(Box::new(Both {
        inventory: server("inventory", recording.inventory)?,
        pricing: server("pricing", recording.pricing)?,
    }))
}

/// As `GET /api/v2/simulation` gives it after a capture, without the destination, which the port says here.
fn simulation(recording: &Recording, address: SocketAddr, matching: Matching) -> Value {
    let of_it = recording.calls.iter().filter(|call| call.to == address);
    let pairs = of_it.map(|call| {
        let target = call.request.target();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let mut request = json!({
            "method": exact(call.request.method()), "path": exact(path), "query": parameters(query),
            "body": body(call, matching),
        });
        if matching == Matching::Strict {
            request["headers"] = headers(&call.request, exact).into();
        }
        let said = headers(&call.response, |value| json!([value]));
        json!({"request": request, "response": {
            "status": call.response.status(), "body": text(&call.response), "encodedBody": false, "headers": said,
        }})
    });
    json!({
        "data": {"pairs": pairs.collect::<Vec<_>>(), "globalActions": {"delays": []}}, "meta": {"schemaVersion": "v5.2"},
    })
}

fn exact(value: &str) -> Value {
    json!([{"matcher": "exact", "value": value}])
}

fn parameters(query: &str) -> Map<String, Value> {
    let mut values: Map<String, Value> = Map::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        // Several values of one name are one, put together.
        let before = values.get(&*name).and_then(|it| it[0]["value"].as_str()).map(|it| format!("{it};"));
        values.insert(name.into_owned(), exact(&format!("{}{value}", before.unwrap_or_default())));
    }
    values
}

fn body(call: &Call, matching: Matching) -> Value {
    let said = text(&call.request);
    let is_json = !said.is_empty() && serde_json::from_str::<Value>(&said).is_ok();
    if is_json && matching == Matching::Default { json!([{"matcher": "json", "value": said}]) } else { exact(&said) }
}

impl Hoverfly {
    fn start(program: &Path, simulation: &Path, folder: &Path) -> io::Result<Hoverfly> {
        let (port, admin) = (free_port(), free_port());
        let mut command = Command::new(program);
        command.args(["-webserver", "-pp", &port.to_string(), "-ap", &admin.to_string(), "-import"]).arg(simulation);
        let process =
            command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let server = Hoverfly { _process: Running(process), port, admin };
        wait_for(port)?;
        wait_for(admin)?;
        Ok(server)
    }

    fn journal(&self) -> String {
        format!("http://127.0.0.1:{}/api/v2/journal", self.admin)
    }
}

impl Server for Hoverfly {
    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn forget(&self) -> io::Result<()> {
        ureq::delete(self.journal()).call().map_err(io::Error::other)?;
        Ok(())
    }

    fn refused(&self) -> io::Result<bool> {
        let answer = ureq::get(self.journal()).call();
        let text = answer.and_then(|mut answer| answer.body_mut().read_to_string()).map_err(io::Error::other)?;
        let told: Value = serde_json::from_str(&text)?;
        let is_refusal =
            |entry: &Value| entry["response"]["body"].as_str().is_some_and(|it| it.starts_with("Hoverfly Error!"));
        Ok(told["journal"].as_array().is_none_or(|entries| entries.iter().any(is_refusal)))
    }
}
