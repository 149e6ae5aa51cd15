//! Names from a recording.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use regress_protocols::{Value, dns};

use super::{
    Answers,
    answers::Known,
    message::{A, AAAA, Outcome, Question},
    names::canonical,
};

const LOOPBACK: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// The addresses of every name of a recording, and what its resolvers answered; names are compared without case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordedNames {
    addresses: BTreeMap<String, Vec<IpAddr>>,
    answers: Answers,
}

impl RecordedNames {
    /// No name at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with what resolvers answered.
    pub(crate) fn with_answers(self, answers: Answers) -> Self {
        Self { answers, ..self }
    }

    /// Adds one address of `name`, after those it has.
    pub fn insert(&mut self, name: &str, address: IpAddr) {
        let addresses = self.addresses.entry(canonical(name)).or_default();
        let address = address.to_canonical();
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }

    /// The addresses of `name` in the order in which they were added; empty when it is not known.
    pub fn addresses(&self, name: &str) -> &[IpAddr] {
        self.lookup(name).unwrap_or_default()
    }

    /// The names that have `address`, in order.
    pub fn names_of(&self, address: IpAddr) -> impl Iterator<Item = &str> {
        let address = address.to_canonical();
        let having = self.addresses.iter().filter(move |(_, addresses)| addresses.contains(&address));
        having.map(|(name, _)| name.as_str())
    }

    /// The reply to `query`: what a resolver answered in the recording, else the addresses at which the name was called.
    pub(super) fn answer(&self, query: &[u8], question: &Question, over_udp: bool) -> (Vec<u8>, Outcome) {
        let addresses = self.lookup(&question.name);
        let of_kind = |address: &&IpAddr| {
            (question.kind == A && address.is_ipv4()) || (question.kind == AAAA && address.is_ipv6())
        };
        let is_called = addresses.is_some_and(|addresses| addresses.iter().any(|address| of_kind(&address)));
        let known = dns::question(query).and_then(|asked| {
            let text = |member: &str| asked.get(member).and_then(Value::as_text).map(str::to_owned);
            self.answers.of(&text("name")?, &text("type")?)
        });
        let absent = Value::map([("code", Value::text(dns::NO_SUCH_NAME))]);
        let (recorded, outcome) = match known {
            Some(Known::Answered(response)) => (Some(response), outcome(response)),
            Some(Known::Absent) if addresses.is_none() => (Some(&absent), Outcome::Absent),
            Some(Known::Otherwise) if addresses.is_none() => return question.answer_from(query, Some(&[]), over_udp),
            Some(Known::Absent | Known::Otherwise) | None => (None, Outcome::Unknown),
        };
        // Where the name was called although a resolver had no address for it, others had.
        let recorded = recorded.filter(|_| outcome == Outcome::Answered || !is_called);
        match recorded.and_then(|response| dns::reply(query, response, over_udp)) {
            Some(reply) => (reply, outcome),
            None => question.answer_from(query, addresses, over_udp),
        }
    }

    /// The addresses of `name`, or nothing when nobody knows it. `localhost` is known everywhere (RFC 6761, section 6.3).
    pub(super) fn lookup(&self, name: &str) -> Option<&[IpAddr]> {
        let name = canonical(name);
        let known = self.addresses.get(&name).map(Vec::as_slice);
        known.or_else(|| is_localhost(&name).then_some(&LOOPBACK))
    }
}

/// What a recorded response comes to.
fn outcome(response: &Value) -> Outcome {
    match (dns::code(response), response.get("answers")) {
        (Some(dns::NO_ERROR), Some(_)) => Outcome::Answered,
        (Some(dns::NO_ERROR), None) => Outcome::Empty,
        (Some(dns::NO_SUCH_NAME), _) => Outcome::Absent,
        _ => Outcome::Failed,
    }
}

fn is_localhost(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost")
}

impl<N: AsRef<str>> FromIterator<(N, IpAddr)> for RecordedNames {
    fn from_iter<I: IntoIterator<Item = (N, IpAddr)>>(pairs: I) -> Self {
        let mut names = Self::new();
        for (name, address) in pairs {
            names.insert(name.as_ref(), address);
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A query for the records of that type (RFC 1035 section 3.2.2).
    fn query(name: &str, kind: u16) -> Vec<u8> {
        let labels = name.split('.').flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat());
        let header = [0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        header.into_iter().chain(labels).chain([0]).chain(kind.to_be_bytes()).chain([0, 1]).collect()
    }

    #[test]
    fn what_resolvers_answered_is_answered_again() {
        const TXT: u16 = 16;
        const SRV: u16 = 33;
        let mut answers = Answers::default();
        let mut add = |name: &str, kind: &str, response: &[(&'static str, Value)]| {
            let question = Value::map([("name", Value::text(name)), ("type", Value::text(kind))]);
            let members = response.iter().map(|(member, value)| ((*member).into(), value.clone()));
            answers.add(&question, &Value::Map(members.collect()));
        };
        let record = |name: &str, kind: &str, data: Value| {
            let members =
                [("name", Value::text(name)), ("type", Value::text(kind)), ("ttl", Value::number(5)), ("data", data)];
            ("answers", Value::List(vec![Value::map(members)]))
        };
        let code = |code: &str| ("code", Value::text(code));
        add("db.test", "A", &[code("NOERROR"), record("db.test", "A", Value::text("192.0.2.7"))]);
        add("db.test", "TXT", &[code("NOERROR"), record("db.test", "TXT", Value::List(vec![Value::text("hello")]))]);
        add("no.test", "A", &[code("NXDOMAIN")]);
        add("down.test", "A", &[code("SERVFAIL")]);
        add("called.test", "A", &[code("NXDOMAIN")]);
        let called: IpAddr = "192.0.2.9".parse().unwrap();
        let names = RecordedNames::from_iter([("called.test", called)]).with_answers(answers);
        let ask = |name: &str, kind: u16| {
            let query = query(name, kind);
            let (reply, outcome) = names.answer(&query, &Question::parse(&query).unwrap(), true);
            let (_, response) = dns::read_reply(&reply).unwrap();
            let answers = response.get("answers").and_then(Value::as_list).unwrap_or_default().to_vec();
            let data = answers.first().and_then(|answer| answer.get("data")).cloned();
            (outcome, dns::code(&response).map(str::to_owned), data)
        };
        let told = |outcome, code: &str, data: Option<Value>| (outcome, Some(code.to_owned()), data);
        assert_eq!(ask("DB.test", A), told(Outcome::Answered, "NOERROR", Some(Value::text("192.0.2.7"))));
        let hello = Value::List(vec![Value::text("hello")]);
        assert_eq!(ask("db.test", TXT), told(Outcome::Answered, "NOERROR", Some(hello)));
        assert_eq!(ask("db.test", SRV), told(Outcome::Empty, "NOERROR", None));
        assert_eq!(ask("no.test", A), told(Outcome::Absent, "NXDOMAIN", None));
        assert_eq!(ask("no.test", AAAA), told(Outcome::Absent, "NXDOMAIN", None));
        assert_eq!(ask("down.test", A), told(Outcome::Failed, "SERVFAIL", None));
        assert_eq!(ask("called.test", A), told(Outcome::Answered, "NOERROR", Some(Value::text("192.0.2.9"))));
        assert_eq!(ask("other.test", A), told(Outcome::Unknown, "NXDOMAIN", None));
    }

    #[test]
    fn names_have_no_case_and_keep_the_order_of_their_addresses() {
        let first: IpAddr = "192.0.2.2".parse().unwrap();
        let second: IpAddr = "192.0.2.1".parse().unwrap();
        let names =
            RecordedNames::from_iter([("API.example.", first), ("api.Example", second), ("api.example", first)]);
        assert_eq!(names.addresses("Api.EXAMPLE."), [first, second]);
        assert_eq!(names.names_of(second).collect::<Vec<_>>(), ["api.example"]);
        assert_eq!(names.lookup("example"), None);
        assert_eq!(names.lookup("db.localhost"), Some(&LOOPBACK[..]));
    }
}
