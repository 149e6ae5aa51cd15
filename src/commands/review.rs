//! `regress review`.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, IsTerminal},
    path::PathBuf,
};

use regress_cassettes::Store;
use regress_replayer::{
    Error,
    report::{Colour, shown},
    review::{Change, Proposal, covers},
};

use crate::{
    commands::replay::colour,
    output::{self, Exit, Failure},
};

/// Arguments of `regress review`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder of cassettes
    #[arg(value_name = "DIR")]
    store: PathBuf,
    /// Every proposal becomes its cassette
    #[arg(long, conflicts_with_all = ["reject_all", "accept", "reject"])]
    accept_all: bool,
    /// Every proposal is deleted
    #[arg(long, conflicts_with_all = ["accept", "reject"])]
    reject_all: bool,
    /// Accept one proposal, or only what differs at or below a path of it; repeatable
    #[arg(long, value_name = "ID[:PATH]")]
    accept: Vec<String>,
    /// Reject one proposal, or only what differs at or below a path of it; repeatable
    #[arg(long, value_name = "ID[:PATH]")]
    reject: Vec<String>,
}

/// What is to become of one proposal.
#[derive(Debug, Default)]
struct Decision {
    /// Accept (true) or reject (false) it whole.
    whole: Option<bool>,
    accepted: Vec<String>,
    rejected: Vec<String>,
}

/// Run it.
pub fn run(args: Args) -> Result<Exit, Failure> {
    let store = Store::open(&args.store).map_err(|error| failure(error.into()))?;
    if args.reject_all {
        return reject_all(&store);
    }
    let proposals = Proposal::all(&store).map_err(failure)?;
    let named = !args.accept.is_empty() || !args.reject.is_empty();
    if proposals.is_empty() && !named {
        output::say("nothing waits for review");
        return Ok(Exit::Same);
    }
    let decisions = if args.accept_all {
        proposals.iter().map(|proposal| (proposal.id().0.clone(), Decision::whole(true))).collect()
    } else if named {
        decided(&args, &proposals)?
    } else if io::stdin().is_terminal() && io::stderr().is_terminal() {
        return interactive(&store, proposals);
    } else {
        return Err(Failure::new(format_args!(
            "{} proposals wait and there is no terminal to ask on",
            proposals.len()
        ))
        .hint("use --accept-all, --reject-all, --accept ID[:PATH] or --reject ID[:PATH]"));
    };
    for proposal in proposals {
        if let Some(decision) = decisions.get(&proposal.id().0) {
            carry_out(&store, proposal, decision)?;
        }
    }
    Ok(Exit::Same)
}

/// Unlike everything else this works on proposals that nobody can read.
fn reject_all(store: &Store) -> Result<Exit, Failure> {
    for pending in store.pending().map_err(|error| failure(error.into()))? {
        pending.reject().map_err(|error| failure(error.into()))?;
        output::say(format_args!("rejected  {}", pending.proposed.display()));
    }
    Ok(Exit::Same)
}

impl Decision {
    fn whole(accept: bool) -> Decision {
        Decision { whole: Some(accept), ..Decision::default() }
    }

    fn is_nothing(&self) -> bool {
        self.whole.is_none() && self.accepted.is_empty() && self.rejected.is_empty()
    }
}

/// The decisions that `--accept` and `--reject` ask for.
fn decided(args: &Args, proposals: &[Proposal]) -> Result<BTreeMap<String, Decision>, Failure> {
    let mut decisions: BTreeMap<String, Decision> = BTreeMap::new();
    let accepts = args.accept.iter().map(|text| (text, true));
    for (text, accept) in accepts.chain(args.reject.iter().map(|text| (text, false))) {
        let (id, path) = text.split_once(':').map_or((text.as_str(), None), |(id, path)| (id, Some(path)));
        if !proposals.iter().any(|proposal| proposal.id().0 == id) {
            let ids: Vec<&str> = proposals.iter().map(|proposal| proposal.id().0.as_str()).collect();
            let waiting = if ids.is_empty() { "nothing".to_owned() } else { ids.join(", ") };
            return Err(Failure::new(format_args!("no proposal {id} waits for review"))
                .hint(format_args!("waiting: {waiting}")));
        }
        let decision = decisions.entry(id.to_owned()).or_default();
        match path {
            None if decision.whole.is_some_and(|whole| whole != accept) => {
                return Err(Failure::new(format_args!("{id} is both accepted and rejected")));
            }
            None => decision.whole = Some(accept),
            Some(path) if accept => decision.accepted.push(path.to_owned()),
            Some(path) => decision.rejected.push(path.to_owned()),
        }
    }
    for (id, decision) in &decisions {
        if decision.whole.is_some() && (!decision.accepted.is_empty() || !decision.rejected.is_empty()) {
            return Err(Failure::new(format_args!("{id} is named both whole and by path")).hint("use one of the two"));
        }
    }
    Ok(decisions)
}

fn carry_out(store: &Store, proposal: Proposal, decision: &Decision) -> Result<(), Failure> {
    let id = proposal.id().clone();
    match decision.whole {
        Some(true) => {
            warn_of_unanswered(&proposal, |_| true);
            proposal.accept().map_err(failure)?;
            output::say(format_args!("accepted  {id}"));
        }
        Some(false) => {
            proposal.reject().map_err(failure)?;
            output::say(format_args!("rejected  {id}"));
        }
        None => {
            warn_of_unanswered(&proposal, |path| decision.accepted.iter().any(|accepted| covers(accepted, path)));
            proposal.settle(store, &decision.accepted, &decision.rejected).map_err(failure)?;
            let told = [("accepted", &decision.accepted), ("rejected", &decision.rejected)];
            for (word, path) in told.iter().flat_map(|(word, paths)| paths.iter().map(move |path| (word, path))) {
                output::say(format_args!("{word}  {id}  {}", shown(path)));
            }
        }
    }
    Ok(())
}

/// Say which of a proposal's new calls, where `accepted`, nobody knows a real answer to.
pub(crate) fn warn_of_unanswered(proposal: &Proposal, accepted: impl Fn(&str) -> bool) {
    for change in proposal.changes().into_iter().filter(|change| change.unanswered && accepted(&change.path)) {
        output::say(format_args!(
            "warning: {}  {}  {}: nobody knows the real answer to this new call; the cassette holds the mock's 502 \
             until the entry is recorded again",
            proposal.id(),
            change.path,
            shown(&change.call.map(called).unwrap_or_default()),
        ));
    }
}

fn interactive(store: &Store, proposals: Vec<Proposal>) -> Result<Exit, Failure> {
    let colour = colour(&io::stderr());
    let count = proposals.len();
    for (number, proposal) in proposals.into_iter().enumerate() {
        let changes = proposal.changes();
        let title = colour.bold(&shown(&proposal.entry()));
        output::say(format_args!("\n{}/{count}  {}  {title}", number + 1, proposal.id()));
        output::say(format_args!("{}", proposal.file().display()));
        changes.iter().for_each(|change| output::say(described(change, colour)));
        let decision = match ask("[a]ccept, [r]eject, by [p]ath, [s]kip, [q]uit?", "arpsq")? {
            'a' => Decision::whole(true),
            'r' => Decision::whole(false),
            'p' => by_path(&changes, colour)?,
            's' => Decision::default(),
            _ => break,
        };
        if !decision.is_nothing() {
            carry_out(store, proposal, &decision)?;
        }
    }
    Ok(Exit::Same)
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
    let call = change.call.as_deref().map(|call| format!("  ({})", shown(call))).unwrap_or_default();
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

/// What to tell about an error of the replayer.
pub(crate) fn failure(error: Error) -> Failure {
    let hint = error.hint();
    let failure = Failure::from_error(error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
