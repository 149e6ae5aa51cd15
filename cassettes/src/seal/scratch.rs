//! A temporary file that only grows, and is read from its beginning. Sealed, each part of it is encrypted by itself.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom, Write},
    path::Path,
    sync::Arc,
};

use age_core::primitives::{aead_decrypt, aead_encrypt};

use super::session::{Session, random};

/// What is gathered before it is written.
const PART: usize = 64 << 10;

/// Bytes by which a part grows when it is encrypted.
const TAG: usize = 16;

pub(crate) struct Scratch {
    file: File,
    seal: Option<(Arc<Session>, [u8; 16])>,
    buffer: Vec<u8>,
    parts: u64,
}

impl Scratch {
    /// An empty one without a name, in that folder.
    pub fn new(folder: &Path, session: Option<&Arc<Session>>) -> io::Result<Scratch> {
        let seal = session.map(|session| Ok::<_, io::Error>((Arc::clone(session), random()?))).transpose()?;
        Ok(Scratch { file: tempfile::tempfile_in(folder)?, seal, buffer: Vec::new(), parts: 0 })
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PART { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        match &self.seal {
            None => self.file.write_all(&self.buffer)?,
            Some((session, salt)) => {
                let size = u32::try_from(self.buffer.len()).map_err(io::Error::other)?;
                let part = aead_encrypt(&session.scratch_key(salt, self.parts), &self.buffer);
                self.file.write_all(&size.to_le_bytes()).and_then(|()| self.file.write_all(&part))?;
            }
        }
        self.parts += 1;
        self.buffer.clear();
        Ok(())
    }

    /// Write all of it to `out`.
    pub fn copy_to(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.flush()?;
        self.file.seek(SeekFrom::Start(0))?;
        let mut file = BufReader::new(&self.file);
        let Some((session, salt)) = &self.seal else {
            return io::copy(&mut file, out).map(drop);
        };
        for part in 0..self.parts {
            let mut size = [0; 4];
            file.read_exact(&mut size)?;
            let size = u32::from_le_bytes(size) as usize;
            let mut sealed = vec![0; size + TAG];
            file.read_exact(&mut sealed)?;
            let changed = |_| io::Error::new(io::ErrorKind::InvalidData, "the temporary file was changed");
            out.write_all(&aead_decrypt(&session.scratch_key(salt, part), size, &sealed).map_err(changed)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::Recipients;

    #[test]
    fn what_is_written_is_read_and_on_disk_is_none_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let recipient = age::x25519::Identity::generate().to_public().to_string();
        let session = Arc::new(Session::new(&Recipients::parse([&*recipient]).unwrap()).unwrap());
        for session in [None, Some(&session)] {
            let mut scratch = Scratch::new(folder.path(), session).unwrap();
            let mut expected = Vec::new();
            for number in 0..5000 {
                let line = format!("{number} a secret that nobody may find\n");
                scratch.write(line.as_bytes()).unwrap();
                expected.extend_from_slice(line.as_bytes());
                if number % 1500 == 0 {
                    let mut read = Vec::new();
                    scratch.copy_to(&mut read).unwrap();
                    assert!(read == expected, "{number}");
                }
            }
            let mut read = Vec::new();
            scratch.copy_to(&mut read).unwrap();
            assert!(read == expected);
            let mut raw = Vec::new();
            (&scratch.file).seek(SeekFrom::Start(0)).unwrap();
            (&scratch.file).read_to_end(&mut raw).unwrap();
            let is_readable = raw.windows(8).any(|window| window == b"a secret");
            assert_eq!(is_readable, session.is_none());
        }
    }
}
