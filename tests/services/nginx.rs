//! nginx in front of httpbin.

use std::process::Command;

use super::ThirdParty;
use crate::harness::{Process, free_port, tools};

/// nginx as the service under test, httpbin its downstream.
pub struct Nginx {
    /// How it is recorded and replayed.
    pub service: ThirdParty,
    upstream: String,
}

/// Where httpbin is named in what [`Nginx::build`] takes.
pub const UPSTREAM: &str = "UPSTREAM";

/// Everything is passed on.
pub const PLAIN: &str = "location / { proxy_pass UPSTREAM; }";

impl Nginx {
    /// Record one request of each kind.
    pub fn record() -> Nginx {
        let address = format!("127.0.0.1:{}", free_port());
        let program = tools().join("venv/bin/gunicorn");
        let upstream = Process::start(Command::new(program).args(["-b", &address, "httpbin:app"]));
        upstream.wait_for_line("Listening at");
        let service = ThirdParty::new(free_port(), "using the \"epoll\" event method");
        let nginx = Nginx { service, upstream: format!("http://{address}") };
        nginx.service.record(&nginx.build(PLAIN), |client| {
            vec![
                client.get("/get?page=2"),
                client.post("/post", r#"{"name":"tea"}"#),
                client.get("/status/418"),
                client.get("/gzip"),
                client.get("/cookies/set?paid=7"),
                client.get("/html"),
                client.get_with("Accept-Encoding", "gzip", "/json"),
            ]
        });
        upstream.stop();
        nginx
    }

    /// The command that runs it with this in its `server` block.
    pub fn build(&self, server: &str) -> Vec<String> {
        let temp = self.service.path("");
        let temp = temp.display();
        let text = format!(
            "daemon off;\nuser nobody nogroup;\npid {temp}/nginx.pid;\nerror_log stderr notice;\nevents {{}}\nhttp {{\n  \
             access_log off;\n  client_body_temp_path {temp}/body;\n  proxy_temp_path {temp}/proxy;\n  \
             fastcgi_temp_path {temp}/fastcgi;\n  uwsgi_temp_path {temp}/uwsgi;\n  scgi_temp_path {temp}/scgi;\n  \
             server {{\n    listen 127.0.0.1:{port};\n    {server}\n  }}\n}}\n",
            port = self.service.port,
            server = server.replace(UPSTREAM, &self.upstream),
        );
        let settings = self.service.write("nginx.conf", &text);
        ["nginx", "-e", "stderr", "-c", &settings].map(str::to_owned).to_vec()
    }
}
