//! Review on a terminal: one proposal after the other, and one cause in all of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, BufRead},
    path::Path,
};

use regress_cassettes::{Store, diff::Schemas};
use regress_replayer::{
    groups::Group,
    report::{Colour, shown},
    review::{self, Change, Proposal},
};

use super::{Decision, Verb, called, carry_out, carry_out_all, decide, failure, noise};
use crate::{
    commands::replay::colour,
    output::{self, Exit, Failure},
};

/// What becomes of the proposals after an answer.
enum Next {
    /// The next one.
    Go,
    /// What waits has changed in other proposals as well.
    Again,
    /// No more.
    Quit,
}

/// Ask about every proposal; rules for noise are added to `file`.
pub(super) fn run(store: &Store, proposals: Vec<Proposal>, schemas: &Schemas, file: &Path) -> Result<Exit, Failure> {
    let colour = colour(&io::stderr());
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let mut waiting = proposals;
    loop {
        let left = waiting.iter().filter(|proposal| !seen.contains(&proposal.id().0)).count();
        let Some(at) = waiting.iter().position(|proposal| !seen.contains(&proposal.id().0)) else {
            return Ok(Exit::Same);
        };
        let proposal = &waiting[at];
        let changes = proposal.changes();
        let title = colour.bold(&shown(&proposal.entry()));
        output::say(format_args!("\n{left} left  {}  {title}", proposal.id()));
        output::say(format_args!("{}", shown(&proposal.file().display().to_string())));
        changes.iter().for_each(|change| output::say(described(change, colour)));
        let next = if proposal.stale {
            stale(waiting.remove(at), &mut seen)?
        } else {
            one(store, &mut waiting, at, &mut seen, file, colour)?
        };
        match next {
            Next::Go => {}
            Next::Again => waiting = Proposal::all(store, schemas).map_err(failure)?,
            Next::Quit => return Ok(Exit::Same),
        }
    }
}

fn stale(proposal: Proposal, seen: &mut BTreeSet<String>) -> Result<Next, Failure> {
    output::say("  STALE: the cassette is not any more what this was made from; replay again to have it made anew");
    match ask("[r]eject, [s]kip, [q]uit?", "rsq")? {
        'r' => {
            let id = proposal.id().clone();
            proposal.reject().map_err(failure)?;
            output::say(format_args!("rejected  {id}"));
        }
        's' => drop(seen.insert(proposal.id().0.clone())),
        _ => return Ok(Next::Quit),
    }
    Ok(Next::Go)
}

/// Ask about the proposal at `at`.
fn one(
    store: &Store,
    waiting: &mut Vec<Proposal>,
    at: usize,
    seen: &mut BTreeSet<String>,
    file: &Path,
    colour: Colour,
) -> Result<Next, Failure> {
    let decision = match ask("[a]ccept, [r]eject, by [p]ath, by [g]roup, [s]kip, [q]uit?", "arpgsq")? {
        'a' => Decision::whole(true),
        'r' => Decision::whole(false),
        'p' => by_path(&waiting[at].changes(), colour)?,
        'g' => return by_group(store, waiting, at, file),
        's' => Decision::default(),
        _ => return Ok(Next::Quit),
    };
    let proposal = waiting.remove(at);
    if decision.is_nothing() || decision.whole.is_none() {
        // What is left of it waits for another review.
        seen.insert(proposal.id().0.clone());
    }
    if !decision.is_nothing() {
        carry_out(store, proposal, &decision)?;
    }
    Ok(Next::Go)
}

/// Ask about each cause that this proposal shares with others, and decide in all of them.
fn by_group(store: &Store, waiting: &mut Vec<Proposal>, at: usize, file: &Path) -> Result<Next, Failure> {
    let groups = review::groups(waiting);
    let here: Vec<&Group> = groups.iter().filter(|group| group.entry_numbers().any(|entry| entry == at)).collect();
    let mut decisions = BTreeMap::new();
    let mut varies = Vec::new();
    for group in here {
        let entries = if group.entries() == 1 { "entry" } else { "entries" };
        let (subject, what) = (shown(&group.subject()), shown(&group.what()));
        output::say(format_args!("  {}  {subject}  {what}: {} {entries}", group.id, group.entries()));
        let all = if group.entries() == 1 { "here".to_owned() } else { format!("in all {} entries", group.entries()) };
        match ask(&format!("[a]ccept {all}, [r]eject {all}, as [n]oise, [s]kip, [q]uit this one?"), "arnsq")? {
            'a' => decide(&mut decisions, waiting, group, Verb::Accept),
            'r' => decide(&mut decisions, waiting, group, Verb::Reject),
            'n' => match noise::rules(waiting, group) {
                Ok(_) => {
                    decide(&mut decisions, waiting, group, Verb::Noise);
                    varies.push(group);
                }
                Err(why) => output::say(format_args!("  no rule can let this pass: {why}")),
            },
            's' => {}
            _ => break,
        }
    }
    let rules = noise::rules_of(waiting, &varies)?;
    carry_out_all(store, std::mem::take(waiting), &decisions, &rules, file)?;
    Ok(Next::Again)
}

fn by_path(changes: &[Change], colour: Colour) -> Result<Decision, Failure> {
    let mut decision = Decision::default();
    for change in changes {
        output::say(described(change, colour));
        match ask("[a]ccept, [r]eject, [s]kip, [q]uit this one?", "arsq")? {
            'a' => decision.accepted.push(change.path.clone()),
            'r' => decision.rejected.push(change.path.clone()),
            's' => {}
            _ => break,
        }
    }
    Ok(decision)
}

fn described(change: &Change, colour: Colour) -> String {
    let value = |value: &Option<String>| value.as_deref().map_or_else(|| "nothing".to_owned(), shown);
    let call = change.call.clone().map(|call| format!("  ({})", shown(&called(call)))).unwrap_or_default();
    let mut text = format!(
        "  {}{call}\n    expected  {}\n    actual    {}",
        colour.bold(&shown(&change.path)),
        value(&change.expected),
        value(&change.actual)
    );
    if change.unanswered {
        text += "\n    WARNING   a new call without a real answer: record the entry again";
    }
    text
}

/// Ask until the answer begins with one of the keys; the end of the input is `q`.
pub(crate) fn ask(question: &str, keys: &str) -> Result<char, Failure> {
    loop {
        output::say(question);
        let mut line = String::new();
        let count = io::stdin()
            .lock()
            .read_line(&mut line)
            .map_err(|error| Failure::new(format_args!("cannot read the answer: {error}")))?;
        let key = line.trim().chars().next().map(|key| key.to_ascii_lowercase());
        match key {
            _ if count == 0 => return Ok('q'),
            Some(key) if keys.contains(key) => return Ok(key),
            _ => {}
        }
    }
}
