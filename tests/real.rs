use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::harness::{Client, Corpus, Need, Process, Recording, Replay, Reply, Report, free_port, require, tools};

/// How often a recorded build has to be the same as itself.
const TIMES: u32 = 10;

#[test]
fn nginx_in_front_of_httpbin() {
    if !require("real::nginx", &[Need::Nginx, Need::Httpbin, Need::Ebpf, Need::Sandbox]) {
        return;
    }
    let folder = Folder::new();
    let (port, upstream_port) = (free_port(), free_port());
    let upstream = Process::start(Command::new(tools().join("venv/bin/gunicorn")).args([
        "-b",
        &format!("127.0.0.1:{upstream_port}"),
        "httpbin:app",
    ]));
    upstream.wait_for_line("Listening at");

    let build = |name: &str, location: &str| -> Vec<String> {
        let settings = folder.path(name);
        let text = format!(
            "daemon off;\nuser nobody nogroup;\npid {pid};\nerror_log stderr notice;\nevents {{}}\nhttp {{\n  access_log off;\n  \
             client_body_temp_path {temp}/body;\n  proxy_temp_path {temp}/proxy;\n  fastcgi_temp_path {temp}/fastcgi;\n  \
             uwsgi_temp_path {temp}/uwsgi;\n  scgi_temp_path {temp}/scgi;\n  server {{\n    listen 127.0.0.1:{port};\n    \
             location / {{\n      proxy_pass http://127.0.0.1:{upstream_port};\n      {location}\n    }}\n  }}\n}}\n",
            pid = folder.path("nginx.pid").display(),
            temp = folder.path("").display(),
        );
        fs::write(&settings, text).expect("the folder can be written");
        let settings = settings.display().to_string();
        ["nginx", "-e", "stderr", "-c", &settings].map(str::to_owned).to_vec()
    };
    let service =
        Service { folder: &folder, port, listens: "using the \"epoll\" event method", build: build("nginx.conf", "") };
    service.record(|client| {
        vec![
            client.get("/get?page=2"),
            client.post("/post", r#"{"name":"tea"}"#),
            client.get("/status/418"),
            client.get("/gzip"),
        ]
    });
    upstream.stop();

    for _ in 0..TIMES {
        service.replay(&service.build, 0);
    }
    let changed = build("changed.conf", "proxy_set_header X-Shard 7;");
    let report = service.replay(&changed, 1);
    assert_changed_call(&report, 4, "header/x-shard");
}

#[test]
fn verdaccio_behind_verdaccio() {
    if !require("real::verdaccio", &[Need::Node, Need::Verdaccio, Need::Ebpf, Need::Sandbox]) {
        return;
    }
    let folder = Folder::new();
    let (port, upstream_port) = (free_port(), free_port());
    let upstream_url = format!("http://127.0.0.1:{upstream_port}");
    publish_tiny(&folder.path("upstream/storage/tiny"), &upstream_url);
    let upstream = folder.path("upstream/config.yaml");
    fs::write(&upstream, verdaccio_settings("upstream", "")).expect("the folder can be written");
    let command = verdaccio(&upstream, upstream_port);
    let upstream = Process::start(Command::new(&command[0]).args(&command[1..]));
    upstream.wait_for_line("http address");

    let build = |name: &str, more: &str| -> Vec<String> {
        let settings = folder.path(name).join("config.yaml");
        fs::create_dir_all(folder.path(name)).expect("the folder can be written");
        let uplink = format!("{{url: \"{upstream_url}/\", maxage: 0, cache: false{more}}}");
        fs::write(&settings, verdaccio_settings("mirror", &uplink)).expect("the folder can be written");
        verdaccio(&settings, port)
    };
    let service = Service { folder: &folder, port, listens: "http address", build: build("mirror", "") };
    service.record(|client| {
        let abbreviated = "application/vnd.npm.install-v1+json";
        vec![
            client.get_as(abbreviated, "/tiny"),
            client.get_as(abbreviated, "/tiny"),
            client.get("/tiny/-/tiny-1.0.0.tgz"),
            client.get("/absent"),
        ]
    });
    upstream.stop();

    for _ in 0..TIMES {
        service.replay(&service.build, 0);
    }
    let report = service.replay(&build("changed", ", headers: {X-Team: \"7\"}"), 1);
    // Of a package whose manifest it could not get, verdaccio does not look for the tarball in the usual place.
    assert_changed_call(&report, 3, "header/x-team");
}

/// A service that somebody else wrote, and where its recording goes.
struct Service<'a> {
    folder: &'a Folder,
    port: u16,
    listens: &'static str,
    build: Vec<String>,
}

impl Service<'_> {
    /// Record it while a client makes its requests, one after the other; each must call downstream once.
    fn record(&self, drive: impl FnOnce(&Client) -> Vec<Reply>) {
        let mut arguments =
            vec!["--via".to_owned(), "ebpf".into(), "--port".into(), self.port.to_string(), "--".into()];
        arguments.extend_from_slice(&self.build);
        let recording = Recording::start(&self.folder.path("cassettes"), arguments, []);
        recording.wait_for_service(self.listens, self.port);
        let mut asked = drive(&Client::new(self.port));
        let finished = recording.stop();
        finished.expect_code(0);
        let corpus = Corpus::read(&self.folder.path("cassettes"));
        asked.sort();
        assert_eq!(corpus.replies(), asked);
        assert!(corpus.cassettes.iter().all(|cassette| cassette.downstream.len() == 1), "{}", finished.stderr);
    }

    fn replay(&self, build: &[String], code: i32) -> Report {
        let settings = self.folder.path("regress.toml");
        fs::write(&settings, format!("[service]\nports = [{}]\n", self.port)).expect("the folder can be written");
        let cassettes = self.folder.path("cassettes");
        let replay =
            Replay { cassettes: &cassettes, settings: &settings, command: build, environment: vec![], arguments: &[] };
        let (finished, report) = replay.run();
        finished.expect_code(code);
        report.expect("a replay that began has a report")
    }
}

/// Every entry is different, and this field of a call is in so many of them.
#[track_caller]
fn assert_changed_call(report: &Report, entries: usize, field: &str) {
    assert_eq!(report.summary.different, report.summary.total, "{report:#?}");
    let shows = report.outcomes.iter().filter(|outcome| {
        outcome
            .differences
            .iter()
            .any(|difference| difference.place == "downstream" && difference.path.ends_with(field))
    });
    assert_eq!(shows.count(), entries, "{report:#?}");
}

/// A temporary folder that the service's files are in.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().expect("there is a temporary folder"))
    }

    fn path(&self, below: &str) -> PathBuf {
        self.0.path().join(below)
    }
}

/// verdaccio on a storage that is empty at every start (but for what the upstream publishes), its log on stderr.
fn verdaccio(settings: &Path, port: u16) -> Vec<String> {
    let program = tools().join("node_modules/verdaccio/bin/verdaccio");
    let script = format!(
        "rm -rf {}/mirrored && exec node {} -c {} -l 127.0.0.1:{port} >&2",
        settings.parent().expect("a file has a folder").display(),
        program.display(),
        settings.display(),
    );
    vec!["/bin/sh".into(), "-c".into(), script]
}

/// Settings with a fixed server id: by default it is drawn at every start and sent in `via`.
fn verdaccio_settings(role: &str, uplink: &str) -> String {
    let (storage, uplinks, proxy) = match role {
        "upstream" => ("storage", String::new(), ""),
        _ => ("mirrored", format!("uplinks: {{up: {uplink}}}\n"), ", proxy: up"),
    };
    format!(
        "storage: ./{storage}\nserver_id: {role}\n{uplinks}packages: {{\"**\": {{access: $all{proxy}}}}}\n\
         web: {{enable: false}}\nlog: {{type: stdout, format: pretty, level: info}}\n"
    )
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
