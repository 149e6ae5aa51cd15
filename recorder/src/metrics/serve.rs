//! Where Prometheus asks.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper::{Method, Request, Response, StatusCode, body::Bytes, header::CONTENT_TYPE, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, sync::Semaphore, task::JoinHandle, time::timeout};

use super::Metrics;
use crate::Error;

/// Who asks more than this at a time waits.
const MOST_CONNECTIONS: usize = 16;
/// How long one connection may last: who scrapes asks and goes, or comes back.
const LONGEST: Duration = Duration::from_secs(60);
/// How long a request may take to arrive.
const HEAD: Duration = Duration::from_secs(5);

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves metrics until it is dropped.
pub(crate) struct Server {
    /// Where.
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Begin to serve at this address.
    ///
    /// # Errors
    /// When nobody may listen there.
    pub(crate) async fn start(address: SocketAddr, metrics: Arc<Metrics>) -> Result<Server, Error> {
        let refused = |source| Error::Metrics { address, source };
        let listener = TcpListener::bind(address).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let task = tokio::spawn(async move {
            let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
            loop {
                let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
                let Ok((stream, _)) = listener.accept().await else {
                    // Out of descriptors, most likely: it is not the metrics that should take the last ones.
                    tokio::time::sleep(HEAD).await;
                    continue;
                };
                let metrics = Arc::clone(&metrics);
                tokio::spawn(async move {
                    let answer =
                        service_fn(|request| std::future::ready(Ok::<_, Infallible>(answer(&metrics, &request))));
                    let mut http = hyper::server::conn::http1::Builder::new();
                    http.timer(TokioTimer::new()).header_read_timeout(HEAD);
                    // Who asks may go away at any time.
                    let _ = timeout(LONGEST, http.serve_connection(TokioIo::new(stream), answer)).await;
                    drop(place);
                });
            }
        });
        Ok(Server { address, task })
    }
}

fn answer<B>(metrics: &Metrics, request: &Request<B>) -> Response<Full<Bytes>> {
    let say = |status, kind: &'static str, text: String| {
        let mut response = Response::new(Full::new(Bytes::from(text)));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
        response
    };
    if request.uri().path() != "/metrics" {
        return say(StatusCode::NOT_FOUND, "text/plain", "metrics are at /metrics\n".to_owned());
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return say(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "GET /metrics\n".to_owned());
    }
    match metrics.text() {
        Ok(text) => say(StatusCode::OK, OPEN_METRICS, text),
        Err(error) => say(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", format!("{error}\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_metrics_are_told_and_only_when_asked_for() {
        let metrics = Metrics::new(Arc::default());
        let ask = |method: Method, path: &str| {
            let request = Request::builder().method(method).uri(path).body(()).unwrap();
            answer(&metrics, &request).status()
        };
        assert_eq!(ask(Method::GET, "/metrics"), StatusCode::OK);
        assert_eq!(ask(Method::GET, "/"), StatusCode::NOT_FOUND);
        assert_eq!(ask(Method::POST, "/metrics"), StatusCode::METHOD_NOT_ALLOWED);
    }
}
