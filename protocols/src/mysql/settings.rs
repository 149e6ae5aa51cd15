//! SQL that concerns the connection alone.

use sqlparser::{
    dialect::MySqlDialect,
    tokenizer::{Token, Tokenizer},
};

use crate::sql::first_word;

/// Longer statements are taken for work.
const LONGEST: usize = 8 << 10;

/// Variables that are no setting: what a statement gives depends on them, or they on statements.
const NO_SETTINGS: &[&str] = &[
    "error_count",
    "gtid_next",
    "identity",
    "insert_id",
    "last_insert_id",
    "pseudo_slave_mode",
    "pseudo_thread_id",
    "rand_seed1",
    "rand_seed2",
    "sql_log_bin",
    "timestamp",
    "warning_count",
];

/// What a statement has to do with the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Setting {
    /// It chooses the default schema.
    Schema(String),
    /// It sets variables of the connection.
    Set {
        /// What it sets autocommit to.
        autocommit: Option<bool>,
        /// What it sets the character set of the client to.
        charset: Option<String>,
    },
    /// It asks for variables, or for what the connection is.
    Show,
}

/// What a statement has to do with the connection; `None` if it is work, or more than one.
pub(super) fn of(sql: &str) -> Option<Setting> {
    let may_be = match first_word(sql).as_str() {
        "USE" | "SET" | "SHOW" => true,
        "SELECT" => sql.contains("@@") || sql.contains("()"),
        _ => false,
    };
    if !may_be || sql.len() > LONGEST {
        return None;
    }
    let mut words = words(sql)?;
    if words.last().is_some_and(|word| word == ";") {
        words.pop();
    }
    if words.iter().any(|word| word == ";") {
        return None;
    }
    let (first, rest) = words.split_first()?;
    match first.to_ascii_uppercase().as_str() {
        "USE" => match rest {
            [schema] => Some(Setting::Schema(unquoted(schema))),
            _ => None,
        },
        "SET" => sets(rest),
        "SELECT" => items(rest)?.iter().all(|item| is_known(&item.expression)).then_some(Setting::Show),
        "SHOW" => {
            let rest: Vec<String> = rest.iter().map(|word| word.to_ascii_uppercase()).collect();
            let rest = rest.strip_prefix(&["SESSION".to_owned()]).unwrap_or(&rest);
            let is_shown = matches!(rest, [variables, how, _, ..] if variables == "VARIABLES" && (how == "LIKE" || how == "WHERE"));
            is_shown.then_some(Setting::Show)
        }
        _ => None,
    }
}

/// Words, quoted strings and signs, without white space and comments.
fn words(sql: &str) -> Option<Vec<String>> {
    let tokens = Tokenizer::new(&MySqlDialect {}, sql).tokenize().ok()?;
    Some(tokens.iter().filter(|token| !matches!(token, Token::Whitespace(_))).map(ToString::to_string).collect())
}

/// The default schema that the last `USE` among several statements chooses.
pub(super) fn chosen_among(sql: &str) -> Option<String> {
    if !sql.contains(';') || sql.len() > LONGEST {
        return None;
    }
    let words = words(sql)?;
    words.split(|word| word == ";").rev().find_map(|statement| match statement {
        [word, schema] if word.eq_ignore_ascii_case("use") => Some(unquoted(schema)),
        _ => None,
    })
}

/// How many `?` a statement has outside of strings and comments.
pub(super) fn placeholders(sql: &str) -> usize {
    let is_placeholder = |token: &&Token| matches!(token, Token::Placeholder(_));
    Tokenizer::new(&MySqlDialect {}, sql).tokenize().map_or(0, |tokens| tokens.iter().filter(is_placeholder).count())
}

fn unquoted(word: &str) -> String {
    let inside = |quote: char| word.strip_prefix(quote)?.strip_suffix(quote);
    inside('`').or_else(|| inside('"')).or_else(|| inside('\'')).unwrap_or(word).to_owned()
}

/// What stands between commas outside of parentheses.
fn split(words: &[String]) -> Vec<&[String]> {
    let mut depth = 0_usize;
    words
        .split(|word| {
            match word.as_str() {
                "(" => depth += 1,
                ")" => depth = depth.saturating_sub(1),
                _ => {}
            }
            word == "," && depth == 0
        })
        .collect()
}

fn sets(words: &[String]) -> Option<Setting> {
    let (mut autocommit, mut charset) = (None, None);
    let mut first = true;
    for assignment in split(words) {
        let upper: Vec<String> = assignment.iter().map(|word| word.to_ascii_uppercase()).collect();
        let upper: Vec<&str> = upper.iter().map(String::as_str).collect();
        match upper[..] {
            ["NAMES" | "CHARSET", _, ..] => charset = Some(unquoted(&assignment[1])),
            ["CHARACTER", "SET", _, ..] => charset = Some(unquoted(&assignment[2])),
            ["SESSION" | "LOCAL", "TRANSACTION", ..] if first => {
                return Some(Setting::Set { autocommit: None, charset: None });
            }
            _ => {
                let equals = upper.iter().position(|word| matches!(*word, "=" | ":="))?;
                let name = variable(&assignment[..equals])?;
                if NO_SETTINGS.contains(&name.as_str()) {
                    return None;
                }
                if name == "autocommit" {
                    autocommit = Some(match upper[equals + 1..] {
                        ["1" | "ON" | "TRUE" | "DEFAULT"] => true,
                        ["0" | "OFF" | "FALSE"] => false,
                        _ => return None,
                    });
                }
            }
        }
        first = false;
    }
    (!first).then_some(Setting::Set { autocommit, charset })
}

/// The name of a variable of the connection, in lower case. `None` for one of the user or of the whole server.
fn variable(words: &[String]) -> Option<String> {
    let words: Vec<String> = words.iter().map(|word| word.to_ascii_lowercase()).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let name = match words[..] {
        ["session" | "local", name] | ["@@session" | "@@local", ".", name] => name,
        [name] => name.strip_prefix("@@").unwrap_or(name),
        _ => return None,
    };
    let name = unquoted(name);
    let is_name = !name.is_empty() && name.chars().all(|one| one.is_ascii_alphanumeric() || one == '_');
    (is_name && !matches!(name.as_str(), "password" | "role" | "transaction")).then_some(name)
}

/// Something that a SELECT asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) expression: Expression,
    /// The name of its column.
    pub(super) name: String,
}

/// What is known without a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expression {
    /// A variable of the server, in lower case.
    Variable(String),
    /// A function without arguments, in lower case.
    Function(String),
    /// Anything else.
    Other,
}

/// Whether it asks for the default schema.
pub(super) fn asks_for_schema(items: &[Item]) -> bool {
    let is_schema = |name: &str| matches!(name, "database" | "schema");
    items.iter().any(|item| matches!(&item.expression, Expression::Function(name) if is_schema(name)))
}

/// What a SELECT without anything else asks for.
pub(super) fn asked(sql: &str) -> Option<Vec<Item>> {
    let mut words = words(sql)?;
    if words.last().is_some_and(|word| word == ";") {
        words.pop();
    }
    let (first, rest) = words.split_first()?;
    if first.eq_ignore_ascii_case("select") { items(rest) } else { None }
}

fn items(words: &[String]) -> Option<Vec<Item>> {
    let words = match words {
        [rest @ .., limit, one] if limit.eq_ignore_ascii_case("limit") && one == "1" => rest,
        _ => words,
    };
    split(words).into_iter().map(item).collect()
}

fn item(words: &[String]) -> Option<Item> {
    let (words, alias) = match words {
        [rest @ .., word, alias] if word.eq_ignore_ascii_case("as") => (rest, Some(alias)),
        [.., before, sign, _] if sign == "." || before == "." => (words, None),
        [rest @ .., before, alias] if before != "." && alias != ")" && alias != "." && !rest.is_empty() => {
            (&words[..words.len() - 1], Some(alias))
        }
        [one, alias] if one.starts_with("@@") && alias != "." => (&words[..1], Some(alias)),
        _ => (words, None),
    };
    let text = words.concat();
    let lower = text.to_ascii_lowercase();
    let expression = if let Some(name) = lower.strip_prefix("@@") {
        let name = ["session.", "global.", "local."].iter().find_map(|scope| name.strip_prefix(scope)).unwrap_or(name);
        Expression::Variable(unquoted(name))
    } else if let Some(name) = lower.strip_suffix("()") {
        Expression::Function(name.to_owned())
    } else {
        Expression::Other
    };
    Some(Item { expression, name: alias.map_or(text, |alias| unquoted(alias)) })
}

fn is_known(expression: &Expression) -> bool {
    match expression {
        Expression::Variable(name) => !NO_SETTINGS.contains(&name.as_str()) && default(name).is_some(),
        Expression::Function(name) => FUNCTIONS.contains(&name.as_str()),
        Expression::Other => false,
    }
}

/// What a connection is.
const FUNCTIONS: &[&str] =
    &["connection_id", "current_user", "database", "schema", "session_user", "system_user", "user", "version"];

/// Variables that clients ask for when they connect, and what MySQL 8.0 says to them. What a server says of itself when it greets is
/// empty here.
const VARIABLES: &[(&str, &str)] = &[
    ("auto_increment_increment", "1"),
    ("autocommit", ""),
    ("basedir", "/usr/"),
    ("character_set_client", "utf8mb4"),
    ("character_set_connection", "utf8mb4"),
    ("character_set_database", "utf8mb4"),
    ("character_set_results", "utf8mb4"),
    ("character_set_server", "utf8mb4"),
    ("collation_connection", "utf8mb4_0900_ai_ci"),
    ("collation_database", "utf8mb4_0900_ai_ci"),
    ("collation_server", "utf8mb4_0900_ai_ci"),
    ("default_storage_engine", "InnoDB"),
    ("init_connect", ""),
    ("innodb_version", ""),
    ("interactive_timeout", "28800"),
    ("license", "GPL"),
    ("lower_case_table_names", "0"),
    ("max_allowed_packet", "67108864"),
    ("max_execution_time", "0"),
    ("net_buffer_length", "16384"),
    ("net_read_timeout", "30"),
    ("net_write_timeout", "60"),
    ("performance_schema", "1"),
    ("protocol_version", "10"),
    ("query_cache_size", "0"),
    ("query_cache_type", "OFF"),
    ("session_track_schema", "1"),
    (
        "sql_mode",
        "ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION",
    ),
    ("sql_select_limit", "18446744073709551615"),
    ("system_time_zone", "UTC"),
    ("time_zone", "SYSTEM"),
    ("transaction_isolation", "REPEATABLE-READ"),
    ("transaction_read_only", "0"),
    ("tx_isolation", "REPEATABLE-READ"),
    ("tx_read_only", "0"),
    ("version", ""),
    ("version_comment", "regress"),
    ("wait_timeout", "28800"),
];

/// What a variable is by default.
pub(super) fn default(name: &str) -> Option<&'static str> {
    VARIABLES.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_told_from_work() {
        let sets =
            |autocommit, charset: Option<&str>| Some(Setting::Set { autocommit, charset: charset.map(str::to_owned) });
        let set = sets(None, None);
        for (sql, setting) in [
            ("USE `shop`;", Some(Setting::Schema("shop".to_owned()))),
            ("use shop", Some(Setting::Schema("shop".to_owned()))),
            ("SET NAMES utf8mb4 COLLATE utf8mb4_bin", sets(None, Some("utf8mb4"))),
            (
                "set names 'utf8mb4', time_zone = '+00:00', SESSION sql_mode=CONCAT(@@sql_mode, ',STRICT')",
                sets(None, Some("utf8mb4")),
            ),
            // As sqlx, and MariaDB's driver for Java, say it.
            (
                "SET sql_mode=(SELECT CONCAT(@@sql_mode, ',PIPES_AS_CONCAT')),time_zone='+00:00',NAMES utf8mb4 COLLATE utf8mb4_unicode_ci;",
                sets(None, Some("utf8mb4")),
            ),
            ("set sql_mode=CONCAT(@@sql_mode,',STRICT_TRANS_TABLES'),NAMES utf8mb4", sets(None, Some("utf8mb4"))),
            ("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED", set.clone()),
            ("SET @@session.wait_timeout=10, @@sql_mode := ''", set.clone()),
            ("SET CHARACTER SET utf8", sets(None, Some("utf8"))),
            ("/* c */ SET autocommit=0", sets(Some(false), None)),
            ("SET @@session.autocommit = ON", sets(Some(true), None)),
            ("SELECT @@version_comment LIMIT 1", Some(Setting::Show)),
            (
                "SELECT @@session.auto_increment_increment AS a, @@time_zone b, VERSION(), database()",
                Some(Setting::Show),
            ),
            ("SHOW VARIABLES LIKE 'sql_mode'", Some(Setting::Show)),
            ("SET @a = 1", None),
            ("SET GLOBAL max_connections = 5", None),
            ("SET @@global.max_connections = 5", None),
            ("SET PASSWORD = 'x'", None),
            ("SET ROLE admin", None),
            ("SET TRANSACTION ISOLATION LEVEL READ COMMITTED", None),
            ("SET timestamp = 5", None),
            ("SET STATEMENT max_statement_time=1 FOR SELECT 1", None),
            ("SET NAMES utf8; DELETE FROM a", None),
            ("SELECT @@last_insert_id", None),
            ("SELECT @a", None),
            ("SELECT @@identity", None),
            ("SELECT @@time_zone FROM t", None),
            ("SELECT LAST_INSERT_ID()", None),
            ("SELECT 1", None),
            ("SHOW TABLES", None),
            ("SHOW VARIABLES", None),
            ("BEGIN", None),
            ("SET", None),
            ("SELECT", None),
            ("", None),
            ("'unfinished", None),
        ] {
            assert_eq!(of(sql), setting, "{sql}");
        }
    }

    #[test]
    fn what_is_asked_of_the_server_has_its_names() {
        let asked = asked("SELECT @@session.Time_Zone AS tz, @@license, version(), @@init_connect i LIMIT 1;").unwrap();
        let names: Vec<&str> = asked.iter().map(|item| item.name.as_str()).collect();
        assert_eq!(names, ["tz", "@@license", "version()", "i"]);
        assert_eq!(asked[0].expression, Expression::Variable("time_zone".to_owned()));
        assert_eq!(asked[1].expression, Expression::Variable("license".to_owned()));
        assert_eq!(asked[2].expression, Expression::Function("version".to_owned()));
        assert_eq!(asked[3].expression, Expression::Variable("init_connect".to_owned()));
    }

    #[test]
    fn a_schema_is_chosen_among_other_statements() {
        assert_eq!(chosen_among("SELECT 1; USE `a`; use b; SELECT ';'"), Some("b".to_owned()));
        assert_eq!(chosen_among("SELECT 'USE a; use b'"), None);
        assert!(
            asks_for_schema(&asked("SELECT 1, SCHEMA()").unwrap()) && !asks_for_schema(&asked("SELECT 1").unwrap())
        );
    }

    #[test]
    fn placeholders_are_counted_where_they_are_some() {
        assert_eq!(placeholders("INSERT INTO t VALUES (?, '?', ?) /* ? */ -- ?\n, `?`"), 2);
        assert_eq!(placeholders("SELECT 'it''s' , \"a?\" , '\\'?' , ?"), 1);
    }
}
