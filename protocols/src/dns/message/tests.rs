use std::net::Ipv6Addr;

use hickory_proto::rr::{
    Name, RData,
    rdata::{A, AAAA, CNAME, HINFO, MX, NS, NULL, PTR, SOA, SRV, TXT},
};
use proptest::prelude::*;

use super::*;
use crate::dns::samples::{query, reply as replied};

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn records() -> Vec<(&'static str, RData)> {
    vec![
        ("DB.internal", RData::CNAME(CNAME(name("db-1.internal.")))),
        ("db-1.internal", RData::A(A::new(10, 0, 0, 5))),
        ("db-1.internal", RData::AAAA(AAAA(Ipv6Addr::LOCALHOST))),
        ("internal", RData::NS(NS(name("ns.internal.")))),
        ("5.0.0.10.in-addr.arpa", RData::PTR(PTR(name("db-1.internal.")))),
        ("internal", RData::MX(MX::new(10, name("mail.internal.")))),
        ("_pg._tcp.internal", RData::SRV(SRV::new(1, 2, 5432, name("db-1.internal.")))),
        ("internal", RData::TXT(TXT::from_bytes(vec![b"v=spf1 -all", b"", b"\xff\0"]))),
        ("internal", RData::SOA(SOA::new(name("ns.internal."), name("admin.internal."), 7, 1, 2, -3, 4))),
        ("internal", RData::HINFO(HINFO::new("cpu".to_owned(), "os".to_owned()))),
        ("internal", RData::Unknown { code: 65280.into(), rdata: NULL::with(vec![1, 2, 3]) }),
    ]
}

#[test]
fn a_reply_is_read_and_written_again() {
    let asked = query(7, "DB.internal", "A");
    let came = replied(&asked, ResponseCode::NoError, records());
    let (question, response) = read_reply(&came).unwrap();
    assert_eq!(question, Value::map([("name", Value::text("db.internal")), ("type", Value::text("A"))]));
    assert_eq!(addresses(&question, &response), ["10.0.0.5", "::1"].map(|text| text.parse::<IpAddr>().unwrap()));
    let kinds: Vec<_> = response.get("answers").and_then(Value::as_list).unwrap().iter().collect();
    assert_eq!(kinds[6].get("data").and_then(|data| data.get("port")), Some(&Value::number(5432)));
    assert_eq!(kinds[7].get("data").and_then(Value::as_list).unwrap()[2], Value::data(b"\xff\0"));
    assert_eq!(kinds[10].get("type"), Some(&Value::text("TYPE65280")));

    let other = query(9, "db.INTERNAL", "A");
    let written = reply(&other, &response, false).unwrap();
    assert_eq!(read_reply(&written), Some((question, response)));
    let written = Message::from_vec(&written).unwrap();
    assert_eq!(written.metadata.id, 9);
    assert_eq!(written.queries[0].name.to_ascii(), "db.INTERNAL.");
    assert_eq!(written.answers[0].name.to_ascii(), "db.INTERNAL.");
}

#[test]
fn errors_have_their_codes_and_unknown_ones_their_number() {
    let asked = query(7, "a.test", "SRV");
    for (code, word) in [(ResponseCode::NXDomain, Some(NO_SUCH_NAME)), (ResponseCode::ServFail, Some(SERVER_FAILURE))] {
        let (_, response) = read_reply(&replied(&asked, code, Vec::new())).unwrap();
        assert_eq!(super::code(&response), word);
        assert_eq!(Message::from_vec(&reply(&asked, &response, true).unwrap()).unwrap().metadata.response_code, code);
    }
    let (_, odd) = read_reply(&replied(&asked, 11.into(), Vec::new())).unwrap();
    assert_eq!(odd, Value::map([("code", Value::number(11))]));
    assert_eq!(read_reply(&reply(&asked, &odd, true).unwrap()).unwrap().1, odd);
}

#[test]
fn a_datagram_holds_what_the_client_has_room_for() {
    let texts: Vec<_> = (0..10).map(|_| ("a.test", RData::TXT(TXT::from_bytes(vec![&[b'x'; 200]])))).collect();
    let mut asked = Message::from_vec(&query(7, "a.test", "TXT")).unwrap();
    let (_, response) = read_reply(&replied(&asked.to_vec().unwrap(), ResponseCode::NoError, texts)).unwrap();
    let read = |bytes: Vec<u8>| {
        let message = Message::from_vec(&bytes).unwrap();
        (message.metadata.truncation, message.answers.len(), message.edns.is_some())
    };
    let plain = asked.to_vec().unwrap();
    assert_eq!(read(reply(&plain, &response, true).unwrap()), (true, 0, false));
    assert_eq!(read(reply(&plain, &response, false).unwrap()), (false, 10, false));
    let mut edns = Edns::new();
    edns.set_max_payload(4096);
    asked.edns = Some(edns);
    assert_eq!(read(reply(&asked.to_vec().unwrap(), &response, true).unwrap()), (false, 10, true));
}

#[test]
fn addresses_are_those_of_the_name_alone() {
    let asked = query(7, "a.test", "A");
    let of = |answers: Vec<(&str, RData)>| {
        let (question, response) = read_reply(&replied(&asked, ResponseCode::NoError, answers)).unwrap();
        addresses(&question, &response).len()
    };
    let alias = |to: &str| RData::CNAME(CNAME(name(to)));
    let address = || RData::A(A::new(10, 0, 0, 5));
    assert_eq!(of(vec![("a.test", address()), ("b.test", address())]), 1);
    assert_eq!(of(vec![("b.test", address())]), 0);
    assert_eq!(of(vec![("b.test", address()), ("a.test", alias("c.test.")), ("c.test", alias("b.test."))]), 1);
    assert_eq!(of(vec![("a.test", alias("b.test.")), ("b.test", alias("a.test."))]), 0);
}

#[test]
fn what_is_asked_otherwise_is_another_question() {
    let mut asked = Message::from_vec(&query(7, "a.test", "A")).unwrap();
    let plain = super::asked(&asked).unwrap();
    asked.metadata.recursion_desired = false;
    let mut edns = Edns::new();
    edns.set_dnssec_ok(true);
    asked.edns = Some(edns);
    asked.queries[0].query_class = DNSClass::CH;
    let other = super::asked(&asked).unwrap();
    assert_ne!(plain, other);
    assert_eq!(other.get("class"), Some(&Value::text("CH")));
    assert_eq!((other.get("recursion"), other.get("dnssec")), (Some(&Value::Bool(false)), Some(&Value::Bool(true))));
    assert_eq!(line(&plain), "A a.test");
}

proptest! {
    #[test]
    fn no_bytes_break_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = read_reply(&bytes);
        prop_assert_eq!(reply(&bytes, &Value::Null, true), None);
    }

    #[test]
    fn no_changed_byte_breaks_it_and_what_is_read_can_be_written(at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let asked = query(7, "db.internal", "A");
        let mut came = replied(&asked, ResponseCode::NoError, records());
        let at = at.index(came.len());
        came[at] = to;
        if let Some((_, response)) = read_reply(&came) {
            let written = reply(&asked, &response, false);
            if let Some(written) = written {
                prop_assert_eq!(read_reply(&written).map(|(_, response)| response), Some(response));
            }
        }
    }
}
