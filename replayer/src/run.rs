//! A replay: workers drive their part of the plan, each in a sandbox of its own; proposals are made from what they saw.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use regress_cassettes::{CassetteId, Located, Store, diff::Rules};
use regress_mockserver::{
    library::Library,
    mock::{Bindings, Call, Match, Mode, Policy},
    tls::Authority,
};
use regress_protocols::http1::Message;
use tokio::{sync::mpsc, task::JoinSet};

use crate::{
    Error,
    drive::drive,
    judge::{self, End, Judgement, Observed, Seen},
    latency::Recorded,
    outcome::{CallFinding, NotDriven, Outcome, Report, Verdict},
    pending,
    plan::{self, Plan, Planned},
    review, rules,
    select::Selection,
    sides::Sides,
    target::{Launch, Target, Unready},
};

/// The most bytes of messages that are kept for reports.
const MOST_SAID: usize = 64 << 20;

/// What to replay, against what, and how long to wait.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The folder of cassettes.
    pub store: PathBuf,
    /// The command that starts the service.
    pub command: Vec<OsString>,
    /// Variables added to the environment.
    pub env: Vec<(OsString, OsString)>,
    /// The folder the service starts in; `None` = the current one.
    pub cwd: Option<PathBuf>,
    /// How many sandboxes work side by side.
    pub jobs: usize,
    /// Which entries.
    pub selection: Selection,
    /// Which of them, by id; `None` = all.
    pub only: Option<BTreeSet<CassetteId>>,
    /// Whether to stop at the first entry that is different. Those under way in other sandboxes are still judged.
    pub fail_fast: bool,
    /// The port the service takes entries on, where it is another one than in the recording.
    pub entry_port: Option<u16>,
    /// How long the service may take until it accepts connections.
    pub ready_timeout: Duration,
    /// How long an entry may take.
    pub entry_timeout: Duration,
    /// How long to wait, after an answer, for recorded calls that were not made yet.
    pub settle: Duration,
    /// How far a call may be from the recorded one that answers it.
    pub policy: Policy,
    /// What is noise.
    pub rules: Rules,
    /// Whether proposals (`*.new`) are written beside cassettes that differ.
    pub propose: bool,
    /// Whether a call that misses is answered by the nearest recorded exchange of its operation, where there is one. It
    /// stays a finding.
    pub answer_misses: bool,
    /// The program whose `main` calls `sandbox::helper_main` first.
    pub helper: PathBuf,
}

/// Replay a folder of cassettes. `progress` is told each outcome once, as soon as it is known.
///
/// # Errors
/// When nothing can be replayed at all: no cassettes, no sandbox, no such command. Whatever concerns single entries is
/// in the report.
pub async fn replay(settings: Settings, progress: impl Fn(&Outcome)) -> Result<Report, Error> {
    let store = Store::open(&settings.store)?;
    let mut plan = Plan::read(&store, &settings.selection)?;
    if let Some(only) = &settings.only {
        plan.entries.retain(|located| only.contains(&located.id));
    }
    let ambient = match store.ambient() {
        Ok(ambient) => ambient.map(Arc::new),
        Err(error) => {
            plan.unreadable.push(plan::unreadable(store.root().join("ambient.cassette.json"), &error));
            None
        }
    };
    let authority = Arc::new(Authority::new()?);
    let folder = tempfile::Builder::new().prefix("regress-").tempdir().map_err(Error::Folder)?;
    let launch = Launch {
        command: settings.command.clone(),
        env: settings.env.clone(),
        cwd: settings.cwd.clone(),
        helper: settings.helper.clone(),
        library: Arc::new(Library::new(plan.survey, ambient, settings.rules.clone())),
        policy: settings.policy,
        trust: authority.trust_files(folder.path())?,
        authority,
    };
    let run = Arc::new(Run { store, settings, launch });
    let mode = if run.settings.answer_misses { Mode::Propose } else { Mode::Strict };
    let proposes = run.settings.propose && !run.store.is_packed();
    let wanted = |_: usize, outcome: &Outcome| proposes && outcome.verdict == Verdict::Different;
    let stop = run.settings.fail_fast.then(Arc::default);
    let mut strict = run.pass(&plan.entries, mode, stop, &wanted, &progress).await?;
    let not_driven = leave_out(&mut plan.entries, &strict.numbers);
    let mut not_proposed = None;
    if run.settings.propose && run.store.is_packed() {
        let differs = strict.played.iter().any(|played| played.outcome.verdict == Verdict::Different);
        let path = run.store.root().to_path_buf();
        let packed = regress_cassettes::Error::Packed { path };
        not_proposed = differs.then(|| format!("{packed}; {}", packed.hint().unwrap_or_default()));
    }
    if proposes {
        // What a missed call was answered with (502) is not what will answer it once it is accepted, so proposals are
        // made from a second pass in which the nearest recorded answer is given.
        let mut again = None;
        if strict.played.iter().any(|played| played.missed) {
            let wanted = |number: usize, _: &Outcome| strict.played[number].outcome.verdict == Verdict::Different;
            let seen = run.pass(&plan.entries, Mode::Propose, None, &wanted, &|_| {}).await?;
            for (strict, seen) in strict.played.iter_mut().zip(&seen.played).filter(|(strict, _)| strict.missed) {
                strict.outcome.if_answered = Some(seen.outcome.findings.clone());
            }
            again = Some(seen.played);
        }
        let proposed = run.propose(&plan.entries, &mut strict.played, again.as_deref());
        not_proposed = proposed.err().map(|error| plan::in_full(&error));
    }
    let played = strict.played.iter().map(|played| (&*played.selected, &played.outcome));
    let rules = rules::uses(&run.settings.rules, played);
    let outcomes = strict.played.into_iter().map(|played| played.outcome).collect();
    Ok(Report {
        outcomes,
        unreadable: plan.unreadable,
        startup: strict.startup,
        not_proposed,
        rules,
        selected: plan.selected,
        not_driven,
    })
}

/// Leave only the played entries in the plan, of which these are the numbers, and name the others.
fn leave_out(entries: &mut Vec<Located>, played: &[usize]) -> Vec<NotDriven> {
    let mut left_out = Vec::new();
    let mut number = 0;
    entries.retain(|located| {
        let is_played = played.binary_search(&number).is_ok();
        if !is_played {
            left_out.push(NotDriven { cassette: located.id.clone(), file: located.path.clone() });
        }
        number += 1;
        is_played
    });
    left_out
}

struct Run {
    store: Store,
    settings: Settings,
    launch: Launch,
}

/// What a pass over the whole plan brought.
struct Pass {
    /// In the order of the plan.
    played: Vec<Played>,
    /// The places in the plan of those that were played.
    numbers: Vec<usize>,
    /// Calls that missed before a first entry, each once.
    startup: Vec<CallFinding>,
}

/// An entry with its outcome and what a proposal needs.
struct Played {
    outcome: Outcome,
    /// The rules that are for its response and its calls.
    selected: Vec<usize>,
    /// Whether nothing recorded answered one of its calls.
    missed: bool,
    /// Where a proposal may be made from it.
    seen: Option<SeenWhole>,
}

/// An entry with a whole response, after which the service lived on.
struct SeenWhole {
    response: Message,
    journal: Vec<Call>,
    bindings: Bindings,
}

/// Worker to the pass that waits for it: the place in the plan, and what happened there.
type Sender = mpsc::UnboundedSender<(usize, Played)>;

impl Run {
    /// Drive all entries, until `stop` is set: by the first that is different. What a proposal needs is kept of those that
    /// are `wanted` only.
    async fn pass(
        self: &Arc<Run>,
        entries: &[Located],
        mode: Mode,
        stop: Option<Arc<AtomicBool>>,
        wanted: &impl Fn(usize, &Outcome) -> bool,
        progress: &impl Fn(&Outcome),
    ) -> Result<Pass, Error> {
        let numbered: Vec<(usize, Located)> = entries.iter().cloned().enumerate().collect();
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let mut workers = JoinSet::new();
        for part in plan::split(&numbered, self.settings.jobs) {
            let worker = Worker {
                run: Arc::clone(self),
                store: self.store.clone(),
                mode,
                stop: stop.clone(),
                sender: sender.clone(),
                target: None,
                lost: None,
                deaf: BTreeMap::new(),
                open: None,
                startup: Vec::new(),
            };
            workers.spawn(worker.work(part));
        }
        drop(sender);
        let mut played = BTreeMap::new();
        let mut room = MOST_SAID;
        while let Some((number, mut one)) = receiver.recv().await {
            progress(&one.outcome);
            one.seen = one.seen.filter(|_| wanted(number, &one.outcome));
            let said = one.outcome.sides.iter().flatten().map(Sides::size).sum();
            match room.checked_sub(said) {
                Some(left) if mode == Mode::Strict => room = left,
                _ => one.outcome.sides = None,
            }
            played.insert(number, one);
        }
        let mut startup: Vec<CallFinding> = Vec::new();
        while let Some(worker) = workers.join_next().await {
            for finding in worker.map_err(Error::Worker)?? {
                if !startup
                    .iter()
                    .any(|known| (&known.request, known.destination) == (&finding.request, finding.destination))
                {
                    startup.push(CallFinding { number: startup.len(), ..finding });
                }
            }
        }
        let (numbers, played) = played.into_iter().unzip();
        Ok(Pass { played, numbers, startup })
    }

    /// Write a proposal beside every cassette whose entry differs, made from what was seen `again` if anything was, and
    /// remove those that no longer apply.
    fn propose(
        &self,
        plan: &[Located],
        played: &mut [Played],
        again: Option<&[Played]>,
    ) -> Result<(), regress_cassettes::Error> {
        let mut stale: BTreeMap<PathBuf, regress_cassettes::Pending> =
            self.store.pending()?.into_iter().map(|pending| (pending.original.clone(), pending)).collect();
        for (number, located) in plan.iter().enumerate() {
            if played[number].outcome.verdict == Verdict::Inconclusive {
                continue;
            }
            match self.proposal(located, &again.unwrap_or(played)[number])? {
                Some(pending) => played[number].outcome.pending = Some(pending),
                None => {
                    if let Some(stale) = stale.remove(&located.path) {
                        stale.reject()?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Write the proposal for one cassette and give its path, where there is anything to propose.
    fn proposal(&self, located: &Located, played: &Played) -> Result<Option<PathBuf>, regress_cassettes::Error> {
        let Some(SeenWhole { response, journal, bindings }) = &played.seen else { return Ok(None) };
        let recorded = self.store.read(located)?;
        let took = played.outcome.took.unwrap_or_default();
        let proposed = pending::propose(&recorded, response, took, journal, bindings, &self.settings.rules);
        let is_new = !review::changes(&recorded, &proposed).is_empty();
        is_new.then(|| self.store.write_pending(&located.path, &proposed)).transpose()
    }
}

/// Drives a part of the plan, one entry after the other.
struct Worker {
    run: Arc<Run>,
    store: Store,
    mode: Mode,
    /// Set by the worker that finds a difference, where nothing is driven after that.
    stop: Option<Arc<AtomicBool>>,
    sender: Sender,
    target: Option<Target>,
    /// Why no further target is started, with the last one's output.
    lost: Option<(String, Option<String>)>,
    /// Ports that the service never listened on, and what there is to say about it.
    deaf: BTreeMap<u16, (String, Option<String>)>,
    /// The entry driven last. It stays open until the next one begins, so that what the service does late still counts
    /// as its doing.
    open: Option<Driven>,
    startup: Vec<CallFinding>,
}

/// An entry whose request was sent.
struct Driven {
    number: usize,
    planned: Planned,
    seen: Seen,
    took: Duration,
    journal: Vec<Call>,
    bindings: Bindings,
    exited: Option<String>,
    last_output: Option<String>,
}

/// The end of a service's process.
struct Death {
    how: String,
    last_output: Option<String>,
}

impl Worker {
    async fn work(mut self, part: Vec<(usize, Located)>) -> Result<Vec<CallFinding>, Error> {
        for (number, located) in part {
            if self.is_stopped() {
                break;
            }
            match Planned::read(&self.store, &located) {
                Ok(planned) => self.entry(number, planned).await?,
                Err(why) => self.vanished(number, located, why),
            }
            if self.stop.is_some() && self.is_different_so_far() {
                self.close();
            }
        }
        self.close();
        if let Some(target) = self.target.take() {
            target.stop().await;
        }
        Ok(self.startup)
    }

    fn is_stopped(&self) -> bool {
        self.stop.as_ref().is_some_and(|stop| stop.load(Ordering::Relaxed))
    }

    /// Whether the entry driven last would be different if it were over.
    fn is_different_so_far(&self) -> bool {
        self.open.as_ref().is_some_and(|open| self.judgement(open).verdict == Verdict::Different)
    }

    async fn entry(&mut self, number: usize, planned: Planned) -> Result<(), Error> {
        let Some((request, local)) = drivable(&planned, self.run.settings.entry_port) else {
            let doubts = judge::doubts(&planned.cassette);
            self.tell(number, planned, doubts, None);
            return Ok(());
        };
        let stream = loop {
            if let Some((why, output)) = self.lost.clone().or_else(|| self.deaf.get(&local.port()).cloned()) {
                self.tell(number, planned, vec![why], output);
                return Ok(());
            }
            let target = match &mut self.target {
                Some(target) => target,
                none => none.insert(Target::start(&self.run.launch, self.mode).await?),
            };
            match target.connect(local, self.run.settings.ready_timeout).await {
                Ok(stream) => break Some(stream),
                Err(Unready::Refuses) => break None,
                Err(Unready::Died(how)) => {
                    let output = target.last_output();
                    match &mut self.open {
                        // It died of what it did last.
                        Some(open) => {
                            open.exited = Some(how);
                            open.last_output = output;
                        }
                        None => self.lost = Some((format!("the service {how} before it took an entry"), output)),
                    }
                    self.close();
                    self.discard().await;
                }
                Err(Unready::Deaf(others)) => {
                    let why = not_listening(local.port(), self.run.settings.ready_timeout, &others);
                    self.deaf.insert(local.port(), (why, target.last_output()));
                }
            }
        };
        let before = self.over();
        let Some(target) = &mut self.target else { return Ok(()) };
        let id = planned.cassette.id.clone();
        target.enter(&planned.cassette);
        let (seen, took) = match stream {
            None => (Seen::Nothing { end: End::Refused, part: None }, Duration::ZERO),
            Some(mut stream) => {
                let (read, write) = stream.split();
                drive(read, write, &request, self.run.settings.entry_timeout).await
            }
        };
        let exited = match seen {
            Seen::Response(_) | Seen::Nothing { end: End::Hung(_), .. } => {
                target.settle(&id, self.run.settings.settle).await;
                target.exit()
            }
            Seen::Nothing { .. } => match target.dying().await {
                Some(how) => Some(how),
                None => {
                    target.settle(&id, self.run.settings.settle).await;
                    target.exit()
                }
            },
        };
        let broken = exited.is_some() || matches!(seen, Seen::Nothing { end: End::Hung(_) | End::Refused, .. });
        let last_output = match seen {
            Seen::Response(_) if exited.is_none() => None,
            _ => target.last_output(),
        };
        let journal = target.take_journal();
        let bindings = target.bindings();
        let untouched = matches!(seen, Seen::Nothing { part: None, .. }) && journal.is_empty();
        match (before, &exited) {
            (Some(before), Some(how)) if untouched => {
                let death = Death { how: how.clone(), last_output };
                return self.after_a_death(before, death, number, planned).await;
            }
            (before, _) => self.judge(before),
        }
        self.open = Some(Driven { number, planned, seen, took, journal, bindings, exited, last_output });
        if broken {
            // What follows gets a service that works.
            self.close();
            self.discard().await;
        }
        Ok(())
    }

    /// The service died while it had an entry of which it had neither said nor asked anything: it may have died of the
    /// entry `before`, a moment too late. A fresh service tells: if the entry kills that one as well, it was its doing.
    async fn after_a_death(
        &mut self,
        mut before: Driven,
        death: Death,
        number: usize,
        planned: Planned,
    ) -> Result<(), Error> {
        self.discard().await;
        Box::pin(self.entry(number, planned)).await?;
        if self.open.is_some() {
            before.exited = Some(death.how);
            before.last_output = death.last_output;
        }
        self.judge(Some(before));
        Ok(())
    }

    /// The entry driven last is over: judge it, and what was called before any entry with it.
    fn close(&mut self) {
        let driven = self.over();
        self.judge(driven);
    }

    /// The entry driven last is over: it gets what was called late.
    fn over(&mut self) -> Option<Driven> {
        let late = self.target.as_ref().map(Target::take_journal).unwrap_or_default();
        let bindings = self.target.as_ref().map(Target::bindings);
        let Some(mut driven) = self.open.take() else {
            let misses = late.iter().filter(|call| is_miss(call));
            self.startup.extend(misses.map(|call| judge::novel(0, call)));
            return None;
        };
        driven.journal.extend(late);
        driven.bindings = bindings.unwrap_or(driven.bindings);
        Some(driven)
    }

    fn judge(&mut self, driven: Option<Driven>) {
        let Some(driven) = driven else { return };
        let Judgement { verdict, findings, excused, doubts, calls, sides } = self.judgement(&driven);
        if let Some(stop) = self.stop.as_ref().filter(|_| verdict == Verdict::Different) {
            stop.store(true, Ordering::Relaxed);
        }
        let response = match driven.seen {
            Seen::Response(response) if driven.exited.is_none() => Some(response),
            _ => None,
        };
        let selected = rules::selected(&self.run.settings.rules, &driven.planned.cassette);
        let outcome = Outcome {
            cassette: driven.planned.cassette.id.clone(),
            entry: entry_line(&driven.planned),
            file: driven.planned.file,
            verdict,
            findings,
            excused,
            if_answered: None,
            doubts,
            notes: judge::notes(&driven.planned.cassette),
            calls,
            last_output: driven.last_output,
            took: Some(driven.took),
            recorded: Recorded::of(&driven.planned.cassette),
            sides,
            pending: None,
        };
        let missed = driven.journal.iter().any(is_miss);
        let seen = response.map(|response| SeenWhole { response, journal: driven.journal, bindings: driven.bindings });
        self.send(driven.number, Played { outcome, selected, missed, seen });
    }

    fn judgement(&self, driven: &Driven) -> Judgement {
        let observed = Observed {
            seen: &driven.seen,
            journal: &driven.journal,
            bindings: &driven.bindings,
            exited: driven.exited.as_deref(),
        };
        judge::judge(&driven.planned.cassette, &observed, &self.run.settings.rules)
    }

    /// An entry that cannot be driven.
    fn tell(&mut self, number: usize, planned: Planned, doubts: Vec<String>, last_output: Option<String>) {
        let outcome = Outcome {
            cassette: planned.cassette.id.clone(),
            entry: entry_line(&planned),
            file: planned.file,
            verdict: Verdict::Inconclusive,
            findings: Vec::new(),
            excused: Vec::new(),
            if_answered: None,
            doubts,
            notes: judge::notes(&planned.cassette),
            calls: Vec::new(),
            last_output,
            took: None,
            recorded: Recorded::of(&planned.cassette),
            sides: None,
            pending: None,
        };
        self.send(number, Played { outcome, selected: Vec::new(), missed: false, seen: None });
    }

    /// An entry whose cassette is no longer what the plan saw.
    fn vanished(&self, number: usize, located: Located, why: String) {
        let outcome = Outcome {
            cassette: located.id,
            entry: located.route,
            file: located.path,
            verdict: Verdict::Inconclusive,
            findings: Vec::new(),
            excused: Vec::new(),
            if_answered: None,
            doubts: vec![why],
            notes: Vec::new(),
            calls: Vec::new(),
            last_output: None,
            took: None,
            recorded: None,
            sides: None,
            pending: None,
        };
        self.send(number, Played { outcome, selected: Vec::new(), missed: false, seen: None });
    }

    fn send(&self, number: usize, played: Played) {
        // The pass reads until every worker is done; it stops earlier only when it is itself given up.
        let _ = self.sender.send((number, played));
    }

    async fn discard(&mut self) {
        if let Some(target) = self.target.take() {
            target.stop().await;
        }
    }
}

/// The request of an entry that can be sent, and the address it was recorded on.
fn drivable(planned: &Planned, port: Option<u16>) -> Option<(Message, SocketAddr)> {
    let entry = planned.cassette.entry.as_ref()?;
    let mut local = entry.connection.local.as_ref()?.inet()?;
    if let Some(port) = port {
        local.set_port(port);
    }
    let http = entry.http()?;
    let is_known = http.request.is_complete() || entry.defects.is_empty();
    (is_known && !entry.connection.tls).then(|| (http.request.clone(), local))
}

fn entry_line(planned: &Planned) -> String {
    planned.cassette.entry.as_ref().map(judge::request_line).unwrap_or_else(|| "no entry".to_owned())
}

fn not_listening(port: u16, after: Duration, others: &[SocketAddr]) -> String {
    let others = match others {
        [] => "nothing".to_owned(),
        others => others.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(", "),
    };
    format!(
        "the service was not listening on {port} within {}; it listens on {others}",
        crate::report::seconds(after.as_millis())
    )
}

fn is_miss(call: &Call) -> bool {
    matches!(call.matched, Match::Miss { .. })
}
