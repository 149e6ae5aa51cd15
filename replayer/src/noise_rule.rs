//! The rules that let a group of differences pass from now on. Pure.

use std::collections::BTreeSet;

use regress_cassettes::diff::RuleText;

use crate::{
    groups::{Group, Severity},
    spot::SpotKind,
};

/// Why no rule can let a group pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRule {
    /// It is about a process, a whole response or a whole call.
    #[error("rules are for fields; this is about a whole response or a whole call")]
    Whole,
    /// It is a status or a whole body.
    #[error("a status or a whole body does not vary by itself; a rule by hand can say that it does")]
    Broad,
    /// It is about a recorded answer, which is not judged.
    #[error("the answer of a downstream is played as it was recorded and not judged")]
    Answer,
}

/// The rules under which no difference of `group` counts, one a route (`POST /orders`, with `*` for ids) of the entries
/// that it is seen in. What they let vary is as little as the kind of difference allows: the value and not its type, the
/// order, else anything.
///
/// # Errors
/// When there are no such rules.
pub fn rules(group: &Group, routes: impl IntoIterator<Item = String>, why: &str) -> Result<Vec<RuleText>, NoRule> {
    let (path, call) = match &group.call {
        None if matches!(group.severity, Severity::Ended | Severity::Call) => return Err(NoRule::Whole),
        None => (group.path.clone(), None),
        Some(call) => {
            let field = group.path.splitn(3, '/').nth(2).ok_or(NoRule::Whole)?;
            if field.starts_with("response") {
                return Err(NoRule::Answer);
            }
            (field.to_owned(), Some(call))
        }
    };
    if path.ends_with("/...") {
        return Err(NoRule::Whole);
    }
    if group.severity == Severity::Status || path.ends_with("/body") {
        return Err(NoRule::Broad);
    }
    let (path, effect) = match group.kind {
        SpotKind::Moved => (path.strip_suffix("/*").unwrap_or(&path).to_owned(), "unordered"),
        SpotKind::Changed if path.contains("/body/") => (path, "type"),
        _ => (path, "ignore"),
    };
    let routes: BTreeSet<String> = routes.into_iter().collect();
    let rule = |route| RuleText {
        path: path.clone(),
        route: Some(route),
        downstream: call.map(|call| call.downstream.clone()),
        operation: call.map(|call| call.request.clone()),
        effect: effect.to_owned(),
        why: Some(why.to_owned()),
        ..RuleText::default()
    };
    Ok(routes.into_iter().map(rule).collect())
}

#[cfg(test)]
mod tests {
    use regress_cassettes::diff::Rules;

    use super::*;
    use crate::{
        groups::{Place, group},
        spot::{Called, Spot},
    };

    fn one(path: &str, kind: SpotKind, call: bool) -> Group {
        let call = call.then(|| Called { downstream: "prices".to_owned(), request: "GET /sku/7?x=1".to_owned() });
        let spot = Spot { path: path.to_owned(), kind, expected: Some("1".into()), actual: Some("2".into()), call };
        group([(Place { entry: 0, number: 0, spot }, false)]).remove(0)
    }

    fn told(group: &Group) -> Result<Vec<String>, NoRule> {
        let rules = rules(group, ["GET /b".to_owned(), "GET /a".to_owned(), "GET /b".to_owned()], "accepted as noise")?;
        let rules = Rules::new(rules).unwrap();
        Ok(rules.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_rule_lets_as_little_vary_as_will_do() {
        insta::assert_debug_snapshot!([
            told(&one("response/body/items/3/at", SpotKind::Changed, false)),
            told(&one("response/body/note", SpotKind::Removed, false)),
            told(&one("response/body/tags/0", SpotKind::Moved, false)),
            told(&one("response/header/etag", SpotKind::Changed, false)),
            told(&one("downstream/2/request/body/key", SpotKind::Changed, true)),
            told(&one("downstream/2/request/order", SpotKind::Moved, true)),
        ]);
    }

    #[test]
    fn what_is_no_field_has_no_rule() {
        let cases = [
            ("process", SpotKind::Exited, false, NoRule::Whole),
            ("response", SpotKind::Changed, false, NoRule::Whole),
            ("response/...", SpotKind::Changed, false, NoRule::Whole),
            ("downstream/2", SpotKind::Novel, true, NoRule::Whole),
            ("downstream/2/response/body/a", SpotKind::Changed, true, NoRule::Answer),
            ("response/status", SpotKind::Changed, false, NoRule::Broad),
            ("response/body", SpotKind::Changed, false, NoRule::Broad),
        ];
        for (path, kind, call, why) in cases {
            assert_eq!(told(&one(path, kind, call)), Err(why), "{path}");
        }
    }
}
