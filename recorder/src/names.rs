//! Which name led a process to an address, by the DNS answers that it received. Pure: events in, names out.

use std::{
    collections::{BTreeMap, HashMap, VecDeque, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    net::IpAddr,
};

use regress_protocols::{Value, dns};

/// More names are not kept: the one that was used least recently goes.
const MOST_NAMES: usize = 16_384;
/// Of more processes it is not known by whom they were born.
const MOST_PROCESSES: usize = 16_384;
/// Of more questions it is not known how they were last answered.
const MOST_QUESTIONS: usize = 16_384;
/// Births are followed so far.
const MOST_ANCESTORS: usize = 16;

/// A process, where the source knows it.
type Process = Option<u32>;

/// A name that an address was last the answer for.
#[derive(Debug)]
struct Known {
    name: String,
    /// When it was told, and when it was last of use, in steps of [`Names::now`].
    told: u64,
    used: u64,
}

#[derive(Clone, Copy, Debug)]
struct Birth {
    parent: u32,
    at: u64,
}

/// What each process was told of addresses. The last answer counts: where two names have one address, a process that connects means the
/// one that it asked for last. A process that was forked knows what the one that forked it knew then.
#[derive(Debug, Default)]
pub(crate) struct Names {
    now: u64,
    known: HashMap<(Process, IpAddr), Known>,
    by_use: BTreeMap<u64, (Process, IpAddr)>,
    births: HashMap<u32, Birth>,
    by_birth: BTreeMap<u64, u32>,
    /// What was last answered to a question, both as hashes, and the questions in the order in which they came up.
    answers: HashMap<u64, u64>,
    questions: VecDeque<u64>,
}

impl Names {
    /// A process was told the answer to a question.
    pub(crate) fn told(&mut self, process: Process, question: &Value, response: &Value) {
        let Some(name) = question.get("name").and_then(Value::as_text) else { return };
        for address in dns::addresses(question, response) {
            self.now += 1;
            let key = (process, address.to_canonical());
            let known = Known { name: name.to_owned(), told: self.now, used: self.now };
            if let Some(before) = self.known.insert(key, known) {
                self.by_use.remove(&before.used);
            }
            self.by_use.insert(self.now, key);
            if self.known.len() > MOST_NAMES
                && let Some((_, least)) = self.by_use.pop_first()
            {
                self.known.remove(&least);
            }
        }
    }

    /// Whether the last answer to this question was another one; how long it may be kept, and the order of its records, make no other.
    pub(crate) fn is_news(&mut self, question: &Value, response: &Value) -> bool {
        let (question, answer) = (hash(question), said(response));
        let before = self.answers.insert(question, answer);
        if before.is_none() {
            self.questions.push_back(question);
            if self.questions.len() > MOST_QUESTIONS
                && let Some(oldest) = self.questions.pop_front()
            {
                self.answers.remove(&oldest);
            }
        }
        before != Some(answer)
    }

    /// A process was forked.
    pub(crate) fn born(&mut self, parent: u32, child: u32) {
        if parent == child {
            return;
        }
        self.now += 1;
        if let Some(before) = self.births.insert(child, Birth { parent, at: self.now }) {
            self.by_birth.remove(&before.at);
        }
        self.by_birth.insert(self.now, child);
        if self.births.len() > MOST_PROCESSES
            && let Some((_, oldest)) = self.by_birth.pop_first()
        {
            self.births.remove(&oldest);
        }
    }

    /// The name by which a process knows an address.
    pub(crate) fn of(&mut self, process: Process, address: IpAddr) -> Option<String> {
        let address = address.to_canonical();
        let (mut process, mut before) = (process, u64::MAX);
        for _ in 0..MOST_ANCESTORS {
            let birth = process.and_then(|process| self.births.get(&process)).copied();
            // What was told before its birth was told to another process of that number.
            let since = birth.map_or(0, |birth| birth.at);
            if let Some(known) =
                self.known.get_mut(&(process, address)).filter(|known| (since..before).contains(&known.told))
            {
                self.now += 1;
                self.by_use.remove(&known.used);
                known.used = self.now;
                self.by_use.insert(self.now, (process, address));
                return Some(known.name.clone());
            }
            let birth = birth?;
            (process, before) = (Some(birth.parent), birth.at);
        }
        None
    }
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// What a response says of its code and in its records.
fn said(response: &Value) -> u64 {
    let record = |record: &Value| hash(&(record.get("name"), record.get("type"), record.get("data")));
    let sections = ["answers", "authorities", "additionals"].map(|section| {
        let records = response.get(section).and_then(Value::as_list).unwrap_or_default();
        let mut records: Vec<u64> = records.iter().map(record).collect();
        records.sort_unstable();
        records
    });
    hash(&(response.get("code"), sections))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(kind: &str, name: &str, records: &[(&str, &str, &str)]) -> (Value, Value) {
        let record = |(owner, kind, data): &(&str, &str, &str)| {
            Value::map([
                ("name", Value::text(*owner)),
                ("type", Value::text(*kind)),
                ("ttl", Value::number(60)),
                ("data", Value::text(*data)),
            ])
        };
        let question = Value::map([("name", Value::text(name)), ("type", Value::text(kind))]);
        let answers = Value::List(records.iter().map(record).collect());
        (question, Value::map([("code", Value::text("NOERROR")), ("answers", answers)]))
    }

    fn tell(names: &mut Names, process: u32, name: &str, address: &str) {
        let (question, response) = answer("A", name, &[(name, "A", address)]);
        names.told(Some(process), &question, &response);
    }

    fn of(names: &mut Names, process: u32, address: &str) -> Option<String> {
        names.of(Some(process), address.parse().unwrap())
    }

    #[test]
    fn the_name_that_was_asked_for_last_leads_to_an_address() {
        let mut names = Names::default();
        assert_eq!(of(&mut names, 1, "10.0.0.5"), None);
        tell(&mut names, 1, "a.internal", "10.0.0.5");
        tell(&mut names, 1, "b.internal", "10.0.0.5");
        assert_eq!(of(&mut names, 1, "10.0.0.5").as_deref(), Some("b.internal"));
        assert_eq!(of(&mut names, 1, "::ffff:10.0.0.5").as_deref(), Some("b.internal"));
        tell(&mut names, 1, "a.internal", "10.0.0.5");
        assert_eq!(of(&mut names, 1, "10.0.0.5").as_deref(), Some("a.internal"));
        assert_eq!(of(&mut names, 2, "10.0.0.5"), None);
    }

    #[test]
    fn an_alias_leads_to_the_name_that_was_asked_for() {
        let mut names = Names::default();
        let records = [("db.internal", "CNAME", "db-1.internal"), ("db-1.internal", "AAAA", "2001:db8::5")];
        let (question, response) = answer("AAAA", "db.internal", &records);
        names.told(None, &question, &response);
        assert_eq!(names.of(None, "2001:db8::5".parse().unwrap()).as_deref(), Some("db.internal"));
    }

    #[test]
    fn an_answer_is_news_once() {
        let mut names = Names::default();
        let records = [("a.internal", "A", "10.0.0.5"), ("a.internal", "A", "10.0.0.6")];
        let (question, response) = answer("A", "a.internal", &records);
        assert!(names.is_news(&question, &response));
        let (_, turned) = answer("A", "a.internal", &[records[1], records[0]]);
        assert!(!names.is_news(&question, &turned));
        let (other, less) = answer("AAAA", "a.internal", &records[..1]);
        assert!(names.is_news(&question, &less) && names.is_news(&other, &less));
        assert!(names.is_news(&question, &response), "it is another than the last one");
        for number in 0..MOST_QUESTIONS {
            let (question, response) = answer("A", &number.to_string(), &[]);
            assert!(names.is_news(&question, &response));
        }
        assert_eq!((names.answers.len(), names.questions.len()), (MOST_QUESTIONS, MOST_QUESTIONS));
    }

    #[test]
    fn a_process_knows_what_its_parent_knew_when_it_was_forked() {
        let mut names = Names::default();
        tell(&mut names, 1, "a.internal", "10.0.0.5");
        names.born(1, 2);
        names.born(2, 3);
        assert_eq!(of(&mut names, 3, "10.0.0.5").as_deref(), Some("a.internal"));
        // What the parent learns later, or knows otherwise by now, says nothing of its child.
        tell(&mut names, 1, "b.internal", "10.0.0.5");
        tell(&mut names, 1, "c.internal", "10.0.0.6");
        assert_eq!((of(&mut names, 3, "10.0.0.5"), of(&mut names, 3, "10.0.0.6")), (None, None));
        // The number comes again for another process.
        tell(&mut names, 3, "d.internal", "10.0.0.7");
        names.born(9, 3);
        assert_eq!(of(&mut names, 3, "10.0.0.7"), None);
        names.born(4, 4);
        assert_eq!(of(&mut names, 4, "10.0.0.7"), None);
    }

    #[test]
    fn the_least_used_name_is_forgotten_first() {
        let mut names = Names::default();
        let address = |number: usize| format!("10.{}.{}.{}", number >> 16, (number >> 8) & 255, number & 255);
        for number in 0..MOST_NAMES {
            tell(&mut names, 1, "a.internal", &address(number));
        }
        assert!(of(&mut names, 1, &address(0)).is_some());
        tell(&mut names, 1, "a.internal", &address(MOST_NAMES));
        assert!(of(&mut names, 1, &address(0)).is_some());
        assert_eq!(of(&mut names, 1, &address(1)), None);
        assert_eq!((names.known.len(), names.by_use.len()), (MOST_NAMES, MOST_NAMES));
        for child in 0..MOST_PROCESSES as u32 + 10 {
            names.born(1_000_000, child);
        }
        assert_eq!((names.births.len(), names.by_birth.len()), (MOST_PROCESSES, MOST_PROCESSES));
    }
}
