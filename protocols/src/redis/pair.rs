//! Both directions of a connection, cut.

use std::collections::VecDeque;

use super::{
    command::{command, is_setup, request, word},
    detect, reply,
    scan::{Extent, Scan},
};
use crate::{
    Value,
    wire::{Ask, Cut, Detected, Dialect, Heard, Opening, Told, Unreadable},
};

/// A longer command as a line is none, as in Redis.
const LONGEST_INLINE: usize = 64 << 10;
/// More messages to a subscriber are not kept, nor more bytes of them.
const MOST_STREAMED: usize = 100_000;
const HEAVIEST_STREAM: usize = 64 << 20;

/// How a request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answers {
    /// By one reply.
    One,
    /// By all that follows until another request is answered: it has to do with subscriptions, or asks to be shown what others do.
    Stream,
}

/// One connection.
#[derive(Debug, Default)]
pub struct Conversation {
    client: Scan,
    server: Scan,
    /// Requests that wait for their reply.
    waiting: VecDeque<Answers>,
    silent: Silence,
    /// What was told of the stream in front.
    stream: Vec<Value>,
    stream_weight: usize,
    /// The database that was selected, where that is not 0; null where that was not seen.
    database: Option<Value>,
    /// Within a transaction, in which the server runs nothing until its end.
    in_transaction: bool,
}

/// Whether replies are switched off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Silence {
    #[default]
    None,
    /// For the request that follows `CLIENT REPLY SKIP`.
    Once,
    Always,
}

impl Conversation {
    fn ask(&mut self, mut value: Value) -> Heard {
        let command = command(&value);
        let setup = is_setup(&value) && !self.in_transaction;
        match command.as_str() {
            "MULTI" => self.in_transaction = true,
            "EXEC" | "DISCARD" | "RESET" => self.in_transaction = false,
            _ => {}
        }
        match (command.as_str(), word(&value, 0)) {
            ("SELECT", Some(number)) => {
                self.database = number.parse::<u32>().ok().filter(|number| *number != 0).map(Value::number);
            }
            ("RESET", _) => self.database = None,
            _ => {}
        }
        let answers = match command.as_str() {
            "SUBSCRIBE" | "PSUBSCRIBE" | "SSUBSCRIBE" | "UNSUBSCRIBE" | "PUNSUBSCRIBE" | "SUNSUBSCRIBE" | "MONITOR" => {
                Answers::Stream
            }
            _ => Answers::One,
        };
        let before = self.silent;
        if self.silent == Silence::Once {
            self.silent = Silence::None;
        }
        if command == "CLIENT" && word(&value, 0).as_deref() == Some("REPLY") {
            self.silent = match word(&value, 1).as_deref() {
                Some("OFF") => Silence::Always,
                Some("SKIP") if before != Silence::Always => Silence::Once,
                Some("ON") => Silence::None,
                _ => self.silent,
            };
        }
        // `ON` is answered, `OFF` and `SKIP` are not.
        let answered = self.silent == Silence::None && before != Silence::Once;
        if answered {
            self.waiting.push_back(answers);
        }
        if !setup && let (Value::Map(members), Some(database)) = (&mut value, &self.database) {
            members.push(("db".into(), database.clone()));
        }
        Heard::Request(Ask { value, setup, answered })
    }

    /// Whether what came belongs to the request behind the stream in front.
    fn is_over(&self, value: &Value) -> bool {
        let is_message = matches!(kind(value).as_deref(), Some("message" | "pmessage" | "smessage"));
        !is_message && !self.stream.is_empty() && self.waiting.len() > 1
    }

    fn end_stream(&mut self) -> Value {
        self.waiting.pop_front();
        self.stream_weight = 0;
        Value::map([("stream", Value::List(std::mem::take(&mut self.stream)))])
    }

    /// A command as a line of words, as people type it.
    fn inline(&mut self, said: &[u8]) -> Result<Cut<Heard>, Unreadable> {
        let line = &said[..said.len().min(LONGEST_INLINE)];
        let Some(end) = line.iter().position(|byte| *byte == b'\n') else {
            let too_long = said.len() > LONGEST_INLINE;
            return if too_long { Err(Unreadable::Garbage) } else { Ok(Cut::Partial(said.len() + 1)) };
        };
        let words = line[..end].split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let words: Vec<Value> = words.map(Value::data).collect();
        // Quoted words are not taken apart: nobody but a person says them.
        Ok(Cut::Whole(end + 1, if words.is_empty() { Heard::Aside } else { self.ask(request(words)) }))
    }
}

impl Dialect for Conversation {
    fn client(&mut self, said: &[u8]) -> Result<Cut<Heard>, Unreadable> {
        match said.first() {
            Some(b'*') => {}
            Some(_) => return self.inline(said),
            None => return Ok(Cut::Partial(1)),
        }
        let end = match self.client.value(said)? {
            Extent::AtLeast(wanted) => return Ok(Cut::Partial(wanted)),
            Extent::Whole(end) => end,
        };
        match reply::read(&said[..end]) {
            // Redis reads on after these without an answer.
            Some((Value::List(words), _)) if words.is_empty() => Ok(Cut::Whole(end, Heard::Aside)),
            Some((Value::List(words), _)) if words.iter().all(|word| word.as_data().is_some()) => {
                Ok(Cut::Whole(end, self.ask(request(words))))
            }
            Some((Value::Map(_), _)) if said.starts_with(b"*-1\r\n") => Ok(Cut::Whole(end, Heard::Aside)),
            _ => Err(Unreadable::Garbage),
        }
    }

    fn server(&mut self, said: &[u8], _asked: bool) -> Result<Cut<Told>, Unreadable> {
        let end = match self.server.value(said)? {
            Extent::AtLeast(wanted) => return Ok(Cut::Partial(wanted)),
            Extent::Whole(end) => end,
        };
        let (value, _) = reply::read(&said[..end]).ok_or(Unreadable::Garbage)?;
        let told = match self.waiting.front() {
            Some(Answers::Stream) if self.is_over(&value) => {
                return Ok(Cut::Whole(0, Told::Response(self.end_stream())));
            }
            Some(Answers::Stream) => {
                self.stream_weight += value.weight();
                if self.stream.len() >= MOST_STREAMED || self.stream_weight > HEAVIEST_STREAM {
                    return Err(Unreadable::TooLarge);
                }
                self.stream.push(value);
                Told::Part
            }
            // To a client of RESP3 between replies: of what it subscribed to, of keys that changed.
            _ if value.get("push").is_some() => Told::Unasked(value),
            Some(Answers::One) => {
                self.waiting.pop_front();
                Told::Response(value)
            }
            None => return Err(Unreadable::Garbage),
        };
        Ok(Cut::Whole(end, told))
    }

    fn ended(&mut self) -> Option<Value> {
        let is_stream = self.waiting.front() == Some(&Answers::Stream) && !self.stream.is_empty();
        is_stream.then(|| self.end_stream())
    }

    fn joined(&mut self) {
        self.database = Some(Value::Null);
    }

    fn lost(&mut self) {
        let (silent, database) = (self.silent, self.database.take());
        *self = Conversation { silent, database, ..Conversation::default() };
    }

    fn resumes(&self, said: &[u8]) -> bool {
        detect(Opening { client: said, server: &[] }) == Detected::Yes
    }
}

/// The first word of what a subscriber is told, in lower case.
fn kind(value: &Value) -> Option<String> {
    let items = value.get("push").unwrap_or(value).as_list()?;
    Some(items.first()?.as_text()?.to_ascii_lowercase())
}

#[cfg(test)]
mod tests;
