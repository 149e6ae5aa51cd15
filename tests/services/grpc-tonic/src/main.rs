//! The gRPC shop on tonic, as server and as client. Messages are declared by hand, so that no generated code is needed:
//! shop.proto and stock.proto say what they are.
//!
//! Environment: PORT, STOCK (host:port), and SHOP_CHANGE, the name of what the new build does differently.

use std::{
    convert::Infallible,
    env,
    error::Error,
    future::Future,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::LazyLock,
    task::{Context, Poll},
};

use http::uri::PathAndQuery;
use tokio::sync::mpsc::{Sender, channel};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Response, Status, Streaming,
    body::Body,
    client::Grpc as Client,
    server::{Grpc as Server, StreamingService},
    transport::{Channel, Endpoint, server::TcpIncoming},
};
use tonic_prost::ProstCodec;

type Asks = Streaming<Ask>;
type Answers = ReceiverStream<Result<Answer, Status>>;
type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;

#[derive(Clone, PartialEq, prost::Message)]
struct Ask {
    #[prost(uint32, tag = "1")]
    id: u32,
    #[prost(string, tag = "2")]
    client: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Item {
    #[prost(uint32, tag = "1")]
    id: u32,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(uint32, tag = "3")]
    quantity: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Reserved {
    #[prost(uint32, tag = "1")]
    items: u32,
    #[prost(uint32, tag = "2")]
    sum: u32,
}

/// What the shop answers: a price, or (without cents) a sum.
#[derive(Clone, PartialEq, prost::Message)]
struct Answer {
    #[prost(uint32, tag = "1")]
    number: u32,
    #[prost(uint32, tag = "2")]
    cents: u32,
}

static CHANGE: LazyLock<String> = LazyLock::new(|| env::var("SHOP_CHANGE").unwrap_or_default());

fn connect() -> Channel {
    let stock = env::var("STOCK").expect("STOCK says where the stock is");
    Endpoint::from_shared(format!("http://{stock}")).expect("STOCK is an address").connect_lazy()
}

async fn stock() -> Result<Client<Channel>, Status> {
    static SHARED: LazyLock<Channel> = LazyLock::new(connect);
    let mut client = Client::new(if *CHANGE == "channel-per-call" { connect() } else { SHARED.clone() });
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    Ok(client)
}

fn ask(id: u32) -> Ask {
    Ask { id: if *CHANGE == "changed-field" { id + 1 } else { id }, client: "shop".to_owned() }
}

fn priced(item: Item) -> Answer {
    Answer { number: item.id, cents: item.quantity * if *CHANGE == "other-price" { 4 } else { 3 } }
}

async fn price(mut asks: Asks) -> Result<Answer, Status> {
    let asked = asks.message().await?.unwrap_or_default();
    let method = if *CHANGE == "other-method" { "/stock.Stock/Find" } else { "/stock.Stock/Get" };
    let codec = ProstCodec::<Ask, Item>::default();
    let item = stock().await?.unary(Request::new(ask(asked.id)), PathAndQuery::from_static(method), codec).await?;
    Ok(priced(item.into_inner()))
}

async fn prices(to: Sender<Result<Answer, Status>>) -> Result<(), Status> {
    let (list, codec) = (PathAndQuery::from_static("/stock.Stock/List"), ProstCodec::<Ask, Item>::default());
    let mut items = stock().await?.server_streaming(Request::new(ask(0)), list, codec).await?.into_inner();
    while let Some(item) = items.message().await? {
        // Whoever does not listen any more need not be told.
        let _ = to.send(Ok(priced(item))).await;
    }
    Ok(())
}

async fn total(mut asks: Asks) -> Result<Answer, Status> {
    let mut wanted = Vec::new();
    while let Some(asked) = asks.message().await? {
        wanted.push(ask(asked.id));
    }
    if *CHANGE == "dropped-call" {
        return Ok(Answer { number: wanted.len() as u32, cents: 0 });
    }
    let (reserve, codec) = (PathAndQuery::from_static("/stock.Stock/Reserve"), ProstCodec::<Ask, Reserved>::default());
    let wanted = Request::new(tokio_stream::iter(wanted));
    let reserved = stock().await?.client_streaming(wanted, reserve, codec).await?.into_inner();
    Ok(Answer { number: reserved.items, cents: 0 })
}

/// Asks for one item after the other, each when the one before was answered.
async fn chat(mut asks: Asks, to: Sender<Result<Answer, Status>>) -> Result<(), Status> {
    let (asked, asking) = channel(1);
    let (watch, codec) = (PathAndQuery::from_static("/stock.Stock/Watch"), ProstCodec::<Ask, Item>::default());
    let asking = Request::new(ReceiverStream::new(asking));
    let Some(first) = asks.message().await? else { return Ok(()) };
    let _ = asked.send(ask(first.id)).await;
    let mut items = stock().await?.streaming(asking, watch, codec).await?.into_inner();
    while let Some(item) = items.message().await? {
        let _ = to.send(Ok(priced(item))).await;
        match asks.message().await? {
            Some(next) => drop(asked.send(ask(next.id)).await),
            None => break,
        }
    }
    drop(asked);
    while items.message().await?.is_some() {}
    Ok(())
}

/// A method of the shop. What is one message to it is a stream of one to tonic.
struct Method(String);

impl StreamingService<Ask> for Method {
    type Response = Answer;
    type ResponseStream = Answers;
    type Future = Later<Result<Response<Answers>, Status>>;

    fn call(&mut self, request: Request<Asks>) -> Self::Future {
        let path = self.0.clone();
        Box::pin(async move {
            let asks = request.into_inner();
            let (to, answers) = channel(16);
            let whole = match path.as_str() {
                "/shop.Shop/Price" => Some(price(asks).await?),
                "/shop.Shop/Total" => Some(total(asks).await?),
                "/shop.Shop/Prices" => {
                    tokio::spawn(told(prices(to.clone()), to.clone()));
                    None
                }
                "/shop.Shop/Chat" => {
                    tokio::spawn(told(chat(asks, to.clone()), to.clone()));
                    None
                }
                _ => return Err(Status::unimplemented(path)),
            };
            if let Some(answer) = whole {
                let _ = to.send(Ok(answer)).await;
            }
            Ok(Response::new(ReceiverStream::new(answers)))
        })
    }
}

/// Ends a stream with the error of the task that writes it, if there is one.
async fn told(task: impl Future<Output = Result<(), Status>>, to: Sender<Result<Answer, Status>>) {
    if let Err(status) = task.await {
        let _ = to.send(Err(status)).await;
    }
}

#[derive(Clone)]
struct Shop;

impl tower_service::Service<http::Request<Body>> for Shop {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Later<Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            let method = Method(request.uri().path().to_owned());
            Ok(Server::new(ProstCodec::<Answer, Ask>::default()).streaming(method, request).await)
        })
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let port: u16 = env::var("PORT")?.parse()?;
    let connections = TcpIncoming::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    eprintln!("shop listens");
    Ok(tonic::transport::Server::builder().serve_with_incoming(Shop, connections).await?)
}
