//! The key that tokens are made with.

use std::{fmt, fs::File, io, io::Read};

/// The variable that may have the key of a project. It is regress's own, and not for the services that it starts.
pub const KEY_VARIABLE: &str = "REGRESS_REDACT_KEY";

/// What sets keys of redaction apart from other uses of the same secret.
const CONTEXT: &str = "regress redaction of cassettes, version 1";

/// The shortest secret that a key is made of, in bytes.
const SHORTEST: usize = 16;

/// The key that tokens are made with. Who does not have it cannot try out which secret a token stands for, however few
/// there may be; who has it makes the same tokens of the same secrets. It is in no cassette.
#[derive(Clone)]
pub struct Key([u8; 32]);

/// Why a secret makes no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a redaction key has at least {SHORTEST} bytes, this one has {0}")]
pub struct TooShort(usize);

impl TooShort {
    /// What to do about it.
    pub fn hint(self) -> &'static str {
        "make one with `head -c 32 /dev/urandom | base64 > FILE`, and keep it out of the repository"
    }
}

impl Key {
    /// A key that nobody else has: tokens of one recording equal those of no other.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn drawn() -> io::Result<Key> {
        let mut key = [0; 32];
        File::open("/dev/urandom")?.read_exact(&mut key)?;
        Ok(Key(key))
    }

    /// The key that a secret makes, white space around it left out. The same secret makes the same key.
    ///
    /// # Errors
    /// When the secret is so short that it could be guessed.
    pub fn of(secret: &[u8]) -> Result<Key, TooShort> {
        let secret = secret.trim_ascii();
        if secret.len() < SHORTEST {
            return Err(TooShort(secret.len()));
        }
        Ok(Key(blake3::derive_key(CONTEXT, secret)))
    }

    /// Bytes that stand for a secret, as many as are asked for.
    pub(super) fn stream(&self, secret: &[u8]) -> Stream {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(secret);
        Stream { from: hasher.finalize_xof(), buffer: [0; 64], at: 64 }
    }
}

/// The key itself is told to nobody.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// Bytes without an end that look random.
pub(super) struct Stream {
    from: blake3::OutputReader,
    buffer: [u8; 64],
    at: usize,
}

impl Stream {
    fn byte(&mut self) -> u8 {
        if self.at == self.buffer.len() {
            self.from.fill(&mut self.buffer);
            self.at = 0;
        }
        self.at += 1;
        self.buffer[self.at - 1]
    }

    /// One of the letters of an alphabet (at most 128), each as often as the others.
    pub(super) fn letter(&mut self, alphabet: &[u8]) -> u8 {
        let fair = 256 - 256 % alphabet.len();
        loop {
            let byte = usize::from(self.byte());
            if byte < fair {
                return alphabet[byte % alphabet.len()];
            }
        }
    }

    /// So many letters.
    pub(super) fn letters(&mut self, alphabet: &[u8], count: usize) -> impl Iterator<Item = u8> {
        (0..count).map(move |_| self.letter(alphabet))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_secret_makes_one_key_and_a_short_one_makes_none() {
        let letters = |key: &Key| key.stream(b"secret").letters(b"abc", 100).collect::<Vec<_>>();
        let key = Key::of(b"0123456789abcdef").unwrap();
        assert_eq!(letters(&key), letters(&Key::of(b" 0123456789abcdef\n").unwrap()));
        assert_ne!(letters(&key), letters(&Key::of(b"0123456789abcdeg").unwrap()));
        assert_ne!(letters(&key), letters(&Key::drawn().unwrap()));
        assert_eq!(Key::of(b"short").unwrap_err(), TooShort(5));
        assert_eq!(format!("{key:?}"), "Key(..)");
    }
}
