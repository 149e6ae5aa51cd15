//! Telling MySQL by the first bytes of a server, or by a command of a client.

use super::{
    data::Reader,
    handshake::VERSION,
    packet::{HEADER, packet},
    session::command,
};
use crate::wire::{Detected, ENOUGH, Opening};

/// The first bytes of a greeting or of an error that comes instead: the length of a packet, its number 0, and the version of the
/// protocol with a version of the server, or the sign of an error with a code and a message.
pub fn detect(opening: Opening<'_>) -> Detected {
    let Opening { client: [], server } = opening else { return Detected::No };
    let Some((header, payload)) = server.split_at_checked(HEADER) else {
        let may_be = server.len() < 3 || server[2] == 0;
        return if may_be { Detected::NeedMore } else { Detected::No };
    };
    let length = usize::from(header[0]) | usize::from(header[1]) << 8;
    if header[2] != 0 || header[3] != 0 || !(5..2048).contains(&length) {
        return Detected::No;
    }
    let is_shown = |byte: &u8| (b' '..=b'~').contains(byte);
    match payload.split_first() {
        None => Detected::NeedMore,
        Some((&VERSION, version)) => {
            let shown = version.iter().take_while(|byte| is_shown(byte)).count();
            match version.get(shown) {
                Some(0) if shown > 0 && version[0].is_ascii_digit() => Detected::Yes,
                None if server.len() < ENOUGH => Detected::NeedMore,
                _ => Detected::No,
            }
        }
        Some((0xff, [code, family, message @ ..])) if !message.is_empty() => {
            let code = u16::from_le_bytes([*code, *family]);
            let message = &message[..message.len().min(length - 3)];
            let is_error = (1000..5000).contains(&code) && message.iter().all(is_shown);
            if is_error { Detected::Yes } else { Detected::No }
        }
        Some((0xff, _)) => Detected::NeedMore,
        Some(_) => Detected::No,
    }
}

/// First words of statements.
const VERBS: &[&str] = &[
    "ALTER",
    "ANALYZE",
    "BEGIN",
    "CALL",
    "CHECK",
    "COMMIT",
    "CREATE",
    "DEALLOCATE",
    "DELETE",
    "DESC",
    "DESCRIBE",
    "DO",
    "DROP",
    "EXECUTE",
    "EXPLAIN",
    "FLUSH",
    "GRANT",
    "HANDLER",
    "INSERT",
    "KILL",
    "LOAD",
    "LOCK",
    "OPTIMIZE",
    "PREPARE",
    "RELEASE",
    "RENAME",
    "REPLACE",
    "REVOKE",
    "ROLLBACK",
    "SAVEPOINT",
    "SELECT",
    "SET",
    "SHOW",
    "START",
    "TABLE",
    "TRUNCATE",
    "UNLOCK",
    "UPDATE",
    "USE",
    "VALUES",
    "WITH",
    "XA",
];

/// Whether bytes that a client said at once are commands, each in one packet, and can hardly be anything else.
pub(super) fn is_commands(said: &[u8]) -> bool {
    let mut rest = said;
    while !rest.is_empty() {
        match packet(rest) {
            Ok(packet) if packet.number == 0 && is_command(&packet.payload) => rest = &rest[packet.end..],
            _ => return false,
        }
    }
    !said.is_empty()
}

fn is_command(payload: &[u8]) -> bool {
    let Some((first, rest)) = payload.split_first() else { return false };
    let mut reader = Reader(rest);
    let is_statement = |id: Option<u32>| id.is_some_and(|id| (1..1 << 24).contains(&id));
    match *first {
        command::PING | command::RESET_CONNECTION => rest.is_empty(),
        command::QUERY => {
            let sql = rest.strip_prefix(b"\x00\x01").unwrap_or(rest);
            is_sql(sql)
        }
        command::STMT_PREPARE => is_sql(rest),
        command::STMT_CLOSE | command::STMT_RESET => rest.len() == 4 && is_statement(reader.u32()),
        command::STMT_EXECUTE => {
            is_statement(reader.u32()) && reader.u8().is_some_and(|flags| flags < 16) && reader.u32() == Some(1)
        }
        _ => false,
    }
}

fn is_sql(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let is_text = text.chars().all(|one| !one.is_control() || matches!(one, '\t' | '\r' | '\n'));
    is_text && VERBS.binary_search(&crate::sql::first_word(text).as_str()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(server: &[u8]) -> Detected {
        detect(Opening { client: &[], server })
    }

    #[test]
    fn first_bytes_of_a_server() {
        let greeting = b"\x4a\0\0\0\x0a8.0.36\0\x08\0\0\0";
        assert_eq!(of(greeting), Detected::Yes);
        assert_eq!(of(b"\x17\0\0\0\xff\x10\x04Too many connections"), Detected::Yes);
        for end in 0..12 {
            if end != 3 {
                assert_eq!(of(&greeting[..end.min(11)]), Detected::NeedMore, "{end}");
            }
        }
        for other in [
            &b"220 mail ready\r\n"[..],
            b"SSH-2.0-OpenSSH\r\n",
            b"+OK\r\n",
            b"\x4a\0\0\x01\x0a8.0.36\0",
            b"\x4a\0\0\0\x098.0.36\0",
            b"\x4a\0\0\0\x0aabc\0",
            b"\x17\0\0\0\xff\x01\x00Too many",
            b"\x01\0\0\0\x0a8",
        ] {
            assert_eq!(of(other), Detected::No, "{other:?}");
        }
        assert_eq!(of(&[&b"\x4a\0\0\0\x0a8"[..], &[b'.'; ENOUGH]].concat()), Detected::No);
        assert_eq!(detect(Opening { client: b"\x01\0\0\0\x0e", server: &[] }), Detected::No);
    }

    #[test]
    fn commands_are_told_and_nothing_else_is() {
        assert!(VERBS.is_sorted());
        for commands in [
            &b"\x01\0\0\0\x0e"[..],
            b"\x09\0\0\0\x03SELECT 1",
            b"\x0b\0\0\0\x03\x00\x01SELECT 1",
            b"\x0a\0\0\0\x17\x01\0\0\0\0\x01\0\0\0",
            b"\x05\0\0\0\x19\x01\0\0\0\x09\0\0\0\x16SELECT ?",
        ] {
            assert!(is_commands(commands), "{commands:?}");
        }
        for other in [
            &b""[..],
            b"GET / HTTP/1.1\r\n\r\n",
            b"\x09\0\0\0\x03SELECT 1\x01",
            b"\x0a\0\0\0\x03SELECT 1",
            b"\x09\0\0\x01\x03SELECT 1",
            b"\x09\0\0\0\x03PUBLISH ",
            b"\x09\0\0\0\x03SELECT \x01",
            b"\x01\0\0\0\x01",
            b"Q\0\0\0\x0dSELECT 1\0",
            b"*1\r\n$4\r\nPING\r\n",
            b"\x0a\0\0\0\x17\x01\0\0\0\0\x02\0\0\0",
        ] {
            assert!(!is_commands(other), "{other:?}");
        }
    }
}
