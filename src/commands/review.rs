//! `regress review`.

mod interactive;
mod noise;

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal},
    path::{Path, PathBuf},
};

use regress_cassettes::{Store, diff::RuleText};
use regress_replayer::{
    Called, Error,
    groups::Group,
    report::shown,
    review::{self, Proposal, covers},
};

pub(crate) use self::interactive::ask;
use crate::{
    config::{Config, Protos},
    output::{self, Exit, Failure},
    sealing,
};

/// Arguments of `regress review`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder of cassettes
    #[arg(value_name = "DIR")]
    store: PathBuf,
    /// Print what waits, by cause and by cassette, and change nothing
    #[arg(long, conflicts_with_all = ["accept_all", "reject_all", "accept", "reject", "accept_group", "reject_group", "noise"])]
    list: bool,
    /// Every proposal becomes its cassette
    #[arg(long, conflicts_with_all = ["reject_all", "accept", "reject", "accept_group", "reject_group", "noise"])]
    accept_all: bool,
    /// Every proposal is deleted
    #[arg(long, conflicts_with_all = ["accept", "reject", "accept_group", "reject_group", "noise"])]
    reject_all: bool,
    /// Accept one proposal, or only what differs at or below a path of it; repeatable
    #[arg(long, value_name = "ID[:PATH]")]
    accept: Vec<String>,
    /// Reject one proposal, or only what differs at or below a path of it; repeatable
    #[arg(long, value_name = "ID[:PATH]")]
    reject: Vec<String>,
    /// Accept one cause in every proposal, by its group's id or path (as reports and --list print them); repeatable
    #[arg(long, value_name = "GROUP")]
    accept_group: Vec<String>,
    /// Reject one cause in every proposal; repeatable
    #[arg(long, value_name = "GROUP")]
    reject_group: Vec<String>,
    /// Let one cause vary from now on: rules are added to regress.toml, the cassettes stay; repeatable
    #[arg(long, value_name = "GROUP")]
    noise: Vec<String>,
    #[command(flatten)]
    protos: Protos,
    #[command(flatten)]
    identity: sealing::IdentityArgs,
    /// The settings that --noise adds to [default: regress.toml in DIR or in the current folder, else a new one in DIR]
    #[arg(long, value_name = "FILE", env = "REGRESS_CONFIG")]
    config: Option<PathBuf>,
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
    let store = store.with_keys(args.identity.keys()?);
    let schemas = args.protos.read(&Config::load(args.config.as_deref(), Some(&args.store))?)?;
    let proposals = Proposal::all(&store, &schemas).map_err(failure)?;
    if args.list {
        output::data(listed(&proposals));
        return Ok(Exit::Same);
    }
    let groups_named = [&args.accept_group, &args.reject_group, &args.noise].iter().any(|named| !named.is_empty());
    let named = groups_named || !args.accept.is_empty() || !args.reject.is_empty();
    if proposals.is_empty() && !named {
        output::say("nothing waits for review");
        return Ok(Exit::Same);
    }
    let file = Config::rules_file(args.config.as_deref(), &args.store);
    let (decisions, rules) = if args.accept_all {
        (proposals.iter().map(|proposal| (proposal.id().0.clone(), Decision::whole(true))).collect(), Vec::new())
    } else if named {
        decided(&args, &proposals)?
    } else if io::stdin().is_terminal() && io::stderr().is_terminal() {
        return interactive::run(&store, proposals, &schemas, &file);
    } else {
        return Err(Failure::new(format_args!(
            "{} proposals wait and there is no terminal to ask on",
            proposals.len()
        ))
        .hint("--list shows what waits; use --accept-all, --reject-all, or --accept, --reject, --accept-group and --reject-group"));
    };
    carry_out_all(&store, proposals, &decisions, &rules, &file)?;
    Ok(Exit::Same)
}

/// What waits: causes, then cassettes.
fn listed(proposals: &[Proposal]) -> String {
    let mut out = String::new();
    for group in review::groups(proposals) {
        let entries = if group.entries() == 1 { "entry  " } else { "entries" };
        let (subject, what) = (shown(&group.subject()), shown(&group.what()));
        out += &format!("{}  {:>5} {entries}  {subject}  {what}\n", group.id, group.entries());
    }
    for proposal in proposals {
        let stale = if proposal.stale { "  (stale: made from another version of the cassette)" } else { "" };
        out += &format!("\n{}  {}{stale}\n", proposal.id(), shown(&proposal.entry()));
        for change in proposal.changes() {
            out += &format!("  {}\n", shown(&change.path));
        }
    }
    out
}

/// Nothing by half: what cannot be done is found before anything is written. First the `rules` are added to `file`.
fn carry_out_all(
    store: &Store,
    proposals: Vec<Proposal>,
    decisions: &BTreeMap<String, Decision>,
    rules: &[RuleText],
    file: &Path,
) -> Result<(), Failure> {
    let of = |proposal: &Proposal| decisions.get(&proposal.id().0).filter(|decision| !decision.is_nothing());
    for proposal in &proposals {
        match of(proposal) {
            Some(Decision { whole: Some(true), .. }) => proposal.fresh().map_err(failure)?,
            Some(Decision { whole: None, accepted, rejected }) => {
                proposal.settled(accepted, rejected).map_err(failure)?;
            }
            _ => {}
        }
    }
    noise::allow(file, rules)?;
    for proposal in proposals {
        if let Some(decision) = of(&proposal) {
            carry_out(store, proposal, decision)?;
        }
    }
    Ok(())
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

/// The decisions that the arguments ask for, and the rules for what is noise.
fn decided(args: &Args, proposals: &[Proposal]) -> Result<(BTreeMap<String, Decision>, Vec<RuleText>), Failure> {
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
    let groups = review::groups(proposals);
    let mut noise = Vec::new();
    let asked = [(&args.accept_group, Verb::Accept), (&args.reject_group, Verb::Reject), (&args.noise, Verb::Noise)];
    for (name, verb) in asked.iter().flat_map(|(names, verb)| names.iter().map(move |name| (name, *verb))) {
        let meant: Vec<&Group> = groups.iter().filter(|group| group.id == *name || group.path == *name).collect();
        if meant.is_empty() {
            let waiting =
                if groups.is_empty() { "nothing waits" } else { "regress review DIR --list shows what waits" };
            return Err(Failure::new(format_args!("no group {name:?} waits for review")).hint(waiting));
        }
        for group in meant {
            decide(&mut decisions, proposals, group, verb);
            noise.extend((verb == Verb::Noise).then_some(group));
        }
    }
    for (id, decision) in &decisions {
        if decision.whole.is_some() && (!decision.accepted.is_empty() || !decision.rejected.is_empty()) {
            return Err(Failure::new(format_args!("{id} is named both whole and by path")).hint("use one of the two"));
        }
        if let Some(path) = decision.accepted.iter().find(|path| decision.rejected.contains(path)) {
            return Err(Failure::new(format_args!("{} of {id} is both accepted and rejected", shown(path)))
                .hint("name it, or its group, once"));
        }
    }
    let rules = noise::rules_of(proposals, &noise)?;
    Ok((decisions, rules))
}

/// What is to become of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Accept,
    Reject,
    /// It may vary: the cassettes stay as they are.
    Noise,
}

/// Decide about a group in every proposal that it is in.
fn decide(decisions: &mut BTreeMap<String, Decision>, proposals: &[Proposal], group: &Group, verb: Verb) {
    for place in &group.places {
        let decision = decisions.entry(proposals[place.entry].id().0.clone()).or_default();
        let paths = if verb == Verb::Accept { &mut decision.accepted } else { &mut decision.rejected };
        if !paths.contains(&place.spot.path) {
            paths.push(place.spot.path.clone());
        }
    }
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

/// A call, for reading.
fn called(call: Called) -> String {
    format!("{}  {}", call.downstream, call.request)
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
