//! verdaccio, a registry of packages, in front of another one.

use std::{fs, path::Path, process::Command};

use super::ThirdParty;
use crate::harness::{Process, free_port, tools};

/// A verdaccio that mirrors another one, which is its downstream.
pub struct Verdaccio {
    /// How it is recorded and replayed.
    pub service: ThirdParty,
    upstream: String,
}

/// Settings of a mirror, as YAML.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Of the uplink, each after a comma.
    pub uplink: &'static str,
    /// Of all packages.
    pub packages: &'static str,
    /// Others, a line each.
    pub other: &'static str,
}

/// A mirror that keeps nothing.
pub const PLAIN: Settings =
    Settings { uplink: ", maxage: 0", packages: "access: $all, proxy: up", other: "server_id: mirror\n" };

impl Verdaccio {
    /// Record packages, twice the same, a tarball and what there is not.
    pub fn record() -> Verdaccio {
        let service = ThirdParty::new(free_port(), "http address");
        let (port, storage) = (free_port(), service.path("upstream/storage/tiny"));
        let verdaccio = Verdaccio { service, upstream: format!("http://127.0.0.1:{port}") };
        publish_tiny(&storage, &verdaccio.upstream);
        let settings = settings("storage", "", "access: $all", "server_id: upstream\n");
        let settings = verdaccio.service.write("upstream/config.yaml", &settings);
        let command = command(Path::new(&settings), port);
        let upstream = Process::start(Command::new(&command[0]).args(&command[1..]));
        upstream.wait_for_line("http address");
        verdaccio.service.record(&verdaccio.build(PLAIN), |client| {
            let abbreviated = "application/vnd.npm.install-v1+json";
            vec![
                client.get_as(abbreviated, "/tiny"),
                client.get_as(abbreviated, "/tiny"),
                client.get("/tiny/-/tiny-1.0.0.tgz"),
                client.get("/absent"),
            ]
        });
        upstream.stop();
        verdaccio
    }

    /// The command that runs it with these settings.
    pub fn build(&self, Settings { uplink, packages, other }: Settings) -> Vec<String> {
        let uplinks = format!("uplinks: {{up: {{url: \"{}/\", cache: false{uplink}}}}}\n", self.upstream);
        let settings = settings("mirrored", &uplinks, packages, other);
        command(Path::new(&self.service.write("mirror/config.yaml", &settings)), self.service.port)
    }
}

/// On a storage that is empty at every start (but for what the upstream publishes), its log on stderr.
fn command(settings: &Path, port: u16) -> Vec<String> {
    let program = tools().join("node_modules/verdaccio/bin/verdaccio");
    let script = format!(
        "rm -rf {}/mirrored && exec node {} -c {} -l 127.0.0.1:{port} >&2",
        settings.parent().expect("a file has a folder").display(),
        program.display(),
        settings.display(),
    );
    vec!["/bin/sh".into(), "-c".into(), script]
}

/// With a server id among `other`: by default it is drawn at every start and sent in `via`.
fn settings(storage: &str, uplinks: &str, packages: &str, other: &str) -> String {
    let log = if other.contains("log:") { "" } else { "log: {type: stdout, format: pretty, level: info}\n" };
    format!("storage: ./{storage}\n{uplinks}packages: {{\"**\": {{{packages}}}}}\nweb: {{enable: false}}\n{log}{other}")
}

/// Put a package with one version into a verdaccio storage.
fn publish_tiny(storage: &Path, url: &str) {
    let at = "2024-01-01T00:00:00.000Z";
    let manifest = serde_json::json!({
        "name": "tiny",
        "versions": { "1.0.0": { "name": "tiny", "version": "1.0.0", "dist": {
            "shasum": "da39a3ee5e6b4b0d3255bfef95601890afd80709",
            "tarball": format!("{url}/tiny/-/tiny-1.0.0.tgz"),
        } } },
        "time": { "created": at, "modified": at, "1.0.0": at },
        "dist-tags": { "latest": "1.0.0" },
        "_uplinks": {}, "_distfiles": {}, "_attachments": {}, "_rev": "1-1",
    });
    fs::create_dir_all(storage).expect("the folder can be written");
    fs::write(storage.join("package.json"), manifest.to_string()).expect("the folder can be written");
    fs::write(storage.join("tiny-1.0.0.tgz"), "not really a tarball").expect("the folder can be written");
}
