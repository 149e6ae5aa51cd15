//! Packets that come compressed
//! (<https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_compression_packet.html>).

use std::io::Read;

use bytes::{Buf, BytesMut};

use crate::wire::{Cut, Unreadable};

/// The length, a number, and the length before compression.
const HEADER: usize = 7;
/// More unpacked bytes without a whole message are not kept.
const HEAVIEST: usize = 64 << 20;

/// How packets are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    Zlib,
    Zstd,
}

/// One side, unpacked.
#[derive(Debug, Default)]
pub(super) struct Unpacked {
    bytes: BytesMut,
    /// How much of what was said is in there.
    taken: usize,
}

impl Unpacked {
    /// Cuts what is packed in what one side said. What comes packed together is taken off with its last part.
    pub(super) fn cut<T>(
        &mut self,
        compression: Compression,
        said: &[u8],
        cut: impl FnOnce(&[u8]) -> Result<Cut<T>, Unreadable>,
    ) -> Result<Cut<T>, Unreadable> {
        let wanted = self.unpack(compression, said)?;
        if self.bytes.is_empty() {
            return Ok(Cut::Partial(wanted));
        }
        match cut(&self.bytes)? {
            Cut::Partial(_) => Ok(Cut::Partial(wanted)),
            Cut::Whole(count, told) => {
                self.bytes.advance(count.min(self.bytes.len()));
                let count = if self.bytes.is_empty() { std::mem::take(&mut self.taken) } else { 0 };
                Ok(Cut::Whole(count, told))
            }
        }
    }

    /// Unpacks what is whole; gives how many bytes there must be for the next part.
    fn unpack(&mut self, compression: Compression, said: &[u8]) -> Result<usize, Unreadable> {
        loop {
            let rest = said.get(self.taken..).unwrap_or_default();
            let [a, b, c, _, d, e, f, ..] = *rest else { return Ok(self.taken + HEADER) };
            let length = |bytes: [u8; 3]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], 0]) as usize;
            let (packed, unpacked) = (length([a, b, c]), length([d, e, f]));
            let Some(packed) = rest.get(HEADER..HEADER + packed) else { return Ok(self.taken + HEADER + packed) };
            if self.bytes.len() + unpacked.max(packed.len()) > HEAVIEST {
                return Err(Unreadable::TooLarge);
            }
            if unpacked == 0 {
                self.bytes.extend_from_slice(packed);
            } else {
                let before = self.bytes.len();
                self.bytes.resize(before + unpacked, 0);
                let to = &mut self.bytes[before..];
                let read = match compression {
                    Compression::Zlib => flate2::read::ZlibDecoder::new(packed).read_exact(to),
                    Compression::Zstd => {
                        zstd::stream::read::Decoder::new(packed).and_then(|mut decoder| decoder.read_exact(to))
                    }
                };
                read.map_err(|_| Unreadable::Garbage)?;
            }
            self.taken += HEADER + packed.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn packed(bytes: &[u8], unpacked: usize) -> Vec<u8> {
        let length = |length: usize| (length as u32).to_le_bytes();
        [&length(bytes.len())[..3], &[0], &length(unpacked)[..3], bytes].concat()
    }

    fn words(unpacked: &mut Unpacked, compression: Compression, said: &[u8]) -> (Vec<String>, usize) {
        let (mut words, mut at) = (Vec::new(), 0);
        while let Ok(Cut::Whole(count, word)) = unpacked.cut(compression, &said[at..], |bytes| {
            Ok(match bytes.iter().position(|byte| *byte == b' ') {
                Some(end) => Cut::Whole(end + 1, String::from_utf8(bytes[..end].to_vec()).unwrap()),
                None => Cut::Partial(bytes.len() + 1),
            })
        }) {
            words.push(word);
            at += count;
        }
        (words, at)
    }

    #[test]
    fn what_a_little_unpacks_to_is_bounded() {
        let most = (1 << 24) - 1;
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        zlib.write_all(&vec![0; most]).unwrap();
        let part = packed(&zlib.finish().unwrap(), most);
        let cut = |parts: usize| {
            Unpacked::default()
                .cut(Compression::Zlib, &part.repeat(parts), |bytes| Ok(Cut::<()>::Partial(bytes.len() + 1)))
        };
        assert!(matches!(cut(4), Ok(Cut::Partial(_))));
        assert!(matches!(cut(5), Err(Unreadable::TooLarge)));
    }

    #[test]
    fn parts_are_unpacked_and_cut_whatever_their_bounds() {
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        zlib.write_all(b"two three fo").unwrap();
        let zstd = zstd::stream::encode_all(&b"two three fo"[..], 1).unwrap();
        for (compression, body) in [(Compression::Zlib, zlib.finish().unwrap()), (Compression::Zstd, zstd)] {
            let said = [packed(b"one ", 0), packed(&body, 12), packed(b"ur ", 0)].concat();
            let told = words(&mut Unpacked::default(), compression, &said);
            assert_eq!(told, (["one", "two", "three", "four"].map(str::to_owned).to_vec(), said.len()));
            let mut unpacked = Unpacked::default();
            assert_eq!(words(&mut unpacked, compression, &said[..20]), (vec!["one".to_owned()], 11));
            let (rest, taken) = words(&mut unpacked, compression, &said[11..]);
            assert_eq!((rest.len(), taken), (3, said.len() - 11));
        }
    }

    #[test]
    fn what_does_not_unpack_is_none() {
        let mut unpacked = Unpacked::default();
        let none = |_: &[u8]| Ok(Cut::<()>::Partial(1));
        assert_eq!(unpacked.cut(Compression::Zlib, &packed(b"abc", 9), none), Err(Unreadable::Garbage));
        assert_eq!(Unpacked::default().cut(Compression::Zstd, &packed(b"", 0), none), Ok(Cut::Partial(14)));
    }
}
