//! The sample shop: a small HTTP service with two downstreams, a thread a connection.

use std::{
    convert::Infallible,
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, Response, StatusCode, body::Incoming, header, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

/// Which build of the shop runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Build {
    /// The one in production.
    V1,
    /// The release candidate, with two planted regressions: it rounds totals to whole units, and it leaves the
    /// currency out of the quote it asks for at a new order.
    V2,
}

/// What a handler answers: a status and a JSON document.
pub type Answer = (StatusCode, Value);

/// Serve HTTP/1.1 on `listener` for ever, one thread a connection.
pub fn serve(listener: TcpListener, handler: impl Fn(&Method, &str, Value) -> Answer + Clone + Send + 'static) {
    for connection in listener.incoming().flatten() {
        let handler = handler.clone();
        thread::spawn(move || serve_connection(connection, handler));
    }
}

fn serve_connection(connection: TcpStream, handler: impl Fn(&Method, &str, Value) -> Answer) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
    let _ = connection.set_nodelay(true);
    let _ = runtime.block_on(async {
        connection.set_nonblocking(true)?;
        let stream = tokio::net::TcpStream::from_std(connection)?;
        let service = service_fn(|request: Request<Incoming>| {
            let handler = &handler;
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.map(|b| b.to_bytes()).unwrap_or_default();
                let document = serde_json::from_slice(&body).unwrap_or(Value::Null);
                let (status, answer) = handler(&head.method, head.uri.path(), document);
                Ok::<_, Infallible>(json_response(status, &answer))
            }
        });
        let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        connection.await.map_err(std::io::Error::other)
    });
}

fn json_response(status: StatusCode, document: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(document.to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

/// The shop and where its downstreams are.
#[derive(Clone, Debug)]
pub struct Shop {
    build: Build,
    downstreams: Downstreams,
    agent: ureq::Agent,
}

/// Addresses of the shop's downstreams.
#[derive(Clone, Copy, Debug)]
pub struct Downstreams {
    /// Knows what is in stock.
    pub inventory: SocketAddr,
    /// Knows what things cost.
    pub pricing: SocketAddr,
}

impl Shop {
    /// A shop of this build.
    pub fn new(build: Build, downstreams: Downstreams) -> Shop {
        let config = ureq::Agent::config_builder().http_status_as_error(false).build();
        Shop { build, downstreams, agent: config.new_agent() }
    }

    /// Answer one request.
    pub fn handle(&self, method: &Method, path: &str, body: Value) -> Answer {
        match (method, path.strip_prefix("/orders")) {
            (&Method::GET, Some(id)) if id.len() > 1 => self.show_order(&id[1..]).unwrap_or_else(|answer| answer),
            (&Method::POST, Some("")) => self.place_order(&body).unwrap_or_else(|answer| answer),
            _ => (StatusCode::NOT_FOUND, json!({"error": "no such page"})),
        }
    }

    fn show_order(&self, id: &str) -> Result<Answer, Answer> {
        let order = self.inventory_get(&format!("/orders/{id}"))?;
        let quote = self.quote(json!({"sku": order["sku"], "quantity": order["quantity"], "currency": "EUR"}))?;
        let total = match self.build {
            Build::V1 => quote["total"].clone(),
            Build::V2 => json!(quote["total"].as_f64().unwrap_or_default().round()),
        };
        Ok((StatusCode::OK, json!({"id": id, "sku": order["sku"], "quantity": order["quantity"], "total": total})))
    }

    fn place_order(&self, order: &Value) -> Result<Answer, Answer> {
        let question = match self.build {
            Build::V1 => json!({"sku": order["sku"], "quantity": order["quantity"], "currency": "EUR"}),
            Build::V2 => json!({"sku": order["sku"], "quantity": order["quantity"]}),
        };
        let quote = self.quote(question)?;
        Ok((StatusCode::CREATED, json!({"sku": order["sku"], "total": quote["total"]})))
    }

    fn inventory_get(&self, path: &str) -> Result<Value, Answer> {
        let url = format!("http://{}{path}", self.downstreams.inventory);
        read(self.agent.get(url).header("host", "inventory").call())
    }

    fn quote(&self, question: Value) -> Result<Value, Answer> {
        let url = format!("http://{}/quote", self.downstreams.pricing);
        let request = self.agent.post(url).header("host", "pricing").header("content-type", "application/json");
        read(request.send(question.to_string()))
    }
}

/// A downstream's document, or the shop's answer that it has none.
fn read(reply: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Value, Answer> {
    let failed = |why: String| (StatusCode::BAD_GATEWAY, json!({"error": why}));
    let mut reply = reply.map_err(|error| failed(format!("a downstream failed: {error}")))?;
    if !reply.status().is_success() {
        return Err(failed(format!("a downstream answered {}", reply.status())));
    }
    let text = reply.body_mut().read_to_string().map_err(|error| failed(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| failed(error.to_string()))
}

/// The inventory: orders that exist.
pub fn inventory(_: &Method, path: &str, _: Value) -> Answer {
    match path {
        "/orders/7" => (StatusCode::OK, json!({"sku": "tea-green", "quantity": 3})),
        "/orders/8" => (StatusCode::OK, json!({"sku": "mug-blue", "quantity": 1})),
        _ => (StatusCode::NOT_FOUND, json!({"error": "no such order"})),
    }
}

/// Pricing: what a quantity of something costs, with a discount from three pieces on.
pub fn pricing(_: &Method, path: &str, question: Value) -> Answer {
    if path != "/quote" {
        return (StatusCode::NOT_FOUND, json!({"error": "no such page"}));
    }
    let cents = match question["sku"].as_str() {
        Some("tea-green") => 1999,
        Some("mug-blue") => 850,
        _ => return (StatusCode::NOT_FOUND, json!({"error": "no such article"})),
    };
    let quantity = question["quantity"].as_u64().unwrap_or(1).min(1000);
    let cents = if quantity >= 3 { cents * quantity * 9 / 10 } else { cents * quantity };
    (StatusCode::OK, json!({"total": cents as f64 / 100.0, "currency": question["currency"]}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shop_over_real_downstreams(build: Build) -> Shop {
        let serve_on_loopback = |handler: fn(&Method, &str, Value) -> Answer| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            thread::spawn(move || serve(listener, handler));
            address
        };
        Shop::new(build, Downstreams { inventory: serve_on_loopback(inventory), pricing: serve_on_loopback(pricing) })
    }

    #[test]
    fn v1_shows_an_order_with_its_discounted_total() {
        let (status, answer) = shop_over_real_downstreams(Build::V1).handle(&Method::GET, "/orders/7", Value::Null);
        assert_eq!((status, answer["total"].to_string().as_str()), (StatusCode::OK, "53.97"));
    }

    #[test]
    fn v2_rounds_the_total() {
        let (_, answer) = shop_over_real_downstreams(Build::V2).handle(&Method::GET, "/orders/7", Value::Null);
        assert_eq!(answer["total"].to_string(), "54.0");
    }

    #[test]
    fn an_order_that_does_not_exist_is_a_bad_gateway() {
        let (status, _) = shop_over_real_downstreams(Build::V1).handle(&Method::GET, "/orders/9", Value::Null);
        assert_eq!(status, StatusCode::BAD_GATEWAY);
    }
}
