//! What a client says (PostgreSQL manual, section 55.7, messages marked F).

use super::message::{Frame, Reader};

/// A message of a client behind the start-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message<'a> {
    Query(&'a [u8]),
    Parse {
        name: &'a [u8],
        sql: &'a [u8],
        types: Vec<u32>,
    },
    Bind(Bind<'a>),
    Describe(Named<'a>),
    Execute {
        portal: &'a [u8],
        max_rows: i32,
    },
    Close(Named<'a>),
    Sync,
    Flush,
    CopyData(&'a [u8]),
    CopyDone,
    CopyFail(&'a [u8]),
    FunctionCall {
        function: u32,
        formats: Vec<i16>,
        args: Vec<Option<&'a [u8]>>,
        result: i16,
    },
    /// A password, or a step of an authentication: not looked at.
    Password,
    Terminate,
}

/// A portal made of a statement and parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bind<'a> {
    pub portal: &'a [u8],
    pub statement: &'a [u8],
    pub formats: Vec<i16>,
    pub params: Vec<Option<&'a [u8]>>,
    pub results: Vec<i16>,
}

/// What is described or closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named<'a> {
    Statement(&'a [u8]),
    Portal(&'a [u8]),
}

impl<'a> Message<'a> {
    /// Reads a message; `None` where it is none.
    pub fn read(frame: Frame<'a>) -> Option<Message<'a>> {
        let mut body = Reader(frame.body);
        let message = match frame.tag {
            b'Q' => Message::Query(body.string()?),
            b'P' => Message::Parse { name: body.string()?, sql: body.string()?, types: body.many(Reader::u32)? },
            b'B' => Message::Bind(Bind {
                portal: body.string()?,
                statement: body.string()?,
                formats: body.many(Reader::i16)?,
                params: body.many(Reader::value)?,
                results: body.many(Reader::i16)?,
            }),
            b'D' => Message::Describe(named(&mut body)?),
            b'E' => Message::Execute { portal: body.string()?, max_rows: body.i32()? },
            b'C' => Message::Close(named(&mut body)?),
            b'S' => Message::Sync,
            b'H' => Message::Flush,
            b'd' => Message::CopyData(body.take(body.0.len())?),
            b'c' => Message::CopyDone,
            b'f' => Message::CopyFail(body.string()?),
            b'F' => Message::FunctionCall {
                function: body.u32()?,
                formats: body.many(Reader::i16)?,
                args: body.many(Reader::value)?,
                result: body.i16()?,
            },
            b'p' => {
                body.take(body.0.len())?;
                Message::Password
            }
            b'X' => Message::Terminate,
            _ => return None,
        };
        body.is_over().then_some(message)
    }
}

fn named<'a>(body: &mut Reader<'a>) -> Option<Named<'a>> {
    match body.u8()? {
        b'S' => Some(Named::Statement(body.string()?)),
        b'P' => Some(Named::Portal(body.string()?)),
        _ => None,
    }
}

/// The format of the value with that number: 0 = text, 1 = binary. None given stands for text, one for all.
pub(super) fn format(formats: &[i16], number: usize) -> i16 {
    match formats {
        [] => 0,
        [one] => *one,
        many => many.get(number).copied().unwrap_or(0),
    }
}
