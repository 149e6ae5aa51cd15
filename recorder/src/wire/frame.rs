//! Frames on a Unix socket, and the handles that come with them.

use std::{
    collections::VecDeque,
    io::{self, IoSlice, IoSliceMut, Read, Write},
    os::{
        fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
        unix::net::UnixStream,
    },
};

use nix::{
    cmsg_space,
    sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, UnixCredentials, recvmsg, sendmsg},
};
use serde::{Serialize, de::DeserializeOwned};

use super::{Malformed, PROTOCOL};

/// The largest frame that is read. What is sent is cut into frames of about a quarter of it.
pub const FRAME: usize = 4 << 20;

/// Handles that may come with one message (SCM_MAX_FD in the kernel).
const HANDLES: usize = 253;

const MAGIC: [u8; 8] = *b"regress\0";
/// Of the text of a version.
const RELEASE: usize = 64;

/// Who speaks: the same form in every version. Eight bytes that no other protocol begins with, the version of the protocol
/// (two bytes, little-endian), the length of what follows (one byte, at most 64), the version of the program as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// [`PROTOCOL`] of whoever speaks.
    pub protocol: u16,
    /// The version of the program.
    pub release: String,
}

impl Hello {
    /// Of this program.
    #[must_use]
    pub fn own() -> Hello {
        Hello { protocol: PROTOCOL, release: env!("CARGO_PKG_VERSION").to_owned() }
    }

    /// As it goes over the wire.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let release = &self.release.as_bytes()[..self.release.len().min(RELEASE)];
        let length = u8::try_from(release.len()).unwrap_or_default();
        [&MAGIC[..], &self.protocol.to_le_bytes(), &[length], release].concat()
    }

    /// Read one.
    ///
    /// # Errors
    /// [`Malformed::Foreign`] for anything else.
    pub fn read(from: &mut impl Read) -> io::Result<Hello> {
        let mut head = [0; 11];
        from.read_exact(&mut head)?;
        let length = usize::from(head[10]);
        if head[..8] != MAGIC || length > RELEASE {
            return Err(Malformed::Foreign.into());
        }
        let mut release = [0; RELEASE];
        from.read_exact(&mut release[..length])?;
        let is_plain = |byte: &u8| byte.is_ascii_graphic();
        let release = release[..length].iter().copied().filter(is_plain).map(char::from).collect();
        Ok(Hello { protocol: u16::from_le_bytes([head[8], head[9]]), release })
    }

    /// Refuse a version that is not ours.
    ///
    /// # Errors
    /// [`Malformed::Version`].
    pub fn check(self) -> Result<(), Malformed> {
        if self.protocol == PROTOCOL {
            return Ok(());
        }
        Err(Malformed::Version { theirs: self.protocol, release: self.release })
    }
}

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// One message.
    Message = 0,
    /// Events, one after the other.
    Events = 1,
}

/// The sending half.
#[derive(Debug)]
pub struct Sender(UnixStream);

impl Sender {
    /// Frames go here.
    #[must_use]
    pub fn new(stream: UnixStream) -> Sender {
        Sender(stream)
    }

    /// Begin.
    ///
    /// # Errors
    /// When the other side no longer listens.
    pub fn greet(&mut self, hello: &Hello) -> io::Result<()> {
        self.0.write_all(&hello.bytes())
    }

    /// Send a message.
    ///
    /// # Errors
    /// When the other side no longer listens.
    pub fn send(&mut self, message: &impl Serialize) -> io::Result<()> {
        self.send_with(message, &[])
    }

    /// Send a message and handles.
    ///
    /// # Errors
    /// When the other side no longer listens, or there are more handles than a message may have.
    pub fn send_with(&mut self, message: &impl Serialize, handles: &[BorrowedFd<'_>]) -> io::Result<()> {
        let body = postcard::to_stdvec(message).map_err(io::Error::other)?;
        self.frame(Kind::Message, &body, handles)
    }

    /// Send events, as [`super::put_event`] has put them.
    ///
    /// # Errors
    /// When the other side no longer listens, or the frame is larger than it would read.
    pub fn send_events(&mut self, events: &[u8]) -> io::Result<()> {
        self.frame(Kind::Events, events, &[])
    }

    fn frame(&mut self, kind: Kind, body: &[u8], handles: &[BorrowedFd<'_>]) -> io::Result<()> {
        if body.len() > FRAME {
            return Err(Malformed::Length { length: body.len() as u64 }.into());
        }
        let length = u32::try_from(body.len()).map_err(io::Error::other)?.to_le_bytes();
        let head = [length[0], length[1], length[2], length[3], kind as u8];
        if handles.is_empty() {
            self.0.write_all(&head)?;
            return self.0.write_all(body);
        }
        let handles: Vec<RawFd> = handles.iter().map(AsRawFd::as_raw_fd).collect();
        let sent = sendmsg::<()>(
            self.0.as_raw_fd(),
            &[IoSlice::new(&head)],
            &[ControlMessage::ScmRights(&handles)],
            MsgFlags::MSG_NOSIGNAL,
            None,
        )?;
        self.0.write_all(&head[sent..])?;
        self.0.write_all(body)
    }
}

/// A frame that was received.
#[derive(Debug)]
pub struct Received {
    /// What it holds.
    pub kind: Kind,
    /// The process that sent it, in this process's PID namespace, where the kernel was asked to say so (`SO_PASSCRED`).
    pub sender: Option<i32>,
    /// Handles that came with it.
    pub handles: Vec<OwnedFd>,
    /// What it holds, as it was sent.
    pub body: Vec<u8>,
}

impl Received {
    /// The message that it is.
    ///
    /// # Errors
    /// [`Malformed::Frame`] where it is none.
    pub fn message<T: DeserializeOwned>(&self) -> Result<T, Malformed> {
        if self.kind != Kind::Message {
            return Err(Malformed::NotDue);
        }
        match postcard::take_from_bytes(&self.body) {
            Ok((message, [])) => Ok(message),
            _ => Err(Malformed::Frame),
        }
    }
}

/// The receiving half.
#[derive(Debug)]
pub struct Receiver {
    stream: UnixStream,
    handles: VecDeque<OwnedFd>,
    sender: Option<i32>,
}

impl Receiver {
    /// Frames come from here.
    #[must_use]
    pub fn new(stream: UnixStream) -> Receiver {
        Receiver { stream, handles: VecDeque::new(), sender: None }
    }

    /// The next frame; `None` where the other side has ended.
    ///
    /// # Errors
    /// [`Malformed`], or what the system says, also that the time is up where the stream has one.
    pub fn receive(&mut self) -> io::Result<Option<Received>> {
        let mut head = [0; 5];
        if !self.fill(&mut head)? {
            return Ok(None);
        }
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let kind = match head[4] {
            0 => Kind::Message,
            1 => Kind::Events,
            _ => return Err(Malformed::Frame.into()),
        };
        if length > FRAME {
            return Err(Malformed::Length { length: length as u64 }.into());
        }
        let mut body = vec![0; length];
        if length > 0 && !self.fill(&mut body)? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let handles = self.handles.drain(..).collect();
        Ok(Some(Received { kind, sender: self.sender.take(), handles, body }))
    }

    /// Fill the buffer; false where nothing came at all.
    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.part(&mut buffer[filled..])? {
                0 if filled == 0 => return Ok(false),
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => filled += read,
            }
        }
        Ok(true)
    }

    #[allow(unsafe_code, reason = "handles that come with a message have no safe wrapper in our dependencies")]
    fn part(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut space = cmsg_space!([RawFd; HANDLES], UnixCredentials);
        let mut parts = [IoSliceMut::new(buffer)];
        let received = loop {
            match recvmsg::<()>(self.stream.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC) {
                Err(nix::errno::Errno::EINTR) => {}
                received => break received?,
            }
        };
        for message in received.cmsgs()? {
            match message {
                ControlMessageOwned::ScmRights(handles) => {
                    // SAFETY: the kernel has just made these descriptors for this process, and nobody else knows them.
                    self.handles.extend(handles.into_iter().map(|handle| unsafe { OwnedFd::from_raw_fd(handle) }));
                }
                ControlMessageOwned::ScmCredentials(who) => self.sender = Some(who.pid()),
                _ => {}
            }
        }
        if self.handles.len() > HANDLES {
            return Err(Malformed::Frame.into());
        }
        Ok(received.bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::wire::FromAgent;

    fn pair() -> (UnixStream, Sender, Receiver) {
        let (one, other) = UnixStream::pair().unwrap();
        (one.try_clone().unwrap(), Sender::new(one), Receiver::new(other))
    }

    #[test]
    fn handles_come_with_their_message() {
        let (_raw, mut sender, mut receiver) = pair();
        let file = tempfile::tempfile().unwrap();
        sender.send(&FromAgent::Pause).unwrap();
        sender.send_with(&FromAgent::Stop, &[file.as_fd(), file.as_fd()]).unwrap();
        let first = receiver.receive().unwrap().unwrap();
        assert_eq!((first.message::<FromAgent>().unwrap(), first.handles.len()), (FromAgent::Pause, 0));
        let second = receiver.receive().unwrap().unwrap();
        assert_eq!((second.message::<FromAgent>().unwrap(), second.handles.len()), (FromAgent::Stop, 2));
    }

    #[test]
    fn the_end_is_told_from_a_frame_that_is_cut_off() {
        let (raw, sender, mut receiver) = pair();
        (&raw).write_all(&[9, 0, 0, 0, 0, 1]).unwrap();
        drop((raw, sender));
        assert_eq!(receiver.receive().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        let (raw, sender, mut receiver) = pair();
        drop((raw, sender));
        assert!(receiver.receive().unwrap().is_none());
    }

    #[test]
    fn lengths_and_kinds_are_not_believed() {
        for head in [[0xff, 0xff, 0xff, 0xff, 0], [1, 0, 0, 0, 7]] {
            let (mut raw, _sender, mut receiver) = pair();
            raw.write_all(&head).unwrap();
            assert_eq!(receiver.receive().unwrap_err().kind(), io::ErrorKind::InvalidData, "{head:?}");
        }
        let (mut raw, _sender, mut receiver) = pair();
        // A message, and something behind it.
        raw.write_all(&[2, 0, 0, 0, 0, 3, 3]).unwrap();
        let received = receiver.receive().unwrap().unwrap();
        assert!(matches!(received.message::<FromAgent>(), Err(Malformed::Frame)));
    }

    #[test]
    fn a_greeting_is_read_whatever_its_version() {
        let mut later = Hello { protocol: 900, release: "7.1.0".into() };
        assert_eq!(Hello::read(&mut &later.bytes()[..]).unwrap(), later);
        let error = later.clone().check().unwrap_err().to_string();
        assert!(error.contains("version 900") && error.contains("regress 7.1.0"), "{error}");
        assert!(Hello::own().check().is_ok());
        later.release = "\u{1b}[2J".into();
        assert_eq!(Hello::read(&mut &later.bytes()[..]).unwrap().release, "[2J", "it is shown on terminals");
        for foreign in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"regress\0\x01\0\xff"] {
            assert!(Hello::read(&mut &foreign[..]).is_err());
        }
    }
}
