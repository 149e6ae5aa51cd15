//! Adds rules to `regress.toml` and leaves everything else in it as it is: comments, order, spacing.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, Value};

use crate::output::Failure;

/// A `[[rules]]` that is not in the file yet.
#[derive(Clone, Debug, PartialEq)]
pub struct NewRule {
    /// Where it applies, as reports print paths: `response/...` or `request/...`, with `*` and `**`.
    pub path: String,
    /// The entries it applies to, by method and path; `None` = all.
    pub route: Option<String>,
    /// The downstream it applies to, with `request/...`; `None` = all.
    pub downstream: Option<String>,
    /// The operation it applies to, with `request/...`; `None` = all.
    pub operation: Option<String>,
    /// What may vary there.
    pub how: How,
    /// Why, for whoever reads the file.
    pub why: String,
}

/// What a rule lets vary: `as` and its parameter.
#[derive(Clone, Debug, PartialEq)]
pub enum How {
    /// Anything.
    Ignore,
    /// The order of an array's items.
    Unordered,
    /// The order of an array's items, which are told apart by a member.
    Keyed {
        /// The member's name.
        key: String,
    },
    /// A number, within this distance.
    Tolerance(f64),
    /// A time, within a duration as `5s`.
    Time {
        /// The duration.
        within: String,
    },
    /// Text that this regular expression matches.
    Pattern(String),
    /// The value, not its JSON type.
    Type,
}

/// Add rules to the end of a settings file, which is made where it is missing. Rules that it has are not repeated; gives
/// how many were added.
///
/// # Errors
/// When the file cannot be read, is no TOML, has something else than rules as `rules`, or cannot be written. Then it is
/// as it was.
pub fn append(path: &Path, rules: &[NewRule]) -> Result<usize, Failure> {
    let old = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => {
            return Err(Failure::new(format_args!("cannot read {}: {error}", path.display()))
                .hint("name another settings file with --config"));
        }
    };
    let (new, added) = appended(&old, rules).map_err(|what| {
        Failure::new(format_args!("cannot add rules to {}: {what}", path.display()))
            .hint("docs/configuration.md shows how rules are written")
    })?;
    if added > 0 {
        replace(path, &new).map_err(|error| {
            Failure::new(format_args!("cannot write {}: {error}", path.display()))
                .hint("name a settings file that can be written to with --config")
        })?;
    }
    Ok(added)
}

/// The text with the rules that it lacks, and how many those are.
fn appended(text: &str, rules: &[NewRule]) -> Result<(String, usize), String> {
    let mut document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| error.to_string())?;
    let mut known: Vec<Table> = tables(document.get("rules"))?;
    let mut added = 0;
    for rule in rules {
        let table = rule.table();
        if known.iter().any(|other| is_same_rule(other, &table)) {
            continue;
        }
        added += 1;
        known.push(table.clone());
        let all = document.entry("rules").or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()));
        match all {
            Item::ArrayOfTables(all) => all.push(table),
            Item::Value(Value::Array(all)) => push_inline(all, table),
            _ => return Err("`rules` is not a list".to_owned()),
        }
    }
    Ok((document.to_string(), added))
}

/// The rules of a file as tables, however they are written.
fn tables(rules: Option<&Item>) -> Result<Vec<Table>, String> {
    match rules {
        None => Ok(Vec::new()),
        Some(Item::ArrayOfTables(all)) => Ok(all.iter().cloned().collect()),
        Some(Item::Value(Value::Array(all))) => {
            let table = |value: &Value| value.as_inline_table().cloned().map(InlineTable::into_table);
            all.iter().map(table).collect::<Option<_>>().ok_or_else(|| "`rules` is not a list of tables".to_owned())
        }
        Some(_) => Err("`rules` is not a list".to_owned()),
    }
}

fn push_inline(all: &mut Array, table: Table) {
    let mut value = Value::InlineTable(table.into_inline_table());
    value.decor_mut().set_prefix("\n    ");
    all.push_formatted(value);
    all.set_trailing_comma(true);
    all.set_trailing("\n");
}

/// Whether two rules say the same; why they do so does not matter.
fn is_same_rule(one: &Table, other: &Table) -> bool {
    let said = |table: &Table| {
        let keys = table.iter().filter(|(key, _)| *key != "why");
        let mut said: Vec<(String, String)> = keys.map(|(key, item)| (key.to_owned(), meant(item))).collect();
        said.sort();
        said
    };
    said(one) == said(other)
}

/// A value without its spelling.
fn meant(item: &Item) -> String {
    match item.as_value() {
        Some(Value::String(text)) => format!("{:?}", text.value()),
        Some(Value::Integer(number)) => (*number.value() as f64).to_string(),
        Some(Value::Float(number)) => number.value().to_string(),
        _ => item.to_string(),
    }
}

impl NewRule {
    fn table(&self) -> Table {
        let mut table = Table::new();
        let mut put = |key: &str, value: Value| table.insert(key, Item::Value(value));
        put("path", text(&self.path));
        let scopes = [("route", &self.route), ("downstream", &self.downstream), ("operation", &self.operation)];
        for (key, scope) in scopes.into_iter().filter_map(|(key, scope)| Some((key, scope.as_ref()?))) {
            put(key, text(scope));
        }
        put("as", self.how.word().into());
        match &self.how {
            How::Ignore | How::Unordered | How::Type => None,
            How::Keyed { key } => put("key", text(key)),
            How::Tolerance(distance) => put("tolerance", (*distance).into()),
            How::Time { within } => put("within", text(within)),
            How::Pattern(pattern) => put("pattern", text(pattern)),
        };
        put("why", text(&self.why));
        table
    }
}

/// A string as a value; `toml_edit` chooses the quotes that need the fewest escapes.
fn text(text: &str) -> Value {
    text.into()
}

impl How {
    /// The word after `as`.
    pub fn word(&self) -> &'static str {
        match self {
            How::Ignore => "ignore",
            How::Unordered => "unordered",
            How::Keyed { .. } => "keyed",
            How::Tolerance(_) => "tolerance",
            How::Time { .. } => "time",
            How::Pattern(_) => "pattern",
            How::Type => "type",
        }
    }
}

/// Write the file beside itself and rename it, so that it is whole at any moment; a link stays one.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .map_or_else(|| PathBuf::from("."), Path::to_path_buf);
    let mut file = tempfile::Builder::new().prefix(".regress-").tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    let permissions = match fs::metadata(&path) {
        Ok(metadata) => metadata.permissions(),
        Err(_) => std::os::unix::fs::PermissionsExt::from_mode(0o644),
    };
    file.as_file().set_permissions(permissions)?;
    file.as_file().sync_all()?;
    file.persist(&path).map(drop).map_err(|error| error.error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(path: &str, how: How) -> NewRule {
        NewRule {
            path: path.to_owned(),
            route: Some("POST /orders".to_owned()),
            downstream: None,
            operation: None,
            how,
            why: "varied in 5 of 5 runs".to_owned(),
        }
    }

    #[test]
    fn a_file_keeps_what_it_has() {
        let old = "# of the shop\n[service]\nports = [ 8080 ] # http\n\n[[rules]] # by hand\npath = 'response/body/a'\nas = \"type\"\n\n[replay]\nsettle = 1\n";
        let call = NewRule {
            downstream: Some("inventory:9000".to_owned()),
            operation: Some("POST /reserve".to_owned()),
            ..rule("request/header/x-id", How::Pattern(r"^[0-9a-f]{8}$".to_owned()))
        };
        let rules = [
            rule("response/body/id", How::Pattern(r"^\d+$".to_owned())),
            call,
            rule("response/body/t", How::Tolerance(0.5)),
        ];
        let (new, added) = appended(old, &rules).unwrap();
        assert_eq!(added, 3);
        insta::assert_snapshot!(new);
        assert_eq!(appended(&new, &rules).unwrap(), (new.clone(), 0));
    }

    #[test]
    fn an_empty_file_gets_rules_alone() {
        let (new, _) = appended("", &[rule("response/body/tags", How::Unordered)]).unwrap();
        let expected = "[[rules]]\npath = \"response/body/tags\"\nroute = \"POST /orders\"\nas = \"unordered\"\nwhy = \"varied in 5 of 5 runs\"\n";
        assert_eq!(new, expected);
    }

    #[test]
    fn a_rule_in_other_words_is_the_same_rule() {
        let old = "rules = [ { as = 'keyed', key = 'id', path = 'response/body/items', route = 'POST /orders' } ]\n";
        let keyed = rule("response/body/items", How::Keyed { key: "id".to_owned() });
        assert_eq!(appended(old, std::slice::from_ref(&keyed)).unwrap(), (old.to_owned(), 0));
        let other = rule("response/body/items", How::Keyed { key: "sku".to_owned() });
        let (new, added) = appended(old, &[keyed, other]).unwrap();
        assert_eq!((added, tables(new.parse::<DocumentMut>().unwrap().get("rules")).unwrap().len()), (1, 2), "{new}");
    }

    #[test]
    fn what_is_no_list_of_rules_is_refused() {
        for (old, what) in [("rules = 1", "not a list"), ("rules = [1]", "not a list of tables"), ("rules", "line 1")] {
            let error = appended(old, &[rule("response/body/a", How::Ignore)]).unwrap_err();
            assert!(error.contains(what) || error.contains("TOML"), "{old}: {error}");
        }
    }

    #[test]
    fn a_file_is_made_and_a_link_stays_one() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("real.toml"), folder.path().join("regress.toml"));
        assert_eq!(append(&file, &[rule("response/body/a", How::Type)]).unwrap(), 1);
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(append(&link, &[rule("response/body/b", How::Ignore)]).unwrap(), 1);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&file).unwrap().matches("[[rules]]").count(), 2);
    }
}
