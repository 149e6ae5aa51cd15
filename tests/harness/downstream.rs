//! Downstreams inside the test process, which keep what they saw: the ground truth of a recording.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, LazyLock, Mutex},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{runtime::Runtime, task::JoinHandle};
use tokio_rustls::TlsAcceptor;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime needs only threads")
});

/// What a downstream answers: status, content type, body.
pub struct Answer(pub u16, pub &'static str, pub String);

/// One request that a downstream served, and its answer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Served {
    /// Its method.
    pub method: String,
    /// Its target as it was sent.
    pub target: String,
    /// Its body.
    pub request: Bytes,
    /// The status it got.
    pub status: u16,
    /// The body it got.
    pub response: Bytes,
}

/// A HTTP server on loopback with an access log. Stops when dropped.
pub struct Downstream {
    /// Where it listens.
    pub address: SocketAddr,
    log: Arc<Mutex<Vec<Served>>>,
    server: JoinHandle<()>,
}

/// Method, target and body to an answer.
pub type Answers = fn(&str, &str, &[u8]) -> Answer;

impl Downstream {
    /// Listen on a free port.
    pub fn start(answers: Answers) -> Downstream {
        Downstream::listen(answers, None)
    }

    /// Listen on a free port and speak TLS.
    pub fn start_tls(answers: Answers, acceptor: TlsAcceptor) -> Downstream {
        Downstream::listen(answers, Some(acceptor))
    }

    fn listen(answers: Answers, acceptor: Option<TlsAcceptor>) -> Downstream {
        let listener = RUNTIME.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"));
        let listener = listener.expect("loopback has free ports");
        let address = listener.local_addr().expect("a bound socket has an address");
        let log = Arc::new(Mutex::new(Vec::new()));
        let kept = log.clone();
        let server = RUNTIME.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let kept = kept.clone();
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| serve(request, answers, kept.clone()));
                    let http = http1::Builder::new();
                    // A client that goes away ends its connection, nothing else.
                    match acceptor {
                        None => drop(http.serve_connection(TokioIo::new(stream), service).await),
                        Some(acceptor) => {
                            let Ok(stream) = acceptor.accept(stream).await else { return };
                            drop(http.serve_connection(TokioIo::new(stream), service).await);
                        }
                    }
                });
            }
        });
        Downstream { address, log, server }
    }

    /// Its address as a base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it served so far, taken out of the log.
    pub fn take_served(&self) -> Vec<Served> {
        std::mem::take(&mut *self.log.lock().expect("no writer panics"))
    }
}

impl Drop for Downstream {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(
    request: Request<Incoming>,
    answers: Answers,
    log: Arc<Mutex<Vec<Served>>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else {
        return Ok(Response::builder().status(400).body(Full::default()).expect("a status makes a response"));
    };
    let body = body.to_bytes();
    let target = head.uri.to_string();
    let Answer(status, kind, text) = answers(head.method.as_str(), &target, &body);
    let response = Bytes::from(text);
    log.lock().expect("no writer panics").push(Served {
        method: head.method.to_string(),
        target,
        request: body,
        status,
        response: response.clone(),
    });
    let response = Response::builder().status(status).header("content-type", kind).body(Full::new(response));
    Ok(response.expect("status and content type are valid"))
}
