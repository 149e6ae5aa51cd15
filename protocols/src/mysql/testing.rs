//! What clients say, and a connection between one and a played server that is recorded.

use std::sync::Arc;

use super::{
    bits::capability::{CONNECT_WITH_DB, DEPRECATE_EOF, PLUGIN_AUTH, PROTOCOL_41, SECURE_CONNECTION, SESSION_TRACK},
    packet::Packets,
};
use crate::{
    PairEvent, Paired, PairedContent, Side, Value,
    wire::{Fifo, Handshakes, Protocol, Step},
};

/// What most clients are capable of.
pub(super) const USUAL: u64 = 1
    | CONNECT_WITH_DB
    | PROTOCOL_41
    | SECURE_CONNECTION
    | 1 << 16
    | 1 << 17
    | PLUGIN_AUTH
    | SESSION_TRACK
    | DEPRECATE_EOF;

/// A packet of that number.
pub(super) fn framed(number: u8, payload: &[u8]) -> Vec<u8> {
    let mut packets = Packets::from(number);
    packets.push(payload);
    packets.bytes
}

/// A login of the user `app` for the schema `shop`.
pub(super) fn login(capabilities: u64, plugin: &str) -> Vec<u8> {
    let mut said = (capabilities as u32).to_le_bytes().to_vec();
    said.extend_from_slice(b"\0\0\0\x01\x2d");
    said.extend_from_slice(&[0; 19]);
    said.extend_from_slice(&((capabilities >> 32) as u32).to_le_bytes());
    said.extend_from_slice(b"app\0\x06SECRETshop\0");
    said.extend_from_slice(plugin.as_bytes());
    said.push(0);
    said
}

/// A command with a text.
pub(super) fn command(command: u8, text: &str) -> Vec<u8> {
    framed(0, &[&[command], text.as_bytes()].concat())
}

/// The execution of a statement with the integers that it is given; `types` says whether their types are told.
pub(super) fn execute(statement: u32, params: &[i64], types: bool) -> Vec<u8> {
    let mut payload = vec![super::session::command::STMT_EXECUTE];
    payload.extend_from_slice(&statement.to_le_bytes());
    payload.extend_from_slice(b"\0\x01\0\0\0");
    if !params.is_empty() {
        payload.extend(vec![0; params.len().div_ceil(8)]);
        payload.push(u8::from(types));
        if types {
            params.iter().for_each(|_| payload.extend_from_slice(&[8, 0]));
        }
        params.iter().for_each(|param| payload.extend_from_slice(&param.to_le_bytes()));
    }
    framed(0, &payload)
}

/// What a server said of how things are.
pub(super) fn done() -> Value {
    Value::map([("affected_rows", Value::number(0)), ("status", Value::List(vec![Value::text("autocommit")]))])
}

/// A column of that type.
pub(super) fn column(name: &str, kind: &str) -> Value {
    let number = Value::number;
    let (charset, length) = (number(63), number(20));
    Value::map([("name", Value::text(name)), ("type", Value::text(kind)), ("charset", charset), ("length", length)])
}

/// Rows of such columns.
pub(super) fn rows(columns: Vec<Value>, rows: Vec<Vec<Value>>) -> Value {
    let rows = rows.into_iter().map(Value::List).collect();
    let status = Value::List(vec![Value::text("autocommit")]);
    Value::map([("columns", Value::List(columns)), ("rows", Value::List(rows)), ("status", status)])
}

/// A client and a played server, and what a recorder makes of what they say.
pub(super) struct Talk {
    pub(super) server: Box<dyn crate::wire::Server>,
    pub(super) fifo: Fifo,
    /// What was judged.
    pub(super) judged: Vec<Value>,
    /// All that the server said.
    pub(super) told: Vec<u8>,
}

impl Talk {
    pub(super) fn new(known: Handshakes) -> Talk {
        let mut server = Protocol::Mysql.server(&Arc::new(known));
        let mut fifo = Fifo::new(Protocol::Mysql, 0, 64 << 20);
        fifo.data(1, Side::Server, &server.greeting());
        Talk { server, fifo, judged: Vec::new(), told: Vec::new() }
    }

    /// The client says something; `answer` answers what is judged.
    pub(super) fn say(&mut self, said: &[u8], answer: impl Fn(&Value) -> Option<Value>) -> Vec<Step> {
        self.fifo.data(1, Side::Client, said);
        self.server.hear(said);
        let mut steps = Vec::new();
        while let Some(step) = self.server.step() {
            let told = match &step {
                Step::Say(bytes) => bytes.clone(),
                Step::Judge(request) => {
                    self.judged.push(request.clone());
                    match answer(request) {
                        Some(response) => self.server.answer(request, &response),
                        None => self.server.refuse(request, "nothing recorded"),
                    }
                }
                _ => Vec::new(),
            };
            self.fifo.data(1, Side::Server, &told);
            self.told.extend_from_slice(&told);
            steps.push(step);
        }
        steps
    }

    /// What was recorded: requests, whether they are about the connection, and responses.
    pub(super) fn recorded(&mut self) -> Vec<(Value, bool, Option<Value>)> {
        self.fifo.closed(2);
        recorded(&mut self.fifo)
    }
}

/// All exchanges, which are to be without a problem.
pub(super) fn recorded(fifo: &mut Fifo) -> Vec<(Value, bool, Option<Value>)> {
    let one = |paired: Paired| match paired.content {
        PairedContent::Wire { request, response, setup, .. } => {
            assert_eq!(paired.problems, [], "{request:?}");
            (request, setup, response)
        }
        other => panic!("{other:?} {:?}", paired.problems),
    };
    let done = |event| if let PairEvent::Done(paired) = event { Some(one(*paired)) } else { None };
    std::iter::from_fn(|| fifo.next()).filter_map(done).collect()
}
