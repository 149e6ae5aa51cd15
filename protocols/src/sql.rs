//! What an SQL statement does to which tables, for all protocols that carry SQL.

use std::{collections::BTreeSet, ops::ControlFlow};

use sqlparser::{
    ast::{CopySource, Expr, Ident, ObjectName, Query, SetExpr, Statement, Visit, Visitor},
    dialect::{self, MySqlDialect, PostgreSqlDialect},
    keywords::Keyword,
    parser::Parser,
    tokenizer::{Token, Tokenizer},
};

use crate::Operation;

/// Longer statements are known by their first word alone.
const LONGEST: usize = 64 << 10;
/// So are statements of more words and operators: the parser nests them, and what is nested takes stack.
const MOST_WORDS: usize = 500;
/// So are statements with deeper parentheses; the parser tries some of them twice on each level.
const DEEPEST: usize = 12;
/// The parser's own limit to what is within what.
const RECURSION: usize = 40;
/// More verbs of one text, or tables, are left out of its operation.
const MOST_NAMED: usize = 8;

/// Whose SQL it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// PostgreSQL.
    Postgres,
    /// MySQL and MariaDB.
    MySql,
}

/// Functions that change something although they stand in a query (PostgreSQL, sections 9.17 and 9.28; large objects 35.4).
const WRITING_FUNCTIONS: &[&str] = &[
    "lo_create",
    "lo_from_bytea",
    "lo_import",
    "lo_put",
    "lo_unlink",
    "nextval",
    "pg_cancel_backend",
    "pg_logical_emit_message",
    "pg_notify",
    "pg_terminate_backend",
    "setval",
];

/// First words of statements that only read, or concern the connection or its transaction.
const READS: &[&str] = &[
    "ABORT",
    "BEGIN",
    "CLOSE",
    "COMMIT",
    "DEALLOCATE",
    "DECLARE",
    "DESC",
    "DESCRIBE",
    "DISCARD",
    "END",
    "EXPLAIN",
    "FETCH",
    "HELP",
    "LISTEN",
    "MOVE",
    "PREPARE",
    "RELEASE",
    "RESET",
    "ROLLBACK",
    "SAVEPOINT",
    "SELECT",
    "SET",
    "SHOW",
    "START",
    "TABLE",
    "UNLISTEN",
    "USE",
    "VALUES",
    "XA",
];

/// First words of statements that say how a transaction goes.
const FRAMES: &[&str] = &["ABORT", "BEGIN", "COMMIT", "END", "RELEASE", "ROLLBACK", "SAVEPOINT", "START"];

/// `SELECT orders`, `INSERT order_lines`, `BEGIN`: the verbs of the statements as method, and the tables that they name, sorted, as path.
/// What is not understood is known by its first word. Literals and parameters are no part of it.
pub fn operation(sql: &str, dialect: Dialect) -> Operation {
    let outline = outline(sql, dialect);
    Operation { method: outline.verbs.join("; "), path: outline.tables.into_iter().collect::<Vec<_>>().join(",") }
}

/// Whether all that is asked is how a transaction is to go.
pub fn frames_transaction(operation: &Operation) -> bool {
    operation.path.is_empty() && operation.method.split("; ").all(|verb| FRAMES.contains(&verb))
}

/// Whether one begins.
pub fn begins_transaction(operation: &Operation) -> bool {
    let last = operation.method.rsplit("; ").next().unwrap_or_default();
    frames_transaction(operation) && matches!(last, "BEGIN" | "START")
}

/// Whether one that is open is thrown away, or a part of it.
pub fn drops_transaction(operation: &Operation) -> bool {
    operation.path.is_empty() && matches!(&*operation.method, "ROLLBACK" | "ABORT")
}

/// Whether it may change something in the database, as far as its text tells: functions of the database's own are taken for readers.
pub fn is_write(sql: &str, dialect: Dialect) -> bool {
    outline(sql, dialect).writes
}

/// Its first word in upper case, behind comments and parentheses; empty where it has none.
pub fn first_word(sql: &str) -> String {
    let mut rest = sql;
    loop {
        rest = rest.trim_start_matches(|character: char| character.is_whitespace() || matches!(character, '(' | ';'));
        if rest.starts_with("--") || rest.starts_with('#') {
            rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
        } else if rest.starts_with("/*") {
            rest = comment_end(rest);
        } else {
            break;
        }
    }
    let end = rest.find(|character: char| !character.is_alphanumeric() && character != '_').unwrap_or(rest.len());
    rest[..end].chars().take(32).collect::<String>().to_uppercase()
}

/// What stands behind a comment, in which others may stand.
fn comment_end(text: &str) -> &str {
    let (mut depth, mut at) = (0_usize, 0);
    let bytes = text.as_bytes();
    while at + 1 < bytes.len() {
        match &bytes[at..at + 2] {
            b"/*" => depth += 1,
            b"*/" => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return &text[at..];
        }
    }
    ""
}

/// What is known of a text of SQL.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outline {
    verbs: Vec<String>,
    tables: BTreeSet<String>,
    writes: bool,
}

fn outline(sql: &str, dialect: Dialect) -> Outline {
    let Some((statements, first_words)) = parse(sql, dialect) else {
        let word = first_word(sql);
        // A WITH that is not understood may contain anything.
        let writes = !word.is_empty() && !is_read(&word);
        return Outline { verbs: vec![word], tables: BTreeSet::new(), writes };
    };
    let mut seen = Seen { dialect, outline: Outline::default(), local: BTreeSet::new() };
    for (statement, word) in statements.iter().zip(&first_words) {
        let verb = if let Statement::Query(query) = statement { of_query(query) } else { word };
        if seen.outline.verbs.len() < MOST_NAMED && seen.outline.verbs.last().is_none_or(|last| last != verb) {
            seen.outline.verbs.push(verb.to_owned());
        }
        seen.outline.writes |= match statement {
            Statement::Copy { to, .. } => !to,
            _ => !is_read(verb),
        };
        let _ = statement.visit(&mut seen);
    }
    let Seen { mut outline, local, .. } = seen;
    outline.tables.retain(|table| !local.contains(table));
    while outline.tables.len() > MOST_NAMED {
        outline.tables.pop_last();
    }
    outline
}

fn is_read(word: &str) -> bool {
    READS.binary_search(&word).is_ok()
}

/// The statements and their first words, unless they are none, or too much.
fn parse(sql: &str, dialect: Dialect) -> Option<(Vec<Statement>, Vec<String>)> {
    if sql.len() > LONGEST {
        return None;
    }
    let dialect: &dyn dialect::Dialect = match dialect {
        Dialect::Postgres => &PostgreSqlDialect {},
        Dialect::MySql => &MySqlDialect {},
    };
    let tokens = Tokenizer::new(dialect, sql).tokenize().ok()?;
    let (mut words, mut depth) = (0, 0_usize);
    for token in &tokens {
        match token {
            Token::LParen | Token::LBracket | Token::LBrace => depth += 1,
            Token::RParen | Token::RBracket | Token::RBrace => depth = depth.saturating_sub(1),
            Token::Word(word)
                if matches!(
                    word.keyword,
                    Keyword::NoKeyword
                        | Keyword::AS
                        | Keyword::NULL
                        | Keyword::DEFAULT
                        | Keyword::TRUE
                        | Keyword::FALSE
                ) => {}
            // Of these there are lists, which are not nested.
            Token::Comma
            | Token::Period
            | Token::Whitespace(_)
            | Token::Number(..)
            | Token::SingleQuotedString(_)
            | Token::Placeholder(_) => {}
            _ => words += 1,
        }
        if words > MOST_WORDS || depth > DEEPEST {
            return None;
        }
    }
    let first_words = first_words(&tokens);
    let statements =
        Parser::new(dialect).with_recursion_limit(RECURSION).with_tokens(tokens).parse_statements().ok()?;
    // A body of a function may have semicolons of its own.
    let told_apart = statements.len() == first_words.len() || statements.len() == 1;
    (!first_words.is_empty() && told_apart).then_some((statements, first_words))
}

/// The first word behind each semicolon, in upper case.
fn first_words(tokens: &[Token]) -> Vec<String> {
    let word = |part: &[Token]| {
        part.iter().find_map(|token| match token {
            Token::Word(word) => Some(word.value.to_uppercase()),
            _ => None,
        })
    };
    tokens.split(|token| *token == Token::SemiColon).filter_map(word).collect()
}

/// What a query does.
fn of_query(query: &Query) -> &'static str {
    let mut body = &*query.body;
    loop {
        body = match body {
            SetExpr::Select(_) => return "SELECT",
            SetExpr::Values(_) => return "VALUES",
            SetExpr::Table(_) => return "TABLE",
            SetExpr::Insert(_) => return "INSERT",
            SetExpr::Update(_) => return "UPDATE",
            SetExpr::Delete(_) => return "DELETE",
            SetExpr::Merge(_) => return "MERGE",
            SetExpr::Query(query) => &query.body,
            SetExpr::SetOperation { left, .. } => left,
        }
    }
}

/// Collects what is seen of a statement.
struct Seen {
    dialect: Dialect,
    outline: Outline,
    /// Names that WITH gives to queries.
    local: BTreeSet<String>,
}

impl Seen {
    fn name(&self, ident: &Ident) -> String {
        match (self.dialect, ident.quote_style) {
            (Dialect::Postgres, None) => ident.value.to_lowercase(),
            _ => ident.value.clone(),
        }
    }
}

impl Visitor for Seen {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        for table in query.with.iter().flat_map(|with| &with.cte_tables) {
            let name = self.name(&table.alias.name);
            self.local.insert(name);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &sqlparser::ast::Select) -> ControlFlow<()> {
        self.outline.writes |= select.into.is_some();
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        let parts = relation.0.iter().map(|part| part.as_ident().map_or(String::new(), |ident| self.name(ident)));
        let name = parts.collect::<Vec<_>>().join(".");
        self.outline.tables.insert(name);
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expr
            && let Some(name) = function.name.0.last().and_then(|part| part.as_ident())
        {
            let name = name.value.to_lowercase();
            self.outline.writes |= WRITING_FUNCTIONS.binary_search(&name.as_str()).is_ok();
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_statement(&mut self, statement: &Statement) -> ControlFlow<()> {
        self.outline.writes |= matches!(
            statement,
            Statement::Insert(_) | Statement::Update(_) | Statement::Delete(_) | Statement::Merge(_)
        );
        // The relations that the parser does not mark as such.
        let named = match statement {
            Statement::Copy { source: CopySource::Table { table_name, .. }, .. } => std::slice::from_ref(table_name),
            Statement::Drop { names, .. } => names,
            _ => &[],
        };
        for relation in named {
            let _ = self.pre_visit_relation(relation);
        }
        // What is explained runs with ANALYZE alone.
        match statement {
            Statement::Explain { analyze: false, .. } => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn postgres(sql: &str) -> String {
        operation(sql, Dialect::Postgres).to_string()
    }

    #[test]
    fn what_frames_a_transaction_asks_for_nothing_else() {
        let frames = |sql, dialect| frames_transaction(&operation(sql, dialect));
        for sql in
            ["BEGIN", "begin /* a */", "COMMIT AND CHAIN", "ROLLBACK TO SAVEPOINT a", "COMMIT; BEGIN", "SAVEPOINT a"]
        {
            assert!(frames(sql, Dialect::Postgres), "{sql}");
            assert_eq!(begins_transaction(&operation(sql, Dialect::Postgres)), sql.to_uppercase().contains("BEGIN"));
        }
        for sql in ["START TRANSACTION READ ONLY", "ROLLBACK", "RELEASE SAVEPOINT a"] {
            assert!(frames(sql, Dialect::MySql), "{sql}");
            assert_eq!(drops_transaction(&operation(sql, Dialect::MySql)), sql == "ROLLBACK", "{sql}");
        }
        for sql in ["SELECT 1", "BEGIN; DELETE FROM orders", "", "PREPARE TRANSACTION 'a'", "SET TRANSACTION READ ONLY"]
        {
            assert!(!frames(sql, Dialect::Postgres), "{sql}");
        }
    }

    #[test]
    fn lists_can_be_searched() {
        assert!(READS.is_sorted() && WRITING_FUNCTIONS.is_sorted());
    }

    #[test]
    fn the_operation_is_the_verb_and_the_tables() {
        for (sql, expected) in [
            ("SELECT 1", "SELECT"),
            ("select * from Orders where id = $1", "SELECT orders"),
            ("SELECT * FROM \"Orders\" o JOIN public.lines l ON l.o = o.id", "SELECT Orders,public.lines"),
            ("/* x */ -- y\n insert into orders (a) values ($1), ($2) returning id", "INSERT orders"),
            ("UPDATE a SET x = 1 FROM b WHERE a.id = b.id", "UPDATE a,b"),
            ("DELETE FROM a USING b WHERE a.id = b.id", "DELETE a,b"),
            ("WITH x AS (SELECT * FROM a) SELECT * FROM x, c", "SELECT a,c"),
            ("WITH x AS (DELETE FROM a RETURNING *) INSERT INTO b SELECT * FROM x", "INSERT a,b"),
            ("SELECT * FROM a UNION SELECT * FROM b", "SELECT a,b"),
            ("SELECT extract(year FROM x) FROM a WHERE b IN (SELECT id FROM c)", "SELECT a,c"),
            ("BEGIN", "BEGIN"),
            ("begin; update a set b = 1; update a set c = 1; commit", "BEGIN; UPDATE; COMMIT a"),
            ("COPY a (x, y) FROM STDIN", "COPY a"),
            ("TRUNCATE a, b", "TRUNCATE a,b"),
            ("LISTEN channel", "LISTEN"),
            ("LOCK TABLE a IN EXCLUSIVE MODE", "LOCK a"),
            ("CREATE TABLE a (id int primary key)", "CREATE a"),
            ("DROP TABLE IF EXISTS a", "DROP a"),
            ("SET search_path TO x", "SET"),
            ("MERGE INTO a USING b ON a.id = b.id WHEN MATCHED THEN DELETE", "MERGE a,b"),
            ("SELEKT 1", "SELEKT"),
            ("fetch forward 10 from c", "FETCH"),
            ("", ""),
            ("-- ping", ""),
            ("(((", ""),
        ] {
            assert_eq!(postgres(sql), expected, "{sql}");
        }
        assert_eq!(operation("SELECT * FROM `Shop`.`Orders` LIMIT 5, 10", Dialect::MySql).path, "Shop.Orders");
        assert_eq!(operation("INSERT INTO a SET b = 1", Dialect::MySql).to_string(), "INSERT a");
    }

    #[test]
    fn data_is_no_part_of_the_operation() {
        assert_eq!(postgres("SELECT * FROM a WHERE b = 'from c'"), postgres("SELECT * FROM a WHERE b = 7"));
    }

    #[test]
    fn what_may_write() {
        for sql in [
            "INSERT INTO a VALUES (1)",
            "WITH x AS (DELETE FROM a RETURNING *) SELECT * FROM x",
            "SELECT 1; UPDATE a SET b = 1",
            "SELECT nextval('s')",
            "SELECT * INTO b FROM a",
            "EXPLAIN ANALYZE DELETE FROM a",
            "COPY a FROM STDIN",
            "CALL p()",
            "DO $$ BEGIN END $$",
            "WITH broken",
        ] {
            assert!(is_write(sql, Dialect::Postgres), "{sql}");
        }
        for sql in [
            "SELECT * FROM a FOR UPDATE",
            "EXPLAIN DELETE FROM a",
            "COPY a TO STDOUT",
            "BEGIN",
            "SHOW all",
            "VALUES (1)",
            "LISTEN a",
            "",
        ] {
            assert!(!is_write(sql, Dialect::Postgres), "{sql}");
        }
    }

    #[test]
    fn what_is_too_much_is_known_by_its_first_word() {
        let long = format!("SELECT '{}' FROM a", "x".repeat(LONGEST));
        assert_eq!(postgres(&long), "SELECT");
        for nested in [
            format!("SELECT {}1{}", "(".repeat(5_000), ")".repeat(5_000)),
            format!("SELECT * FROM {}a{}", "(".repeat(5_000), ")".repeat(5_000)),
            format!("SELECT 1{} FROM a", " + 1".repeat(10_000)),
            format!("SELECT 1{} FROM a", " IS NULL".repeat(5_000)),
            format!("SELECT {} 1 FROM a", "NOT ".repeat(5_000)),
            format!("SELECT {} 1 FROM a", "- ".repeat(5_000)),
        ] {
            assert_eq!(postgres(&nested), "SELECT", "{}", &nested[..40]);
        }
        let values = vec!["($1, 'x', NULL)"; 3_000].join(",");
        assert_eq!(postgres(&format!("INSERT INTO a VALUES {values}")), "INSERT a");
    }

    #[test]
    fn what_is_just_within_the_limits_is_parsed_on_a_small_stack() {
        let texts = [
            format!("SELECT 1{} FROM a", " + 1".repeat(MOST_WORDS - 10)),
            format!("SELECT 1{} FROM a", " IS NULL".repeat(MOST_WORDS - 10)),
            format!("SELECT 1 FROM a{}", " UNION SELECT 1".repeat(MOST_WORDS / 2 - 10)),
            format!("SELECT * FROM {}a{}", "(".repeat(DEEPEST), ")".repeat(DEEPEST)),
            format!("SELECT * FROM {}SELECT 1 FROM a{}", "(".repeat(DEEPEST), ")".repeat(DEEPEST)),
            format!("SELECT {}1{} FROM a", "(".repeat(DEEPEST), ")".repeat(DEEPEST)),
            format!("SELECT {}1{} FROM a", "f(".repeat(DEEPEST), ")".repeat(DEEPEST)),
            format!("SELECT * FROM a WHERE {}1{}", "b IN (SELECT ".repeat(DEEPEST), ")".repeat(DEEPEST)),
            format!("SELECT {} 1 FROM a", "NOT ".repeat(MOST_WORDS - 10)),
            format!("SELECT {} 1 FROM a", "CASE WHEN ".repeat(40)),
        ];
        let small = std::thread::Builder::new().stack_size(3 << 19);
        let all = small.spawn(move || texts.map(|sql| postgres(&sql))).expect("a thread").join();
        assert!(all.expect("no overflow").iter().all(|told| told.starts_with("SELECT")));
    }
}
