//! Messages as values, and values as replies to a query.

use std::net::IpAddr;

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query, ResponseCode},
    rr::{DNSClass, Record, RecordType},
};

use super::record;
use crate::{Operation, Value};

/// What a question may be made of.
pub const MEMBERS: &[&str] = &["name", "type", "class", "recursion", "dnssec"];
/// The code of a response without an error.
pub const NO_ERROR: &str = "NOERROR";
/// The code of a response that knows no such name.
pub const NO_SUCH_NAME: &str = "NXDOMAIN";
/// The code of a response that could not be found.
pub const SERVER_FAILURE: &str = "SERVFAIL";

/// What fits a datagram where the client does not say more (RFC 1035 section 4.2.1).
const SMALLEST_DATAGRAM: u16 = 512;
/// What a datagram is never longer than, whatever the client says (RFC 6891 section 6.2.5).
const LARGEST_DATAGRAM: u16 = 4096;
/// How many names a chain of aliases has at most.
const LONGEST_CHAIN: usize = 16;

/// The words of codes (RFC 6895 section 2.3).
const CODES: [(u16, &str); 6] =
    [(0, NO_ERROR), (1, "FORMERR"), (2, SERVER_FAILURE), (3, NO_SUCH_NAME), (4, "NOTIMP"), (5, "REFUSED")];

/// A query for one thing, which is not a transfer of a zone.
pub(super) fn read_query(bytes: &[u8]) -> Option<Message> {
    let message = Message::from_vec(bytes).ok()?;
    let is_query = message.metadata.message_type == MessageType::Query
        && message.metadata.op_code == OpCode::Query
        && message.answers.is_empty()
        && message.signature.is_none();
    let asks_for_one = matches!(&message.queries[..], [query] if !is_transfer(query.query_type));
    (is_query && asks_for_one).then_some(message)
}

fn is_transfer(kind: RecordType) -> bool {
    matches!(kind, RecordType::AXFR | RecordType::IXFR)
}

/// The question of a query; `None` for what is none.
pub fn question(query: &[u8]) -> Option<Value> {
    asked(&read_query(query)?)
}

/// The question of a message.
pub(super) fn asked(message: &Message) -> Option<Value> {
    let query = message.queries.first()?;
    let mut members = vec![
        ("name".into(), Value::text(record::name(&query.name))),
        ("type".into(), Value::text(record::kind(query.query_type))),
    ];
    if query.query_class != DNSClass::IN {
        members.push(("class".into(), record::class(query.query_class)));
    }
    if !message.metadata.recursion_desired {
        members.push(("recursion".into(), Value::Bool(false)));
    }
    if message.edns.as_ref().is_some_and(|edns| edns.flags().dnssec_ok) {
        members.push(("dnssec".into(), Value::Bool(true)));
    }
    Some(Value::Map(members))
}

/// A message that responds, with the question that it has.
pub(super) fn read_response(bytes: &[u8]) -> Option<(Message, Value)> {
    let message = Message::from_vec(bytes).ok()?;
    let responds = message.metadata.message_type == MessageType::Response
        && message.metadata.op_code == OpCode::Query
        && message.queries.len() <= 1;
    let response = responds.then(|| response(&message)).flatten()?;
    Some((message, response))
}

fn response(message: &Message) -> Option<Value> {
    let code = u16::from(message.metadata.response_code);
    let word = CODES.iter().find(|(number, _)| *number == code);
    let mut members = vec![("code".into(), word.map_or_else(|| Value::number(code), |(_, word)| Value::text(*word)))];
    if message.metadata.authoritative {
        members.push(("authoritative".into(), Value::Bool(true)));
    }
    if message.metadata.truncation {
        members.push(("truncated".into(), Value::Bool(true)));
    }
    let sections =
        [("answers", &message.answers), ("authorities", &message.authorities), ("additionals", &message.additionals)];
    for (section, records) in sections {
        if !records.is_empty() {
            let records = records.iter().map(record::value).collect::<Option<Vec<_>>>()?;
            members.push((section.into(), Value::List(records)));
        }
    }
    Some(Value::Map(members))
}

/// The question and the response of a reply that came as a datagram; `None` for what is none, and for one that repeats no question.
pub fn read_reply(datagram: &[u8]) -> Option<(Value, Value)> {
    let (message, response) = read_response(datagram)?;
    Some((asked(&message)?, response))
}

/// The addresses that a response gives for the name that was asked for, itself or through aliases, in order.
pub fn addresses(question: &Value, response: &Value) -> Vec<IpAddr> {
    let answers = response.get("answers").and_then(Value::as_list).unwrap_or_default();
    let text = |record: &Value, member: &str| record.get(member).and_then(Value::as_text).map(str::to_owned);
    let of = |owner: &str, kind: &str| -> Vec<String> {
        let is_it = |record: &&Value| {
            text(record, "name").as_deref() == Some(owner) && text(record, "type").as_deref() == Some(kind)
        };
        answers.iter().filter(is_it).filter_map(|record| text(record, "data")).collect()
    };
    let mut name = text(question, "name").unwrap_or_default();
    for _ in 0..LONGEST_CHAIN {
        let found: Vec<IpAddr> =
            ["A", "AAAA"].iter().flat_map(|kind| of(&name, kind)).filter_map(|data| data.parse().ok()).collect();
        if !found.is_empty() {
            return found;
        }
        match of(&name, "CNAME").into_iter().next() {
            Some(alias) => name = alias,
            None => break,
        }
    }
    Vec::new()
}

/// The code of a response; `None` where it has no word.
pub fn code(response: &Value) -> Option<&str> {
    response.get("code").and_then(Value::as_text)
}

/// The type as method, the name as path.
pub fn operation(question: &Value) -> Operation {
    let text = |member: &str| question.get(member).and_then(Value::as_text).unwrap_or_default().to_owned();
    Operation { method: text("type"), path: text("name") }
}

/// `A db.internal`
pub fn line(question: &Value) -> String {
    operation(question).to_string()
}

/// The reply to a query that says what a response says, of which only the question, what identifies the query and what EDNS agrees
/// on is not recorded. A datagram that cannot hold it says so (`is_datagram`). `None` where `query` is none, or the response is not what
/// was recorded of one.
pub fn reply(query: &[u8], response: &Value, is_datagram: bool) -> Option<Vec<u8>> {
    let query = read_query(query)?;
    let records = |section: &str| -> Option<Vec<Record>> {
        response.get(section).and_then(Value::as_list).unwrap_or_default().iter().map(record::read).collect()
    };
    let mut answers = records("answers")?;
    own(&mut answers, query.queries.first()?);
    let mut reply = Message::response(query.metadata.id, OpCode::Query);
    reply.metadata.recursion_desired = query.metadata.recursion_desired;
    reply.metadata.recursion_available = true;
    reply.metadata.authoritative = response.get("authoritative").is_some();
    reply.metadata.truncation = response.get("truncated").is_some() && is_datagram;
    reply.metadata.response_code = read_code(response.get("code")?)?;
    reply.queries = query.queries.clone();
    reply.answers = answers;
    reply.authorities = records("authorities")?;
    reply.additionals = records("additionals")?;
    if query.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(LARGEST_DATAGRAM);
        reply.edns = Some(edns);
    }
    let bytes = reply.to_vec().ok()?;
    let room = if query.edns.is_some() { query.max_payload() } else { SMALLEST_DATAGRAM };
    if !is_datagram || bytes.len() <= usize::from(room.clamp(SMALLEST_DATAGRAM, LARGEST_DATAGRAM)) {
        return Some(bytes);
    }
    reply.metadata.truncation = true;
    (reply.answers, reply.authorities, reply.additionals) = (Vec::new(), Vec::new(), Vec::new());
    reply.to_vec().ok()
}

/// Records of the name that was asked for have it as it was written.
fn own(records: &mut [Record], query: &Query) {
    for record in records.iter_mut().filter(|record| record.name == query.name) {
        record.name = query.name.clone();
    }
}

fn read_code(value: &Value) -> Option<ResponseCode> {
    let number = match value.as_text() {
        Some(word) => CODES.iter().find(|(_, known)| *known == word)?.0,
        None => value.as_number()?,
    };
    Some(number.into())
}

#[cfg(test)]
mod tests;
