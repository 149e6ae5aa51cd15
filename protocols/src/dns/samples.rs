//! Messages for tests.

use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{Name, RData, Record, RecordType},
};

/// A query for the records of that type, recursion desired.
pub(super) fn query(id: u16, name: &str, kind: &str) -> Vec<u8> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    let kind: RecordType = kind.parse().unwrap();
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message.to_vec().unwrap()
}

/// The reply to a query with these records.
pub(super) fn reply(query: &[u8], code: ResponseCode, answers: Vec<(&str, RData)>) -> Vec<u8> {
    let asked = Message::from_vec(query).unwrap();
    let mut message = Message::response(asked.metadata.id, OpCode::Query);
    message.metadata.response_code = code;
    message.metadata.recursion_desired = true;
    message.metadata.recursion_available = true;
    message.queries = asked.queries;
    let record = |(name, data)| Record::from_rdata(Name::from_ascii(name).unwrap(), 60, data);
    message.answers = answers.into_iter().map(record).collect();
    message.to_vec().unwrap()
}

/// A message as TCP has it.
pub(super) fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes()[..], message].concat()
}
