//! Bytes of one direction, in pieces of any size, become messages.

use std::mem;

use bytes::{Bytes, BytesMut};

use super::{
    error::{Fault, ParseError},
    framing::{self, Answering, Body},
    grammar,
    message::{Chunk, Framing, Line, Message},
    parse::Limits,
};

/// What a chunk counts against the body limit beside its bytes, so that a body of tiny chunks is bounded in memory
/// too.
const CHUNK_COST: u64 = 64;

/// How much room is made for lines at a time, where so much input is there: the lines of a head share it.
const ROOM: usize = 1024;

/// What happened while bytes were read.
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "a step lives for one turn of a loop; boxing would cost an allocation a message"
)]
pub(super) enum Step {
    /// A message begins with the next byte.
    Began,
    /// The head is whole.
    Head,
    /// The message is whole.
    Complete(Message),
}

/// What an assembler reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Request,
    Response,
}

/// What a body beyond the limit leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Excess {
    /// An error.
    Refuse,
    /// The rest of the body is counted but not kept, and the message comes out truncated.
    Drop,
}

/// Why a part of a body was not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// Nobody saw it.
    Unseen,
    /// It is beyond the limit.
    Excess,
}

/// Where in a message the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Lead,
    Start,
    Header,
    Length { left: u64 },
    ChunkLine,
    ChunkData { left: u64 },
    ChunkEnd,
    Trailer,
    Close,
    Whole,
}

/// Reads one direction of a connection. Work and memory grow with the bytes given, however they are cut.
#[derive(Debug)]
pub(super) struct Assembler {
    kind: Kind,
    limits: Limits,
    excess: Excess,
    answering: Answering,
    place: Place,
    failed: Option<ParseError>,
    /// All bytes read or skipped so far.
    offset: u64,
    /// The message in the making, but for its body.
    message: Message,
    lead: BytesMut,
    body: BytesMut,
    /// The line being read, its line break included.
    line: BytesMut,
    /// The whole lines of the field being read; more may follow by obsolete folding.
    field: BytesMut,
    /// Bytes of the current head, chunk line or trailer section.
    section: usize,
    /// What the body and its chunks count against the limit.
    charged: u64,
    passed: u64,
    missing: Option<Missing>,
}

impl Assembler {
    pub fn new(kind: Kind, limits: Limits, excess: Excess) -> Assembler {
        Assembler {
            kind,
            limits,
            excess,
            answering: Answering::Other,
            place: Place::Lead,
            failed: None,
            offset: 0,
            message: Message::blank(),
            lead: BytesMut::new(),
            body: BytesMut::new(),
            line: BytesMut::new(),
            field: BytesMut::new(),
            section: 0,
            charged: 0,
            passed: 0,
            missing: None,
        }
    }

    /// Says what the responses to come answer, from the one whose head is not whole yet.
    pub fn answers(&mut self, answering: Answering) {
        self.answering = answering;
    }

    /// Whether a message is in the making.
    pub fn has_begun(&self) -> bool {
        self.place != Place::Lead
    }

    /// The message in the making, without its body.
    pub fn head(&self) -> &Message {
        &self.message
    }

    /// Its body so far.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Body bytes that passed of the message in the making, else of the last one, kept or not.
    pub fn passed(&self) -> u64 {
        self.passed
    }

    /// Why the same message lacks a part of its body, if it does.
    pub fn missing(&self) -> Option<Missing> {
        self.missing
    }

    /// Bytes held for the message in the making.
    pub fn held(&self) -> usize {
        self.lead.len() + self.section + self.body.len()
    }

    /// Reads from the front of `input` until something happens; `None` once all of it is used. After an error
    /// nothing more is read: [`Assembler::cut`] gives what was read of the bad message, `input` the rest.
    pub fn step(&mut self, input: &mut &[u8]) -> Result<Option<Step>, ParseError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        if self.place == Place::Whole {
            return Ok(Some(Step::Complete(self.take(None))));
        }
        while !input.is_empty() {
            let step = match self.place {
                Place::Lead => self.read_lead(input),
                Place::Start | Place::Header | Place::ChunkLine | Place::Trailer => self.read_line(input),
                Place::ChunkEnd => self.read_chunk_end(input),
                Place::Length { left } | Place::ChunkData { left } => self.read_body(left, input),
                Place::Close => self.read_body(u64::MAX, input),
                Place::Whole => return Ok(Some(Step::Complete(self.take(None)))),
            };
            match step {
                Ok(None) => {}
                Ok(step) => return Ok(step),
                Err(fault) => {
                    let error = ParseError { offset: self.offset, fault };
                    self.failed = Some(error);
                    return Err(error);
                }
            }
        }
        Ok(None)
    }

    /// Moves over bytes that nobody saw, and lowers `bytes` by as many as the framing of the body in the making
    /// accounts for. Bytes that remain may have been anything.
    pub fn skip(&mut self, bytes: &mut u64) -> Option<Step> {
        let left = match self.place {
            Place::Length { left } | Place::ChunkData { left } => left,
            Place::Close => u64::MAX,
            _ => return None,
        };
        let skipped = left.min(*bytes);
        *bytes -= skipped;
        self.offset = self.offset.saturating_add(skipped);
        self.missing = self.missing.or((skipped > 0).then_some(Missing::Unseen));
        self.pass(left, skipped)
    }

    /// The direction ended: a body that runs until then is complete, any other message is truncated.
    pub fn end(&mut self) -> Option<Message> {
        if self.place == Place::Close { Some(self.take(None)) } else { self.cut() }
    }

    /// Takes the message in the making as it is, truncated. Empty lines alone are no message.
    pub fn cut(&mut self) -> Option<Message> {
        if !self.has_begun() {
            return None;
        }
        self.flush_field();
        let line = mem::take(&mut self.line);
        let after = match &self.message.framing {
            _ if self.missing.is_some() => Bytes::new(),
            Framing::Chunked { chunks, .. } if self.place == Place::ChunkLine && !chunks.is_empty() => {
                [b"\r\n", &line[..]].concat().into()
            }
            _ => line.freeze(),
        };
        Some(self.take(Some(after)))
    }

    fn take(&mut self, truncated: Option<Bytes>) -> Message {
        let mut message = mem::replace(&mut self.message, Message::blank());
        message.lead = mem::take(&mut self.lead).freeze();
        message.body = mem::take(&mut self.body).freeze();
        message.truncated = truncated.or(self.missing.map(|_| Bytes::new()));
        self.line.clear();
        self.section = 0;
        self.charged = 0;
        self.place = Place::Lead;
        message
    }

    fn consume<'a>(&mut self, input: &mut &'a [u8], bytes: usize) -> &'a [u8] {
        let (taken, rest) = input.split_at(bytes);
        *input = rest;
        self.offset = self.offset.saturating_add(bytes as u64);
        taken
    }

    /// Empty lines are kept; a CR that no LF follows is already part of a (bad) start line.
    fn read_lead(&mut self, input: &mut &[u8]) -> Result<Option<Step>, Fault> {
        match input[0] {
            b'\n' => {
                let end = self.consume(input, 1);
                self.line.extend_from_slice(end);
                self.lead.unsplit(self.line.split());
                if self.lead.len() > self.limits.head { Err(Fault::HeadTooLarge) } else { Ok(None) }
            }
            b'\r' if self.line.is_empty() => {
                let start = self.consume(input, 1);
                self.line.extend_from_slice(start);
                Ok(None)
            }
            _ => {
                self.place = Place::Start;
                self.section = self.line.len();
                self.passed = 0;
                self.missing = None;
                Ok(Some(Step::Began))
            }
        }
    }

    fn read_line(&mut self, input: &mut &[u8]) -> Result<Option<Step>, Fault> {
        let found = input.iter().position(|byte| *byte == b'\n');
        let length = found.map_or(input.len(), |at| at + 1);
        if self.section.saturating_add(length) > self.limits.head {
            return Err(Fault::HeadTooLarge);
        }
        if self.line.capacity() - self.line.len() < length {
            self.line.reserve(length.max(input.len().min(ROOM)));
        }
        let read = self.consume(input, length);
        self.line.extend_from_slice(read);
        self.section += length;
        if found.is_none() {
            return Ok(None);
        }
        let text = text_of(&self.line);
        if text.iter().any(|byte| matches!(byte, b'\r' | 0)) {
            return Err(Fault::ControlCharacter);
        }
        match self.place {
            Place::Start => self.start_line(),
            Place::ChunkLine => self.chunk_line(),
            _ if text.is_empty() => {
                self.flush_field();
                if self.place == Place::Header { self.head_end().map(Some) } else { Ok(Some(self.trailer_end())) }
            }
            _ => self.field_line(),
        }
    }

    fn start_line(&mut self) -> Result<Option<Step>, Fault> {
        let text = text_of(&self.line);
        match self.kind {
            Kind::Request => {
                grammar::request_line(text).filter(|line| line.version.0 == 1).map(drop).ok_or(Fault::RequestLine)?
            }
            Kind::Response => {
                grammar::status_line(text).filter(|line| line.version.0 == 1).map(drop).ok_or(Fault::StatusLine)?
            }
        }
        self.message.start = self.take_line();
        self.place = Place::Header;
        Ok(None)
    }

    fn field_line(&mut self) -> Result<Option<Step>, Fault> {
        let text = text_of(&self.line);
        if matches!(text[0], b' ' | b'\t') {
            if self.field.is_empty() {
                return Err(Fault::Field);
            }
            self.field.unsplit(self.line.split());
        } else {
            grammar::field(text).ok_or(Fault::Field)?;
            self.flush_field();
            self.field = self.line.split();
        }
        Ok(None)
    }

    fn flush_field(&mut self) {
        if self.field.is_empty() {
            return;
        }
        let field = line_of(self.field.split().freeze());
        match &mut self.message.framing {
            Framing::Chunked { .. } if self.missing.is_some() => {}
            Framing::Chunked { trailers, .. } => trailers.push(field),
            _ => self.message.headers.push(field),
        }
    }

    fn head_end(&mut self) -> Result<Step, Fault> {
        let answering = (self.kind == Kind::Response).then_some(self.answering);
        let body = framing::of(&self.message, answering)?;
        if matches!(body, Body::Length(length) if length > self.limits.body) && self.excess == Excess::Refuse {
            return Err(Fault::BodyTooLarge);
        }
        self.message.end = self.take_line();
        self.section = 0;
        (self.message.framing, self.place) = match body {
            Body::Empty => (Framing::Empty, Place::Whole),
            Body::Length(0) => (Framing::Length, Place::Whole),
            Body::Length(left) => (Framing::Length, Place::Length { left }),
            Body::Close => (Framing::Close, Place::Close),
            Body::Chunked => {
                let (chunks, trailers) = (Vec::new(), Vec::new());
                (Framing::Chunked { chunks, trailers, end: Line::default() }, Place::ChunkLine)
            }
        };
        Ok(Step::Head)
    }

    fn read_body(&mut self, left: u64, input: &mut &[u8]) -> Result<Option<Step>, Fault> {
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
        if self.missing.is_none() {
            let room = self.limits.body.saturating_sub(self.charged);
            let kept = usize::try_from(room).unwrap_or(usize::MAX).min(length);
            if kept < length {
                self.over_limit()?;
            }
            self.charged += kept as u64;
            self.body.extend_from_slice(&input[..kept]);
        }
        self.consume(input, length);
        Ok(self.pass(left, length as u64))
    }

    /// Moves on by `bytes` of the `left` ones of the body or chunk.
    fn pass(&mut self, left: u64, bytes: u64) -> Option<Step> {
        self.passed = self.passed.saturating_add(bytes);
        let left = left - bytes;
        match self.place {
            Place::Length { .. } if left == 0 => return Some(Step::Complete(self.take(None))),
            Place::Length { .. } => self.place = Place::Length { left },
            Place::ChunkData { .. } if left == 0 => self.place = Place::ChunkEnd,
            Place::ChunkData { .. } => self.place = Place::ChunkData { left },
            _ => {}
        }
        None
    }

    fn over_limit(&mut self) -> Result<(), Fault> {
        if self.excess == Excess::Refuse {
            return Err(Fault::BodyTooLarge);
        }
        self.missing.get_or_insert(Missing::Excess);
        Ok(())
    }

    /// Readers differ on whether a bare LF ends a chunk extension, so that one is refused.
    fn chunk_line(&mut self) -> Result<Option<Step>, Fault> {
        let text = text_of(&self.line);
        let size = grammar::chunk_size(text).ok_or(Fault::Chunk)?;
        if text.contains(&b';') && !self.line.ends_with(b"\r\n") {
            return Err(Fault::Chunk);
        }
        self.charged = self.charged.saturating_add(CHUNK_COST + self.line.len() as u64);
        if self.charged > self.limits.body {
            self.over_limit()?;
        }
        let line = self.take_line();
        if let Framing::Chunked { chunks, .. } = &mut self.message.framing
            && self.missing.is_none()
        {
            chunks.push(Chunk { line, size });
        }
        self.section = 0;
        self.place = if size == 0 { Place::Trailer } else { Place::ChunkData { left: size } };
        Ok(None)
    }

    fn read_chunk_end(&mut self, input: &mut &[u8]) -> Result<Option<Step>, Fault> {
        match (self.line.is_empty(), input[0]) {
            (true, b'\r') => {
                let start = self.consume(input, 1);
                self.line.extend_from_slice(start);
            }
            (false, b'\n') => {
                self.consume(input, 1);
                self.line.clear();
                self.place = Place::ChunkLine;
            }
            _ => return Err(Fault::Chunk),
        }
        Ok(None)
    }

    fn trailer_end(&mut self) -> Step {
        let line = self.take_line();
        if let Framing::Chunked { end, .. } = &mut self.message.framing {
            *end = line;
        }
        Step::Complete(self.take(None))
    }

    fn take_line(&mut self) -> Line {
        line_of(self.line.split().freeze())
    }
}

/// A line without its line break.
fn text_of(line: &[u8]) -> &[u8] {
    let text = line.strip_suffix(b"\n").unwrap_or(line);
    text.strip_suffix(b"\r").unwrap_or(text)
}

fn line_of(line: Bytes) -> Line {
    let length = if line.ends_with(b"\r\n") { line.len() - 2 } else { line.len() };
    Line(line.slice(..length))
}
