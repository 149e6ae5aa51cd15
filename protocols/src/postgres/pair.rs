//! Both directions of a connection, cut.

use std::{collections::VecDeque, sync::Arc};

use super::{
    client::format,
    column::{Column, read_columns},
    detect,
    message::{Frame, Framed, Reader, frame},
    notice,
    reply::Reply,
    session::{Portal, Session, Step},
};
use crate::{
    Value,
    wire::{Cut, Dialect, Heard, Told, Unreadable},
};

/// More steps without an answer are not followed.
const MOST_STEPS: usize = 1 << 20;

/// One connection.
#[derive(Debug, Default)]
pub struct Conversation {
    session: Session,
    /// What is to be answered, in order.
    waiting: VecDeque<Waiting>,
    reply: Reply,
    /// The client said something that is not whole.
    held: bool,
    /// The server takes the data that are copied.
    granted: bool,
    /// After an error the server passes over everything up to the next Sync.
    skipping: bool,
}

/// A step, and whether it ends a request.
#[derive(Debug)]
struct Waiting {
    step: Step,
    ends: bool,
}

/// What a message does to the step in front.
enum Effect {
    /// It goes on.
    More,
    /// It is done.
    Done,
    /// The request that it belongs to is answered, whatever steps it has left.
    Answered,
}

impl Conversation {
    /// Passes over what the server passes over: the response, if a request ends by that.
    fn skip(&mut self) -> Option<Told> {
        if !self.granted && matches!(self.waiting.front(), Some(Waiting { step: Step::Copied { .. }, .. })) {
            // Data that came before anybody knew that nothing would be copied.
            let ends = self.waiting.pop_front()?.ends;
            self.reply.member("skipped", Value::Bool(true));
            return ends.then(|| Told::Response(self.reply.finish()));
        }
        while self.skipping && self.waiting.front().is_some_and(|front| !matches!(front.step, Step::Sync)) {
            let front = self.waiting.pop_front()?;
            if matches!(front.step, Step::Execute(_)) && !self.reply.has("error") {
                self.reply.member("skipped", Value::Bool(true));
            }
            if front.ends {
                return Some(Told::Response(self.reply.finish()));
            }
        }
        None
    }

    fn message(&mut self, message: Frame<'_>) -> Result<Told, Unreadable> {
        match message.tag {
            b'N' => {
                let fields = notice::read(message.body).ok_or(Unreadable::Garbage)?;
                if self.waiting.is_empty() {
                    return Ok(Told::Unasked(Value::map([("notice", fields)])));
                }
                self.reply.notice(fields)?;
                return Ok(Told::Part);
            }
            b'S' => {
                let mut body = Reader(message.body);
                let (Some(name), Some(value)) = (body.string(), body.string()) else { return Err(Unreadable::Garbage) };
                let (name, value) = (Value::data(name), Value::data(value));
                if self.waiting.is_empty() {
                    return Ok(Told::Unasked(Value::map([("setting", Value::List(vec![name, value]))])));
                }
                self.reply.setting(name, value)?;
                return Ok(Told::Part);
            }
            b'A' => {
                let mut body = Reader(message.body);
                let (Some(process), Some(channel), Some(payload)) = (body.i32(), body.string(), body.string()) else {
                    return Err(Unreadable::Garbage);
                };
                let said = Value::map([
                    ("channel", Value::data(channel)),
                    ("payload", Value::data(payload)),
                    ("process", Value::number(process)),
                ]);
                if self.waiting.is_empty() {
                    return Ok(Told::Unasked(Value::map([("notification", said)])));
                }
                self.reply.notification(said)?;
                return Ok(Told::Part);
            }
            b'E' if self.waiting.is_empty() => {
                let fields = notice::read(message.body).ok_or(Unreadable::Garbage)?;
                return Ok(Told::Unasked(Value::map([("error", fields)])));
            }
            _ => {}
        }
        let Some(front) = self.waiting.pop_front() else { return Err(Unreadable::Garbage) };
        let mut ends = front.ends;
        match self.answers(&front.step, message)? {
            Effect::More => {
                self.waiting.push_front(front);
                return Ok(Told::Part);
            }
            Effect::Done => {}
            Effect::Answered => {
                while !ends && let Some(next) = self.waiting.pop_front() {
                    ends = next.ends;
                }
            }
        }
        Ok(if ends { Told::Response(self.reply.finish()) } else { Told::Part })
    }

    /// Takes in a message that belongs to a step.
    fn answers(&mut self, step: &Step, message: Frame<'_>) -> Result<Effect, Unreadable> {
        let Frame { tag, body } = message;
        if tag == b'E' {
            return self.error(step, body);
        }
        if tag == b'Z' {
            let status = match body {
                [b'I'] => "idle",
                [b'T'] => "transaction",
                [b'E'] => "failed",
                _ => return Err(Unreadable::Garbage),
            };
            self.skipping = false;
            let is_end = matches!(
                step,
                Step::Sync | Step::Query(_) | Step::Function | Step::Startup | Step::Copied { simple: true, .. }
            );
            if !is_end {
                return Err(Unreadable::Garbage);
            }
            self.reply.member("status", Value::text(status));
            self.granted = false;
            return Ok(Effect::Done);
        }
        match (step, tag) {
            (Step::Startup, b'R') => {
                let how = match Reader(body).i32() {
                    Some(0) => return Ok(Effect::More),
                    Some(3) => "password",
                    Some(5) => "md5",
                    Some(7 | 8) => "gss",
                    Some(10) => "sasl",
                    // Its further steps.
                    Some(11 | 12) => return Ok(Effect::More),
                    _ => "other",
                };
                self.reply.member("authentication", Value::text(how));
                Ok(Effect::More)
            }
            // The key behind it, to cancel queries, is of no use later.
            (Step::Startup, b'K') => {
                let process = Reader(body).i32().ok_or(Unreadable::Garbage)?;
                self.reply.member("process", Value::number(process));
                Ok(Effect::More)
            }
            // What of the protocol the server does not know.
            (Step::Startup, b'v') => Ok(Effect::More),
            (Step::Parse, b'1') | (Step::Bind, b'2') | (Step::Close, b'3') => Ok(Effect::Done),
            (Step::DescribeStatement(statement), b't') => {
                let oids = Reader(body).many(Reader::u32).ok_or(Unreadable::Garbage)?;
                self.reply.parameters(&oids);
                let _ = statement.parameters.set(oids);
                Ok(Effect::More)
            }
            (Step::DescribeStatement(statement), b'T' | b'n') => {
                let columns = described(tag, body)?;
                if !columns.is_empty() {
                    self.reply.member("columns", Value::List(columns.iter().map(Column::value).collect()));
                }
                let _ = statement.columns.set(columns);
                Ok(Effect::Done)
            }
            (Step::DescribePortal(portal), b'T' | b'n') => {
                let columns = described(tag, body)?;
                if portal.is_unknown() && !columns.is_empty() {
                    self.reply.member("columns", Value::List(columns.iter().map(Column::value).collect()));
                }
                let _ = portal.statement.columns.set(columns);
                Ok(Effect::Done)
            }
            (Step::Execute(portal), _) => self.executes(portal, message),
            (Step::Query(sql), _) => self.queries(sql, message),
            (Step::Copied { simple, .. }, b'C') => {
                self.reply.result(("tag", text(body)?), None, true);
                if *simple {
                    return Ok(Effect::More);
                }
                self.granted = false;
                Ok(Effect::Done)
            }
            (Step::Copied { simple: true, .. }, _) => self.queries(&Value::Null, message),
            (Step::Function, b'V') => {
                let value = Reader(body).value().ok_or(Unreadable::Garbage)?;
                self.reply.result(("value", value.map_or(Value::Null, Value::data)), None, true);
                Ok(Effect::More)
            }
            _ => Err(Unreadable::Garbage),
        }
    }

    fn error(&mut self, step: &Step, body: &[u8]) -> Result<Effect, Unreadable> {
        self.reply.member("error", notice::read(body).ok_or(Unreadable::Garbage)?);
        match step {
            Step::Query(_) | Step::Function | Step::Copied { simple: true, .. } | Step::Sync => {
                return Ok(Effect::More);
            }
            Step::Startup | Step::Encryption { .. } => return Ok(Effect::Answered),
            Step::Parse => self.reply.member("failed", Value::text("parse")),
            Step::Bind => self.reply.member("failed", Value::text("bind")),
            Step::DescribeStatement(_) | Step::DescribePortal(_) => {
                self.reply.member("failed", Value::text("describe"))
            }
            Step::Execute(portal) => {
                let columns = portal.statement.columns.get().map(Vec::as_slice);
                self.reply.result(("cut", Value::Bool(true)), columns, false);
            }
            Step::Close | Step::Copied { .. } => {}
        }
        self.granted = false;
        self.skipping = true;
        Ok(Effect::Done)
    }

    /// Takes in what the execution of a portal is answered.
    fn executes(&mut self, portal: &Arc<Portal>, message: Frame<'_>) -> Result<Effect, Unreadable> {
        let Frame { tag, body } = message;
        let columns = portal.statement.columns.get().map(Vec::as_slice);
        let last = match tag {
            b'D' => {
                self.reply.row(body, columns, &|at| format(&portal.formats, at))?;
                return Ok(Effect::More);
            }
            b'C' => ("tag", text(body)?),
            b'I' => ("empty", Value::Bool(true)),
            b's' => ("suspended", Value::Bool(true)),
            b'G' => {
                self.reply.result(("copy-in", copy(body)?), None, true);
                self.grant(&portal.statement.sql, false);
                return Ok(Effect::Answered);
            }
            _ => return self.copies_out(message),
        };
        let is_known = tag == b'I' || self.reply.is_copying();
        self.reply.result(last, columns, is_known);
        Ok(Effect::Done)
    }

    /// The server takes data.
    fn grant(&mut self, sql: &Value, simple: bool) {
        self.granted = true;
        let is_here = matches!(self.waiting.front(), Some(Waiting { step: Step::Copied { .. }, .. }));
        if !is_here && !self.session.is_copying() {
            self.session.copy(sql.clone(), simple);
        }
    }

    /// Takes in what a simple query is answered.
    fn queries(&mut self, sql: &Value, message: Frame<'_>) -> Result<Effect, Unreadable> {
        let Frame { tag, body } = message;
        match tag {
            b'T' => self.reply.columns(described(tag, body)?),
            b'D' => {
                let formats: Vec<i16> = self
                    .reply
                    .described()
                    .iter()
                    .flat_map(|columns| columns.iter())
                    .map(|column| column.format)
                    .collect();
                self.reply.row(body, None, &|at| formats.get(at).copied().unwrap_or(0))?;
            }
            b'C' => self.reply.result(("tag", text(body)?), None, true),
            b'I' => self.reply.result(("empty", Value::Bool(true)), None, true),
            b'G' => {
                self.reply.result(("copy-in", copy(body)?), None, true);
                self.grant(sql, true);
                return Ok(Effect::Answered);
            }
            _ => return self.copies_out(message),
        }
        Ok(Effect::More)
    }

    fn copies_out(&mut self, message: Frame<'_>) -> Result<Effect, Unreadable> {
        match message.tag {
            b'H' => self.reply.copy_out(copy(message.body)?),
            b'd' => self.reply.copied(message.body)?,
            b'c' => {}
            // Copying in both directions is replication, which has no requests.
            _ => return Err(Unreadable::Garbage),
        }
        Ok(Effect::More)
    }
}

impl Dialect for Conversation {
    fn client(&mut self, said: &[u8]) -> Result<Cut<Heard>, Unreadable> {
        let (count, unit) = match self.session.cut(said)? {
            Cut::Partial(wanted) => {
                self.held = true;
                return Ok(Cut::Partial(wanted));
            }
            Cut::Whole(count, unit) => (count, unit),
        };
        self.held = false;
        let is_request = matches!(unit.heard, Heard::Request(_));
        let last = unit.steps.len().saturating_sub(1);
        self.waiting.extend(
            unit.steps.into_iter().enumerate().map(|(at, step)| Waiting { step, ends: is_request && at == last }),
        );
        if self.waiting.len() > MOST_STEPS {
            return Err(Unreadable::TooLarge);
        }
        Ok(Cut::Whole(count, unit.heard))
    }

    fn server(&mut self, said: &[u8], _asked: bool) -> Result<Cut<Told>, Unreadable> {
        if let Some(told) = self.skip() {
            return Ok(Cut::Whole(0, told));
        }
        if let Some(Waiting { step: Step::Encryption { gss }, .. }) = self.waiting.front()
            && said[0] != b'E'
        {
            let accepted = match said[0] {
                b'N' => false,
                b'S' if !gss => true,
                b'G' if *gss => return Err(Unreadable::Encrypted),
                _ => return Err(Unreadable::Garbage),
            };
            self.waiting.pop_front();
            return Ok(Cut::Whole(1, Told::Response(Value::map([("accepted", Value::Bool(accepted))]))));
        }
        let message = match frame(said)? {
            Framed::Partial(wanted) => return Ok(Cut::Partial(wanted)),
            Framed::Whole(message) => message,
        };
        // What it answers was not said to its end yet, or is given up: of a COPY that failed.
        let is_early = self.waiting.is_empty() && (self.held || self.session.is_copying());
        if is_early && !matches!(message.tag, b'N' | b'S' | b'A') {
            return Ok(Cut::Partial(said.len() + 1));
        }
        let count = message.len();
        Ok(Cut::Whole(count, self.message(message)?))
    }

    fn ended(&mut self) -> Option<Value> {
        None
    }

    fn lost(&mut self) {
        self.session.lost();
        self.waiting.clear();
        self.reply = Reply::default();
        (self.held, self.granted, self.skipping) = (false, false, false);
    }

    fn resumes(&self, said: &[u8]) -> bool {
        detect::resumes(said)
    }
}

/// The columns of a description; none where there are no rows.
fn described(tag: u8, body: &[u8]) -> Result<Vec<Column>, Unreadable> {
    if tag == b'n' { Ok(Vec::new()) } else { read_columns(body).ok_or(Unreadable::Garbage) }
}

fn text(body: &[u8]) -> Result<Value, Unreadable> {
    Reader(body).string().map(Value::data).ok_or(Unreadable::Garbage)
}

/// How data are copied: `{"format": "text", "columns": ["text", "text"]}`.
fn copy(body: &[u8]) -> Result<Value, Unreadable> {
    let name = |format: i16| Value::text(if format == 0 { "text" } else { "binary" });
    let mut body = Reader(body);
    let read = body.u8().zip(body.many(Reader::i16));
    let (all, columns) = read.ok_or(Unreadable::Garbage)?;
    Ok(Value::map([("format", name(all.into())), ("columns", Value::List(columns.into_iter().map(name).collect()))]))
}

#[cfg(test)]
mod tests;
