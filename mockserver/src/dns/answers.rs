//! What resolvers answered in the recordings.

use std::collections::BTreeMap;

use regress_protocols::{Value, dns};

/// The last good answer to each question: one with records comes before one without, and that before an error. It grows with the names
/// that were asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answers {
    /// By name and type.
    by_name: BTreeMap<String, BTreeMap<String, Value>>,
}

/// What is known of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known<'a> {
    /// It was answered with this.
    Answered(&'a Value),
    /// The name exists, and was asked for something else.
    Otherwise,
    /// The name did not exist.
    Absent,
}

impl Answers {
    /// Takes in what a question was answered with. Questions of another class than the internet's are left out.
    pub(crate) fn add(&mut self, question: &Value, response: &Value) {
        let text = |member: &str| question.get(member).and_then(Value::as_text).map(str::to_owned);
        let (Some(name), Some(kind), None) = (text("name"), text("type"), question.get("class")) else { return };
        let known = self.by_name.entry(name).or_default().entry(kind).or_default();
        if goodness(response) >= goodness(known) {
            known.clone_from(response);
        }
    }

    /// Takes in others, which came later.
    pub(crate) fn merge(&mut self, others: Answers) {
        for (name, answers) in others.by_name {
            let by_kind = self.by_name.entry(name).or_default();
            for (kind, response) in answers {
                let known = by_kind.entry(kind).or_default();
                if goodness(&response) >= goodness(known) {
                    *known = response;
                }
            }
        }
    }

    /// What is known of a question, which has its name in lower case.
    pub(super) fn of(&self, name: &str, kind: &str) -> Option<Known<'_>> {
        let by_kind = self.by_name.get(name)?;
        let is_absent = |response: &Value| dns::code(response) == Some(dns::NO_SUCH_NAME);
        Some(match by_kind.get(kind) {
            Some(response) => Known::Answered(response),
            // That a name does not exist goes for every type (RFC 8020).
            None if by_kind.values().all(is_absent) => Known::Absent,
            None => Known::Otherwise,
        })
    }
}

fn goodness(response: &Value) -> u8 {
    match (dns::code(response), response.get("answers")) {
        (Some(dns::NO_ERROR), Some(_)) => 3,
        (Some(dns::NO_ERROR), None) => 2,
        (Some(dns::NO_SUCH_NAME), _) => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(name: &str, kind: &str) -> Value {
        Value::map([("name", Value::text(name)), ("type", Value::text(kind))])
    }

    fn response(code: &str, answers: usize) -> Value {
        let mut members = vec![("code".into(), Value::text(code))];
        if answers > 0 {
            members.push(("answers".into(), Value::List(vec![Value::Null; answers])));
        }
        Value::Map(members)
    }

    #[test]
    fn the_last_good_answer_counts() {
        let mut answers = Answers::default();
        let asked = question("a.test", "TXT");
        for (came, expected) in [
            (response("SERVFAIL", 0), response("SERVFAIL", 0)),
            (response("NXDOMAIN", 0), response("NXDOMAIN", 0)),
            (response("NOERROR", 1), response("NOERROR", 1)),
            (response("NOERROR", 2), response("NOERROR", 2)),
            (response("SERVFAIL", 0), response("NOERROR", 2)),
        ] {
            answers.add(&asked, &came);
            assert_eq!(answers.of("a.test", "TXT"), Some(Known::Answered(&expected)));
        }
        assert_eq!(answers.of("a.test", "SRV"), Some(Known::Otherwise));
        assert_eq!(answers.of("b.test", "SRV"), None);
        let mut others = Answers::default();
        others.add(&asked, &response("NOERROR", 3));
        others.add(&question("b.test", "A"), &response("NXDOMAIN", 0));
        answers.merge(others);
        assert_eq!(answers.of("a.test", "TXT"), Some(Known::Answered(&response("NOERROR", 3))));
        assert_eq!(answers.of("b.test", "AAAA"), Some(Known::Absent));
    }
}
