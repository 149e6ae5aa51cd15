//! The mock and a bare hyper server, each in a process of its own around a sandbox in which the load runs.

use std::{
    convert::Infallible,
    net::SocketAddr,
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use nix::sys::resource::{UsageWho, getrusage};
use regress_cassettes::{
    Cassette, CassetteId, Connection, Content, Ended, Exchange, HttpExchange, Recorded, Via,
    diff::Rules,
    downstream_name,
    redact::{self, Key, Redactor},
};
use regress_mockserver::{
    dns::{Names, RecordedNames},
    intercept::{self, Intercepted},
    library::Library,
    mock::{Mock, Mode, Policy},
    sandbox::{Listeners, Sandbox, Spec},
    survey::Survey,
    tls::Authority,
};
use regress_protocols::http1::Message;

use crate::load;

const ADDRESS: &str = "10.0.0.5:8080";

/// Requests before those that count.
const WARM_UP: usize = 2000;

/// How often what the mock noted is taken from it, as a replay does after each entry.
const TAKEN: Duration = Duration::from_millis(5);

/// Requests a CPU-second of `hyper` or `mock`.
pub fn measure(server: &str, recorded: usize, requests: usize) -> Result<f64, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new(program)
        .args(["serve", server, &recorded.to_string(), &requests.to_string()])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    let printed = String::from_utf8_lossy(&output.stdout);
    match printed.trim().parse() {
        Ok(rate) if output.status.success() => Ok(rate),
        _ => Err(format!("{server}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

/// `serve hyper|mock RECORDED REQUESTS`: prints requests a CPU-second.
pub fn run(arguments: &[String]) -> ExitCode {
    let [server, recorded, requests] = arguments else { return ExitCode::from(2) };
    let (Ok(recorded), Ok(requests)) = (recorded.parse(), requests.parse()) else { return ExitCode::from(2) };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let key = Key::drawn().expect("there are random numbers");
    let redactor = Arc::new(Redactor::new(key, redact::Policy::default()));
    let rate = runtime.block_on(async {
        let library =
            Arc::new(Library::new(Survey::default(), Some(Arc::new(ambient(recorded))), Rules::none(), redactor));
        let library = (server == "mock").then_some(library);
        // What is made once is made before.
        spent(library.clone(), WARM_UP.min(requests), recorded).await?;
        let used = spent(library, requests, recorded).await?;
        Ok::<f64, String>(requests as f64 / used.as_secs_f64())
    });
    match rate {
        Ok(rate) => {
            println!("{rate}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

/// The CPU time of this process while a load in a sandbox makes its requests.
async fn spent(library: Option<Arc<Library>>, requests: usize, recorded: usize) -> Result<Duration, String> {
    let address: SocketAddr = ADDRESS.parse().expect("an address");
    let command = load::command(address, requests, recorded).into_iter().map(Into::into).collect();
    let spec = Spec { command, keep_output: true, helper: PathBuf::from("/proc/self/exe"), ..Spec::default() };
    let (mut sandbox, listeners) = Sandbox::prepare(spec).await.map_err(|error| error.to_string())?;
    let mock = match library {
        Some(library) => {
            let mock = Mock::new(library, Mode::Strict, Policy::default());
            let authority = Authority::new().map_err(|error| error.to_string())?;
            mock.serve(listeners, Arc::new(authority)).await.map_err(|error| error.to_string())?;
            Some(mock)
        }
        None => {
            hyper(listeners).map_err(|error| error.to_string())?;
            None
        }
    };
    let before = cpu_time();
    sandbox.start().await.map_err(|error| error.to_string())?;
    let status = loop {
        tokio::select! {
            status = sandbox.exited() => break status,
            () = tokio::time::sleep(TAKEN) => drop(mock.as_ref().map(Mock::take_journal)),
        }
    };
    let used = cpu_time() - before;
    match status.success() {
        true => Ok(used),
        false => Err(sandbox.last_output()),
    }
}

/// Answers everything with the same.
fn hyper(listeners: Listeners) -> std::io::Result<()> {
    let (interception, mut seen) = intercept::spawn(listeners, Names::Recorded(Arc::new(RecordedNames::default())))?;
    let body = Bytes::from(body(0));
    tokio::spawn(async move {
        while let Some(what) = seen.recv().await {
            let Intercepted::Connection(arrival) = what else { continue };
            let body = body.clone();
            let answer = service_fn(move |_: Request<Incoming>| {
                let answer = Response::builder()
                    .header("content-type", "application/json")
                    .header("x-served-by", "recording")
                    .body(Full::new(body.clone()));
                async move { Ok::<_, Infallible>(answer.expect("a response")) }
            });
            tokio::spawn(async move {
                drop(arrival.stream.set_nodelay(true));
                drop(http1::Builder::new().serve_connection(TokioIo::new(arrival.stream), answer).await);
            });
        }
        drop(interception);
    });
    Ok(())
}

fn cpu_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("a process may ask how much it used");
    let time = |spent: nix::sys::time::TimeVal| {
        Duration::from_micros(spent.tv_sec() as u64 * 1_000_000 + spent.tv_usec() as u64)
    };
    time(usage.user_time()) + time(usage.system_time())
}

/// The answer for one item: JSON of about 1 KiB.
pub fn body(item: usize) -> String {
    format!(r#"{{"item":{item},"price":"19.90","text":"{}"}}"#, "x".repeat(980))
}

/// What was recorded: one exchange an item.
fn ambient(recorded: usize) -> Cassette {
    let peer: SocketAddr = ADDRESS.parse().expect("an address");
    let exchange = |item: usize| {
        let target = format!("/items/{item}?currency=EUR");
        let request = Message::request("GET", &target, &[("Host", "prices:8080"), ("Accept", "application/json")], "");
        let headers = [("Content-Type", "application/json"), ("X-Served-By", "recording")];
        let response = Some(Message::response(200, "OK", &headers, body(item)));
        let http = HttpExchange::new(request, response);
        Exchange {
            downstream: Some(downstream_name(Some("prices:8080"), None, peer, false)),
            connection: Connection { id: 1, local: None, peer: peer.into(), tls: false },
            at: item as i64,
            took: Some(1),
            content: Content::Http1(http),
            ended: Ended::Ok,
            cause: None,
            defects: Vec::new(),
        }
    };
    let recorded_as = Recorded {
        at: "2026-11-22T10:15:02.123456Z".to_owned(),
        service: "bench".to_owned(),
        by: "regress".to_owned(),
        via: Via::Proxy,
        kernel: "6.12.0".to_owned(),
    };
    Cassette {
        id: CassetteId(CassetteId::AMBIENT.to_owned()),
        recorded: recorded_as,
        nondeterministic: Vec::new(),
        redacted: Default::default(),
        entry: None,
        downstream: (0..recorded).map(exchange).collect(),
        defects: Vec::new(),
    }
}
