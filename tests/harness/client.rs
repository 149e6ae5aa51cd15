//! The load: HTTP clients, one connection each.

use std::time::Duration;

use bytes::Bytes;

/// One client with one connection that it keeps.
pub struct Client {
    agent: ureq::Agent,
    base: String,
}

/// What a client asked and what it got.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reply {
    /// The request's method.
    pub method: String,
    /// The request's target.
    pub target: String,
    /// The request's body.
    pub request: Bytes,
    /// The response's status.
    pub status: u16,
    /// The response's body.
    pub response: Bytes,
}

impl Client {
    /// A client of the server on this port.
    pub fn new(port: u16) -> Client {
        let settings = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_idle_connections(1)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(Duration::from_secs(60)))
            .build();
        Client { agent: settings.into(), base: format!("http://127.0.0.1:{port}") }
    }

    /// GET `target`.
    #[track_caller]
    pub fn get(&self, target: &str) -> Reply {
        let response = self.agent.get(format!("{}{target}", self.base)).call();
        reply("GET", target, Bytes::new(), response)
    }

    /// GET `target` in this media type.
    #[track_caller]
    pub fn get_as(&self, media_type: &str, target: &str) -> Reply {
        let request = self.agent.get(format!("{}{target}", self.base)).header("accept", media_type);
        reply("GET", target, Bytes::new(), request.call())
    }

    /// GET `target` with this header.
    #[track_caller]
    pub fn get_with(&self, name: &str, value: &str, target: &str) -> Reply {
        let request = self.agent.get(format!("{}{target}", self.base)).header(name, value);
        reply("GET", target, Bytes::new(), request.call())
    }

    /// POST JSON to `target`.
    #[track_caller]
    pub fn post(&self, target: &str, json: &str) -> Reply {
        let request = self.agent.post(format!("{}{target}", self.base)).content_type("application/json");
        reply("POST", target, Bytes::copy_from_slice(json.as_bytes()), request.send(json))
    }

    /// POST bytes to `target`.
    #[track_caller]
    pub fn post_bytes(&self, target: &str, body: Bytes) -> Reply {
        self.post_as("application/octet-stream", target, body)
    }

    /// POST bytes of this media type to `target`.
    #[track_caller]
    pub fn post_as(&self, media_type: &str, target: &str, body: Bytes) -> Reply {
        let request = self.agent.post(format!("{}{target}", self.base)).content_type(media_type);
        let response = request.send(&body[..]);
        reply("POST", target, body, response)
    }
}

#[track_caller]
fn reply(
    method: &str,
    target: &str,
    request: Bytes,
    response: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
) -> Reply {
    let mut response = response.unwrap_or_else(|error| panic!("{method} {target}: {error}"));
    let body = response.body_mut().with_config().limit(u64::MAX).read_to_vec();
    Reply {
        method: method.into(),
        target: target.into(),
        request,
        status: response.status().as_u16(),
        response: body.unwrap_or_else(|error| panic!("{method} {target}: {error}")).into(),
    }
}
