//! Bits that have names: capabilities, the status of a connection, the flags of a column.

use crate::Value;

/// What a bit is called.
pub(super) type Names = [(u64, &'static str)];

/// What client and server are capable of
/// (<https://dev.mysql.com/doc/dev/mysql-server/latest/group__group__cs__capabilities__flags.html>); from bit 32 on those of
/// MariaDB (<https://mariadb.com/kb/en/connection/#capabilities>).
pub(super) mod capability {
    /// In MariaDB: none of its own capabilities are told.
    pub(in super::super) const LONG_PASSWORD: u64 = 1;
    pub(in super::super) const CONNECT_WITH_DB: u64 = 1 << 3;
    pub(in super::super) const COMPRESS: u64 = 1 << 5;
    pub(in super::super) const PROTOCOL_41: u64 = 1 << 9;
    pub(in super::super) const SSL: u64 = 1 << 11;
    pub(in super::super) const SECURE_CONNECTION: u64 = 1 << 15;
    pub(in super::super) const PLUGIN_AUTH: u64 = 1 << 19;
    pub(in super::super) const PLUGIN_AUTH_LENENC_CLIENT_DATA: u64 = 1 << 21;
    pub(in super::super) const SESSION_TRACK: u64 = 1 << 23;
    pub(in super::super) const DEPRECATE_EOF: u64 = 1 << 24;
    pub(in super::super) const OPTIONAL_RESULTSET_METADATA: u64 = 1 << 25;
    pub(in super::super) const ZSTD_COMPRESSION_ALGORITHM: u64 = 1 << 26;
    pub(in super::super) const QUERY_ATTRIBUTES: u64 = 1 << 27;
    pub(in super::super) const MULTI_FACTOR_AUTHENTICATION: u64 = 1 << 28;
    pub(in super::super) const MARIADB_PROGRESS: u64 = 1 << 32;
    pub(in super::super) const MARIADB_COM_MULTI: u64 = 1 << 33;
    pub(in super::super) const MARIADB_EXTENDED_METADATA: u64 = 1 << 35;
    pub(in super::super) const MARIADB_CACHE_METADATA: u64 = 1 << 36;
}

pub(super) const CAPABILITIES: &Names = &[
    (capability::LONG_PASSWORD, "long_password"),
    (1 << 1, "found_rows"),
    (1 << 2, "long_flag"),
    (capability::CONNECT_WITH_DB, "connect_with_db"),
    (1 << 4, "no_schema"),
    (capability::COMPRESS, "compress"),
    (1 << 6, "odbc"),
    (1 << 7, "local_files"),
    (1 << 8, "ignore_space"),
    (capability::PROTOCOL_41, "protocol_41"),
    (1 << 10, "interactive"),
    (capability::SSL, "ssl"),
    (1 << 12, "ignore_sigpipe"),
    (1 << 13, "transactions"),
    (1 << 14, "reserved"),
    (capability::SECURE_CONNECTION, "secure_connection"),
    (1 << 16, "multi_statements"),
    (1 << 17, "multi_results"),
    (1 << 18, "ps_multi_results"),
    (capability::PLUGIN_AUTH, "plugin_auth"),
    (1 << 20, "connect_attrs"),
    (capability::PLUGIN_AUTH_LENENC_CLIENT_DATA, "plugin_auth_lenenc_client_data"),
    (1 << 22, "can_handle_expired_passwords"),
    (capability::SESSION_TRACK, "session_track"),
    (capability::DEPRECATE_EOF, "deprecate_eof"),
    (capability::OPTIONAL_RESULTSET_METADATA, "optional_resultset_metadata"),
    (capability::ZSTD_COMPRESSION_ALGORITHM, "zstd_compression_algorithm"),
    (capability::QUERY_ATTRIBUTES, "query_attributes"),
    (capability::MULTI_FACTOR_AUTHENTICATION, "multi_factor_authentication"),
    (1 << 29, "capability_extension"),
    (1 << 30, "ssl_verify_server_cert"),
    (1 << 31, "remember_options"),
    (capability::MARIADB_PROGRESS, "mariadb_progress"),
    (capability::MARIADB_COM_MULTI, "mariadb_com_multi"),
    (1 << 34, "mariadb_stmt_bulk_operations"),
    (capability::MARIADB_EXTENDED_METADATA, "mariadb_extended_metadata"),
    (capability::MARIADB_CACHE_METADATA, "mariadb_cache_metadata"),
    (1 << 37, "mariadb_bulk_unit_results"),
];

/// The status of a connection (`SERVER_STATUS_flags_enum` of MySQL; the last one is MariaDB's).
pub(super) mod status {
    pub(in super::super) const IN_TRANSACTION: u16 = 1;
    pub(in super::super) const AUTOCOMMIT: u16 = 2;
    pub(in super::super) const MORE_RESULTS: u16 = 8;
    pub(in super::super) const CURSOR_EXISTS: u16 = 64;
    pub(in super::super) const SESSION_STATE_CHANGED: u16 = 1 << 14;
    /// What holds beyond one result: within a transaction or not, autocommit, how quotes are read.
    pub(in super::super) const LASTING: u16 = IN_TRANSACTION | AUTOCOMMIT | 512 | 8192 | 1 << 15;
}

pub(super) const STATUS: &Names = &[
    (status::IN_TRANSACTION as u64, "in_transaction"),
    (status::AUTOCOMMIT as u64, "autocommit"),
    (status::MORE_RESULTS as u64, "more_results"),
    (16, "no_good_index_used"),
    (32, "no_index_used"),
    (status::CURSOR_EXISTS as u64, "cursor_exists"),
    (128, "last_row_sent"),
    (256, "db_dropped"),
    (512, "no_backslash_escapes"),
    (1024, "metadata_changed"),
    (2048, "query_was_slow"),
    (4096, "ps_out_params"),
    (8192, "in_transaction_readonly"),
    (status::SESSION_STATE_CHANGED as u64, "session_state_changed"),
    (1 << 15, "ansi_quotes"),
];

/// A column holds numbers without a sign.
pub(super) const UNSIGNED: u16 = 32;

/// The flags of a column
/// (<https://dev.mysql.com/doc/dev/mysql-server/latest/group__group__cs__column__definition__flags.html>).
pub(super) const COLUMN_FLAGS: &Names = &[
    (1, "not_null"),
    (2, "primary_key"),
    (4, "unique_key"),
    (8, "multiple_key"),
    (16, "blob"),
    (UNSIGNED as u64, "unsigned"),
    (64, "zerofill"),
    (128, "binary"),
    (256, "enum"),
    (512, "auto_increment"),
    (1024, "timestamp"),
    (2048, "set"),
    (4096, "no_default_value"),
    (8192, "on_update_now"),
    (1 << 14, "part_key"),
    (1 << 15, "num"),
];

/// Bits as a list of their names; those without one as one number.
pub(super) fn to_value(bits: u64, names: &Names) -> Value {
    let named = names.iter().filter(|(bit, _)| bits & bit != 0);
    let unnamed = bits & !names.iter().fold(0, |all, (bit, _)| all | bit);
    let rest = (unnamed != 0).then(|| Value::number(unnamed));
    Value::List(named.map(|(_, name)| Value::text(*name)).chain(rest).collect())
}

/// The bits of such a list; what is no name of a bit is none.
pub(super) fn of_value(list: Option<&Value>, names: &Names) -> u64 {
    let bit = |value: &Value| match value.as_text() {
        Some(text) => names.iter().find(|(_, name)| *name == text).map_or(0, |(bit, _)| *bit),
        None => value.as_number().unwrap_or(0),
    };
    list.and_then(Value::as_list).unwrap_or_default().iter().fold(0, |bits, value| bits | bit(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_come_back_with_and_without_names() {
        for names in [CAPABILITIES, STATUS, COLUMN_FLAGS] {
            for bits in [0, 1, 2 | 32, 0xffff, 1 << 50 | 1 << 60 | 1] {
                assert_eq!(of_value(Some(&to_value(bits, names)), names), bits);
            }
        }
        assert_eq!(to_value(3, STATUS), Value::List(["in_transaction", "autocommit"].map(Value::text).into()));
        assert_eq!(of_value(None, STATUS), 0);
    }
}
