//! Packets that say that something is done, that rows are over, or that something failed
//! (<https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_response_packets.html>).

use super::{
    bits::{self, STATUS, capability, status},
    data::{Reader, put_length, put_string},
    value::Members,
};
use crate::Value;

/// The end of rows, or of definitions, as it was before [`capability::DEPRECATE_EOF`].
pub(super) const EOF: usize = 5;
/// A longer packet that begins like the end of rows is a row.
const LONGEST_END: usize = 0xff_ffff;
/// The entries of what changed of a connection that are taken apart.
const VARIABLE: u8 = 0;
const SCHEMA: u8 = 1;

/// Whether rows are over.
pub(super) fn is_end(payload: &[u8]) -> bool {
    payload.first() == Some(&0xfe) && payload.len() < LONGEST_END
}

/// What is told at the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct End {
    affected_rows: u64,
    last_insert_id: u64,
    pub(super) status: u16,
    warnings: u16,
    info: Vec<u8>,
    /// What changed of the connection's state.
    session: Vec<Value>,
}

impl End {
    /// Reads a packet of either kind. `track` says whether both sides have [`capability::SESSION_TRACK`], where that is known.
    pub(super) fn read(payload: &[u8], track: Option<bool>) -> Option<End> {
        let mut reader = Reader(payload);
        let header = reader.u8()?;
        if header == 0xfe && payload.len() <= EOF {
            // The oldest servers say nothing more.
            let (warnings, status) = (reader.u16().unwrap_or(0), reader.u16().unwrap_or(0));
            return Some(End { warnings, status, ..End::default() });
        }
        let (affected_rows, last_insert_id) = (reader.length()?, reader.length()?);
        let (status, warnings) = (reader.u16()?, reader.u16()?);
        let end = End { affected_rows, last_insert_id, status, warnings, ..End::default() };
        if track != Some(false)
            && let Some(tracked) = end.clone().tracked(reader)
        {
            return Some(tracked);
        }
        Some(End { info: reader.rest().to_vec(), ..end })
    }

    /// Reads what follows if changes of state are tracked (`CLIENT_SESSION_TRACK`).
    fn tracked(mut self, mut reader: Reader<'_>) -> Option<End> {
        if reader.0.is_empty() {
            return Some(self);
        }
        self.info = reader.string()?.to_vec();
        if self.status & status::SESSION_STATE_CHANGED != 0 {
            let mut changes = Reader(reader.string()?);
            while !changes.0.is_empty() {
                let (kind, change) = (changes.u8()?, changes.string()?);
                self.session.push(told(kind, change));
            }
        }
        reader.0.is_empty().then_some(self)
    }

    /// As it is shown; `counts` where it says how many rows were changed.
    pub(super) fn show(&self, members: Members, counts: bool) -> Members {
        let some = |number: u64| (number != 0).then(|| Value::number(number));
        // Told by there being more.
        let status = self.status & !status::MORE_RESULTS;
        members
            .maybe("affected_rows", counts.then(|| Value::number(self.affected_rows)))
            .maybe("last_insert_id", some(self.last_insert_id))
            .with("status", bits::to_value(u64::from(status), STATUS))
            .maybe("warnings", some(u64::from(self.warnings)))
            .maybe("info", (!self.info.is_empty()).then(|| Value::data(&self.info)))
            .maybe("session", (!self.session.is_empty()).then(|| Value::List(self.session.clone())))
    }

    /// What a result tells of its end.
    pub(super) fn of_value(result: &Value) -> End {
        let number = |name: &str| result.get(name).and_then(Value::as_number::<u64>).unwrap_or(0);
        End {
            affected_rows: number("affected_rows"),
            last_insert_id: number("last_insert_id"),
            status: bits::of_value(result.get("status"), STATUS) as u16,
            warnings: number("warnings") as u16,
            info: result.get("info").and_then(Value::as_data).unwrap_or_default().to_vec(),
            session: result.get("session").and_then(Value::as_list).unwrap_or_default().to_vec(),
        }
    }

    /// That nothing happened but that a status is told.
    pub(super) fn with_status(status: u16) -> End {
        End { status, ..End::default() }
    }

    /// That with this status something changed of the state, each as it is shown.
    pub(super) fn with_changes(status: u16, changes: Vec<Value>) -> End {
        End { status, session: changes, ..End::default() }
    }

    /// Writes it for a client of those capabilities, as that something is done.
    pub(super) fn write_done(&self, capabilities: u64) -> Vec<u8> {
        self.write(0, capabilities)
    }

    /// Writes it for a client of those capabilities, as that rows are over.
    pub(super) fn write_over(&self, capabilities: u64) -> Vec<u8> {
        if capabilities & capability::DEPRECATE_EOF != 0 { self.write(0xfe, capabilities) } else { self.write_eof() }
    }

    /// Writes it as that rows or definitions are over, for clients without [`capability::DEPRECATE_EOF`].
    pub(super) fn write_eof(&self) -> Vec<u8> {
        let status = self.status & !status::SESSION_STATE_CHANGED;
        [&[0xfe][..], &self.warnings.to_le_bytes(), &status.to_le_bytes()].concat()
    }

    fn write(&self, header: u8, capabilities: u64) -> Vec<u8> {
        let track = capabilities & capability::SESSION_TRACK != 0;
        let changes = if track { changes(&self.session) } else { Vec::new() };
        let status = match changes.is_empty() {
            true => self.status & !status::SESSION_STATE_CHANGED,
            false => self.status | status::SESSION_STATE_CHANGED,
        };
        let mut to = vec![header];
        put_length(self.affected_rows, &mut to);
        put_length(self.last_insert_id, &mut to);
        to.extend_from_slice(&status.to_le_bytes());
        to.extend_from_slice(&self.warnings.to_le_bytes());
        if !track {
            to.extend_from_slice(&self.info);
        } else if !self.info.is_empty() || !changes.is_empty() {
            put_string(&self.info, &mut to);
            if !changes.is_empty() {
                put_string(&changes, &mut to);
            }
        }
        to
    }
}

/// `["schema", "shop"]`, `["variable", "autocommit", "ON"]`, or the number of another kind and its bytes.
fn told(kind: u8, change: &[u8]) -> Value {
    let mut reader = Reader(change);
    let strings: Vec<Value> = std::iter::from_fn(|| reader.string()).map(Value::data).collect();
    let word = match (kind, strings.len()) {
        (VARIABLE, 2) => "variable",
        (SCHEMA, 1) => "schema",
        _ => "",
    };
    let mut again = Vec::new();
    strings.iter().filter_map(Value::as_data).for_each(|string| put_string(string, &mut again));
    if word.is_empty() || again != change {
        return Value::List(vec![Value::number(kind), Value::data(change)]);
    }
    Value::List([Value::text(word)].into_iter().chain(strings).collect())
}

/// Writes what [`told`] gave.
fn changes(session: &[Value]) -> Vec<u8> {
    let mut to = Vec::new();
    for change in session.iter().filter_map(Value::as_list) {
        let Some((kind, strings)) = change.split_first() else { continue };
        let mut bytes = Vec::new();
        let kind = match kind.as_text() {
            Some("variable") => VARIABLE,
            Some("schema") => SCHEMA,
            _ => {
                bytes.extend_from_slice(strings.first().and_then(Value::as_data).unwrap_or_default());
                kind.as_number().unwrap_or(u8::MAX)
            }
        };
        if bytes.is_empty() {
            strings.iter().filter_map(Value::as_data).for_each(|string| put_string(string, &mut bytes));
        }
        to.push(kind);
        put_string(&bytes, &mut to);
    }
    to
}

/// Reads an error: `{"code": 1064, "state": "42000", "message": "…"}`.
pub(super) fn read_error(payload: &[u8]) -> Option<Value> {
    let mut reader = Reader(payload);
    if reader.u8()? != 0xff {
        return None;
    }
    let code = reader.u16()?;
    // Before somebody is let in there is none.
    let state = (reader.0.first() == Some(&b'#')).then(|| reader.take(6)).flatten();
    Some(
        Members::new()
            .with("code", Value::number(code))
            .maybe("state", state.map(|state| Value::data(&state[1..])))
            .with("message", Value::data(reader.rest()))
            .into(),
    )
}

/// Writes such an error.
pub(super) fn write_error(error: &Value) -> Vec<u8> {
    let data = |name: &str| error.get(name).and_then(Value::as_data);
    let code: u16 = error.get("code").and_then(Value::as_number).unwrap_or(0);
    let mut to = vec![0xff];
    to.extend_from_slice(&code.to_le_bytes());
    if let Some(state) = data("state").filter(|state| state.len() == 5) {
        to.push(b'#');
        to.extend_from_slice(state);
    }
    to.extend_from_slice(data("message").unwrap_or_default());
    to
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACK: u64 = capability::SESSION_TRACK;

    fn shown(end: &End) -> Value {
        end.show(Members::new(), true).into()
    }

    #[test]
    fn what_is_done_comes_back() {
        for (capabilities, bytes) in [
            (0, &b"\x00\x01\xfc\x00\x01\x02\x00\x00\x00Rows matched: 1"[..]),
            (0, b"\x00\x00\x00\x02\x00\x01\x00"),
            (TRACK, b"\x00\x00\x00\x02\x00\x00\x00"),
            (TRACK, b"\x00\x00\x00\x02\x00\x00\x00\x04info"),
            (TRACK, b"\x00\x00\x00\x02\x40\x00\x00\x00\x07\x01\x05\x04shop"),
            (TRACK, b"\x00\x00\x00\x02\x40\x00\x00\x00\x12\x00\x0d\x0aautocommit\x01x\x05\x01\x01"),
        ] {
            let end = End::read(bytes, Some(capabilities == TRACK)).unwrap();
            assert_eq!(End::of_value(&shown(&end)).write_done(capabilities), bytes, "{end:?}");
            assert_eq!(End::read(bytes, None), Some(end), "it is told without knowing");
        }
    }

    #[test]
    fn a_client_that_does_not_track_its_session_is_told_nothing_of_it() {
        let end = End::read(b"\x00\x00\x00\x02\x40\x00\x00\x00\x07\x01\x05\x04shop", Some(true)).unwrap();
        let change = Value::List(vec![Value::text("schema"), Value::text("shop")]);
        assert_eq!(shown(&end).get("session"), Some(&Value::List(vec![change])));
        assert_eq!(end.write_done(0), b"\x00\x00\x00\x02\x00\x00\x00");
        assert_eq!(end.write_over(0), b"\xfe\x00\x00\x02\x00");
        assert_eq!(end.write_over(capability::DEPRECATE_EOF), b"\xfe\x00\x00\x02\x00\x00\x00");
    }

    #[test]
    fn an_error_comes_back() {
        for bytes in [&b"\xff\x28\x04#42000You have"[..], b"\xff\x10\x04Too many connections"] {
            assert_eq!(write_error(&read_error(bytes).unwrap()), bytes);
        }
        assert_eq!(read_error(b"\xff\x10"), None);
    }
}
