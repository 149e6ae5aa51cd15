//! One direction of a connection, cut into frames.

use super::super::{
    PREFACE,
    frame::{self, Header, Kind},
    hpack::Decoder,
};
use crate::{Mark, pair::Problem};

/// Where in a direction the next byte stands.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// In the preface, behind so many bytes of it.
    Preface(usize),
    /// In the header of a frame.
    Header { read: usize, bytes: [u8; Header::SIZE], began: Mark },
    /// In the payload of a frame, behind so many bytes of it.
    Payload { header: Header, read: u32, began: Mark },
    /// At an unknown place.
    Lost,
}

impl Place {
    /// Before the header of a frame.
    pub const NEXT: Place = Place::Header { read: 0, bytes: [0; Header::SIZE], began: 0 };
}

/// A header block whose end did not come yet.
#[derive(Debug)]
pub(super) struct Block {
    /// The frame that it began with, and the mark of that frame's first byte.
    pub header: Header,
    pub began: Mark,
    pub bytes: Vec<u8>,
}

/// What is known of one direction.
#[derive(Debug)]
pub(super) struct Direction {
    pub place: Place,
    pub decoder: Decoder,
    /// The payload of the frame at hand, where it is needed as a whole.
    pub payload: Vec<u8>,
    /// The padding of the DATA frame at hand.
    pub padding: u32,
    pub block: Option<Block>,
    /// The payload or the block is not all there, and why.
    pub is_broken: Option<Problem>,
    /// Why references may lead to what is not known.
    pub lost: Option<Problem>,
}

/// What bytes are.
pub(super) enum Part<'a> {
    /// A frame begins.
    Frame,
    /// Bytes of the payload, and where in it they stand.
    Payload(u32, &'a [u8]),
    /// The frame is whole.
    End(Header, Mark),
}

impl Direction {
    /// A direction at its first byte.
    pub fn new(place: Place) -> Direction {
        Direction {
            place,
            decoder: Decoder::new(),
            payload: Vec::new(),
            padding: 0,
            block: None,
            is_broken: None,
            lost: None,
        }
    }

    /// Bytes of unknown number were not seen.
    pub fn lose(&mut self, reason: Problem) {
        self.place = Place::Lost;
        self.forget(reason);
        self.block = None;
        self.is_broken = None;
    }

    /// A header block was not seen as a whole.
    pub fn forget(&mut self, reason: Problem) {
        self.decoder.forget();
        self.lost.get_or_insert(reason);
    }

    /// Moves on by the first bytes of `rest` that are one thing. `None` once all are read, an error where they are not
    /// HTTP/2.
    pub fn next<'a>(&mut self, mark: Mark, rest: &mut &'a [u8]) -> Result<Option<Part<'a>>, Problem> {
        match &mut self.place {
            Place::Preface(read) => {
                let wanted = &PREFACE[*read..];
                let length = wanted.len().min(rest.len());
                if take(rest, length) != &wanted[..length] {
                    return Err(Problem::Garbage);
                }
                *read += length;
                if length < wanted.len() {
                    return Ok(None);
                }
                self.place = Place::NEXT;
                self.next(mark, rest)
            }
            Place::Header { .. } if rest.is_empty() => Ok(None),
            Place::Header { read, bytes, began } => {
                if *read == 0 {
                    *began = mark;
                }
                let length = (Header::SIZE - *read).min(rest.len());
                bytes[*read..*read + length].copy_from_slice(take(rest, length));
                *read += length;
                if *read < Header::SIZE {
                    return Ok(None);
                }
                let (header, began) = (Header::parse(bytes), *began);
                self.begin(&header)?;
                self.place = Place::Payload { header, read: 0, began };
                Ok(Some(Part::Frame))
            }
            Place::Payload { header, read, began } if *read == header.length => {
                let end = Part::End(*header, *began);
                self.place = Place::NEXT;
                Ok(Some(end))
            }
            Place::Payload { .. } if rest.is_empty() => Ok(None),
            Place::Payload { header, read, .. } => {
                let length = ((header.length - *read) as usize).min(rest.len());
                let at = *read;
                *read += length as u32;
                Ok(Some(Part::Payload(at, take(rest, length))))
            }
            Place::Lost => Ok(None),
        }
    }

    /// Whether a frame may stand here (RFC 9113 section 6.10 has nothing come between the parts of a header block).
    fn begin(&mut self, header: &Header) -> Result<(), Problem> {
        let in_block = self.block.as_ref().map(|block| block.header.stream);
        let continues = header.kind == Kind::Continuation;
        let fits = match in_block {
            Some(stream) => continues && header.stream == stream,
            None => !continues,
        };
        self.payload.clear();
        self.padding = 0;
        if fits && header.is_sound() { Ok(()) } else { Err(Problem::Garbage) }
    }

    /// The part of a DATA frame's payload that is content; an error where the padding is longer than the frame.
    pub fn content<'a>(&mut self, header: &Header, mut at: u32, mut bytes: &'a [u8]) -> Result<&'a [u8], Problem> {
        if header.has(frame::PADDED) && at == 0 {
            let Some((padding, rest)) = bytes.split_first() else { return Ok(bytes) };
            self.padding = u32::from(*padding);
            if self.padding >= header.length {
                return Err(Problem::Garbage);
            }
            (at, bytes) = (1, rest);
        }
        let room = (header.length - self.padding).saturating_sub(at) as usize;
        Ok(&bytes[..room.min(bytes.len())])
    }

    /// How many bytes of a whole DATA frame are content.
    pub fn size(&self, header: &Header) -> u64 {
        u64::from(header.length - self.padding - u32::from(header.has(frame::PADDED)))
    }
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> &'a [u8] {
    let (taken, after) = rest.split_at(length);
    *rest = after;
    taken
}
