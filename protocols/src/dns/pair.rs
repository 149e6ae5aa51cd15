//! Both directions of a connection, cut.

use std::collections::VecDeque;

use super::message::{asked, read_query, read_response};
use crate::{
    Value,
    wire::{Ask, Cut, Detected, Dialect, Heard, Opening, Told, Unreadable},
};

/// More bytes of responses that came early are not kept.
const HEAVIEST_EARLY: usize = 8 << 20;

/// One connection. A server may answer in any order (RFC 7766 section 7): a response that comes before its turn is kept until then.
#[derive(Debug, Default)]
pub struct Conversation {
    /// Questions that wait: their number, and the response that came early.
    waiting: VecDeque<(u16, Option<Value>)>,
    /// What the early ones weigh.
    early: usize,
}

impl Conversation {
    /// The question in front is answered. What came early is told once its turn has come, in front of the message of `taken` bytes that
    /// brought the turn on: that is taken last.
    fn told(&mut self, response: Value, taken: usize) -> Cut<Told> {
        self.waiting.pop_front();
        let more = self.waiting.front().is_some_and(|(_, early)| early.is_some());
        Cut::Whole(if more { 0 } else { taken }, Told::Response(response))
    }
}

/// The message behind its length.
pub(super) fn message(said: &[u8]) -> Result<&[u8], usize> {
    let Some(length) = said.first_chunk() else { return Err(2) };
    let length = usize::from(u16::from_be_bytes(*length));
    said.get(2..2 + length).ok_or(2 + length)
}

impl Dialect for Conversation {
    fn client(&mut self, said: &[u8]) -> Result<Cut<Heard>, Unreadable> {
        let bytes = match message(said) {
            Ok(bytes) => bytes,
            Err(wanted) => return Ok(Cut::Partial(wanted)),
        };
        let query = read_query(bytes).ok_or(Unreadable::Garbage)?;
        let value = asked(&query).ok_or(Unreadable::Garbage)?;
        self.waiting.push_back((query.metadata.id, None));
        Ok(Cut::Whole(2 + bytes.len(), Heard::Request(Ask { value, setup: true, answered: true })))
    }

    fn server(&mut self, said: &[u8], _asked: bool) -> Result<Cut<Told>, Unreadable> {
        let bytes = match message(said) {
            Ok(bytes) => bytes,
            Err(wanted) => return Ok(Cut::Partial(wanted)),
        };
        let taken = 2 + bytes.len();
        let (reply, response) = read_response(bytes).ok_or(Unreadable::Garbage)?;
        if let Some(early) = self.waiting.front_mut().and_then(|(_, early)| early.take()) {
            self.early -= early.weight();
            return Ok(self.told(early, taken));
        }
        match self.waiting.iter().position(|(id, early)| *id == reply.metadata.id && early.is_none()) {
            Some(0) => Ok(self.told(response, taken)),
            Some(place) => {
                self.early += response.weight();
                if self.early > HEAVIEST_EARLY {
                    return Err(Unreadable::TooLarge);
                }
                self.waiting[place].1 = Some(response);
                Ok(Cut::Whole(taken, Told::Aside))
            }
            None => Err(Unreadable::Garbage),
        }
    }

    fn ended(&mut self) -> Option<Value> {
        None
    }

    fn lost(&mut self) {
        *self = Conversation::default();
    }

    fn resumes(&self, said: &[u8]) -> bool {
        super::detect(Opening { client: said, server: &[] }) == Detected::Yes
    }
}

#[cfg(test)]
mod tests;
