//! HPACK (RFC 7541): decoding the header blocks of one direction of a connection, also of one that was not followed from
//! its beginning.
//!
//! The crates that decode HPACK are made for an end of a connection: they stop at the first reference that they do not
//! know. Whoever looks on has to go on behind lost bytes. References count from the newest entry backwards, so that an
//! entry which was seen is found again whatever came before it, and what was not seen is known to be not known.

mod fixed;
mod huffman;

use std::collections::VecDeque;

use bytes::Bytes;

use self::fixed::FIXED;

/// What an entry counts beside its texts (RFC 7541 section 4.1).
const ENTRY_COST: usize = 32;
/// The size of the table until the encoder says otherwise (RFC 9113 section 6.5.2).
const DEFAULT_SIZE: usize = 4096;
/// More is not kept of a table, whatever size it is allowed to have; what is further back is not known.
const LARGEST_TABLE: usize = 1 << 20;
/// A longer integer is none (RFC 7541 section 5.1): five bytes hold more than any length.
const MOST_INTEGER_BYTES: u32 = 5;

/// A field of a header block. `None` is what refers to something that was not seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub name: Option<Bytes>,
    pub value: Option<Bytes>,
}

/// What a header block says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Block {
    pub fields: Vec<Field>,
    /// There were more than the limit.
    pub is_cut: bool,
}

/// The block is no HPACK.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Decodes the blocks of one direction, in order.
#[derive(Debug)]
pub(super) struct Decoder {
    /// The newest entry first.
    table: VecDeque<Field>,
    size: usize,
    most: usize,
    /// There may be entries behind the last one that is known.
    has_unseen: bool,
}

impl Decoder {
    /// A decoder for the first block of a connection.
    pub fn new() -> Decoder {
        Decoder { table: VecDeque::new(), size: 0, most: DEFAULT_SIZE, has_unseen: false }
    }

    /// Blocks were not seen: nothing is known of the table any more.
    pub fn forget(&mut self) {
        self.table.clear();
        self.size = 0;
        self.has_unseen = true;
    }

    /// Decodes a whole block. Of its fields as many are given as are within `limit` bytes, each counted as in the table.
    ///
    /// # Errors
    /// When it is no HPACK. The table is not known then.
    pub fn decode(&mut self, block: &[u8], limit: usize) -> Result<Block, Malformed> {
        let mut decoded = Block::default();
        let (mut rest, mut room) = (block, limit);
        while !rest.is_empty() {
            let Some(field) = self.step(&mut rest) else {
                self.forget();
                return Err(Malformed);
            };
            let Some(field) = field else { continue };
            match room.checked_sub(cost(&field)).filter(|_| !decoded.is_cut) {
                Some(left) => {
                    room = left;
                    decoded.fields.push(field);
                }
                None => decoded.is_cut = true,
            }
        }
        Ok(decoded)
    }

    /// One representation (RFC 7541 section 6): a field, or a change of the table's size.
    fn step(&mut self, rest: &mut &[u8]) -> Option<Option<Field>> {
        let first = *rest.first()?;
        if first & 0x80 != 0 {
            let index = integer(rest, 7)?;
            return Some(Some(self.entry(index)?));
        }
        if first & 0xe0 == 0x20 {
            let size = integer(rest, 5)?;
            self.resize(size);
            return Some(None);
        }
        let is_indexed = first & 0x40 != 0;
        let name = match integer(rest, if is_indexed { 6 } else { 4 })? {
            0 => Some(text(rest)?),
            index => self.entry(index)?.name,
        };
        let field = Field { name, value: Some(text(rest)?) };
        if is_indexed {
            self.insert(field.clone());
        }
        Some(Some(field))
    }

    /// The entry with that index (RFC 7541 section 2.3.3).
    fn entry(&self, index: usize) -> Option<Field> {
        let index = index.checked_sub(1)?;
        if let Some((name, value)) = FIXED.get(index) {
            let [name, value] = [name, value].map(|text| Some(Bytes::from_static(text.as_bytes())));
            return Some(Field { name, value });
        }
        match self.table.get(index - FIXED.len()) {
            Some(field) => Some(field.clone()),
            None => self.has_unseen.then_some(Field { name: None, value: None }),
        }
    }

    fn insert(&mut self, field: Field) {
        self.size += cost(&field);
        self.table.push_front(field);
        self.evict();
    }

    fn resize(&mut self, size: usize) {
        // An empty table is known again.
        self.has_unseen = size > LARGEST_TABLE || (self.has_unseen && size > 0);
        self.most = size.min(LARGEST_TABLE);
        self.evict();
    }

    fn evict(&mut self) {
        while self.size > self.most {
            let Some(oldest) = self.table.pop_back() else { return };
            self.size -= cost(&oldest);
        }
    }
}

fn cost(field: &Field) -> usize {
    let length = |text: &Option<Bytes>| text.as_ref().map_or(0, Bytes::len);
    length(&field.name) + length(&field.value) + ENTRY_COST
}

/// An integer whose first byte leaves it `bits` bits (RFC 7541 section 5.1).
fn integer(rest: &mut &[u8], bits: u32) -> Option<usize> {
    let (first, mut after) = rest.split_first()?;
    let mask = (1_u8 << bits) - 1;
    let mut value = u64::from(first & mask);
    if value == u64::from(mask) {
        for place in 0.. {
            let (byte, left) = after.split_first()?;
            after = left;
            value += u64::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                break;
            }
            if place + 1 == MOST_INTEGER_BYTES {
                return None;
            }
        }
    }
    *rest = after;
    usize::try_from(value).ok()
}

/// A string literal (RFC 7541 section 5.2).
fn text(rest: &mut &[u8]) -> Option<Bytes> {
    let is_huffman = rest.first()? & 0x80 != 0;
    let length = integer(rest, 7)?;
    let (text, after) = rest.split_at_checked(length)?;
    *rest = after;
    if is_huffman { huffman::decode(text).map(Bytes::from) } else { Some(Bytes::copy_from_slice(text)) }
}

#[cfg(test)]
mod tests {
    use loona_hpack::Encoder;
    use proptest::prelude::*;

    use super::*;

    const LIMIT: usize = 1 << 16;

    fn shown(block: &Block) -> Vec<String> {
        let text =
            |text: &Option<Bytes>| text.as_ref().map_or("?".into(), |text| String::from_utf8_lossy(text).into_owned());
        block.fields.iter().map(|field| format!("{}: {}", text(&field.name), text(&field.value))).collect()
    }

    /// RFC 7541 appendix C.4: three requests on one connection, in Huffman code.
    const REQUESTS: [(&[u8], &[&str]); 3] = [
        (
            b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff",
            &[":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com"],
        ),
        (
            b"\x82\x86\x84\xbe\x58\x86\xa8\xeb\x10\x64\x9c\xbf",
            &[":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com", "cache-control: no-cache"],
        ),
        (
            b"\x82\x87\x85\xbf\x40\x88\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f\x89\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf",
            &[
                ":method: GET",
                ":scheme: https",
                ":path: /index.html",
                ":authority: www.example.com",
                "custom-key: custom-value",
            ],
        ),
    ];

    #[test]
    fn requests_of_the_standard() {
        let mut decoder = Decoder::new();
        for (block, fields) in REQUESTS {
            assert_eq!(shown(&decoder.decode(block, LIMIT).unwrap()), fields);
        }
    }

    #[test]
    fn what_was_not_seen_is_not_known_and_what_comes_later_is() {
        let mut decoder = Decoder::new();
        decoder.decode(REQUESTS[0].0, LIMIT).unwrap();
        decoder.forget();
        assert_eq!(shown(&decoder.decode(REQUESTS[1].0, LIMIT).unwrap())[3..], ["?: ?", "cache-control: no-cache"]);
        let third = shown(&decoder.decode(REQUESTS[2].0, LIMIT).unwrap());
        assert_eq!(third[3..], ["?: ?", "custom-key: custom-value"]);
        // By now the newest two are known: 62 and 63.
        assert_eq!(
            shown(&decoder.decode(b"\xbe\xbf\xc0", LIMIT).unwrap())[..2],
            ["custom-key: custom-value", "cache-control: no-cache"]
        );
        // The table is emptied, so that there is nothing unseen in it.
        assert_eq!(decoder.decode(b"\x20\xbe", LIMIT), Err(Malformed));
    }

    #[test]
    fn responses_that_evict() {
        // RFC 7541 appendix C.6, with a table of 256 bytes.
        let mut decoder = Decoder::new();
        decoder.decode(b"\x3f\xe1\x01", LIMIT).unwrap();
        let first = b"\x48\x82\x64\x02\x58\x85\xae\xc3\x77\x1a\x4b\x61\x96\xd0\x7a\xbe\x94\x10\x54\xd4\x44\xa8\x20\x05\x95\x04\x0b\x81\x66\xe0\x82\xa6\x2d\x1b\xff\x6e\x91\x9d\x29\xad\x17\x18\x63\xc7\x8f\x0b\x97\xc8\xe9\xae\x82\xae\x43\xd3";
        assert_eq!(shown(&decoder.decode(first, LIMIT).unwrap())[0], ":status: 302");
        assert_eq!(
            shown(&decoder.decode(b"\x48\x83\x64\x0e\xff\xc1\xc0\xbf", LIMIT).unwrap()),
            [
                ":status: 307",
                "cache-control: private",
                "date: Mon, 21 Oct 2013 20:13:21 GMT",
                "location: https://www.example.com"
            ]
        );
        assert_eq!(decoder.table.len(), 4);
        assert_eq!(decoder.size, 222);
    }

    #[test]
    fn malformed_blocks() {
        for bad in [
            &b"\x80"[..],
            b"\xbe",
            b"\x40",
            b"\x40\x01",
            b"\x40\x7f\xff\xff\xff\xff\xff\x01",
            b"\x40\x81\x00\x00",
            b"\x0f",
        ] {
            assert_eq!(Decoder::new().decode(bad, LIMIT), Err(Malformed), "{bad:x?}");
        }
    }

    #[test]
    fn a_small_block_that_says_much_is_cut() {
        let mut decoder = Decoder::new();
        let mut block = b"\x40\x01a\x7f\x81\x1f".to_vec();
        block.extend_from_slice(&[b'x'; 4096 - 32]);
        block.truncate(6 + 4000);
        block[3..6].copy_from_slice(b"\x7f\xa1\x1e");
        assert_eq!(decoder.decode(&block, LIMIT).unwrap().fields.len(), 1);
        let bomb = decoder.decode(&[0xbe; 1 << 16], LIMIT).unwrap();
        assert!(bomb.is_cut && bomb.fields.len() == LIMIT / 4033, "{}", bomb.fields.len());
    }

    proptest! {
        #[test]
        fn what_another_encodes_is_decoded(
            blocks in prop::collection::vec(prop::collection::vec(("[a-e]{1,3}", "[ -~]{0,40}"), 0..8), 0..20),
        ) {
            let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
            for fields in blocks {
                let block = encoder.encode(fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
                let expected: Vec<String> = fields.iter().map(|(name, value)| format!("{name}: {value}")).collect();
                prop_assert_eq!(shown(&decoder.decode(&block, LIMIT).unwrap()), expected);
            }
        }

        #[test]
        fn after_a_loss_nothing_wrong_is_said(
            blocks in prop::collection::vec(prop::collection::vec(("[a-c]", "[a-c]{0,2}"), 0..8), 2..20),
            lost in 0_usize..20,
        ) {
            let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
            for (index, fields) in blocks.iter().enumerate() {
                let block = encoder.encode(fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
                if index == lost % blocks.len() {
                    decoder.forget();
                    continue;
                }
                let decoded = decoder.decode(&block, LIMIT).unwrap();
                prop_assert_eq!(decoded.fields.len(), fields.len());
                for (field, (name, value)) in decoded.fields.iter().zip(fields) {
                    prop_assert!(field.name.as_ref().is_none_or(|found| found == name.as_bytes()));
                    prop_assert!(field.value.as_ref().is_none_or(|found| found == value.as_bytes()));
                }
            }
        }

        #[test]
        fn any_bytes_are_taken(blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..8)) {
            let mut decoder = Decoder::new();
            for block in blocks {
                drop(decoder.decode(&block, LIMIT));
                prop_assert!(decoder.size <= decoder.most);
            }
        }
    }
}
