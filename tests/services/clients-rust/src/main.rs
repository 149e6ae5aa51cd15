//! Services that keep things in a store: keep (redis), accounts (sqlx for PostgreSQL), orders (sqlx for MySQL). The argument says
//! which; each has the requests and the builds of its namesakes in Python.

mod accounts;
mod keep;
mod orders;

use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    routing::get,
};

/// The status and what is said.
type Answer = (u16, String);

/// A service with a store.
trait Service: Send + Sync + 'static {
    /// What its standard error says once it listens.
    const LISTENS: &str;

    /// What is asked for by name: GET.
    fn find(&self, name: &str) -> impl Future<Output = Answer> + Send;

    /// What is told: POST.
    fn put(&self, name: &str, body: &str) -> impl Future<Output = Answer> + Send;
}

#[tokio::main]
async fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("keep") => serve(keep::Keep::new().await).await,
        Some("accounts") => serve(accounts::Accounts::new().await).await,
        Some("orders") => serve(orders::Orders::new().await).await,
        other => panic!("no service {other:?}"),
    }
}

async fn serve<S: Service>(service: S) {
    let find = |State(service): State<Arc<S>>, Path(name): Path<String>| async move { told(service.find(&name).await) };
    let put = |State(service): State<Arc<S>>, Path(name): Path<String>, body: String| async move {
        told(service.put(&name, &body).await)
    };
    let router = Router::new().route("/{name}", get(find).post(put)).with_state(Arc::new(service));
    let port: u16 = set("PORT").parse().expect("PORT is a number");
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.expect("PORT is free");
    eprintln!("{}", S::LISTENS);
    axum::serve(listener, router).await.expect("it serves");
}

fn told((status, said): Answer) -> (StatusCode, String) {
    (StatusCode::from_u16(status).expect("a status"), said)
}

fn set(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is set"))
}
