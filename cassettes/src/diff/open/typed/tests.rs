use std::sync::LazyLock;

use proptest::prelude::*;
use prost_reflect::DescriptorPool;

use super::*;

fn schema() -> MessageDescriptor {
    static SETS: LazyLock<DescriptorPool> =
        LazyLock::new(|| DescriptorPool::decode(&include_bytes!("kinds.binpb")[..]).unwrap());
    SETS.get_message_by_name("kinds.All").unwrap()
}

fn tree(bytes: &[u8]) -> Tree<'static> {
    protobuf::message(bytes, Some(&schema()))
}

fn shown(bytes: impl AsRef<[u8]>) -> String {
    tree(bytes.as_ref()).shown()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn number(field: u64, value: i64) -> Vec<u8> {
    [varint(field << 3), varint(value.cast_unsigned())].concat()
}

fn fixed64(field: u64, bytes: [u8; 8]) -> Vec<u8> {
    [varint(field << 3 | 1), bytes.to_vec()].concat()
}

fn text(field: u64, content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    [varint(field << 3 | 2), varint(content.len() as u64), content.to_vec()].concat()
}

fn fixed32(field: u64, bytes: [u8; 4]) -> Vec<u8> {
    [varint(field << 3 | 5), bytes.to_vec()].concat()
}

#[test]
fn every_kind_is_told_as_what_it_is() {
    for (bytes, told) in [
        (number(1, -5), r#"{"int32":-5}"#),
        (number(2, i64::MIN), r#"{"int64":-9223372036854775808}"#),
        (number(3, 7), r#"{"uint32":7}"#),
        (number(4, -1), r#"{"uint64":18446744073709551615}"#),
        (number(5, 9), r#"{"sint32":-5}"#),
        (number(6, -1), r#"{"sint64":-9223372036854775808}"#),
        (fixed32(7, [5, 0, 0, 0x80]), r#"{"fixed32":2147483653}"#),
        (fixed64(8, [5; 8]), r#"{"fixed64":361700864190383365}"#),
        (fixed32(9, [0xff; 4]), r#"{"sfixed32":-1}"#),
        (fixed64(10, [0xff; 8]), r#"{"sfixed64":-1}"#),
        (fixed32(11, 0.1_f32.to_le_bytes()), r#"{"float":0.1}"#),
        (fixed64(12, (-1e300_f64).to_le_bytes()), r#"{"double":-1e300}"#),
        (fixed64(12, f64::NEG_INFINITY.to_le_bytes()), r#"{"double":"-Infinity"}"#),
        (fixed64(12, f64::NAN.to_le_bytes()), r#"{"double":"NaN"}"#),
        (number(13, 1), r#"{"bool":true}"#),
        (text(14, "Zoë\u{1}"), r#"{"string":"Zoë\u0001"}"#),
        (text(15, [0xff, 0]), r#"{"bytes":{"base64":"/wA="}}"#),
        (number(16, 1), r#"{"colour":"RED"}"#),
        (number(16, -1), r#"{"colour":"INFRARED"}"#),
        (number(16, 9), r#"{"colour":9}"#),
        (text(17, number(1, 3)), r#"{"message":{"int32":3}}"#),
        (text(17, ""), r#"{"message":{}}"#),
        (text(18, [0, 1, 2]), r#"{"packed":[0,-1,1]}"#),
        ([number(19, 1), number(19, 2)].concat(), r#"{"unpacked":[-1,1]}"#),
        (text(20, number(3, 1)), r#"{"items":[{"uint32":1}]}"#),
        (text(30, "a"), r#"{"words":["a"]}"#),
        (text(23, "x"), r#"{"name":"x"}"#),
    ] {
        assert_eq!(shown(&bytes), told);
    }
}

#[test]
fn a_map_is_an_object_and_its_order_says_nothing() {
    let entry = |key: &str, value| text(21, [text(1, key), number(2, value)].concat());
    let [one, other] = [("b", "a"), ("a", "b")].map(|(a, b)| [entry(a, a.len() as i64), entry(b, 1)].concat());
    assert_eq!(shown(&one), r#"{"counts":{"a":1,"b":1}}"#);
    assert_eq!(tree(&one).to_canonical(), tree(&other).to_canonical());
    assert_ne!(one, other);
    let twice = [[entry("a", 1), entry("a", 2)].concat(), [entry("a", 2), entry("a", 1)].concat()];
    assert_ne!(tree(&twice[0]).to_canonical(), tree(&twice[1]).to_canonical());
    assert_eq!(shown(text(22, [number(1, 7), text(2, number(1, 5))].concat())), r#"{"tree":{"7":{"int32":5}}}"#);
    // What is left out is no default that was written.
    let absent = text(21, text(1, "a"));
    assert_eq!(shown(&absent), r#"{"counts":{"a":null}}"#);
    assert_ne!(tree(&absent).to_canonical(), tree(&entry("a", 0)).to_canonical());
    assert_eq!(shown(text(21, number(2, 5))), r#"{"counts":[{"value":5}]}"#);
}

#[test]
fn what_is_well_known_is_told_as_json_has_it() {
    let wrapped = |field, inside: Vec<u8>| text(field, inside);
    for (bytes, told) in [
        (
            wrapped(25, [number(1, 1_700_000_000), number(2, 500_000_000)].concat()),
            r#"{"at":"2023-11-14T22:13:20.5Z"}"#,
        ),
        (wrapped(25, Vec::new()), r#"{"at":"1970-01-01T00:00:00Z"}"#),
        (wrapped(25, [number(1, 0)].concat()), r#"{"at":{"seconds":0}}"#),
        (wrapped(25, number(2, -1)), r#"{"at":{"nanos":-1}}"#),
        (wrapped(26, [number(1, -3), number(2, -250_000_000)].concat()), r#"{"took":"-3.25s"}"#),
        (wrapped(26, [number(1, 3), number(2, -1)].concat()), r#"{"took":{"nanos":-1,"seconds":3}}"#),
        (wrapped(29, number(1, 5)), r#"{"wrapped":5}"#),
        (wrapped(29, Vec::new()), r#"{"wrapped":0}"#),
        (wrapped(29, number(1, 0)), r#"{"wrapped":{"value":0}}"#),
        (wrapped(31, text(1, "x")), r#"{"blob":"x"}"#),
        (
            wrapped(27, text(1, [text(1, "a"), text(2, text(6, text(1, number(4, 1))))].concat())),
            r#"{"json":{"a":[true]}}"#,
        ),
        (wrapped(27, text(1, [text(1, "a"), text(2, number(1, 0))].concat())), r#"{"json":{"a":null}}"#),
        (wrapped(32, text(1, fixed64(2, 1.5_f64.to_le_bytes()))), r#"{"list":[1.5]}"#),
        (
            wrapped(28, [text(1, "type.googleapis.com/kinds.All"), text(2, number(1, 5))].concat()),
            r#"{"any":{"type_url":"type.googleapis.com/kinds.All","value":{"int32":5}}}"#,
        ),
        (
            wrapped(28, [text(1, "type.googleapis.com/other.One"), text(2, number(1, 5))].concat()),
            r#"{"any":{"type_url":"type.googleapis.com/other.One","value":"\b\u0005"}}"#,
        ),
    ] {
        assert_eq!(shown(&bytes), told);
    }
}

#[test]
fn what_the_schema_does_not_say_is_there_by_its_number() {
    for (bytes, told) in [
        (number(99, 5), r#"{"99":5}"#),
        (text(1, "five"), r#"{"1":"five"}"#),
        (number(1, i64::MAX), r#"{"1":9223372036854775807}"#),
        (number(13, 2), r#"{"13":2}"#),
        (text(14, [0xff]), r#"{"14":{"base64":"/w=="}}"#),
        // Packed as it should not be, not packed as it should be, and in two pieces.
        (text(19, [1, 2]), r#"{"19":"\u0001\u0002"}"#),
        (number(18, 2), r#"{"18":2}"#),
        ([text(18, [2]), text(18, [4])].concat(), r#"{"18":["\u0002","\u0004"]}"#),
        ([number(19, 2), text(19, [2])].concat(), r#"{"19":[2,"\u0002"]}"#),
        (text(17, [0xff]), r#"{"message":{"base64":"/w=="}}"#),
    ] {
        assert_eq!(shown(&bytes), told);
    }
}

#[test]
fn an_order_that_is_not_that_of_the_numbers_is_told() {
    let bytes = [text(23, "x"), number(1, 5)].concat();
    assert_eq!(shown(&bytes), r#"{"(order)":["name","int32"],"int32":5,"name":"x"}"#);
}

#[test]
fn depth_is_bounded() {
    let deep = (0..100).fold(Vec::new(), |inside, _| text(17, inside));
    let told = shown(&deep);
    assert_eq!(told.matches("message").count(), protobuf::DEEPEST + 1);
}

/// Bytes that are often messages of the schema.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let scalar = || prop_oneof![Just(0_i64), Just(1), Just(-1), 0..300_i64];
    let leaf = prop_oneof![
        (1..33_u64, scalar()).prop_map(|(field, value)| number(field, value)),
        (1..33_u64, prop::collection::vec(0..3_u8, 0..4)).prop_map(|(field, content)| text(field, content)),
        (1..33_u64).prop_map(|field| fixed32(field, [0, 0, 0x80, 0x7f])),
        (1..33_u64, any::<bool>()).prop_map(|(field, nan)| fixed64(field, [if nan { 0xff } else { 0 }; 8])),
        prop::collection::vec(any::<u8>(), 0..3),
    ];
    let message = leaf.prop_recursive(4, 24, 3, |inner| {
        (1..33_u64, prop::collection::vec(inner, 0..3)).prop_map(|(field, parts)| text(field, parts.concat()))
    });
    prop::collection::vec(message, 0..4).prop_map(|parts| parts.concat())
}

/// A message with the entries of each of its maps in the order of their bytes.
fn sorted(bytes: &[u8], schema: &MessageDescriptor) -> Vec<u8> {
    let Some(fields) = wire::fields(bytes, &mut 1000) else { return bytes.to_vec() };
    let mut parts: Vec<(u32, Vec<u8>)> = Vec::new();
    for Field { number: field, value } in fields {
        let number_of = u64::from(field);
        let part = match value {
            Coded::Varint(value) => number(number_of, value.cast_signed()),
            Coded::Fixed64(bits) => fixed64(number_of, bits.to_le_bytes()),
            Coded::Fixed32(bits) => fixed32(number_of, bits.to_le_bytes()),
            Coded::Delimited(inside) => match Known::of(schema, field).map(|known| known.kind) {
                Some(Kind::Message(inner)) => text(number_of, sorted(inside, &inner)),
                _ => text(number_of, inside),
            },
        };
        parts.push((field, part));
    }
    for field in schema.fields().filter(|field| field.is_map()) {
        let places: Vec<usize> = (0..parts.len()).filter(|at| parts[*at].0 == field.number()).collect();
        let mut entries: Vec<(u32, Vec<u8>)> = places.iter().map(|at| parts[*at].clone()).collect();
        // Of one key the order counts.
        entries.sort_by_key(|(_, entry)| key_of(entry));
        places.into_iter().zip(entries).for_each(|(at, entry)| parts[at] = entry);
    }
    parts.into_iter().flat_map(|(_, part)| part).collect()
}

/// The key in a map's entry, which is a field of its own.
fn key_of(entry: &[u8]) -> Vec<u8> {
    let first = |bytes| wire::fields(bytes, &mut 9).and_then(|fields| fields.first().copied());
    match first(entry).map(|field| field.value) {
        Some(Coded::Delimited(inside)) => format!("{:?}", first(inside)).into_bytes(),
        _ => Vec::new(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn messages_are_equal_inside_exactly_when_their_bytes_are_but_for_the_order_of_maps(one in bytes(), other in bytes()) {
        let schema = schema();
        let same = tree(&one).to_canonical() == tree(&other).to_canonical();
        if one == other {
            prop_assert!(same);
        }
        if same {
            prop_assert_eq!(sorted(&one, &schema), sorted(&other, &schema));
        }
    }

    #[test]
    fn one_byte_makes_another_message(one in bytes(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut other = one.clone();
        if let Some(changed) = other.get_mut(at.index(one.len().max(1))) {
            *changed = byte;
        }
        if tree(&one).to_canonical() == tree(&other).to_canonical() {
            prop_assert_eq!(sorted(&one, &schema()), sorted(&other, &schema()));
        }
    }
}
