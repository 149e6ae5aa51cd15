//! Writing sealed files.
//!
//! The format is age's, version 1 (<https://c2sp.org/age>), with ring's cipher; reading is the age crate's. That crate's writer draws
//! a key for each file, which has to be wrapped, authenticates the head twice and adds a stanza that says nothing: for a small cassette
//! three times what it costs here.

use std::io::{self, Write};

use age_core::{format::Stanza, primitives::hkdf};
use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD};
use hmac::{Hmac, Mac};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, MAX_TAG_LEN, NONCE_LEN, Nonce, Tag, UnboundKey};
use sha2::Sha256;

/// Bytes of content that are encrypted at a time.
const BLOCK: usize = 64 << 10;

/// Bytes of a line of a stanza's body; a shorter one ends it.
const LINE: usize = 64;

/// The key of a file.
pub(super) type FileKey = [u8; 16];

/// What makes MACs, as far as that is the same for all of a key.
pub(super) type MacKey = Hmac<Sha256>;

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

/// The head of the file with this key and these stanzas, as [`put_stanza`] writes them, and the nonce, which comes next;
/// with room for as much as follows.
fn head(key: &FileKey, stanzas: &[&str], nonce: &[u8; 16], room: usize) -> Vec<u8> {
    const AROUND: usize = 128;
    let mut head = Vec::with_capacity(AROUND + stanzas.iter().map(|text| text.len()).sum::<usize>() + room);
    head.extend_from_slice(b"age-encryption.org/v1\n");
    stanzas.iter().for_each(|text| head.extend_from_slice(text.as_bytes()));
    head.extend_from_slice(b"---");
    let mac = mac(&mac_key(&hkdf(b"", b"header", key)), &head);
    head.push(b' ');
    head.extend_from_slice(BASE64_STANDARD_NO_PAD.encode(mac).as_bytes());
    head.push(b'\n');
    head.extend_from_slice(nonce);
    head
}

/// Makes many a MAC with one key.
pub(super) fn mac_key(key: &[u8; 32]) -> MacKey {
    Mac::new_from_slice(key).expect("it takes keys of any length")
}

pub(super) fn mac(key: &MacKey, text: &[u8]) -> [u8; 32] {
    let mut mac = key.clone();
    mac.update(text);
    mac.finalize().into_bytes().into()
}

/// Seals what is written to it. Files are whole once [`SealedWriter::finish`] has been called.
pub struct SealedWriter<W> {
    out: W,
    cipher: Cipher,
    /// What is not written yet: the head, before the first block, and what comes next of the content.
    waiting: Vec<u8>,
    /// How much of that is the head.
    head: usize,
}

impl<W: Write> SealedWriter<W> {
    /// With these stanzas in its head; `nonce` is random bytes that no other file has. `expected` is how much content will come;
    /// it may be more or less.
    pub(super) fn begin(key: &FileKey, stanzas: &[&str], nonce: &[u8; 16], expected: usize, out: W) -> SealedWriter<W> {
        let waiting = head(key, stanzas, nonce, expected.min(BLOCK) + MAX_TAG_LEN);
        SealedWriter { out, cipher: Cipher::new(key, nonce), head: waiting.len(), waiting }
    }

    /// Write what is left.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(mut self) -> io::Result<W> {
        self.write_block(true)?;
        Ok(self.out)
    }

    /// At once: for a small file, several pieces (`writev`) take longer than to put them together.
    fn write_block(&mut self, is_last: bool) -> io::Result<()> {
        let tag = self.cipher.block(is_last, &mut self.waiting[self.head..]);
        self.waiting.extend_from_slice(tag.as_ref());
        self.out.write_all(&self.waiting)?;
        self.waiting.clear();
        self.head = 0;
        Ok(())
    }
}

impl<W: Write> Write for SealedWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Only the last block may be shorter, and it is not empty unless all is.
        if self.waiting.len() - self.head == BLOCK && !bytes.is_empty() {
            self.write_block(false)?;
        }
        let fits = bytes.len().min(BLOCK - (self.waiting.len() - self.head));
        self.waiting.reserve(fits + MAX_TAG_LEN);
        self.waiting.extend_from_slice(&bytes[..fits]);
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
