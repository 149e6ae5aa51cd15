//! The last output of a service: a pipe that is always read, of which the end is kept.

use std::collections::VecDeque;
use std::io::{self, PipeReader, Read};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::unix::pipe::Receiver;
use tokio::task::AbortHandle;

/// Bytes that are kept.
const KEPT: usize = 64 * 1024;

/// The reading end; dropping it stops reading.
#[derive(Debug)]
pub(super) struct Output {
    ring: Arc<Ring>,
    reader: AbortHandle,
}

#[derive(Debug)]
struct Ring {
    pipe: PipeReader,
    kept: Mutex<VecDeque<u8>>,
}

impl Output {
    /// Starts to read; must be called in a Tokio runtime.
    pub(super) fn keep(pipe: PipeReader) -> io::Result<Self> {
        // The same pipe twice: one descriptor tells when there is something, the other is read, by whoever comes first.
        let arrivals = Receiver::from_owned_fd(pipe.try_clone()?.into())?;
        let ring = Arc::new(Ring { pipe, kept: Mutex::default() });
        let reading = Arc::clone(&ring);
        let reader = tokio::spawn(async move {
            while arrivals.readable().await.is_ok() {
                let read = reading.drain(|chunk| arrivals.try_read(chunk));
                if !matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock) {
                    break;
                }
            }
        });
        Ok(Self { ring, reader: reader.abort_handle() })
    }

    /// What was written last, up to 64 KiB, including what is still in the pipe.
    pub(super) fn last(&self) -> String {
        // Either everything is read now or the pipe has nothing more: both leave what there is in the ring.
        let _ = self.ring.drain(|chunk| (&self.ring.pipe).read(chunk));
        let mut kept = self.ring.kept.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(kept.make_contiguous()).into_owned()
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Ring {
    /// Reads until the end (`Ok`) or until the pipe is empty (`WouldBlock`).
    fn drain(&self, read: impl Fn(&mut [u8]) -> io::Result<usize>) -> io::Result<()> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut chunk = [0; 16 * 1024];
        loop {
            match read(&mut chunk)? {
                0 => return Ok(()),
                length => keep_last(&mut kept, &chunk[..length]),
            }
        }
    }
}

fn keep_last(kept: &mut VecDeque<u8>, bytes: &[u8]) {
    kept.extend(bytes);
    let surplus = kept.len().saturating_sub(KEPT);
    kept.drain(..surplus);
}

/// A pipe for the output of a service: what to keep, and what the service writes to.
pub(super) fn pipe() -> io::Result<(PipeReader, OwnedFd)> {
    let (reader, writer) = io::pipe()?;
    Ok((reader, writer.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_is_kept() {
        let mut kept = VecDeque::new();
        keep_last(&mut kept, &vec![b'a'; KEPT]);
        keep_last(&mut kept, b"the end");
        assert_eq!(kept.len(), KEPT);
        assert!(kept.make_contiguous().ends_with(b"athe end"));
    }

    #[tokio::test]
    async fn what_is_in_the_pipe_is_seen_before_any_task_ran() {
        let (reader, writer) = io::pipe().unwrap();
        let output = Output::keep(reader).unwrap();
        io::Write::write_all(&mut &writer, b"last words").unwrap();
        assert_eq!(output.last(), "last words");
    }
}
