//! The Huffman code of HPACK (RFC 7541 section 5.2 and appendix B).
//!
//! The code is canonical: codes of one length are consecutive, in the order of their symbols, and the first of a length
//! follows the last of the one before. So the lengths say everything.

use std::sync::LazyLock;

/// The length of the code of each byte, in bits. The end-of-string symbol, which no string holds, has the last code.
const LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28,
    28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12,
    10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6,
    5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22,
    22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20,
    22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28,
    27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28,
    27, 27, 27, 27, 27, 26,
];

const SHORTEST: usize = 5;
const LONGEST: usize = 30;

/// The code, by lengths.
struct Code {
    /// For each length: the first code beyond those of it, aligned to the left of 32 bits; the first of its codes; and
    /// where its symbols begin.
    lengths: [(u64, u32, usize); LONGEST + 1],
    /// The symbols in the order of their codes.
    symbols: Vec<u8>,
}

static CODE: LazyLock<Code> = LazyLock::new(|| {
    let mut lengths = [(0, 0, 0); LONGEST + 1];
    let mut symbols = Vec::with_capacity(LENGTHS.len());
    let mut code = 0_u32;
    for (length, row) in lengths.iter_mut().enumerate().skip(1) {
        code <<= 1;
        let (first, start) = (code, symbols.len());
        symbols.extend((0..=u8::MAX).filter(|symbol| usize::from(LENGTHS[usize::from(*symbol)]) == length));
        code += (symbols.len() - start) as u32;
        *row = (u64::from(code) << (32 - length), first, start);
    }
    Code { lengths, symbols }
});

/// The bytes that `coded` stands for; `None` where it holds the end-of-string symbol, or is not padded with up to seven
/// ones.
pub(super) fn decode(coded: &[u8]) -> Option<Vec<u8>> {
    let code = &*CODE;
    let mut decoded = Vec::with_capacity(coded.len() * 8 / SHORTEST);
    let mut input = coded.iter();
    let (mut window, mut held) = (0_u64, 0_usize);
    loop {
        while held <= 32 {
            let Some(byte) = input.next() else { break };
            window |= u64::from(*byte) << (56 - held);
            held += 8;
        }
        let next = window >> 32;
        let found = (SHORTEST..=LONGEST).find(|length| next < code.lengths[*length].0).filter(|length| *length <= held);
        let Some(length) = found else { break };
        let (_, first, start) = code.lengths[length];
        decoded.push(code.symbols[start + ((next >> (32 - length)) as u32 - first) as usize]);
        window <<= length;
        held -= length;
    }
    let padding = !(u64::MAX >> held.min(63));
    (held < 8 && input.as_slice().is_empty() && window == padding).then_some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_of_the_standard() {
        let cases: [(&[u8], &str); 3] = [
            (b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff", "www.example.com"),
            (b"\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f", "custom-key"),
            (
                b"\x94\xe7\x82\x1d\xd7\xf2\xe6\xc7\xb3\x35\xdf\xdf\xcd\x5b\x39\x60\xd5\xaf\x27\x08\x7f\x36\x72\xc1\xab\x27\x0f\xb5\x29\x1f\x95\x87\x31\x60\x65\xc0\x03\xed\x4e\xe5\xb1\x06\x3d\x50\x07",
                "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
            ),
        ];
        for (coded, plain) in cases {
            assert_eq!(decode(coded).as_deref(), Some(plain.as_bytes()), "{plain}");
        }
        assert_eq!(decode(b"").as_deref(), Some(&b""[..]));
    }

    #[test]
    fn bad_padding_and_the_end_of_string_are_refused() {
        for bad in [
            &b"\xff"[..],
            b"\x1f\xff",
            b"\x18",
            b"\xff\xff\xff\xff",
            b"\xff\xff\xff\xfc",
            b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xfe",
        ] {
            assert_eq!(decode(bad), None, "{bad:x?}");
        }
    }
}
