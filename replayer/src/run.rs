//! A replay: workers drive their part of the plan, each in a sandbox of its own; proposals are made from what they saw.

mod leaks;
mod stages;

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use regress_cassettes::{AMBIENT_FILE, Cassette, Located, Store, redact::Beside};
use regress_mockserver::{
    library::Library,
    mock::{Bindings, Call, Match, Mode},
    survey::Survey,
    tls::Authority,
};
use regress_protocols::http1::Message;
use tokio::{sync::mpsc, task::JoinSet};

use self::{leaks::Leaks, stages::Judging};
use crate::{
    Error,
    drive::{Drivable, drive},
    judge::{self, End, Seen},
    kept::{Before, Keep, Kept, Known, NotResumed},
    latency::Recorded,
    left,
    outcome::{CallFinding, NotDriven, Outcome, Report, Verdict},
    pending,
    plan::{self, Plan, Planned},
    review, rules,
    settings::{Progress, Settings},
    sides::Sides,
    target::{Launch, Target, Unready},
};

/// The most bytes of messages that are kept for reports.
const MOST_SAID: usize = 64 << 20;

/// Replay a folder of cassettes.
///
/// # Errors
/// When nothing can be replayed at all: no cassettes, no sandbox, no such command; or when what an interrupted replay
/// kept is about something else. Whatever concerns single entries is in the report.
pub async fn replay(settings: Settings, progress: impl Fn(Progress<'_>)) -> Result<Report, Error> {
    let store = Store::open(&settings.store)?.with_keys(settings.keys.clone());
    let mut plan = Plan::read(&store, &settings.selection)?;
    if let Some(only) = &settings.only {
        plan.entries.retain(|located| only.contains(&located.id));
    }
    let ambient = match store.ambient() {
        Ok(ambient) => ambient.map(Arc::new),
        Err(error) => {
            let file = store.ambient_file().ok().flatten().unwrap_or_else(|| store.root().join(AMBIENT_FILE));
            plan.unreadable.push(plan::unreadable(file, &error));
            None
        }
    };
    let (mut kept, before) = keep(&store, &settings, &plan, ambient.as_deref(), &progress)?;
    let authority = Arc::new(Authority::new()?);
    let folder = tempfile::Builder::new().prefix("regress-").tempdir().map_err(Error::Folder)?;
    let launch = Launch {
        command: settings.command.clone(),
        env: settings.env.clone(),
        cwd: settings.cwd.clone(),
        helper: settings.helper.clone(),
        library: Arc::new(Library::new(plan.survey, ambient, settings.rules.clone(), Arc::clone(&settings.redactor))),
        policy: settings.policy,
        trust: authority.trust_files(folder.path())?,
        authority,
    };
    let is_part = plan.selected.is_some() || !plan.unreadable.is_empty();
    let all = is_part.then(OnceLock::new);
    let run = Arc::new(Run { store, settings, launch, all, leaks: Leaks::default() });
    let mode = if run.settings.answer_misses { Mode::Propose } else { Mode::Strict };
    let proposes = run.settings.propose && !run.store.is_packed();
    let wanted = |_: usize, outcome: &Outcome| proposes && outcome.verdict == Verdict::Different;
    let stop = run.settings.fail_fast.then(Arc::<AtomicBool>::default);
    let known = before.outcomes.len();
    let mut strict = Pass::of(before);
    let is_over = stop.is_some() && strict.played.values().any(Played::is_different);
    let is_left = |number: &usize| !is_over && !strict.played.contains_key(number);
    let left: Vec<usize> = (0..plan.entries.len()).filter(is_left).collect();
    progress(Progress::Begun { entries: left.len(), known });
    let mut heard = |told: &Told| {
        if let Some(Err(error)) = kept.as_mut().map(|kept| told.keep(kept)) {
            progress(Progress::NotKept(&error.to_string()));
            kept = None;
        }
        if let Told::Played(_, played) = told {
            progress(Progress::Outcome(&played.outcome));
        }
    };
    run.pass(&plan.entries, &left, mode, stop, &wanted, &mut strict, &mut heard).await?;
    let not_driven = leave_out(&mut plan.entries, &strict.played);
    let mut strict = strict.in_order();
    let mut not_proposed = None;
    if run.settings.propose && run.store.is_packed() {
        let differs = strict.played.iter().any(|played| played.outcome.verdict == Verdict::Different);
        let path = run.store.root().to_path_buf();
        let packed = regress_cassettes::Error::Packed { path };
        not_proposed = differs.then(|| format!("{packed}; {}", packed.hint().unwrap_or_default()));
    }
    if proposes {
        let again = run.again(&plan.entries, &strict.played, &progress).await?;
        for (number, seen) in &again {
            if strict.played[*number].missed {
                strict.played[*number].outcome.if_answered = Some(seen.outcome.findings.clone());
            }
        }
        let proposed = run.propose(&plan.entries, &mut strict.played, &again);
        not_proposed = proposed.err().map(|error| plan::in_full(&error));
    }
    let played = strict.played.iter().map(|played| (&*played.selected, &played.outcome));
    let rules = rules::uses(&run.settings.rules, played);
    if let Some(kept) = kept {
        kept.remove();
    }
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

/// Begin to keep what is found out, where that is asked for and possible; what is known from before.
fn keep(
    store: &Store,
    settings: &Settings,
    plan: &Plan,
    ambient: Option<&Cassette>,
    progress: &impl Fn(Progress<'_>),
) -> Result<(Option<Kept>, Before), Error> {
    if settings.keep == Keep::No || plan.entries.is_empty() {
        return Ok((None, Before::default()));
    }
    match Kept::begin(store, settings, plan, ambient) {
        Ok((kept, before)) => Ok((Some(kept), before)),
        Err(why @ (NotResumed::InUse | NotResumed::File(..) | NotResumed::Unsealed(_)))
            if settings.keep == Keep::Anew =>
        {
            progress(Progress::NotKept(&plan::in_full(&why)));
            Ok((None, Before::default()))
        }
        Err(why) => Err(Error::NotResumed(why)),
    }
}

/// Leave only the played entries in the plan, and name the others.
fn leave_out(entries: &mut Vec<Located>, played: &BTreeMap<usize, Played>) -> Vec<NotDriven> {
    let mut left_out = Vec::new();
    let mut number = 0;
    entries.retain(|located| {
        let is_played = played.contains_key(&number);
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
    /// What all cassettes tell, where this replay is not about all of them; made when it is needed first. `None` in it
    /// where some cannot be read.
    all: Option<OnceLock<Option<Survey>>>,
    leaks: Leaks,
}

/// What a pass over the plan brought.
#[derive(Default)]
struct Pass<P = BTreeMap<usize, Played>> {
    /// By place in the plan.
    played: P,
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
    /// Whether an interrupted replay drove it. Of what was seen then no more is known.
    is_from_before: bool,
    /// The digest of its cassette, where outcomes are kept.
    digest: Option<String>,
    /// Where a proposal may be made from it.
    seen: Option<SeenWhole>,
}

/// An entry with a whole response, after which the service lived on.
struct SeenWhole {
    response: Message,
    journal: Vec<Call>,
    bindings: Bindings,
}

/// Worker to the pass that waits for it.
enum Told {
    /// The place in the plan, and what happened there.
    Played(usize, Box<Played>),
    /// A call before a first entry missed.
    Startup(CallFinding),
}

type Sender = mpsc::UnboundedSender<Told>;

impl Played {
    /// An entry that was not driven.
    fn of(outcome: Outcome) -> Played {
        Played { outcome, selected: Vec::new(), missed: false, is_from_before: false, digest: None, seen: None }
    }

    fn is_different(&self) -> bool {
        self.outcome.verdict == Verdict::Different
    }
}

impl Told {
    /// Keep it for when the replay is interrupted. An entry that was not answered is driven again then: what ended the
    /// replay may have ended the service a moment before.
    fn keep(&self, kept: &mut Kept) -> io::Result<()> {
        match self {
            Told::Played(_, played) => match (&played.seen, &played.digest) {
                (Some(_), Some(digest)) => kept.outcome(digest, &played.selected, played.missed, &played.outcome),
                _ => Ok(()),
            },
            Told::Startup(call) => kept.startup(call),
        }
    }
}

impl Pass {
    /// What is known from before.
    fn of(before: Before) -> Pass {
        let played = before.outcomes.into_iter().map(|(number, known)| {
            let Known { outcome, selected, missed, cassette } = known;
            let digest = Some(cassette);
            (number, Played { outcome, selected, missed, is_from_before: true, digest, seen: None })
        });
        let mut pass = Pass { played: played.collect(), startup: Vec::new() };
        before.startup.into_iter().for_each(|call| pass.add(Told::Startup(call)));
        pass
    }

    fn add(&mut self, told: Told) {
        match told {
            Told::Played(number, played) => drop(self.played.insert(number, *played)),
            Told::Startup(call) => {
                let is_known =
                    |known: &CallFinding| (&known.request, known.destination) == (&call.request, call.destination);
                if !self.startup.iter().any(is_known) {
                    self.startup.push(CallFinding { number: self.startup.len(), ..call });
                }
            }
        }
    }

    /// Without the places of those that were not driven.
    fn in_order(self) -> Pass<Vec<Played>> {
        Pass { played: self.played.into_values().collect(), startup: self.startup }
    }
}

impl Run {
    /// Whether a recording that this replay is not about knows where a call went, or may do so.
    fn may_be_known(&self, call: &Call) -> bool {
        self.may_say(|all| all.knows(call.destination))
    }

    /// Whether such a recording has a connection there which was left unused, or may do so.
    fn may_be_left_unused(&self, call: &Call) -> bool {
        self.may_say(|all| all.is_left_unused(call.destination))
    }

    /// Whether all cassettes together say so, or may do so as some cannot be read; not where this replay is about all of them.
    fn may_say(&self, so: impl Fn(&Survey) -> bool) -> bool {
        let all = self.all.as_ref().map(|all| all.get_or_init(|| plan::survey_all(&self.store)).as_ref());
        all.is_some_and(|all| all.is_none_or(so))
    }

    /// Drive the entries with these numbers into `pass`, until `stop` is set: by the first that is different. What a
    /// proposal needs is kept of those that are `wanted` only.
    #[allow(clippy::too_many_arguments, reason = "a pass is all of these")]
    async fn pass(
        self: &Arc<Run>,
        entries: &[Located],
        numbers: &[usize],
        mode: Mode,
        stop: Option<Arc<AtomicBool>>,
        wanted: &impl Fn(usize, &Outcome) -> bool,
        pass: &mut Pass,
        heard: &mut impl FnMut(&Told),
    ) -> Result<(), Error> {
        let numbered: Vec<(usize, Located)> =
            numbers.iter().map(|number| (*number, entries[*number].clone())).collect();
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let mut workers = JoinSet::new();
        for part in plan::split(&numbered, self.settings.jobs) {
            let worker = Worker {
                run: Arc::clone(self),
                mode,
                stop: stop.clone(),
                sender: sender.clone(),
                judging: Judging::begin(Arc::clone(self), stop.clone(), sender.clone()),
                target: None,
                lost: None,
                deaf: BTreeMap::new(),
                open: None,
            };
            workers.spawn_blocking(|| worker.work_here(part));
        }
        drop(sender);
        let mut room = MOST_SAID;
        while let Some(mut told) = receiver.recv().await {
            heard(&told);
            if let Told::Played(number, one) = &mut told {
                one.seen = one.seen.take().filter(|_| wanted(*number, &one.outcome));
                let said = one.outcome.sides.iter().flatten().map(Sides::size).sum();
                match room.checked_sub(said) {
                    Some(left) if mode == Mode::Strict => room = left,
                    _ => one.outcome.sides = None,
                }
            }
            pass.add(told);
        }
        while let Some(worker) = workers.join_next().await {
            worker.map_err(Error::Worker)??;
        }
        Ok(())
    }

    /// Drive once more what proposals cannot be made of yet, and give what was seen, by place in the plan.
    ///
    /// What a missed call was answered with (502) is not what will answer it once it is accepted: where one missed, all
    /// entries are driven with the nearest recorded answer given. Else only those of which no more is known than that
    /// they are different.
    async fn again(
        self: &Arc<Run>,
        entries: &[Located],
        played: &[Played],
        progress: &impl Fn(Progress<'_>),
    ) -> Result<BTreeMap<usize, Played>, Error> {
        let missed = played.iter().any(|played| played.missed);
        let is_wanted = |played: &Played| missed || (played.is_from_before && played.is_different());
        let wanted: Vec<usize> = (0..entries.len()).filter(|number| is_wanted(&played[*number])).collect();
        if !wanted.is_empty() {
            progress(Progress::Repeats(wanted.len()));
        }
        let mut again = Pass::default();
        let mut heard = |_: &Told| progress(Progress::Repeated);
        let is_proposed = |number: usize, _: &Outcome| played[number].is_different();
        self.pass(entries, &wanted, Mode::Propose, None, &is_proposed, &mut again, &mut heard).await?;
        Ok(again.played)
    }

    /// Write a proposal beside every cassette whose entry differs, made from what was seen `again` if anything was, and
    /// remove those that no longer apply.
    fn propose(
        &self,
        plan: &[Located],
        played: &mut [Played],
        again: &BTreeMap<usize, Played>,
    ) -> Result<(), regress_cassettes::Error> {
        let mut stale: BTreeMap<PathBuf, regress_cassettes::Pending> =
            self.store.pending()?.into_iter().map(|pending| (pending.original.clone(), pending)).collect();
        for (number, located) in plan.iter().enumerate() {
            if played[number].outcome.verdict == Verdict::Inconclusive {
                continue;
            }
            match self.proposal(located, again.get(&number).unwrap_or(&played[number]))? {
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
        let is_new = !review::changes(&recorded, &proposed, self.settings.rules.schemas()).is_empty();
        if !is_new {
            return Ok(None);
        }
        let beside = Beside::new(Arc::clone(&self.settings.redactor), vec![Arc::new(recorded)]);
        self.store.write_pending(&located.path, &beside.cassette(proposed)).map(Some)
    }
}

/// Drives a part of the plan, one entry after the other. Meanwhile the next ones are read and the last one is judged.
struct Worker {
    run: Arc<Run>,
    mode: Mode,
    /// Set by the worker that finds a difference, where nothing is driven after that.
    stop: Option<Arc<AtomicBool>>,
    sender: Sender,
    judging: Judging,
    target: Option<Target>,
    /// Why no further target is started, with the last one's output.
    lost: Option<(String, Option<String>)>,
    /// Ports that the service never listened on, and what there is to say about it.
    deaf: BTreeMap<u16, (String, Option<String>)>,
    /// The entry driven last. It stays open until the next one begins, so that what the service does late still counts
    /// as its doing.
    open: Option<Driven>,
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
    /// Works on this thread, and so do the mock and all else that the worker waits for: nothing is handed from thread to
    /// thread while an entry is driven. It ends early when nobody waits for it any more.
    fn work_here(self, part: Vec<(usize, Located)>) -> Result<(), Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Runtime)?;
        let sender = self.sender.clone();
        runtime.block_on(async {
            tokio::select! {
                done = self.work(part) => done,
                () = sender.closed() => Ok(()),
            }
        })
    }

    async fn work(mut self, part: Vec<(usize, Located)>) -> Result<(), Error> {
        let mut read = stages::read_ahead(self.run.store.clone(), part);
        while let Some((number, located, planned)) = read.recv().await {
            if self.is_stopped() {
                break;
            }
            match planned {
                Ok(planned) => self.entry(number, planned).await?,
                Err(why) => self.vanished(number, located, why),
            }
            if self.stop.is_some() && self.is_different_so_far().await? {
                self.close().await?;
            }
        }
        self.close().await?;
        if let Some(target) = self.target.take() {
            target.stop().await;
        }
        self.judging.end().await
    }

    fn is_stopped(&self) -> bool {
        self.stop.as_ref().is_some_and(|stop| stop.load(Ordering::Relaxed))
    }

    /// Whether the entry driven last would be different if it were over.
    async fn is_different_so_far(&self) -> Result<bool, Error> {
        let Some(open) = &self.open else { return Ok(false) };
        Ok(match self.run.judgement(open).verdict {
            Verdict::Different => true,
            Verdict::Same if self.target.as_ref().is_some_and(Target::is_silent) => true,
            Verdict::Same => !self.leaked(open, Vec::new()).await?.is_empty(),
            Verdict::Inconclusive => false,
        })
    }

    async fn entry(&mut self, number: usize, planned: Planned) -> Result<(), Error> {
        let Some(entry) = drivable(&planned, self.run.settings.entry_port) else {
            let doubts = judge::doubts(&planned.cassette);
            self.tell(number, planned, doubts, None);
            return Ok(());
        };
        let stream = loop {
            if let Some((why, output)) = self.lost.clone().or_else(|| self.deaf.get(&entry.at.port()).cloned()) {
                self.tell(number, planned, vec![why], output);
                return Ok(());
            }
            let target = match &mut self.target {
                Some(target) => target,
                none => none.insert(Target::start(&self.run.launch, self.mode).await?),
            };
            match target.connect(entry.at, self.run.settings.ready_timeout).await {
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
                    self.close().await?;
                    self.discard().await;
                }
                Err(Unready::Deaf(others)) => {
                    let why = not_listening(entry.at.port(), self.run.settings.ready_timeout, &others);
                    self.deaf.insert(entry.at.port(), (why, target.last_output()));
                }
            }
        };
        let before = self.over().await?;
        let Some(target) = &mut self.target else { return Ok(()) };
        let id = planned.cassette.id.clone();
        target.enter(&planned.cassette);
        let (seen, took) = match stream {
            None => (Seen::Nothing { end: End::Refused, part: None }, Duration::ZERO),
            Some(mut stream) => drive(&mut stream, &entry, self.run.settings.entry_timeout).await,
        };
        let exited = match seen {
            Seen::Response(_) | Seen::Nothing { end: End::Hung(_) | End::Left, .. } => {
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
        let seen = seen.redacted(|message| target.redacted(message, &bindings));
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
            self.close().await?;
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
    async fn close(&mut self) -> Result<(), Error> {
        let driven = self.over().await?;
        self.judge(driven);
        Ok(())
    }

    /// The entry driven last is over: it gets what was called late, what is open in silence, and what it leaked.
    async fn over(&mut self) -> Result<Option<Driven>, Error> {
        let mut late = self.target.as_ref().map(Target::take_journal).unwrap_or_default();
        let silent = self.target.as_ref().map(Target::tell_silent).unwrap_or_default();
        let (known, nowhere): (Vec<_>, Vec<_>) = silent.into_iter().partition(|call| self.run.may_be_known(call));
        late.extend(nowhere);
        let bindings = self.target.as_ref().map(Target::bindings);
        let Some(mut driven) = self.open.take() else {
            let misses = late.iter().filter(|call| is_miss(call));
            misses.for_each(|call| self.send(Told::Startup(judge::novel(0, call))));
            return Ok(None);
        };
        driven.journal.extend(late);
        driven.journal.extend(self.leaked(&driven, known).await?);
        driven.bindings = bindings.unwrap_or(driven.bindings);
        Ok(Some(driven))
    }

    fn judge(&mut self, driven: Option<Driven>) {
        if let Some(driven) = driven {
            self.judging.judge(driven);
        }
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
        self.played(number, Played::of(outcome));
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
        self.played(number, Played::of(outcome));
    }

    fn played(&self, number: usize, played: Played) {
        self.send(Told::Played(number, Box::new(played)));
    }

    fn send(&self, told: Told) {
        // The pass reads until every worker is done; it stops earlier only when it is itself given up.
        let _ = self.sender.send(told);
    }

    async fn discard(&mut self) {
        if let Some(target) = self.target.take() {
            target.stop().await;
        }
    }
}

/// The request of an entry that can be sent.
fn drivable(planned: &Planned, port: Option<u16>) -> Option<Drivable> {
    let entry = planned.cassette.entry.as_ref()?;
    let mut at = entry.connection.local.as_ref()?.inet()?;
    if let Some(port) = port {
        at.set_port(port);
    }
    let http = entry.http()?;
    let is_known = http.request.is_complete() || entry.defects.is_empty();
    is_known.then(|| Drivable {
        request: http.request.clone(),
        at,
        tls: entry.connection.tls,
        events: left::events(entry),
    })
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

#[cfg(test)]
mod tests {
    use regress_cassettes::CassetteId;

    use regress_cassettes::redact::Redactor;

    use super::*;
    use crate::{Selection, testing};

    #[test]
    fn what_was_answered_is_kept_and_called_before_an_entry() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(folder.path()).unwrap();
        for id in ["a", "b"] {
            store
                .write(&Redactor::off().cassette(Cassette { id: CassetteId(id.to_owned()), ..testing::cassette() }))
                .unwrap();
        }
        let plan = Plan::read(&store, &Selection::default()).unwrap();
        let settings = testing::settings(folder.path());
        let (mut kept, _) = Kept::begin(&store, &settings, &plan, None).unwrap();
        let told = |number: usize, response: Option<Message>| {
            let Located { id, path, .. } = &plan.entries[number];
            let seen =
                response.map(|response| SeenWhole { response, journal: Vec::new(), bindings: Bindings::default() });
            let digest = Some(store.read(&plan.entries[number]).unwrap().digest());
            let outcome = testing::outcome(id, path);
            Told::Played(number, Box::new(Played { missed: true, digest, seen, ..Played::of(outcome) }))
        };
        let startup = || Told::Startup(testing::omitted());
        for told in [told(0, None), told(1, Some(testing::created("1"))), startup(), startup()] {
            told.keep(&mut kept).unwrap();
        }
        drop(kept);
        let (_kept, before) = Kept::begin(&store, &settings, &plan, None).unwrap();
        let pass = Pass::of(before);
        let known: Vec<_> = pass.played.iter().map(|(number, played)| (*number, played.missed)).collect();
        // What ended the replay may have ended the service a moment before.
        assert_eq!(known, [(1, true)]);
        assert_eq!(pass.startup, [testing::omitted()]);
        assert!(pass.played[&1].is_from_before);
    }
}
