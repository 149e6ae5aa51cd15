//! Writing sealed files.
//!
//! The format is age's, version 1 (<https://c2sp.org/age>), with ring's ciphers; reading is the age crate's. That crate's writer draws
//! a key for each file, which has to be wrapped, authenticates the head twice and adds a stanza that says nothing: for a small cassette
//! three times what it costs here.

use std::io::{self, IoSlice, Write};

use age_core::{format::Stanza, primitives::hkdf};
use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD};
use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, MAX_TAG_LEN, NONCE_LEN, Nonce, Tag, UnboundKey},
    hmac,
};

/// Bytes of content that are encrypted at a time.
const BLOCK: usize = 64 << 10;

/// Bytes of a line of a stanza's body; a shorter one ends it.
const LINE: usize = 64;

/// The key of a file.
pub(super) type FileKey = [u8; 16];

/// A stanza as it stands in a head.
pub(super) fn put_stanza(tag: &str, args: &[String], body: &[u8], head: &mut String) {
    head.push_str("-> ");
    head.push_str(tag);
    for arg in args {
        head.push(' ');
        head.push_str(arg);
    }
    head.push('\n');
    let mut body = &*BASE64_STANDARD_NO_PAD.encode(body);
    while body.len() >= LINE {
        let (line, rest) = body.split_at(LINE);
        head.push_str(line);
        head.push('\n');
        body = rest;
    }
    head.push_str(body);
    head.push('\n');
}

/// These stanzas as they stand in a head.
pub(super) fn text(stanzas: &[Stanza]) -> String {
    let mut text = String::new();
    for Stanza { tag, args, body } in stanzas {
        put_stanza(tag, args, body, &mut text);
    }
    text
}

/// What encrypts the content of a file.
struct Cipher {
    key: LessSafeKey,
    /// Blocks so far.
    blocks: u64,
}

impl Cipher {
    /// Of the file with this key and this nonce.
    fn new(key: &FileKey, nonce: &[u8; 16]) -> Cipher {
        let key = UnboundKey::new(&CHACHA20_POLY1305, &hkdf(nonce, b"payload", key));
        Cipher { key: LessSafeKey::new(key.expect("it is as long as the cipher's keys are")), blocks: 0 }
    }

    /// Encrypt the next block where it is; what has to follow it is returned.
    fn block(&mut self, is_last: bool, block: &mut [u8]) -> Tag {
        // Eleven bytes of number, big-endian, and one that says whether it is the last.
        let mut nonce = [0; NONCE_LEN];
        nonce[3..11].copy_from_slice(&self.blocks.to_be_bytes());
        nonce[11] = u8::from(is_last);
        self.blocks += 1;
        self.key
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), block)
            .expect("a block is far shorter than the cipher's messages may be")
    }
}

/// The head of the file with this key and these stanzas, as [`put_stanza`] writes them, and the nonce, which comes next.
fn put_head(key: &FileKey, stanzas: &[&str], nonce: &[u8; 16], out: &mut Vec<u8>) {
    let begin = out.len();
    out.extend_from_slice(b"age-encryption.org/v1\n");
    stanzas.iter().for_each(|text| out.extend_from_slice(text.as_bytes()));
    out.extend_from_slice(b"---");
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &hkdf(b"", b"header", key)), &out[begin..]);
    out.push(b' ');
    out.extend_from_slice(BASE64_STANDARD_NO_PAD.encode(mac).as_bytes());
    out.push(b'\n');
    out.extend_from_slice(nonce);
}

/// Bytes of a head with these stanzas.
fn head_size(stanzas: &[&str]) -> usize {
    128 + stanzas.iter().map(|text| text.len()).sum::<usize>()
}

/// Write a whole file with this content, which is encrypted where it is. `nonce` is random bytes that no other file has.
pub(super) fn seal_over(
    key: &FileKey,
    stanzas: &[&str],
    nonce: &[u8; 16],
    content: &mut [u8],
    out: &mut impl Write,
) -> io::Result<()> {
    let mut head = Vec::with_capacity(head_size(stanzas));
    put_head(key, stanzas, nonce, &mut head);
    let mut cipher = Cipher::new(key, nonce);
    let last = content.len().div_ceil(BLOCK).max(1) - 1;
    let mut blocks: Vec<&mut [u8]> = content.chunks_mut(BLOCK).collect();
    if blocks.is_empty() {
        blocks.push(&mut []);
    }
    let tags: Vec<Tag> = (0..).zip(&mut blocks).map(|(number, block)| cipher.block(number == last, block)).collect();
    let mut parts = vec![IoSlice::new(&head)];
    for (block, tag) in blocks.iter().zip(&tags) {
        parts.extend([IoSlice::new(block), IoSlice::new(tag.as_ref())]);
    }
    write_all(out, &mut parts)
}

fn write_all(out: &mut impl Write, mut parts: &mut [IoSlice<'_>]) -> io::Result<()> {
    while !parts.is_empty() {
        match out.write_vectored(parts) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut parts, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Seals what is written to it. Files are whole once [`SealedWriter::finish`] has been called.
pub struct SealedWriter<W> {
    out: W,
    cipher: Cipher,
    /// What comes next of the content, as far as it was written.
    block: Vec<u8>,
}

impl<W: Write> SealedWriter<W> {
    /// With these stanzas in its head; `nonce` as for [`seal_over`].
    pub(super) fn begin(key: &FileKey, stanzas: &[&str], nonce: &[u8; 16], mut out: W) -> io::Result<SealedWriter<W>> {
        let mut head = Vec::with_capacity(head_size(stanzas));
        put_head(key, stanzas, nonce, &mut head);
        out.write_all(&head)?;
        Ok(SealedWriter { out, cipher: Cipher::new(key, nonce), block: Vec::new() })
    }

    /// Write what is left.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(mut self) -> io::Result<W> {
        self.write_block(true)?;
        Ok(self.out)
    }

    fn write_block(&mut self, is_last: bool) -> io::Result<()> {
        let tag = self.cipher.block(is_last, &mut self.block);
        self.block.extend_from_slice(tag.as_ref());
        self.out.write_all(&self.block)?;
        self.block.clear();
        Ok(())
    }
}

impl<W: Write> Write for SealedWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Only the last block may be shorter, and it is not empty unless all is.
        if self.block.len() == BLOCK && !bytes.is_empty() {
            self.write_block(false)?;
        }
        let fits = bytes.len().min(BLOCK - self.block.len());
        self.block.reserve(fits + MAX_TAG_LEN);
        self.block.extend_from_slice(&bytes[..fits]);
        Ok(fits)
    }

    /// What does not fill a block stays here.
    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stanzas_are_written_as_age_writes_them() {
        for length in [0, 1, 16, 47, 48, 49, 95, 96, 97, 512] {
            let body: Vec<u8> = (0..length).map(|at| at as u8).collect();
            let args = ["one".to_owned(), "2+/".to_owned()];
            let mut ours = String::new();
            put_stanza("tag", &args, &body, &mut ours);
            let read = age_core::format::read::age_stanza(ours.as_bytes());
            let (rest, stanza) = read.unwrap_or_else(|error| panic!("{length}: {error} in {ours}"));
            assert!(rest.is_empty());
            assert_eq!((stanza.tag, &stanza.args[..], stanza.body()), ("tag", &["one", "2+/"][..], body));
        }
    }
}
