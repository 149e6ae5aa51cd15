//! Adds rules to `regress.toml` and leaves everything else in it as it is: comments, order, spacing.

use std::{fs, io, path::Path};

use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, Value};

use regress_cassettes::diff::{Keys, Number, RuleText, Rules};

use crate::output::Failure;

/// Add rules after those of a settings file, which is made where it is missing. Rules that it has are not repeated; gives
/// how many were added.
///
/// # Errors
/// When a rule says nothing sensible; when the file cannot be read, is no TOML, has something else than rules as `rules`,
/// or cannot be written. Then it is as it was.
pub fn append(path: &Path, rules: &[RuleText]) -> Result<usize, Failure> {
    Rules::new(rules.to_vec())
        .map_err(|error| Failure::new(error).hint("docs/configuration.md shows how rules are written"))?;
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
        regress_cassettes::write_file(path, new.as_bytes()).map_err(|error| {
            Failure::from_error(error).hint("name a settings file that can be written to with --config")
        })?;
    }
    Ok(added)
}

/// The text with the rules that it lacks, and how many those are.
fn appended(text: &str, rules: &[RuleText]) -> Result<(String, usize), String> {
    let mut document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| error.to_string())?;
    let mut known: Vec<Table> = tables(document.get("rules"))?;
    let mut added = 0;
    for rule in rules {
        let table = table(rule);
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

/// A rule as the table that is written.
fn table(rule: &RuleText) -> Table {
    let mut table = Table::new();
    let mut put = |key: &str, value: Option<Value>| value.map(|value| table.insert(key, Item::Value(value)));
    let text = |text: &Option<String>| text.as_deref().map(Value::from);
    put("path", Some(rule.path.as_str().into()));
    put("route", text(&rule.route));
    put("downstream", text(&rule.downstream));
    put("operation", text(&rule.operation));
    put("as", Some(rule.effect.as_str().into()));
    put(
        "key",
        rule.key.as_ref().map(|key| match key {
            Keys::One(name) => name.into(),
            Keys::All(names) => Value::Array(names.iter().collect()),
        }),
    );
    put(
        "tolerance",
        rule.tolerance.as_ref().map(|tolerance| match tolerance {
            Number::Whole(number) => (*number).into(),
            Number::Fraction(number) => (*number).into(),
            Number::Text(text) => text.into(),
        }),
    );
    put("within", text(&rule.within));
    put("pattern", text(&rule.pattern));
    put("why", text(&rule.why));
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(path: &str, effect: &str) -> RuleText {
        RuleText {
            path: path.to_owned(),
            route: Some("POST /orders".to_owned()),
            effect: effect.to_owned(),
            why: Some("varied in 5 of 5 runs".to_owned()),
            ..RuleText::default()
        }
    }

    fn pattern(path: &str, pattern: &str) -> RuleText {
        RuleText { pattern: Some(pattern.to_owned()), ..rule(path, "pattern") }
    }

    fn keyed(key: &str) -> RuleText {
        RuleText { key: Some(Keys::One(key.to_owned())), ..rule("response/body/items", "keyed") }
    }

    #[test]
    fn a_file_keeps_what_it_has() {
        let old = "# of the shop\n[service]\nports = [ 8080 ] # http\n\n[[rules]] # by hand\npath = 'response/body/a'\nas = \"type\"\n\n[replay]\nsettle = 1\n";
        let call = RuleText {
            downstream: Some("inventory:9000".to_owned()),
            operation: Some("POST /reserve".to_owned()),
            ..pattern("request/header/x-id", "^[0-9a-f]{8}$")
        };
        let close = RuleText { tolerance: Some(Number::Fraction(0.5)), ..rule("response/body/t", "tolerance") };
        let rules = [pattern("response/body/id", r"^\d+$"), call, close];
        let (new, added) = appended(old, &rules).unwrap();
        assert_eq!(added, 3);
        insta::assert_snapshot!(new);
        assert_eq!(appended(&new, &rules).unwrap(), (new.clone(), 0));
    }

    #[test]
    fn an_empty_file_gets_rules_alone() {
        let (new, _) = appended("", &[rule("response/body/tags", "unordered")]).unwrap();
        let expected = "[[rules]]\npath = \"response/body/tags\"\nroute = \"POST /orders\"\nas = \"unordered\"\nwhy = \"varied in 5 of 5 runs\"\n";
        assert_eq!(new, expected);
    }

    #[test]
    fn a_rule_in_other_words_is_the_same_rule() {
        let old = "rules = [ { as = 'keyed', key = 'id', path = 'response/body/items', route = 'POST /orders' } ]\n";
        let by_id = keyed("id");
        assert_eq!(appended(old, std::slice::from_ref(&by_id)).unwrap(), (old.to_owned(), 0));
        let (new, added) = appended(old, &[by_id, keyed("sku")]).unwrap();
        assert_eq!((added, tables(new.parse::<DocumentMut>().unwrap().get("rules")).unwrap().len()), (1, 2), "{new}");
    }

    #[test]
    fn what_is_no_list_of_rules_is_refused() {
        for (old, what) in [("rules = 1", "not a list"), ("rules = [1]", "not a list of tables"), ("rules", "line 1")] {
            let error = appended(old, &[rule("response/body/a", "ignore")]).unwrap_err();
            assert!(error.contains(what) || error.contains("TOML"), "{old}: {error}");
        }
    }

    #[test]
    fn a_rule_that_says_nothing_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("regress.toml");
        assert!(append(&file, &[rule("response/body/a", "type"), rule("body/a", "type")]).is_err());
        assert!(!file.exists());
    }

    #[test]
    fn a_file_is_made_and_a_link_stays_one() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("real.toml"), folder.path().join("regress.toml"));
        assert_eq!(append(&file, &[rule("response/body/a", "type")]).unwrap(), 1);
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(append(&link, &[rule("response/body/b", "ignore")]).unwrap(), 1);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&file).unwrap().matches("[[rules]]").count(), 2);
    }
}
