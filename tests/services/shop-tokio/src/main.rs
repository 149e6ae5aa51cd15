//! The shop on tokio: a task a connection on both sides, calls one after the other, side by side, and by a task of their own.
//! Enough of the shop for the load of `capture.rs`.
//!
//! Environment: PORT, INVENTORY_URL, PRICING_URL.

use std::{env, error::Error, net::Ipv4Addr, sync::Arc};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

struct Shop {
    inventory: String,
    pricing: String,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Shop {
    async fn call(&self, method: Method, url: String, body: Option<Value>, order: &str) -> Outcome<Bytes> {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let mut request = Request::builder().method(method).uri(url);
        if !order.is_empty() {
            request = request.header("x-order", order);
        }
        let response = self.client.request(request.body(Full::from(body))?).await?;
        Ok(response.into_body().collect().await?.to_bytes())
    }

    async fn quote(&self, order: &str, sku: &str) -> Outcome<Value> {
        let body = json!({ "order": order, "sku": sku, "quantity": 2 });
        let priced = self.call(Method::POST, format!("{}/quote", self.pricing), Some(body), order).await?;
        Ok(serde_json::from_slice(&priced)?)
    }

    async fn get_order(self: Arc<Shop>, order: String) -> Outcome<Value> {
        let stock = {
            let (shop, order) = (Arc::clone(&self), order.clone());
            let url = format!("{}/stock/sku-{order}", self.inventory);
            task::spawn(async move { shop.call(Method::GET, url, None, &order).await })
        };
        let held: Value = serde_json::from_slice(&stock.await??)?;
        let priced = self.quote(&order, &format!("sku-{order}")).await?;
        Ok(json!({ "id": order, "sku": held["sku"], "total": priced["unit_cents"] }))
    }

    async fn post_order(&self, body: &[u8]) -> Outcome<Value> {
        let asked: Value = serde_json::from_slice(body)?;
        let order = asked["id"].as_str().unwrap_or_default();
        let reserve = format!("{}/reserve", self.inventory);
        let (priced, _) = tokio::try_join!(
            self.quote(order, asked["sku"].as_str().unwrap_or_default()),
            self.call(Method::POST, reserve, Some(asked.clone()), order)
        )?;
        Ok(json!({ "id": order, "total": priced["unit_cents"] }))
    }
}

async fn answer(shop: Arc<Shop>, request: Request<Incoming>) -> Outcome<Response<Full<Bytes>>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let mut status = StatusCode::OK;
    let answer = match (head.method, head.uri.path()) {
        (Method::GET, "/health") => Bytes::from_static(b"ok\n"),
        (Method::GET, "/report") => shop.call(Method::GET, format!("{}/levels", shop.inventory), None, "").await?,
        (Method::POST, "/orders") => {
            status = StatusCode::CREATED;
            shop.post_order(&body).await?.to_string().into()
        }
        (_, path) => {
            let order = path.trim_start_matches("/orders/").to_owned();
            shop.get_order(order).await?.to_string().into()
        }
    };
    Ok(Response::builder().status(status).body(Full::from(answer))?)
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let shop = Arc::new(Shop { inventory: env::var("INVENTORY_URL")?, pricing: env::var("PRICING_URL")?, client });
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, env::var("PORT")?.parse()?)).await?;
    eprintln!("shop listens");
    loop {
        let (stream, _) = listener.accept().await?;
        let shop = Arc::clone(&shop);
        let answer = service_fn(move |request| answer(Arc::clone(&shop), request));
        // A connection that fails is the client's to notice.
        task::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
    }
}
