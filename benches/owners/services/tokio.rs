//! A service on tokio's threads: hyper as the server, and hyper-util's pooled client, which is what reqwest calls with.

use std::{error::Error, net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    client::legacy::{Client as Pool, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use tokio::{net::TcpListener, sync::Semaphore, task, time};

use crate::http::{Client, id_header};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// The same on every machine.
const THREADS: usize = 4;
const PAUSE: Duration = Duration::from_millis(3);
/// Set where services pass on the request id of the entry.
pub const PASS_ON: &str = "IDS";

struct Service {
    mode: String,
    downstream: String,
    pool: Pool<HttpConnector, Empty<Bytes>>,
    passes_on: bool,
    limit: Semaphore,
}

/// Serves as the mode says, prints its port, and does not return unless it fails.
pub fn serve(mode: String, downstream: String) -> ExitCode {
    let passes_on = std::env::var_os(PASS_ON).is_some();
    let pool = Pool::builder(TokioExecutor::new()).build_http();
    let limit = Semaphore::new(if mode == "pool" { 10 } else { Semaphore::MAX_PERMITS });
    let service = Arc::new(Service { mode, downstream, pool, passes_on, limit });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build();
    match runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(listen(service))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn listen(service: Arc<Service>) -> Outcome<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?.port());
    loop {
        let (stream, _) = listener.accept().await?;
        let service = Arc::clone(&service);
        let answer = service_fn(move |request| answer(Arc::clone(&service), request));
        // A connection that fails is the client's to notice.
        task::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
    }
}

async fn answer(service: Arc<Service>, request: Request<Incoming>) -> Outcome<Response<Full<Bytes>>> {
    let id = request.uri().path().trim_start_matches("/r/").to_owned();
    let (first, second) = (format!("/a/{id}"), format!("/b/{id}"));
    match service.mode.as_str() {
        "parallel" => {
            tokio::try_join!(service.call(&first), service.call(&second))?;
        }
        "spawn" => {
            Arc::clone(&service).spawn(first).await??;
            service.spawn(second).await??;
        }
        "blocking" => {
            let address = service.downstream.trim_start_matches("http://").parse()?;
            let passes_on = service.passes_on;
            task::spawn_blocking(move || block(address, &first, passes_on)).await??;
            task::spawn_blocking(move || block(address, &second, passes_on)).await??;
        }
        "after" => {
            service.call(&first).await?;
            task::spawn(async move {
                time::sleep(PAUSE).await;
                service.call(&second).await
            });
        }
        mode => {
            service.call(&first).await?;
            if mode == "timer" {
                time::sleep(PAUSE).await;
            }
            service.call(&second).await?;
        }
    }
    Ok(Response::new(Full::from(id)))
}

impl Service {
    async fn call(&self, path: &str) -> Outcome<()> {
        let _permit = self.limit.acquire().await?;
        let mut request = Request::get(format!("{}{path}", self.downstream));
        if self.passes_on {
            let (name, value) = id_header(path);
            request = request.header(name, value);
        }
        let response = self.pool.request(request.body(Empty::new())?).await?;
        response.into_body().collect().await?;
        Ok(())
    }

    fn spawn(self: Arc<Service>, path: String) -> task::JoinHandle<Outcome<()>> {
        task::spawn(async move { self.call(&path).await })
    }
}

fn block(downstream: SocketAddr, path: &str, passes_on: bool) -> Outcome<()> {
    Ok(Client::connect(downstream, passes_on)?.ask(path)?)
}
