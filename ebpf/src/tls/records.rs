//! TLS records as they pass on a socket: their headers are in the clear (RFC 8446 section 5.1, RFC 5246 section 6.2).

/// The type of records that carry application data; in TLS 1.3 also everything else that is encrypted.
pub(crate) const APPLICATION_DATA: u8 = 23;
/// The type of handshake records.
pub(crate) const HANDSHAKE: u8 = 22;

const HEADER: usize = 5;
/// 2^14 bytes and the most that protection may add (RFC 5246 section 6.2.3).
const LONGEST: u16 = (1 << 14) + 2048;
/// A hello is understood if it is in the first bytes of its record.
const HELLO: usize = 512;

/// Whether these bytes may be the start of a record; `None` if they are too few to tell.
pub(crate) fn begins_record(bytes: &[u8]) -> Option<bool> {
    let sound = |at: usize, allowed: std::ops::RangeInclusive<u8>| bytes.get(at).map(|byte| allowed.contains(byte));
    for at in [sound(0, 20..=23), sound(1, 3..=3), sound(2, 0..=4)] {
        match at {
            Some(true) => {}
            other => return other,
        }
    }
    let (Some(&high), Some(&low)) = (bytes.get(3), bytes.get(4)) else { return None };
    Some((1..=LONGEST).contains(&u16::from_be_bytes([high, low])))
}

/// A record that has passed whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WholeRecord {
    pub(crate) kind: u8,
    /// Bytes behind the header.
    pub(crate) length: u16,
    /// The first bytes of handshake records.
    pub(crate) start: Vec<u8>,
}

/// The bytes are no TLS records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotTls;

/// Cuts one direction of a connection into records.
#[derive(Debug, Default)]
pub(crate) struct RecordReader {
    header: Vec<u8>,
    /// The record under way, and how much of it is still to come.
    body: Option<(WholeRecord, usize)>,
    /// Where records begin is not known: from the start of a connection that was joined, or behind a gap.
    lost: bool,
}

impl RecordReader {
    /// A reader that has to find the next record by itself.
    pub(crate) fn joining() -> RecordReader {
        RecordReader { lost: true, ..RecordReader::default() }
    }

    /// Takes the bytes of one event and gives the records that end in it.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) -> Result<Vec<WholeRecord>, NotTls> {
        let mut whole = Vec::new();
        if self.lost {
            // Libraries write whole records, and read a header by itself or at the start of a read.
            if begins_record(bytes) != Some(true) {
                return Ok(whole);
            }
            self.lost = false;
        }
        while !bytes.is_empty() {
            match &mut self.body {
                Some((record, left)) => {
                    let taken = bytes.len().min(*left);
                    if record.kind == HANDSHAKE {
                        let wanted = HELLO.saturating_sub(record.start.len());
                        record.start.extend_from_slice(&bytes[..taken.min(wanted)]);
                    }
                    *left -= taken;
                    bytes = &bytes[taken..];
                    self.end_record(&mut whole);
                }
                None => {
                    let taken = bytes.len().min(HEADER - self.header.len());
                    self.header.extend_from_slice(&bytes[..taken]);
                    bytes = &bytes[taken..];
                    match begins_record(&self.header) {
                        None => {}
                        Some(false) => return Err(NotTls),
                        Some(true) => {
                            let length = u16::from_be_bytes([self.header[3], self.header[4]]);
                            let record = WholeRecord { kind: self.header[0], length, start: Vec::new() };
                            self.header.clear();
                            self.body = Some((record, usize::from(length)));
                        }
                    }
                }
            }
        }
        Ok(whole)
    }

    /// Bytes passed that nobody saw. Returns the record that ended in them, and whether others may have.
    pub(crate) fn skip(&mut self, missing: u64) -> (Option<WholeRecord>, bool) {
        let mut whole = Vec::new();
        if let Some((_, left)) = &mut self.body
            && missing <= *left as u64
        {
            *left -= usize::try_from(missing).unwrap_or(*left);
            self.end_record(&mut whole);
            return (whole.pop(), false);
        }
        *self = RecordReader::joining();
        (None, true)
    }

    fn end_record(&mut self, whole: &mut Vec<WholeRecord>) {
        if let Some((record, _)) = self.body.take_if(|(_, left)| *left == 0) {
            whole.push(record);
        }
    }
}

/// How much longer a protected record is than what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Overhead {
    /// The same for every record.
    Exact(u16),
    /// Padded to a block of 16 bytes, behind an explicit vector of the same length, with an authentication code.
    Blocks {
        /// Length of the authentication code.
        code: u16,
    },
}

impl Overhead {
    /// The least and the most plaintext in a record of this length; `None` for none.
    pub(crate) fn plaintext(self, length: u16) -> Option<(u64, u64)> {
        match self {
            Overhead::Exact(overhead) => {
                let inside = u64::from(length.checked_sub(overhead)?);
                Some((inside, inside))
            }
            Overhead::Blocks { code } => {
                let most = length.checked_sub(16 + code + 1)?;
                Some((u64::from(most.saturating_sub(15)), u64::from(most)))
            }
        }
    }
}

/// What the two sides agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Agreed {
    /// TLS 1.3: encrypted handshake messages and alerts look like application data.
    pub(crate) hides_types: bool,
    pub(crate) overhead: Overhead,
    /// The length of a Finished message: its header and one hash (RFC 8446 section 4.4.4).
    pub(crate) finished: u64,
}

/// What a ServerHello (RFC 8446 section 4.1.3) says; `None` where it is none, or for protection that is not known.
pub(crate) fn agreed(hello: &[u8]) -> Option<Agreed> {
    const SUPPORTED_VERSIONS: u16 = 43;
    let mut fields = Fields(hello);
    let [kind, _, _, _] = fields.take()?;
    let version = fields.u16()?;
    if kind != 2 || version != 0x0303 {
        return None;
    }
    let _random: [u8; 32] = fields.take()?;
    let [session] = fields.take()?;
    fields.skip(usize::from(session))?;
    let suite = fields.u16()?;
    let [_compression] = fields.take()?;
    let mut selected = version;
    if let Some(length) = fields.u16() {
        let length = usize::from(length).min(fields.0.len());
        let mut extensions = Fields(&fields.0[..length]);
        while let (Some(kind), Some(length)) = (extensions.u16(), extensions.u16()) {
            let Some(content) = extensions.skip(usize::from(length)) else { break };
            if kind == SUPPORTED_VERSIONS {
                selected = Fields(content).u16()?;
            }
        }
    }
    match selected {
        0x0304 => {
            let (tag, hash) = match suite {
                0x1301 | 0x1303 | 0x1304 => (16, 32),
                0x1302 => (16, 48),
                0x1305 => (8, 32),
                _ => return None,
            };
            // The type is inside, behind the content.
            Some(Agreed { hides_types: true, overhead: Overhead::Exact(tag + 1), finished: 4 + hash })
        }
        0x0303 => Some(Agreed { hides_types: false, overhead: overhead_of_1_2(suite)?, finished: 0 }),
        _ => None,
    }
}

/// By the suite's number (IANA, TLS Cipher Suites). An explicit nonce has 8 bytes (RFC 5288 section 3, RFC 6655 section 3).
fn overhead_of_1_2(suite: u16) -> Option<Overhead> {
    Some(match suite {
        0x009c..=0x00a7 | 0xc02b..=0xc032 | 0xc09c..=0xc09f | 0xc0a4..=0xc0a7 | 0xc0ac | 0xc0ad => Overhead::Exact(24),
        0xc0a0..=0xc0a3 | 0xc0a8..=0xc0ab | 0xc0ae | 0xc0af | 0xcca8..=0xccae => Overhead::Exact(16),
        0x002f | 0x0033 | 0x0035 | 0x0039 | 0xc009 | 0xc00a | 0xc013 | 0xc014 => Overhead::Blocks { code: 20 },
        0x003c | 0x003d | 0x0067 | 0x006b | 0xc023 | 0xc027 => Overhead::Blocks { code: 32 },
        0xc024 | 0xc028 => Overhead::Blocks { code: 48 },
        _ => return None,
    })
}

/// Fields in network order, read front to back.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_be_bytes)
    }

    fn skip(&mut self, length: usize) -> Option<&'a [u8]> {
        let (skipped, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(kind: u8, length: u16) -> Vec<u8> {
        let mut record = vec![kind, 3, 3];
        record.extend(length.to_be_bytes());
        record.extend(vec![kind; usize::from(length)]);
        record
    }

    fn hello(suite: u16, extensions: &[u8]) -> Vec<u8> {
        let mut hello = vec![2, 0, 0, 0, 3, 3];
        hello.extend([5; 32]);
        hello.extend([2, 1, 1]);
        hello.extend(suite.to_be_bytes());
        hello.push(0);
        if !extensions.is_empty() {
            hello.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
            hello.extend(extensions);
        }
        hello
    }

    #[test]
    fn a_hello_says_how_records_are_protected() {
        let tls_1_3 = agreed(&hello(0x1302, &[0, 51, 0, 1, 9, 0, 43, 0, 2, 3, 4])).unwrap();
        assert_eq!(tls_1_3, Agreed { hides_types: true, overhead: Overhead::Exact(17), finished: 52 });
        let gcm = agreed(&hello(0xc02f, &[])).unwrap();
        assert_eq!(gcm, Agreed { hides_types: false, overhead: Overhead::Exact(24), finished: 0 });
        assert_eq!(agreed(&hello(0xcca8, &[0, 23, 0, 0])).unwrap().overhead, Overhead::Exact(16));
        assert_eq!(agreed(&hello(0xc013, &[])).unwrap().overhead, Overhead::Blocks { code: 20 });
        assert_eq!(agreed(&hello(0x0005, &[])), None, "RC4");
    }

    #[test]
    fn padded_records_hold_a_range() {
        // 16 bytes of vector, then content, code and 1 to 16 bytes of padding in whole blocks.
        let overhead = Overhead::Blocks { code: 20 };
        for content in 0..200u64 {
            let length = 16 + (content + 20 + 1).div_ceil(16) * 16;
            let (least, most) = overhead.plaintext(u16::try_from(length).unwrap()).unwrap();
            assert!((least..=most).contains(&content), "{content}");
            assert!(most - least < 16);
        }
        assert_eq!(Overhead::Exact(17).plaintext(16), None);
    }

    #[test]
    fn a_gap_within_a_record_is_counted_and_another_is_survived() {
        let mut reader = RecordReader::default();
        assert_eq!(reader.feed(&record(23, 100)[..50]).unwrap(), []);
        let (whole, lost) = reader.skip(55);
        assert_eq!(whole.map(|record| record.length), Some(100));
        assert!(!lost);
        assert!(reader.skip(1).1, "a header was in it");
        assert_eq!(reader.feed(b"the middle of something").unwrap(), []);
        assert_eq!(reader.feed(&record(23, 9)).unwrap().len(), 1);
    }

    proptest! {
        #[test]
        fn records_are_the_same_however_they_are_cut(
            lengths in prop::collection::vec((20u8..=23, 1u16..2000), 1..10),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
        ) {
            let stream: Vec<u8> = lengths.iter().flat_map(|(kind, length)| record(*kind, *length)).collect();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len())).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort();
            let mut reader = RecordReader::default();
            let whole: Vec<WholeRecord> =
                cuts.windows(2).flat_map(|cut| reader.feed(&stream[cut[0]..cut[1]]).unwrap()).collect();
            let found: Vec<(u8, u16)> = whole.iter().map(|record| (record.kind, record.length)).collect();
            prop_assert_eq!(found, lengths);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = RecordReader::default().feed(&bytes);
            let _ = RecordReader::joining().feed(&bytes);
            let _ = agreed(&bytes);
        }
    }
}
