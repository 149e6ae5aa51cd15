//! Both directions of a connection, cut.

use std::collections::VecDeque;

use super::{
    bits::capability,
    compression::{Compression, Unpacked},
    detect::is_commands,
    end::{is_end, read_error},
    handshake::{Greeting, Login},
    packet::{file, packet},
    response::{Kind, Response},
    session::{Asked, Session, Then},
};
use crate::{
    Value,
    wire::{Cut, Dialect, Heard, Told, Unreadable},
};

/// The first bytes of a record of TLS.
const TLS: [u8; 2] = [0x16, 0x03];

/// One connection.
#[derive(Debug, Default)]
pub struct Conversation {
    session: Session,
    /// Requests that wait for their response.
    waiting: VecDeque<(Kind, Then)>,
    /// The response in front, and how far it was read.
    response: Option<(Response, usize)>,
    /// How far a file that the server wanted was read.
    file: usize,
    /// How packets are compressed, once they are.
    compression: Option<Compression>,
    client: Unpacked,
    server: Unpacked,
}

impl Conversation {
    fn asked(&mut self, asked: Asked) -> Heard {
        if asked.ask.answered {
            self.waiting.push_back((asked.kind, asked.then));
        }
        Heard::Request(asked.ask)
    }

    /// Cuts what the client said, unpacked.
    fn cut_client(&mut self, said: &[u8]) -> Result<Cut<Heard>, Unreadable> {
        if self.session.infile.is_some() {
            return Ok(match file(said, &mut self.file) {
                Err(wanted) => Cut::Partial(wanted),
                Ok(packet) => {
                    let asked = self.session.file(&packet.payload);
                    Cut::Whole(packet.end, self.asked(asked))
                }
            });
        }
        if self.session.tls && self.session.capabilities.is_none() && said.starts_with(&TLS) {
            return Err(Unreadable::Encrypted);
        }
        let packet = match packet(said) {
            Ok(packet) => packet,
            Err(wanted) => return Ok(Cut::Partial(wanted)),
        };
        let heard = if packet.number == 0 {
            match self.session.ask(&packet.payload)? {
                Some(asked) => self.asked(asked),
                None => Heard::Aside,
            }
        } else if self.session.greeting.is_some() && self.session.capabilities.is_none() {
            if Login::asks_for_tls(&packet.payload) && !self.session.tls {
                self.session.tls = true;
                Heard::Aside
            } else {
                let (asked, _) = self.session.log_in(&packet.payload).ok_or(Unreadable::Garbage)?;
                self.asked(asked)
            }
        } else if matches!(self.waiting.front(), Some((Kind::Login, _))) {
            // Of how somebody proves who they are nothing is kept.
            Heard::Aside
        } else {
            return Err(Unreadable::Garbage);
        };
        Ok(Cut::Whole(packet.end, heard))
    }

    /// Cuts what the server said, unpacked.
    fn cut_server(&mut self, said: &[u8]) -> Result<Cut<Told>, Unreadable> {
        if self.session.tls && self.session.capabilities.is_none() && said.starts_with(&TLS) {
            return Err(Unreadable::Encrypted);
        }
        let Some((kind, then)) = self.waiting.front() else { return self.cut_unasked(said) };
        let begin = || (Response::new(*kind, self.session.known_columns(then)), 0);
        let (response, at) = self.response.get_or_insert_with(begin);
        let told = loop {
            match packet(&said[(*at).min(said.len())..]) {
                Err(_) if *at == said.len() && *at > 0 => match response.as_it_is(self.session.formats) {
                    Some(told) => break told,
                    None => return Ok(Cut::Partial(*at + 1)),
                },
                Err(wanted) => return Ok(Cut::Partial(*at + wanted)),
                Ok(packet) => {
                    *at += packet.end;
                    if let Some(told) = response.take(&packet.payload, &mut self.session.formats)? {
                        break told;
                    }
                }
            }
        };
        let Some((response, end)) = self.response.take() else { return Err(Unreadable::Garbage) };
        let told = self.finish(&response, told)?;
        Ok(Cut::Whole(end, Told::Response(told)))
    }

    /// A response is whole.
    fn finish(&mut self, response: &Response, told: Value) -> Result<Value, Unreadable> {
        let Some((_, then)) = self.waiting.pop_front() else { return Err(Unreadable::Garbage) };
        let is_login = then == Then::LoggedIn;
        self.session.answered(then, response.statement, &told)?;
        if !is_login {
            return Ok(told);
        }
        if told.get("error").is_none() {
            self.compression = match self.session.capabilities.unwrap_or(0) {
                zlib if zlib & capability::COMPRESS != 0 => Some(Compression::Zlib),
                zstd if zstd & capability::ZSTD_COMPRESSION_ALGORITHM != 0 => Some(Compression::Zstd),
                _ => None,
            };
        }
        let Value::Map(mut members) = told else { return Ok(told) };
        if let Some(greeting) = &self.session.greeting {
            members.push(("server".into(), greeting.to_value()));
        }
        if self.session.tls {
            members.push(("tls".into(), Value::Bool(true)));
        }
        Ok(Value::Map(members))
    }

    /// What comes although nothing was asked: a greeting, why there is none, or why the connection ends.
    fn cut_unasked(&mut self, said: &[u8]) -> Result<Cut<Told>, Unreadable> {
        let packet = match packet(said) {
            Ok(packet) => packet,
            Err(wanted) => return Ok(Cut::Partial(wanted)),
        };
        let told = if let Some(error) = read_error(&packet.payload) {
            Told::Unasked(Value::map([("error", error)]))
        } else if self.session.greeting.is_none() && self.session.capabilities.is_none() && packet.number == 0 {
            self.session.greeting = Some(Greeting::read(&packet.payload).ok_or(Unreadable::Garbage)?);
            Told::Aside
        } else if is_end(&packet.payload) && self.session.formats.deprecate_eof.is_none() {
            // Of the definitions that were taken for whole.
            self.session.formats.deprecate_eof = Some(false);
            Told::Aside
        } else {
            return Err(Unreadable::Garbage);
        };
        Ok(Cut::Whole(packet.end, told))
    }
}

impl Dialect for Conversation {
    fn client(&mut self, said: &[u8]) -> Result<Cut<Heard>, Unreadable> {
        let Some(compression) = self.compression else { return self.cut_client(said) };
        let mut unpacked = std::mem::take(&mut self.client);
        let cut = unpacked.cut(compression, said, |said| self.cut_client(said));
        self.client = unpacked;
        cut
    }

    fn server(&mut self, said: &[u8], _asked: bool) -> Result<Cut<Told>, Unreadable> {
        let Some(compression) = self.compression else { return self.cut_server(said) };
        let mut unpacked = std::mem::take(&mut self.server);
        let cut = unpacked.cut(compression, said, |said| self.cut_server(said));
        self.server = unpacked;
        cut
    }

    fn ended(&mut self) -> Option<Value> {
        None
    }

    fn joined(&mut self) {
        self.session.unplaced();
    }

    fn lost(&mut self) {
        self.session.lost();
        let session = std::mem::take(&mut self.session);
        let compression = self.compression;
        *self = Conversation { session, compression, ..Conversation::default() };
    }

    fn resumes(&self, said: &[u8]) -> bool {
        self.compression.is_none() && is_commands(said)
    }
}

#[cfg(test)]
mod tests;
