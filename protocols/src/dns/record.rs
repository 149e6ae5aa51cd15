//! Records as values.
//!
//! `data` is the address of `A` and `AAAA`, the name of `CNAME`, `NS`, `PTR`, `DNAME`-like records, the list of the strings of `TXT`, a map of the fields
//! of `MX`, `SRV` and `SOA`, and the bytes of all others.

use hickory_proto::{
    rr::{
        DNSClass, Name, RData, Record, RecordType,
        rdata::{A, AAAA, CNAME, MX, NS, NULL, PTR, SOA, SRV, TXT},
    },
    serialize::binary::{BinEncodable, BinEncoder, NameEncoding},
};

use crate::Value;

/// A name as it is compared and shown: lower case, no dot at the end; what is no plain character is escaped (RFC 1035 section 5.1).
pub(super) fn name(name: &Name) -> String {
    let mut text = name.to_ascii().to_ascii_lowercase();
    if text.ends_with('.') && !text.ends_with("\\.") {
        text.pop();
    }
    text
}

/// The name of such a text.
pub(super) fn read_name(text: &str) -> Option<Name> {
    let mut name = Name::from_ascii(text).ok()?;
    name.set_fqdn(true);
    Some(name)
}

/// `A`, or `TYPE65280` (RFC 3597) where it has no word.
pub(super) fn kind(kind: RecordType) -> String {
    let word = kind.to_string();
    if word.parse::<RecordType>().is_ok_and(|known| known == kind) { word } else { format!("TYPE{}", u16::from(kind)) }
}

pub(super) fn read_kind(word: &str) -> Option<RecordType> {
    match word.strip_prefix("TYPE").and_then(|number| number.parse::<u16>().ok()) {
        Some(number) => Some(number.into()),
        None => word.parse().ok(),
    }
}

/// `IN`, or its number where it has no word.
pub(super) fn class(class: DNSClass) -> Value {
    match class {
        DNSClass::IN | DNSClass::CH | DNSClass::HS | DNSClass::NONE | DNSClass::ANY => Value::text(class.to_string()),
        other => Value::number(u16::from(other)),
    }
}

pub(super) fn read_class(value: &Value) -> Option<DNSClass> {
    match value.as_number::<u16>() {
        Some(number) => Some(number.into()),
        None => value.as_text()?.parse().ok(),
    }
}

/// A record as a value; `None` for one that cannot be written again.
pub(super) fn value(record: &Record) -> Option<Value> {
    let mut members = vec![
        ("name".into(), Value::text(name(&record.name))),
        ("type".into(), Value::text(kind(record.record_type()))),
    ];
    if record.dns_class != DNSClass::IN {
        members.push(("class".into(), class(record.dns_class)));
    }
    members.push(("ttl".into(), Value::number(record.ttl)));
    members.push(("data".into(), data(&record.data)?));
    Some(Value::Map(members))
}

fn data(data: &RData) -> Option<Value> {
    let text = |other: &Name| Value::text(name(other));
    Some(match data {
        RData::A(A(address)) => Value::text(address.to_string()),
        RData::AAAA(AAAA(address)) => Value::text(address.to_string()),
        RData::CNAME(CNAME(other)) | RData::NS(NS(other)) | RData::PTR(PTR(other)) => text(other),
        RData::TXT(txt) => Value::List(txt.txt_data.iter().map(|string| Value::data(string)).collect()),
        RData::MX(mx) => Value::map([("preference", Value::number(mx.preference)), ("exchange", text(&mx.exchange))]),
        RData::SRV(srv) => Value::map([
            ("priority", Value::number(srv.priority)),
            ("weight", Value::number(srv.weight)),
            ("port", Value::number(srv.port)),
            ("target", text(&srv.target)),
        ]),
        RData::SOA(soa) => Value::map([
            ("mname", text(&soa.mname)),
            ("rname", text(&soa.rname)),
            ("serial", Value::number(soa.serial)),
            ("refresh", Value::number(soa.refresh)),
            ("retry", Value::number(soa.retry)),
            ("expire", Value::number(soa.expire)),
            ("minimum", Value::number(soa.minimum)),
        ]),
        other => {
            let mut bytes = Vec::new();
            let mut encoder = BinEncoder::new(&mut bytes);
            encoder.set_name_encoding(NameEncoding::Uncompressed);
            other.emit(&mut encoder).ok()?;
            Value::Bytes(bytes.into())
        }
    })
}

/// The record of such a value.
pub(super) fn read(value: &Value) -> Option<Record> {
    let owner = read_name(value.get("name")?.as_text()?)?;
    let kind = read_kind(value.get("type")?.as_text()?)?;
    let data = read_data(kind, value.get("data")?)?;
    let mut record = Record::from_rdata(owner, value.get("ttl")?.as_number()?, data);
    if let Some(class) = value.get("class") {
        record.dns_class = read_class(class)?;
    }
    Some(record)
}

fn read_data(kind: RecordType, data: &Value) -> Option<RData> {
    let text = || data.as_text();
    let other = || read_name(text()?);
    let member = |member: &str| read_name(data.get(member)?.as_text()?);
    Some(match kind {
        RecordType::A => RData::A(A(text()?.parse().ok()?)),
        RecordType::AAAA => RData::AAAA(AAAA(text()?.parse().ok()?)),
        RecordType::CNAME => RData::CNAME(CNAME(other()?)),
        RecordType::NS => RData::NS(NS(other()?)),
        RecordType::PTR => RData::PTR(PTR(other()?)),
        RecordType::TXT => {
            let strings = data.as_list()?.iter().map(Value::as_data).collect::<Option<Vec<_>>>()?;
            if strings.iter().any(|string| string.len() > 255) {
                return None;
            }
            RData::TXT(TXT::from_bytes(strings))
        }
        RecordType::MX => RData::MX(MX::new(data.get("preference")?.as_number()?, member("exchange")?)),
        RecordType::SRV => RData::SRV(SRV::new(
            data.get("priority")?.as_number()?,
            data.get("weight")?.as_number()?,
            data.get("port")?.as_number()?,
            member("target")?,
        )),
        RecordType::SOA => RData::SOA(SOA::new(
            member("mname")?,
            member("rname")?,
            data.get("serial")?.as_number()?,
            data.get("refresh")?.as_number()?,
            data.get("retry")?.as_number()?,
            data.get("expire")?.as_number()?,
            data.get("minimum")?.as_number()?,
        )),
        code => RData::Unknown { code, rdata: NULL::with(data.as_data()?.to_vec()) },
    })
}
